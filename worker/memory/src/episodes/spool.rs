//! Days that are being written: files to which lines are only added.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use super::{DAY_BYTES_MAX, LOCK, date_of, file_name};
use crate::error::{MemoryError, Result, io};
use crate::lock::{Lock, is_at};

/// A directory of such files. It is locked as long as this is there.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    lock: Lock,
    /// The day that grows, its file and how long that is.
    open: Option<(Date, File, u64)>,
    /// Days whose files were begun since somebody asked: the store may have more of them.
    begun: BTreeSet<Date>,
}

impl Spool {
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let spool = Self {
            dir: dir.to_owned(),
            lock: Lock::take(dir, LOCK)?,
            open: None,
            begun: BTreeSet::new(),
        };
        for date in spool.days()? {
            spool.repair(date)?;
        }
        Ok(spool)
    }

    fn path(&self, date: Date) -> PathBuf {
        self.dir.join(file_name(date))
    }

    /// Whoever removed the directory gets it back, empty, so that nothing is written into the void.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.lock.settle().map(drop)
    }

    /// The days whose files were begun since the last time.
    pub(super) fn take_begun(&mut self) -> BTreeSet<Date> {
        std::mem::take(&mut self.begun)
    }

    pub(super) fn has_begun(&self, date: Date) -> bool {
        self.begun.contains(&date)
    }

    /// The days that are here.
    pub(super) fn days(&self) -> Result<Vec<Date>> {
        let mut days = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(io(&self.dir))? {
            let name = entry.map_err(io(&self.dir))?.file_name();
            days.extend(name.to_str().and_then(date_of));
        }
        days.sort();
        Ok(days)
    }

    /// Cuts what is no whole line: a killed process leaves half of one, a power cut worse.
    fn repair(&self, date: Date) -> Result<()> {
        let path = self.path(date);
        let bytes = fs::read(&path).map_err(io(&path))?;
        let mut end = bytes.len();
        while end > 0 {
            let start = bytes[..end - 1]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            let whole = bytes[end - 1] == b'\n'
                && serde_json::from_slice::<serde::de::IgnoredAny>(&bytes[start..end]).is_ok();
            if whole {
                break;
            }
            end = start;
        }
        if end < bytes.len() {
            let file = OpenOptions::new()
                .write(true)
                .open(&path)
                .map_err(io(&path))?;
            let cut = file.set_len(end as u64).and_then(|()| file.sync_all());
            cut.map_err(io(&path))?;
        }
        Ok(())
    }

    /// Adds a line. `false` if the day is full.
    pub(super) fn append(&mut self, date: Date, line: &str) -> Result<bool> {
        let path = self.path(date);
        let is_open = |(open, file, _): &(Date, File, u64)| *open == date && is_at(file, &path);
        if !self.open.as_ref().is_some_and(is_open) {
            self.open = None;
            self.settle()?;
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(&path);
            let file = file.map_err(io(&path))?;
            let bytes = file.metadata().map_err(io(&path))?.len();
            if bytes == 0 {
                self.begun.insert(date);
            }
            self.open = Some((date, file, bytes));
        }
        let Some((_, file, bytes)) = &mut self.open else {
            return Ok(false);
        };
        let added = line.len() as u64;
        if *bytes + added > DAY_BYTES_MAX {
            return Ok(false);
        }
        if let Err(fault) = file.write_all(line.as_bytes()) {
            // Half a line would spoil the next one. Whether this works is seen at the next start.
            let _ = file.set_len(*bytes);
            return Err(io(&path)(fault));
        }
        *bytes += added;
        Ok(true)
    }

    /// How large a day is.
    pub(super) fn size(&self, date: Date) -> Result<u64> {
        let path = self.path(date);
        Ok(fs::metadata(&path).map_err(io(&path))?.len())
    }

    /// What a day says, once that is on the disk.
    pub(super) fn read(&self, date: Date) -> Result<String> {
        let path = self.path(date);
        let file = File::open(&path).map_err(io(&path))?;
        file.sync_data().map_err(io(&path))?;
        let bytes = file.metadata().map_err(io(&path))?.len();
        let mut text = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut text, 0).map_err(io(&path))?;
        String::from_utf8(text).map_err(|_| MemoryError::Damaged {
            path,
            what: "it is not UTF-8".to_owned(),
        })
    }

    /// Puts lines before those of a day, unless it begins with them.
    pub(super) fn begin_with(&mut self, date: Date, lines: &str) -> Result<()> {
        let text = self.read(date)?;
        if text.starts_with(lines) {
            return Ok(());
        }
        // A power cut may have taken lines from here that are there.
        let text = if lines.starts_with(&text) {
            String::new()
        } else {
            text
        };
        let path = self.path(date);
        let beside = path.with_extension("merged");
        let write = || {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(lines.as_bytes())?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        };
        write().map_err(io(&path))?;
        // It is another file now.
        self.open = None;
        Ok(())
    }

    /// Removes a day that is in the store, if it has not grown since.
    pub(super) fn remove(&mut self, date: Date, size: Option<u64>) -> Result<bool> {
        if size != Some(self.size(date)?) {
            return Ok(false);
        }
        let path = self.path(date);
        fs::remove_file(&path).map_err(io(&path))?;
        if self.open.as_ref().is_some_and(|(open, ..)| *open == date) {
            self.open = None;
        }
        Ok(true)
    }
}
