//! From a request's words to the one text that a module is given.

use std::collections::HashMap;

use fazai_modhost::Descriptor;
use fazai_protocol::ModuleCall;
use fazai_toolbox::{JSON_BYTES_MAX, Schema};
use serde_json::{Value, json};

/// A module's command as a client wants it.
#[derive(Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) module: String,
    pub(crate) command: String,
    args: Args,
}

#[derive(Debug, PartialEq)]
enum Args {
    /// What stood behind the command, as it was written.
    Text(String),
    Json(Value),
}

/// A request that names no command that can be run.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum BadCall {
    #[error("the request names no module")]
    NoModule,
    #[error("the request names no command of module `{0}`")]
    NoCommand(String),
    #[error("a command's name is one word of at most {NAME_BYTES_MAX} bytes")]
    BadName,
    #[error("`{0}` is in params and in input; say it once")]
    Twice(&'static str),
    #[error("command `{0}` takes a text, not JSON")]
    NotText(String),
    #[error("the arguments have {0} bytes, at most {JSON_BYTES_MAX} are checked")]
    TooLong(usize),
    /// What is wrong quotes the arguments, which must not get into the log with the message.
    #[error("the arguments of `{command}` are no JSON")]
    NotJson { command: String, fault: String },
    #[error("the arguments of `{command}` do not fit its schema")]
    Unfit { command: String, fault: String },
}

/// A command's schema that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the schema of its command `{command}` can't be used: {fault}")]
pub(crate) struct BadSchema {
    command: String,
    fault: String,
}

/// The longest name of a module or command.
const NAME_BYTES_MAX: usize = 64;

impl Wanted {
    /// Reads `input` and `params`, each part from one of them.
    pub(crate) fn parse(call: ModuleCall) -> Result<Self, BadCall> {
        let params = call.params;
        let mut rest = call.input.trim_start();
        let module = params.module.unwrap_or_else(|| word(&mut rest));
        if module.is_empty() {
            return Err(BadCall::NoModule);
        }
        let command = params.command.unwrap_or_else(|| word(&mut rest));
        if module.len() > NAME_BYTES_MAX
            || command.len() > NAME_BYTES_MAX
            || command.contains(char::is_whitespace)
        {
            return Err(BadCall::BadName);
        }
        if command.is_empty() {
            return Err(BadCall::NoCommand(module));
        }
        let args = match params.args {
            None => Args::Text(rest.to_owned()),
            Some(_) if !rest.trim().is_empty() => return Err(BadCall::Twice("args")),
            Some(Value::String(text)) => Args::Text(text),
            Some(json) => Args::Json(json),
        };
        Ok(Self {
            module,
            command,
            args,
        })
    }
}

/// Takes the first word, and the one space behind it.
fn word(rest: &mut &str) -> String {
    let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((*rest, ""));
    *rest = after;
    word.to_owned()
}

/// The commands of a module that want JSON, each with its schema.
#[derive(Debug, Default)]
pub(crate) struct Schemas(HashMap<String, Schema>);

impl Schemas {
    pub(crate) fn of(descriptor: Option<&Descriptor>) -> Result<Self, BadSchema> {
        let commands = descriptor.map(|known| known.commands.as_slice());
        let mut schemas = HashMap::new();
        for command in commands.unwrap_or_default() {
            let Some(schema) = &command.args else {
                continue;
            };
            let read = Schema::new(schema).map_err(|fault| BadSchema {
                command: command.name.clone(),
                fault,
            })?;
            schemas.insert(command.name.clone(), read);
        }
        Ok(Self(schemas))
    }

    /// The text for the module. Commands that its descriptor does not have go as they are: it
    /// knows best which ones it takes.
    pub(crate) fn text(&self, wanted: &Wanted) -> Result<String, BadCall> {
        let command = &wanted.command;
        match (self.0.get(command), &wanted.args) {
            (None, Args::Text(text)) if text.is_empty() => Ok(command.clone()),
            (None, Args::Text(text)) => Ok(format!("{command} {text}")),
            (None, Args::Json(_)) => Err(BadCall::NotText(command.clone())),
            (Some(schema), args) => {
                let args = json_of(command, args)?;
                let text = args.to_string();
                if text.len() > JSON_BYTES_MAX {
                    return Err(BadCall::TooLong(text.len()));
                }
                schema.check(&args).map_err(|fault| BadCall::Unfit {
                    command: command.clone(),
                    fault,
                })?;
                Ok(format!("{command} {text}"))
            }
        }
    }
}

fn json_of(command: &str, args: &Args) -> Result<Value, BadCall> {
    match args {
        Args::Json(value) => Ok(value.clone()),
        Args::Text(text) if text.len() > JSON_BYTES_MAX => Err(BadCall::TooLong(text.len())),
        Args::Text(text) if text.trim().is_empty() => Ok(json!({})),
        Args::Text(text) => serde_json::from_str(text).map_err(|fault| BadCall::NotJson {
            command: command.to_owned(),
            fault: fault.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use fazai_modhost::Command;
    use fazai_protocol::ModuleParams;

    use super::*;

    fn schemas() -> Schemas {
        let command = |name: &str, args| Command {
            name: name.to_owned(),
            description: String::new(),
            args,
        };
        let schema = json!({
            "type": "object",
            "properties": { "n": { "type": "integer" } },
            "additionalProperties": false,
        });
        let descriptor = Descriptor {
            version: "1".to_owned(),
            description: String::new(),
            not_granted: Vec::new(),
            commands: vec![command("count", Some(schema)), command("say", None)],
        };
        Schemas::of(Some(&descriptor)).expect("good schemas")
    }

    fn text(call: ModuleCall) -> Result<String, BadCall> {
        schemas().text(&Wanted::parse(call)?)
    }

    #[test]
    fn a_text_reaches_the_module_as_it_was_written() {
        for (input, expected) in [
            ("m echo hi  there ", "echo hi  there "),
            ("m help", "help"),
            ("  m help", "help"),
            ("m say {\"n\": 1}", "say {\"n\": 1}"),
            ("m count {\"n\": 1}", "count {\"n\":1}"),
            ("m count", "count {}"),
        ] {
            assert_eq!(text(ModuleCall::new(input)).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn parts_come_from_params_or_from_the_input() {
        let call = |input: &str, params| ModuleCall {
            params,
            ..ModuleCall::new(input)
        };
        let named = |args| ModuleParams {
            module: Some("m".to_owned()),
            command: Some("count".to_owned()),
            args,
            deadline_ms: None,
        };
        let fits = text(call("", named(Some(json!({ "n": 2 })))));
        assert_eq!(fits.as_deref(), Ok("count {\"n\":2}"));
        let both = text(call("{\"n\": 1}", named(Some(json!({ "n": 2 })))));
        assert_eq!(both, Err(BadCall::Twice("args")));
        let rest = text(call("{\"n\": 1}", named(None)));
        assert_eq!(rest.as_deref(), Ok("count {\"n\":1}"));
    }

    #[test]
    fn bad_calls_say_what_is_wrong() {
        for (input, said) in [
            ("", "no module"),
            ("   ", "no module"),
            ("m", "no command"),
            ("m count x", "no JSON"),
            ("m count {\"n\": \"secret\"}", "do not fit"),
            ("m count {\"m\": 1}", "do not fit"),
        ] {
            let fault = text(ModuleCall::new(input)).expect_err(input).to_string();
            assert!(fault.contains(said), "{input}: {fault}");
            assert!(!fault.contains("secret"), "it goes into the log: {fault}");
        }
        let hidden = ModuleCall {
            params: ModuleParams {
                command: Some("count {\"n\":\"x\"}".to_owned()),
                ..ModuleParams::default()
            },
            ..ModuleCall::new("m")
        };
        assert_eq!(text(hidden), Err(BadCall::BadName));
        let json_for_text = ModuleCall {
            params: ModuleParams {
                args: Some(json!({})),
                ..ModuleParams::default()
            },
            ..ModuleCall::new("m say")
        };
        assert_eq!(text(json_for_text), Err(BadCall::NotText("say".to_owned())));
    }

    #[test]
    fn a_schema_that_can_not_be_used_refuses_the_module() {
        let descriptor = Descriptor {
            version: String::new(),
            description: String::new(),
            not_granted: Vec::new(),
            commands: vec![Command {
                name: "x".to_owned(),
                description: String::new(),
                args: Some(json!({ "type": "nonsense" })),
            }],
        };
        assert!(Schemas::of(Some(&descriptor)).is_err());
    }
}
