//! `fazai modules`: native modules, in a running worker or without one.

mod add;
mod keys;

use std::io::{self, Write};

use clap::{Args, Subcommand};
use fazai_protocol::{Call, Done, ErrorCode, Line, ModuleCall, ModuleParams, NoParams, Operation};
use serde_json::Value;

use super::{Worker, output};

/// The commands.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A module is a shared library with the functions of fazai_mod.h. It loads if modules.toml has its
sha256, or if a trusted key signed it: see `trust` in the settings.

Examples:
  fazai modules add hello.so               copy it to the modules and trust it as it is now
  fazai modules call hello greet Ada
  fazai modules list
  fazai modules keygen vendor              vendor.key, to sign with, and vendor.pub
  fazai modules sign --key vendor.key hello.so")]
pub(crate) enum Modules {
    /// List the modules and how they are
    List(List),
    /// Show everything about a module
    Show(Named),
    /// Run a command of a module and show its answer
    Call(CallCommand),
    /// Copy a module to the others and write its sha256 into modules.toml
    Add(add::Add),
    /// Load a module into the running worker; ends its quarantine too
    Load(Named),
    /// Unload a module from the running worker
    Unload(Named),
    /// Replace a loaded module by its file as it is now; no call is dropped
    Reload(Named),
    /// Say whether a module's file may be loaded, and which rule it breaks
    Verify(Named),
    /// Sign module files with a key of `keygen`
    Sign(keys::Sign),
    /// Make a key to sign modules with
    Keygen(keys::Keygen),
}

/// List the modules and how they are
#[derive(Debug, Args)]
pub(crate) struct List {
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// One module
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its name
    name: String,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// Run a command of a module and show its answer
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fazai modules call echo echo hello
  fazai modules call system_info system_info '{\"parts\": [\"load\"]}'
  fazai modules call --json echo help | jq -r 'select(.action==\"done\").result'")]
pub(crate) struct CallCommand {
    /// The module
    name: String,
    /// The command, and its arguments as text or as JSON
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// Give up after so many milliseconds
    #[arg(long, value_name = "MS")]
    deadline_ms: Option<u64>,
    /// Show the protocol's lines instead of the text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

impl Modules {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(),
            Self::Show(named) => named.run("show", show_text),
            Self::Call(call) => call.run(),
            Self::Add(add) => add.run(),
            Self::Load(named) => named.run_remote("load"),
            Self::Unload(named) => named.run_remote("unload"),
            Self::Reload(named) => named.run_remote("reload"),
            Self::Verify(named) => named.run("verify", result),
            Self::Sign(sign) => sign.run(),
            Self::Keygen(keygen) => keygen.run(),
        }
    }
}

fn operation(input: String) -> Operation {
    Operation::Modules(Call::<NoParams> {
        input,
        ..Call::default()
    })
}

fn result(done: &Done) -> String {
    done.result.clone().unwrap_or_default()
}

impl List {
    fn run(&self) -> anyhow::Result<()> {
        let done = self.worker.call(operation("list".into()))?;
        let modules = done.data.unwrap_or_default()["modules"].take();
        let rows = modules.as_array().map(Vec::as_slice).unwrap_or_default();
        let heading = ["NAME", "STATE", "VERSION", "DESCRIPTION"].map(str::to_owned);
        let mut table = vec![heading.to_vec()];
        table.extend(rows.iter().map(|module| {
            let text = |key: &str| module[key].as_str().unwrap_or_default().to_owned();
            let about = ["problem", "description"].map(text);
            let about = about.into_iter().find(|text| !text.is_empty());
            vec![
                text("name"),
                text("state"),
                text("version"),
                about.unwrap_or_default(),
            ]
        }));
        output::print(self.json, &output::table(&table), &modules)
    }
}

impl Named {
    fn run(&self, verb: &str, text: fn(&Done) -> String) -> anyhow::Result<()> {
        let done = self.worker.call(self.operation(verb))?;
        let data = done.data.as_ref().unwrap_or(&Value::Null);
        output::print(self.json, &text(&done), data)
    }

    /// What makes no sense without a running worker.
    fn run_remote(&self, verb: &str) -> anyhow::Result<()> {
        let done = self.worker.connect.call(self.operation(verb))?;
        output::answer(self.json, done)
    }

    fn operation(&self, verb: &str) -> Operation {
        operation(format!("{verb} {}", self.name))
    }
}

/// What `show` tells people.
fn show_text(done: &Done) -> String {
    let Some(Value::Object(data)) = &done.data else {
        return result(done);
    };
    let mut rows = Vec::new();
    for (key, value) in data {
        match value {
            Value::Null => {}
            Value::Array(commands) if key == "commands" => {
                rows.extend(commands.iter().map(|command| {
                    let text = |key: &str| command[key].as_str().unwrap_or_default().to_owned();
                    vec![text("tool"), text("description")]
                }));
            }
            Value::Object(parts) => rows.extend(
                parts
                    .iter()
                    .map(|(part, value)| vec![format!("{key} {part}"), plain(value)]),
            ),
            value => rows.push(vec![key.clone(), plain(value)]),
        }
    }
    output::table(&rows)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl CallCommand {
    fn run(&self) -> anyhow::Result<()> {
        let call = ModuleCall {
            params: ModuleParams {
                module: Some(self.name.clone()),
                deadline_ms: self.deadline_ms,
                ..ModuleParams::default()
            },
            ..ModuleCall::new(self.command.join(" "))
        };
        let json = self.json;
        let mut fresh = true;
        let done = self
            .worker
            .follow(Operation::Module(Box::new(call)), |line| {
                match line {
                    line if json => output::json_line(line)?,
                    Line::Module(piece) => {
                        write!(io::stdout().lock(), "{}", output::clean(&piece.result))?;
                        fresh = piece.result.ends_with('\n');
                    }
                    _ => {}
                }
                Ok(json)
            })?;
        if !fresh {
            writeln!(io::stdout().lock())?;
        }
        match done.error {
            Some(mut error) => {
                // Its words are on the screen already.
                error.hint.take_if(|_| error.code == ErrorCode::ModuleError);
                Err(error.into())
            }
            None => Ok(()),
        }
    }
}
