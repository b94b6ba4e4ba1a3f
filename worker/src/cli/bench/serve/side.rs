//! One side of a comparison: asking it, and timing what comes back, in the same way for both.

use std::time::{Duration, Instant};

use anyhow::ensure;
use fazai_protocol::Priority;
use fazai_protocol::client::{Client, Reply};
use serde_json::Value;

use super::super::per_second;
use super::ours;
use super::peer::{Events, Peer};
use super::restart::Starter;

/// No answer that was asked for is nearly as long.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Who is asked.
pub(super) enum Side {
    /// The worker; and how others like it are started, if it runs inside this program.
    Ours(Client, Option<Starter>),
    /// What it is compared with.
    Theirs(Peer),
}

/// What is asked, without a chat template if it has no instructions.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) text: String,
    /// What comes before it and is kept across restarts. Only the worker has such a thing.
    pub(super) instructions: Option<String>,
    /// Tokens to write: exactly so many, or at most with a schema.
    pub(super) max_tokens: u32,
    pub(super) schema: Option<Value>,
    /// Where the random numbers start that choose the tokens; `None`: always the likeliest.
    pub(super) chance: Option<u32>,
    /// Who goes first, where the side knows such a thing.
    pub(super) priority: Priority,
}

impl Question {
    pub(super) fn new(text: String, max_tokens: u32) -> Self {
        Self {
            text,
            instructions: None,
            max_tokens,
            schema: None,
            chance: None,
            priority: Priority::Normal,
        }
    }

    /// How much chance there is: as much as the model says, or none.
    pub(super) fn temperature(&self) -> f32 {
        if self.chance.is_some() { 1.0 } else { 0.0 }
    }

    /// Whether the model's end mark is passed over, so that every answer is equally long.
    pub(super) fn ignores_end(&self) -> bool {
        self.schema.is_none()
    }
}

/// What a side counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) prompt_tokens: u64,
    pub(super) cached_tokens: u64,
    pub(super) output_tokens: u64,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            cached_tokens: self.cached_tokens + other.cached_tokens,
            output_tokens: self.output_tokens + other.output_tokens,
        }
    }
}

/// The next part of an answer; the last one has the counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) end: Option<Counts>,
}

/// An answer with its times, which count from sending the question.
#[derive(Debug)]
pub(super) struct Timed {
    /// Until the first text arrived, or the end if there was none.
    pub(super) first: Duration,
    pub(super) whole: Duration,
    pub(super) counts: Counts,
    pub(super) text: String,
}

impl Timed {
    /// Tokens after the first one, for each second after it.
    pub(super) fn tokens_per_second(&self) -> f64 {
        per_second(
            self.counts.output_tokens.saturating_sub(1),
            self.whole - self.first,
        )
    }
}

impl Side {
    /// Sends a question.
    pub(super) async fn begin(&self, question: &Question) -> anyhow::Result<Writing> {
        let sent = Instant::now();
        let stream = match self {
            Self::Ours(client, _) => Stream::Ours(client.ask(ours::ask(question)).await?),
            Self::Theirs(peer) => Stream::Theirs(peer.ask(question).await?),
        };
        Ok(Writing {
            stream,
            sent,
            first: None,
            text: String::new(),
            end: None,
        })
    }

    /// Sends a question and waits for its first token.
    pub(super) async fn first_token(&self, question: &Question) -> anyhow::Result<Writing> {
        let mut writing = self.begin(question).await?;
        while writing.first.is_none() {
            writing.step().await?;
        }
        Ok(writing)
    }

    /// Sends a question and waits for the whole answer.
    pub(super) async fn answer(&self, question: &Question) -> anyhow::Result<Timed> {
        self.begin(question).await?.finish().await
    }
}

enum Stream {
    Ours(Reply),
    Theirs(Events),
}

/// An answer that is being written. Dropping it is leaving: it is cancelled.
pub(super) struct Writing {
    stream: Stream,
    sent: Instant,
    first: Option<Duration>,
    text: String,
    end: Option<(Duration, Counts)>,
}

impl Writing {
    async fn step(&mut self) -> anyhow::Result<()> {
        let piece = match &mut self.stream {
            Stream::Ours(reply) => ours::next(reply).await?,
            Stream::Theirs(events) => events.next().await?,
        };
        let now = self.sent.elapsed();
        if !piece.text.is_empty() || piece.end.is_some() {
            self.first.get_or_insert(now);
        }
        self.text.push_str(&piece.text);
        ensure!(
            self.text.len() <= ANSWER_BYTES_MAX,
            "the answer is longer than {ANSWER_BYTES_MAX} bytes"
        );
        self.end = piece.end.map(|counts| (now, counts));
        Ok(())
    }

    /// Waits for the end.
    pub(super) async fn finish(mut self) -> anyhow::Result<Timed> {
        loop {
            if let Some((whole, counts)) = self.end {
                return Ok(Timed {
                    first: self.first.unwrap_or(whole),
                    whole,
                    counts,
                    text: self.text,
                });
            }
            self.step().await?;
        }
    }
}
