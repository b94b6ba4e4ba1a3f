//! `write_file`: a file with new content, and what that changes.

use std::path::PathBuf;
use std::sync::Arc;

use fazai_tools::{Action, Input, Right, Risk};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::Settings;
use super::define::{Call, Define};
use super::file::check;
use super::replace::{Replacement, octal};
use crate::error::ToolError;

pub(super) struct WriteFile(pub(super) Arc<Settings>);

/// A file and what it is to hold.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// The file, absolute. Its directory has to be there.
    path: PathBuf,
    /// All that it is to hold.
    content: String,
    /// Its permissions in octal digits; without it a file keeps its own, and a new one has 0644.
    #[schemars(regex(pattern = "^0?[0-7]{3}$"))]
    mode: Option<String>,
}

impl Told {
    fn mode(&self) -> Result<Option<u32>, ToolError> {
        let mode = self.mode.as_deref();
        let mode = mode.map(|mode| u32::from_str_radix(mode, 8)).transpose();
        mode.map_err(|fault| ToolError::BadParams(format!("mode: {fault}")))
    }
}

impl Define for WriteFile {
    type Params = Told;
    const NAME: &'static str = "write_file";
    const DESCRIPTION: &'static str = "Writes a text file whole. Answers with the difference to what was there, of which it keeps a copy.";
    const RISK: Risk = Risk::Medium;
    const RIGHTS: &'static [Right] = &[Right::Change];

    fn wants(&self, told: Told, _: Action) -> Result<Vec<Action>, ToolError> {
        check(&told.path)?;
        Ok(vec![Action::WriteFile {
            mode: told.mode()?.map(octal),
            content: Some(Input::of(told.content.as_bytes())),
            path: told.path,
        }])
    }

    fn call(&self, told: Told, call: &Call) -> Result<Value, ToolError> {
        Replacement {
            mode: told.mode()?,
            path: &told.path,
            content: &told.content,
            backup_dir: self.0.backup_dir.as_deref(),
        }
        .make(call)
    }
}
