//! Work on a thread that may wait: what it says is passed on as it comes, and it can be stopped.

use std::time::Duration;

use fazai_protocol::{Phase, WireError};
use fazai_sandbox::Stop;
use tokio::task::JoinHandle;

use super::pieces::Listener;
use super::{Context, HEARTBEAT};
use crate::errors;

/// Whoever is told what the work says.
pub(super) trait Hear: Send {
    fn hear(&mut self, text: String) -> impl Future<Output = ()> + Send;
}

/// Something that runs.
pub(super) struct Work<T> {
    pub(super) what: &'static str,
    pub(super) running: JoinHandle<T>,
    pub(super) listener: Listener,
    pub(super) stop: Stop,
    /// Whether the client wants signs of life.
    pub(super) stream: bool,
    /// Stopped so long after the request was read.
    pub(super) deadline: Option<Duration>,
    /// Once stopped it is waited for so long; none: for as long as it takes, since it is sure to
    /// end soon.
    pub(super) patience: Option<Duration>,
}

impl<T> Work<T> {
    /// Follows the work to its end, or for as long as one waits for it after it was stopped: then
    /// its thread finds out by itself, and why it was stopped is the error.
    pub(super) async fn follow(
        mut self,
        context: &Context,
        ear: &mut impl Hear,
    ) -> Result<T, WireError> {
        let left = self
            .deadline
            .map(|time| time.saturating_sub(context.received.elapsed()));
        let late = sleep_for(left);
        let given_up = sleep_for(None);
        tokio::pin!(late, given_up);
        let mut is_late = false;
        let mut quiet = tokio::time::interval(HEARTBEAT);
        quiet.reset();
        let ended = loop {
            tokio::select! {
                text = self.listener.next() => {
                    quiet.reset();
                    ear.hear(text).await;
                }
                ended = &mut self.running => break ended.map_err(|_| super::panicked(self.what))?,
                () = context.told_to_stop(), if !self.stop.is_stopped() => {
                    self.stop.stop();
                    given_up.set(sleep_for(self.patience));
                }
                () = &mut late, if !is_late => {
                    is_late = true;
                    self.stop.stop();
                    given_up.set(sleep_for(self.patience));
                }
                () = &mut given_up => return Err(self.why(context, is_late)),
                _ = quiet.tick(), if self.stream => context.alive(Phase::Running).await,
            }
        };
        let rest = self.listener.rest();
        if !rest.is_empty() {
            ear.hear(rest).await;
        }
        if is_late {
            return Err(self.why(context, is_late));
        }
        Ok(ended)
    }

    fn why(&self, context: &Context, is_late: bool) -> WireError {
        if is_late {
            errors::deadline_passed(self.deadline)
        } else {
            context.stop_error()
        }
    }
}

/// Until so much time has passed; without a time, for ever.
async fn sleep_for(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
