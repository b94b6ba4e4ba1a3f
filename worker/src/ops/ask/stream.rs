//! From the engine's events to lines and, at the end, one `done`.

use std::time::{Duration, Instant};

use fazai_models::engine::EventStream;
use fazai_models::job::{ChosenToken, Event, FinishReason as EngineReason, JobError, Outcome};
use fazai_models::text::Channel;
use fazai_protocol::{
    Done, ErrorCode, FinishReason, Line, Phase, Progress, Source, Status, TextLine, TokenLogprob,
    TopLogprob, Usage, WireError,
};
use serde_json::{Value, json};

use super::super::{Context, HEARTBEAT};
use super::remember_turns;
use super::valid::ValidAsk;
use crate::errors;
use crate::quota::Permit;
use crate::registry::ModelLease;
use crate::sessions::Lease;

/// News of a long prefill or queue is passed on at most this often.
const NEWS_INTERVAL: Duration = Duration::from_secs(1);

/// What the answer begins with.
pub(super) struct Started<'a> {
    pub(super) ask: ValidAsk,
    pub(super) model: ModelLease,
    pub(super) session: &'a mut Option<Lease>,
    pub(super) events: EventStream,
    pub(super) prompt_tokens: u32,
    /// Tokens of the choices, which are read behind the prompt.
    pub(super) choice_tokens: u32,
    /// What was put behind the question.
    pub(super) passages: Option<Value>,
    pub(super) cut_tokens: u32,
    /// The beginning of the answer, which was sent already.
    pub(super) so_far: String,
    pub(super) quota: Permit,
    /// From reading the request to its submission.
    pub(super) waited: Duration,
}

/// An answer on its way.
pub(super) struct Streaming<'a> {
    begun: Started<'a>,
    answer: String,
    thinking: String,
    /// Kept for the last line of an answer that is not streamed.
    logprobs: Vec<TokenLogprob>,
    progress: LastProgress,
    /// Whether it had a slot, so that something was computed.
    started: bool,
    cached_tokens: u32,
    /// How much of the answer was there before.
    before_bytes: usize,
    first_token: Option<Instant>,
    told: Instant,
}

/// What a sign of life would say.
#[derive(Debug, Clone, Copy)]
struct LastProgress {
    phase: Phase,
    queue_position: Option<u32>,
    done: Option<u32>,
    total: Option<u32>,
}

impl LastProgress {
    fn phase(phase: Phase) -> Self {
        Self {
            phase,
            queue_position: None,
            done: None,
            total: None,
        }
    }
}

impl<'a> Streaming<'a> {
    pub(super) fn new(mut begun: Started<'a>) -> Self {
        let answer = std::mem::take(&mut begun.so_far);
        Self {
            before_bytes: answer.len(),
            answer,
            begun,
            thinking: String::new(),
            logprobs: Vec::new(),
            progress: LastProgress::phase(Phase::Queued),
            started: false,
            cached_tokens: 0,
            first_token: None,
            told: Instant::now(),
        }
    }

    /// Passes the events on until the last one.
    pub(super) async fn run(mut self, context: &Context) -> Done {
        let mut told_to_stop = false;
        let ending = loop {
            let quiet_until = tokio::time::Instant::from_std(self.told + HEARTBEAT);
            let event = tokio::select! {
                biased;
                event = self.begun.events.next() => event,
                () = context.told_to_stop(), if !told_to_stop => {
                    told_to_stop = true;
                    self.begun.events.cancel();
                    continue;
                }
                () = tokio::time::sleep_until(quiet_until), if self.begun.ask.stream => {
                    self.tell_progress(context).await;
                    continue;
                }
            };
            match event.unwrap_or(Event::Failed(JobError::EngineGone)) {
                Event::Text {
                    channel,
                    text,
                    tokens,
                } => {
                    self.text(context, channel, text, &tokens).await;
                }
                Event::Finished(outcome) => break Ok(outcome),
                Event::Scored { logprobs, outcome } => {
                    return self.scored(context, &logprobs, &outcome);
                }
                Event::Failed(fault) => break Err(errors::from_job(&fault)),
                Event::Embedded(_) => {}
                news => self.news(context, &news).await,
            }
        };
        match ending {
            Ok(outcome) => self.finished(context, &outcome),
            Err(error) => self.failed(context, error),
        }
    }

    async fn text(
        &mut self,
        context: &Context,
        channel: Channel,
        text: String,
        tokens: &[ChosenToken],
    ) {
        self.first_token.get_or_insert_with(Instant::now);
        self.progress = LastProgress::phase(Phase::Generating);
        match channel {
            Channel::Answer => self.answer.push_str(&text),
            Channel::Thinking => self.thinking.push_str(&text),
        }
        let logprobs = tokens.iter().map(|token| self.logprob(token)).collect();
        if !self.begun.ask.stream {
            self.logprobs.extend(logprobs);
            return;
        }
        let line = TextLine {
            action_id: context.action_id.clone(),
            result: text,
            logprobs,
        };
        let line = match channel {
            Channel::Answer => Line::Token(line),
            Channel::Thinking => Line::Thinking(line),
        };
        context.outgoing.send(line).await;
        self.told = Instant::now();
    }

    fn logprob(&self, chosen: &ChosenToken) -> TokenLogprob {
        let vocabulary = &self.begun.model.vocabulary;
        let top = chosen.top.iter().map(|&(id, logprob)| TopLogprob {
            id,
            token: vocabulary.piece_lossy(id),
            logprob,
        });
        TokenLogprob {
            id: chosen.token,
            token: vocabulary.piece_lossy(chosen.token),
            logprob: chosen.logprob,
            top: top.collect(),
        }
    }

    /// Remembers what the engine is doing, and says so if nothing was said for a while.
    async fn news(&mut self, context: &Context, event: &Event) {
        self.progress = match *event {
            Event::Queued { position } => LastProgress {
                queue_position: Some(position),
                ..LastProgress::phase(Phase::Queued)
            },
            Event::Started { cached_tokens, .. } => {
                self.started = true;
                self.cached_tokens = cached_tokens;
                LastProgress {
                    done: Some(cached_tokens),
                    total: Some(self.begun.prompt_tokens),
                    ..LastProgress::phase(Phase::Prefill)
                }
            }
            Event::Prefill { done, total } => LastProgress {
                done: Some(done),
                total: Some(total),
                ..LastProgress::phase(Phase::Prefill)
            },
            _ => return,
        };
        if self.begun.ask.stream && self.told.elapsed() >= NEWS_INTERVAL {
            self.tell_progress(context).await;
        }
    }

    async fn tell_progress(&mut self, context: &Context) {
        // A client that is behind has lines to read; more would not help it.
        if context.outgoing.has_room() {
            let LastProgress {
                phase,
                queue_position,
                done,
                total,
            } = self.progress;
            let progress = Progress {
                action_id: context.action_id.clone(),
                phase,
                queue_position,
                done,
                total,
            };
            context.outgoing.send(Line::Progress(progress)).await;
        }
        self.told = Instant::now();
    }

    fn finished(self, context: &Context, outcome: &Outcome) -> Done {
        let killed = context.worker.shared.killed.is_cancelled();
        let reason = match outcome.reason {
            EngineReason::Stop => FinishReason::Stop,
            EngineReason::Length => FinishReason::Length,
            EngineReason::Deadline => FinishReason::Deadline,
            EngineReason::Cancelled if killed => {
                return self.failed(context, context.stop_error());
            }
            EngineReason::Cancelled => FinishReason::Cancelled,
        };
        let usage = self.usage(context, outcome);
        if reason == FinishReason::Deadline && outcome.output_tokens == 0 {
            let message = "the deadline passed before the first token";
            let error = WireError::new(ErrorCode::DeadlineExceeded, message);
            return Done {
                usage: Some(usage),
                finish_reason: Some(reason),
                ..self.failed(context, error)
            };
        }
        self.charge(&usage);
        let status = match reason {
            FinishReason::Stop | FinishReason::Length => Status::Done,
            _ => Status::Stopped,
        };
        let ask = &self.begun.ask;
        let session = remember_turns(self.begun.session.as_mut(), ask, &self.answer, reason);
        Done {
            result: Some(self.answer),
            metadata: status.into(),
            source: Source::Local,
            model: Some(self.begun.model.title.clone()),
            finish_reason: Some(reason),
            thinking: (!self.thinking.is_empty()).then_some(self.thinking),
            usage: Some(usage),
            seed: self
                .begun
                .ask
                .by_chance
                .then_some(self.begun.ask.sampling.seed),
            truncated_tokens: (self.begun.cut_tokens > 0).then_some(self.begun.cut_tokens),
            session,
            logprobs: self.logprobs,
            data: self
                .begun
                .passages
                .map(|passages| json!({ "passages": passages })),
            ..context.done(None)
        }
    }

    /// The likeliest choice, and how likely each is among them.
    fn scored(mut self, context: &Context, logprobs: &[f32], outcome: &Outcome) -> Done {
        self.first_token.get_or_insert_with(Instant::now);
        let choices = std::mem::take(&mut self.begun.ask.choices);
        let best = choices
            .iter()
            .zip(logprobs)
            .max_by(|a, b| a.1.total_cmp(b.1));
        self.answer = best.map_or_else(String::new, |(choice, _)| choice.clone());
        let most = best.map_or(0.0, |(_, logprob)| *logprob);
        let weight = |logprob: &f32| f64::from(logprob - most).exp();
        let total: f64 = logprobs.iter().map(weight).sum();
        let table: Vec<Value> = choices
            .iter()
            .zip(logprobs)
            .map(|(choice, logprob)| {
                json!({
                    "text": choice,
                    "logprob": logprob,
                    "probability": round(weight(logprob) / total * 1e3) / 1e3,
                })
            })
            .collect();
        let done = self.finished(context, outcome);
        let mut data = done.data.unwrap_or_else(|| json!({}));
        data["choices"] = json!(table);
        Done {
            data: Some(data),
            ..done
        }
    }

    fn usage(&self, context: &Context, outcome: &Outcome) -> Usage {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        // Loading and tokenizing, which the engine does not see, were waiting too.
        let queue = millis(self.begun.waited) + outcome.queue_ms;
        let ttft = match self.first_token {
            Some(first) => millis(first - context.received),
            // Tokens came, but none with text that can be shown.
            None if outcome.output_tokens > 0 => queue + outcome.prefill_ms,
            None => 0.0,
        };
        let after_first = f64::from(outcome.output_tokens.saturating_sub(1));
        Usage {
            prompt_tokens: self.begun.prompt_tokens,
            cached_tokens: outcome.cached_tokens,
            output_tokens: outcome.output_tokens,
            thinking_tokens: outcome.thinking_tokens,
            queue_ms: round(queue),
            ttft_ms: round(ttft),
            tokens_per_second: if outcome.decode_ms > 0.0 {
                round(after_first / outcome.decode_ms * 1e3)
            } else {
                0.0
            },
            ..Usage::default()
        }
    }

    /// What the user has to pay for, however it ended.
    fn charge(&self, usage: &Usage) {
        let prompt = usage.prompt_tokens.saturating_sub(usage.cached_tokens);
        let read = match self.started || usage.output_tokens > 0 {
            true => prompt.saturating_add(self.begun.choice_tokens),
            // It waited all the time.
            false => 0,
        };
        let computed = read.saturating_add(usage.output_tokens);
        self.begun.quota.charge(computed);
    }

    /// What it cost until now, of a job of which the engine says no more.
    fn so_far(&self) -> Outcome {
        let vocabulary = &self.begun.model.vocabulary;
        let tokens = |text: &str| {
            let count = vocabulary.encode(text, false).len();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        let thinking = tokens(&self.thinking);
        Outcome {
            reason: EngineReason::Cancelled,
            cached_tokens: self.cached_tokens,
            output_tokens: thinking.saturating_add(tokens(&self.answer[self.before_bytes..])),
            thinking_tokens: thinking,
            queue_ms: 0.0,
            prefill_ms: 0.0,
            decode_ms: 0.0,
        }
    }

    fn failed(self, context: &Context, error: WireError) -> Done {
        let usage = self.usage(context, &self.so_far());
        self.charge(&usage);
        Done {
            usage: self.started.then_some(usage),
            result: (!self.answer.is_empty()).then_some(self.answer),
            model: Some(self.begun.model.title.clone()),
            finish_reason: Some(FinishReason::Error),
            ..context.fail(error)
        }
    }
}

/// Microseconds are enough.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
