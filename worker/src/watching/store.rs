//! Incidents on the disk: each judgement is a line that is flushed before anybody is told.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use fazai_watch::Category;
use fazai_watch::journal::Journal;
use serde::{Deserialize, Serialize};

use super::feed::RING_MAX;
use super::record::{Closed, Record};

/// Incidents that are kept; the oldest go first.
const KEPT_MAX: usize = 1_000;

/// How many of them may be of users who do not administer the worker, while there are others.
const STRANGERS_MAX: usize = KEPT_MAX / 4;

/// What people said of incidents; the oldest go first.
const PARDONS_MAX: usize = 1_000;

/// A file that is longer is written anew.
const LINES_MAX: usize = 8_000;

/// The same, in bytes.
const BYTES_MAX: u64 = 32 << 20;

/// A line of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Entry {
    /// An incident was judged, for the first time or again.
    Judged(Box<Record>),
    /// A person ended it.
    Closed { id: u64, closed: Closed },
    /// A person called it a false positive.
    Pardon(Pardon),
    /// A person called something like it real: these no longer hold.
    Lift { ids: Vec<u64> },
}

/// What is no reason to block any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pardon {
    /// The incident that was none.
    id: u64,
    category: Category,
    who: String,
    signatures: Vec<String>,
}

impl Pardon {
    fn of(record: &Record) -> Self {
        Self {
            id: record.id,
            category: record.category,
            who: record.who(),
            signatures: record.signatures().map(str::to_owned).collect(),
        }
    }

    /// The same done by the same, or the same rules of a sensor and no others.
    fn fits(&self, record: &Record) -> bool {
        let one = record.actor.is_some() || !record.subject.is_empty();
        let same = one && self.category == record.category && self.who == record.who();
        // Nothing else may be in it: who triggers a rule that is known as noise is not excused.
        let known = |name: &str| self.signatures.iter().any(|known| known == name);
        let rules = record.incident["rules"].as_array().map_or(0, Vec::len);
        let noise = record.signatures().filter(|name| known(name)).count();
        same || rules > 0 && noise == rules
    }
}

/// All incidents that are kept.
pub(crate) struct Store {
    journal: Journal<Entry>,
    kept: Kept,
}

#[derive(Default)]
struct Kept {
    records: BTreeMap<u64, Arc<Record>>,
    pardons: Vec<Pardon>,
    /// Numbers that were used.
    id: u64,
    seq: u64,
}

impl Kept {
    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Judged(record) => self.insert(Arc::new(*record)),
            Entry::Closed { id, closed } => {
                if let Some(record) = self.records.get_mut(&id) {
                    Arc::make_mut(record).closed = Some(closed);
                }
            }
            Entry::Pardon(pardon) => {
                self.pardons.push(pardon);
                if self.pardons.len() > PARDONS_MAX {
                    self.pardons.remove(0);
                }
            }
            Entry::Lift { ids } => self.pardons.retain(|known| !ids.contains(&known.id)),
        }
    }

    fn insert(&mut self, record: Arc<Record>) {
        self.id = self.id.max(record.id);
        self.seq = self.seq.max(record.seq);
        self.records.insert(record.id, record);
        while self.records.len() > KEPT_MAX {
            // What strangers bring pushes out what strangers brought.
            let mut strangers = self.records.values().filter(|record| !record.trusted);
            let first = strangers.next().map(|record| record.id);
            let many = strangers.count() >= STRANGERS_MAX;
            match first.filter(|_| many) {
                Some(id) => self.records.remove(&id).map(drop),
                None => self.records.pop_first().map(drop),
            };
        }
    }
}

impl Store {
    /// Opens the file, which no other process may have open.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut kept = Kept::default();
        let journal = Journal::open(path, |entry| kept.apply(entry))?;
        Ok(Self { journal, kept })
    }

    /// The largest numbers of an incident and of a judgement so far.
    pub(super) fn last(&self) -> (u64, u64) {
        (self.kept.id, self.kept.seq)
    }

    /// The latest judgement of each, in their order, as many as a feed keeps.
    pub(super) fn latest(&self) -> Vec<Arc<Record>> {
        let mut all: Vec<Arc<Record>> = self.kept.records.values().cloned().collect();
        all.sort_by_key(|record| record.seq);
        all.split_off(all.len().saturating_sub(RING_MAX))
    }

    /// Numbers new judgements and keeps them. If the disk is full they are kept in memory alone.
    pub(super) fn add(&mut self, records: &mut [Record]) -> (Vec<Arc<Record>>, io::Result<()>) {
        for record in records.iter_mut() {
            self.kept.seq += 1;
            record.seq = self.kept.seq;
            let before = self.kept.records.get(&record.id);
            // One that got worse is open again.
            record.closed = before
                .filter(|before| before.severity >= record.severity)
                .and_then(|before| before.closed.clone());
        }
        let entries: Vec<Entry> = records
            .iter()
            .map(|record| Entry::Judged(Box::new(record.clone())))
            .collect();
        let written = self.write(&entries);
        let added: Vec<Arc<Record>> = records.iter().cloned().map(Arc::new).collect();
        for record in &added {
            self.kept.insert(Arc::clone(record));
        }
        (added, written)
    }

    fn write(&mut self, entries: &[Entry]) -> io::Result<()> {
        if self.journal.lines() >= LINES_MAX || self.journal.bytes()? >= BYTES_MAX {
            let pardons = self.kept.pardons.iter().cloned().map(Entry::Pardon);
            let records = self.kept.records.values();
            let records = records.map(|record| Entry::Judged(Box::new(Record::clone(record))));
            self.journal.rewrite(pardons.chain(records))?;
        }
        self.journal.write(entries)
    }

    /// An incident.
    pub(crate) fn get(&self, id: u64) -> Option<Arc<Record>> {
        self.kept.records.get(&id).cloned()
    }

    /// All, the newest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.kept.records.values().rev()
    }

    /// The one like it that a person called a false positive.
    pub(super) fn pardoned(&self, record: &Record) -> Option<u64> {
        let pardons = self.kept.pardons.iter().rev();
        let mut fitting = pardons.filter(|pardon| pardon.fits(record));
        fitting.next().map(|pardon| pardon.id)
    }

    /// Ends an incident: what is like a false positive is blocked by no rule, until one like it is
    /// closed as real.
    pub(crate) fn close(&mut self, record: &Record, closed: Closed) -> io::Result<()> {
        let fitting = self
            .kept
            .pardons
            .iter()
            .filter(|pardon| pardon.fits(record));
        let ids: Vec<u64> = fitting.map(|pardon| pardon.id).collect();
        let id = record.id;
        let word = if closed.false_positive {
            Some(Entry::Pardon(Pardon::of(record)))
        } else {
            (!ids.is_empty()).then_some(Entry::Lift { ids })
        };
        let entries: Vec<Entry> = word
            .into_iter()
            .chain([Entry::Closed { id, closed }])
            .collect();
        self.write(&entries)?;
        for entry in entries {
            self.kept.apply(entry);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::example;
    use super::*;

    fn record(id: u64, actor: &str) -> Record {
        Record {
            seq: 0,
            ..example(id, Some(actor))
        }
    }

    fn closed(false_positive: bool) -> Closed {
        Closed {
            by: "uid 0".to_owned(),
            time: String::new(),
            false_positive,
            note: String::new(),
        }
    }

    #[test]
    fn so_many_are_kept_and_what_people_said_outlives_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("incidents.jsonl");
        let mut store = Store::open(&path).expect("it opens");
        let (added, written) = store.add(&mut [record(1, "203.0.113.1")]);
        written.expect("written");
        store.close(&added[0], closed(true)).expect("closed");
        let many = LINES_MAX as u64 + 500;
        for first in (2..many).step_by(250) {
            let mut records: Vec<Record> = (first..first + 250)
                .map(|id| record(id, "203.0.113.2"))
                .collect();
            store.add(&mut records).1.expect("written");
        }
        let last = store.last();
        drop(store);
        let store = Store::open(&path).expect("it opens");
        assert_eq!(store.last(), last);
        assert_eq!(store.all().count(), KEPT_MAX);
        assert!(store.get(1).is_none());
        assert_eq!(store.pardoned(&record(9, "203.0.113.1")), Some(1));
        assert_eq!(store.pardoned(&record(9, "203.0.113.2")), None);
        assert!(store.journal.lines() < LINES_MAX);
        assert_eq!(store.latest().len(), RING_MAX);
    }

    #[test]
    fn strangers_push_out_what_strangers_brought() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut store = Store::open(&dir.path().join("incidents.jsonl")).expect("it opens");
        store
            .add(&mut [record(1, "203.0.113.1")])
            .1
            .expect("written");
        let stranger = |id| Record {
            trusted: false,
            ..record(id, "203.0.113.2")
        };
        let mut many: Vec<Record> = (2..KEPT_MAX as u64 * 2).map(stranger).collect();
        store.add(&mut many).1.expect("written");
        assert_eq!(store.all().count(), KEPT_MAX);
        assert!(store.get(1).is_some());
        assert!(store.get(2).is_none());
    }

    #[test]
    fn one_that_was_closed_and_gets_worse_is_open_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("incidents.jsonl");
        let mut store = Store::open(&path).expect("it opens");
        let (added, _) = store.add(&mut [record(1, "203.0.113.1")]);
        store.close(&added[0], closed(false)).expect("closed");
        let (grown, _) = store.add(&mut [record(1, "203.0.113.1")]);
        assert!(grown[0].closed.is_some());
        let worse = Record {
            severity: fazai_watch::Severity::High,
            ..record(1, "203.0.113.1")
        };
        let (worse, _) = store.add(&mut [worse]);
        assert!(worse[0].closed.is_none());
        drop(store);
        let store = Store::open(&path).expect("it opens");
        assert!(store.get(1).expect("kept").closed.is_none());
    }
}
