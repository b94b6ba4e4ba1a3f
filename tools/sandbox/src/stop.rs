//! The wish that something ends.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFlags, eventfd};

use crate::wire::{Wait, poll_until};

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
    #[must_use]
    pub fn comes_until(&self, until: Instant) -> bool {
        poll_until(self.0.as_fd(), PollFlags::IN, Wait::until(until)).is_ok()
    }
}

/// Can be read once it is raised.
impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
