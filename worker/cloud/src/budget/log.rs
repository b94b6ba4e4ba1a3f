//! The file: one checksummed line for each reservation and each settlement.
//!
//! A line is the CRC-32 of its JSON in eight digits, a space, and the JSON. A process that is killed
//! leaves at most half a line at the end, which is cut off: what it would have said was not
//! acknowledged. A bad line before the end is damage, and nothing is spent until a person looked.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::BudgetError;
use super::limits::{Amount, Day};

/// What a line says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    /// Something is set aside.
    Reserve {
        id: u64,
        day: Day,
        user: String,
        #[serde(flatten)]
        amount: Amount,
    },
    /// What came of it.
    Settle {
        id: u64,
        #[serde(flatten)]
        amount: Amount,
    },
    /// The sum of lines that are no longer there.
    Carry {
        day: Day,
        user: String,
        #[serde(flatten)]
        amount: Amount,
    },
}

/// A file that is longer is written anew with sums.
const LONG_BYTES: u64 = 4 << 20;
/// No file is longer: this many bytes are a month of millions of requests.
const FILE_BYTES_MAX: u64 = 1 << 30;

#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: Arc<File>,
    end: u64,
    /// A write failed, so that there may be half a line behind the end.
    broken: bool,
    /// Held as long as this process has the budget.
    _lock: File,
}

/// What [`Log::append`] wrote, to be waited for.
pub(super) struct SyncHandle {
    path: PathBuf,
    file: Arc<File>,
}

impl SyncHandle {
    pub(super) fn sync(&self) -> Result<(), BudgetError> {
        self.file.sync_data().map_err(io(&self.path))
    }
}

/// How long a lock is waited for. A process that another thread has forked holds it until its exec,
/// also when this one has let go.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

fn take(lock: &File, directory: &Path) -> Result<(), BudgetError> {
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => return Err(BudgetError::InUse(directory.into())),
            Err(TryLockError::Error(error)) => return Err(io(directory)(error)),
        }
    }
}

impl Log {
    /// Takes the directory for this process.
    pub(super) fn lock(directory: &Path) -> Result<Self, BudgetError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(io(directory))?;
        let lock = open(&directory.join("lock"))?;
        take(&lock, directory)?;
        let path = directory.join("budget.log");
        let file = open(&path)?;
        let log = Self {
            file: Arc::new(file),
            end: 0,
            broken: false,
            _lock: lock,
            path,
        };
        log.sync_directory()?;
        Ok(log)
    }

    /// Reads all whole lines; half a line at the end is cut off.
    pub(super) fn read(&mut self) -> Result<Vec<Line>, BudgetError> {
        let bytes = self.file.metadata().map_err(io(&self.path))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(self.damaged(0, "it is larger than 1 GiB"));
        }
        let mut text = Vec::new();
        (&*self.file)
            .read_to_end(&mut text)
            .map_err(io(&self.path))?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let mut lines = Vec::new();
        for (number, line) in text[..whole]
            .split_inclusive(|byte| *byte == b'\n')
            .enumerate()
        {
            let line = &line[..line.len() - 1];
            let read =
                decode(line).ok_or_else(|| self.damaged(number + 1, "not what was written"))?;
            lines.push(read);
        }
        self.end = whole as u64;
        self.file.set_len(self.end).map_err(io(&self.path))?;
        Ok(lines)
    }

    /// Hands a line to the operating system.
    pub(super) fn append(&mut self, line: &Line) -> Result<(), BudgetError> {
        if self.broken {
            self.file.set_len(self.end).map_err(io(&self.path))?;
        }
        let text = encode(line);
        self.broken = true;
        self.file
            .write_all_at(&text, self.end)
            .map_err(io(&self.path))?;
        self.broken = false;
        self.end += text.len() as u64;
        Ok(())
    }

    pub(super) fn sync_handle(&self) -> SyncHandle {
        SyncHandle {
            path: self.path.clone(),
            file: Arc::clone(&self.file),
        }
    }

    pub(super) fn is_long(&self) -> bool {
        self.end > LONG_BYTES
    }

    /// Puts a file with these lines in the place of this one.
    pub(super) fn rewrite(&mut self, lines: impl Iterator<Item = Line>) -> Result<(), BudgetError> {
        let path = self.path.with_extension("new");
        // What a crash left of an earlier one is of no use.
        let _ = fs::remove_file(&path);
        let file = open(&path)?;
        let text: Vec<u8> = lines.flat_map(|line| encode(&line)).collect();
        (&file).write_all(&text).map_err(io(&path))?;
        file.sync_all().map_err(io(&path))?;
        fs::rename(&path, &self.path).map_err(io(&self.path))?;
        self.sync_directory()?;
        self.file = Arc::new(file);
        self.end = text.len() as u64;
        self.broken = false;
        Ok(())
    }

    /// A new file is only there after a crash if its directory was written as well.
    fn sync_directory(&self) -> Result<(), BudgetError> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let opened = File::open(directory).and_then(|file| file.sync_all());
        opened.map_err(io(directory))
    }

    fn damaged(&self, line: usize, why: &str) -> BudgetError {
        BudgetError::Damaged {
            path: self.path.clone(),
            line,
            why: why.to_owned(),
        }
    }
}

fn encode(line: &Line) -> Vec<u8> {
    let json = serde_json::to_string(line).unwrap_or_default();
    format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).into_bytes()
}

fn decode(line: &[u8]) -> Option<Line> {
    let (crc, json) = line.split_at_checked(9)?;
    let crc = std::str::from_utf8(crc).ok()?.strip_suffix(' ')?;
    let crc = u32::from_str_radix(crc, 16).ok()?;
    if crc32fast::hash(json) != crc {
        return None;
    }
    serde_json::from_slice(json).ok()
}

fn open(path: &Path) -> Result<File, BudgetError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(io(path))
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> BudgetError {
    let path = path.to_owned();
    move |error| BudgetError::Io {
        path: path.clone(),
        error,
    }
}
