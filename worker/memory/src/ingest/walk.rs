//! Which files of a directory are read. Links are not followed, and what is not a file is not
//! opened: so a cycle ends, and a pipe keeps nobody waiting.

use std::ffi::OsStr;
use std::fs::{FileType, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Dir;
use rustix::io::Errno;
use serde::Serialize;

use super::IngestOptions;
use super::root::Root;

/// Why something was not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Skip {
    /// It is larger than the options allow.
    #[error("it has {bytes} bytes or more, and the limit is {max}")]
    TooLarge {
        /// How large it is, or how far it was unpacked.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// A link leads elsewhere.
    #[error("it is a link")]
    Link,
    /// The caller may not read it.
    #[error("it may not be read")]
    Denied,
    /// A pipe, a socket or a device.
    #[error("it is a {what}, not a file")]
    NotAFile {
        /// What it is.
        what: &'static str,
    },
    /// It is no text in any form that is known.
    #[error("it is not text")]
    Binary,
    /// Its name begins with a dot.
    #[error("it is hidden")]
    Hidden,
    /// An editor or a download has it for a while.
    #[error("its name is one of a temporary file or a backup")]
    Temporary,
    /// It is deeper than the options allow.
    #[error("it is more than {max} directories deep")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// There are more files than the options allow.
    #[error("there are more than {max} files")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// It says that it is something, and is broken.
    #[error("it can't be read: {why}")]
    Broken {
        /// What is wrong.
        why: String,
    },
}

impl Skip {
    /// Whether what the file said before does not hold any more. What can't be looked at may still
    /// say it.
    pub(super) fn is_an_end(&self) -> bool {
        match self {
            Self::TooLarge { .. }
            | Self::Empty
            | Self::Link
            | Self::Denied
            | Self::NotAFile { .. }
            | Self::Binary => true,
            Self::Hidden
            | Self::Temporary
            | Self::TooDeep { .. }
            | Self::TooMany { .. }
            | Self::Broken { .. } => false,
        }
    }
}

/// Something that was not read, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// What.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// Why.
    #[serde(flatten)]
    pub why: Skip,
}

/// A name that is no UTF-8 is told as far as it is.
fn lossy<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// A file to read.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Through which it is opened.
    pub(super) root: Arc<Root>,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) stamp: Stamp,
}

/// Tells whether a file was written since. Nobody can set the time of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// In nanoseconds since 1970.
    pub(super) changed_ns: i128,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed_ns: i128::from(metadata.ctime()) * 1_000_000_000
                + i128::from(metadata.ctime_nsec()),
        }
    }
}

struct Walk<'a> {
    root: &'a Arc<Root>,
    options: &'a IngestOptions,
    /// Is told of each directory before it is read.
    entering: &'a mut dyn FnMut(&Path),
    files: Vec<Found>,
    skipped: Vec<Skipped>,
    full: bool,
}

impl Skipped {
    pub(super) fn new(path: &Path, why: Skip) -> Self {
        Self {
            path: path.into(),
            why,
        }
    }
}

/// The files under a path, in order.
pub(super) fn walk(
    root: &Arc<Root>,
    options: &IngestOptions,
    entering: &mut dyn FnMut(&Path),
) -> (Vec<Found>, Vec<Skipped>) {
    let mut walk = Walk {
        root,
        options,
        entering,
        files: Vec::new(),
        skipped: Vec::new(),
        full: false,
    };
    walk.enter(root.path(), 0);
    (walk.files, walk.skipped)
}

impl Walk<'_> {
    fn enter(&mut self, path: &Path, depth: usize) {
        if let Err(why) = self.try_enter(path, depth) {
            self.skipped.push(Skipped::new(path, why));
        }
    }

    fn try_enter(&mut self, path: &Path, depth: usize) -> Result<(), Skip> {
        let metadata = self.root.look(path).map_err(unopened)?;
        let kind = metadata.file_type();
        let name = path.file_name().unwrap_or_default();
        if depth > 0 && name.as_encoded_bytes().starts_with(b".") {
            return Err(Skip::Hidden);
        }
        if kind.is_dir() {
            return self.directory(path, depth);
        }
        if depth > 0 && is_temporary(&name.to_string_lossy()) {
            return Err(Skip::Temporary);
        }
        let bytes = metadata.len();
        check(kind, bytes, self.options)?;
        if !(self.options.may_read)(path) {
            return Err(Skip::Denied);
        }
        self.files.push(Found {
            root: Arc::clone(self.root),
            path: path.into(),
            bytes,
            stamp: Stamp::of(&metadata),
        });
        Ok(())
    }

    fn directory(&mut self, path: &Path, depth: usize) -> Result<(), Skip> {
        let max = self.options.depth_max;
        if depth >= max {
            return Err(Skip::TooDeep { max });
        }
        (self.entering)(path);
        let mut paths = Vec::new();
        let directory = self.root.read(path).map_err(unopened)?;
        for entry in Dir::new(directory).map_err(broken)? {
            let entry = entry.map_err(broken)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            paths.push(path.join(OsStr::from_bytes(name)));
            if paths.len() > self.options.files_max {
                break;
            }
        }
        paths.sort();
        for path in paths {
            if self.files.len() + self.skipped.len() >= self.options.files_max {
                // Said once, for all that follow.
                let said = std::mem::replace(&mut self.full, true);
                let max = self.options.files_max;
                return if said {
                    Ok(())
                } else {
                    Err(Skip::TooMany { max })
                };
            }
            self.enter(&path, depth + 1);
        }
        Ok(())
    }
}

/// What editors, package managers and downloads leave beside a file, or have instead of it for a
/// while.
fn is_temporary(name: &str) -> bool {
    const ENDINGS: [&str; 8] = [
        ".tmp",
        ".temp",
        ".swp",
        ".swx",
        ".bak",
        ".part",
        ".crdownload",
        ".dpkg-new",
    ];
    name.ends_with('~')
        || (name.starts_with('#') && name.ends_with('#'))
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Refuses what is not a file of a good size.
pub(super) fn check(kind: FileType, bytes: u64, options: &IngestOptions) -> Result<(), Skip> {
    let what = match kind {
        kind if kind.is_symlink() => return Err(Skip::Link),
        kind if kind.is_fifo() => "pipe",
        kind if kind.is_socket() => "socket",
        kind if kind.is_char_device() || kind.is_block_device() => "device",
        kind if kind.is_file() => {
            let max = options.file_bytes_max;
            return match bytes {
                0 => Err(Skip::Empty),
                bytes if bytes > max => Err(Skip::TooLarge { bytes, max }),
                _ => Ok(()),
            };
        }
        _ => "directory",
    };
    Err(Skip::NotAFile { what })
}

/// Why something could not be opened. Where a directory was, there may be a link by now.
pub(super) fn unopened(error: io::Error) -> Skip {
    match error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
        true => Skip::Link,
        false => broken(error),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(super) fn broken(error: impl ToString) -> Skip {
    Skip::Broken {
        why: error.to_string(),
    }
}
