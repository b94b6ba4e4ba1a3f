//! A command that runs, from this side.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Seek, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use fazai_sandbox::{Stop, Wait, timespec};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;

use super::kept::{Exit, Kept, MARGIN};
use super::order::Order;
use super::output::{Lines, Output, Piece, Source};
use super::{Ended, How, RunError, Why};

const READ_BYTES: usize = 64 << 10;

/// What a time limit is cut to, so that it can be reckoned with: a year.
pub(super) const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// A command with its keeper, and what it writes. Dropping it ends both.
pub(super) struct Running {
    kept: Kept,
    pipes: Vec<Pipe>,
    /// When the command or, after that, its keeper has to have ended.
    until: Instant,
    /// Why it is over, as far as that is known.
    why: Why,
}

struct Pipe {
    reader: PipeReader,
    lines: Lines,
}

/// What can be read.
struct Ready {
    wire: bool,
    stop: bool,
    pipes: Vec<bool>,
}

impl Running {
    /// Starts the keeper and tells it what to run.
    pub(super) fn start(order: Order, how: &How) -> Result<Self, RunError> {
        let until = Instant::now() + how.timeout.min(TIMEOUT_MAX);
        let stdin = stdin(how.stdin.as_deref()).map_err(RunError::Spawn)?;
        let (pipes, writers) = pipes(how.merge_stderr).map_err(RunError::Spawn)?;
        let writers = writers.map(Into::into);
        let kept = Kept::start(order, how, stdin.as_fd(), writers, Wait::until(until))?;
        Ok(Self {
            kept,
            pipes,
            until,
            why: Why::Finished,
        })
    }

    /// Hands over the output until the command has ended.
    pub(super) fn follow(
        mut self,
        how: &How,
        stop: Option<&Stop>,
        reader: &mut dyn FnMut(Piece) -> ControlFlow<()>,
    ) -> Result<Ended, RunError> {
        let mut output = Output::new(how.output_bytes_max, reader);
        let exit = loop {
            let stop = stop.filter(|_| self.why == Why::Finished);
            let ready = self.wait(stop, Some(self.until))?;
            self.read(&ready, &mut output);
            if ready.wire
                && let Some(exit) = self.kept.exit()?
            {
                break exit;
            }
            if ready.stop {
                self.end(Why::Stopped);
            } else if Instant::now() >= self.until {
                if self.why != Why::Finished {
                    return Err(RunError::Lost);
                }
                self.end(Why::TimedOut);
            }
        };
        self.drain(&mut output)?;
        if exit.signal.is_some() && self.why == Why::Finished && self.kept.ran_out_of_memory() {
            self.why = Why::MemoryLimit;
        }
        let Exit { code, signal } = exit;
        let (bytes, cut, output_sha256) = output.sum();
        Ok(Ended {
            exit_code: code,
            signal,
            why: self.why,
            bytes,
            cut,
            output_sha256,
        })
    }

    /// Has the keeper end the command, unless it does already.
    fn end(&mut self, why: Why) {
        if self.why == Why::Finished {
            self.why = why;
            self.until = Instant::now() + self.kept.hang_up();
        }
    }

    /// Waits until there is something to do.
    fn wait(&self, stop: Option<&Stop>, until: Option<Instant>) -> Result<Ready, RunError> {
        let of = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = vec![of(self.kept.socket())];
        fds.extend(self.pipes.iter().map(|pipe| of(pipe.reader.as_fd())));
        fds.extend(stop.map(|stop| of(stop.as_fd())));
        let limit = until.map_or(Duration::ZERO, |at| {
            at.saturating_duration_since(Instant::now())
        });
        match poll(&mut fds, Some(&timespec(limit))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(RunError::Spawn(error.into())),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(Ready {
            wire: ready.next().unwrap_or_default(),
            pipes: ready.by_ref().take(self.pipes.len()).collect(),
            stop: ready.next().unwrap_or_default(),
        })
    }

    /// Reads once from each pipe that has something, and forgets those that have ended.
    fn read(&mut self, ready: &Ready, output: &mut Output<'_>) {
        let mut over = None;
        let mut ready = ready.pipes.iter();
        self.pipes.retain_mut(|pipe| {
            let open = !ready.next().is_some_and(|ready| *ready) || pipe.pass(output, &mut over);
            if !open {
                output.finish(&mut pipe.lines);
            }
            open
        });
        if let Some(why) = over {
            self.end(why);
        }
    }

    /// Reads what is left in the pipes of a command that has ended. Who holds one open all the same
    /// could not be ended, and is not waited for.
    fn drain(&mut self, output: &mut Output<'_>) -> Result<(), RunError> {
        let until = Instant::now() + MARGIN;
        while Instant::now() < until {
            let ready = self.wait(None, None)?;
            if !ready.pipes.contains(&true) {
                break;
            }
            self.read(&ready, output);
        }
        for pipe in &mut self.pipes {
            output.finish(&mut pipe.lines);
        }
        Ok(())
    }
}

impl Pipe {
    fn new(reader: PipeReader, from: Source) -> Self {
        Self {
            reader,
            lines: Lines::new(from),
        }
    }

    /// Passes on what one read gives. False: it has ended.
    fn pass(&mut self, output: &mut Output<'_>, over: &mut Option<Why>) -> bool {
        let mut bytes = [0; READ_BYTES];
        match self.reader.read(&mut bytes) {
            Ok(0) => false,
            Ok(got) => {
                if let ControlFlow::Break(why) = output.push(&mut self.lines, &bytes[..got]) {
                    *over = Some(why);
                }
                true
            }
            Err(error) => error.kind() == io::ErrorKind::Interrupted,
        }
    }
}

/// What it writes to, standard output first, and what is read of that.
fn pipes(merged: bool) -> io::Result<(Vec<Pipe>, [PipeWriter; 2])> {
    let (reader, stdout) = io::pipe()?;
    let mut pipes = vec![Pipe::new(reader, Source::Stdout)];
    let stderr = if merged {
        stdout.try_clone()?
    } else {
        let (reader, stderr) = io::pipe()?;
        pipes.push(Pipe::new(reader, Source::Stderr));
        stderr
    };
    Ok((pipes, [stdout, stderr]))
}

/// What the command reads. In a file without a name there is no pipe to be filled while it runs.
fn stdin(bytes: Option<&[u8]>) -> io::Result<File> {
    let Some(bytes) = bytes else {
        return File::open("/dev/null");
    };
    let mut file = File::from(memfd_create("fazai-stdin", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
