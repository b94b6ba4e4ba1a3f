//! Lines of JSON on the disk, to which is only added: each is flushed before anything follows from
//! it, and half a line at the end, which was never acknowledged, is cut when it is opened.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A larger file is none of ours.
const BYTES_MAX: u64 = 64 << 20;

/// A file of entries, which no other process has open.
#[derive(Debug)]
pub struct Journal<T> {
    path: PathBuf,
    file: File,
    lines: usize,
    entries: PhantomData<fn(T) -> T>,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens it, or makes one, and hands over what is in it.
    pub fn open(path: &Path, mut each: impl FnMut(T)) -> io::Result<Self> {
        let mut file = options().truncate(false).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            io::Error::other(format!("{} is in use by another process", path.display()))
        })?;
        if file.metadata()?.len() > BYTES_MAX {
            return Err(io::Error::other(format!(
                "{} is larger than {BYTES_MAX} bytes",
                path.display()
            )));
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let mut lines = 0;
        for line in text[..whole].split(|byte| *byte == b'\n') {
            if line.is_empty() {
                continue;
            }
            lines += 1;
            each(serde_json::from_slice(line).map_err(|fault| {
                io::Error::other(format!(
                    "{}, line {lines} is damaged: {fault}; restore or remove it",
                    path.display()
                ))
            })?);
        }
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            lines,
            entries: PhantomData,
        })
    }

    /// Adds entries: all of them are on the disk, or none.
    pub fn write(&mut self, entries: &[T]) -> io::Result<()> {
        let mut text = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut text, entry)?;
            text.push(b'\n');
        }
        let before = self.file.stream_position()?;
        let written = self.file.write_all(&text);
        if let Err(fault) = written.and_then(|()| self.file.sync_data()) {
            // A full disk must not leave half a line in the middle.
            self.file.set_len(before)?;
            self.file.seek(SeekFrom::Start(before))?;
            return Err(fault);
        }
        self.lines += entries.len();
        Ok(())
    }

    /// Puts these entries in the place of all.
    pub fn rewrite(&mut self, entries: impl IntoIterator<Item = T>) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = options().truncate(true).open(&new)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let mut lines = 0;
        for entry in entries {
            let mut line = serde_json::to_vec(&entry)?;
            line.push(b'\n');
            file.write_all(&line)?;
            lines += 1;
        }
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        self.file = file;
        self.lines = lines;
        Ok(())
    }

    /// Entries that are in it.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// How long it is.
    pub fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> io::Result<(Journal<u32>, Vec<u32>)> {
        let mut found = Vec::new();
        let journal = Journal::open(path, |entry| found.push(entry))?;
        Ok((journal, found))
    }

    #[test]
    fn what_was_written_is_there_and_half_a_line_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, found) = open(&path).unwrap();
        assert!(found.is_empty());
        journal.write(&[1, 2]).unwrap();
        assert!(open(&path).is_err(), "two have it open");
        drop(journal);
        fs::write(&path, "1\n2\n3").unwrap();
        let (mut journal, found) = open(&path).unwrap();
        assert_eq!(found, [1, 2]);
        journal.rewrite([2]).unwrap();
        journal.write(&[4]).unwrap();
        assert_eq!(journal.lines(), 2);
        drop(journal);
        assert_eq!(open(&path).unwrap().1, [2, 4]);
        fs::write(&path, "1\nx\n3\n").unwrap();
        let fault = open(&path).unwrap_err().to_string();
        assert!(fault.contains("line 2 is damaged"), "{fault}");
    }
}
