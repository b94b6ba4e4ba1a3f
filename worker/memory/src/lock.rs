//! One process for each directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{MemoryError, Result, io};

/// The lock of a directory, held as long as this is there; the kernel releases it when the process
/// ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    dir: PathBuf,
    name: &'static str,
}

/// Makes a directory that nobody else looks into, unless it is there.
pub(crate) fn make(dir: &Path) -> Result<()> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir);
    made.map_err(io(dir))
}

/// Whether a path still leads to an open file.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(found)) => (open.dev(), open.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

impl Lock {
    /// Makes a directory if there is none, and locks it by a file of this name.
    pub(crate) fn take(dir: &Path, name: &'static str) -> Result<Self> {
        make(dir)?;
        let path = dir.join(name);
        let no_links = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(no_links)
            .open(&path);
        let file = file.map_err(io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self {
                file,
                dir: dir.to_owned(),
                name,
            }),
            Err(TryLockError::WouldBlock) => Err(MemoryError::InUse {
                path: dir.to_owned(),
            }),
            Err(TryLockError::Error(fault)) => Err(io(&path)(fault)),
        }
    }

    /// Takes it anew if the directory is no longer the one that is locked; whether that was so.
    pub(crate) fn settle(&mut self) -> Result<bool> {
        let moved = !is_at(&self.file, &self.dir.join(self.name));
        if moved {
            *self = Self::take(&self.dir, self.name)?;
        }
        Ok(moved)
    }
}
