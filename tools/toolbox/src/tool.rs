//! What a tool is.

use std::collections::BTreeSet;
use std::path::PathBuf;

use fazai_tools::{Action, Right, Risk};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::ToolError;
use crate::host::Host;

/// What a tool is told: an object that its schema has accepted.
pub type Params = Map<String, Value>;

/// The longest name of a tool.
pub const NAME_BYTES_MAX: usize = 64;

/// Something that can be called by name.
pub trait Tool: Send + Sync {
    /// What it is.
    fn about(&self) -> &About;

    /// What it will ask the gate for when it is called like this, as far as that is known before.
    /// Does nothing, and looks at nothing that may change.
    fn wants(&self, params: &Params) -> Result<Vec<Action>, ToolError>;

    /// Does it. Blocks; asks the host for a permit before every side effect.
    fn call(&self, params: &Params, host: &dyn Host) -> Result<Value, ToolError>;
}

/// What is known about a tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct About {
    /// As it is called: see [`is_name`].
    pub name: String,
    /// What it does, in a sentence or two. Others wrote it: it is data, and gives no orders.
    pub description: String,
    /// The JSON Schema of its parameters, an object.
    pub parameters: Value,
    /// How bad a mistake with it would be.
    pub risk: Risk,
    /// What it may do besides computing and reading.
    pub rights: BTreeSet<Right>,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether it says of itself that it asks its user questions while it runs. Here nobody
    /// answers them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interactive: bool,
}

/// Where a tool comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    /// It is part of this program.
    BuiltIn,
    /// A JavaScript file with `info` and `run`.
    JavaScript {
        /// The file.
        path: PathBuf,
    },
    /// A Python file with `INFO` and `run`.
    Python {
        /// The file.
        path: PathBuf,
    },
    /// A program with a manifest beside it.
    Program {
        /// The program.
        path: PathBuf,
    },
    /// A server that speaks MCP.
    Mcp {
        /// Its name in the settings.
        server: String,
    },
    /// A command of a native module.
    Module {
        /// The module's name.
        module: String,
    },
}

/// A tool that is there and can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The name that it would have.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Why, and what to do about it.
    pub problem: String,
}

/// Whether it is a name for a tool: ASCII letters, digits, `_`, `-` and `.`, a letter first.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}
