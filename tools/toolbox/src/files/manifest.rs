//! The manifest of a tool: `NAME.toml`.
//!
//! ```toml
//! description = "Counts the lines of a file"
//! program = "bin/count"          # relative to the directory or absolute; without it: NAME
//! args = ["--max", "{max}", "--", "{path}"]   # without it: parameters as JSON on standard input
//! risk = "low"                   # low, medium, high, critical; without it: medium
//! rights = ["network"]           # network, change; without it: none
//! timeout_ms = 5000              # only shortens the host's
//!
//! [parameters]                   # a JSON Schema; without it: any object
//! type = "object"
//! required = ["path"]
//! properties.path.type = "string"
//! properties.max.type = "integer"
//! ```
//!
//! Beside a script it says the same of it, except `program` and `args`.

use std::collections::BTreeSet;
use std::time::Duration;

use fazai_tools::{Right, Risk};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::schema::Schema;

/// What a manifest says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) program: Option<String>,
    #[serde(default)]
    pub(super) args: Option<Vec<String>>,
    #[serde(default = "any_object")]
    pub(super) parameters: Map<String, Value>,
    #[serde(default = "medium")]
    pub(super) risk: Risk,
    #[serde(default)]
    pub(super) rights: BTreeSet<Right>,
    #[serde(default)]
    timeout_ms: Option<u64>,
}

impl Manifest {
    /// Reads one; an error says where it is wrong.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let before = before.unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            format!(
                "{file}, line {line}, column {column}: {}",
                error.message().trim()
            )
        })?;
        Schema::new(&manifest.schema())
            .map_err(|problem| format!("{file}: `parameters` is no JSON Schema: {problem}"))?;
        Ok(manifest)
    }

    /// Of a script that has none: it may do anything, since nobody said otherwise.
    pub(super) fn missing() -> Self {
        Self {
            description: None,
            program: None,
            args: None,
            parameters: any_object(),
            risk: medium(),
            rights: BTreeSet::from([Right::Network, Right::Change]),
            timeout_ms: None,
        }
    }

    /// The schema of its parameters.
    pub(super) fn schema(&self) -> Value {
        Value::Object(self.parameters.clone())
    }

    /// For how long it may run, if the host gives it this time.
    pub(super) fn timeout(&self, hosts: Duration) -> Duration {
        self.timeout_ms
            .map_or(hosts, |own| hosts.min(Duration::from_millis(own)))
    }
}

fn any_object() -> Map<String, Value> {
    Map::from_iter([("type".to_owned(), json!("object"))])
}

fn medium() -> Risk {
    Risk::Medium
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let problem = Manifest::parse("a.toml", text).expect_err(text);
        assert!(problem.contains(expected), "{problem}");
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        refused(
            "risk = \"low\"\nrigths = []\n",
            "line 2, column 1: unknown field `rigths`",
        );
        refused(
            "risk = \"tiny\"",
            "line 1, column 8: unknown variant `tiny`",
        );
        refused("rights = [\"root\"]", "line 1, column");
        refused("description = \"", "line 1, column");
        refused("timeout_ms = -1", "line 1, column 14");
        refused("[parameters]\ntype = \"nonsense\"", "no JSON Schema");
    }

    #[test]
    fn what_is_not_said_is_not_allowed() {
        let manifest = Manifest::parse("a.toml", "").expect("a manifest");
        assert!(manifest.rights.is_empty());
        assert_eq!(manifest.risk, Risk::Medium);
        let long = Duration::from_secs(9);
        assert_eq!(manifest.timeout(long), long);
    }
}
