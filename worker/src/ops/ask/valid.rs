//! A request whose values were checked once, so that nobody has to check them again.

use fazai_models::chat::{Speaker, Turn};
use fazai_models::grammar::GrammarSource;
use fazai_models::sampler::Sampling;
use fazai_protocol::{
    Ask, AskParams, ErrorCode, Label, Limits, Message, OnInterrupt, Overflow, Priority, Quality,
    Role, Think, WireError,
};

use crate::config::{RequestDefaults, Settings};

/// An `ask` that can be carried out.
#[derive(Debug, Clone)]
pub(super) struct ValidAsk {
    /// What is to be said, the last turn being the user's. With `raw` there is only one.
    pub(super) turns: Vec<Turn>,
    pub(super) model: Option<String>,
    pub(super) session: Option<String>,
    pub(super) stream: bool,
    pub(super) raw: bool,
    pub(super) max_tokens: u32,
    pub(super) sampling: Sampling,
    /// Whether the answer depends on chance, so that its seed is worth telling.
    pub(super) by_chance: bool,
    pub(super) stop: Vec<String>,
    pub(super) prompt_name: Option<String>,
    pub(super) choices: Vec<String>,
    pub(super) grammar: Option<GrammarSource>,
    pub(super) think: Think,
    pub(super) logprobs: Option<u8>,
    pub(super) priority: Priority,
    pub(super) deadline_ms: Option<u64>,
    pub(super) overflow: Overflow,
    pub(super) ignore_eos: bool,
    /// Whose voice is wanted, empty: nobody's; then whose it has.
    pub(super) personality: Option<String>,
    /// Whether what is remembered is looked up.
    pub(super) retrieve: Option<bool>,
    /// Whether it may leave the machine; none: what the settings say.
    pub(super) allow_cloud: Option<bool>,
    pub(super) label: fazai_cloud::Label,
    /// Whether better answers than the local model's are wanted.
    pub(super) better: bool,
    /// Whether the local model goes on where another was cut.
    pub(super) continue_local: bool,
    /// Only tell what would be sent.
    pub(super) dry_run: bool,
    /// Whether the seed was given and not thrown.
    pub(super) seed_given: bool,
}

fn bad(message: impl Into<String>) -> WireError {
    WireError::new(ErrorCode::InvalidParams, message)
}

const SESSION_NAME_BYTES_MAX: usize = 128;

impl ValidAsk {
    pub(super) fn new(ask: Ask, settings: &Settings) -> Result<Self, WireError> {
        let limits = &settings.limits;
        let defaults = &settings.defaults;
        let params = &ask.params;
        let raw = params.raw;
        let sampling = sampling(params, defaults)?;
        if let Some(name) = &ask.session
            && (name.is_empty() || name.len() > SESSION_NAME_BYTES_MAX || raw)
        {
            return Err(WireError::new(
                ErrorCode::InvalidRequest,
                format!(
                    "session must have 1 to {SESSION_NAME_BYTES_MAX} bytes, and not go with raw"
                ),
            ));
        }
        check_stops(&params.stop, limits)?;
        check_choices(params, limits)?;
        if raw && (params.personality.is_some() || params.retrieve == Some(true)) {
            return Err(bad("raw goes with neither personality nor retrieve"));
        }
        Ok(Self {
            max_tokens: max_tokens(params, settings)?,
            by_chance: sampling.temperature > 0.0
                && sampling.top_k != 1
                && params.choices.is_empty(),
            sampling,
            grammar: grammar(params, limits)?,
            think: params.think.unwrap_or_default(),
            logprobs: logprobs(params, limits)?,
            priority: params.priority.unwrap_or_default(),
            deadline_ms: deadline(params, defaults)?,
            overflow: params.overflow.unwrap_or_default(),
            stop: ask.params.stop.clone(),
            prompt_name: prompt_name(&ask)?,
            personality: ask.params.personality.clone(),
            retrieve: params.retrieve,
            choices: ask.params.choices.clone(),
            ignore_eos: params.ignore_eos,
            allow_cloud: params.allow_cloud,
            label: match params.label {
                None | Some(Label::Internal) => fazai_cloud::Label::Internal,
                Some(Label::Public) => fazai_cloud::Label::Public,
                Some(Label::Private) => fazai_cloud::Label::Private,
            },
            better: params.quality == Some(Quality::High),
            continue_local: params.on_interrupt == Some(OnInterrupt::ContinueLocal),
            dry_run: params.dry_run,
            seed_given: params.seed.is_some(),
            raw,
            turns: turns(&ask, limits)?,
            model: ask.model,
            session: ask.session,
            stream: ask.stream,
        })
    }
}

fn turns(ask: &Ask, limits: &Limits) -> Result<Vec<Turn>, WireError> {
    let invalid = |message: String| WireError::new(ErrorCode::InvalidRequest, message);
    let mut messages = ask.messages.clone();
    if messages.len() > limits.messages_max {
        let count = messages.len();
        return Err(invalid(format!(
            "{count} messages, the limit is {}",
            limits.messages_max
        )));
    }
    match (ask.input.trim().is_empty(), messages.is_empty()) {
        (false, true) => messages.push(Message::new(Role::User, ask.input.clone())),
        (true, false) => {}
        (true, true) => {
            return Err(invalid("there is nothing to answer".into())
                .with_hint("put the question into input, or a conversation into messages"));
        }
        (false, false) => return Err(invalid("give input or messages, not both".into())),
    }
    if messages.last().map(|last| last.role) != Some(Role::User) {
        return Err(invalid("the last message must be the user's".into()));
    }
    if let Some(system) = &ask.params.system {
        if messages[0].role == Role::System {
            return Err(bad(
                "system is given twice: in params and as the first message",
            ));
        }
        messages.insert(0, Message::new(Role::System, system.clone()));
    }
    if ask.params.raw && messages.len() > 1 {
        return Err(bad("raw takes input alone, without messages or system"));
    }
    if ask.session.is_some() && !ask.messages.is_empty() {
        let message = "a session keeps the messages itself: give input".to_owned();
        return Err(invalid(message));
    }
    Ok(messages.into_iter().map(turn).collect())
}

fn turn(message: Message) -> Turn {
    let role = match message.role {
        Role::System => Speaker::System,
        Role::User => Speaker::User,
        Role::Assistant => Speaker::Assistant,
    };
    Turn {
        role,
        content: message.content,
    }
}

/// The wish or the default, if it is within bounds.
fn within(
    name: &str,
    wish: Option<f32>,
    default: f32,
    least: f32,
    most: f32,
) -> Result<f32, WireError> {
    let value = wish.unwrap_or(default);
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(bad(format!(
            "{name} must be from {least} to {most}, not {value}"
        )))
    }
}

fn sampling(params: &AskParams, defaults: &RequestDefaults) -> Result<Sampling, WireError> {
    Ok(Sampling {
        temperature: within(
            "temperature",
            params.temperature,
            defaults.temperature,
            0.0,
            5.0,
        )?,
        top_k: params.top_k.unwrap_or(defaults.top_k),
        top_p: within("top_p", params.top_p, defaults.top_p, 0.001, 1.0)?,
        min_p: within("min_p", params.min_p, defaults.min_p, 0.0, 1.0)?,
        repeat_penalty: within(
            "repeat_penalty",
            params.repeat_penalty,
            defaults.repeat_penalty,
            0.5,
            2.0,
        )?,
        // 53 bits, so that every JSON reader gets it back unchanged.
        seed: params.seed.unwrap_or_else(|| rand::random::<u64>() >> 11),
    })
}

fn max_tokens(params: &AskParams, settings: &Settings) -> Result<u32, WireError> {
    let most = settings.limits.output_tokens_max;
    match params.max_tokens {
        None => Ok(settings.defaults.max_tokens.min(most)),
        Some(wish) if (1..=most).contains(&wish) => Ok(wish),
        Some(wish) => Err(bad(format!(
            "max_tokens must be from 1 to {most}, not {wish}"
        ))),
    }
}

fn check_stops(stops: &[String], limits: &Limits) -> Result<(), WireError> {
    if stops.len() > limits.stop_max {
        let count = stops.len();
        return Err(bad(format!(
            "{count} stop strings, the limit is {}",
            limits.stop_max
        )));
    }
    let most = limits.stop_bytes_max;
    if stops
        .iter()
        .any(|stop| stop.is_empty() || stop.len() > most)
    {
        return Err(bad(format!("a stop string must have 1 to {most} bytes")));
    }
    Ok(())
}

const PROMPT_NAME_BYTES_MAX: usize = 128;

fn prompt_name(ask: &Ask) -> Result<Option<String>, WireError> {
    let params = &ask.params;
    let name = params.prompt_name.clone();
    if name
        .as_ref()
        .is_some_and(|name| name.is_empty() || name.len() > PROMPT_NAME_BYTES_MAX)
    {
        return Err(bad(format!(
            "prompt_name must have 1 to {PROMPT_NAME_BYTES_MAX} bytes"
        )));
    }
    if name.is_some() && params.raw {
        return Err(bad(
            "prompt_name keeps what is before the last message, and raw has nothing there",
        ));
    }
    if name.is_some() && ask.session.is_some() {
        return Err(bad(
            "prompt_name does not go with a session, whose beginning grows",
        ));
    }
    Ok(name)
}

const CHOICES_MAX: usize = 64;

fn check_choices(params: &AskParams, limits: &Limits) -> Result<(), WireError> {
    let choices = &params.choices;
    if choices.is_empty() {
        return Ok(());
    }
    let count = choices.len();
    if !(2..=CHOICES_MAX).contains(&count) {
        return Err(bad(format!(
            "choices must be 2 to {CHOICES_MAX}, not {count}"
        )));
    }
    let most = limits.stop_bytes_max;
    if choices
        .iter()
        .any(|choice| choice.is_empty() || choice.len() > most)
    {
        return Err(bad(format!("a choice must have 1 to {most} bytes")));
    }
    let writes = params.json_schema.is_some()
        || params.regex.is_some()
        || params.lark.is_some()
        || params.logprobs.is_some()
        || params.ignore_eos
        || !params.stop.is_empty()
        || params.think.unwrap_or_default() != Think::Off;
    if writes {
        return Err(bad(
            "choices are read and not written: no grammar, stop, logprobs, think or ignore_eos goes with them",
        ));
    }
    Ok(())
}

fn grammar(params: &AskParams, limits: &Limits) -> Result<Option<GrammarSource>, WireError> {
    let schema = params.json_schema.clone().map(GrammarSource::JsonSchema);
    let regex = params.regex.clone().map(GrammarSource::Regex);
    let lark = params.lark.clone().map(GrammarSource::Lark);
    let mut given = [schema, regex, lark].into_iter().flatten();
    let Some(grammar) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        return Err(bad("give only one of json_schema, regex and lark"));
    }
    let bytes = match &grammar {
        GrammarSource::JsonSchema(schema) => schema.to_string().len(),
        GrammarSource::Regex(text) | GrammarSource::Lark(text) => text.len(),
    };
    let most = limits.grammar_bytes_max;
    if bytes > most {
        let message = format!("the grammar has {bytes} bytes, the limit is {most}");
        return Err(WireError::new(ErrorCode::InvalidGrammar, message));
    }
    if params.ignore_eos {
        return Err(bad(
            "ignore_eos does not go with a grammar, which ends by itself",
        ));
    }
    Ok(Some(grammar))
}

fn logprobs(params: &AskParams, limits: &Limits) -> Result<Option<u8>, WireError> {
    match params.logprobs {
        Some(wish) if wish > limits.logprobs_max => Err(bad(format!(
            "logprobs may be at most {}, not {wish}",
            limits.logprobs_max
        ))),
        wish => Ok(wish),
    }
}

const DEADLINE_MS_MAX: u64 = 86_400_000;

fn deadline(params: &AskParams, defaults: &RequestDefaults) -> Result<Option<u64>, WireError> {
    match params.deadline_ms {
        None => Ok((defaults.deadline_ms > 0).then_some(defaults.deadline_ms)),
        Some(wish) if (1..=DEADLINE_MS_MAX).contains(&wish) => Ok(Some(wish)),
        Some(wish) => Err(bad(format!(
            "deadline_ms must be from 1 to {DEADLINE_MS_MAX}, not {wish}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn valid(request: Value) -> Result<ValidAsk, WireError> {
        let ask: Ask = serde_json::from_value(request).expect("the types are right");
        ValidAsk::new(ask, &Settings::default())
    }

    #[track_caller]
    fn check_refused(request: Value, code: ErrorCode, says: &str) {
        let error = valid(request).expect_err("refused");
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(says), "{error}");
    }

    #[test]
    fn what_is_absent_takes_the_settings() {
        let ask = valid(json!({ "input": "x" })).expect("good");
        assert_eq!(ask.max_tokens, 512);
        assert!(ask.by_chance && ask.stream && !ask.raw);
        assert_eq!(ask.deadline_ms, None);
        let greedy = valid(json!({ "input": "x", "params": { "temperature": 0 } })).expect("good");
        assert!(!greedy.by_chance);
    }

    #[test]
    fn values_out_of_bounds_are_refused_with_the_bounds() {
        use ErrorCode::{InvalidGrammar, InvalidParams, InvalidRequest};
        let params = |params: Value| json!({ "input": "x", "params": params });
        let many_stops: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        for (bad_params, says) in [
            (json!({ "temperature": -1 }), "from 0 to 5, not -1"),
            (json!({ "temperature": 1e9 }), "from 0 to 5"),
            (json!({ "top_p": 0 }), "top_p"),
            (json!({ "min_p": 1.5 }), "min_p"),
            (json!({ "repeat_penalty": 0 }), "repeat_penalty"),
            (json!({ "max_tokens": 0 }), "from 1 to 16384, not 0"),
            (json!({ "max_tokens": 100_000 }), "max_tokens"),
            (json!({ "stop": many_stops }), "10000 stop strings"),
            (json!({ "stop": [""] }), "1 to 256 bytes"),
            (json!({ "stop": ["x".repeat(300)] }), "1 to 256 bytes"),
            (json!({ "logprobs": 21 }), "at most 20"),
            (json!({ "deadline_ms": 0 }), "deadline_ms"),
            (json!({ "regex": "a", "lark": "b" }), "only one"),
            (json!({ "regex": "a", "ignore_eos": true }), "ignore_eos"),
            (json!({ "prompt_name": "" }), "1 to 128 bytes"),
            (
                json!({ "prompt_name": "x", "raw": true }),
                "raw has nothing",
            ),
            (json!({ "choices": ["a"] }), "2 to 64, not 1"),
            (json!({ "choices": vec!["a"; 65] }), "2 to 64, not 65"),
            (json!({ "choices": ["a", ""] }), "1 to 256 bytes"),
            (json!({ "choices": ["a", "b"], "regex": "a" }), "no grammar"),
        ] {
            check_refused(params(bad_params), InvalidParams, says);
        }
        let huge = json!({ "enum": vec!["x".repeat(1_000); 100] });
        check_refused(
            params(json!({ "json_schema": huge })),
            InvalidGrammar,
            "limit is 65536",
        );
        check_refused(
            json!({ "input": "  " }),
            InvalidRequest,
            "nothing to answer",
        );
        let user = json!({ "role": "user", "content": "x" });
        let assistant = json!({ "role": "assistant", "content": "x" });
        let system = json!({ "role": "system", "content": "x" });
        check_refused(
            json!({ "input": "x", "messages": [user] }),
            InvalidRequest,
            "not both",
        );
        check_refused(
            json!({ "messages": [user, assistant] }),
            InvalidRequest,
            "the user's",
        );
        check_refused(
            json!({ "messages": [system, user], "params": { "system": "y" } }),
            InvalidParams,
            "twice",
        );
        check_refused(
            json!({ "messages": [system, user], "params": { "raw": true } }),
            InvalidParams,
            "raw takes input alone",
        );
        check_refused(
            json!({ "messages": [user], "session": "s" }),
            InvalidRequest,
            "session",
        );
        check_refused(
            json!({ "input": "x", "session": "" }),
            InvalidRequest,
            "session",
        );
    }
}
