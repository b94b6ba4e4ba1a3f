//! Sockets that sensors write to: Unix streams and datagrams, and syslog by TCP and UDP on this
//! machine. Lines end with a newline; a datagram is one line. Octet-counted frames are not read.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Input, Lines};

/// Connections at one time; for one more the one is closed that was quiet for the longest time.
const CONNECTIONS_MAX: usize = 64;

/// Datagrams that one call takes.
const DATAGRAMS_MAX: usize = 4_096;

/// Bytes that one call takes of a connection.
const CHUNK_BYTES: usize = 64 << 10;

/// Largest datagram.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

/// Why nobody can write to a socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address that others can reach.
    #[error(
        "{0} can be reached from elsewhere, and syslog has no password; use 127.0.0.1 or ::1, and a relay"
    )]
    NotLoopback(SocketAddr),
    /// Something else has the path.
    #[error("{path}: {why}")]
    Path {
        /// The path.
        path: PathBuf,
        /// What is in the way, and what to do.
        why: String,
    },
    /// The system said no.
    #[error("the socket can't be opened: {0}")]
    Io(#[from] io::Error),
}

/// A socket that is listened to.
#[derive(Debug)]
pub struct Listen {
    socket: Socket,
    connections: Vec<Connection>,
    line_bytes_max: usize,
    /// Lines so far.
    count: u64,
    /// A path to remove at the end.
    path: Option<PathBuf>,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixListener),
    UnixDatagram(UnixDatagram),
    Tcp(TcpListener),
    Udp(UdpSocket),
}

#[derive(Debug)]
struct Connection {
    stream: Stream,
    lines: Lines,
    /// When something came last.
    active: Instant,
}

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Listen {
    /// A Unix socket of streams, which its owner and group may write to.
    pub fn unix(path: &Path, line_bytes_max: usize) -> Result<Self, ListenError> {
        free(path)?;
        let socket = UnixListener::bind(path)?;
        socket.set_nonblocking(true)?;
        Self::at(path, Socket::Unix(socket), line_bytes_max)
    }

    /// A Unix socket of datagrams, which its owner and group may write to.
    pub fn unix_datagram(path: &Path, line_bytes_max: usize) -> Result<Self, ListenError> {
        free(path)?;
        let socket = UnixDatagram::bind(path)?;
        socket.set_nonblocking(true)?;
        Self::at(path, Socket::UnixDatagram(socket), line_bytes_max)
    }

    /// Syslog by TCP on this machine.
    pub fn tcp(address: SocketAddr, line_bytes_max: usize) -> Result<Self, ListenError> {
        let socket = TcpListener::bind(loopback(address)?)?;
        socket.set_nonblocking(true)?;
        Ok(Self::of(Socket::Tcp(socket), line_bytes_max))
    }

    /// Syslog by UDP on this machine.
    pub fn udp(address: SocketAddr, line_bytes_max: usize) -> Result<Self, ListenError> {
        let socket = UdpSocket::bind(loopback(address)?)?;
        socket.set_nonblocking(true)?;
        Ok(Self::of(Socket::Udp(socket), line_bytes_max))
    }

    /// Where it listens, if that is an address.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Udp(socket) => socket.local_addr().ok(),
            Socket::Unix(_) | Socket::UnixDatagram(_) => None,
        }
    }

    fn of(socket: Socket, line_bytes_max: usize) -> Self {
        Self {
            socket,
            connections: Vec::new(),
            line_bytes_max,
            count: 0,
            path: None,
        }
    }

    fn at(path: &Path, socket: Socket, line_bytes_max: usize) -> Result<Self, ListenError> {
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
        let mut listen = Self::of(socket, line_bytes_max);
        listen.path = Some(path.to_owned());
        Ok(listen)
    }

    /// Takes who is there; whoever connects without end keeps nobody else waiting.
    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..CONNECTIONS_MAX {
            let stream = match &self.socket {
                Socket::Unix(socket) => socket.accept().map(|(stream, _)| Stream::Unix(stream)),
                Socket::Tcp(socket) => socket.accept().map(|(stream, _)| Stream::Tcp(stream)),
                Socket::UnixDatagram(_) | Socket::Udp(_) => return Ok(()),
            };
            match stream {
                Ok(stream) => {
                    match &stream {
                        Stream::Unix(stream) => stream.set_nonblocking(true)?,
                        Stream::Tcp(stream) => stream.set_nonblocking(true)?,
                    }
                    if self.connections.len() >= CONNECTIONS_MAX {
                        let all = self.connections.iter().enumerate();
                        let quiet = all.min_by_key(|(_, one)| one.active).map(|(at, _)| at);
                        quiet.map(|at| self.connections.swap_remove(at));
                    }
                    self.connections.push(Connection {
                        stream,
                        lines: Lines::new(self.line_bytes_max),
                        active: Instant::now(),
                    });
                }
                Err(fault) if waits(&fault) => return Ok(()),
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    fn datagrams(&mut self, each: &mut dyn FnMut(u64, &[u8])) -> io::Result<usize> {
        let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
        for count in 0..DATAGRAMS_MAX {
            let read = match &self.socket {
                Socket::UnixDatagram(socket) => socket.recv(&mut bytes),
                Socket::Udp(socket) => socket.recv(&mut bytes),
                Socket::Unix(_) | Socket::Tcp(_) => return Ok(0),
            };
            match read {
                Ok(read) => {
                    self.count += 1;
                    let line = &bytes[..read.min(self.line_bytes_max)];
                    each(self.count, line.trim_ascii_end());
                }
                Err(fault) if waits(&fault) => return Ok(count),
                Err(fault) => return Err(fault),
            }
        }
        Ok(DATAGRAMS_MAX)
    }
}

impl Input for Listen {
    fn poll(&mut self, each: &mut dyn FnMut(u64, &[u8])) -> io::Result<usize> {
        if matches!(self.socket, Socket::UnixDatagram(_) | Socket::Udp(_)) {
            return self.datagrams(each);
        }
        self.accept()?;
        let before = self.count;
        let count = &mut self.count;
        let mut bytes = vec![0; CHUNK_BYTES];
        // A connection that fails is over; the others go on.
        self.connections.retain_mut(|connection| {
            let lines = &mut connection.lines;
            let read = match &mut connection.stream {
                Stream::Unix(stream) => stream.read(&mut bytes),
                Stream::Tcp(stream) => stream.read(&mut bytes),
            };
            let mut next = |_, line: &[u8]| {
                *count += 1;
                each(*count, line);
            };
            match read {
                Ok(0) => lines.end(&mut next),
                Ok(read) => {
                    lines.push(&bytes[..read], &mut next);
                    connection.active = Instant::now();
                    return true;
                }
                Err(fault) if waits(&fault) => return true,
                Err(_) => lines.end(&mut next),
            }
            false
        });
        Ok(usize::try_from(self.count - before).unwrap_or(usize::MAX))
    }
}

impl Drop for Listen {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

fn waits(fault: &io::Error) -> bool {
    matches!(fault.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn loopback(address: SocketAddr) -> Result<SocketAddr, ListenError> {
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(ListenError::NotLoopback(address))
    }
}

/// Removes a socket that nobody listens to any more; whatever else is there stays.
fn free(path: &Path) -> Result<(), ListenError> {
    let wrong = |why: &str| ListenError::Path {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    let Ok(meta) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !meta.file_type().is_socket() {
        return Err(wrong("there is something else; name another path"));
    }
    let datagram = UnixDatagram::unbound()?;
    if UnixStream::connect(path).is_ok() || datagram.connect(path).is_ok() {
        return Err(wrong(
            "another process listens there; stop it, or name another path",
        ));
    }
    fs::remove_file(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(listen: &mut Listen, wanted: usize) -> Vec<String> {
        let mut found = Vec::new();
        for _ in 0..400 {
            listen
                .poll(&mut |_, line| found.push(String::from_utf8_lossy(line).into_owned()))
                .unwrap();
            if found.len() >= wanted {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        found
    }

    #[test]
    fn streams_and_datagrams_give_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mut listen = Listen::unix(&path, 100).unwrap();
        assert!(matches!(
            Listen::unix(&path, 100),
            Err(ListenError::Path { .. })
        ));
        let mut one = UnixStream::connect(&path).unwrap();
        let mut two = UnixStream::connect(&path).unwrap();
        one.write_all(b"a\nha").unwrap();
        two.write_all(b"b\n").unwrap();
        assert_eq!(lines(&mut listen, 2), ["a", "b"]);
        one.write_all(b"lf").unwrap();
        drop(one);
        assert_eq!(lines(&mut listen, 1), ["half"]);
        drop(listen);
        assert!(!path.exists());

        let mut listen = Listen::unix_datagram(&path, 100).unwrap();
        let client = UnixDatagram::unbound().unwrap();
        client.send_to(b"whole\n", &path).unwrap();
        assert_eq!(lines(&mut listen, 1), ["whole"]);
    }

    #[test]
    fn syslog_is_taken_from_this_machine_only() {
        let local = "127.0.0.1:0".parse().unwrap();
        let mut tcp = Listen::tcp(local, 100).unwrap();
        let mut client = TcpStream::connect(tcp.address().unwrap()).unwrap();
        client.write_all(b"<34>a\r\n<34>b\n").unwrap();
        assert_eq!(lines(&mut tcp, 2), ["<34>a", "<34>b"]);
        let mut udp = Listen::udp(local, 100).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"<34>c", udp.address().unwrap()).unwrap();
        assert_eq!(lines(&mut udp, 1), ["<34>c"]);
        for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:514"] {
            let open = open.parse().unwrap();
            assert!(matches!(
                Listen::udp(open, 100),
                Err(ListenError::NotLoopback(_))
            ));
            assert!(matches!(
                Listen::tcp(open, 100),
                Err(ListenError::NotLoopback(_))
            ));
        }
    }

    #[test]
    fn connections_are_few_and_what_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        fs::write(&path, "mine").unwrap();
        assert!(Listen::unix(&path, 100).is_err() && path.exists());
        fs::remove_file(&path).unwrap();
        let mut listen = Listen::unix(&path, 100).unwrap();
        let clients: Vec<UnixStream> = (0..80)
            .map(|_| {
                let client = UnixStream::connect(&path).unwrap();
                listen.poll(&mut |_, _| {}).unwrap();
                client
            })
            .collect();
        assert_eq!(listen.connections.len(), CONNECTIONS_MAX);
        // Who holds connections and is quiet keeps nobody from being heard.
        (&clients[79]).write_all(b"heard\n").unwrap();
        assert_eq!(lines(&mut listen, 1), ["heard"]);
        // Those who come while one is read wait for the next time.
        let more: Vec<UnixStream> = (0..CONNECTIONS_MAX + 1)
            .map(|_| UnixStream::connect(&path).unwrap())
            .collect();
        listen.poll(&mut |_, _| {}).unwrap();
        (&more[CONNECTIONS_MAX]).write_all(b"later\n").unwrap();
        assert_eq!(lines(&mut listen, 1), ["later"]);
        drop((clients, more));
        listen.poll(&mut |_, _| {}).unwrap();
        assert_eq!(listen.connections.len(), 0);
    }
}
