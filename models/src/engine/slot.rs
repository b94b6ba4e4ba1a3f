//! One request for text while it is being served: from logits to events.

use std::time::{Duration, Instant};

use super::draft::Drafter;
use super::numbers::{millis, to_u32};
use super::outbox::{Delivery, Outbox};
use crate::backend::SeqId;
use crate::grammar::Constraint;
use crate::job::{
    ChosenToken, Event, FinishReason, Generate, JobError, JobId, Keep, Outcome, Priority,
};
use crate::sampler::{LogSoftmax, Sampler};
use crate::text::{Channel, Piece, TextStream};
use crate::vocabulary::{Token, TokenKind, Vocabulary};

/// How a job ended.
pub(super) type Ending = Result<FinishReason, JobError>;

/// What one batch brought a slot.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// How the job ended, if it did.
    pub(super) ending: Option<Ending>,
    /// Tokens that were added.
    pub(super) written: u32,
    /// Tokens that were guessed, and how many of them were right.
    pub(super) guessed: usize,
    pub(super) right: usize,
    /// The prompt is read, and what is left of the choices is to be.
    pub(super) to_score: bool,
}

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
    /// Prompt tokens that were computed for this job; the others were there.
    prompt_computed: usize,
    generate: Generate,
    sampler: Sampler,
    constraint: Option<Constraint>,
    drafter: Drafter,
    /// Guessed tokens that are computed behind the pending ones.
    draft: Vec<Token>,
    /// Tokens of the answer that are computed with the prompt and not said yet.
    owed: Vec<Token>,
    /// Log-probabilities of the choices, as far as they are read.
    scores: Vec<f32>,
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
            prompt_computed: 0,
            drafter: Drafter::default(),
            draft: Vec::new(),
            owed: Vec::new(),
            scores: Vec::new(),
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
        slot.begin_forced();
        slot
    }

    /// Puts what the grammar's answer can only begin with behind the prompt, to be computed with
    /// it; it is said when the model has had its first word.
    fn begin_forced(&mut self) {
        if self.text.channel() == Channel::Thinking || self.generate.logprobs.is_some() {
            return;
        }
        let Some(constraint) = &mut self.constraint else {
            return;
        };
        let mut forced = constraint.forced();
        forced.truncate(self.generate.max_tokens as usize);
        for token in forced {
            // What can't be accepted is left to the choice, where the fault is reported.
            if constraint.accept(token).is_err() {
                break;
            }
            self.history.push(token);
            self.sampler.accept(token);
            self.owed.push(token);
        }
    }

    /// Says what the answer had to begin with.
    fn say_owed(&mut self, vocabulary: &Vocabulary) -> Option<Ending> {
        for token in std::mem::take(&mut self.owed) {
            self.show(token, None, vocabulary);
            if self.text.stopped() {
                break;
            }
        }
        self.is_over()
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

    /// How many of them it does not have yet.
    pub(super) fn cells_to_come(&self) -> u32 {
        self.cells_reserved().saturating_sub(self.position())
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

    /// Takes note that the backend computed the next `count` pending tokens; returns how many
    /// of them were the prompt's.
    pub(super) fn computed(&mut self, count: usize) -> usize {
        let reading = self.prefilling();
        let of_prompt = self.prompt_len.saturating_sub(self.in_cache).min(count);
        self.prompt_computed += of_prompt;
        self.in_cache += count;
        if reading && self.prefilling() {
            self.job.outbox.send_news(Event::Prefill {
                done: to_u32(self.in_cache),
                total: to_u32(self.prompt_len),
            });
        }
        of_prompt
    }

    /// Takes note that the backend holds the first `len` tokens, however it came to them.
    pub(super) fn holds(&mut self, len: u32) {
        self.in_cache = len as usize;
    }

    /// What the backend holds of the slot.
    pub(super) fn held(&self) -> &[Token] {
        &self.history[..self.in_cache]
    }

    /// What another sequence could give.
    pub(super) fn adoptable(&self) -> &[Token] {
        adoptable(&self.history)
    }

    /// Guesses up to `most` tokens that may follow the pending ones.
    pub(super) fn guess(&mut self, most: usize) -> usize {
        if !self.choices().is_empty() {
            return 0;
        }
        let left = self.generate.max_tokens - self.output_tokens();
        let most = most.min(left.saturating_sub(1) as usize);
        self.draft = self.drafter.guess(&self.history, most);
        self.draft.len()
    }

    /// How many of the guessed tokens are likely to be right.
    pub(super) fn expected_hits(&self) -> f64 {
        self.drafter.expected(self.draft.len())
    }

    /// Begins a batch without a guess.
    pub(super) fn forget_guess(&mut self) {
        self.draft.clear();
    }

    /// Checking the guess would take longer than it could save.
    pub(super) fn drop_guess(&mut self) {
        self.draft.clear();
        self.drafter.not_worth_it();
    }

    pub(super) fn draft(&self) -> &[Token] {
        &self.draft
    }

    /// Chooses the next token and says what can be said; if tokens were guessed and computed, as
    /// many as were guessed right and one more. `rows` are the logits behind the last pending
    /// token and behind each guessed one. A slot that has choices scores their first tokens instead.
    pub(super) fn step(&mut self, rows: &[&[f32]], vocabulary: &Vocabulary) -> Step {
        if !self.choices().is_empty() {
            self.score_first(rows[0]);
            return Step {
                to_score: true,
                ..Step::default()
            };
        }
        let before = self.output_tokens();
        let draft = std::mem::take(&mut self.draft);
        let mut right = 0;
        let ending = loop {
            match self.try_step(rows[right], vocabulary) {
                Ok(None) => {}
                Ok(ending) => break ending,
                Err(fault) => break Some(Err(fault)),
            }
            let chosen = &self.history[self.in_cache..];
            if !draft[right..].starts_with(chosen) {
                break None;
            }
            // These were computed already, as guesses.
            right += chosen.len();
            self.in_cache = self.history.len();
        };
        if draft.is_empty() {
            self.drafter.skipped();
        } else {
            self.drafter.learn(draft.len(), right);
        }
        Step {
            ending,
            written: self.output_tokens() - before,
            guessed: draft.len(),
            right,
            to_score: false,
        }
    }

    fn try_step(
        &mut self,
        logits: &[f32],
        vocabulary: &Vocabulary,
    ) -> Result<Option<Ending>, JobError> {
        if !self.owed.is_empty() {
            self.first_token.get_or_insert_with(Instant::now);
            let over = self.say_owed(vocabulary);
            if over.is_some() {
                return Ok(over);
            }
        }
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
        let chosen = self.generate.logprobs.map(|alternatives| {
            let row = LogSoftmax::new(logits);
            ChosenToken {
                token,
                logprob: row.of(token),
                top: row.top(alternatives.into()),
            }
        });
        if !constrained || self.constraint.is_none() {
            return Ok(self.append(token, chosen, vocabulary));
        }
        self.accept(token)?;
        let ending = self.append(token, chosen, vocabulary);
        // Who wants log-probabilities wants them of every token.
        if ending.is_some() || self.generate.logprobs.is_some() {
            return Ok(ending);
        }
        self.append_forced(vocabulary)
    }

    /// Tells the grammar about a token of the answer.
    fn accept(&mut self, token: Token) -> Result<(), JobError> {
        let accepted = self.constraint.as_mut().map(|state| state.accept(token));
        accepted
            .unwrap_or(Ok(()))
            .map_err(|fault| JobError::Grammar(fault.0))
    }

    /// Adds the tokens that the grammar leaves no choice about: they are computed together with
    /// the chosen one.
    fn append_forced(&mut self, vocabulary: &Vocabulary) -> Result<Option<Ending>, JobError> {
        let forced = self.constraint.as_mut().map(Constraint::forced);
        for token in forced.unwrap_or_default() {
            self.accept(token)?;
            let ending = self.append(token, None, vocabulary);
            if ending.is_some() {
                return Ok(ending);
            }
        }
        Ok(None)
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
        self.show(token, chosen, vocabulary);
        let over = self.is_over();
        if over.is_some() {
            return over;
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

    /// Adds a token's text to what is said.
    fn show(&mut self, token: Token, chosen: Option<ChosenToken>, vocabulary: &Vocabulary) {
        let mut pieces = Vec::new();
        if self.shows(token, vocabulary) {
            self.text.push(vocabulary.piece(token), &mut pieces);
        }
        self.say(pieces, chosen);
    }

    /// Whether nothing may follow.
    fn is_over(&self) -> Option<Ending> {
        let complete = self.constraint.as_ref().is_some_and(Constraint::complete);
        if self.text.stopped() || complete {
            return Some(Ok(FinishReason::Stop));
        }
        (self.output_tokens() >= self.generate.max_tokens).then_some(Ok(FinishReason::Length))
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
    /// Why nobody waits for it any more.
    pub(super) fn unwanted(&self) -> Option<FinishReason> {
        let job = &self.job;
        let overdue = job
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now());
        match (job.outbox.link().cancelled(), overdue) {
            (true, _) => Some(FinishReason::Cancelled),
            (false, true) => Some(FinishReason::Deadline),
            (false, false) => None,
        }
    }

    pub(super) fn service_time(&self) -> Duration {
        self.started.elapsed()
    }

    /// Prompt tokens that need not be computed for this job, as far as it has come.
    pub(super) fn cached_tokens(&self) -> u32 {
        let read = self.in_cache.min(self.prompt_len);
        to_u32(read.saturating_sub(self.prompt_computed))
    }

    /// The beginning of the prompt that is to be kept and is not yet.
    pub(super) fn keep_at(&self) -> Option<u32> {
        self.generate.keep.as_ref().map(|keep| keep.tokens)
    }

    /// Takes the order to keep the prompt's beginning, once that much is read.
    pub(super) fn take_keep(&mut self) -> Option<Keep> {
        let read = self
            .keep_at()
            .is_some_and(|tokens| tokens <= self.position());
        read.then(|| self.generate.keep.take()).flatten()
    }

    /// The answers that are to be scored; empty for a request that writes.
    pub(super) fn choices(&self) -> &[Vec<Token>] {
        &self.generate.choices
    }

    /// Scores the first token of each choice, by the logits behind the prompt.
    fn score_first(&mut self, logits: &[f32]) {
        self.first_token.get_or_insert_with(Instant::now);
        let row = LogSoftmax::new(logits);
        let choices = self.generate.choices.iter();
        self.scores = choices.map(|choice| row.of(choice[0])).collect();
    }

    /// Adds what the other tokens of each choice are worth.
    pub(super) fn add_scores(&mut self, rest: &[f32]) {
        for (score, rest) in self.scores.iter_mut().zip(rest) {
            *score += rest;
        }
    }

    /// Tells the scores; what is left of the slot is its outbox.
    pub(super) fn end_scored(mut self) -> Outbox {
        let logprobs = std::mem::take(&mut self.scores);
        let outcome = self.outcome(FinishReason::Stop);
        self.job.outbox.send(Event::Scored { logprobs, outcome });
        self.job.outbox
    }

    fn outcome(&self, reason: FinishReason) -> Outcome {
        let now = Instant::now();
        let first = self.first_token.unwrap_or(now);
        Outcome {
            reason,
            cached_tokens: self.cached_tokens(),
            output_tokens: self.output_tokens(),
            thinking_tokens: self.thinking_tokens,
            queue_ms: millis(self.started - self.job.submitted),
            prefill_ms: millis(first - self.started),
            decode_ms: millis(now - first),
        }
    }

    /// Says the last words; what is left of the slot is its outbox.
    pub(super) fn end(mut self, ending: Ending) -> Outbox {
        let mut pieces = Vec::new();
        self.text.finish(&mut pieces);
        self.say(pieces, None);
        let event = match ending {
            Err(fault) => Event::Failed(fault),
            Ok(reason) => Event::Finished(self.outcome(reason)),
        };
        self.job.outbox.send(event);
        self.job.outbox
    }
}

/// What a sequence could take over of these tokens: one always has to be computed, for its logits.
pub(super) fn adoptable(tokens: &[Token]) -> &[Token] {
    &tokens[..tokens.len().saturating_sub(1)]
}

/// Cells that a request may come to need.
pub(super) fn cells_needed(generate: &Generate, prompt_len: usize) -> u32 {
    to_u32(prompt_len).saturating_add(generate.max_tokens)
}
