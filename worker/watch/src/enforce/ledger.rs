//! What is blocked, on the disk: lines of JSON, each flushed before the firewall is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::Measure;
use crate::action::Kind;
use crate::time::Timestamp;

/// With more lines than that, and mostly old ones, the file is written anew.
const LINES_MAX: usize = 20_000;

/// A larger file is none of ours.
const BYTES_MAX: u64 = 64 << 20;

/// The number of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockId(pub u64);

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Something that was done to somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its number.
    pub id: BlockId,
    /// What was done.
    pub kind: Kind,
    /// What is done to packets.
    pub measure: Measure,
    /// To whom.
    pub net: IpNet,
    /// By which rule.
    pub rule: String,
    /// For which incident.
    pub incident: String,
    /// Since when.
    #[serde(with = "micros")]
    pub since: Timestamp,
    /// Until when.
    #[serde(with = "micros")]
    pub until: Timestamp,
    /// Whether a person has confirmed blocks by this rule.
    pub confirmed: bool,
}

mod micros {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::time::Timestamp;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    pub(super) fn serialize<S: Serializer>(
        time: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp)
    }
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum Entry {
    /// A block is made, or replaces the one with its number.
    Add(Block),
    /// A block is ended.
    Undo { id: BlockId },
    /// Blocks by a rule are right.
    Confirm { rule: String },
}

#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    lines: usize,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    blocks: BTreeMap<BlockId, Block>,
    confirmed: BTreeSet<String>,
    next: u64,
}

impl Ledger {
    /// Opens it, or makes one. Half a line at the end was never acknowledged, and is cut.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
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
        let mut ledger = Self {
            path: path.to_owned(),
            file,
            lines: 0,
            state: State::default(),
        };
        for line in text[..whole]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let entry = serde_json::from_slice(line).map_err(|fault| {
                let at = ledger.lines + 1;
                io::Error::other(format!(
                    "{}, line {at} is damaged: {fault}; restore or remove it",
                    path.display()
                ))
            })?;
            ledger.state.apply(entry);
            ledger.lines += 1;
        }
        ledger.file.set_len(whole as u64)?;
        ledger.file.seek(SeekFrom::End(0))?;
        Ok(ledger)
    }

    pub(super) fn write(&mut self, entry: &Entry) -> io::Result<()> {
        if self.lines >= LINES_MAX && self.lines > self.state.blocks.len() * 4 {
            self.rewrite()?;
        }
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let before = self.file.stream_position()?;
        if let Err(fault) = self
            .file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
        {
            // A full disk must not leave half a line in the middle.
            self.file.set_len(before)?;
            self.file.seek(SeekFrom::Start(before))?;
            return Err(fault);
        }
        self.lines += 1;
        self.state.apply(serde_json::from_slice(&line)?);
        Ok(())
    }

    /// Leaves out what is over.
    fn rewrite(&mut self) -> io::Result<()> {
        let now = Timestamp::now();
        self.state.blocks.retain(|_, block| block.until > now);
        let rules = self
            .state
            .confirmed
            .iter()
            .map(|rule| Entry::Confirm { rule: rule.clone() });
        let blocks = self.state.blocks.values().cloned().map(Entry::Add);
        let new = self.path.with_extension("new");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&new)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let mut lines = 0;
        for entry in rules.chain(blocks) {
            serde_json::to_writer(&mut file, &entry)?;
            file.write_all(b"\n")?;
            lines += 1;
        }
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        self.file = file;
        self.lines = lines;
        Ok(())
    }

    pub(super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.state.blocks.values()
    }

    pub(super) fn is_confirmed(&self, rule: &str) -> bool {
        self.state.confirmed.contains(rule)
    }

    pub(super) fn next_id(&self) -> BlockId {
        BlockId(self.state.next + 1)
    }
}

impl State {
    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Add(block) => {
                self.next = self.next.max(block.id.0);
                self.blocks.insert(block.id, block);
            }
            Entry::Undo { id } => {
                self.blocks.remove(&id);
            }
            Entry::Confirm { rule } => {
                self.confirmed.insert(rule);
            }
        }
    }
}
