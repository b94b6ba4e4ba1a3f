//! What a worker opens: the store, the words of what it holds, and the embedding model, together.
//!
//! A store in this process is always there. A server may be away: then the memory opens all the
//! same, finds what it has by the words that it knows, and says so.

mod words;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::sync::{TryLockError, atomic::AtomicBool, atomic::Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::embed::{Checked, Embedder};
use crate::error::{MemoryError, Result};
use crate::filter::Filter;
use crate::index::{Doc, Index};
use crate::ingest::IngestOptions;
use crate::record::{Id, Kind, Namespace, Payload, Record};
use crate::search::{self, Found, FoundBy, Hit, Warning};
use crate::store::embedded::Embedded;
use crate::store::{BATCH_MAX, Collection, Scored, Store};

/// How many texts an embedding model gets at once.
pub(crate) const EMBED_BATCH: usize = 64;
/// How long a search waits for the meaning of its question; then it goes on by words alone.
const QUERY_TIME_MAX: Duration = Duration::from_secs(3);

/// Where the records are.
#[derive(Debug, Clone)]
pub enum Backend {
    /// In a directory; made with 0700 if it is not there.
    Embedded(PathBuf),
    /// On a Qdrant server.
    #[cfg(feature = "server")]
    Server(crate::store::server::ServerOptions),
}

/// How a memory is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the records are.
    pub backend: Backend,
    /// A directory of personalities as TOML files, if there is one.
    pub personalities: Option<PathBuf>,
    /// The most records of a collection.
    pub records_max: usize,
}

/// What is in a collection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// All records.
    pub records: usize,
    /// Those that are found by meaning too.
    pub with_vector: usize,
    /// Those that are over and wait for the garbage collector.
    pub expired: usize,
    /// What they take, roughly.
    pub bytes: u64,
}

/// The memory of a worker. Everything may be called from any thread, and blocks.
pub struct Memory {
    pub(crate) store: Box<dyn Store>,
    pub(crate) embedder: Option<Checked>,
    pub(crate) personalities: Option<PathBuf>,
    indexes: [RwLock<Index>; 2],
    /// Whoever looks whether something is there before adding it holds this meanwhile.
    writes: Mutex<()>,
    opening: Mutex<()>,
    ready: AtomicBool,
    records_max: usize,
}

impl Backend {
    /// The store itself, for [`migrate`](crate::portable::migrate).
    pub fn open(&self) -> Result<Box<dyn Store>> {
        Ok(match self {
            Self::Embedded(directory) => Box::new(Embedded::open(directory)?),
            #[cfg(feature = "server")]
            Self::Server(server) => Box::new(crate::store::server::Server::connect(server)?),
        })
    }
}

impl Stats {
    fn of<'a>(docs: impl Iterator<Item = &'a Doc>) -> Self {
        let (mut stats, now) = (Self::default(), Timestamp::now());
        for doc in docs {
            stats.records += 1;
            stats.with_vector += usize::from(doc.has_vector);
            stats.expired += usize::from(doc.expires.is_some_and(|expires| expires <= now));
            stats.bytes += doc.bytes;
        }
        stats
    }
}

impl Options {
    /// The embedded store in this directory, with room for a million records.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            backend: Backend::Embedded(directory.into()),
            personalities: None,
            records_max: 1_000_000,
        }
    }
}

impl Memory {
    /// Opens the memory. A server that does not answer is tried again by the first who needs it;
    /// one whose vectors have another size than the embedding model's is refused.
    pub fn open(options: Options, embedder: Option<Arc<dyn Embedder>>) -> Result<Self> {
        let store = options.backend.open()?;
        Self::with_store(store, options, embedder)
    }

    /// Opens the memory over a store; `options.backend` is not looked at.
    pub fn with_store(
        store: Box<dyn Store>,
        options: Options,
        embedder: Option<Arc<dyn Embedder>>,
    ) -> Result<Self> {
        let memory = Self {
            embedder: embedder.map(Checked::new).transpose()?,
            personalities: options.personalities,
            records_max: options.records_max,
            indexes: Default::default(),
            writes: Mutex::default(),
            opening: Mutex::default(),
            ready: AtomicBool::new(false),
            store,
        };
        match memory.make_ready() {
            Err(MemoryError::Unavailable { .. }) if !memory.store.is_local() => Ok(memory),
            opened => opened.map(|()| memory),
        }
    }

    /// What the store is, for people.
    #[must_use]
    pub fn store_name(&self) -> String {
        self.store.name()
    }

    /// The embedding model's name; without one, everything is found by its words.
    #[must_use]
    pub fn embedder_name(&self) -> Option<&str> {
        self.embedder.as_ref().map(Checked::name)
    }

    /// How documents are ingested for the embedding model: in pieces that it reads to their end.
    #[must_use]
    pub fn ingest_options(&self, namespace: Namespace) -> IngestOptions {
        let options = IngestOptions::new(namespace);
        match &self.embedder {
            Some(embedder) => options.for_model(embedder.model()),
            None => options,
        }
    }

    /// Whether the store has answered yet.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Reads the store's words again, for what others have written to a server since.
    pub fn refresh(&self) -> Result<()> {
        self.ready.store(false, Ordering::Release);
        self.make_ready()
    }

    /// Finds knowledge.
    pub fn search(&self, query: &str, k: usize, filter: &Filter) -> Result<Found> {
        self.search_in(Collection::Knowledge, query, k, filter)
    }

    /// Finds knowledge, and asks the embedding model no longer than this: somebody who waits little
    /// has the passages that words find.
    pub fn search_within(
        &self,
        query: &str,
        k: usize,
        filter: &Filter,
        within: Duration,
    ) -> Result<Found> {
        let within = within.min(QUERY_TIME_MAX);
        self.search_both(Collection::Knowledge, (query, within), k, filter)
    }

    /// Finds something in a collection. A store that is away is a warning, unless nothing is known
    /// of what it holds.
    pub fn search_in(
        &self,
        collection: Collection,
        query: &str,
        k: usize,
        filter: &Filter,
    ) -> Result<Found> {
        self.search_both(collection, (query, QUERY_TIME_MAX), k, filter)
    }

    fn search_both(
        &self,
        collection: Collection,
        (query, within): (&str, Duration),
        k: usize,
        filter: &Filter,
    ) -> Result<Found> {
        search::check(query, k)?;
        filter.check()?;
        self.make_ready()?;
        let (mut warnings, depth) = (Vec::new(), search::depth(k));
        let near = self.near(collection, (query, within), depth, filter, &mut warnings)?;
        let matches = self.index(collection).search(query, depth, filter);
        let searched_by = if near.is_some() {
            FoundBy::Both
        } else {
            FoundBy::Text
        };
        let near = near.unwrap_or_default();
        let ids = matches.iter().map(|found| found.id);
        let missing: Vec<Id> = ids
            .filter(|id| near.iter().all(|s| s.record.id != *id))
            .collect();
        let mut payloads = match self.payloads(collection, &missing) {
            Ok(payloads) => payloads,
            Err(error) => {
                warnings.push(warning(error)?);
                self.copies(collection, &missing)
            }
        };
        let of_near = near
            .iter()
            .map(|scored| (scored.record.id, scored.record.payload.clone()));
        payloads.extend(of_near);
        // A server may hold anything; what the filter stops goes no further.
        payloads.retain(|_, payload| filter.passes(payload));
        warnings.dedup();
        Ok(Found {
            hits: search::fuse(&near, matches, &payloads, k, filter.now),
            searched_by,
            warnings,
        })
    }

    /// One record of a namespace, whatever its collection.
    pub fn get(&self, filter: &Filter, id: Id) -> Result<Record> {
        self.make_ready()?;
        self.find(filter, id).map(|(_, record)| record)
    }

    /// What is in a collection.
    pub fn stats(&self, collection: Collection) -> Result<Stats> {
        self.make_ready()?;
        Ok(Stats::of(self.index(collection).docs()))
    }

    /// What these namespaces have in it.
    pub fn stats_of(&self, collection: Collection, namespaces: &[Namespace]) -> Result<Stats> {
        self.make_ready()?;
        Ok(Stats::of(self.index(collection).docs_of(namespaces)))
    }

    /// Gives vectors to records that were added without an embedding model; answers to how many.
    /// It goes on until `progress` says no.
    pub fn embed_missing(&self, progress: &dyn Fn(usize) -> bool) -> Result<usize> {
        self.make_ready()?;
        let mut embedded = 0;
        for collection in Collection::ALL {
            let index = self.index(collection);
            // A personality is looked up by its name.
            let lacking = |doc: &&Doc| !doc.has_vector && doc.kind != Kind::Personality;
            let ids: Vec<Id> = index.docs().filter(lacking).map(|doc| doc.id).collect();
            drop(index);
            for ids in ids.chunks(EMBED_BATCH) {
                if self.embedder.is_none() || !progress(embedded) {
                    return Ok(embedded);
                }
                embedded += self.embed_these(collection, ids)?;
            }
        }
        Ok(embedded)
    }

    /// Nobody waits for the embedding model but this; what changed meanwhile stays changed. A model
    /// that gives nothing is an error; one that has none for some of the texts is not.
    fn embed_these(&self, collection: Collection, ids: &[Id]) -> Result<usize> {
        let mut embedded = self.store.get(collection, ids)?;
        let fault = self.embed(&mut embedded);
        let embedded = embedded
            .into_iter()
            .filter_map(|record| Some((record.id, record.vector?)));
        let mut vectors: HashMap<Id, Vec<f32>> = embedded.collect();
        if let Some(fault) = fault.filter(|_| vectors.is_empty()) {
            return Err(fault);
        }
        let _writes = self.write();
        let mut records = self.store.get(collection, ids)?;
        records.retain_mut(|record| {
            record.vector = vectors.remove(&record.id);
            record.vector.is_some()
        });
        self.insert(collection, &records)?;
        Ok(records.len())
    }

    /// The record of an id, if the filter's namespaces have it.
    pub(crate) fn find(&self, filter: &Filter, id: Id) -> Result<(Collection, Record)> {
        filter.check()?;
        for collection in Collection::ALL {
            if self.index(collection).doc(id).is_none() {
                continue;
            }
            let record = self.store.get(collection, &[id])?.pop();
            let own = |record: &Record| filter.namespaces.contains(&record.payload.namespace);
            if let Some(record) = record.filter(own) {
                return Ok((collection, record));
            }
        }
        Err(MemoryError::NotFound(id))
    }

    /// Gives records their vectors, if there is an embedding model. What it has none for stays
    /// without: it is found by its words, and `embed_missing` gives it one later. Answers why, for
    /// the first of these.
    pub(crate) fn embed(&self, records: &mut [Record]) -> Option<MemoryError> {
        let embedder = self.embedder.as_ref()?;
        let mut fault = None;
        for records in records.chunks_mut(EMBED_BATCH) {
            let texts: Vec<String> = records
                .iter()
                .map(|record| record.payload.embedded_text())
                .collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let vectors = match embedder.embed(&texts) {
                Ok(vectors) => vectors,
                // Each further call would wait as long.
                Err(error) if embedder.model().may_be_away() => return fault.or(Some(error)),
                Err(error) => {
                    fault.get_or_insert(error);
                    continue;
                }
            };
            for (record, vector) in records.iter_mut().zip(vectors) {
                match vector {
                    Ok(vector) => record.vector = Some(vector),
                    Err(error) => drop(fault.get_or_insert(error)),
                }
            }
        }
        fault
    }

    /// Writes records to the store, and then to the index.
    pub(crate) fn insert(&self, collection: Collection, records: &[Record]) -> Result<()> {
        let room = self
            .records_max
            .saturating_sub(self.index(collection).len());
        let known = |record: &&Record| self.index(collection).doc(record.id).is_none();
        if records.iter().filter(known).count() > room {
            return Err(MemoryError::Full {
                records: self.records_max,
            });
        }
        for records in records.chunks(BATCH_MAX) {
            self.store.upsert(collection, records)?;
            self.index_mut(collection).put(records);
        }
        self.keep_if_due(collection);
        Ok(())
    }

    pub(crate) fn delete(&self, collection: Collection, ids: &[Id]) -> Result<()> {
        for ids in ids.chunks(BATCH_MAX) {
            self.store.remove(collection, ids)?;
            self.index_mut(collection).remove(ids);
        }
        Ok(())
    }

    /// The payloads of some records: from the store, or from the copies of one that may be away.
    pub(crate) fn payloads(
        &self,
        collection: Collection,
        ids: &[Id],
    ) -> Result<HashMap<Id, Payload>> {
        let mut payloads = self.copies(collection, ids);
        let missing: Vec<Id> = ids
            .iter()
            .copied()
            .filter(|id| !payloads.contains_key(id))
            .collect();
        for ids in missing.chunks(BATCH_MAX) {
            let records = self.store.get(collection, ids)?;
            payloads.extend(
                records
                    .into_iter()
                    .map(|record| (record.id, record.payload)),
            );
        }
        Ok(payloads)
    }

    pub(crate) fn write(&self) -> MutexGuard<'_, ()> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index(&self, collection: Collection) -> RwLockReadGuard<'_, Index> {
        let index = &self.indexes[slot(collection)];
        index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self, collection: Collection) -> RwLockWriteGuard<'_, Index> {
        let index = &self.indexes[slot(collection)];
        index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn copies(&self, collection: Collection, ids: &[Id]) -> HashMap<Id, Payload> {
        let index = self.index(collection);
        let copy = |id: &Id| Some((*id, index.copy(*id)?.clone()));
        ids.iter().filter_map(copy).collect()
    }

    /// Checks the collections and reads their words, unless that is done. Only one thread does;
    /// the others are told to come back instead of waiting.
    pub(crate) fn make_ready(&self) -> Result<()> {
        if self.is_ready() {
            return Ok(());
        }
        let _opening = match self.opening.try_lock() {
            Ok(opening) => opening,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(MemoryError::Unavailable {
                    store: self.store.name(),
                    why: "it is being opened".into(),
                    retry_after_ms: 500,
                });
            }
        };
        // What is added meanwhile would be in neither index.
        let _writes = self.write();
        let dimensions = self.embedder.as_ref().map(Checked::dimensions);
        for collection in Collection::ALL {
            self.store.prepare(collection, dimensions)?;
            let index = self.read_index(collection)?;
            self.set_index(collection, index);
        }
        self.ready.store(true, Ordering::Release);
        Ok(())
    }

    /// What is near in meaning; `None` if that could not be asked.
    fn near(
        &self,
        collection: Collection,
        (query, within): (&str, Duration),
        k: usize,
        filter: &Filter,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<Vec<Scored>>> {
        let Some(embedder) = &self.embedder else {
            return Ok(None);
        };
        let vector = match embedder.query(query, within) {
            Ok(vector) => vector,
            Err(error) => {
                let why = error.to_string();
                warnings.push(Warning::EmbedderFailed { why });
                return Ok(None);
            }
        };
        match self.store.nearest(collection, &vector, k, filter) {
            Ok(near) => Ok(Some(near)),
            Err(error) => {
                warnings.push(warning(error)?);
                Ok(None)
            }
        }
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory")
            .field("store", &self.store.name())
            .field("embedder", &self.embedder_name())
            .field("ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}

impl Found {
    /// The records of the hits, for those who need no more.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.hits.iter().map(|Hit { record, .. }| record)
    }
}

fn slot(collection: Collection) -> usize {
    match collection {
        Collection::Memory => 0,
        Collection::Knowledge => 1,
    }
}

/// What the other way of searching can stand in for; everything else is an error.
fn warning(error: MemoryError) -> Result<Warning> {
    match error {
        MemoryError::Unavailable {
            why,
            retry_after_ms,
            ..
        } => Ok(Warning::StoreUnavailable {
            why,
            retry_after_ms,
        }),
        error @ (MemoryError::Refused(_) | MemoryError::Dimensions { .. }) => {
            let why = error.to_string();
            Ok(Warning::StoreRefused { why })
        }
        error => Err(error),
    }
}
