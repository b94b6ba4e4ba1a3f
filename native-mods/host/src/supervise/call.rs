//! What a caller says about a call: how long it may take, and that it is wanted no more.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFlags, eventfd};

use crate::wire::{Wait, poll_until};

/// What bounds a call besides its module's limits.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// In place of the module's own limit. It bounds the wait for a turn as well as the call.
    pub limit: Option<Duration>,
    /// What ends the call from another thread.
    pub stop: Option<Stop>,
}

/// Ends the calls that have it, once and for all. Its clones are one and the same.
#[derive(Debug, Clone)]
pub struct Stop(Arc<OwnedFd>);

impl Stop {
    /// One that is not raised. It takes a descriptor.
    pub fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(Arc::new(eventfd(0, flags)?)))
    }

    /// Raises it.
    pub fn stop(&self) {
        // It can only fail where it was raised 2^64 times before.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Whether it was raised.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.comes_until(Instant::now())
    }

    /// Waits for it. False: the time came first.
    fn comes_until(&self, until: Instant) -> bool {
        poll_until(self.0.as_fd(), PollFlags::IN, Wait::until(until)).is_ok()
    }
}

/// What a module is doing, for how long at most, unless its caller stops it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) name: &'static str,
    pub(super) limit: Duration,
    pub(super) until: Instant,
    pub(super) stop: Option<&'a Stop>,
}

impl<'a> Work<'a> {
    /// One that begins now.
    pub(super) fn new(name: &'static str, limit: Duration) -> Self {
        Self {
            name,
            limit,
            until: Instant::now() + limit,
            stop: None,
        }
    }

    pub(super) fn unless(self, stop: Option<&'a Stop>) -> Self {
        Self { stop, ..self }
    }

    /// Its end: other work of its own limit, where that is over sooner, and nothing stops it.
    pub(super) fn shorten(&mut self, name: &'static str, limit: Duration) {
        self.stop = None;
        let other = Self::new(name, limit);
        if other.until < self.until {
            *self = other;
        }
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.is_some_and(Stop::is_stopped)
    }

    /// Does nothing until then. True: it was stopped.
    pub(super) fn sleep_until(&self, at: Instant) -> bool {
        match self.stop {
            Some(stop) => stop.comes_until(at),
            None => {
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                false
            }
        }
    }

    pub(super) fn wait(&self) -> Wait<'a> {
        let mut wait = Wait::until(self.until);
        wait.wake = self.stop.map(|stop| stop.0.as_fd());
        wait
    }
}
