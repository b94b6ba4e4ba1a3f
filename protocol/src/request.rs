//! What a client may ask for: one struct for each operation.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

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

/// Named arguments of `research`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResearchParams {
    /// How many passages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<u64>,
    /// Only those with all of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Have a model answer from the passages, naming those that it used.
    #[serde(skip_serializing_if = "is_false")]
    pub answer: bool,
    /// Look it up in the documentation that the settings name, too: the question leaves the machine.
    #[serde(skip_serializing_if = "is_false")]
    pub documentation: bool,
}

/// Named arguments of `personality`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PersonalityParams {
    /// For "write NAME": `system`, and if wanted `style`, `language` and `rules`, as TOML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toml: Option<String>,
}

/// Named arguments of `commitKB`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CommitParams {
    /// A line that says what it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What helped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
    /// Words to filter by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Where it is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The distribution that it holds for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distro: Option<String>,
    /// For everybody who uses the worker, instead of the user alone.
    #[serde(skip_serializing_if = "is_false")]
    pub shared: bool,
}

/// Something about the knowledge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KbCall {
    /// "stats", "add PATH", "show ID" or "rm ID".
    #[serde(default)]
    pub input: String,
    /// `false`: nothing but the `done` line.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub stream: bool,
    /// Named arguments; an unknown name is refused.
    #[serde(default)]
    pub params: KbParams,
}

impl KbCall {
    /// Of this `input`.
    #[must_use]
    pub fn new(input: impl Into<String>) -> Self {
        Self {
            input: input.into(),
            stream: true,
            params: KbParams::default(),
        }
    }
}

/// Named arguments of `kb`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KbParams {
    /// Words by which what is added can be found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// For the user alone, instead of everybody who uses the worker.
    #[serde(skip_serializing_if = "is_false")]
    pub private: bool,
    /// How many days of a journal are read, counted in UTC and with today; otherwise 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31))]
    pub days: Option<u32>,
}

/// How bad something is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Routine; nobody needs to look.
    Info,
    /// Unusual, but harmless alone.
    Low,
    /// Somebody should look today.
    Medium,
    /// Somebody should look now.
    High,
    /// A host is compromised, data is being lost, or the system is down.
    Critical,
}

/// Named arguments of `event`. The keys of the network alerts of older clients stand for an event
/// with these fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventParams {
    /// The event as an object, beside or instead of the lines in `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<serde_json::Map<String, serde_json::Value>>,
    /// Only incidents from this severity on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
    /// How long a model is waited for, at most 60,000; otherwise 10,000. 0: rules alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// When it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<serde_json::Value>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    /// To whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_ip: Option<String>,
    /// From which port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// To which port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_port: Option<u16>,
    /// The program that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What it is, such as `database_attack`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threat_type: Option<String>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How bad it is, from 1 to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_level: Option<u8>,
    /// What was done about it, such as `blocked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// Named arguments of `subscribe`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SubscribeParams {
    /// Only incidents from this severity on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
    /// Only those of this category, such as `bruteforce`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Begin behind the line with this `seq`; otherwise with what comes from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// Named arguments of `incidents`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IncidentsParams {
    /// For "list": only those from this severity on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
    /// For "list": only those of this category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// For "list": also those that were closed.
    #[serde(skip_serializing_if = "is_false")]
    pub all: bool,
    /// For "list": at most so many, the newest; otherwise 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// For "close ID": it was none.
    #[serde(skip_serializing_if = "is_false")]
    pub false_positive: bool,
    /// For "close ID": why, for those who come later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
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

/// Who says a [`Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Standing instructions.
    System,
    /// The client's side.
    User,
    /// The model's side.
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text.
    pub content: String,
}

impl Message {
    /// A message of `role`.
    #[must_use]
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
        }
    }
}

/// A request for text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ask {
    /// The user's text; or give `messages`.
    #[serde(default)]
    pub input: String,
    /// The whole conversation, the last message being the user's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Message>,
    /// The model to use, instead of the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A name under which the worker keeps the conversation between requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// `false`: nothing but the `done` line.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub stream: bool,
    /// Named arguments; an unknown name is refused.
    #[serde(default)]
    pub params: AskParams,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            input: String::new(),
            messages: Vec::new(),
            model: None,
            session: None,
            stream: true,
            params: AskParams::default(),
        }
    }
}

impl Ask {
    /// A plain question.
    #[must_use]
    pub fn new(input: impl Into<String>) -> Self {
        Self {
            input: input.into(),
            ..Self::default()
        }
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

/// Named arguments of `ask`. What is absent takes the worker's configured default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AskParams {
    /// Standing instructions, put before the conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Most tokens to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// 0 always takes the likeliest token; up to 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Keep the likeliest tokens whose probabilities sum to this; above 0, up to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Keep this many of the likeliest tokens; 0 keeps all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Drop tokens less likely than this share of the likeliest one; 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f32>,
    /// Divide the logits of recent tokens by this; 1 is off, up to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_penalty: Option<f32>,
    /// Start of the random numbers; `done` tells which was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// End the answer before any of these texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// The answer is JSON that this JSON Schema accepts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<serde_json::Value>,
    /// The answer matches this regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// The answer matches this Lark grammar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lark: Option<String>,
    /// Keep what the model computes of the prompt before the last message under this name: it is
    /// then there for other requests, also after a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_name: Option<String>,
    /// Instead of writing, tell how likely each of these answers is: `result` is the likeliest,
    /// and `data.choices` has their probabilities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// Whether the model may think before it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub think: Option<Think>,
    /// Return the log-probability of each token, and of this many of the likeliest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u8>,
    /// Who goes first when slots are short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Give up this long after the request was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// What to do with a prompt that is too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Overflow>,
    /// Give the text to the model as it is, without the chat template.
    #[serde(skip_serializing_if = "is_false")]
    pub raw: bool,
    /// Go on past the model's end mark, up to `max_tokens` (for measuring).
    #[serde(skip_serializing_if = "is_false")]
    pub ignore_eos: bool,
    /// Plan, do what the policy allows, and answer from what was seen.
    #[serde(skip_serializing_if = "is_false")]
    pub agent: bool,
    /// Answer in this voice; empty: in none. In a session it holds for what follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personality: Option<String>,
    /// Put passages of what is remembered behind the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieve: Option<bool>,
    /// Whether the request may leave the machine; absent: what the settings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_cloud: Option<bool>,
    /// How confidential it is. What is private never leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// `high`: better answers than the local model's are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// What to do when an answer from the cloud is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_interrupt: Option<OnInterrupt>,
    /// Only tell where the request would go, and the exact bytes that would be sent.
    #[serde(skip_serializing_if = "is_false")]
    pub dry_run: bool,
}

/// How confidential a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// It never leaves the machine.
    Private,
    /// It may go to providers that the settings allow, redacted.
    Internal,
    /// Anybody may read it.
    Public,
}

/// How good an answer should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// What the local model can do.
    Normal,
    /// Better than that, if somebody else may be asked.
    High,
}

/// What to do when an answer from the cloud is cut after text was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnInterrupt {
    /// End with `upstream_interrupted`.
    Error,
    /// Let the local model go on from the text so far.
    ContinueLocal,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Who goes first when slots are short.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Batch work that may wait.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Somebody is waiting for it.
    High,
}

/// What to do with a prompt that is too long for the context.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// Answer `context_overflow`, with both numbers.
    #[default]
    Error,
    /// Cut the oldest text of the prompt; `done.truncated_tokens` tells how much.
    TruncateHead,
}

/// Whether the model may think before it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Think {
    /// Answer at once.
    #[default]
    Off,
    /// Think as long as it likes, within `max_tokens`.
    On,
    /// Think for at most this many tokens, then answer.
    Budget(u32),
}

impl Serialize for Think {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::On => serializer.serialize_str("on"),
            Self::Budget(tokens) => serializer.serialize_u32(*tokens),
        }
    }
}

impl<'de> Deserialize<'de> for Think {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Think;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"off\", \"on\" or a number of tokens")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Think, E> {
                match text {
                    "off" => Ok(Think::Off),
                    "on" => Ok(Think::On),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Think, E> {
                Ok(if on { Think::On } else { Think::Off })
            }

            fn visit_u64<E: de::Error>(self, tokens: u64) -> Result<Think, E> {
                u32::try_from(tokens)
                    .map(Think::Budget)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(tokens), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Think {
    fn schema_name() -> Cow<'static, str> {
        "Think".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Whether the model may think before it answers; a number is a budget in tokens.",
            "anyOf": [
                { "enum": ["off", "on"] },
                { "type": "boolean" },
                { "type": "integer", "minimum": 0, "maximum": u32::MAX },
            ],
        })
    }
}
