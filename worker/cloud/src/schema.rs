//! Whether an answer is the JSON that was asked for.

use jsonschema::Validator;
use serde_json::Value;

use crate::error::CloudError;
use crate::request::{Message, Request, Role};

/// How many mistakes are told to the model.
const MISTAKES_MAX: usize = 5;
/// How much of each, in characters.
const MISTAKE_CHARS_MAX: usize = 300;

/// A schema that answers are held against.
pub(crate) struct Schema(Validator);

impl Schema {
    pub(crate) fn new(schema: &Value) -> Result<Self, CloudError> {
        let made = jsonschema::validator_for(schema);
        made.map(Self)
            .map_err(|fault| CloudError::Settings(format!("the schema can't be used: {fault}")))
    }

    /// The JSON of an answer; otherwise what is wrong with it.
    pub(crate) fn check<'a>(&self, answer: &'a str) -> Result<&'a str, String> {
        let json = without_fence(answer);
        let value: Value =
            serde_json::from_str(json).map_err(|fault| format!("it is no JSON: {fault}"))?;
        let mistakes: Vec<String> = self
            .0
            .iter_errors(&value)
            .take(MISTAKES_MAX)
            .map(|fault| {
                let text = format!("{} at {}", fault, fault.instance_path());
                text.chars().take(MISTAKE_CHARS_MAX).collect()
            })
            .collect();
        if mistakes.is_empty() {
            Ok(json)
        } else {
            Err(mistakes.join("; "))
        }
    }
}

/// Models like to put a fence around JSON.
fn without_fence(answer: &str) -> &str {
    let trimmed = answer.trim();
    let inner = trimmed
        .strip_prefix("```")
        .and_then(|rest| rest.strip_suffix("```"));
    inner.map_or(trimmed, |inner| {
        inner.strip_prefix("json").unwrap_or(inner).trim()
    })
}

/// What is wrong with an answer from which secrets are still absent, as is the request: so none can
/// be in what is said about it.
pub(crate) fn mistakes(redacted: &Request, answer: &str) -> String {
    let schema = redacted.schema.as_ref().map(Schema::new);
    let checked = schema.and_then(|schema| schema.ok()?.check(answer).err());
    checked.unwrap_or_else(|| "a value that was taken out has to be another".to_owned())
}

/// The request once more, with what was wrong.
pub(crate) fn repair(request: &Request, answer: &str, mistakes: &str) -> Request {
    let mut again = request.clone();
    let said =
        format!("This does not fit the schema: {mistakes}. Answer with the corrected JSON alone.");
    again.messages.push(Message::new(Role::Assistant, answer));
    again.messages.push(Message::new(Role::User, said));
    again
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_held_against_it() {
        let schema =
            json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
        let schema = Schema::new(&schema).unwrap();
        assert_eq!(schema.check("```json\n{\"n\": 1}\n```"), Ok("{\"n\": 1}"));
        assert_eq!(schema.check(" {\"n\":1} "), Ok("{\"n\":1}"));
        assert!(schema.check("{\"n\":\"x\"}").unwrap_err().contains("/n"));
        assert!(schema.check("Sure!").unwrap_err().contains("no JSON"));
        assert!(Schema::new(&json!({"type": "wrong"})).is_err());
    }
}
