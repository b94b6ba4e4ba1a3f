//! One process of a module, from its start to its end.

mod end;

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use fazai_sandbox::{Frame, Launcher, Report, Stop, Wire, WireError, poll_until};
use rustix::event::PollFlags;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::call::Work;
use super::stderr;
use super::stream::Stream;
use super::{Answer, Failure, Job, Limits};
use crate::image::Image;
use crate::manifest::Entry;
use crate::message::{Descriptor, REPLY_BYTES_MAX, Ready, Start, kind};
use crate::text::text;
use crate::verify::Checked;

/// Shared memory is mapped in whole pages.
const PAGE_MAX: usize = 64 << 10;

/// The largest buffer for a result, whatever is asked for.
const RESULT_BYTES_MAX: usize = 1 << 30;

const REASON_CHARS_MAX: usize = 1000;

/// A running process with a module in it. Dropping it ends the process.
#[derive(Debug)]
pub(super) struct Process {
    module: String,
    child: Child,
    /// Whether it was waited for; after that its number may be another's.
    reaped: bool,
    /// Ready to read once the process has ended.
    ended: OwnedFd,
    wire: Wire,
    shared: OwnedFd,
    shared_bytes: usize,
    call: u32,
    fault: i32,
}

impl Process {
    /// Starts a process and waits until its module is ready, unless the call that it is for is
    /// stopped.
    pub(super) fn start(
        checked: &Checked,
        launcher: &Launcher,
        limits: &Limits,
        stop: Option<&Stop>,
    ) -> Result<(Self, Option<Descriptor>, Report), Failure> {
        let work = Work::new("init", limits.init_timeout).unless(stop);
        let (process, ready) = Self::begin(
            &checked.entry,
            Some(&checked.image),
            launcher,
            limits,
            &work,
        )?;
        let Entry {
            name, capabilities, ..
        } = &checked.entry;
        let descriptor = ready
            .descriptor
            .map(|raw| raw.check(name, capabilities))
            .transpose()
            .map_err(|why| Failure::NotLoaded {
                module: name.clone(),
                why,
            })?;
        Ok((process, descriptor, ready.report))
    }

    /// Starts a process with this entry's rights that enters the sandbox and ends, to see which
    /// layers hold.
    pub(super) fn probe(launcher: &Launcher, limits: &Limits) -> Result<Report, Failure> {
        let work = Work::new("init", limits.init_timeout);
        let (_, ready) = Self::begin(&Entry::unlisted("probe"), None, launcher, limits, &work)?;
        Ok(ready.report)
    }

    fn begin(
        entry: &Entry,
        image: Option<&Image>,
        launcher: &Launcher,
        limits: &Limits,
        work: &Work<'_>,
    ) -> Result<(Self, Ready), Failure> {
        let name = &entry.name;
        let failed = |error: io::Error| Failure::Spawn {
            module: name.clone(),
            error,
        };
        let shared_bytes = limits
            .result_bytes_max
            .clamp(PAGE_MAX, RESULT_BYTES_MAX)
            .next_multiple_of(PAGE_MAX);
        let start = Start {
            name: name.clone(),
            loads: image.is_some(),
            capabilities: entry.capabilities.clone(),
            memory_bytes_max: limits.memory_bytes_max,
            shared_bytes,
            user: launcher.user,
            parent: std::process::id().cast_signed(),
        };
        let body = serde_json::to_vec(&start).map_err(|error| failed(error.into()))?;
        let mut process = Self::spawn(name, launcher, shared_bytes).map_err(failed)?;
        let shared = process.shared.as_fd();
        let image = image.map_or(shared, AsFd::as_fd);
        let sent = process
            .wire
            .send_descriptors(&[image, shared])
            .and_then(|()| {
                let frame = Frame::new(kind::START, 0, &body);
                process.wire.send(&frame, work.wait())
            });
        sent.map_err(|error| process.post_mortem(error, work))?;
        let ready = process.reply(work, |frame| match frame.kind {
            kind::READY => {
                Some(serde_json::from_slice(frame.body).map_err(|error| error.to_string()))
            }
            kind::REFUSED => Some(Err(reason(frame.body))),
            _ => None,
        })?;
        match ready {
            Ok(ready) => Ok((process, ready)),
            Err(why) => Err(Failure::NotLoaded {
                module: name.clone(),
                why,
            }),
        }
    }

    fn spawn(module: &str, launcher: &Launcher, shared_bytes: usize) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let shared = rustix::fs::memfd_create(
            "fazai-module-results",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )?;
        rustix::fs::ftruncate(&shared, shared_bytes as u64)?;
        // Its size is final, so that the module can't make the host read what is not there, nor
        // keep more memory than this.
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&shared, seals)?;
        let mut command = launcher.command();
        command
            // Its own group, so that everything it starts can be ended with it.
            .process_group(0)
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = fazai_sandbox::spawn(command)?;
        let ended = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(ended) => ended,
            Err(error) => {
                // Without it nobody would notice the end; the error is what is reported.
                let _ = child.kill();
                let _ = child.wait();
                return Err(error.into());
            }
        };
        if let Some(messages) = child.stderr.take() {
            stderr::follow(module, messages);
        }
        let wire = Wire::new(ours, REPLY_BYTES_MAX);
        let module = module.into();
        Ok(Self {
            module,
            child,
            reaped: false,
            ended,
            wire,
            shared,
            shared_bytes,
            call: 0,
            fault: 0,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is there for another call.
    pub(super) fn runs(&self) -> bool {
        !self.reaped
    }

    /// Does what the turn is for, within the limit of the turn.
    pub(super) fn perform(
        &mut self,
        job: &mut Job<'_>,
        limits: &Limits,
        turn: &Work<'_>,
    ) -> Result<Answer, Failure> {
        match job {
            Job::Exec(command, reader) => {
                let work = Work::new("call", turn.limit).unless(turn.stop);
                self.exec(command, limits, work, reader)
            }
            Job::Health => self.health(turn.limit),
        }
    }

    /// Runs a command. The reader gets the text as it comes. A call that is stopped has no answer,
    /// and costs a module that does not listen its process.
    fn exec(
        &mut self,
        command: &str,
        limits: &Limits,
        work: Work<'_>,
        reader: &mut dyn FnMut(String) -> ControlFlow<()>,
    ) -> Result<Answer, Failure> {
        let mut stopped = false;
        let result = self.converse(command, limits, work, reader, &mut stopped);
        match result {
            Ok(_) | Err(Failure::TimedOut { .. }) if stopped => Err(Failure::Stopped {
                module: self.module.clone(),
            }),
            other => other,
        }
    }

    fn converse(
        &mut self,
        command: &str,
        limits: &Limits,
        mut work: Work<'_>,
        reader: &mut dyn FnMut(String) -> ControlFlow<()>,
        stopped: &mut bool,
    ) -> Result<Answer, Failure> {
        self.send(kind::EXEC, command.as_bytes(), &work)?;
        let mut stream = Stream::new(limits.stream_bytes_max, reader);
        loop {
            let event = match self.next(&work) {
                // The stop that follows is waited for without the wish for it.
                Err(Failure::Stopped { .. }) if self.runs() => {
                    *stopped = true;
                    stream.close();
                    work = self.stop(work, limits)?;
                    continue;
                }
                event => event?,
            };
            match event {
                Event::Piece(piece) => {
                    if stream.push(piece).is_break() {
                        work = self.stop(work, limits)?;
                    }
                }
                Event::Done(code, rest) => return Ok(stream.finish(code, rest)),
            }
        }
    }

    /// Tells the module that nobody wants more, and gives it a last while.
    fn stop<'a>(&mut self, mut work: Work<'a>, limits: &Limits) -> Result<Work<'a>, Failure> {
        work.shorten("stop", limits.stop_timeout);
        self.send_of_call(kind::STOP, b"", &work)?;
        Ok(work)
    }

    /// Asks the module how it is.
    fn health(&mut self, limit: Duration) -> Result<Answer, Failure> {
        let work = Work::new("health", limit);
        self.send(kind::HEALTH, b"", &work)?;
        match self.next(&work)? {
            Event::Done(code, bytes) => Ok(Answer {
                code,
                text: text(bytes),
                cut: false,
            }),
            Event::Piece(_) => Err(self.disturbed("a piece of no answer".into())),
        }
    }

    /// Has the module clean up, and ends the process whether it does or not.
    pub(super) fn cleanup(&mut self, limits: &Limits) {
        let limit = limits.cleanup_timeout;
        let work = Work::new("cleanup", limit);
        let clean = self
            .send(kind::CLEANUP, b"", &work)
            .and_then(|()| self.reply(&work, |frame| (frame.kind == kind::CLEAN).then_some(())));
        match clean {
            // What the module left for the end of its process is done by then, or never.
            Ok(()) => drop(poll_until(self.ended.as_fd(), PollFlags::IN, work.wait())),
            Err(failure) => {
                tracing::warn!(module = self.module, %failure, "a module did not clean up");
            }
        }
    }

    /// Begins a call.
    fn send(&mut self, kind: u32, body: &[u8], work: &Work<'_>) -> Result<(), Failure> {
        self.call = self.call.wrapping_add(1);
        self.send_of_call(kind, body, work)
    }

    /// Sends a frame of the call that runs.
    fn send_of_call(&mut self, kind: u32, body: &[u8], work: &Work<'_>) -> Result<(), Failure> {
        self.wire
            .send(&Frame::new(kind, self.call, body), work.wait())
            .map_err(|error| self.post_mortem(error, work))
    }

    /// The next event of the call that runs.
    fn next(&mut self, work: &Work<'_>) -> Result<Event, Failure> {
        let call = self.call;
        let place = self.reply(work, |frame| {
            let of_this_call = frame.call == call;
            match frame.kind {
                kind::PIECE if of_this_call => Some(Ok(Event::Piece(frame.body.to_vec()))),
                kind::DONE if of_this_call => {
                    Some(Ok(Event::Done(frame.code, frame.body.to_vec())))
                }
                kind::DONE_SHARED if of_this_call => Some(Err((frame.code, frame.body.to_vec()))),
                _ => None,
            }
        })?;
        match place {
            Ok(event) => Ok(event),
            Err((code, place)) => match self.read_shared(&place) {
                Some(bytes) => Ok(Event::Done(code, bytes)),
                None => Err(self.disturbed("a result outside of the shared memory".into())),
            },
        }
    }

    /// Copies a result out of the shared memory. It is read through the descriptor: the module may
    /// still write there, which memory that Rust looks at must not be subject to.
    fn read_shared(&self, place: &[u8]) -> Option<Vec<u8>> {
        let (at, length) = place.split_first_chunk::<8>()?;
        let at = usize::try_from(u64::from_ne_bytes(*at)).ok()?;
        let length = usize::try_from(u64::from_ne_bytes(*length.first_chunk()?)).ok()?;
        if at.checked_add(length)? > self.shared_bytes {
            return None;
        }
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let from = (at + bytes.len()) as u64;
            let room = rustix::buffer::spare_capacity(&mut bytes);
            if rustix::io::pread(&self.shared, room, from).ok()? == 0 {
                return None;
            }
        }
        bytes.truncate(length);
        Some(bytes)
    }

    /// Waits for a frame that the caller takes. Anything else on the connection is not the doing
    /// of the host's own code.
    fn reply<T>(
        &mut self,
        work: &Work<'_>,
        mut take: impl FnMut(&Frame<'_>) -> Option<T>,
    ) -> Result<T, Failure> {
        let problem = loop {
            match self.wire.recv(work.wait()) {
                Ok(Frame {
                    kind: kind::FAULT,
                    code,
                    ..
                }) => self.fault = code,
                Ok(frame) => match take(&frame) {
                    Some(taken) => return Ok(taken),
                    None => break Err(format!("a frame of kind {}", frame.kind)),
                },
                // The process is still in order, and the caller decides about it.
                Err(WireError::Woken) => {
                    return Err(Failure::Stopped {
                        module: self.module.clone(),
                    });
                }
                Err(error) => break Ok(error),
            }
        };
        Err(match problem {
            Ok(error) => self.post_mortem(error, work),
            Err(what) => self.disturbed(what),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A text of the module's process that goes to operators: one line, and not a long one.
fn reason(bytes: &[u8]) -> String {
    text(bytes.to_vec())
        .chars()
        .filter(|c| !c.is_control())
        .take(REASON_CHARS_MAX)
        .collect()
}

enum Event {
    Piece(Vec<u8>),
    Done(i32, Vec<u8>),
}
