//! A line becomes a typed [`Request`], or an error that reaches the right request.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{ErrorCode, WireError};
use crate::request::{ActionId, Operation, Request};

/// A line that is no request, with the id to answer under if one could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct ParseFailure {
    /// The id as far as it could be read; empty if not at all.
    pub action_id: ActionId,
    /// What is wrong with the line.
    pub error: WireError,
}

/// Actions that the worker has, as clients write them.
pub const ACTIONS: &[&str] = &[
    "hello",
    "ask",
    "plan",
    "shell",
    "approve",
    "approvals",
    "cancel",
    "ping",
    "status",
    "observe",
    "models",
    "tokenize",
    "embed",
    "module",
    "modules",
    "tool",
    "tools",
    "toolSpec",
    "runs",
    "research",
    "commitKB",
    "personality",
    "kb",
    "event",
    "subscribe",
    "incidents",
    "blocks",
    "done",
];

/// Other spellings in the field, after [`fold`]ing.
const ALIASES: &[(&str, &str)] = &[("commit", "commitKB")];

/// What is shown of a name that is not known; a longer one is not compared with those that are.
const NAME_BYTES_MAX: usize = 64;

/// What is shown of a fault in a value.
const FAULT_BYTES_MAX: usize = 1 << 10;

/// Reads one request line.
///
/// `id_bytes_max` bounds the `action_id`; a longer one is refused and answered under its head.
///
/// # Errors
/// The failure names the fault and carries the id, whenever one can be read.
pub fn parse_request(line: &[u8], id_bytes_max: usize) -> Result<Request, ParseFailure> {
    let fail_unread = |error| ParseFailure {
        action_id: scan_for_id(line, id_bytes_max),
        error,
    };
    let text = std::str::from_utf8(line).map_err(|fault| {
        let message = format!("the line is not UTF-8 (byte {})", fault.valid_up_to());
        fail_unread(WireError::new(ErrorCode::ParseError, message))
    })?;
    let value: Value = serde_json::from_str(text).map_err(|fault| {
        let message = format!("the line is not JSON: {fault}");
        let error = WireError::new(ErrorCode::ParseError, message).with_hint(
            "send one JSON object per line, such as {\"action\":\"ping\",\"action_id\":\"1\"}",
        );
        fail_unread(error)
    })?;
    let Value::Object(mut object) = value else {
        let message = format!("the line is {}, not an object", type_name(&value));
        return Err(fail_unread(WireError::new(
            ErrorCode::InvalidRequest,
            message,
        )));
    };
    object.retain(|_, value| !value.is_null());

    let action_id = take_id(&mut object, id_bytes_max)?;
    match read_operation(object) {
        Ok(operation) => Ok(Request {
            action_id,
            operation,
        }),
        Err(error) => Err(ParseFailure { action_id, error }),
    }
}

fn take_id(object: &mut Map<String, Value>, bytes_max: usize) -> Result<ActionId, ParseFailure> {
    let (id, fault) = match object.remove("action_id") {
        None => return Ok(ActionId::default()),
        Some(Value::String(id)) if id.len() <= bytes_max => return Ok(ActionId(id)),
        Some(Value::String(id)) => {
            let fault = format!("action_id has {} bytes, the limit is {bytes_max}", id.len());
            (head(&id, bytes_max).to_owned(), fault)
        }
        Some(Value::Number(number)) => (
            number.to_string(),
            "action_id must be a string, not a number".to_owned(),
        ),
        Some(other) => (
            String::new(),
            format!("action_id must be a string, not {}", type_name(&other)),
        ),
    };
    Err(ParseFailure {
        action_id: ActionId(id),
        error: WireError::new(ErrorCode::InvalidRequest, fault),
    })
}

fn read_operation(mut object: Map<String, Value>) -> Result<Operation, WireError> {
    let action = match object.remove("action") {
        Some(Value::String(action)) => action,
        None => {
            let error = WireError::new(ErrorCode::InvalidRequest, "the request has no action");
            return Err(error.with_hint(format!("actions: {}", ACTIONS.join(", "))));
        }
        Some(other) => {
            let message = format!("action must be a string, not {}", type_name(&other));
            return Err(WireError::new(ErrorCode::InvalidRequest, message));
        }
    };
    match canonical(&action)? {
        "hello" => read(object).map(Operation::Hello),
        "ask" => {
            keep_local(&mut object);
            read(object).map(Operation::Ask)
        }
        "plan" => read(object).map(Operation::Plan),
        "shell" => read(object).map(Operation::Shell),
        "approve" => read(object).map(Operation::Approve),
        "approvals" => read(object).map(Operation::Approvals),
        "cancel" => read(object).map(Operation::Cancel),
        "ping" => read(object).map(Operation::Ping),
        "status" => read(object).map(Operation::Status),
        "observe" => read(object).map(Operation::Observe),
        "models" => read(object).map(Operation::Models),
        "tokenize" => read(object).map(Operation::Tokenize),
        "embed" => read(object).map(Operation::Embed),
        "module" => read(object).map(Operation::Module),
        "modules" => read(object).map(Operation::Modules),
        "tool" => read(object).map(Operation::Tool),
        "tools" => read(object).map(Operation::Tools),
        "toolSpec" => read(object).map(Operation::ToolSpec),
        "runs" => read(object).map(Operation::Runs),
        "research" => read(object).map(Operation::Research),
        "commitKB" => read(object).map(Operation::CommitKb),
        "personality" => read(object).map(Operation::Personality),
        "kb" => read(object).map(Operation::Kb),
        "event" => read(object).map(Operation::Event),
        "subscribe" => read(object).map(Operation::Subscribe),
        "incidents" => read(object).map(Operation::Incidents),
        "blocks" => read(object).map(Operation::Blocks),
        // What is known and none of these.
        _ => read(object).map(Operation::Done),
    }
}

/// Old clients say in their metadata that a request may not leave the machine.
fn keep_local(object: &mut Map<String, Value>) {
    let flag = object
        .get("metadata")
        .map(|data| &data["flags"]["local_only"]);
    if flag != Some(&Value::Bool(true)) {
        return;
    }
    let params = object
        .entry("params")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(params) = params {
        params.insert("allow_cloud".to_owned(), Value::Bool(false));
    }
}

/// The worker's spelling of an action: case, `_` and `-` do not matter.
fn canonical(action: &str) -> Result<&'static str, WireError> {
    let folded = fold(action);
    let known = || ACTIONS.iter().copied();
    if let Some(name) = known().find(|name| fold(name) == folded) {
        return Ok(name);
    }
    if let Some((_, name)) = ALIASES.iter().find(|(alias, _)| *alias == folded) {
        return Ok(name);
    }
    let message = format!("there is no action {:?}", head(action, NAME_BYTES_MAX));
    Err(with_nearest(
        WireError::new(ErrorCode::UnknownAction, message),
        &folded,
        known(),
    ))
}

fn fold(action: &str) -> String {
    let letters = action.chars().filter(|c| !matches!(c, '_' | '-'));
    letters
        .take(NAME_BYTES_MAX)
        .flat_map(char::to_lowercase)
        .collect()
}

/// Reads the typed operation; a failure names the place inside the object.
fn read<T: DeserializeOwned + schemars::JsonSchema + 'static>(
    mut object: Map<String, Value>,
) -> Result<T, WireError> {
    match object.get_mut("params") {
        Some(Value::Object(params)) => {
            params.retain(|_, value| !value.is_null());
            refuse_unknown_params::<T>(params)?;
        }
        Some(other) => {
            let message = format!("params must be an object, not {}", type_name(other));
            return Err(WireError::new(ErrorCode::InvalidParams, message));
        }
        None => {}
    }
    serde_path_to_error::deserialize(Value::Object(object)).map_err(|fault| {
        let path = fault.path().to_string();
        let code = if path.starts_with("params") {
            ErrorCode::InvalidParams
        } else {
            ErrorCode::InvalidRequest
        };
        let message = format!("{path}: {}", fault.inner());
        // It may name what was sent.
        WireError::new(code, head(&message, FAULT_BYTES_MAX))
    })
}

/// Refuses a name that `T`'s params do not have, and says which one is nearest.
///
/// The types refuse it too; this is where the message becomes helpful.
fn refuse_unknown_params<T: schemars::JsonSchema + 'static>(
    params: &Map<String, Value>,
) -> Result<(), WireError> {
    if params.is_empty() {
        return Ok(());
    }
    let known = param_names::<T>();
    let Some(unknown) = params.keys().find(|name| !known.contains(name)) else {
        return Ok(());
    };
    let message = format!("params has no {:?}", head(unknown, NAME_BYTES_MAX));
    let error = WireError::new(ErrorCode::InvalidParams, message);
    if known.is_empty() {
        return Err(error.with_hint("this action has no params"));
    }
    Err(with_nearest(
        error,
        unknown,
        known.iter().map(String::as_str),
    ))
}

/// The names that `T.params` accepts; they are found out once.
fn param_names<T: schemars::JsonSchema + 'static>() -> &'static [String] {
    static KNOWN: RwLock<Option<HashMap<TypeId, &'static [String]>>> = RwLock::new(None);
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(names) = known
        .as_ref()
        .and_then(|known| known.get(&TypeId::of::<T>()))
    {
        return names;
    }
    drop(known);
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    known
        .entry(TypeId::of::<T>())
        .or_insert_with(|| Vec::leak(read_param_names::<T>()))
}

/// Reads them from the schema, so that they are written once.
fn read_param_names<T: schemars::JsonSchema>() -> Vec<String> {
    let mut settings = schemars::generate::SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let schema = settings.into_generator().into_root_schema_for::<T>();
    schema
        .pointer("/properties/params/properties")
        .and_then(Value::as_object)
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default()
}

fn with_nearest<'a>(
    error: WireError,
    wrong: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> WireError {
    // Comparing takes as many steps as the product of the lengths.
    let compared = known.clone().filter(|_| wrong.len() <= NAME_BYTES_MAX);
    let nearest = compared
        .map(|name| {
            (
                strsim::damerau_levenshtein(wrong, &name.to_lowercase()),
                name,
            )
        })
        .min_by_key(|(edits, _)| *edits);
    let hint = match nearest {
        Some((edits, name)) if edits <= 1.max(name.len() / 3) => format!("did you mean {name:?}?"),
        _ => format!("known: {}", known.collect::<Vec<_>>().join(", ")),
    };
    error.with_hint(hint)
}

/// Finds `"action_id":"..."` in a line that could not be parsed, at the top level or not.
fn scan_for_id(line: &[u8], bytes_max: usize) -> ActionId {
    let key = b"\"action_id\"";
    let Some(at) = memchr::memmem::find(line, key) else {
        return ActionId::default();
    };
    let rest = line[at + key.len()..].trim_ascii_start();
    let Some(rest) = rest.strip_prefix(b":") else {
        return ActionId::default();
    };
    let mut strings = serde_json::Deserializer::from_slice(rest).into_iter::<String>();
    match strings.next() {
        Some(Ok(id)) => ActionId(head(&id, bytes_max).to_owned()),
        _ => ActionId::default(),
    }
}

/// At most the first `bytes_max` bytes of `text`, cut between characters.
fn head(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
