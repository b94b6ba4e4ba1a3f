//! Frames over the socket between a program and a process that it started.
//!
//! A frame is four numbers of 32 bits in the byte order of the machine (length of the body, kind,
//! call, code) and the body. Neither side believes the other: lengths are bounded before anything
//! is reserved for them, and the program takes no descriptors, it only gives them.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::layers::close_from;

/// The length of the four numbers.
pub const HEADER_BYTES: usize = 16;

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is about.
    pub kind: u32,
    /// Which of several calls it belongs to.
    pub call: u32,
    /// A result, where the kind has one.
    pub code: i32,
    /// The rest, as the kind says.
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// One that needs no code.
    #[must_use]
    pub fn new(kind: u32, call: u32, body: &'a [u8]) -> Self {
        Self {
            kind,
            call,
            code: 0,
            body,
        }
    }
}

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The wait is over.
    #[error("the time is up")]
    TimedOut,
    /// What was to wake the wait did.
    #[error("it was not waited for any longer")]
    Woken,
    /// The other process closed its end, or has ended.
    #[error("the other side closed the connection")]
    Closed,
    /// A length beyond the bound, in bytes.
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    /// Too few came, or they could not be sent.
    #[error("descriptors were expected and did not come")]
    NoDescriptors,
    /// What else the system said.
    #[error("{0}")]
    Io(Errno),
}

impl From<Errno> for WireError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::CONNRESET | Errno::PIPE => Self::Closed,
            other => Self::Io(other),
        }
    }
}

/// How long the other side is waited for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wait<'a> {
    until: Option<Instant>,
    /// What ends the wait when it can be read, whether the other side is ready or not.
    pub wake: Option<BorrowedFd<'a>>,
}

impl Wait<'_> {
    /// Without an end.
    pub const FOREVER: Self = Self {
        until: None,
        wake: None,
    };

    /// Until then.
    #[must_use]
    pub fn until(at: Instant) -> Self {
        Self {
            until: Some(at),
            wake: None,
        }
    }

    /// So long from now.
    #[must_use]
    pub fn of(time: Duration) -> Self {
        Self::until(Instant::now() + time)
    }

    fn ends(&self) -> bool {
        self.until.is_some() || self.wake.is_some()
    }
}

/// One end of the connection, with the bytes that were read ahead.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    inbox: Vec<u8>,
    start: usize,
    end: usize,
    body_max: usize,
}

impl Wire {
    /// `body_max` bounds, in bytes, the frames that are received.
    #[must_use]
    pub fn new(socket: OwnedFd, body_max: usize) -> Self {
        Self {
            socket,
            inbox: vec![0; 64 << 10],
            start: 0,
            end: 0,
            body_max,
        }
    }

    /// A process's end of the connection that is its standard input. Called before it opens
    /// anything: all other descriptors but its output are closed, and the connection is moved away,
    /// so that nobody who reads from standard input reads it.
    pub fn inherited(body_max: usize) -> Result<Self, WireError> {
        close_from(3);
        let socket = fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        let null = File::options().read(true).write(true).open("/dev/null");
        rustix::stdio::dup2_stdin(null.map_err(|_| WireError::Closed)?)?;
        Ok(Self::new(socket, body_max))
    }

    /// Sends a frame. An error leaves a part of it sent.
    pub fn send(&mut self, frame: &Frame<'_>, wait: Wait<'_>) -> Result<(), WireError> {
        let length =
            u32::try_from(frame.body.len()).map_err(|_| WireError::TooLong(frame.body.len()))?;
        let header = header(length, frame.kind, frame.call, frame.code);
        let mut slices = [IoSlice::new(&header), IoSlice::new(frame.body)];
        let mut rest = &mut slices[..];
        let mut left = HEADER_BYTES + frame.body.len();
        let mut flags = SendFlags::NOSIGNAL;
        flags.set(SendFlags::DONTWAIT, wait.ends());
        while left > 0 {
            let mut none = SendAncillaryBuffer::default();
            match rustix::net::sendmsg(&self.socket, rest, &mut none, flags) {
                Ok(sent) => {
                    left -= sent;
                    IoSlice::advance_slices(&mut rest, sent);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => poll_until(self.socket.as_fd(), PollFlags::OUT, wait)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits for a frame. An error for want of time loses nothing.
    pub fn recv(&mut self, wait: Wait<'_>) -> Result<Frame<'_>, WireError> {
        loop {
            if let Some(length) = self.complete()? {
                return Ok(self.take(length));
            }
            // Trying to read first would seldom save this: answers are rarely there already.
            let mut flags = RecvFlags::empty();
            if wait.ends() {
                poll_until(self.socket.as_fd(), PollFlags::IN, wait)?;
                flags = RecvFlags::DONTWAIT;
            }
            self.fill(flags)?;
        }
    }

    /// A frame, if one has come already.
    pub fn try_recv(&mut self) -> Result<Option<Frame<'_>>, WireError> {
        if self.complete()?.is_none() {
            self.fill(RecvFlags::DONTWAIT)?;
        }
        Ok(self.complete()?.map(|length| self.take(length)))
    }

    /// Sends descriptors, with one byte that is no part of a frame.
    pub fn send_descriptors(&self, fds: &[BorrowedFd<'_>]) -> Result<(), WireError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(WireError::NoDescriptors);
        }
        let byte = [IoSlice::new(b"D")];
        rustix::net::sendmsg(&self.socket, &byte, &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Receives what [`Self::send_descriptors`] sent, before any frame.
    pub fn recv_descriptors<const N: usize>(&self) -> Result<[OwnedFd; N], WireError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut slices = [IoSliceMut::new(&mut byte)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = rustix::net::recvmsg(&self.socket, &mut slices, &mut ancillary, flags)?;
        if got.bytes == 0 || got.flags.contains(ReturnFlags::CTRUNC) {
            return Err(WireError::NoDescriptors);
        }
        let mut fds = Vec::with_capacity(N);
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        fds.try_into().map_err(|_| WireError::NoDescriptors)
    }

    /// The socket, to wait for it together with others.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The length of the next frame's body, if all of it is there. Makes room for it if not.
    fn complete(&mut self) -> Result<Option<usize>, WireError> {
        let ready = &self.inbox[self.start..self.end];
        let Some(header) = ready.first_chunk::<HEADER_BYTES>() else {
            self.room(HEADER_BYTES);
            return Ok(None);
        };
        let length = number(header, 0) as usize;
        if length > self.body_max {
            return Err(WireError::TooLong(length));
        }
        if ready.len() < HEADER_BYTES + length {
            self.room(HEADER_BYTES + length);
            return Ok(None);
        }
        Ok(Some(length))
    }

    fn take(&mut self, length: usize) -> Frame<'_> {
        let at = self.start;
        self.start += HEADER_BYTES + length;
        let (header, rest) = self.inbox[at..self.end].split_at(HEADER_BYTES);
        Frame {
            kind: number(header, 4),
            call: number(header, 8),
            code: number(header, 12).cast_signed(),
            body: &rest[..length],
        }
    }

    fn room(&mut self, bytes: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.inbox.len() - self.start < bytes {
            self.inbox.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.inbox.len() < bytes {
            self.inbox.resize(bytes, 0);
        }
    }

    fn fill(&mut self, flags: RecvFlags) -> Result<(), WireError> {
        match rustix::net::recv(&self.socket, &mut self.inbox[self.end..], flags) {
            Ok((0, _)) => Err(WireError::Closed),
            Ok((got, _)) => {
                self.end += got;
                Ok(())
            }
            Err(Errno::INTR | Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Waits until a descriptor is ready.
pub fn poll_until(fd: BorrowedFd<'_>, events: PollFlags, wait: Wait<'_>) -> Result<(), WireError> {
    let wake = PollFd::from_borrowed_fd(wait.wake.unwrap_or(fd), PollFlags::IN);
    let mut fds = [PollFd::from_borrowed_fd(fd, events), wake];
    let count = if wait.wake.is_some() { 2 } else { 1 };
    loop {
        let limit = wait
            .until
            .map(|at| timespec(at.saturating_duration_since(Instant::now())));
        match rustix::event::poll(&mut fds[..count], limit.as_ref()) {
            Ok(0) => return Err(WireError::TimedOut),
            // First, or a side that always has something to say could not be left.
            Ok(_) if count == 2 && !fds[1].revents().is_empty() => return Err(WireError::Woken),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The bytes before a body.
#[must_use]
pub fn header(length: u32, kind: u32, call: u32, code: i32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let numbers = [length, kind, call, code.cast_unsigned()];
    for (bytes, number) in header.chunks_exact_mut(4).zip(numbers) {
        bytes.copy_from_slice(&number.to_ne_bytes());
    }
    header
}

fn number(header: &[u8], at: usize) -> u32 {
    header[at..]
        .first_chunk()
        .map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// A length of time as the kernel wants it.
#[must_use]
pub fn timespec(time: Duration) -> Timespec {
    let tv_sec = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timespec {
        tv_sec,
        tv_nsec: time.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (Wire, Wire) {
        let (a, b) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a pair");
        (Wire::new(a, 1 << 20), Wire::new(b, 100))
    }

    fn soon() -> Wait<'static> {
        Wait::of(Duration::from_secs(5))
    }

    #[test]
    fn frames_arrive_whole_and_in_order() {
        let (mut a, mut b) = pair();
        let long = vec![7; 300_000];
        let sender = std::thread::spawn(move || {
            for (call, body) in [(1, &b"x"[..]), (2, b""), (3, &long), (4, b"last")] {
                b.send(
                    &Frame {
                        kind: 9,
                        call,
                        code: -5,
                        body,
                    },
                    soon(),
                )
                .expect("sent");
            }
            b
        });
        for (call, length) in [(1, 1), (2, 0), (3, 300_000), (4, 4)] {
            let frame = a.recv(soon()).expect("a frame");
            assert_eq!((frame.kind, frame.call, frame.code), (9, call, -5));
            assert_eq!(frame.body.len(), length);
        }
        assert!(a.try_recv().expect("open").is_none());
        drop(sender.join());
        assert!(matches!(a.recv(soon()), Err(WireError::Closed)));
    }

    #[test]
    fn a_length_is_bounded_before_it_is_believed() {
        let (mut a, mut b) = pair();
        rustix::io::write(a.socket(), &header(u32::MAX, 1, 1, 0)).expect("written");
        assert!(matches!(b.recv(soon()), Err(WireError::TooLong(_))));
        // Nor does a silent side, or one that does not read, keep anybody.
        let past = Wait::of(Duration::ZERO);
        assert!(matches!(a.recv(past), Err(WireError::TimedOut)));
        let body = vec![0; 1 << 20];
        let frame = Frame::new(1, 1, &body);
        assert!(matches!(a.send(&frame, past), Err(WireError::TimedOut)));
    }

    #[test]
    fn descriptors_arrive() {
        let (a, b) = pair();
        let file = tempfile::tempfile().expect("a file");
        rustix::io::write(&file, b"hello").expect("written");
        a.send_descriptors(&[file.as_fd(), file.as_fd()])
            .expect("sent");
        let [one, _] = b.recv_descriptors::<2>().expect("received");
        let mut text = [0; 5];
        rustix::io::pread(&one, &mut text, 0).expect("read");
        assert_eq!(&text, b"hello");
    }
}
