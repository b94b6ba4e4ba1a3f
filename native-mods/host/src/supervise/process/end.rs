//! How a module's process ended, as far as one can know.

use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use fazai_sandbox::{Wait, WireError, poll_until};
use rustix::event::PollFlags;
use rustix::process::{Pid, Signal, kill_process_group};

use super::Process;
use crate::message::fault;
use crate::supervise::Failure;
use crate::supervise::call::Work;

/// How long a process that has closed its connection is given to end by itself, so that its own
/// signal is seen and not the one that it is ended with.
const LAST_BREATH: Duration = Duration::from_millis(100);

impl Process {
    /// Ends the process if it still runs, and says why there is no answer.
    pub(super) fn post_mortem(&mut self, error: WireError, work: &Work<'_>) -> Failure {
        let module = self.module.clone();
        match error {
            WireError::TimedOut => {
                self.kill();
                Failure::TimedOut {
                    module,
                    what: work.name,
                    limit: work.limit,
                }
            }
            // In the middle of a frame: what follows it would not be understood.
            WireError::Woken => {
                self.kill();
                Failure::Stopped { module }
            }
            WireError::Closed => match self.last_status() {
                Some(status) => self.ended_by(status),
                None => Failure::Protocol {
                    module,
                    what: "it was closed".into(),
                },
            },
            other => self.disturbed(other.to_string()),
        }
    }

    pub(super) fn disturbed(&mut self, what: String) -> Failure {
        self.kill();
        Failure::Protocol {
            module: self.module.clone(),
            what,
        }
    }

    /// How the process ended by itself. None: it did not, and was ended.
    fn last_status(&mut self) -> Option<ExitStatus> {
        let wait = Wait::of(LAST_BREATH);
        let ended = poll_until(self.ended.as_fd(), PollFlags::IN, wait);
        let status = self.kill();
        ended.is_ok().then_some(status).flatten()
    }

    fn ended_by(&self, status: ExitStatus) -> Failure {
        let module = self.module.clone();
        let Some(signal) = status.signal() else {
            return Failure::Exited {
                module,
                status: status.code().unwrap_or_default(),
            };
        };
        let cause = match (signal, self.fault) {
            (_, fault::BUFFER) => ": it wrote past the end of its result buffer",
            (_, fault::STACK) => ": it used up its stack",
            (libc::SIGKILL, _) => ": the system was probably out of memory",
            (libc::SIGXFSZ, _) => ": it wrote to a file that it may not write to",
            (libc::SIGSYS, _) => ": it made a system call that it may not make",
            _ => "",
        };
        Failure::Crashed {
            module,
            signal: signal_name(signal),
            cause,
        }
    }

    /// Ends the process and all that it started, and waits for that.
    pub(super) fn kill(&mut self) -> Option<ExitStatus> {
        if !self.reaped {
            // Until the process is waited for, its number can't be another's. An error means that
            // nobody is left.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            self.reaped = true;
        }
        self.child.wait().ok()
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGABRT => "SIGABRT",
        libc::SIGILL => "SIGILL",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGTERM => "SIGTERM",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGPIPE => "SIGPIPE",
        other => return format!("signal {other}"),
    };
    name.into()
}
