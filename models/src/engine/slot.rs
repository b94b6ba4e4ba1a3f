//! One request for text while it is being served: from logits to events.

use std::time::{Duration, Instant};

use super::outbox::{Delivery, Outbox};
use crate::backend::SeqId;
use crate::grammar::Constraint;
use crate::job::{ChosenToken, Event, FinishReason, Generate, JobError, JobId, Outcome, Priority};
use crate::sampler::{LogSoftmax, Sampler};
use crate::text::{Channel, Piece, TextStream};
use crate::vocabulary::{Token, TokenKind, Vocabulary};

/// How a job ended.
pub(super) type Ending = Result<FinishReason, JobError>;

/// What the engine knows of a job before it has a slot.
#[derive(Debug)]
pub(super) struct Ticketed {
    pub(super) id: JobId,
    pub(super) priority: Priority,
    pub(super) submitted: Instant,
    pub(super) deadline: Option<Instant>,
    pub(super) outbox: Outbox,
}

/// A request in a slot.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) job: Ticketed,
    pub(super) seq: SeqId,
    /// The prompt and everything written so far.
    history: Vec<Token>,
    /// How much of `history` the backend holds. What is beyond has to be computed next; there
    /// is always at least one token.
    in_cache: usize,
    prompt_len: usize,
    generate: Generate,
    sampler: Sampler,
    constraint: Option<Constraint>,
    text: TextStream,
    thinking_tokens: u32,
    started: Instant,
    /// Since when the reader has not taken what was said.
    stalled: Option<Instant>,
    first_token: Option<Instant>,
}

impl Slot {
    pub(super) fn new(
        job: Ticketed,
        seq: SeqId,
        mut generate: Generate,
        constraint: Option<Constraint>,
        vocabulary: &Vocabulary,
    ) -> Self {
        let thinking = &generate.thinking;
        let channel = if thinking.opened {
            Channel::Thinking
        } else {
            Channel::Answer
        };
        let stops = std::mem::take(&mut generate.stop);
        let history = std::mem::take(&mut generate.prompt);
        let mut slot = Self {
            text: TextStream::new(channel, thinking.tags.clone(), stops),
            sampler: Sampler::new(generate.sampling.clone()),
            prompt_len: history.len(),
            in_cache: 0,
            thinking_tokens: 0,
            started: Instant::now(),
            stalled: None,
            first_token: None,
            job,
            seq,
            history,
            generate,
            constraint,
        };
        for &token in &slot.history {
            slot.sampler.accept(token);
        }
        let thinking = &slot.generate.thinking;
        if slot.constraint.is_some() && thinking.wanted && !thinking.opened {
            let open = thinking
                .tags
                .as_ref()
                .map(|tags| format!("{}\n", tags.open));
            slot.force(&open.unwrap_or_default(), vocabulary);
        }
        slot
    }

    /// The tokens that have to be computed next.
    pub(super) fn pending(&self) -> &[Token] {
        &self.history[self.in_cache..]
    }

    /// Where the next token to compute stands in the sequence.
    pub(super) fn position(&self) -> u32 {
        to_u32(self.in_cache)
    }

    /// Whether the prompt is still being read.
    pub(super) fn prefilling(&self) -> bool {
        self.in_cache + 1 < self.prompt_len || self.in_cache == 0
    }

    /// Cells that the slot may come to need.
    pub(super) fn cells_reserved(&self) -> u32 {
        cells_needed(&self.generate, self.prompt_len)
    }

    /// Whether the slot can be part of the next batch: a reader that is behind holds it back.
    pub(super) fn runnable(&self) -> bool {
        self.job.outbox.is_clear()
    }

    /// Tries again to hand over what was said.
    pub(super) fn deliver(&mut self) -> Delivery {
        let delivery = self.job.outbox.flush();
        self.stalled = match delivery {
            Delivery::Stalled => self.stalled.or_else(|| Some(Instant::now())),
            Delivery::Clear | Delivery::Gone => None,
        };
        delivery
    }

    /// How long the reader has not taken what was said.
    pub(super) fn stalled_for(&self) -> Duration {
        self.stalled.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Takes note that the backend computed the next `count` pending tokens.
    pub(super) fn computed(&mut self, count: usize) {
        let reading = self.prefilling();
        self.in_cache += count;
        if reading && self.prefilling() {
            self.job.outbox.send_news(Event::Prefill {
                done: to_u32(self.in_cache),
                total: to_u32(self.prompt_len),
            });
        }
    }

    /// Takes note that the backend lost the sequence: all of it has to be computed again.
    pub(super) fn cache_lost(&mut self) {
        self.in_cache = 0;
    }

    /// Chooses the next token and says what can be said. `Some`: the job ended.
    pub(super) fn step(&mut self, logits: &[f32], vocabulary: &Vocabulary) -> Option<Ending> {
        self.try_step(logits, vocabulary)
            .unwrap_or_else(|fault| Some(Err(fault)))
    }

    fn try_step(
        &mut self,
        logits: &[f32],
        vocabulary: &Vocabulary,
    ) -> Result<Option<Ending>, JobError> {
        let constrained = self.text.channel() == Channel::Answer;
        let constraint = self.constraint.as_mut().filter(|_| constrained);
        let allowed = constraint.map(Constraint::allowed).transpose();
        let allowed = allowed.map_err(|fault| JobError::Grammar(fault.0))?;
        let token = self.sampler.choose(logits, allowed.as_ref());
        let token = token.ok_or_else(|| {
            JobError::Backend("the model gave no usable logits (NaN or nothing allowed)".into())
        })?;
        self.first_token.get_or_insert_with(Instant::now);

        let ends = vocabulary.ends_generation(token) && !self.generate.ignore_end;
        if ends && self.text.channel() == Channel::Thinking && self.constraint.is_some() {
            // The model thinks that it is done before it answered; the answer is still owed.
            return Ok(self.close_thinking(vocabulary));
        }
        if ends {
            return Ok(Some(Ok(FinishReason::Stop)));
        }
        if let Some(constraint) = self.constraint.as_mut().filter(|_| constrained) {
            let accepted = constraint.accept(token);
            accepted.map_err(|fault| JobError::Grammar(fault.0))?;
        }
        let chosen = self.generate.logprobs.map(|alternatives| {
            let row = LogSoftmax::new(logits);
            ChosenToken {
                token,
                logprob: row.of(token),
                top: row.top(alternatives.into()),
            }
        });
        Ok(self.append(token, chosen, vocabulary))
    }

    /// Adds a token to the text. `Some`: the job ended.
    fn append(
        &mut self,
        token: Token,
        chosen: Option<ChosenToken>,
        vocabulary: &Vocabulary,
    ) -> Option<Ending> {
        let before = self.text.channel();
        self.history.push(token);
        self.sampler.accept(token);
        if before == Channel::Thinking {
            self.thinking_tokens += 1;
        }
        let mut pieces = Vec::new();
        if self.shows(token, vocabulary) {
            self.text.push(vocabulary.piece(token), &mut pieces);
        }
        self.say(pieces, chosen);

        let complete = self.constraint.as_ref().is_some_and(Constraint::complete);
        if self.text.stopped() || complete {
            return Some(Ok(FinishReason::Stop));
        }
        if self.output_tokens() >= self.generate.max_tokens {
            return Some(Ok(FinishReason::Length));
        }
        let after = self.text.channel();
        if before == Channel::Thinking && after == Channel::Answer && self.constraint.is_some() {
            // What the model has learnt to write next is not part of the grammar.
            return self.force("\n\n", vocabulary);
        }
        let budget = self.generate.thinking.budget_tokens;
        if after == Channel::Thinking && budget.is_some_and(|most| self.thinking_tokens >= most) {
            return self.close_thinking(vocabulary);
        }
        None
    }

    fn close_thinking(&mut self, vocabulary: &Vocabulary) -> Option<Ending> {
        let tags = self.generate.thinking.tags.as_ref();
        let close = tags.map(|tags| format!("\n{}", tags.close));
        // Closed once: what was asked for is over, also if the model opens it again.
        self.generate.thinking.budget_tokens = None;
        self.force(&close.unwrap_or_default(), vocabulary)
    }

    /// Adds text that the model did not choose.
    fn force(&mut self, text: &str, vocabulary: &Vocabulary) -> Option<Ending> {
        let tokens = vocabulary.encode(text, true);
        tokens
            .into_iter()
            .find_map(|token| self.append(token, None, vocabulary))
    }

    /// Control tokens write nothing, except those that mark the thinking.
    fn shows(&self, token: Token, vocabulary: &Vocabulary) -> bool {
        match vocabulary.kind(token) {
            TokenKind::Text => true,
            TokenKind::Unused => false,
            TokenKind::Control => self.generate.thinking.tags.as_ref().is_some_and(|tags| {
                let name = vocabulary.piece_lossy(token);
                tags.open.contains(&name) || tags.close.contains(&name)
            }),
        }
    }

    fn say(&mut self, pieces: Vec<Piece>, chosen: Option<ChosenToken>) {
        let mut tokens: Vec<ChosenToken> = chosen.into_iter().collect();
        for Piece { channel, text } in pieces {
            let tokens = std::mem::take(&mut tokens);
            self.job.outbox.send(Event::Text {
                channel,
                text,
                tokens,
            });
        }
        if !tokens.is_empty() {
            self.job.outbox.send(Event::Text {
                channel: self.text.channel(),
                text: String::new(),
                tokens,
            });
        }
    }

    pub(super) fn output_tokens(&self) -> u32 {
        to_u32(self.history.len() - self.prompt_len)
    }

    /// How long the job has had its slot.
    pub(super) fn service_time(&self) -> Duration {
        self.started.elapsed()
    }

    /// Says the last words; what is left of the slot is its outbox.
    pub(super) fn end(mut self, ending: Ending) -> Outbox {
        let mut pieces = Vec::new();
        self.text.finish(&mut pieces);
        self.say(pieces, None);
        let event = match ending {
            Err(fault) => Event::Failed(fault),
            Ok(reason) => {
                let now = Instant::now();
                let first = self.first_token.unwrap_or(now);
                Event::Finished(Outcome {
                    reason,
                    cached_tokens: 0,
                    output_tokens: self.output_tokens(),
                    thinking_tokens: self.thinking_tokens,
                    queue_ms: millis(self.started - self.job.submitted),
                    prefill_ms: millis(first - self.started),
                    decode_ms: millis(now - first),
                })
            }
        };
        self.job.outbox.send(event);
        self.job.outbox
    }
}

/// Cells that a request may come to need.
pub(super) fn cells_needed(generate: &Generate, prompt_len: usize) -> u32 {
    to_u32(prompt_len).saturating_add(generate.max_tokens)
}

pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn to_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
