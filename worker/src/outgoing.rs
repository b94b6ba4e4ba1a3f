//! The writing side of a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use fazai_protocol::Line;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Lines that may wait for the writer, for each connection.
const LINES_WAITING_MAX: usize = 64;

/// How many may wait where another long one is added.
const LONG_WAITING_MAX: usize = 4;

/// Bytes of lines that may wait for the writer, for each connection; and as many again of answers
/// that are long and had their room before they were begun. A longer line waits alone.
const BYTES_WAITING_MAX: usize = 1 << 20;

/// A line that tells of progress is shorter.
const SHORT_BYTES: usize = 4 << 10;

/// What the writer keeps between lines.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Where the lines of a connection go. Cloning shares it; the connection ends when all are gone.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    lines: mpsc::Sender<Waiting>,
    rooms: Rooms,
}

/// The other end.
#[derive(Debug)]
pub(crate) struct Lines {
    lines: mpsc::Receiver<Waiting>,
    rooms: Rooms,
}

/// Bytes that may wait still. Long answers have some of their own, so that nothing short waits
/// for what is being computed.
#[derive(Debug, Clone)]
struct Rooms {
    lines: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

/// Room for a line, until it is written.
#[derive(Debug)]
pub(crate) struct Room(OwnedSemaphorePermit);

/// A line as it will be written: of a whole answer in memory, its bytes are the least.
#[derive(Debug)]
struct Waiting {
    bytes: Vec<u8>,
    room: Room,
}

/// A line that can be sent without waiting.
#[derive(Debug)]
pub(crate) struct Ready<'a> {
    place: mpsc::Permit<'a, Waiting>,
    line: Waiting,
}

impl Ready<'_> {
    pub(crate) fn send(self) {
        self.place.send(self.line);
    }
}

impl Room {
    async fn of(rooms: &Arc<Semaphore>, bytes: usize) -> Option<Self> {
        let bytes = u32::try_from(bytes.min(BYTES_WAITING_MAX)).unwrap_or(u32::MAX);
        let permit = Arc::clone(rooms).acquire_many_owned(bytes).await;
        permit.ok().map(Self)
    }

    /// Gives back what is not needed.
    fn shrink_to(&mut self, bytes: usize) {
        drop(self.0.split(self.0.num_permits().saturating_sub(bytes)));
    }
}

impl Outgoing {
    /// Sends a line, waiting while the client is behind. After the client has left, lines
    /// vanish: its requests are being cancelled.
    pub(crate) async fn send(&self, line: Line) {
        if let Some(ready) = self.ready(line, None).await {
            ready.send();
        }
    }

    /// Sends a line that may be long, of which only a few may wait.
    pub(crate) async fn send_long(&self, line: Line) {
        let room = self
            .lines
            .reserve_many(LINES_WAITING_MAX - LONG_WAITING_MAX);
        drop(room.await);
        self.send(line).await;
    }

    /// Waits until a line can be sent, in the room that was kept for it if there is one; none:
    /// the client has left.
    pub(crate) async fn ready(&self, line: Line, room: Option<Room>) -> Option<Ready<'_>> {
        let bytes = to_bytes(&line);
        drop(line);
        let room = match room {
            Some(mut room) => {
                room.shrink_to(bytes.len());
                room
            }
            None => Room::of(&self.rooms.lines, bytes.len()).await?,
        };
        let place = self.lines.reserve().await.ok()?;
        let line = Waiting { bytes, room };
        Some(Ready { place, line })
    }

    /// Waits for room for an answer of about so many bytes, before it is begun; none: the client
    /// has left.
    pub(crate) async fn room(&self, bytes: usize) -> Option<Room> {
        Room::of(&self.rooms.answers, bytes).await
    }

    /// Whether a short line can be sent without waiting.
    pub(crate) fn has_room(&self) -> bool {
        self.lines.capacity() > 0 && self.rooms.lines.available_permits() >= SHORT_BYTES
    }
}

fn to_bytes(line: &Line) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(line).expect("lines have no map with odd keys");
    bytes.push(b'\n');
    bytes
}

/// The two ends of a connection's queue.
pub(crate) fn queue() -> (Outgoing, Lines) {
    let (sender, receiver) = mpsc::channel(LINES_WAITING_MAX);
    let rooms = Rooms {
        lines: Arc::new(Semaphore::new(BYTES_WAITING_MAX)),
        answers: Arc::new(Semaphore::new(BYTES_WAITING_MAX)),
    };
    let outgoing = Outgoing {
        lines: sender,
        rooms: rooms.clone(),
    };
    let lines = Lines {
        lines: receiver,
        rooms,
    };
    (outgoing, lines)
}

impl Drop for Lines {
    /// Nobody waits for a writer that is gone.
    fn drop(&mut self) {
        self.rooms.lines.close();
        self.rooms.answers.close();
    }
}

/// Writes lines until all senders are gone. A client that has left, or takes nothing for
/// `stall`, is given up: `gone` tells the rest of the connection.
pub(crate) async fn write_lines(
    mut writing: impl AsyncWrite + Unpin,
    mut lines: Lines,
    stall: Duration,
    gone: CancellationToken,
) {
    let mut ready = Vec::new();
    let mut bytes = Vec::new();
    // What is being written has its room still.
    let mut rooms = Vec::new();
    while lines.lines.recv_many(&mut ready, LINES_WAITING_MAX).await > 0 {
        for line in ready.drain(..) {
            match bytes.is_empty() {
                true => bytes = line.bytes,
                false => bytes.extend_from_slice(&line.bytes),
            }
            rooms.push(line.room);
        }
        let written = tokio::select! {
            written = write_all(&mut writing, &bytes, stall) => written,
            () = gone.cancelled() => return,
        };
        if let Err(fault) = written {
            debug!(%fault, "gave a client up");
            gone.cancel();
            return;
        }
        bytes.clear();
        bytes.shrink_to(KEPT_BYTES_MAX);
        rooms.clear();
    }
    let _ = writing.shutdown().await;
}

/// Writes everything, as long as something is taken now and then.
async fn write_all(
    writing: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    stall: Duration,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = tokio::time::timeout(stall, writing.write(bytes)).await??;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
    }
    tokio::time::timeout(stall, writing.flush()).await?
}

#[cfg(test)]
mod tests {
    use fazai_protocol::{ActionId, Warning};
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    fn line(bytes: usize) -> Line {
        Line::Warning(Warning {
            action_id: ActionId::from("a"),
            result: "x".repeat(bytes),
        })
    }

    #[tokio::test]
    async fn the_bytes_that_wait_are_bounded() {
        let (outgoing, mut lines) = queue();
        let mut sent = 0;
        while timeout(SOON, outgoing.send(line(100 << 10))).await.is_ok() {
            sent += 1;
        }
        assert_eq!(sent, 10, "as many as have room");
        assert!(outgoing.has_room(), "something short has room still");
        outgoing.send(line(10)).await;
        // A long answer has room of its own, and the next one waits.
        let room = outgoing.room(BYTES_WAITING_MAX * 2).await.expect("room");
        assert!(timeout(SOON, outgoing.room(1)).await.is_err());
        let ready = outgoing.ready(line(1000), Some(room)).await.expect("ready");
        ready.send();
        assert!(timeout(SOON, outgoing.room(1000)).await.is_ok());

        let mut taken = Vec::new();
        lines.lines.recv_many(&mut taken, LINES_WAITING_MAX).await;
        assert_eq!(taken.len(), 12);
        drop(taken);
        // What is longer than all waits alone.
        outgoing.send(line(BYTES_WAITING_MAX * 2)).await;
        assert!(!outgoing.has_room());
        assert!(timeout(SOON, outgoing.send(line(1))).await.is_err());
        // Nobody waits for a client that has left.
        drop(lines);
        outgoing.send(line(1)).await;
        assert!(outgoing.room(1).await.is_none());
    }

    #[tokio::test]
    async fn room_comes_back_when_lines_are_written() {
        let (outgoing, lines) = queue();
        let (near, mut far) = tokio::io::duplex(1 << 10);
        let gone = CancellationToken::new();
        tokio::spawn(write_lines(near, lines, Duration::from_secs(60), gone));
        let reading = tokio::spawn(async move {
            let mut text = String::new();
            let read = tokio::io::AsyncReadExt::read_to_string(&mut far, &mut text);
            read.await.expect("it is UTF-8");
            text
        });
        for _ in 0..40 {
            outgoing.send(line(100 << 10)).await;
        }
        drop(outgoing);
        let text = reading.await.expect("no panic");
        assert_eq!(text.lines().count(), 40);
        assert!(text.lines().all(|line| line.ends_with("x\"}")), "whole");
    }
}
