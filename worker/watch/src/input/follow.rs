//! A file that grows and rotates, by renaming or by truncation, read to its end and further.
//!
//! The position of the last line that was dealt with is kept in a file of its own. After a restart
//! the lines behind it come again, with the same numbers: at least once, and duplicates can be
//! told. What is written between the copy and the truncation of a rotation by `copytruncate` is
//! lost by the rotation itself; no reader can have it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Input, Lines};

#[expect(clippy::cast_possible_wrap, reason = "the flags of open(2) are small")]
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Bytes that one call hands over.
const POLL_BYTES_MAX: usize = 1 << 20;

/// Beginning of a file by which it is known again.
const FINGERPRINT_BYTES: usize = 256;

/// Files of a directory that are looked at for the one that was renamed.
const NEIGHBOURS_MAX: usize = 10_000;

/// Where a file is begun that was never read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With its first line.
    Beginning,
    /// With what is written from now on.
    End,
}

/// What is kept across restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    inode: u64,
    /// Bytes of the file that are dealt with.
    offset: u64,
    /// Bytes of all files before it.
    base: u64,
    /// The file's first bytes, in hexadecimal.
    fingerprint: String,
}

/// A file that is followed.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    kept: Option<PathBuf>,
    start: Start,
    bytes_max: usize,
    file: Option<File>,
    lines: Lines,
    at: Position,
    /// Of the file that is open, bytes that were read.
    read: u64,
    begun: bool,
}

impl Follow {
    /// Follows `path`, which need not be there yet. The position is kept in `kept`, if it is
    /// given.
    pub fn new(
        path: &Path,
        kept: Option<&Path>,
        start: Start,
        line_bytes_max: usize,
    ) -> io::Result<Self> {
        let text = kept.map(fs::read_to_string).transpose();
        let text = match text {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => None,
            other => other?,
        };
        // Half a position is none: all lines come again.
        let at = text.and_then(|text| serde_json::from_str::<Position>(&text).ok());
        let mut follow = Self {
            path: path.to_owned(),
            kept: kept.map(Path::to_owned),
            start,
            bytes_max: line_bytes_max,
            file: None,
            lines: Lines::new(line_bytes_max),
            begun: at.is_some(),
            at: at.unwrap_or_default(),
            read: 0,
        };
        // The end is the one of now: what is written before the first look is new, and so is all
        // of a file that is not there yet. What keeps it from being opened is told when it is read.
        if !follow.begun && !follow.open().unwrap_or(true) {
            follow.begun = true;
        }
        Ok(follow)
    }

    /// Opens a file; who opens a pipe would wait for somebody who writes.
    fn file(path: &Path) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(NONBLOCK)
            .open(path)?;
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other(format!("{} is no file", path.display()))),
        }
    }

    /// Opens the file where it was left: it, or what it was renamed to meanwhile.
    fn open(&mut self) -> io::Result<bool> {
        let there = match Self::file(&self.path) {
            Ok(file) => file,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(fault) => return Err(fault),
        };
        let meta = there.metadata()?;
        if !self.begun {
            self.begun = true;
            let offset = if self.start == Start::End {
                meta.len()
            } else {
                0
            };
            self.take(there, offset)?;
        } else if self.is_mine(&there)? {
            let offset = self.at.offset;
            self.take(there, offset)?;
        } else if let Some(renamed) = self.renamed()? {
            let offset = self.at.offset;
            self.take(renamed, offset)?;
        } else {
            self.at.base += self.at.offset;
            self.take(there, 0)?;
        }
        Ok(true)
    }

    fn take(&mut self, mut file: File, offset: u64) -> io::Result<()> {
        file.seek(SeekFrom::Start(offset))?;
        let inode = file.metadata()?.ino();
        self.at.fingerprint = fingerprint(&file, FINGERPRINT_BYTES)?;
        self.at.inode = inode;
        self.at.offset = offset;
        self.read = offset;
        self.lines = Lines::new(self.bytes_max);
        self.file = Some(file);
        Ok(())
    }

    /// Whether it is the file that the position is of.
    fn is_mine(&self, file: &File) -> io::Result<bool> {
        let meta = file.metadata()?;
        let same = fingerprint(file, self.at.fingerprint.len() / 2)? == self.at.fingerprint;
        Ok(meta.ino() == self.at.inode && meta.len() >= self.at.offset && same)
    }

    /// The file under another name in the same directory.
    fn renamed(&self) -> io::Result<Option<File>> {
        let folder = self
            .path
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))?.take(NEIGHBOURS_MAX) {
            let entry = entry?;
            let same = entry
                .metadata()
                .is_ok_and(|meta| meta.is_file() && meta.ino() == self.at.inode);
            if same
                && let Ok(file) = Self::file(&entry.path())
                && self.is_mine(&file)?
            {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// Begins anew with a file that is shorter than what was read, or begins otherwise.
    fn begin_anew(&mut self) -> io::Result<bool> {
        let Some(file) = self.file.take() else {
            return Ok(false);
        };
        if file.metadata()?.len() < self.read || !self.begins_the_same(&file)? {
            self.at.base += self.read;
            return self.take(file, 0).map(|()| true);
        }
        self.file = Some(file);
        Ok(false)
    }

    /// Goes on with the new file, if there is one, when the old one has no more.
    fn turn(&mut self, each: &mut dyn FnMut(u64, &[u8])) -> io::Result<bool> {
        if self.begin_anew()? {
            return Ok(true);
        }
        let Some(file) = &self.file else {
            return Ok(false);
        };
        let meta = file.metadata()?;
        let new = match fs::metadata(&self.path) {
            Ok(meta) => meta.ino() != self.at.inode,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => false,
            Err(fault) => return Err(fault),
        };
        if !new || meta.len() > self.read {
            return Ok(false);
        }
        // Its writer has gone to another file; the last line may lack its end.
        let file = Self::file(&self.path)?;
        let start = self.at.base + self.at.offset;
        self.lines.end(|_, line| each(start, line));
        self.at.base += self.read;
        self.at.offset = 0;
        self.take(file, 0)?;
        Ok(true)
    }

    fn begins_the_same(&mut self, file: &File) -> io::Result<bool> {
        let known = self.at.fingerprint.len() / 2;
        if fingerprint(file, known)? != self.at.fingerprint {
            return Ok(false);
        }
        if known < FINGERPRINT_BYTES {
            let longer = usize::try_from(self.read)
                .unwrap_or(FINGERPRINT_BYTES)
                .min(FINGERPRINT_BYTES);
            self.at.fingerprint = fingerprint(file, longer.max(known))?;
        }
        Ok(true)
    }
}

impl Input for Follow {
    fn poll(&mut self, each: &mut dyn FnMut(u64, &[u8])) -> io::Result<usize> {
        if self.file.is_none() && !self.open()? {
            return Ok(0);
        }
        // What was cut and has grown again must not be read from its middle.
        self.begin_anew()?;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut count = 0;
        let mut bytes = 0;
        while bytes < POLL_BYTES_MAX {
            let Some(file) = &mut self.file else { break };
            let read = file.read(&mut chunk)?;
            if read == 0 {
                if self.turn(&mut |at, line| {
                    count += 1;
                    each(at, line);
                })? {
                    continue;
                }
                break;
            }
            bytes += read;
            self.read += read as u64;
            let Position { base, offset, .. } = &mut self.at;
            self.lines.push(&chunk[..read], |took, line| {
                each(*base + *offset, line);
                *offset += took;
                count += 1;
            });
        }
        Ok(count)
    }

    fn commit(&mut self) -> io::Result<()> {
        let Some(kept) = self.kept.as_ref().filter(|_| self.begun) else {
            return Ok(());
        };
        let new = kept.with_extension("new");
        // The first bytes of a log are in it.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new);
        file?.write_all(&serde_json::to_vec(&self.at)?)?;
        fs::rename(&new, kept)
    }
}

fn fingerprint(file: &File, bytes: usize) -> io::Result<String> {
    use std::fmt::Write as _;
    let mut first = vec![0; bytes];
    let mut have = 0;
    while have < bytes {
        match file.read_at(&mut first[have..], have as u64)? {
            0 => break,
            read => have += read,
        }
    }
    let mut text = String::with_capacity(have * 2);
    for byte in &first[..have] {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn all(follow: &mut Follow) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        while follow
            .poll(&mut |at, line| found.push((at, String::from_utf8_lossy(line).into_owned())))
            .unwrap()
            > 0
        {}
        found
    }

    fn texts(follow: &mut Follow) -> Vec<String> {
        all(follow).into_iter().map(|(_, line)| line).collect()
    }

    struct Place {
        _dir: tempfile::TempDir,
        log: PathBuf,
        old: PathBuf,
        kept: PathBuf,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().join(name);
            Self {
                log: at("log"),
                old: at("log.1"),
                kept: at("kept.json"),
                _dir: dir,
            }
        }

        fn follow(&self) -> Follow {
            Follow::new(&self.log, Some(&self.kept), Start::Beginning, 1_000).unwrap()
        }
    }

    #[test]
    fn rotation_by_renaming_loses_nothing() {
        let place = Place::new();
        let mut follow = place.follow();
        assert_eq!(texts(&mut follow), [""; 0]);
        write(&place.log, "a\nb");
        assert_eq!(texts(&mut follow), ["a"]);
        write(&place.log, "b\n");
        assert_eq!(all(&mut follow), [(2, "bb".to_owned())]);
        fs::rename(&place.log, &place.old).unwrap();
        write(&place.old, "late\nhalf");
        assert_eq!(texts(&mut follow), ["late"]);
        write(&place.log, "new\n");
        assert_eq!(
            all(&mut follow),
            [(10, "half".to_owned()), (14, "new".to_owned())]
        );
    }

    #[test]
    fn rotation_by_truncation_goes_on_with_what_is_new() {
        let place = Place::new();
        let mut follow = place.follow();
        write(&place.log, "one\ntwo\n");
        assert_eq!(texts(&mut follow).len(), 2);
        fs::copy(&place.log, &place.old).unwrap();
        OpenOptions::new()
            .write(true)
            .open(&place.log)
            .unwrap()
            .set_len(0)
            .unwrap();
        write(&place.log, "three\n");
        assert_eq!(all(&mut follow), [(8, "three".to_owned())]);
        // Truncated, and longer than before when it is looked at.
        OpenOptions::new()
            .write(true)
            .open(&place.log)
            .unwrap()
            .set_len(0)
            .unwrap();
        write(&place.log, "a longer line than the one before\n");
        assert_eq!(texts(&mut follow), ["a longer line than the one before"]);
    }

    #[test]
    fn after_a_restart_lines_come_again_with_their_numbers() {
        let place = Place::new();
        let mut follow = place.follow();
        write(&place.log, "a\nb\nc\n");
        follow.poll(&mut |_, _| {}).unwrap();
        follow.commit().unwrap();
        write(&place.log, "d\ne\n");
        let seen = all(&mut follow);
        // Killed before it was committed.
        drop(follow);
        let mut follow = place.follow();
        assert_eq!(all(&mut follow), seen);
        follow.commit().unwrap();
        drop(follow);
        // Rotated while nobody was there.
        write(&place.log, "f\n");
        fs::rename(&place.log, &place.old).unwrap();
        write(&place.log, "g\n");
        assert_eq!(
            all(&mut place.follow()),
            [(10, "f".to_owned()), (12, "g".to_owned())]
        );
    }

    #[test]
    fn a_position_of_another_file_is_not_used() {
        let place = Place::new();
        write(&place.log, "aaaa\nbbbb\n");
        let mut follow = place.follow();
        all(&mut follow);
        follow.commit().unwrap();
        fs::remove_file(&place.log).unwrap();
        write(&place.log, "cccc\ndddd\neeee\n");
        assert_eq!(texts(&mut place.follow()), ["cccc", "dddd", "eeee"]);
        fs::write(&place.kept, "{\"inode\":").unwrap();
        assert_eq!(texts(&mut place.follow()).len(), 3);
        let mut end = Follow::new(&place.log, None, Start::End, 100).unwrap();
        write(&place.log, "f\n");
        assert_eq!(texts(&mut end), ["f"]);
    }

    #[test]
    fn all_of_a_file_that_comes_later_is_new() {
        let place = Place::new();
        let end = || Follow::new(&place.log, Some(&place.kept), Start::End, 100).unwrap();
        end().commit().unwrap();
        write(&place.log, "first\n");
        assert_eq!(texts(&mut end()), ["first"]);
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let place = Place::new();
        write(&place.log, "a\n");
        let mut follow = place.follow();
        assert_eq!(texts(&mut follow), ["a"]);
        fs::remove_file(&place.log).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &place.log, 0o600.into()).unwrap();
        let refused = follow.poll(&mut |_, _| {});
        assert!(refused.is_err_and(|fault| fault.to_string().contains("no file")));
        assert!(place.follow().poll(&mut |_, _| {}).is_err());
        // Nor is a directory read, and what comes after both is.
        fs::remove_file(&place.log).unwrap();
        fs::create_dir(&place.log).unwrap();
        for _ in 0..3 {
            assert!(follow.poll(&mut |_, _| {}).is_err());
        }
        fs::remove_dir(&place.log).unwrap();
        write(&place.log, "b\n");
        assert_eq!(all(&mut follow), [(2, "b".to_owned())]);
    }

    /// Nothing came before the restart, and something while nobody was there.
    #[test]
    fn the_end_is_that_of_the_first_start() {
        let place = Place::new();
        write(&place.log, "old\n");
        let end = || Follow::new(&place.log, Some(&place.kept), Start::End, 100).unwrap();
        end().commit().unwrap();
        write(&place.log, "new\n");
        assert_eq!(texts(&mut end()), ["new"]);
    }

    #[test]
    fn no_line_is_lost_over_many_rotations_and_restarts() {
        let place = Place::new();
        let mut follow = place.follow();
        let mut seen = std::collections::BTreeMap::new();
        let mut next = 0;
        for round in 0..300 {
            for _ in 0..round % 37 * 10 {
                write(&place.log, &format!("line {next}\n"));
                next += 1;
            }
            if round % 3 == 0 {
                follow
                    .poll(&mut |at, line| {
                        seen.insert(at, line.to_owned());
                    })
                    .unwrap();
            }
            match round % 10 {
                // Only one rotation may happen between two looks: the name of the one before the
                // last can't be found.
                4 if place.log.exists() => {
                    for (at, line) in all(&mut follow) {
                        seen.insert(at, line.into_bytes());
                    }
                    fs::rename(&place.log, &place.old).unwrap();
                }
                7 => follow.commit().unwrap(),
                9 => follow = place.follow(),
                _ => {}
            }
        }
        write(&place.log, "end\n");
        for (at, line) in all(&mut follow) {
            seen.insert(at, line.into_bytes());
        }
        let lines: Vec<String> = seen
            .into_values()
            .map(|line| String::from_utf8(line).unwrap())
            .collect();
        let expected: Vec<String> = (0..next)
            .map(|n| format!("line {n}"))
            .chain(["end".to_owned()])
            .collect();
        assert!(lines == expected, "{} of {}", lines.len(), expected.len());
    }
}
