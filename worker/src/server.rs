//! Who may come in, and what is said on a connection.

pub(crate) mod admission;
mod connection;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use fazai_protocol::{ErrorCode, WireError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, tcp, unix};
use tracing::{debug, info, warn};

use crate::Worker;
use crate::config::ServerSettings;
use crate::live::User;
use crate::process;

pub(crate) use self::connection::serve;
pub use self::socket::SocketError;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) user: User,
    /// Whether `hello` with the right token has to come first.
    pub(crate) needs_token: bool,
    /// Whether what it asks belongs in the record of the day, where one is kept.
    pub(crate) recorded: bool,
}

impl Peer {
    pub(crate) fn trusted(user: User) -> Self {
        Self {
            user,
            needs_token: false,
            recorded: true,
        }
    }
}

/// A byte stream that can say whether its other end is gone.
pub(crate) trait Stream: Send + 'static {
    type Reading: AsyncRead + Unpin + Send + Sync;
    type Writing: AsyncWrite + Unpin + Send + 'static;

    fn halves(self) -> (Self::Reading, Self::Writing);

    /// After the end of input: whether the peer closed only its writing side (`false`), as
    /// `nc -N` does, or left (`true`).
    fn left(reading: &Self::Reading) -> bool;
}

impl Stream for UnixStream {
    type Reading = unix::OwnedReadHalf;
    type Writing = unix::OwnedWriteHalf;

    fn halves(self) -> (Self::Reading, Self::Writing) {
        self.into_split()
    }

    fn left(reading: &Self::Reading) -> bool {
        hung_up(reading.as_ref().as_fd())
    }
}

impl Stream for TcpStream {
    type Reading = tcp::OwnedReadHalf;
    type Writing = tcp::OwnedWriteHalf;

    fn halves(self) -> (Self::Reading, Self::Writing) {
        self.into_split()
    }

    fn left(reading: &Self::Reading) -> bool {
        hung_up(reading.as_ref().as_fd())
    }
}

impl Stream for DuplexStream {
    type Reading = ReadHalf<DuplexStream>;
    type Writing = WriteHalf<DuplexStream>;

    fn halves(self) -> (Self::Reading, Self::Writing) {
        tokio::io::split(self)
    }

    /// Inside the process nobody closes one side alone.
    fn left(_: &Self::Reading) -> bool {
        true
    }
}

/// Whether the kernel reports a hang-up or an error, which a half-closed peer does not cause.
fn hung_up(socket: BorrowedFd<'_>) -> bool {
    let mut sockets = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(&mut sockets, Some(&now)) {
        Ok(_) => sockets[0]
            .revents()
            .intersects(PollFlags::HUP | PollFlags::ERR),
        Err(_) => false,
    }
}

/// The sockets of a worker.
#[derive(Debug)]
pub struct Server {
    unix: UnixListener,
    tcp: Option<TcpListener>,
    /// Removed when the server is dropped.
    _socket: socket::SocketFile,
}

impl Server {
    /// Binds the sockets. A socket file that nobody listens on is replaced.
    ///
    /// # Errors
    /// Somebody listens there, or the operating system refuses.
    pub async fn bind(settings: &ServerSettings) -> Result<Self, SocketError> {
        let (unix, socket) = socket::bind_unix(settings).await?;
        let tcp = match &settings.tcp {
            None => None,
            Some(address) => Some(socket::bind_tcp(address).await?),
        };
        Ok(Self {
            unix,
            tcp,
            _socket: socket,
        })
    }

    /// Where it listens on TCP.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok())
    }

    /// Lets clients in until the worker stops.
    pub async fn run(self, worker: Worker) {
        worker.shared.serves.store(true, Ordering::Relaxed);
        loop {
            tokio::select! {
                () = worker.shared.draining.cancelled() => return,
                accepted = self.unix.accept() => match accepted {
                    Ok((stream, _)) => admit_unix(&worker, stream),
                    Err(fault) => pause(&fault).await,
                },
                accepted = accept_tcp(self.tcp.as_ref()) => match accepted {
                    Ok(stream) => admit_tcp(&worker, stream),
                    Err(fault) => pause(&fault).await,
                },
            }
        }
    }
}

async fn accept_tcp(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

/// Out of descriptors, say: there is nothing to do but wait until some are free.
async fn pause(fault: &io::Error) {
    warn!(%fault, "can't accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn admit_unix(worker: &Worker, stream: UnixStream) {
    let (uid, pid) = match stream.peer_cred() {
        Ok(peer) => (peer.uid(), peer.pid()),
        Err(fault) => return warn!(%fault, "a client without credentials"),
    };
    if process::is_ours(pid) {
        warn!(uid, pid, "refused: a command or a module of this worker");
        let why = "what the worker runs can't ask the worker, and answer its own questions";
        let error = WireError::new(ErrorCode::Forbidden, why)
            .with_hint("call tools and modules by the policy instead");
        return refuse(worker, stream, error);
    }
    if !may_connect(&worker.settings().server, uid) {
        warn!(uid, "refused: not in allow_uids");
        let error = WireError::new(ErrorCode::Forbidden, format!("user {uid} may not connect"))
            .with_hint("the administrator can add the user to allow_uids");
        return refuse(worker, stream, error);
    }
    admit(worker, stream, Peer::trusted(User::Uid(uid)));
}

/// The socket's permissions let in whom they let in; a list narrows that.
fn may_connect(settings: &ServerSettings, uid: u32) -> bool {
    let own = rustix::process::getuid().as_raw();
    let listed = &settings.allow_uids;
    listed.is_empty() || uid == 0 || uid == own || listed.contains(&uid)
}

fn admit_tcp(worker: &Worker, stream: TcpStream) {
    // A token line is worth sending at once.
    let _ = stream.set_nodelay(true);
    let peer = Peer {
        needs_token: worker.settings().server.tcp_token.is_some(),
        ..Peer::trusted(User::Tcp)
    };
    admit(worker, stream, peer);
}

fn admit<S: Stream>(worker: &Worker, stream: S, peer: Peer) {
    let place = match worker.shared.connections.admit(peer.user) {
        Ok(place) => place,
        Err(why) => {
            warn!(user = %peer.user, "refused: {why}");
            let error = WireError::new(ErrorCode::Overloaded, why).with_retry_after_ms(1_000);
            return refuse(worker, stream, error);
        }
    };
    debug!(user = %peer.user, "connected");
    let owner = worker.clone();
    worker.shared.tasks.spawn(async move {
        owner
            .shared
            .counters
            .connections
            .fetch_add(1, Ordering::Relaxed);
        owner
            .shared
            .counters
            .connections_open
            .fetch_add(1, Ordering::Relaxed);
        serve(owner.clone(), stream, peer).await;
        owner
            .shared
            .counters
            .connections_open
            .fetch_sub(1, Ordering::Relaxed);
        drop(place);
    });
}

fn refuse<S: Stream>(worker: &Worker, stream: S, error: WireError) {
    if let Some(place) = worker.shared.connections.refusal() {
        worker.shared.tasks.spawn(async move {
            connection::refuse(stream, error).await;
            drop(place);
        });
    }
}

/// Tells where the worker listens, in the words of the README.
pub fn announce(settings: &ServerSettings, server: &Server) {
    let socket = settings.socket.display();
    info!(%socket, "listening");
    if let Some(address) = server.tcp_address() {
        let guarded = settings.tcp_token.is_some();
        info!(%address, token = guarded, "listening");
    }
}
