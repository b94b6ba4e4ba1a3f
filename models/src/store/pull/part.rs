//! The part of a file that is on the disk, and its sum so far.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::hex::hex;
use crate::store::files::Lock;

/// What is read again in one go.
const CHECK_BYTES: u64 = 8 << 20;

/// A download on the disk. It only grows.
pub(crate) struct Part {
    file: File,
    path: PathBuf,
    /// What the file's length should become.
    total: u64,
    bytes: u64,
    hasher: Sha256,
    /// Bytes that the sum covers. The file's position is always here.
    summed: u64,
    /// Where an answer led that was too long.
    excess: Option<u64>,
    // A write that was started before its download was dropped still has the lock.
    _lock: Arc<Lock>,
}

/// How much of an answer is on the disk already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// So many bytes.
    Bytes(u64),
    /// Nothing, or everything that is on the disk.
    Unknown,
}

impl Part {
    /// Opens a download, or begins one. `keep` says whether what is there may be gone on with.
    pub(crate) fn open(path: &Path, keep: bool, total: u64, lock: Arc<Lock>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false);
        let file = options.read(true).write(true).open(path)?;
        let there = file.metadata()?.len();
        let bytes = if keep && there <= total { there } else { 0 };
        if bytes != there {
            file.set_len(0)?;
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            total,
            bytes,
            hasher: Sha256::new(),
            summed: 0,
            excess: None,
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How much there is.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How much of it has been read.
    pub(crate) fn summed(&self) -> u64 {
        self.summed
    }

    /// Where an answer led that was longer than the file should be.
    pub(crate) fn excess(&self) -> Option<u64> {
        self.excess
    }

    /// Reads a piece of what an earlier attempt brought.
    pub(crate) fn check_some(&mut self) -> io::Result<()> {
        let piece = CHECK_BYTES.min(self.bytes - self.summed);
        let mut reader = (&self.file).take(piece);
        let read = io::copy(&mut reader, &mut Summing(&mut self.hasher))?;
        self.summed += read;
        if read < piece {
            // Somebody made the file shorter meanwhile.
            self.bytes = self.summed;
        }
        Ok(())
    }

    /// Adds a piece of an answer, but for what is here already. Returns how much of the rest of
    /// the answer is. Only for a part of which all has been read.
    pub(crate) fn add(&mut self, piece: &[u8], overlap: Overlap) -> io::Result<u64> {
        let overlap = match overlap {
            Overlap::Bytes(bytes) => bytes,
            Overlap::Unknown if self.begins_like(piece)? => self.bytes,
            Overlap::Unknown => 0,
        };
        let here = usize::try_from(overlap)
            .unwrap_or(usize::MAX)
            .min(piece.len());
        let mut fresh = &piece[here..];
        let reached = self.bytes.saturating_add(fresh.len() as u64);
        if reached > self.total {
            self.excess = Some(reached);
            fresh = &[];
        }
        self.file.write_all(fresh)?;
        self.hasher.update(fresh);
        self.bytes += fresh.len() as u64;
        self.summed = self.bytes;
        Ok(overlap - here as u64)
    }

    fn begins_like(&self, piece: &[u8]) -> io::Result<bool> {
        let there = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let mut beginning = vec![0; piece.len().min(there)];
        self.file.read_exact_at(&mut beginning, 0)?;
        Ok(piece.starts_with(&beginning))
    }

    /// Waits until the bytes are on the disk, and sums them up.
    pub(crate) fn sum(self) -> io::Result<String> {
        self.file.sync_all()?;
        Ok(hex(&self.hasher.finalize()))
    }
}

/// Sums up what is written to it.
pub(crate) struct Summing<'a>(pub(crate) &'a mut Sha256);

impl Write for Summing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("fazai-part-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).expect("a directory");
            Self(folder)
        }

        fn open(&self, keep: bool, total: u64) -> Part {
            let lock = Lock::take(self.0.join("x.lock")).expect("free");
            let part = Part::open(&self.0.join("x"), keep, total, Arc::new(lock));
            let mut part = part.expect("opened");
            while part.summed() < part.bytes() {
                part.check_some().expect("readable");
            }
            part
        }

        fn content(&self) -> Vec<u8> {
            fs::read(self.0.join("x")).expect("readable")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn sum_of(bytes: &[u8]) -> String {
        hex(&Sha256::digest(bytes))
    }

    #[test]
    fn the_sum_covers_what_was_there_and_what_came() {
        let scratch = Scratch::new("sum");
        let mut part = scratch.open(true, 6);
        part.add(b"abc", Overlap::Bytes(0)).expect("written");
        drop(part);
        let mut part = scratch.open(true, 6);
        assert_eq!(part.bytes(), 3);
        part.add(b"def", Overlap::Bytes(0)).expect("written");
        assert_eq!(part.sum().expect("synced"), sum_of(b"abcdef"));
        assert_eq!(scratch.content(), b"abcdef");
    }

    #[test]
    fn what_may_not_be_kept_or_is_too_long_is_thrown_away() {
        let scratch = Scratch::new("keep");
        for (keep, total, expected) in [(true, 3, 3), (true, 2, 0), (false, 9, 0)] {
            fs::write(scratch.0.join("x"), b"abc").expect("written");
            assert_eq!(scratch.open(keep, total).bytes(), expected);
            assert_eq!(scratch.content().len() as u64, expected);
        }
    }

    #[test]
    fn an_answer_that_begins_anew_adds_only_what_is_missing() {
        let check = |pieces: &[&str], first: Overlap| {
            let scratch = Scratch::new("overlap");
            fs::write(scratch.0.join("x"), b"abcd").expect("written");
            let mut part = scratch.open(true, 8);
            let mut overlap = first;
            for piece in pieces {
                let left = part.add(piece.as_bytes(), overlap).expect("written");
                overlap = Overlap::Bytes(left);
            }
            assert_eq!(scratch.content(), b"abcdefgh", "{pieces:?}");
            assert_eq!(part.sum().expect("synced"), sum_of(b"abcdefgh"));
        };
        check(&["efgh"], Overlap::Bytes(0));
        check(&["abcdefgh"], Overlap::Bytes(4));
        check(&["ab", "c", "def", "gh"], Overlap::Bytes(4));
        check(&["abcdefgh"], Overlap::Unknown);
        check(&["ab", "cdefgh"], Overlap::Unknown);
        check(&["efgh"], Overlap::Unknown);
        check(&["ef", "gh"], Overlap::Unknown);
    }

    #[test]
    fn an_answer_that_is_too_long_never_gets_to_the_disk() {
        let scratch = Scratch::new("long");
        let mut part = scratch.open(true, 4);
        part.add(b"abc", Overlap::Bytes(0)).expect("written");
        assert_eq!(part.excess(), None);
        part.add(b"def", Overlap::Bytes(0)).expect("taken note of");
        assert_eq!(part.excess(), Some(6));
        assert_eq!(scratch.content(), b"abc");
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let scratch = Scratch::new("full");
        std::os::unix::fs::symlink("/dev/full", scratch.0.join("x")).expect("a link");
        let mut part = scratch.open(true, 4);
        let fault = part.add(b"abc", Overlap::Bytes(0)).expect_err("no room");
        assert_eq!(fault.kind(), io::ErrorKind::StorageFull);
    }
}
