//! The files of the record: appending, rotation, and what a crash left behind.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::time::{ClockId, clock_gettime};

use super::head::{Key, cut_half_head};
use super::{AuditError, ENTRY_BYTES_MAX, Entry, Event, Hash, Head, unavailable};

/// How the record is kept.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// Where the files are; made with 0700 if it is not there.
    pub directory: PathBuf,
    /// A file that is larger is followed by a new one.
    pub file_bytes_max: u64,
    /// How much time passes between two signed heads.
    pub head_every: Duration,
}

impl AuditOptions {
    /// Files of 64 MiB and a head every minute.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            file_bytes_max: 64 << 20,
            head_every: Duration::from_secs(60),
        }
    }
}

/// The record, open for appending. One process has it at a time.
pub struct AuditLog {
    options: AuditOptions,
    key: Key,
    /// Held for the lock on it, which the kernel releases when the process ends.
    _lock: File,
    file: File,
    /// The device and number of that file.
    place: (u64, u64),
    number: u64,
    bytes: u64,
    seq: u64,
    last: Hash,
    signed: Option<(u64, Instant)>,
    /// Something could not be written, so that the end of the file is not known to be whole.
    broken: bool,
    /// What was cut off and is not recorded yet, because the disk was full.
    cut: Option<Event>,
}

/// A link would send the record elsewhere, and a pipe without a reader would keep everybody waiting.
pub(super) const NO_LINKS: i32 = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .bits()
    .cast_signed();
const LOCK_FILE: &str = "audit.lock";

impl AuditLog {
    /// Opens the record of a directory, or begins one. Half a line at its end is cut off, and that
    /// is recorded.
    pub fn open(options: AuditOptions) -> Result<Self, AuditError> {
        let directory = options.directory.clone();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(unavailable(&directory))?;
        let lock = lock(&directory)?;
        let key = Key::open(&directory)?;
        cut_half_head(&directory)?;
        let number = files(&directory)
            .map_err(unavailable(&directory))?
            .last()
            .map_or(0, |(number, _)| *number);
        let path = file_path(&directory, number.max(1));
        let (file, place) = open_append(&path)?;
        let mut log = Self {
            options,
            key,
            _lock: lock,
            file,
            place,
            number: number.max(1),
            bytes: 0,
            seq: 0,
            last: Hash::ZERO,
            signed: None,
            broken: false,
            cut: None,
        };
        log.recover()?;
        Ok(log)
    }

    /// Appends an entry and waits until the disk has it. Answers its number.
    pub fn append(&mut self, event: &Event) -> Result<u64, AuditError> {
        self.check_place()?;
        if self.broken {
            self.recover()?;
        }
        self.rotate_if_full()?;
        let seq = self.write(event)?;
        self.sign_if_due()?;
        Ok(seq)
    }

    /// Signs the end of the record. Call it on a timer, and before stopping.
    pub fn sign_head(&mut self) -> Result<Head, AuditError> {
        let head = self
            .key
            .sign(&self.options.directory, self.seq, self.last)?;
        self.signed = Some((self.seq, Instant::now()));
        Ok(head)
    }

    /// Whether the last entry is signed already.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.signed.is_some_and(|(seq, _)| seq == self.seq)
    }

    /// The directory of the record.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.options.directory
    }

    /// How many entries there are.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.seq
    }

    fn sign_if_due(&mut self) -> Result<(), AuditError> {
        let due = self
            .signed
            .is_none_or(|(_, at)| at.elapsed() >= self.options.head_every);
        if due {
            self.sign_head().map(drop)
        } else {
            Ok(())
        }
    }

    /// Whether what is appended is found where the record is looked for.
    fn check_place(&self) -> Result<(), AuditError> {
        let path = self.path();
        let there = fs::symlink_metadata(&path);
        let is_it = |about: &fs::Metadata| {
            let whole = self.broken || about.len() >= self.bytes;
            (about.dev(), about.ino()) == self.place && whole
        };
        if there.is_ok_and(|about| is_it(&about)) {
            Ok(())
        } else {
            Err(AuditError::Moved { path })
        }
    }

    fn path(&self) -> PathBuf {
        file_path(&self.options.directory, self.number)
    }

    fn write(&mut self, event: &Event) -> Result<u64, AuditError> {
        let seq = self.seq + 1;
        let (line, hash) = Entry::seal(
            seq,
            jiff::Timestamp::now(),
            monotonic_ns(),
            event,
            self.last,
        );
        if line.len() > ENTRY_BYTES_MAX {
            return Err(AuditError::TooLong { bytes: line.len() });
        }
        // Until the disk has all of it, half a line may be there.
        self.broken = true;
        let bytes = format!("{line}\n");
        let written = self
            .file
            .write_all(bytes.as_bytes())
            .and_then(|()| self.file.sync_data());
        written.map_err(unavailable(&self.path()))?;
        self.broken = false;
        self.seq = seq;
        self.last = hash;
        self.bytes += bytes.len() as u64;
        Ok(seq)
    }

    fn rotate_if_full(&mut self) -> Result<(), AuditError> {
        if self.bytes < self.options.file_bytes_max {
            return Ok(());
        }
        let continues = file_name(self.number);
        let path = file_path(&self.options.directory, self.number + 1);
        (self.file, self.place) = open_append(&path)?;
        self.number += 1;
        self.bytes = 0;
        sync_directory(&self.options.directory)?;
        self.write(&Event::Opened {
            continues: Some(continues),
        })
        .map(drop)
    }

    /// Finds the end of the record, cuts off half a line, and begins a file that is empty.
    fn recover(&mut self) -> Result<(), AuditError> {
        let path = self.path();
        let before = match self.number {
            1 => None,
            number => Some(last_entry(&file_path(&self.options.directory, number - 1))?),
        };
        let end = read_end(&path)?;
        let entry = end.last.or(before.flatten());
        (self.seq, self.last) = entry.map_or((0, Hash::ZERO), |entry| (entry.seq, entry.hash));
        self.bytes = end.whole_bytes;
        if !end.half.is_empty() {
            let whole = self
                .file
                .set_len(end.whole_bytes)
                .and_then(|()| self.file.sync_all());
            whole.map_err(unavailable(&path))?;
            self.cut = Some(Event::Repaired {
                cut_bytes: end.half.len() as u64,
                cut_sha256: Hash::of(&end.half),
            });
        }
        self.broken = false;
        if end.whole_bytes == 0 {
            sync_directory(&self.options.directory)?;
            let continues = (self.number > 1).then(|| file_name(self.number - 1));
            self.write(&Event::Opened { continues })?;
        }
        if let Some(cut) = self.cut.clone() {
            self.write(&cut)?;
            self.cut = None;
        }
        Ok(())
    }
}

/// The end of a file.
struct End {
    last: Option<Entry>,
    whole_bytes: u64,
    half: Vec<u8>,
}

/// Reads a file to its end. Only its last line is checked: the others are `verify`'s.
fn read_end(path: &Path) -> Result<End, AuditError> {
    let file = File::open(path).map_err(unavailable(path))?;
    let mut reader = BufReader::new(file);
    let mut end = End {
        last: None,
        whole_bytes: 0,
        half: Vec::new(),
    };
    let (mut line, mut whole, mut count) = (Vec::new(), Vec::new(), 0);
    loop {
        line.clear();
        let bytes = reader
            .read_until(b'\n', &mut line)
            .map_err(unavailable(path))?;
        if bytes == 0 {
            break;
        }
        if line.last() != Some(&b'\n') {
            end.half = line;
            break;
        }
        end.whole_bytes += bytes as u64;
        count += 1;
        std::mem::swap(&mut line, &mut whole);
    }
    if count > 0 {
        let damaged = |what: String| AuditError::Damaged {
            path: path.into(),
            line: count,
            what,
        };
        let text = str::from_utf8(&whole).map_err(|_| damaged("it is not UTF-8".into()))?;
        end.last = Some(Entry::read(text.trim_end()).map_err(damaged)?);
    }
    Ok(end)
}

fn last_entry(path: &Path) -> Result<Option<Entry>, AuditError> {
    read_end(path).map(|end| end.last)
}

fn lock(directory: &Path) -> Result<File, AuditError> {
    let path = directory.join(LOCK_FILE);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(unavailable(&path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(AuditError::InUse {
            path: directory.into(),
        }),
        Err(error) => Err(unavailable(&path)(error.into())),
    }
}

/// The file, and its device and number.
fn open_append(path: &Path) -> Result<(File, (u64, u64)), AuditError> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(NO_LINKS)
        .open(path)
        .map_err(unavailable(path))?;
    file.seek(SeekFrom::End(0)).map_err(unavailable(path))?;
    let about = file.metadata().map_err(unavailable(path))?;
    Ok((file, (about.dev(), about.ino())))
}

/// A new file is only there after a crash if its directory was written as well.
fn sync_directory(directory: &Path) -> Result<(), AuditError> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(unavailable(directory))
}

pub(super) fn file_name(number: u64) -> String {
    format!("audit-{number:06}.ndjson")
}

fn file_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(file_name(number))
}

/// The files of a record with their numbers, in order.
pub(super) fn files(directory: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let number = name
            .strip_prefix("audit-")
            .and_then(|name| name.strip_suffix(".ndjson"));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}

fn monotonic_ns() -> u64 {
    // Boot time goes on while the machine sleeps.
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_refuses_and_is_survived() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut log = AuditLog::open(AuditOptions::new(directory.path())).expect("a record");
        let good = log
            .append(&Event::Unused { permit: 1 })
            .expect("a good disk");
        let file = std::mem::replace(
            &mut log.file,
            File::options()
                .append(true)
                .open("/dev/full")
                .expect("/dev/full"),
        );
        for _ in 0..2 {
            let refused = log.append(&Event::Unused { permit: 2 });
            assert!(
                matches!(refused, Err(AuditError::AuditUnavailable { .. })),
                "{refused:?}"
            );
        }
        log.file = file;
        assert_eq!(
            log.append(&Event::Unused { permit: 3 })
                .expect("a good disk again"),
            good + 1
        );
        log.sign_head().expect("a head");
        let report = super::super::verify(directory.path()).expect("readable");
        assert_eq!(report.findings, []);
    }
}
