//! The whole record, read back.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::head::{HEADS_FILE, PUBLIC_KEY_FILE, public_key};
use super::log::{file_name, files};
use super::{ENTRY_BYTES_MAX, Entry, Event, Hash, Head};

/// What reading the record back has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many entries there are.
    pub entries: u64,
    /// How many heads with a good signature there are.
    pub heads: u64,
    /// How often a crash left half a line behind that was cut off.
    pub repairs: u64,
    /// What is wrong; nothing, if the record is whole.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In which file.
    pub file: PathBuf,
    /// In which line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The line does not say what it said.
    #[error("{0}")]
    Edited(String),
    /// The line does not follow the one before it.
    #[error("entry {found} stands where {expected} should: entries were removed or moved")]
    OutOfOrder {
        /// The number that should be there.
        expected: u64,
        /// The number that is there.
        found: u64,
    },
    /// The line names another line as the one before it.
    #[error("it does not continue the line before it: that one was replaced")]
    Unchained,
    /// The last line has no end, as after a crash; opening the record repairs it.
    #[error("the last line is not whole: a crash interrupted it; start the worker to repair it")]
    HalfLine,
    /// The record once was longer.
    #[error(
        "a head was signed over entry {signed} and the record ends at {last}: its end was cut off"
    )]
    Truncated {
        /// The entry that was signed.
        signed: u64,
        /// The last entry there is.
        last: u64,
    },
    /// A head names another hash for an entry.
    #[error("the signed head of entry {0} names another hash: the record was written anew")]
    Rewritten(u64),
    /// A head that the key did not sign.
    #[error("the head is not signed by the key in {PUBLIC_KEY_FILE}")]
    BadHead,
    /// A file of the record is not there.
    #[error("the file {0} is missing")]
    MissingFile(String),
    /// Without the key no head can be checked.
    #[error("there is no public key, so that a cut end can't be found")]
    NoKey,
    /// There is no head, so that a cut end can't be found.
    #[error("there is no signed head, so that a cut end can't be found")]
    NoHead,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}, line {}: {}",
            self.file.display(),
            self.line,
            self.problem
        )
    }
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Reads a record back and says everything that is wrong with it. It may be open for appending.
///
/// # Errors
/// If a file can't be read.
pub fn verify(directory: &Path) -> io::Result<Report> {
    // The heads first: what is appended meanwhile only makes the record longer than they say.
    let heads = read_heads(directory)?;
    let mut chain = Chain {
        hashes: vec![Some(Hash::ZERO)],
        report: Report {
            entries: 0,
            heads: 0,
            repairs: 0,
            findings: Vec::new(),
        },
        file: directory.into(),
        line: 0,
    };
    let files = files(directory)?;
    for (at, (number, path)) in files.iter().enumerate() {
        chain.missing(directory, at as u64 + 1, *number);
        chain.file(path, at + 1 == files.len())?;
    }
    if files.is_empty() {
        chain.missing(directory, 1, 2);
    }
    chain.heads(directory, heads);
    Ok(chain.report)
}

/// The record as far as it was read.
struct Chain {
    /// By the number of the entry; the first is before all entries. None where the entry is not
    /// known, which is found once and not again with every entry after it.
    hashes: Vec<Option<Hash>>,
    report: Report,
    file: PathBuf,
    line: usize,
}

impl Chain {
    fn find(&mut self, problem: Problem) {
        self.report.findings.push(Finding {
            file: self.file.clone(),
            line: self.line,
            problem,
        });
    }

    fn missing(&mut self, directory: &Path, expected: u64, found: u64) {
        // One finding for a gap is enough; those after it would only repeat it.
        let first_gap = !self
            .report
            .findings
            .iter()
            .any(|finding| matches!(finding.problem, Problem::MissingFile(_)));
        if found != expected && first_gap {
            self.file = directory.into();
            self.line = 0;
            self.find(Problem::MissingFile(file_name(expected)));
        }
    }

    fn file(&mut self, path: &Path, is_last: bool) -> io::Result<()> {
        self.file = path.into();
        self.line = 0;
        let mut reader = BufReader::new(File::open(path)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let most = ENTRY_BYTES_MAX as u64 + 1;
            let bytes = reader.by_ref().take(most).read_until(b'\n', &mut line)?;
            if bytes == 0 {
                return Ok(());
            }
            self.line += 1;
            let whole = line.pop_if(|last| *last == b'\n').is_some();
            if !whole && is_last && bytes as u64 != most {
                self.find(Problem::HalfLine);
                return Ok(());
            }
            self.entry(&line);
        }
    }

    fn entry(&mut self, line: &[u8]) {
        let text = str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned());
        let entry = match text.and_then(Entry::read) {
            Ok(entry) => entry,
            Err(what) => return self.skip(what),
        };
        let expected = self.hashes.len() as u64;
        if entry.seq != expected {
            self.find(Problem::OutOfOrder {
                expected,
                found: entry.seq,
            });
        } else if self
            .hashes
            .last()
            .copied()
            .flatten()
            .is_some_and(|last| last != entry.previous)
        {
            self.find(Problem::Unchained);
        }
        if matches!(entry.event, Event::Repaired { .. }) {
            self.report.repairs += 1;
        }
        self.report.entries += 1;
        // After a gap the chain is followed from where it goes on, so that each gap is found once.
        let gap = usize::try_from(entry.seq.saturating_sub(expected)).unwrap_or(usize::MAX);
        if gap > 0 && gap < 1 << 20 {
            self.hashes.extend(std::iter::repeat_n(None, gap));
        }
        self.hashes.push(Some(entry.hash));
    }

    /// A line that can't be read still has its place.
    fn skip(&mut self, what: String) {
        self.find(Problem::Edited(what));
        self.hashes.push(None);
    }

    fn heads(&mut self, directory: &Path, heads: Vec<Vec<u8>>) {
        self.file = directory.join(HEADS_FILE);
        self.line = 0;
        let Some(key) = public_key(directory) else {
            return self.find(Problem::NoKey);
        };
        let last = self.hashes.len() as u64 - 1;
        for text in heads {
            self.line += 1;
            if text.last() != Some(&b'\n') {
                self.find(Problem::HalfLine);
                continue;
            }
            let head = serde_json::from_slice::<Head>(&text)
                .ok()
                .filter(|head| head.is_signed_by(&key));
            let Some(head) = head else {
                self.find(Problem::BadHead);
                continue;
            };
            self.report.heads += 1;
            let at = usize::try_from(head.seq).ok();
            match at.and_then(|at| self.hashes.get(at)) {
                None => self.find(Problem::Truncated {
                    signed: head.seq,
                    last,
                }),
                Some(Some(hash)) if *hash != head.hash => self.find(Problem::Rewritten(head.seq)),
                Some(_) => {}
            }
        }
        if self.report.heads == 0 {
            self.find(Problem::NoHead);
        }
    }
}

/// The lines with their ends.
fn read_heads(directory: &Path) -> io::Result<Vec<Vec<u8>>> {
    let file = match File::open(directory.join(HEADS_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file);
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(lines);
        }
        lines.push(line);
    }
}
