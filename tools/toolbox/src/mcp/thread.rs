//! The thread that serves all servers, and how others wait for it.

use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use fazai_sandbox::{Stop, Wait, WireError, poll_until};
use rustix::event::PollFlags;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::error::ToolError;

/// The thread. Dropping it ends whatever it does.
pub(super) struct Thread {
    at: Handle,
    /// Nothing is sent: it closes.
    quit: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Thread {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let at = runtime.handle().clone();
        let (quit, closed) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("fazai-mcp".into())
            .spawn(move || {
                let _ = runtime.block_on(closed);
            })?;
        Ok(Self {
            at,
            quit: Some(quit),
            thread: Some(thread),
        })
    }

    pub(super) fn at(&self) -> Waiter {
        Waiter(self.at.clone())
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.quit.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported.
            let _ = thread.join();
        }
    }
}

/// Has the thread do things.
#[derive(Debug, Clone)]
pub(super) struct Waiter(Handle);

impl Waiter {
    /// Waits for something, which is given up when it is stopped.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        stop: Option<&Stop>,
        what: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, ToolError> {
        self.wait_at_most(None, stop, what)?.ok_or_else(over)
    }

    /// The same, but not for longer than this. None: it goes on, and nobody waits for it any more.
    pub(super) fn wait_at_most<T: Send + 'static>(
        &self,
        patience: Option<Duration>,
        stop: Option<&Stop>,
        what: impl Future<Output = T> + Send + 'static,
    ) -> Result<Option<T>, ToolError> {
        let fault = |error| ToolError::Unavailable(format!("nothing can be waited for: {error}"));
        let done = Stop::new().map_err(fault)?;
        let (give, take) = mpsc::sync_channel(1);
        let raise = Raise(done.clone());
        let task = self.0.spawn(async move {
            // It is also raised if the thread ends before this does.
            let _raise = raise;
            // Nobody waits any longer if this fails.
            let _ = give.send(what.await);
        });
        let mut wait = patience.map_or(Wait::FOREVER, Wait::of);
        wait.wake = stop.map(AsFd::as_fd);
        match poll_until(done.as_fd(), PollFlags::IN, wait) {
            Ok(()) => take.recv().map(Some).map_err(|_| over()),
            Err(WireError::TimedOut) => Ok(None),
            Err(WireError::Woken) => {
                task.abort();
                Err(ToolError::Stopped)
            }
            Err(error) => {
                task.abort();
                Err(ToolError::Unavailable(error.to_string()))
            }
        }
    }
}

/// What tools say once all servers have been ended.
pub(super) fn over() -> ToolError {
    ToolError::Unavailable("the servers of tools have been ended; list the tools again".into())
}

struct Raise(Stop);

impl Drop for Raise {
    fn drop(&mut self) {
        self.0.stop();
    }
}
