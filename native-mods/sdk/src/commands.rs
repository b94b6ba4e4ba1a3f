//! Whether a descriptor's list of commands is what the worker can read.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The most commands of one module, so that a list of tools stays readable.
pub const COMMANDS_MAX: usize = 256;

/// Checks a JSON list of commands, and says which one is wrong and how.
///
/// Each has a `name` without spaces, and may have a `description` and, as `args`, a JSON Schema of
/// an object. [`fazai_module!`](crate::fazai_module) makes a test of it.
pub fn check_commands(json: &str) -> Result<(), String> {
    let list: Vec<Value> =
        serde_json::from_str(json).map_err(|error| format!("it is no JSON list: {error}"))?;
    if list.len() > COMMANDS_MAX {
        let count = list.len();
        return Err(format!("{count} commands, and {COMMANDS_MAX} are allowed"));
    }
    let mut names = BTreeSet::new();
    for (at, command) in list.iter().enumerate() {
        let name = check_command(command).map_err(|reason| format!("number {at}: {reason}"))?;
        if !names.insert(name) {
            return Err(format!("'{name}' is there twice"));
        }
    }
    Ok(())
}

fn check_command(command: &Value) -> Result<&str, String> {
    let command = command
        .as_object()
        .ok_or("it is no object, such as {\"name\": \"echo\"}")?;
    if let Some(key) = command
        .keys()
        .find(|key| !["name", "description", "args"].contains(&key.as_str()))
    {
        return Err(format!(
            "'{key}' is unknown: there are name, description and args"
        ));
    }
    let name = match command.get("name") {
        Some(Value::String(name)) => name,
        Some(_) => return Err("`name` is no text".to_owned()),
        None => return Err("`name` is missing".to_owned()),
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(format!("`name` is {name:?}: a name has no spaces"));
    }
    if command.get("description").is_some_and(|it| !it.is_string()) {
        return Err(format!("`description` of '{name}' is no text"));
    }
    match command.get("args") {
        None => Ok(name),
        Some(Value::Object(schema)) if is_object_schema(schema) => Ok(name),
        Some(_) => Err(format!(
            "`args` of '{name}' is no JSON Schema of an object: it begins {{\"type\": \"object\""
        )),
    }
}

fn is_object_schema(schema: &Map<String, Value>) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("object")
        && schema.get("properties").is_none_or(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(json: &str, part: &str) {
        let reason = check_commands(json).expect_err(json);
        assert!(reason.contains(part), "{json}: {reason}");
    }

    #[test]
    fn lists_that_are_right() {
        for json in [
            "[]",
            r#"[{"name": "echo"}]"#,
            r#"[{"name": "a", "description": "b", "args": {"type": "object"}}, {"name": "c"}]"#,
            r#"[{"name": "a", "args": {"type": "object", "properties": {"x": {}}}}]"#,
        ] {
            assert_eq!(check_commands(json), Ok(()), "{json}");
        }
    }

    #[test]
    fn lists_that_are_wrong() {
        refused("", "no JSON list");
        refused("{}", "no JSON list");
        refused("[{]", "no JSON list");
        refused("[1]", "number 0: it is no object");
        refused("[{}]", "`name` is missing");
        refused(r#"[{"name": 1}]"#, "no text");
        refused(r#"[{"name": "a b"}]"#, "no spaces");
        refused(r#"[{"name": ""}]"#, "no spaces");
        refused(r#"[{"name": "a"}, {"name": "a"}]"#, "'a' is there twice");
        refused(r#"[{"name": "a", "args": []}]"#, "no JSON Schema");
        refused(
            r#"[{"name": "a", "args": {"type": "array"}}]"#,
            "no JSON Schema",
        );
        refused(
            r#"[{"name": "a", "args": {"type": "object", "properties": 1}}]"#,
            "no JSON Schema",
        );
        refused(r#"[{"name": "a", "desc": "x"}]"#, "'desc' is unknown");
        refused(r#"[{"name": "a", "description": 1}]"#, "`description`");
        let many = vec![r#"{"name": "a"}"#; COMMANDS_MAX + 1].join(",");
        refused(&format!("[{many}]"), "256 are allowed");
    }
}
