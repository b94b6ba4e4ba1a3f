//! The engine's end of a job's event channel: never blocks, never loses an event.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use crate::backend::AbortSignal;
use crate::job::Event;

/// Flags that a job's reader and the engine share.
#[derive(Debug, Default)]
pub(super) struct JobLink {
    /// The reader wants no more.
    cancelled: AtomicBool,
    /// The engine waits for room in the channel and wants to be woken.
    stalled: AtomicBool,
    /// The running decode reads this job's prompt: worth an abort.
    prefilling: AtomicBool,
}

impl JobLink {
    pub(super) fn take_stalled(&self) -> bool {
        self.stalled.swap(false, Ordering::SeqCst)
    }

    /// Marks the job and stops a decode that reads its prompt.
    ///
    /// The engine sets `prefilling` before it reads `cancelled`, and this sets `cancelled`
    /// before it reads `prefilling`: one of the two always sees the other.
    pub(super) fn cancel(&self, abort: &AbortSignal) {
        self.cancelled.store(true, Ordering::SeqCst);
        if self.prefilling.load(Ordering::SeqCst) {
            abort.raise();
        }
    }

    pub(super) fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    pub(super) fn set_prefilling(&self, on: bool) {
        self.prefilling.store(on, Ordering::SeqCst);
    }
}

/// Whether a job's events reach their reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// All were taken.
    Clear,
    /// The channel is full; the rest waits here.
    Stalled,
    /// Nobody reads any more.
    Gone,
}

/// Events on their way to a reader.
#[derive(Debug)]
pub(super) struct Outbox {
    events: Sender<Event>,
    waiting: VecDeque<Event>,
    link: Arc<JobLink>,
}

impl Outbox {
    pub(super) fn new(events: Sender<Event>, link: Arc<JobLink>) -> Self {
        Self {
            events,
            waiting: VecDeque::new(),
            link,
        }
    }

    pub(super) fn link(&self) -> &JobLink {
        &self.link
    }

    /// Sends the event, or keeps it until there is room.
    pub(super) fn send(&mut self, event: Event) {
        self.waiting.push_back(event);
        self.flush();
    }

    /// Sends the event if there is room; it is only news and may be lost.
    pub(super) fn send_news(&mut self, event: Event) {
        if self.waiting.is_empty() {
            let _ = self.events.try_send(event);
        }
    }

    /// Tries again what is waiting.
    pub(super) fn flush(&mut self) -> Delivery {
        while let Some(event) = self.waiting.pop_front() {
            let Err(fault) = self.events.try_send(event) else {
                continue;
            };
            let event = match fault {
                TrySendError::Closed(_) => return Delivery::Gone,
                TrySendError::Full(event) => event,
            };
            // A reader that empties the channel before it can see the flag would never wake
            // the engine; so the flag goes first and the channel is tried once more.
            self.link.stalled.store(true, Ordering::SeqCst);
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => return Delivery::Gone,
                Err(TrySendError::Full(event)) => {
                    self.waiting.push_front(event);
                    return Delivery::Stalled;
                }
            }
        }
        Delivery::Clear
    }

    /// Whether nothing waits.
    pub(super) fn is_clear(&self) -> bool {
        self.waiting.is_empty()
    }
}
