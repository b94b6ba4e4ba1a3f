//! What the worker says: stream lines, and one terminal [`Done`] for each request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::WireError;
use crate::request::{ActionId, Severity};

/// One line from the worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Line {
    /// The request is good and was queued.
    Accepted(Accepted),
    /// A sign of life while nothing else can be said.
    Progress(Progress),
    /// The next piece of the answer.
    Token(TextLine),
    /// The next piece of the model's thinking.
    Thinking(TextLine),
    /// The next piece of a module's answer.
    Module(TextLine),
    /// What a tool says while it is at work.
    Tool(TextLine),
    /// A step of a plan begins or has ended.
    Step(Step),
    /// What a command does: its beginning, its output, its end.
    Shell(ShellLine),
    /// Somebody has to say yes before the request goes on.
    Approval(Approval),
    /// The request leaves the machine.
    Route(Route),
    /// Something that the client should know, and that does not end the request.
    Warning(Warning),
    /// Something happened that a subscriber wants to know.
    Incident(Box<IncidentLine>),
    /// Files of a directory that is followed were taken in, or what they said was removed.
    Ingest(IngestLine),
    /// The end of the request.
    Done(Box<Done>),
}

impl Line {
    /// The request that the line belongs to.
    #[must_use]
    pub fn action_id(&self) -> &ActionId {
        match self {
            Self::Accepted(line) => &line.action_id,
            Self::Progress(line) => &line.action_id,
            Self::Token(line) | Self::Thinking(line) | Self::Module(line) | Self::Tool(line) => {
                &line.action_id
            }
            Self::Step(line) => &line.action_id,
            Self::Shell(line) => &line.action_id,
            Self::Approval(line) => &line.action_id,
            Self::Route(line) => &line.action_id,
            Self::Warning(line) => &line.action_id,
            Self::Incident(line) => &line.action_id,
            Self::Ingest(line) => &line.action_id,
            Self::Done(line) => &line.action_id,
        }
    }
}

/// The request is good and was queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// The request.
    pub action_id: ActionId,
    /// The model that will answer.
    pub model: String,
    /// Length of the prompt, with the chat template.
    pub prompt_tokens: u32,
    /// Most tokens that the answer may have: the request's `max_tokens`, or what the context leaves.
    pub max_tokens: u32,
    /// Whose voice the answer has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<String>,
    /// How many passages of what is remembered stand behind the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passages: Option<u32>,
}

/// Where a waiting request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The model is being loaded; `done` of `total` percent.
    Loading,
    /// Waiting for a slot; `queue_position` requests go first.
    Queued,
    /// Reading the prompt; `done` of `total` tokens.
    Prefill,
    /// Writing, but nothing can be shown yet.
    Generating,
    /// A module, a tool or a command is at work and has said nothing yet.
    Running,
    /// Somebody paused the run.
    Paused,
}

/// A sign of life, at least every 10 seconds while nothing else is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// The request.
    pub action_id: ActionId,
    /// What is being done.
    pub phase: Phase,
    /// How many requests go first (while queued).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
    /// How much of `total` is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u32>,
    /// What `done` counts up to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u32>,
}

/// A piece of text. Always whole characters; often one token, sometimes several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TextLine {
    /// The request.
    pub action_id: ActionId,
    /// The text to append.
    pub result: String,
    /// The tokens behind the text, if the request asked for `logprobs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<TokenLogprob>,
}

/// A chosen token and its log-probability (natural logarithm, before temperature).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokenLogprob {
    /// Its number in the vocabulary.
    pub id: u32,
    /// Its text; a token that is part of a character shows U+FFFD.
    pub token: String,
    /// Its log-probability.
    pub logprob: f32,
    /// The likeliest tokens at this place, the likeliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<TopLogprob>,
}

/// A token that could have been chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopLogprob {
    /// Its number in the vocabulary.
    pub id: u32,
    /// Its text.
    pub token: String,
    /// Its log-probability.
    pub logprob: f32,
}

/// A step of a plan that is being followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// The request.
    pub action_id: ActionId,
    /// The run, by which it can be paused, and resumed after a restart.
    pub run: String,
    /// The command or the tool.
    pub result: String,
    /// Which one it is, from 1 on, through all plans of the request.
    pub step: u32,
    /// How it stands.
    pub state: StepState,
    /// Its exit code, if it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// It begins.
    Running,
    /// It ended with 0.
    Done,
    /// It ended with something else, or could not be run.
    Failed,
    /// The policy, or somebody who was asked, said no.
    Denied,
    /// There is no such tool.
    Unavailable,
    /// The worker ended while it ran, so that nobody knows; it is not run again.
    Unknown,
}

/// A line of a command, with the eight keys of the old dialect in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShellLine {
    /// The request.
    pub action_id: ActionId,
    /// The command; of one over 1 KiB its beginning, but for the first line.
    pub input: String,
    /// `$ COMMAND`, a line of output, or `[exit CODE]`.
    pub result: String,
    /// Which of them.
    pub metadata: ShellEvent,
    /// When, in UTC, as RFC 3339.
    pub timestamp: String,
    /// Always null; the old dialect has it.
    pub source: Option<String>,
    /// Always null; the old dialect has it.
    pub model: Option<String>,
}

/// What a [`ShellLine`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum ShellEvent {
    /// It begins.
    Start,
    /// A line of output.
    Stream,
    /// It has ended.
    End {
        /// Its exit code; 128 and the signal's number if a signal ended it.
        code: i32,
    },
}

/// A question: somebody who may has to `approve` before something is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// The request.
    pub action_id: ActionId,
    /// What `approve` names in its `input`.
    pub id: String,
    /// What is to be done, for people.
    pub result: String,
    /// The same as data.
    pub wanted: serde_json::Value,
    /// The rule of the policy that asks.
    pub rule: String,
    /// Why it asks.
    pub reason: String,
    /// How bad it is if it was wrong: low, medium, high or critical.
    pub risk: String,
    /// Files that it reads or changes, as far as one can know.
    pub touches: Vec<String>,
    /// Silence for so long means no.
    pub wait_ms: u64,
}

/// Something that the client should know, and that does not end the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// The request.
    pub action_id: ActionId,
    /// What happened.
    pub result: String,
}

/// What a look at a directory that is followed came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IngestLine {
    /// The request.
    pub action_id: ActionId,
    /// The same in one line, for people.
    pub result: String,
    /// How many files were read, and how many passages added, known already and removed; what was
    /// left out, and why.
    pub data: serde_json::Value,
}

/// An incident, with the eight keys of the old dialect in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentLine {
    /// The request.
    pub action_id: ActionId,
    /// Always empty; the old dialect has it.
    pub input: String,
    /// The incident in one line.
    pub result: String,
    /// How bad it is and what it is about.
    pub metadata: IncidentKind,
    /// When it was judged, in UTC, as RFC 3339.
    pub timestamp: String,
    /// Always null; the old dialect has it.
    pub source: Option<String>,
    /// Always null; the old dialect has it.
    pub model: Option<String>,
    /// What `subscribe` goes on behind.
    pub seq: u64,
    /// The incident as data.
    pub data: serde_json::Value,
}

/// How bad an incident is and what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentKind {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, such as `bruteforce`.
    pub category: String,
}

/// The request leaves the machine: to whom, and why. Comes before the first token, once for each
/// time that somebody else is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// The request.
    pub action_id: ActionId,
    /// The same in one sentence.
    pub result: String,
    /// Who is asked, in this order, until one answers.
    pub providers: Vec<String>,
    /// Why: `not_loaded`, `too_long`, `too_slow`, `queue_full`, `low_memory`, `gpu_busy`,
    /// `quality` or `local_failed`.
    pub cause: String,
    /// Everything that was looked at, in order.
    pub reasons: Vec<String>,
}

/// The end of a request: the eight keys of the old dialect in their order, then the new ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// The request.
    pub action_id: ActionId,
    /// Always empty; the old dialect has it.
    pub input: String,
    /// The whole answer, once. On an error the part that was written, or null.
    pub result: Option<String>,
    /// How the request ended, in the old dialect's place.
    pub metadata: Metadata,
    /// When, in UTC, as RFC 3339.
    pub timestamp: String,
    /// Who answered.
    pub source: Source,
    /// The model that answered; null if none did.
    pub model: Option<String>,
    /// Why the answer ended. Only answers of a model have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<FinishReason>,
    /// The model's thinking, whole, if there was any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// What was counted and measured. Only answers of a model have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The seed that gives this answer again, if chance had a part in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Prompt tokens that were cut, if `overflow` allowed it and it was needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated_tokens: Option<u32>,
    /// The conversation that this turn was added to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Every token's log-probability, if asked for and the answer was not streamed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<TokenLogprob>,
    /// The answer of an operation other than `ask`, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
    /// What went wrong, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireError>,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Metadata {
    /// The end in one word.
    pub status: Status,
    /// The exit code of a command; 128 and the signal's number if a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
}

impl From<Status> for Metadata {
    fn from(status: Status) -> Self {
        Self { status, code: None }
    }
}

/// The end of a request in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As asked.
    Done,
    /// The client stopped it, or its deadline passed; `result` has what was written.
    Stopped,
    /// See `error`.
    Error,
}

/// Who answered, as one word: `local`, `worker`, `module`, `shell`, `tool`, `cache`, `error`, or
/// `cloud:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub enum Source {
    /// A model on this machine.
    Local,
    /// A provider in the cloud, by its name in the settings.
    Cloud(String),
    /// An earlier answer of a provider to the same request.
    Cache,
    /// The worker itself.
    Worker,
    /// A native module.
    Module,
    /// A command on the machine.
    Shell,
    /// A tool.
    Tool,
    /// Nobody: see `error`.
    Error,
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        match source {
            Source::Local => "local".to_owned(),
            Source::Cloud(name) => format!("cloud:{name}"),
            Source::Cache => "cache".to_owned(),
            Source::Worker => "worker".to_owned(),
            Source::Module => "module".to_owned(),
            Source::Shell => "shell".to_owned(),
            Source::Tool => "tool".to_owned(),
            Source::Error => "error".to_owned(),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Ok(match text.as_str() {
            "local" => Self::Local,
            "cache" => Self::Cache,
            "worker" => Self::Worker,
            "module" => Self::Module,
            "shell" => Self::Shell,
            "tool" => Self::Tool,
            "error" => Self::Error,
            other => match other.strip_prefix("cloud:") {
                Some(name) => Self::Cloud(name.to_owned()),
                None => return Err(format!("unknown source {other:?}")),
            },
        })
    }
}

/// Why a model's answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended it, or a stop string came.
    Stop,
    /// `max_tokens` or the end of the context was reached; JSON may be incomplete.
    Length,
    /// The filter of a provider in the cloud cut it; what came before is in `result`.
    ContentFilter,
    /// Somebody cancelled it.
    Cancelled,
    /// `deadline_ms` passed.
    Deadline,
    /// It failed; see `error`.
    Error,
}

/// What an answer cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// How many of them were not computed again.
    pub cached_tokens: u32,
    /// Tokens written, thinking included.
    pub output_tokens: u32,
    /// How many of them were thinking.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub thinking_tokens: u32,
    /// From reading the request to a slot, in milliseconds.
    pub queue_ms: f64,
    /// From reading the request to the first token, in milliseconds; 0 if none came.
    pub ttft_ms: f64,
    /// Tokens written after the first one, for each second after it; 0 with fewer than two.
    pub tokens_per_second: f64,
    /// What it cost in US dollars, if a provider answered whose price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// The tokens were estimated, because the provider told nothing that can be true.
    #[serde(default, skip_serializing_if = "is_false")]
    pub estimated: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}
