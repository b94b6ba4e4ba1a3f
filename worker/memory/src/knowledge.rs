//! Learning and forgetting: what is added only once, what use says about it, and what goes first
//! when there is too much.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Result, invalid};
use crate::filter::Filter;
use crate::index::Doc;
use crate::memory::Memory;
use crate::record::{Id, Kind, Metadata, Namespace, Payload, Record, Status, digest};
use crate::search::Warning;
use crate::store::{BATCH_MAX, Collection};
use crate::text;

/// From this cosine on two texts are near each other.
const NEAR_COSINE: f32 = 0.97;
/// From this share of common words on, too: long ones that differ in a word or two have it.
const NEAR_LIKENESS: f64 = 0.85;
/// How many records with the same words are compared.
const NEAR_CANDIDATES: usize = 3;
/// How much of a text looks for records like it.
const NEAR_QUERY_BYTES: usize = 2 << 10;

/// Something to remember.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it says.
    pub text: String,
    /// A line that says what it is about.
    #[serde(default)]
    pub title: String,
    /// What went wrong.
    #[serde(default)]
    pub problem: Option<String>,
    /// What helped.
    #[serde(default)]
    pub solution: Option<String>,
    /// Words to filter by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Where it is from.
    #[serde(default)]
    pub source: String,
    /// The distribution that it holds for.
    #[serde(default)]
    pub distro: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// Whose it is.
    pub namespace: Namespace,
    /// From when on it is not found any more.
    #[serde(default)]
    pub expires: Option<Timestamp>,
    /// The operation that adds it, such as `commitKB`.
    pub action: String,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "result", content = "id", rename_all = "snake_case")]
pub enum Committed {
    /// It is there now.
    Added(Id),
    /// Just this was there already.
    Same(Id),
    /// The same, but for case, punctuation and articles, was there already.
    Near(Id),
}

/// What became of an entry, and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// What became of it.
    #[serde(flatten)]
    pub committed: Committed,
    /// A record that says almost the same, such as what this one corrects; both are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near: Option<Id>,
    /// Why it is found by its words alone.
    #[serde(skip)]
    pub warning: Option<Warning>,
}

/// What the garbage collector removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct GcReport {
    /// Records that were over.
    pub expired: usize,
    /// Records that had to make room.
    pub evicted: usize,
    /// What is left, in bytes.
    pub bytes: u64,
}

impl Entry {
    /// A text, with nothing else said about it.
    pub fn new(namespace: Namespace, kind: Kind, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            title: String::new(),
            problem: None,
            solution: None,
            tags: Vec::new(),
            source: String::new(),
            distro: None,
            kind,
            namespace,
            expires: None,
            action: "commitKB".into(),
        }
    }

    /// The record of it, checked.
    pub(crate) fn into_record(mut self, now: Timestamp) -> Result<Record> {
        // Where only the problem is described, that is the text.
        if self.text.trim().is_empty() {
            let parts = [self.problem.as_deref(), self.solution.as_deref()];
            self.text = parts.into_iter().flatten().collect::<Vec<_>>().join("\n");
        }
        let content_hash = self.content_hash();
        let payload = Payload {
            content_hash,
            text: self.text,
            title: self.title,
            problem: self.problem,
            solution: self.solution,
            tags: self.tags,
            source: self.source,
            distro: self.distro,
            kind: self.kind,
            status: Status::Active,
            usage_count: 0,
            success_rate: 0.0,
            namespace: self.namespace,
            created: now,
            expires: self.expires,
            metadata: Metadata {
                action: self.action,
                timestamp: now,
            },
        };
        payload.check()?;
        let id = Id::of(&payload.namespace, &payload.content_hash);
        Ok(Record {
            id,
            payload,
            vector: None,
        })
    }

    /// The hash of what it says; white space says nothing. A piece of a document belongs to its
    /// document, so that one that changes takes nothing away from others.
    fn content_hash(&self) -> String {
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let source = match self.kind {
            Kind::Document => self.source.as_str(),
            _ => "",
        };
        let parts = [
            self.kind.as_str(),
            source,
            &plain(&self.title),
            &plain(self.problem.as_deref().unwrap_or_default()),
            &plain(self.solution.as_deref().unwrap_or_default()),
            &plain(&self.text),
        ];
        hex::encode(digest(&parts))
    }
}

impl Kind {
    /// Where records of this kind are kept.
    #[must_use]
    pub fn collection(self) -> Collection {
        match self {
            Self::Personality | Self::Preference | Self::Episode => Collection::Memory,
            Self::Note | Self::Problem | Self::Document => Collection::Knowledge,
        }
    }
}

impl Memory {
    /// Remembers something, unless it is known; then it adds its tags to what is known. A model that
    /// gives no vector for it loses nothing: it is found by its words.
    pub fn commit(&self, entry: Entry) -> Result<Commit> {
        let now = Timestamp::now();
        let mut records = [entry.into_record(now)?];
        self.make_ready()?;
        let [Record { id, payload, .. }] = &records;
        let (id, collection) = (*id, payload.kind.collection());
        let tags = payload.tags.clone();
        let is_known = || {
            self.index(collection)
                .doc(id)
                .is_some_and(|doc| doc.is_good(now))
        };
        // Others need not wait for the embedding model; so they may add it meanwhile.
        let fault = match is_known() {
            true => None,
            false => self.embed(&mut records),
        };
        let _writes = self.write();
        let (known, near) = match is_known() {
            true => (Some(Committed::Same(id)), None),
            false => match self.nearest(collection, &records[0], now)? {
                Some((twin, true)) => (Some(Committed::Near(twin)), None),
                near => (None, near.map(|(near, _)| near)),
            },
        };
        if let Some(committed @ (Committed::Same(id) | Committed::Near(id))) = known {
            self.add_tags(collection, &[id], &tags)?;
            return Ok(Commit {
                committed,
                near: None,
                warning: None,
            });
        }
        self.insert(collection, &records)?;
        Ok(Commit {
            committed: Committed::Added(id),
            near,
            warning: fault.map(|fault| Warning::NoVector {
                why: fault.to_string(),
            }),
        })
    }

    /// Gives records the tags that they don't have yet; answers how many lacked some. Whoever calls
    /// this holds `write`.
    pub(crate) fn add_tags(
        &self,
        collection: Collection,
        ids: &[Id],
        tags: &[String],
    ) -> Result<usize> {
        if tags.is_empty() || ids.is_empty() {
            return Ok(0);
        }
        let mut records = Vec::new();
        for ids in ids.chunks(BATCH_MAX) {
            records.extend(self.store.get(collection, ids)?);
        }
        records.retain_mut(|record| {
            let own = &mut record.payload.tags;
            let before = own.len();
            for tag in tags {
                if !own.contains(tag) {
                    own.push(tag.clone());
                }
            }
            own.len() > before
        });
        for record in &records {
            record.payload.check()?;
        }
        self.insert(collection, &records)?;
        Ok(records.len())
    }

    /// Counts that a record was used, and whether it helped.
    pub fn mark(&self, filter: &Filter, id: Id, success: bool) -> Result<Payload> {
        self.make_ready()?;
        let _writes = self.write();
        let (collection, mut record) = self.find(filter, id)?;
        record.payload.mark(success);
        self.insert(collection, std::slice::from_ref(&record))?;
        Ok(record.payload)
    }

    /// Keeps a record, and finds it no more; or finds it again.
    pub fn set_status(&self, filter: &Filter, id: Id, status: Status) -> Result<()> {
        self.make_ready()?;
        let _writes = self.write();
        let (collection, mut record) = self.find(filter, id)?;
        record.payload.status = status;
        self.insert(collection, &[record])
    }

    /// Forgets a record.
    pub fn remove(&self, filter: &Filter, id: Id) -> Result<()> {
        self.make_ready()?;
        let _writes = self.write();
        let (collection, _) = self.find(filter, id)?;
        self.delete(collection, &[id])
    }

    /// Removes what is over. If more than `high_bytes` are left, removes what was of least use
    /// until `low_bytes` are. Personalities and preferences stay until they are over.
    pub fn gc(&self, high_bytes: u64, low_bytes: u64) -> Result<GcReport> {
        if low_bytes > high_bytes {
            let why = format!("is {low_bytes}, more than the high one's {high_bytes}");
            return Err(invalid("low_bytes", why));
        }
        self.make_ready()?;
        let _writes = self.write();
        let (mut report, now) = (GcReport::default(), Timestamp::now());
        let mut left: Vec<(Collection, Doc)> = Vec::new();
        for collection in Collection::ALL {
            let docs: Vec<Doc> = self.index(collection).docs().cloned().collect();
            let over = |doc: &&Doc| doc.is_over(now);
            let expired: Vec<Id> = docs.iter().filter(over).map(|doc| doc.id).collect();
            self.delete(collection, &expired)?;
            report.expired += expired.len();
            let good = docs.into_iter().filter(|doc| !doc.is_over(now));
            left.extend(good.map(|doc| (collection, doc)));
        }
        report.bytes = left.iter().map(|(_, doc)| doc.bytes).sum();
        if report.bytes > high_bytes {
            self.evict(left, low_bytes, &mut report)?;
        }
        self.store.compact()?;
        Ok(report)
    }

    fn evict(
        &self,
        mut left: Vec<(Collection, Doc)>,
        low_bytes: u64,
        report: &mut GcReport,
    ) -> Result<()> {
        left.retain(|(_, doc)| !matches!(doc.kind, Kind::Personality | Kind::Preference));
        left.sort_by(|(_, one), (_, other)| {
            one.worth()
                .total_cmp(&other.worth())
                .then(one.created.cmp(&other.created))
        });
        let mut gone: [(Collection, Vec<Id>); 2] = Collection::ALL.map(|each| (each, Vec::new()));
        for (collection, doc) in left {
            if report.bytes <= low_bytes {
                break;
            }
            report.bytes -= doc.bytes;
            report.evicted += 1;
            let ids = gone.iter_mut().find(|(each, _)| *each == collection);
            ids.into_iter().for_each(|(_, ids)| ids.push(doc.id));
        }
        gone.iter()
            .try_for_each(|(collection, ids)| self.delete(*collection, ids))
    }

    /// The record of the same kind and namespace that is nearest, if one is near, and whether it
    /// says just the same. Near is not the same: a correction differs by one word from what it
    /// corrects, and may mean the opposite.
    fn nearest(
        &self,
        collection: Collection,
        record: &Record,
        now: Timestamp,
    ) -> Result<Option<(Id, bool)>> {
        let mut filter = Filter::of(record.payload.namespace.clone());
        (filter.kind, filter.now) = (Some(record.payload.kind), now);
        let own = record.payload.embedded_text();
        let mut near: Vec<Id> = Vec::new();
        if let Some(vector) = &record.vector {
            let found = self
                .store
                .nearest(collection, vector, NEAR_CANDIDATES, &filter)?;
            let found = found.iter().filter(|scored| scored.score > NEAR_COSINE);
            near.extend(found.map(|scored| scored.record.id));
        }
        let start = &own[..own.floor_char_boundary(NEAR_QUERY_BYTES)];
        let alike = self
            .index(collection)
            .search(start, NEAR_CANDIDATES, &filter);
        let alike: Vec<Id> = alike.into_iter().map(|found| found.id).collect();
        let mut texts = self.payloads(collection, &alike)?;
        texts.retain(|_, other| text::likeness(&own, &other.embedded_text()) >= NEAR_LIKENESS);
        near.extend(alike.iter().filter(|id| texts.contains_key(id)));
        texts.extend(self.payloads(collection, &near)?);
        let says_the_same = |id: &&Id| {
            let other = texts.get(id).map(Payload::embedded_text);
            other.is_some_and(|other| text::says_the_same(&own, &other))
        };
        let twin = near.iter().find(says_the_same).map(|id| (*id, true));
        Ok(twin.or_else(|| near.first().map(|id| (*id, false))))
    }
}

impl Doc {
    fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    fn is_good(&self, now: Timestamp) -> bool {
        self.status == Status::Active && !self.is_over(now)
    }

    /// What would be lost with it: nothing if it is retired, more with each use that worked.
    fn worth(&self) -> f32 {
        match self.status {
            Status::Retired => -1.0,
            Status::Active => self.success_rate * (1.0 + self.usage_count as f32).ln(),
        }
    }
}
