//! What a caller says about a call: how long it may take, and that it is wanted no more.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use fazai_sandbox::{Stop, Wait};

/// What bounds a call besides its module's limits.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// In place of the module's own limit. It bounds the wait for a turn as well as the call.
    pub limit: Option<Duration>,
    /// What ends the call from another thread.
    pub stop: Option<Stop>,
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
        wait.wake = self.stop.map(AsFd::as_fd);
        wait
    }
}
