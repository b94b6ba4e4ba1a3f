//! The pipes of a server, within limits: what it floods or clogs is closed before it takes memory.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};

/// The longest message of a server, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// How much it may write in a minute.
const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_BYTES_MAX: usize = 256 << 20;
const MINUTE_MESSAGES_MAX: usize = 20_000;

/// How long it may leave unread what it is told.
const READS_WITHIN: Duration = Duration::from_secs(10);

/// Why a connection has to be closed. The reader and the writer of one server share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Fault(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    why: OnceLock<String>,
    raised: Notify,
}

impl Fault {
    pub(super) fn get(&self) -> Option<&str> {
        self.0.why.get().map(String::as_str)
    }

    /// Waits until there is one. For one task.
    pub(super) async fn raised(&self) {
        self.0.raised.notified().await;
    }

    /// The first that is raised counts.
    pub(super) fn raise(&self, why: String) -> io::Error {
        let why = self.0.why.get_or_init(|| why);
        self.0.raised.notify_one();
        io::Error::other(why.clone())
    }

    /// What both directions do once one of them has failed.
    fn check(&self) -> io::Result<()> {
        match self.get() {
            None => Ok(()),
            Some(why) => Err(io::Error::other(why)),
        }
    }
}

/// What a server writes.
pub(super) struct Limited<R> {
    inner: R,
    fault: Fault,
    /// Of the line that has not ended yet.
    line_bytes: usize,
    minute: Instant,
    bytes: usize,
    messages: usize,
}

impl<R> Limited<R> {
    pub(super) fn new(inner: R, fault: Fault) -> Self {
        Self {
            inner,
            fault,
            line_bytes: 0,
            minute: Instant::now(),
            bytes: 0,
            messages: 0,
        }
    }

    fn count(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.fault.check()?;
        if self.minute.elapsed() > MINUTE {
            (self.minute, self.bytes, self.messages) = (Instant::now(), 0, 0);
        }
        self.bytes += bytes.len();
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let mut longest = self.line_bytes + first.len();
        self.line_bytes = longest;
        for line in lines {
            self.messages += 1;
            self.line_bytes = line.len();
            longest = longest.max(line.len());
        }
        let problem = if longest > MESSAGE_BYTES_MAX {
            format!("it wrote a message of more than {MESSAGE_BYTES_MAX} bytes")
        } else if self.bytes > MINUTE_BYTES_MAX {
            format!("it wrote more than {MINUTE_BYTES_MAX} bytes in a minute")
        } else if self.messages > MINUTE_MESSAGES_MAX {
            format!("it wrote more than {MINUTE_MESSAGES_MAX} messages in a minute")
        } else {
            return Ok(());
        };
        Err(self.fault.raise(problem))
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Limited<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        Poll::Ready(self.count(&buf.filled()[before..]))
    }
}

/// What a server reads.
pub(super) struct Impatient<W> {
    inner: W,
    fault: Fault,
    /// Since it does not read.
    limit: Option<Pin<Box<Sleep>>>,
}

impl<W> Impatient<W> {
    pub(super) fn new(inner: W, fault: Fault) -> Self {
        Self {
            inner,
            fault,
            limit: None,
        }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.limit = None;
            return poll;
        }
        let limit = (self.limit).get_or_insert_with(|| Box::pin(sleep(READS_WITHIN)));
        ready!(limit.as_mut().poll(cx));
        let seconds = READS_WITHIN.as_secs();
        Poll::Ready(Err(self
            .fault
            .raise(format!("it did not read what it was told for {seconds} s"))))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Impatient<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.fault.check()?;
        let poll = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watch(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fault.check()?;
        let poll = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited() -> Limited<()> {
        Limited::new((), Fault::default())
    }

    #[test]
    fn a_message_may_come_in_parts_and_must_not_be_too_long() {
        let mut pipe = limited();
        let half = vec![b'x'; MESSAGE_BYTES_MAX / 2];
        for _ in 0..3 {
            pipe.count(&half).expect("half");
            pipe.count(&half).expect("all");
            pipe.count(b"\n").expect("its end");
        }
        pipe.count(&half).expect("half");
        pipe.count(&half).expect("all");
        let error = pipe.count(b"x\nshort\n").expect_err("too long");
        assert!(error.to_string().contains("4194304 bytes"), "{error}");
        // Nothing is heard of it after that.
        assert!(pipe.count(b"\n").is_err());
    }

    #[test]
    fn a_flood_of_short_messages_is_one() {
        let mut pipe = limited();
        let lines = b"{}\n".repeat(1_000);
        for _ in 0..20 {
            pipe.count(&lines).expect("enough");
        }
        let error = pipe.count(&lines).expect_err("too many");
        assert!(error.to_string().contains("20000 messages"), "{error}");
    }
}
