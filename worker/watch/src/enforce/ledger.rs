//! What is blocked, on the disk: each line is flushed before the firewall is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::Path;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Change, Measure};
use crate::action::Kind;
use crate::journal::Journal;
use crate::time::Timestamp;

/// With more lines than that, and mostly old ones, the file is written anew.
const LINES_MAX: usize = 20_000;

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

impl Block {
    /// That it is ended.
    pub(super) fn undone(&self) -> Entry {
        Entry::Undo { id: self.id }
    }

    /// What ends it.
    pub(super) fn removed(&self) -> Change {
        Change::Remove {
            measure: self.measure,
            net: self.net,
        }
    }

    /// What makes it.
    pub(super) fn put(&self, ttl_s: u32) -> Change {
        Change::Put {
            measure: self.measure,
            net: self.net,
            ttl_s,
        }
    }

    /// Seconds that are left of it, at least one.
    pub(super) fn left_s(&self, now: Timestamp) -> u32 {
        let left = (self.until.seconds() - now.seconds()).max(1);
        u32::try_from(left).unwrap_or(u32::MAX)
    }
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
    journal: Journal<Entry>,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    blocks: BTreeMap<BlockId, Block>,
    confirmed: BTreeSet<String>,
    next: u64,
}

impl Ledger {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut state = State::default();
        let journal = Journal::open(path, |entry| state.apply(entry))?;
        Ok(Self { journal, state })
    }

    /// All of them, or none.
    pub(super) fn write(&mut self, entries: Vec<Entry>) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let lines = self.journal.lines();
        if lines >= LINES_MAX && lines > self.state.blocks.len() * 4 {
            self.rewrite()?;
        }
        self.journal.write(&entries)?;
        for entry in entries {
            self.state.apply(entry);
        }
        Ok(())
    }

    /// Leaves out what is over.
    fn rewrite(&mut self) -> io::Result<()> {
        let rules = self
            .state
            .confirmed
            .iter()
            .map(|rule| Entry::Confirm { rule: rule.clone() });
        let blocks = self.state.blocks.values().cloned().map(Entry::Add);
        self.journal.rewrite(rules.chain(blocks))
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
