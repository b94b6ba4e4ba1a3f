//! Why a command did not run.

use std::io;
use std::path::PathBuf;

use fazai_sandbox::WireError;

use super::Ended;
use super::order::{Order, Refusal};
use crate::action::Kind;
use crate::audit::AuditError;
use crate::seen::Changed;

/// Why there is no end of a command to tell of.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The permit is for something else.
    #[error("a permit for {kind:?} can't start a program; ask the gate for one to exec")]
    WrongAction {
        /// What it is for.
        kind: Kind,
    },
    /// No system could run it.
    #[error("the command can't be run: {what}; correct it")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// What would run is not what a person said yes to.
    #[error(transparent)]
    Changed(#[from] Changed),
    /// It can't start where it shall.
    #[error("the command can't start in {}: {error}; name a directory that can be entered", cwd.display())]
    Directory {
        /// Where.
        cwd: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is no such program. Shells call that 127.
    #[error(
        "there is no program `{program}`, or not the interpreter that its first line names; check \
         the name, or install the package that has it"
    )]
    NotFound {
        /// As it was called.
        program: String,
    },
    /// It is there and can't be run. Shells call that 126.
    #[error(
        "`{program}` can't be run ({error}): it is a directory, not executable, or of another \
         machine; check its permissions with `ls -l`"
    )]
    NotExecutable {
        /// As it was called.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// The kernel limits one argument to 128 KiB, and all together with the environment mostly to
    /// 2 MiB.
    #[error(
        "the arguments have {bytes} bytes, which is more than the system takes; give them by \
         standard input or a file"
    )]
    TooLong {
        /// All arguments together.
        bytes: usize,
    },
    /// The sandbox that was asked for can't be had.
    #[error("the command was not run, for it can't be confined: {why}")]
    NotConfined {
        /// Why, and what to do.
        why: String,
    },
    /// No process could be started.
    #[error(
        "no process can be started: {0}; check the limits of the service on processes, memory and \
         open files"
    )]
    Spawn(#[source] io::Error),
    /// The process that watched over the command was ended by somebody else, and the command, as
    /// far as it was found, after it.
    #[error(
        "the process that watched over the command was lost and the command ended with it; look \
         for an out-of-memory kill in the kernel's log, and run it again if that does no harm"
    )]
    Lost,
    /// It ran for as long as it was wanted, and the record does not say how it ended.
    #[error(
        "the program ran and ended with exit code {exit_code:?}, but its end could not be \
         recorded: {error}"
    )]
    EndNotRecorded {
        /// What it gave to `exit`, if it did.
        exit_code: Option<i32>,
        /// Why not.
        error: AuditError,
    },
    /// It ran, and the record does not say how it ended.
    #[error("the command ran, but its end could not be recorded: {error}")]
    NotRecorded {
        /// How it ended.
        ended: Ended,
        /// Why not.
        error: AuditError,
    },
}

impl RunError {
    /// The command can't have a control group of its own.
    pub(super) fn no_group(error: &io::Error) -> Self {
        let why = format!(
            "it can't have a control group: {error}; look at the directory that `[policy] cgroup` \
             names, or set it to off"
        );
        Self::NotConfined { why }
    }

    /// What the keeper found.
    pub(super) fn refused(refusal: Refusal, order: &Order) -> Self {
        let program = || order.argv[0].clone();
        match refusal {
            Refusal::Sandbox(why) => Self::NotConfined { why },
            Refusal::Group(number) => Self::no_group(&io::Error::from_raw_os_error(number)),
            Refusal::Directory(number) => Self::Directory {
                cwd: order.cwd.clone(),
                error: io::Error::from_raw_os_error(number),
            },
            Refusal::Program(number) => {
                let error = io::Error::from_raw_os_error(number);
                match error.kind() {
                    io::ErrorKind::NotFound => Self::NotFound { program: program() },
                    io::ErrorKind::PermissionDenied if !is_there(order) => {
                        Self::NotFound { program: program() }
                    }
                    io::ErrorKind::ArgumentListTooLong => Self::TooLong {
                        bytes: order.argv.iter().map(String::len).sum(),
                    },
                    io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock => Self::Spawn(error),
                    _ => Self::NotExecutable {
                        program: program(),
                        error,
                    },
                }
            }
        }
    }
}

/// Whether there is a file of the program's name. If a directory of `PATH` can't be entered, the
/// system says of any name that permission is denied.
fn is_there(order: &Order) -> bool {
    let program = &order.argv[0];
    if program.contains('/') {
        return true;
    }
    let path = order.env.get("PATH").map_or("", String::as_str);
    std::env::split_paths(path).any(|directory| directory.join(program).exists())
}

/// The keeper's end of the connection only closes with the keeper.
impl From<WireError> for RunError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Io(error) => Self::Spawn(error.into()),
            WireError::TimedOut
            | WireError::Woken
            | WireError::Closed
            | WireError::TooLong(_)
            | WireError::NoDescriptors => Self::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fazai_sandbox::Wanted;
    use rustix::io::Errno;

    use super::*;

    #[track_caller]
    fn check(program: &str, error: Errno, expected: &str) {
        let order = Order {
            argv: vec![program.into(), "x".repeat(10)],
            cwd: "/".into(),
            env: [("PATH".into(), "/bin:/root/no/such".into())].into(),
            wanted: Wanted::default(),
            group: None,
            term_grace: Duration::ZERO,
        };
        let error = RunError::refused(Refusal::Program(error.raw_os_error()), &order);
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn what_the_system_says_is_told_apart() {
        check("no-such-program", Errno::NOENT, "there is no program");
        check("no-such-program", Errno::ACCESS, "there is no program");
        check("sh", Errno::ACCESS, "`sh` can't be run");
        check("/etc", Errno::ACCESS, "`/etc` can't be run");
        check("sh", Errno::NOEXEC, "of another machine");
        check("sh", Errno::TOOBIG, "the arguments have 12 bytes");
        check("sh", Errno::AGAIN, "limits of the service");
    }
}
