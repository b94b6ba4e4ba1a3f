//! The answer that a caller reads: secrets restored, cost settled however it ends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::attempt::Attempt;
use crate::budget::{Amount, Reservation, Warning};
use crate::cache::{Cache, CacheKey};
use crate::endpoint::Provider;
use crate::error::Failure;
use crate::prices::Price;
use crate::redact::{Counts, Restorer};
use crate::request::{BYTES_PER_TOKEN, Event, Finish, Reported, ToolCall, Usage, estimate};

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Of its text.
    Text(String),
    /// Of the model's thinking.
    Thinking(String),
    /// A call of a tool.
    Tool(ToolCall),
}

/// Who answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The provider's name in the settings.
    pub provider: String,
    /// The model, as the provider calls it.
    pub model: String,
    /// Whether it is an earlier answer to the same request.
    pub from_cache: bool,
}

/// How an answer ended and what it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finished {
    /// Who answered.
    pub provenance: Provenance,
    /// How many tokens it took, failed tries of the same answer included.
    pub usage: Usage,
    /// What it cost, in billionths of a dollar, failed tries included, also of others; none: there is
    /// no price.
    pub nanos: Option<u64>,
    /// Why it ended; none: it was interrupted.
    pub finish: Option<Finish>,
}

/// An answer that is coming. Dropping it closes the connection at once, and what came is paid for.
pub struct Answer {
    body: Body,
    /// Providers that were tried before, and how they failed.
    pub failures: Vec<Failure>,
    /// What was taken out of the request, by kind.
    pub redacted: Counts,
    /// Limits of which most is gone.
    pub warnings: Vec<Warning>,
}

enum Body {
    Live(Box<Live>),
    Whole {
        pieces: VecDeque<Piece>,
        finished: Finished,
    },
}

/// An answer on its way, past its first token.
pub(crate) struct Live {
    pub(crate) provider: Arc<Provider>,
    pub(crate) attempt: Attempt,
    /// When the breaker let it through.
    pub(crate) entered: Instant,
    pub(crate) reservation: Reservation,
    pub(crate) restorer: Restorer,
    /// For the arguments of tools, which come whole.
    pub(crate) arguments: Restorer,
    pub(crate) price: Option<Price>,
    pub(crate) input_estimate: u64,
    pub(crate) max_tokens: u32,
    pub(crate) seen: Seen,
    pub(crate) waiting: VecDeque<Piece>,
    /// Where the answer is kept when it is whole, and its text until now.
    pub(crate) keep: Option<(Arc<Mutex<Cache>>, CacheKey, String)>,
    /// What failed tries at the same provider cost.
    pub(crate) nanos_before: u64,
    pub(crate) over: bool,
    /// What interrupted it.
    pub(crate) failed: Option<Failure>,
}

/// What was seen of an answer until now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) model: Option<String>,
    pub(crate) reported: Reported,
    /// Bytes that the model wrote, in whatever form.
    pub(crate) bytes: usize,
    pub(crate) finish: Option<Finish>,
}

impl Answer {
    pub(crate) fn live(live: Live, redacted: Counts, failures: Vec<Failure>) -> Self {
        Self {
            warnings: live.reservation.warnings.clone(),
            body: Body::Live(Box::new(live)),
            failures,
            redacted,
        }
    }

    pub(crate) fn whole(pieces: VecDeque<Piece>, finished: Finished) -> Self {
        Self {
            body: Body::Whole { pieces, finished },
            failures: Vec::new(),
            redacted: Counts::new(),
            warnings: Vec::new(),
        }
    }

    /// The next piece; none when the answer is whole. It may be dropped while it waits.
    ///
    /// # Errors
    /// The failure that interrupted it. What came before it is still an answer's beginning, and
    /// [`Answer::finished`] says what it took.
    pub async fn next(&mut self) -> Result<Option<Piece>, Failure> {
        match &mut self.body {
            Body::Live(live) => live.next().await,
            Body::Whole { pieces, .. } => Ok(pieces.pop_front()),
        }
    }

    /// Who answers, as far as that is known.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        self.finished().provenance
    }

    /// How it ended, or how it stands.
    #[must_use]
    pub fn finished(&self) -> Finished {
        match &self.body {
            Body::Live(live) => {
                let mut finished = live.finished();
                let others = self.failures.iter().map(|failure| failure.nanos);
                let before = others.fold(live.nanos_before, u64::saturating_add);
                finished.nanos = finished.nanos.map(|nanos| nanos.saturating_add(before));
                finished
            }
            Body::Whole { finished, .. } => finished.clone(),
        }
    }
}

impl Live {
    async fn next(&mut self) -> Result<Option<Piece>, Failure> {
        loop {
            if let Some(piece) = self.waiting.pop_front() {
                return Ok(Some(piece));
            }
            if let Some(failure) = &self.failed {
                return Err(failure.clone());
            }
            if self.over {
                return Ok(None);
            }
            match self.attempt.next().await {
                Ok(Some(event)) => self.take(event),
                Ok(None) => self.end(),
                Err(failure) => {
                    self.provider.report(self.entered, &failure);
                    // What was held back belongs to the text so far.
                    self.show(Restorer::finish);
                    self.failed = Some(failure);
                }
            }
        }
    }

    /// Takes an event into account, and what of it is to be shown.
    pub(crate) fn take(&mut self, event: Event) {
        self.seen.bytes += match &event {
            Event::Text(text) | Event::Thinking(text) => text.len(),
            Event::Tool(call) => call.name.len() + call.arguments.len(),
            _ => 0,
        };
        match event {
            Event::Text(text) => self.show(|restorer| restorer.push(&text)),
            Event::Thinking(text) => self.waiting.push_back(Piece::Thinking(text)),
            Event::Tool(mut call) => {
                call.arguments = self.arguments.whole_json(&call.arguments);
                self.waiting.push_back(Piece::Tool(call));
            }
            Event::Model(model) => self.seen.model = Some(model),
            Event::Usage(reported) => self.seen.reported.update(reported),
            Event::Finish(finish) => self.seen.finish = Some(finish),
        }
        let amount = self.amount();
        self.reservation.so_far(amount);
        if self.seen.finish.is_none() && self.seen.bytes > self.bytes_max() {
            self.seen.finish = Some(Finish::Length);
            self.attempt.stop();
        }
    }

    /// No answer of `max_tokens` has more bytes: what goes on then keeps to no limit, and is ended
    /// before it takes much more than was set aside.
    fn bytes_max(&self) -> usize {
        let tokens = u64::from(self.max_tokens);
        let most = (tokens + 64).max(tokens * 2);
        usize::try_from(most * BYTES_PER_TOKEN).unwrap_or(usize::MAX)
    }

    fn show(&mut self, restored: impl FnOnce(&mut Restorer) -> String) {
        let text = restored(&mut self.restorer);
        if text.is_empty() {
            return;
        }
        if let Some((.., whole)) = &mut self.keep {
            whole.push_str(&text);
        }
        self.waiting.push_back(Piece::Text(text));
    }

    fn end(&mut self) {
        self.over = true;
        self.show(Restorer::finish);
        let finished = self.finished();
        if let Some((cache, key, text)) = self.keep.take()
            && finished.finish == Some(Finish::Stop)
        {
            let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
            cache.put(key, text, finished, Instant::now());
        }
    }

    fn finished(&self) -> Finished {
        let usage = self.usage();
        Finished {
            provenance: Provenance {
                provider: self.provider.settings.name.clone(),
                model: self
                    .seen
                    .model
                    .clone()
                    .unwrap_or_else(|| self.provider.settings.model.clone()),
                from_cache: false,
            },
            nanos: self.price.as_ref().map(|price| price.nanos(&usage)),
            usage,
            finish: self.seen.finish,
        }
    }

    fn usage(&self) -> Usage {
        let Seen {
            reported,
            bytes,
            finish,
            ..
        } = &self.seen;
        // One piece may be longer than all that was allowed.
        let bytes = (*bytes).min(self.bytes_max());
        let believed = reported.believed(self.input_estimate, bytes, self.max_tokens);
        if finish.is_some() {
            return believed;
        }
        // Numbers that came before the end are not those of the end.
        Usage {
            output_tokens: believed.output_tokens.max(estimate(bytes)),
            estimated: true,
            ..believed
        }
    }

    pub(crate) fn amount(&self) -> Amount {
        let usage = self.usage();
        Amount {
            tokens: usage.input_tokens.saturating_add(usage.output_tokens),
            nanos: self.price.as_ref().map_or(0, |price| price.nanos(&usage)),
        }
    }
}

impl Usage {
    /// Both together: for an answer that took two tries.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            estimated: self.estimated || other.estimated,
        }
    }
}
