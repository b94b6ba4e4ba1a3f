//! The writing side of a connection.

use std::io;
use std::time::Duration;

use fazai_protocol::Line;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Lines that may wait for the writer, for each connection.
const LINES_WAITING_MAX: usize = 64;

/// How many may wait where another long one is added.
const LONG_WAITING_MAX: usize = 4;

/// Where the lines of a connection go. Cloning shares it; the connection ends when all are gone.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing(mpsc::Sender<Line>);

impl Outgoing {
    /// Sends a line, waiting while the client is behind. After the client has left, lines
    /// vanish: its requests are being cancelled.
    pub(crate) async fn send(&self, line: Line) {
        let _ = self.0.send(line).await;
    }

    /// Sends a line that may be long, of which only a few may wait.
    pub(crate) async fn send_long(&self, line: Line) {
        let room = self.0.reserve_many(LINES_WAITING_MAX - LONG_WAITING_MAX);
        drop(room.await);
        self.send(line).await;
    }

    /// Whether a line can be sent without waiting.
    pub(crate) fn has_room(&self) -> bool {
        self.0.capacity() > 0
    }
}

/// The two ends of a connection's queue.
pub(crate) fn queue() -> (Outgoing, mpsc::Receiver<Line>) {
    let (sender, receiver) = mpsc::channel(LINES_WAITING_MAX);
    (Outgoing(sender), receiver)
}

/// Writes lines until all senders are gone. A client that has left, or takes nothing for
/// `stall`, is given up: `gone` tells the rest of the connection.
pub(crate) async fn write_lines(
    mut writing: impl AsyncWrite + Unpin,
    mut lines: mpsc::Receiver<Line>,
    stall: Duration,
    gone: CancellationToken,
) {
    let mut ready = Vec::new();
    let mut bytes = Vec::new();
    while lines.recv_many(&mut ready, LINES_WAITING_MAX).await > 0 {
        bytes.clear();
        for line in ready.drain(..) {
            serde_json::to_writer(&mut bytes, &line).expect("lines have no map with odd keys");
            bytes.push(b'\n');
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
