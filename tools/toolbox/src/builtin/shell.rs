//! `shell`: a command, judged as the text that runs.

use std::path::PathBuf;
use std::time::Duration;

use fazai_tools::{Action, Exec, How, Right, Risk};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::define::{Call, Define, cut};
use crate::error::ToolError;

/// How much output is answered, in bytes. JSON may need six times as much for it.
const OUTPUT_BYTES_MAX: usize = 128 << 10;

pub(super) struct Shell;

/// A command.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// The command, such as `df -h`.
    command: String,
    /// The directory it starts in, absolute; `/` by default.
    cwd: Option<PathBuf>,
    /// For how long it may run, in milliseconds; not longer than the worker's own limit.
    #[schemars(range(min = 1))]
    timeout_ms: Option<u64>,
}

impl Define for Shell {
    type Params = Told;
    const NAME: &'static str = "shell";
    const DESCRIPTION: &'static str = "Runs a command, and answers with its output and exit code.";
    const RISK: Risk = Risk::High;
    const RIGHTS: &'static [Right] = &[Right::Network, Right::Change];

    fn wants(&self, told: Told, _: Action) -> Result<Vec<Action>, ToolError> {
        Ok(vec![action(&told)?])
    }

    fn call(&self, told: Told, call: &Call) -> Result<Value, ToolError> {
        let wanted = told.timeout_ms.map_or(Duration::MAX, Duration::from_millis);
        let way = |how: How| How {
            stdin: None,
            merge_stderr: true,
            timeout: how.timeout.min(wanted),
            ..how
        };
        let output = call.run_told(action(&told)?, way)?;
        let text = cut(&output.stdout, OUTPUT_BYTES_MAX);
        Ok(json!({
            "output": text,
            "exit_code": output.ended.exit_code,
            "signal": output.ended.signal,
            "truncated": output.ended.cut || text.len() < output.stdout.len(),
        }))
    }
}

fn action(told: &Told) -> Result<Action, ToolError> {
    let bad = |problem: String| ToolError::BadParams(format!("`shell`: {problem}"));
    let cwd = told.cwd.clone().unwrap_or_else(|| "/".into());
    if !cwd.is_absolute() {
        return Err(bad(format!("cwd {} is not absolute", cwd.display())));
    }
    let exec = Exec::of_text(told.command.trim(), cwd);
    exec.map(Action::Exec)
        .map_err(|fault| bad(fault.to_string()))
}
