//! A program that runs on while somebody talks with it, such as a server on its standard streams.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use fazai_sandbox::{Wait, poll_until};
use rustix::event::PollFlags;
use tempfile::TempDir;

use super::kept::{Exit, Kept, MARGIN};
use super::{How, RunError, Used, ordered};
use crate::audit::AuditError;
use crate::gate::{Outcome, Permit};

/// A program that runs, and its standard streams.
#[derive(Debug)]
pub struct Started {
    /// What it reads.
    pub stdin: PipeWriter,
    /// What it writes. This ends if the program could not be started at all; [`Process::end`]
    /// then says why.
    pub stdout: PipeReader,
    /// What it writes about that. Somebody has to read it, or the program waits some day.
    pub stderr: PipeReader,
    /// The program itself.
    pub process: Process,
}

/// A program that runs. Dropping it ends it and all that it started, and records that.
pub struct Process {
    kept: Kept,
    /// None once the end is recorded.
    permit: Option<Used>,
    /// Its own directory, which goes when it has ended.
    _temp: Option<TempDir>,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exited {
    /// What it gave to `exit`; none: a signal ended it, or it could not be ended at all.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// Whether it was ended because nobody wanted it any longer.
    pub stopped: bool,
}

/// Starts a program, and does not wait for its end. Of `how` the launcher, the confinement and the
/// grace count: it has no time limit, and whoever reads its output limits that.
pub fn start(permit: Permit, how: &How) -> Result<Started, RunError> {
    let permit = Used(Some(permit));
    match begin(&permit, how) {
        Ok((stdin, stdout, stderr, kept, temp)) => Ok(Started {
            stdin,
            stdout,
            stderr,
            process: Process {
                kept,
                permit: Some(permit),
                _temp: temp,
            },
        }),
        Err(error) => {
            // Why nothing ran says more than that this could not be recorded.
            let _ = permit.finish(outcome(&Err(&error)));
            Err(error)
        }
    }
}

type Begun = (PipeWriter, PipeReader, PipeReader, Kept, Option<TempDir>);

fn begin(permit: &Used, how: &How) -> Result<Begun, RunError> {
    let (order, temp) = ordered(permit.permit()?, how)?;
    let pipe = || io::pipe().map_err(RunError::Spawn);
    let ((stdin, ours_in), (ours_out, stdout), (ours_err, stderr)) = (pipe()?, pipe()?, pipe()?);
    let kept = Kept::start(
        order,
        how,
        stdin.as_fd(),
        [stdout.into(), stderr.into()],
        Wait::of(MARGIN),
    )?;
    Ok((ours_in, ours_out, ours_err, kept, temp))
}

impl Process {
    /// Ends it, unless it ends by itself within this time, and says how it ended. An error says
    /// why it did not run. Blocks for as long, and then for the grace.
    pub fn end(mut self, patience: Duration) -> Result<Exited, RunError> {
        let result = self.exit(patience);
        match self.record(&result) {
            Ok(()) => result,
            Err(error) => result.and_then(|exited| {
                Err(RunError::EndNotRecorded {
                    exit_code: exited.exit_code,
                    error,
                })
            }),
        }
    }

    fn exit(&mut self, patience: Duration) -> Result<Exited, RunError> {
        let ended = self.wait(patience)?;
        let stopped = ended.is_none();
        let exit = match ended {
            Some(exit) => Some(exit),
            None => {
                let time = self.kept.hang_up();
                self.wait(time)?
            }
        };
        let Exit { code, signal } = exit.ok_or(RunError::Lost)?;
        Ok(Exited {
            exit_code: code,
            signal,
            stopped,
        })
    }

    /// How it ended, if it does within this time.
    fn wait(&mut self, time: Duration) -> Result<Option<Exit>, RunError> {
        let until = Instant::now() + time;
        loop {
            // Once at least: it may have ended long ago.
            if poll_until(self.kept.socket(), PollFlags::IN, Wait::until(until)).is_err() {
                return Ok(None);
            }
            if let Some(exit) = self.kept.exit()? {
                return Ok(Some(exit));
            }
        }
    }

    fn record(&mut self, result: &Result<Exited, RunError>) -> Result<(), AuditError> {
        match self.permit.take() {
            Some(permit) => permit.finish(outcome(&result.as_ref())),
            None => Ok(()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.permit.is_some() {
            let result = self.exit(Duration::ZERO);
            // There is nobody to tell.
            let _ = self.record(&result);
        }
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").finish_non_exhaustive()
    }
}

fn outcome(result: &Result<&Exited, &RunError>) -> Outcome {
    let (exit_code, error) = match result {
        Ok(exited) => (exited.exit_code, exited.problem()),
        Err(error) => (None, Some(error.to_string())),
    };
    Outcome {
        exit_code,
        error,
        ..Outcome::default()
    }
}

impl Exited {
    /// What is to be said besides the exit code.
    fn problem(self) -> Option<String> {
        match (self.stopped, self.signal) {
            (true, _) => Some("it was stopped".into()),
            (false, Some(signal)) => Some(format!("signal {signal} ended it")),
            (false, None) => None,
        }
    }
}
