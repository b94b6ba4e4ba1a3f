//! From an answer of the cloud to lines and, at the end, one `done`.

use std::time::{Duration, Instant};

use fazai_cloud::{Answer, Failure, Finish, Finished, Piece};
use fazai_protocol::{
    Done, ErrorCode, FinishReason, Line, Phase, Source, Status, TextLine, Usage, WireError,
};
use serde_json::json;

use super::super::super::{Context, HEARTBEAT};
use super::super::remember_turns;
use super::super::valid::ValidAsk;
use super::{Ended, until};
use crate::sessions::Lease;

/// An answer on its way.
pub(super) struct Streaming<'a> {
    context: &'a Context,
    ask: &'a ValidAsk,
    deadline: Option<Instant>,
    answer: String,
    thinking: String,
    first_token: Option<Instant>,
}

/// Why no more is read.
enum End {
    Whole,
    Cut(Failure),
    Stopped,
    Late,
}

impl<'a> Streaming<'a> {
    pub(super) fn new(context: &'a Context, ask: &'a ValidAsk, deadline: Option<Instant>) -> Self {
        Self {
            context,
            ask,
            deadline,
            answer: String::new(),
            thinking: String::new(),
            first_token: None,
        }
    }

    pub(super) async fn run(mut self, mut answer: Answer, session: &mut Option<Lease>) -> Ended {
        for warning in &answer.warnings {
            let text = warning.to_string();
            self.context.warn(self.ask.stream, text).await;
        }
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.reset();
        let end = loop {
            let piece = tokio::select! {
                biased;
                () = self.context.told_to_stop() => break End::Stopped,
                () = until(self.deadline) => break End::Late,
                piece = answer.next() => piece,
                _ = heartbeat.tick(), if self.ask.stream => {
                    self.context.alive(Phase::Generating).await;
                    continue;
                }
            };
            let line = match piece {
                Ok(Some(piece)) => self.line(&piece),
                Ok(None) => break End::Whole,
                Err(failure) => break End::Cut(failure),
            };
            let Some(line) = line.filter(|_| self.ask.stream) else {
                continue;
            };
            // A client that reads nothing can still cancel, and be late.
            tokio::select! {
                biased;
                () = self.context.told_to_stop() => break End::Stopped,
                () = until(self.deadline) => break End::Late,
                () = self.context.outgoing.send(line) => {}
            }
        };
        let finished = answer.finished();
        drop(answer);
        self.ended(end, &finished, session)
    }

    /// Takes note of a piece of the answer; the line that shows it.
    fn line(&mut self, piece: &Piece) -> Option<Line> {
        self.first_token.get_or_insert_with(Instant::now);
        let line = |result: &str| TextLine {
            action_id: self.context.action_id.clone(),
            result: result.to_owned(),
            logprobs: Vec::new(),
        };
        match piece {
            Piece::Text(text) => {
                self.answer.push_str(text);
                Some(Line::Token(line(text)))
            }
            Piece::Thinking(text) => {
                self.thinking.push_str(text);
                Some(Line::Thinking(line(text)))
            }
            // No tools are offered.
            Piece::Tool(_) => None,
        }
    }

    fn ended(self, end: End, finished: &Finished, session: &mut Option<Lease>) -> Ended {
        let (reason, status, error) = match end {
            End::Whole => {
                let reason = match finished.finish {
                    Some(Finish::Length) => FinishReason::Length,
                    Some(Finish::Filtered) => FinishReason::ContentFilter,
                    _ => FinishReason::Stop,
                };
                (reason, Status::Done, None)
            }
            End::Stopped if self.context.worker.shared.killed.is_cancelled() => (
                FinishReason::Error,
                Status::Error,
                Some(self.context.stop_error()),
            ),
            End::Stopped => (FinishReason::Cancelled, Status::Stopped, None),
            End::Late => (FinishReason::Deadline, Status::Stopped, None),
            End::Cut(failure) => {
                let error = WireError::new(ErrorCode::UpstreamInterrupted, failure.to_string())
                    .with_hint("ask again, or set on_interrupt to continue_local");
                if self.ask.continue_local && !self.answer.is_empty() {
                    return Ended::GoesOn {
                        interrupted: json!({
                            "source": source(finished),
                            "model": finished.provenance.model,
                            "usage": self.usage(finished),
                            "error": error,
                        }),
                        text: self.answer,
                    };
                }
                (FinishReason::Error, Status::Error, Some(error))
            }
        };
        let session = remember_turns(session.as_mut(), self.ask, &self.answer, reason);
        let usage = self.usage(finished);
        Ended::Done(Box::new(Done {
            metadata: status.into(),
            source: source(finished),
            model: Some(finished.provenance.model.clone()),
            finish_reason: Some(reason),
            thinking: (!self.thinking.is_empty()).then_some(self.thinking),
            usage: Some(usage),
            session,
            error,
            ..self.context.done(Some(self.answer))
        }))
    }

    fn usage(&self, finished: &Finished) -> Usage {
        let small = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
        let usage = &finished.usage;
        let millis = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        let since = |first: Instant| millis(first - self.context.received);
        Usage {
            prompt_tokens: small(usage.input_tokens),
            cached_tokens: small(usage.cached_tokens),
            output_tokens: small(usage.output_tokens),
            ttft_ms: self.first_token.map_or(0.0, since),
            tokens_per_second: self.speed(usage.output_tokens),
            cost_usd: finished.nanos.map(fazai_cloud::prices::dollars),
            estimated: usage.estimated,
            ..Usage::default()
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "no answer has so many tokens")]
    fn speed(&self, tokens: u64) -> f64 {
        let Some(first) = self.first_token.filter(|_| tokens > 1) else {
            return 0.0;
        };
        let seconds = first.elapsed().as_secs_f64();
        ((tokens - 1) as f64 / seconds * 1e3).round() / 1e3
    }
}

fn source(finished: &Finished) -> Source {
    let provenance = &finished.provenance;
    if provenance.from_cache {
        Source::Cache
    } else {
        Source::Cloud(provenance.provider.clone())
    }
}
