//! The files of one model in the store, and the lock that a change to them needs.
//!
//! | file | what |
//! |---|---|
//! | `NAME.gguf` | the model, complete and checked |
//! | `NAME.json` | where it came from ([`Origin`]); absent for a file that somebody put there |
//! | `NAME.gguf.part` | a download that is not finished |
//! | `NAME.gguf.part.json` | what that download is of, so that it goes on with the same commit |
//! | `NAME.lock` | held by the process that changes the model |

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where a downloaded model came from, and what it was checked against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `OWNER/REPO` on the hub.
    pub repository: String,
    /// The file in that repository.
    pub file: String,
    /// The branch, tag or commit that was asked for.
    pub requested: Option<String>,
    /// The commit that it was.
    pub commit: String,
    /// The file's length.
    pub bytes: u64,
    /// The file's SHA-256, in hexadecimal.
    pub sha256: String,
    /// Who stated the sum that the file was checked against.
    pub sum_from: SumFrom,
    /// When the download ended, in seconds since 1970.
    pub pulled_unix_s: u64,
}

/// Who stated the sum that a download was checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SumFrom {
    /// The catalogue in this program: also a hub that was broken into would be noticed.
    Catalog,
    /// The hub itself, in the same breath as the file: this finds damage, not deceit.
    Hub,
}

impl Origin {
    /// The reference that gets the same bytes again.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("hf:{}/{}@{}", self.repository, self.file, self.commit)
    }

    /// Reads a sidecar file. One that is missing or makes no sense is as good as none.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let mut text = String::new();
        let file = File::open(path).ok()?;
        file.take(ORIGIN_BYTES_MAX).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Writes a sidecar file; a reader sees the old one or the new one, never half of it.
    #[cfg(feature = "hub")]
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let fresh = path.with_added_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    }
}

const ORIGIN_BYTES_MAX: u64 = 65_536;

/// Where the files of one GGUF are.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    folder: PathBuf,
    stem: String,
    /// What the model's own file has behind the stem.
    ending: &'static str,
}

impl Paths {
    pub(crate) fn new(folder: &Path, stem: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            stem: stem.to_owned(),
            ending: ".gguf",
        }
    }

    /// Of a file that is no GGUF, by its whole name.
    #[cfg(feature = "hub")]
    pub(crate) fn plain(folder: &Path, name: &str) -> Self {
        Self {
            ending: "",
            ..Self::new(folder, name)
        }
    }

    #[cfg(feature = "hub")]
    pub(crate) fn is_gguf(&self) -> bool {
        self.ending == ".gguf"
    }

    #[cfg(feature = "hub")]
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn with(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}{ending}", self.stem))
    }

    /// The model itself.
    pub(crate) fn file(&self) -> PathBuf {
        self.with(self.ending)
    }

    pub(crate) fn origin(&self) -> PathBuf {
        self.with(".json")
    }

    pub(crate) fn part(&self) -> PathBuf {
        self.file().with_added_extension("part")
    }

    pub(crate) fn part_origin(&self) -> PathBuf {
        self.part().with_added_extension("json")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.with(".lock")
    }

    /// Makes new names survive a power cut.
    #[cfg(feature = "hub")]
    pub(crate) fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    /// Everything that belongs to the model, but for the lock.
    pub(crate) fn all(&self) -> [PathBuf; 4] {
        [self.file(), self.origin(), self.part(), self.part_origin()]
    }
}

/// The right to change a model's files. One process at a time has it; the kernel takes it back
/// when that process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    // Held for its lock, which ends with it.
    _file: File,
    path: PathBuf,
}

/// Who holds a lock: a process id, if it could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder(pub Option<u32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, "process {id}"),
            None => f.write_str("another process"),
        }
    }
}

/// Why the lock can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("it is held")]
    Held(Holder),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Lock {
    pub(crate) fn take(path: PathBuf) -> Result<Self, LockError> {
        // A holder removes the file when it is done. Who opened the file before that has the
        // lock of a file without a name, which protects nothing, and must look again.
        for _ in 0..LOCK_TRIES {
            let mut options = OpenOptions::new();
            let options = options.create(true).truncate(false);
            let mut file = options.read(true).write(true).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(LockError::Held(holder(&mut file))),
                Err(TryLockError::Error(fault)) => return Err(fault.into()),
            }
            if is_at(&file, &path)? {
                file.set_len(0)?;
                file.write_all(std::process::id().to_string().as_bytes())?;
                return Ok(Self { _file: file, path });
            }
        }
        Err(LockError::Held(Holder(None)))
    }
}

const LOCK_TRIES: u32 = 16;

/// What the holder wrote into its lock file: its process id.
fn holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let read = file.take(16).read_to_string(&mut text);
    Holder(read.ok().and_then(|_| text.parse().ok()))
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let here = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok(here.ino() == there.ino() && here.dev() == there.dev()),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(fault) => Err(fault),
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A lock file that stays behind is no harm: only the kernel's lock on it counts.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes a file that may be missing; says whether it was there and how long it was.
pub(crate) fn remove(path: &Path) -> io::Result<Option<u64>> {
    let bytes = fs::symlink_metadata(path).map(|about| about.len());
    match fs::remove_file(path) {
        Ok(()) => Ok(bytes.ok()),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("fazai-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a directory");
        folder
    }

    #[test]
    fn a_lock_is_held_once_and_left_without_a_trace() {
        let folder = scratch("lock");
        let path = folder.join("x.lock");
        let first = Lock::take(path.clone()).expect("free");
        match Lock::take(path.clone()) {
            Err(LockError::Held(by)) => assert_eq!(by, Holder(Some(std::process::id()))),
            other => panic!("{other:?}"),
        }
        drop(first);
        assert!(!path.exists());
        drop(Lock::take(path).expect("free again"));
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn what_a_dead_process_left_is_taken_over() {
        let folder = scratch("stale");
        let path = folder.join("x.lock");
        fs::write(&path, "999999999").expect("written");
        let lock = Lock::take(path.clone()).expect("nobody holds it");
        assert_eq!(
            fs::read_to_string(&path).expect("readable"),
            std::process::id().to_string()
        );
        drop(lock);
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_lock_on_a_file_that_was_removed_does_not_count() {
        let folder = scratch("removed");
        let path = folder.join("x.lock");
        let file = File::create(&path).expect("created");
        assert!(is_at(&file, &path).expect("asked"));
        fs::remove_file(&path).expect("removed");
        assert!(!is_at(&file, &path).expect("asked"));
        fs::write(&path, "").expect("another one");
        assert!(!is_at(&file, &path).expect("asked"));
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_sidecar_that_makes_no_sense_is_none() {
        let folder = scratch("origin");
        let path = folder.join("x.json");
        assert_eq!(Origin::read(&path), None);
        for text in ["", "{}", "\u{0}", "{\"repository\": 7}"] {
            fs::write(&path, text).expect("written");
            assert_eq!(Origin::read(&path), None, "{text:?}");
        }
        fs::remove_dir_all(folder).expect("removed");
    }
}
