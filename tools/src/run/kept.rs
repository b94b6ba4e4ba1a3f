//! The keeper of a command, from this side.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Stdio};
use std::time::Duration;

use fazai_sandbox::{Wait, Wire, poll_until};
use rustix::event::PollFlags;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::family;
use super::group::Group;
use super::keeper::LAST_WAIT;
use super::order::{Order, SAID_BYTES_MAX, Said, read, send};
use super::orphans::{end_orphans, reap_keeper, spawn_keeper};
use super::{How, RunError};

/// How much longer than it may need the keeper is waited for.
pub(super) const MARGIN: Duration = Duration::from_secs(5);

/// The keeper of a command, and with it the command. Dropping it ends both.
pub(super) struct Kept {
    order: Order,
    keeper: Child,
    /// Ready to read once the keeper has ended.
    ended: OwnedFd,
    wire: Wire,
    /// Whether the keeper has said how it ended, and so has nothing left to do.
    settled: bool,
    /// Dropped last, when the keeper has ended.
    group: Option<Group>,
}

/// How a command ended; neither: it could not be ended.
pub(super) struct Exit {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
}

impl Kept {
    /// Starts the keeper and tells it what to run; the wait is for its taking the order.
    pub(super) fn start(
        order: Order,
        how: &How,
        stdin: BorrowedFd<'_>,
        streams: [Stdio; 2],
        wait: Wait<'_>,
    ) -> Result<Self, RunError> {
        let group = how.groups.as_ref().map(|groups| groups.begin()).transpose();
        let group = group.map_err(|error| RunError::no_group(&error))?;
        let order = Order {
            group: group.as_ref().map(Group::way),
            ..order
        };
        let mut kept = Self::spawn(order, how, group, streams).map_err(RunError::Spawn)?;
        kept.wire.send_descriptors(&[stdin])?;
        send(&mut kept.wire, &kept.order, wait)?;
        Ok(kept)
    }

    fn spawn(
        order: Order,
        how: &How,
        group: Option<Group>,
        [stdout, stderr]: [Stdio; 2],
    ) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let mut command = how.launcher.command();
        command.stdin(theirs).stdout(stdout).stderr(stderr);
        let mut keeper = spawn_keeper(command)?;
        let ended = match pidfd_open(Pid::from_child(&keeper), PidfdFlags::empty()) {
            Ok(ended) => ended,
            Err(error) => {
                // It has started nothing yet; the error is what is reported.
                let _ = keeper.kill();
                reap_keeper(&mut keeper);
                return Err(error.into());
            }
        };
        Ok(Self {
            order,
            keeper,
            ended,
            wire: Wire::new(ours, SAID_BYTES_MAX),
            settled: false,
            group,
        })
    }

    /// Can be read when the keeper may have said how it ended.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.wire.socket()
    }

    /// How it ended, if it has.
    pub(super) fn exit(&mut self) -> Result<Option<Exit>, RunError> {
        let Some(frame) = self.wire.try_recv()? else {
            return Ok(None);
        };
        let said = read(&frame)?;
        self.settled = true;
        match said {
            Said::Refused(refusal) => Err(RunError::refused(refusal, &self.order)),
            Said::Ended { exit_code, signal } => Ok(Some(Exit {
                code: exit_code,
                signal,
            })),
        }
    }

    /// Whether the kernel ended the command because it took too much memory.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        self.group.as_ref().is_some_and(Group::ran_out_of_memory)
    }

    /// Tells the keeper that nobody wants the command; it has ended after this time.
    pub(super) fn hang_up(&self) -> Duration {
        // It has closed its end already if this fails.
        let _ = shutdown(self.wire.socket(), Shutdown::Write);
        self.order.term_grace + LAST_WAIT + MARGIN
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.settled {
            let wait = Wait::of(self.hang_up());
            // Whether it has ended by then or not, what can be found is.
            let _ = poll_until(self.ended.as_fd(), PollFlags::IN, wait);
            family::kill_session(Pid::from_child(&self.keeper));
        }
        reap_keeper(&mut self.keeper);
        if !self.settled {
            end_orphans();
        }
    }
}
