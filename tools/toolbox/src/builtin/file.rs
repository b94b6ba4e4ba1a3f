//! Files: judged as they are named and as where that leads, and only then opened.
//!
//! What is found is held by a descriptor that opens nothing (`O_PATH`), so that what the gate has
//! judged is what is opened, whatever becomes of its name meanwhile, and no device or FIFO is
//! touched before it is known to be one.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use fazai_tools::{Action, Permit};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat2};

use super::define::{Call, perform};
use crate::error::ToolError;

/// A file that was found and not opened.
pub(super) struct Found {
    handle: OwnedFd,
    /// Where it is, without links.
    pub(super) path: PathBuf,
    pub(super) stat: Stat,
}

/// Finds a file, with a permit for its path as it is named and, where that leads elsewhere, for
/// where it is.
pub(super) fn find(
    path: &Path,
    call: &Call,
    action: impl Fn(PathBuf) -> Action,
) -> Result<(Permit, Found), ToolError> {
    check(path)?;
    let permit = call.permit(action(path.to_owned()))?;
    match Found::new(path) {
        Ok(found) if found.path == path => Ok((permit, found)),
        Ok(found) => {
            perform(permit, || Ok(()))?;
            let permit = call.permit(action(found.path.clone()))?;
            Ok((permit, found))
        }
        Err(error) => perform(permit, || Err(failed("can't be found", path, &error))),
    }
}

/// Whether it can be a path.
pub(super) fn check(path: &Path) -> Result<(), ToolError> {
    if path.is_absolute() {
        return Ok(());
    }
    let shown = path.display();
    Err(ToolError::BadParams(format!(
        "path {shown:?} is not absolute; write it from the root, such as /etc/hosts"
    )))
}

pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> ToolError {
    ToolError::Failed(format!("{} {what}: {error}", path.display()))
}

impl Found {
    fn new(path: &Path) -> io::Result<Self> {
        Self::at(CWD, path, OFlags::empty())
    }

    /// What a directory holds by this name, also if it is a link.
    pub(super) fn in_directory(&self, name: &Path) -> io::Result<Self> {
        Self::at(self.handle.as_fd(), name, OFlags::NOFOLLOW)
    }

    fn at(directory: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<Self> {
        let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
        // The links of /proc lead into other processes, past their paths.
        let resolve = ResolveFlags::NO_MAGICLINKS;
        let handle = openat2(directory, path, flags, Mode::empty(), resolve)?;
        let stat = fstat(&handle)?;
        // Of what was removed the system tells a path that something else may have.
        if stat.st_nlink == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        let path = std::fs::read_link(link(&handle))?;
        Ok(Self { handle, path, stat })
    }

    /// A path by which the system finds it, whatever becomes of its name.
    pub(super) fn handle_path(&self) -> PathBuf {
        link(&self.handle)
    }

    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub(super) fn bytes(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or_default()
    }

    /// Opens it for reading, if it is of this kind.
    pub(super) fn open(&self, kind: FileType) -> Result<File, ToolError> {
        if self.kind() != kind {
            return Err(ToolError::Failed(format!(
                "{} is {}, not {}",
                self.path.display(),
                named(self.kind()),
                named(kind)
            )));
        }
        // Some files of /proc wait for what will be written.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = open(self.handle_path(), flags, Mode::empty());
        file.map(File::from)
            .map_err(|error| failed("can't be opened", &self.path, &error.into()))
    }
}

fn link(handle: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", handle.as_raw_fd()).into()
}

/// A kind of file, for people.
pub(super) fn named(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "of a kind that is not known",
    }
}
