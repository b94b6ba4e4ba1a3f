//! A small async client: many requests over one connection, each with its own stream of lines.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use crate::{
    ActionId, Ask, Call, Done, HelloParams, Line, NoParams, Operation, Request, Secret, WireError,
};

/// Lines of one request that may wait for their reader before the connection waits.
const LINES_WAITING_MAX: usize = 256;

/// Where a worker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

/// Why a request got no `done` line.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection could not be made or written to.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The worker closed the connection before the answer was complete.
    #[error("the worker closed the connection before the answer was complete")]
    Closed,
    /// The worker answered with an error.
    #[error("{0}")]
    Refused(WireError),
}

type Waiting = Arc<Mutex<HashMap<ActionId, mpsc::Sender<Line>>>>;

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<ActionId, mpsc::Sender<Line>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection to a worker. Cloning it shares the connection.
#[derive(Debug, Clone)]
pub struct Client {
    outgoing: mpsc::Sender<Vec<u8>>,
    waiting: Waiting,
    next_id: Arc<AtomicU64>,
}

impl Client {
    /// Connects to a worker.
    ///
    /// # Errors
    /// The operating system's, when nobody listens there or access is denied.
    pub async fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        Ok(match endpoint {
            Endpoint::Unix(path) => Self::over(UnixStream::connect(path).await?),
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Self::over(stream)
            }
        })
    }

    /// Speaks over any byte stream whose other end is a worker.
    pub fn over(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (reading, writing) = tokio::io::split(stream);
        let (outgoing, lines) = mpsc::channel(64);
        let waiting = Waiting::default();
        tokio::spawn(write_lines(writing, lines));
        tokio::spawn(deliver_lines(reading, Arc::clone(&waiting)));
        Self {
            outgoing,
            waiting,
            next_id: Arc::new(AtomicU64::new(1)),
        }
    }

    /// Sends a request under an id of the client's own.
    ///
    /// # Errors
    /// [`ClientError::Closed`] when the connection is gone.
    pub async fn send(&self, operation: Operation) -> Result<Reply, ClientError> {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.send_as(ActionId(format!("c{number}")), operation)
            .await
    }

    /// Sends a request under the caller's id.
    ///
    /// # Errors
    /// [`ClientError::Closed`] when the connection is gone.
    pub async fn send_as(
        &self,
        action_id: ActionId,
        operation: Operation,
    ) -> Result<Reply, ClientError> {
        let (sender, lines) = mpsc::channel(LINES_WAITING_MAX);
        lock(&self.waiting).insert(action_id.clone(), sender);
        let reply = Reply {
            action_id: action_id.clone(),
            lines,
            client: self.clone(),
            complete: false,
        };
        let request = Request {
            action_id,
            operation,
        };
        let sent = self.outgoing.send(to_line(&request)).await;
        sent.map_err(|_| ClientError::Closed)?;
        Ok(reply)
    }

    /// Asks for text.
    ///
    /// # Errors
    /// [`ClientError::Closed`] when the connection is gone.
    pub async fn ask(&self, ask: Ask) -> Result<Reply, ClientError> {
        self.send(Operation::Ask(Box::new(ask))).await
    }

    /// Sends a request and waits for its end; an error of the worker's is an `Err`.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn call(&self, operation: Operation) -> Result<Done, ClientError> {
        self.send(operation).await?.done().await
    }

    /// Names the client and shows its token.
    ///
    /// # Errors
    /// Every [`ClientError`]; `unauthorized` when the token is wrong.
    pub async fn hello(&self, token: Option<Secret>) -> Result<Done, ClientError> {
        let params = HelloParams {
            token,
            client: Some(concat!("fazai/", env!("CARGO_PKG_VERSION")).to_owned()),
        };
        self.call(Operation::Hello(Call {
            params,
            ..Call::default()
        }))
        .await
    }
}

fn to_line(request: &Request) -> Vec<u8> {
    let mut line = serde_json::to_vec(request).expect("a request has no map with odd keys");
    line.push(b'\n');
    line
}

async fn write_lines(
    mut writing: impl AsyncWrite + Unpin,
    mut lines: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    while let Some(line) = lines.recv().await {
        writing.write_all(&line).await?;
        writing.flush().await?;
    }
    writing.shutdown().await
}

/// Hands each line to the request that it belongs to. When it returns, every request that
/// is still waiting sees the end of its stream.
async fn deliver_lines(reading: impl AsyncRead + Unpin, waiting: Waiting) {
    let mut lines = BufReader::new(reading).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        // A line that this version does not know is a newer worker's; the rest still counts.
        let Ok(line) = serde_json::from_str::<Line>(&text) else {
            continue;
        };
        let id = line.action_id().clone();
        let reader = lock(&waiting).get(&id).cloned();
        let last = matches!(line, Line::Done(_));
        if let Some(reader) = reader {
            // An error means that the reader lost interest, which its drop has announced.
            let _ = reader.send(line).await;
        }
        if last {
            lock(&waiting).remove(&id);
        }
    }
    lock(&waiting).clear();
}

/// The answer to one request. Dropping it before its end cancels the request.
#[derive(Debug)]
pub struct Reply {
    action_id: ActionId,
    lines: mpsc::Receiver<Line>,
    client: Client,
    complete: bool,
}

impl Reply {
    /// The request's id.
    #[must_use]
    pub fn action_id(&self) -> &ActionId {
        &self.action_id
    }

    /// The next line; `None` after `done`.
    ///
    /// # Errors
    /// [`ClientError::Closed`] when the connection ended before `done`.
    pub async fn next(&mut self) -> Result<Option<Line>, ClientError> {
        if self.complete {
            return Ok(None);
        }
        let line = self.lines.recv().await;
        self.complete = matches!(line, Some(Line::Done(_)) | None);
        line.map(Some).ok_or(ClientError::Closed)
    }

    /// Waits for the end, passing over the stream. An error of the worker's is an `Err`.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn done(mut self) -> Result<Done, ClientError> {
        while let Some(line) = self.next().await? {
            if let Line::Done(done) = line {
                return match done.error {
                    Some(error) => Err(ClientError::Refused(error)),
                    None => Ok(*done),
                };
            }
        }
        Err(ClientError::Closed)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        lock(&self.client.waiting).remove(&self.action_id);
        if !self.complete {
            let cancel = Request {
                action_id: ActionId::default(),
                operation: Operation::Cancel(Call::<NoParams> {
                    input: self.action_id.0.clone(),
                    ..Call::default()
                }),
            };
            // With a full queue the worker is not reading, and closing will say the same.
            let _ = self.client.outgoing.try_send(to_line(&cancel));
        }
    }
}
