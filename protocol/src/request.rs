//! What a client may ask for: one struct for each operation.

mod acting;
mod ask;
mod events;
mod knowledge;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::acting::{
    ApprovalDecision, ApproveParams, ModuleCall, ModuleParams, PlanCall, PlanParams, RunsCall,
    ShellCall, ShellParams, ToolCall, ToolParams,
};
pub use self::ask::{
    Ask, AskParams, Label, Message, OnInterrupt, Overflow, Priority, Quality, Role, Think,
};
pub use self::events::{EventParams, IncidentsParams, Severity, SubscribeParams};
pub use self::knowledge::{CommitParams, KbCall, KbParams, PersonalityParams, ResearchParams};

/// The client's name for a request. Empty: the client does not correlate, and the
/// request can't be cancelled by name.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct ActionId(pub String);

impl ActionId {
    /// Whether the client gave none. An empty id is never a key to anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for ActionId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

/// A string that masks itself when printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"***\"")
    }
}

/// One line from a client.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Request {
    /// The client's name for this request; every line of the answer carries it.
    #[serde(default)]
    pub action_id: ActionId,
    /// What to do.
    #[serde(flatten)]
    pub operation: Operation,
}

/// The operations, by `action`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Operation {
    /// Version, capabilities and limits; on TCP also the token.
    Hello(Call<HelloParams>),
    /// Generate text.
    Ask(Box<Ask>),
    /// Stop the request whose id is in `input`, on any connection of the same user.
    Cancel(Call<NoParams>),
    /// Is anybody there?
    Ping(Call<NoParams>),
    /// What is loaded, what waits, what was done.
    Status(Call<NoParams>),
    /// Facts about the machine; with `input` "status" the old name of `status`.
    Observe(Call<NoParams>),
    /// List, load and unload models.
    Models(Call<ModelsParams>),
    /// Text to tokens.
    Tokenize(Call<TokenizeParams>),
    /// Text to a vector.
    Embed(Call<EmbedParams>),
    /// A request becomes steps, which are run if that is asked for.
    Plan(Box<PlanCall>),
    /// Run a command on the machine, if the policy allows it.
    Shell(Box<ShellCall>),
    /// Answer the question whose id is in `input`.
    Approve(Call<ApproveParams>),
    /// List the questions that wait for an answer.
    Approvals(Call<NoParams>),
    /// Run a command of a native module.
    Module(Box<ModuleCall>),
    /// List, show, load, unload, reload and verify native modules.
    Modules(Call<NoParams>),
    /// Call a tool.
    Tool(Box<ToolCall>),
    /// List and show tools.
    Tools(Call<NoParams>),
    /// Tools as models that call functions are told of them.
    #[serde(rename = "toolSpec")]
    ToolSpec(Call<NoParams>),
    /// List, show, pause, resume and cancel the runs of plans.
    Runs(Box<RunsCall>),
    /// Passages from what is remembered.
    Research(Call<ResearchParams>),
    /// Remember something.
    #[serde(rename = "commitKB")]
    CommitKb(Call<CommitParams>),
    /// Who the answers sound like: list, show, choose, write and remove.
    Personality(Call<PersonalityParams>),
    /// Add files to the knowledge; show, remove and count records.
    Kb(Box<KbCall>),
    /// What happened, as a sensor or a log says it: how bad is it, and what is done about it?
    Event(Box<Call<EventParams>>),
    /// Incidents as they come, until the request is cancelled.
    Subscribe(Call<SubscribeParams>),
    /// List, show and close incidents.
    Incidents(Call<IncidentsParams>),
    /// List, add, remove, undo and confirm blocks.
    Blocks(Call<NoParams>),
    /// An old client's goodbye; answered and otherwise ignored.
    Done(Call<NoParams>),
}

/// The shape of every operation but `ask`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Call_{P}")]
pub struct Call<P: Default> {
    /// The operation's main argument.
    #[serde(default)]
    pub input: String,
    /// The model to use, instead of the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Named arguments; an unknown name is refused.
    #[serde(default)]
    pub params: P,
}

/// For operations without named arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// Named arguments of `hello`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HelloParams {
    /// The shared secret that a TCP listener may want.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// The client's name and version, for the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// Named arguments of `models`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelsParams {}

/// Named arguments of `tokenize`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenizeParams {
    /// Read the names of special tokens as those tokens, not as text.
    #[serde(default)]
    pub special: bool,
    /// Return each token's text too.
    #[serde(default)]
    pub pieces: bool,
}

/// Named arguments of `embed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbedParams {
    /// Several texts at once, instead of `input`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
