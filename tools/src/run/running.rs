//! A command that runs, from this side.

use std::fs::File;
use std::io::{self, PipeReader, Read, Seek, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use fazai_sandbox::{Stop, Wait, Wire, poll_until, spawn, timespec};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::family;
use super::keeper::LAST_WAIT;
use super::order::{Order, SAID_BYTES_MAX, Said, read, send};
use super::output::{Lines, Output, Piece, Source};
use super::{Ended, How, RunError, Why};

const READ_BYTES: usize = 64 << 10;

/// How much longer than it may need the keeper is waited for.
const MARGIN: Duration = Duration::from_secs(5);

/// What a time limit is cut to, so that it can be reckoned with: a year.
pub(super) const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The keeper of a command, and what the command writes. Dropping it ends both.
pub(super) struct Running<'a> {
    order: &'a Order,
    keeper: Child,
    /// Ready to read once the keeper has ended.
    ended: OwnedFd,
    wire: Wire,
    pipes: Vec<Pipe>,
    /// When the command or, after that, its keeper has to have ended.
    until: Instant,
    /// Why it is over, as far as that is known.
    why: Why,
    /// Whether the keeper has said how it ended, and so has nothing left to do.
    settled: bool,
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

impl<'a> Running<'a> {
    /// Starts the keeper and tells it what to run.
    pub(super) fn start(order: &'a Order, how: &How) -> Result<Self, RunError> {
        let until = Instant::now() + how.timeout.min(TIMEOUT_MAX);
        let stdin = stdin(how.stdin.as_deref()).map_err(RunError::Spawn)?;
        let mut running = Self::spawn(order, how, until).map_err(RunError::Spawn)?;
        running.wire.send_descriptors(&[stdin.as_fd()])?;
        send(&mut running.wire, order, Wait::until(until))?;
        Ok(running)
    }

    fn spawn(order: &'a Order, how: &How, until: Instant) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let (reader, stdout) = io::pipe()?;
        let mut pipes = vec![Pipe::new(reader, Source::Stdout)];
        let stderr = if how.merge_stderr {
            stdout.try_clone()?
        } else {
            let (reader, stderr) = io::pipe()?;
            pipes.push(Pipe::new(reader, Source::Stderr));
            stderr
        };
        let mut command = how.launcher.command();
        command.stdin(theirs).stdout(stdout).stderr(stderr);
        let mut keeper = spawn(command)?;
        let ended = match pidfd_open(Pid::from_child(&keeper), PidfdFlags::empty()) {
            Ok(ended) => ended,
            Err(error) => {
                // It has started nothing yet; the error is what is reported.
                let _ = keeper.kill();
                let _ = keeper.wait();
                return Err(error.into());
            }
        };
        Ok(Self {
            order,
            keeper,
            ended,
            wire: Wire::new(ours, SAID_BYTES_MAX),
            pipes,
            until,
            why: Why::Finished,
            settled: false,
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
        let said = loop {
            let stop = stop.filter(|_| self.why == Why::Finished);
            let ready = self.wait(stop, Some(self.until))?;
            self.read(&ready, &mut output);
            if ready.wire {
                match self.wire.try_recv() {
                    Ok(Some(frame)) => break read(&frame)?,
                    Ok(None) => {}
                    Err(error) => return Err(error.into()),
                }
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
        self.settled = true;
        self.drain(&mut output)?;
        match said {
            Said::Refused(refusal) => Err(RunError::refused(refusal, self.order)),
            Said::Ended { exit_code, signal } => {
                let (bytes, cut, output_sha256) = output.sum();
                Ok(Ended {
                    exit_code,
                    signal,
                    why: self.why,
                    bytes,
                    cut,
                    output_sha256,
                })
            }
        }
    }

    /// Has the keeper end the command, unless it does already.
    fn end(&mut self, why: Why) {
        if self.why == Why::Finished {
            self.why = why;
            self.until = Instant::now() + self.hang_up();
        }
    }

    /// Tells the keeper that nobody wants the command; it has ended after this time.
    fn hang_up(&self) -> Duration {
        // It has closed its end already if this fails.
        let _ = shutdown(self.wire.socket(), Shutdown::Write);
        self.order.term_grace + LAST_WAIT + MARGIN
    }

    /// Waits until there is something to do.
    fn wait(&self, stop: Option<&Stop>, until: Option<Instant>) -> Result<Ready, RunError> {
        let of = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = vec![of(self.wire.socket())];
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

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.settled {
            let wait = Wait::of(self.hang_up());
            // Whether it has ended by then or not, what can be found is.
            let _ = poll_until(self.ended.as_fd(), PollFlags::IN, wait);
            family::kill_session(Pid::from_child(&self.keeper));
        }
        let _ = self.keeper.wait();
    }
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
