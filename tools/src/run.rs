//! Commands: what a [`Permit`] for [`Action::Exec`] or [`Action::CallTool`] says is run, watched, and ended in time.
//!
//! | file | what it owns |
//! |---|---|
//! | `confine.rs`, `hidden.rs`, `environment.rs` | what the command may do, and what it is told |
//! | `order.rs` | what this program and the keeper say to each other |
//! | `keeper.rs`, `family.rs` | the process that starts the command and ends all that comes of it |
//! | `orphans.rs` | what is left of it when somebody has killed the keeper |
//! | `group.rs` | what it may take together with all that it starts |
//! | `kept.rs` | this side of it |
//! | `running.rs` | a command that is run to its end: output, time, the wish to stop |
//! | `started.rs` | a program that runs on while somebody talks with it |
//! | `output.rs` | from bytes to pieces, what is kept of them, their hash |
//! | `error.rs` | why nothing ran |
//!
//! This program starts itself again, as the keeper of one command; there [`confined_main`] enters
//! the sandbox and starts the command. Everything that the command starts stays the keeper's, also
//! what leaves its group and session or forks twice, since orphans become children of the keeper
//! (`PR_SET_CHILD_SUBREAPER`). So it is all found and ended: when the command has ended by itself,
//! when its time is up, when nobody wants it any more, and when the worker ends in whatever way,
//! which the keeper notices by its connection. A command leaves nothing running behind; what is to
//! stay is a service, and started by the system's service manager.
//!
//! What can't be ended from here: what another service starts on request (systemd, docker, cron,
//! at), since that is not the command's child; a program with set-user-ID such as sudo, if the
//! worker is not root; a process that the kernel holds in a device's driver; and, if somebody kills
//! keeper and worker at once, what has left the command's session. If only the keeper is killed, which
//! a command that is `ReadOnly` can't do since Linux 6.12, its orphans come to the worker and are
//! killed there, as long as that is a program of its own ([`adopt_orphans`]).

mod confine;
mod environment;
mod error;
mod family;
mod group;
mod hidden;
mod keeper;
mod kept;
mod order;
mod orphans;
mod output;
mod running;
mod started;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use fazai_sandbox::{Launcher, Stop};
use tempfile::TempDir;

pub use self::confine::Confinement;
pub use self::error::RunError;
pub use self::family::Stat;
pub use self::group::{GroupLimits, Groups};
pub use self::keeper::confined_main;
use self::order::Order;
pub use self::orphans::{adopt_orphans, adopts_orphans};
pub use self::output::{OUTPUT_DROPPED_BYTES_MAX, PIECE_BYTES_MAX, Piece, Source};
use self::running::{Running, TIMEOUT_MAX};
pub use self::started::{Exited, Process, Started, start};
use crate::action::{Exec, Input};
use crate::audit::{AuditError, Hash};
use crate::gate::{Outcome, Permit};

/// In what way a command runs.
#[derive(Debug, Clone)]
pub struct How {
    /// How the keeper is started: a program that calls [`confined_main`].
    pub launcher: Launcher,
    /// What it may do.
    pub confinement: Confinement,
    /// Where it gets a control group of its own; none: it shares the worker's.
    pub groups: Option<Arc<Groups>>,
    /// For how long it may run. The reader's time counts as well, and while the reader does not
    /// return nothing is ended.
    pub timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub term_grace: Duration,
    /// How much of its output the reader gets, in bytes. The rest is counted and dropped, up to
    /// [`OUTPUT_DROPPED_BYTES_MAX`], where the command is ended.
    pub output_bytes_max: u64,
    /// What it reads from its standard input; none: nothing.
    pub stdin: Option<Vec<u8>>,
    /// Whether its standard error is its standard output, so that lines keep their order.
    pub merge_stderr: bool,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What it gave to `exit`; none: a signal ended it, or it could not be ended at all.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// Whose doing it was.
    pub why: Why,
    /// How many bytes it wrote, also those that were dropped.
    pub bytes: u64,
    /// Whether some were dropped.
    pub cut: bool,
    /// Of all that it wrote, in the order in which it was read; for two streams that is not
    /// necessarily the order in which it was written.
    pub output_sha256: Hash,
}

/// Why a command is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It ended by itself.
    Finished,
    /// [`How::timeout`] was over.
    TimedOut,
    /// The [`Stop`] was raised, or the reader wanted no more.
    Stopped,
    /// It wrote more than anybody will read.
    OutputLimit,
    /// It and what it started took more memory than [`GroupLimits::memory_bytes`].
    MemoryLimit,
}

/// Runs a command until it and all that it started have ended, and hands its output over as it
/// comes. The end is recorded whatever it is. Blocks; can be called from any thread.
///
/// A command that fails is no error: see [`Ended::exit_code`].
pub fn run(
    permit: Permit,
    how: &How,
    stop: Option<&Stop>,
    reader: &mut dyn FnMut(Piece) -> ControlFlow<()>,
) -> Result<Ended, RunError> {
    let permit = Used(Some(permit));
    let result = permit
        .permit()
        .and_then(|it| perform(it, how, stop, reader));
    match permit.finish(outcome(&result)) {
        Ok(()) => result,
        // Why nothing ran says more than that this could not be recorded.
        Err(error) => result.and_then(|ended| Err(RunError::NotRecorded { ended, error })),
    }
}

fn perform(
    permit: &Permit,
    how: &How,
    stop: Option<&Stop>,
    reader: &mut dyn FnMut(Piece) -> ControlFlow<()>,
) -> Result<Ended, RunError> {
    let (order, _temp) = ordered(permit, how)?;
    Running::start(order, how)?.follow(how, stop, reader)
}

/// What the keeper is told, and the command's own directory, which goes when that is dropped.
fn ordered(permit: &Permit, how: &How) -> Result<(Order, Option<TempDir>), RunError> {
    let action = permit.action();
    let exec = action.exec().ok_or_else(|| RunError::WrongAction {
        kind: action.kind(),
    })?;
    check(exec)?;
    if exec.stdin != how.stdin.as_deref().map(Input::of) {
        return Err(RunError::Malformed {
            what: "its input is not the one that was judged",
        });
    }
    permit.check_files()?;
    let temp = how.confinement.temp().map_err(RunError::Spawn)?;
    let path = temp.as_ref().map(TempDir::path);
    let order = Order {
        argv: exec.argv.clone(),
        cwd: exec.cwd.clone(),
        env: environment::environment(std::env::vars_os(), path, &exec.env),
        wanted: how.confinement.wanted(path),
        group: None,
        term_grace: how.term_grace.min(TIMEOUT_MAX),
    };
    Ok((order, temp))
}

/// What no system call would take, or would take for something else.
fn check(exec: &Exec) -> Result<(), RunError> {
    let malformed = |what| Err(RunError::Malformed { what });
    let nul = |text: &str| text.contains('\0');
    if exec.argv.first().is_none_or(String::is_empty) {
        return malformed("it names no program");
    }
    if !exec.cwd.is_absolute() {
        return malformed("its directory is not absolute");
    }
    if exec.argv.iter().any(|text| nul(text)) || nul(&exec.cwd.to_string_lossy()) {
        return malformed("it has a NUL");
    }
    for (name, value) in &exec.env {
        if name.is_empty() || name.contains('=') || nul(name) || nul(value) {
            return malformed("a variable has an empty name, a `=` in its name, or a NUL");
        }
    }
    Ok(())
}

fn outcome(result: &Result<Ended, RunError>) -> Outcome {
    match result {
        Ok(ended) => Outcome {
            exit_code: ended.exit_code,
            output_sha256: Some(ended.output_sha256),
            error: ended.problem(),
        },
        Err(error) => Outcome {
            error: Some(error.to_string()),
            ..Outcome::default()
        },
    }
}

impl Ended {
    /// What is to be said besides the exit code.
    fn problem(&self) -> Option<String> {
        match (self.why, self.signal) {
            (Why::TimedOut, _) => Some("it was ended at its time limit".into()),
            (Why::Stopped, _) => Some("it was stopped".into()),
            (Why::OutputLimit, _) => Some("it was ended because it wrote too much".into()),
            (Why::MemoryLimit, _) => Some("it was ended because it took too much memory".into()),
            (Why::Finished, Some(signal)) => Some(format!("signal {signal} ended it")),
            (Why::Finished, None) => None,
        }
    }
}

/// A permit of which something came: if a reader panics, it must not be recorded as unused.
struct Used(Option<Permit>);

impl Used {
    fn permit(&self) -> Result<&Permit, RunError> {
        self.0.as_ref().ok_or(RunError::Lost)
    }

    fn finish(mut self, outcome: Outcome) -> Result<(), AuditError> {
        self.0
            .take()
            .map_or(Ok(()), |permit| permit.finish(outcome))
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        if let Some(permit) = self.0.take() {
            let error = Some("it was ended because its reader failed".into());
            // There is nobody to tell while a panic goes on.
            let _ = permit.finish(Outcome {
                error,
                ..Outcome::default()
            });
        }
    }
}
