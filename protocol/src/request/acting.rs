//! What is done on the machine: plans, commands, modules, tools and runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NoParams, Priority, is_false, is_true, yes};

/// Something to be done, in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanCall {
    /// What is to be done.
    #[serde(default)]
    pub input: String,
    /// The model to use, instead of the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What a yes for the session holds for, when the steps are run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// `false`: nothing but the `done` line.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub stream: bool,
    /// Named arguments; an unknown name is refused.
    #[serde(default)]
    pub params: PlanParams,
}

impl PlanCall {
    /// A plan for this.
    #[must_use]
    pub fn new(input: impl Into<String>) -> Self {
        Self {
            input: input.into(),
            model: None,
            session: None,
            stream: true,
            params: PlanParams::default(),
        }
    }
}

/// Named arguments of `plan`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PlanParams {
    /// Put passages of what is remembered behind what is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieve: Option<bool>,
    /// Run the steps, as far as the policy allows it.
    #[serde(skip_serializing_if = "is_false")]
    pub run: bool,
    /// Who goes first when slots are short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Give up this long after the request was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// A command for the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShellCall {
    /// The command, as a shell would read it.
    #[serde(default)]
    pub input: String,
    /// What a yes for the session holds for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// `false`: nothing but the `done` line.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub stream: bool,
    /// Named arguments; an unknown name is refused.
    #[serde(default)]
    pub params: ShellParams,
}

impl ShellCall {
    /// This command.
    #[must_use]
    pub fn new(input: impl Into<String>) -> Self {
        Self {
            input: input.into(),
            session: None,
            stream: true,
            params: ShellParams::default(),
        }
    }
}

/// Named arguments of `shell`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShellParams {
    /// The directory it starts in, absolute; otherwise `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// What it reads on its standard input; otherwise nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// End it after so long; otherwise after the configured time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Say what would be decided and run, and do nothing.
    #[serde(skip_serializing_if = "is_false")]
    pub dry_run: bool,
}

/// What somebody answers to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalDecision {
    /// Yes, this time.
    Once,
    /// Yes, and to the same action again as long as the session lasts.
    Session,
    /// No.
    Deny,
}

/// Named arguments of `approve`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApproveParams {
    /// The answer; it has to be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<ApprovalDecision>,
    /// Why, for the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A command for a native module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleCall {
    /// The module's name, a space, and the command: "echo hello"; or give `params`.
    #[serde(default)]
    pub input: String,
    /// `false`: nothing but the `done` line.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub stream: bool,
    /// Named arguments; an unknown name is refused.
    #[serde(default)]
    pub params: ModuleParams,
}

impl ModuleCall {
    /// A command as one text, `"echo hello"`.
    #[must_use]
    pub fn new(input: impl Into<String>) -> Self {
        Self {
            input: input.into(),
            stream: true,
            params: ModuleParams::default(),
        }
    }
}

/// Named arguments of `module`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModuleParams {
    /// The module, instead of the first word of `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The command's name, instead of the next word of `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Its arguments: JSON as the command's schema wants it, or a text for a command without one;
    /// instead of the rest of `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<serde_json::Value>,
    /// Give up this long after the request was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// A tool to call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolCall {
    /// The tool's name, a space, and its parameters as a JSON object; or give `params`. The old
    /// form `tool:NAME param={...}` does as well.
    #[serde(default)]
    pub input: String,
    /// What a yes for the session holds for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// `false`: nothing but the `done` line.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub stream: bool,
    /// Named arguments; an unknown name is refused.
    #[serde(default)]
    pub params: ToolParams,
}

impl ToolCall {
    /// A call as one text, `name {...}`.
    #[must_use]
    pub fn new(input: impl Into<String>) -> Self {
        Self {
            input: input.into(),
            session: None,
            stream: true,
            params: ToolParams::default(),
        }
    }
}

/// Named arguments of `tool`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ToolParams {
    /// The tool, instead of the first word of `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Its parameters, instead of the rest of `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<serde_json::Map<String, serde_json::Value>>,
    /// Give up this long after the request was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// Say what it would ask the policy for, and do nothing.
    #[serde(skip_serializing_if = "is_false")]
    pub dry_run: bool,
}

/// Something about the runs of plans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunsCall {
    /// "list", or "show", "pause", "resume" or "cancel" and a run's id.
    #[serde(default)]
    pub input: String,
    /// `false`: nothing but the `done` line.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub stream: bool,
    /// Named arguments; an unknown name is refused.
    #[serde(default)]
    pub params: NoParams,
}

impl RunsCall {
    /// Of this `input`.
    #[must_use]
    pub fn new(input: impl Into<String>) -> Self {
        Self {
            input: input.into(),
            stream: true,
            params: NoParams::default(),
        }
    }
}
