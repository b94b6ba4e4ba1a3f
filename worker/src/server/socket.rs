//! Making the sockets: who owns them, and what was there before.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::config::ServerSettings;

/// Why a socket can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another worker has it.
    #[error("another worker is running on {0}; stop it, or use --socket for a second one")]
    Taken(PathBuf),
    /// The path is used for something else.
    #[error("{0} exists and is not a socket; remove it, or use another path")]
    NotASocket(PathBuf),
    /// The path can't be a socket's name.
    #[error("{path}: {fault}")]
    Io {
        /// The path or address.
        path: String,
        /// What the system said.
        fault: io::Error,
    },
    /// No such user or group.
    #[error("there is no {kind} {name:?}")]
    NoSuchName {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
    },
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> SocketError + '_ {
    |fault| SocketError::Io {
        path: path.display().to_string(),
        fault,
    }
}

/// A bound socket's file and the lock beside it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Held as long as the worker lives; the kernel frees it even after a SIGKILL.
    _lock: File,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

pub(super) async fn bind_unix(
    settings: &ServerSettings,
) -> Result<(UnixListener, SocketFile), SocketError> {
    let path = &settings.socket;
    make_directory(path).map_err(io_error(path))?;
    let lock = lock(path)?;
    clear_way(path).await?;
    let socket = SocketFile {
        path: path.clone(),
        _lock: lock,
    };
    // Nobody may connect in the moment before the permissions are set.
    let mask = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(mask);
    let listener = bound.map_err(io_error(path))?;
    give_away(path, settings)?;
    let permissions = fs::Permissions::from_mode(settings.socket_mode);
    fs::set_permissions(path, permissions).map_err(io_error(path))?;
    Ok((listener, socket))
}

pub(super) async fn bind_tcp(address: &str) -> Result<TcpListener, SocketError> {
    TcpListener::bind(address)
        .await
        .map_err(io_error(Path::new(address)))
}

/// The directory of a socket is the worker's own: others may pass only as root's do.
fn make_directory(socket: &Path) -> io::Result<()> {
    let Some(dir) = socket.parent().filter(|dir| !dir.as_os_str().is_empty()) else {
        return Ok(());
    };
    if dir.is_dir() {
        return Ok(());
    }
    let root = rustix::process::getuid().is_root();
    let mode = if root { 0o755 } else { 0o700 };
    fs::DirBuilder::new().recursive(true).mode(mode).create(dir)
}

/// Two workers that start at the same moment must not both think that the socket is stale.
fn lock(socket: &Path) -> Result<File, SocketError> {
    let mut name = socket.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let options = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        // Whoever may write to the directory must not choose another file to be overwritten.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path);
    let mut file = options.map_err(io_error(&path))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(SocketError::Taken(socket.to_owned()));
    }
    // For people who look; nothing reads it.
    let _ = file.set_len(0);
    let _ = writeln!(file, "{}", std::process::id());
    Ok(file)
}

/// Removes a socket that nobody listens on.
async fn clear_way(path: &Path) -> Result<(), SocketError> {
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(fault) => return Err(io_error(path)(fault)),
    };
    if !about.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    // Somebody may listen there who knows nothing of the lock.
    match UnixStream::connect(path).await {
        Ok(_) => Err(SocketError::Taken(path.to_owned())),
        Err(_) => fs::remove_file(path).map_err(io_error(path)),
    }
}

fn give_away(path: &Path, settings: &ServerSettings) -> Result<(), SocketError> {
    let user = |name: &str| uzers::get_user_by_name(name).map(|user| user.uid());
    let group = |name: &str| uzers::get_group_by_name(name).map(|group| group.gid());
    let owner = settings.socket_owner.as_deref();
    let owner = owner.map(|name| id("user", name, user)).transpose()?;
    let owning = settings.socket_group.as_deref();
    let owning = owning.map(|name| id("group", name, group)).transpose()?;
    if owner.is_none() && owning.is_none() {
        return Ok(());
    }
    std::os::unix::fs::chown(path, owner, owning).map_err(io_error(path))
}

/// The number of a user or group: the name may be the number itself.
fn id(
    kind: &'static str,
    name: &str,
    look_up: impl FnOnce(&str) -> Option<u32>,
) -> Result<u32, SocketError> {
    let number = name.parse().ok().or_else(|| look_up(name));
    number.ok_or_else(|| SocketError::NoSuchName {
        kind,
        name: name.to_owned(),
    })
}
