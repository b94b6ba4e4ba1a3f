//! The engine's whole API as plain data: one type for what it is told, one for what it says.
//!
//! Nothing here holds a channel or a pointer, so that an engine can live in another process.

use serde::{Deserialize, Serialize};

use crate::grammar::GrammarSource;
use crate::sampler::Sampling;
use crate::text::{Channel, ThinkTags};
use crate::vocabulary::Token;

/// The engine's number for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub u64);

/// What an engine can be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Take a job into the queue.
    Submit(Box<Job>),
    /// End a job, wherever it is; its last event is `Finished` with [`FinishReason::Cancelled`].
    Cancel(JobId),
    /// A reader has room again: look at the jobs whose events waited.
    Wake,
}

/// Whose job it is: slots are shared fairly between users.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct UserId(pub u64);

/// Who goes first when slots are short.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Priority {
    /// Batch work that may wait.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Somebody is waiting for it.
    High,
}

/// One request to an engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Unique for this engine.
    pub id: JobId,
    /// Who goes first.
    pub priority: Priority,
    /// Whose it is.
    pub user: UserId,
    /// Give up this long after submission, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// What to do.
    pub work: Work,
}

/// What a job wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Work {
    /// Text.
    Generate(Box<Generate>),
    /// A vector for each list of tokens.
    Embed(Vec<Vec<Token>>),
}

impl Work {
    /// How many tokens have to be read.
    #[must_use]
    pub fn prompt_tokens(&self) -> usize {
        match self {
            Self::Generate(generate) => generate.prompt.len(),
            Self::Embed(inputs) => inputs.iter().map(Vec::len).sum(),
        }
    }
}

/// A request for text. The default is no request yet: it has no prompt and writes nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Generate {
    /// At least one token.
    pub prompt: Vec<Token>,
    /// Keep what is computed of the prompt's beginning, across restarts.
    pub keep: Option<Keep>,
    /// Most tokens to write, at least 1.
    pub max_tokens: u32,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// Instead of writing, tell how likely each of these answers is; each has at least one token.
    /// `max_tokens` is then what they have together.
    pub choices: Vec<Vec<Token>>,
    /// What the answer has to match; thinking is free.
    pub grammar: Option<GrammarSource>,
    /// The model's thinking.
    pub thinking: Thinking,
    /// Return log-probabilities, with this many alternatives.
    pub logprobs: Option<u8>,
    /// Go on past end marks.
    pub ignore_end: bool,
}

/// The beginning of a prompt that is worth keeping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// The user's name for it.
    pub name: String,
    /// How many tokens.
    pub tokens: u32,
}

/// How the model's thinking is treated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thinking {
    /// How the model marks it; `None`: the model does not think.
    pub tags: Option<ThinkTags>,
    /// Whether it may think. With a grammar this opens the thinking by force, since a
    /// constrained answer leaves no place for the tag.
    pub wanted: bool,
    /// Whether the prompt already opened it.
    pub opened: bool,
    /// After this many tokens it is closed by force.
    pub budget_tokens: Option<u32>,
}

/// What an engine says of a job. The last one is `Finished`, `Scored`, `Embedded` or `Failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// So many jobs go first.
    Queued {
        /// 0: the next one.
        position: u32,
    },
    /// The job has a slot.
    Started {
        /// Prompt tokens that need not be computed.
        cached_tokens: u32,
        /// Time since submission, in milliseconds.
        queue_ms: f64,
    },
    /// Part of the prompt is read.
    Prefill {
        /// Tokens done.
        done: u32,
        /// Tokens in all.
        total: u32,
    },
    /// Text to show. `text` may be empty while a character is incomplete and `tokens` is not.
    Text {
        /// Where it belongs.
        channel: Channel,
        /// Whole characters.
        text: String,
        /// The chosen tokens, if log-probabilities were asked for.
        tokens: Vec<ChosenToken>,
    },
    /// The vectors, one for each input, of unit length.
    Embedded(Vec<Vec<f32>>),
    /// The choices are read.
    Scored {
        /// For each choice, the natural logarithm of its probability.
        logprobs: Vec<f32>,
        /// What it cost.
        outcome: Outcome,
    },
    /// The text is complete.
    Finished(Outcome),
    /// The job can't be done.
    Failed(JobError),
}

/// A token with its log-probability and the likeliest alternatives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChosenToken {
    /// The token.
    pub token: Token,
    /// Its natural log-probability before temperature and masks.
    pub logprob: f32,
    /// The likeliest tokens at this place, the likeliest first.
    pub top: Vec<(Token, f32)>,
}

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FinishReason {
    /// The model ended it, a stop string came, or the grammar was complete.
    Stop,
    /// `max_tokens` was reached.
    Length,
    /// Somebody cancelled it.
    Cancelled,
    /// The deadline passed.
    Deadline,
}

/// What a finished text cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Why it ended.
    pub reason: FinishReason,
    /// Prompt tokens that were not computed again.
    pub cached_tokens: u32,
    /// Tokens written.
    pub output_tokens: u32,
    /// How many of them were thinking.
    pub thinking_tokens: u32,
    /// From submission to a slot, in milliseconds.
    pub queue_ms: f64,
    /// From the slot to the first token, in milliseconds.
    pub prefill_ms: f64,
    /// From the first token to the last, in milliseconds.
    pub decode_ms: f64,
}

/// Why a job could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum JobError {
    /// The grammar became too costly on the way, or llguidance failed.
    #[error("the grammar failed: {0}")]
    Grammar(String),
    /// The backend failed; other jobs go on if they can.
    #[error("the model failed: {0}")]
    Backend(String),
    /// The first token is not to be expected before the deadline.
    #[error("the first token is expected in {expected_ms} ms, {late_ms} ms after the deadline")]
    WouldMissDeadline {
        /// When it is expected, from now.
        expected_ms: u64,
        /// How much too late that is.
        late_ms: u64,
        /// When the wait is likely to be short enough. `None`: never, the prompt alone takes too
        /// long.
        retry_after_ms: Option<u64>,
    },
    /// The backend can't do this kind of work.
    #[error("{0}")]
    Unsupported(String),
    /// The engine thread is gone.
    #[error("the engine stopped")]
    EngineGone,
}
