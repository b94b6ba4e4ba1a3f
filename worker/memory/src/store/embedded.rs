//! The store in a directory of ours: no server, one writer, exact search.
//!
//! Vectors and what is filtered by are in memory; payloads stay in the file, and are read when they
//! are found. A search compares with every vector that passes the filter, on all processors: so it
//! is exact, needs no building, and takes milliseconds for tens of thousands of records.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, TryLockError};
use std::ops::Bound;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rayon::prelude::*;

use super::log::{self, Batch, Frame, Log, Place};
use super::{BATCH_MAX, Collection, Scored, Store};
use crate::embed;
use crate::error::{MemoryError, Result, invalid, io};
use crate::filter::{Facets, Filter, Words};
use crate::record::{Id, Record};

/// The embedded store. One process has its directory at a time.
pub struct Embedded {
    directory: PathBuf,
    /// Held for the lock on it, which the kernel releases when the process ends.
    _lock: File,
    shelves: [Shelf; 2],
}

/// One collection. Whoever writes holds the log, and the table only for the moment of the change,
/// so that a slow disk keeps no search waiting.
struct Shelf {
    log: Mutex<Log>,
    table: RwLock<Table>,
    directory: PathBuf,
}

#[derive(Default)]
struct Table {
    file: Option<Arc<File>>,
    dimensions: Option<usize>,
    words: Words,
    slots: Vec<Slot>,
    by_id: BTreeMap<Id, usize>,
    /// Slot after slot; zero where there is none.
    vectors: Vec<f32>,
    live_bytes: u64,
}

struct Slot {
    id: Id,
    place: Place,
    facets: Facets,
    has_vector: bool,
}

/// How many slots one thread compares before it takes more.
const SLOTS_PER_TASK: usize = 1024;
/// A log with more that is dead than this, and than what lives, is written anew.
const DEAD_BYTES_MAX: u64 = 32 << 20;

impl Embedded {
    /// Opens the store of a directory, or begins one. A second process is refused.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        let directory = directory.into();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(io(&directory))?;
        let lock = lock(&directory)?;
        let [memory, knowledge] = Collection::ALL.map(|each| Shelf::open(&directory, each));
        Ok(Self {
            _lock: lock,
            shelves: [memory?, knowledge?],
            directory,
        })
    }

    fn shelf(&self, collection: Collection) -> &Shelf {
        match collection {
            Collection::Memory => &self.shelves[0],
            Collection::Knowledge => &self.shelves[1],
        }
    }
}

impl Store for Embedded {
    fn name(&self) -> String {
        format!("embedded store in {}", self.directory.display())
    }

    fn is_local(&self) -> bool {
        true
    }

    fn prepare(&self, collection: Collection, dimensions: Option<usize>) -> Result<Option<usize>> {
        let shelf = self.shelf(collection);
        let mut log = shelf.log();
        let found = shelf.table().dimensions;
        match (found, dimensions) {
            (Some(found), Some(wanted)) if found != wanted => Err(MemoryError::Dimensions {
                collection,
                found,
                wanted,
            }),
            (None, Some(wanted)) => {
                embed::check_dimensions(wanted)?;
                let mut batch = Batch::default();
                batch.dimensions(wanted)?;
                log.append(&batch)?;
                shelf.table_mut().set_dimensions(wanted);
                Ok(dimensions)
            }
            _ => Ok(found),
        }
    }

    fn upsert(&self, collection: Collection, records: &[Record]) -> Result<()> {
        check_batch(records.len())?;
        let shelf = self.shelf(collection);
        let mut log = shelf.log();
        let dimensions = shelf.table().dimensions;
        let (mut batch, mut whole) = (Batch::default(), Vec::with_capacity(records.len()));
        for record in records {
            let record = checked(record, dimensions)?;
            batch.put(&record)?;
            whole.push(record);
        }
        let places = log.append(&batch)?;
        let mut table = shelf.table_mut();
        for (place, record) in places.into_iter().zip(&whole) {
            table.put(place, record);
        }
        drop(table);
        shelf.compact_if_due(&mut log)
    }

    fn get(&self, collection: Collection, ids: &[Id]) -> Result<Vec<Record>> {
        check_batch(ids.len())?;
        let shelf = self.shelf(collection);
        let table = shelf.table();
        let slots = ids.iter().filter_map(|id| table.by_id.get(id));
        let places: Vec<Place> = slots.map(|slot| table.slots[*slot].place).collect();
        let file = table.file.clone();
        drop(table);
        shelf.read(file.as_deref(), &places)
    }

    fn remove(&self, collection: Collection, ids: &[Id]) -> Result<()> {
        check_batch(ids.len())?;
        let shelf = self.shelf(collection);
        let mut log = shelf.log();
        let mut batch = Batch::default();
        for id in ids {
            batch.remove(*id)?;
        }
        log.append(&batch)?;
        let mut table = shelf.table_mut();
        ids.iter().for_each(|id| table.remove(*id));
        drop(table);
        shelf.compact_if_due(&mut log)
    }

    fn nearest(
        &self,
        collection: Collection,
        vector: &[f32],
        k: usize,
        filter: &Filter,
    ) -> Result<Vec<Scored>> {
        check_batch(k)?;
        let shelf = self.shelf(collection);
        let table = shelf.table();
        let Some(dimensions) = table.dimensions else {
            return Ok(Vec::new());
        };
        let mut vector = vector.to_vec();
        embed::unit(&mut vector, dimensions)?;
        let best = table.nearest(&vector, k, filter);
        let places: Vec<Place> = best
            .iter()
            .map(|(_, slot)| table.slots[*slot].place)
            .collect();
        let file = table.file.clone();
        drop(table);
        let records = shelf.read(file.as_deref(), &places)?;
        let scored = records
            .into_iter()
            .zip(best)
            .map(|(record, (score, _))| Scored {
                record: Record {
                    vector: None,
                    ..record
                },
                score,
            });
        Ok(scored.collect())
    }

    fn scroll(
        &self,
        collection: Collection,
        after: Option<Id>,
        limit: usize,
        vectors: bool,
    ) -> Result<Vec<Record>> {
        check_batch(limit)?;
        let shelf = self.shelf(collection);
        let table = shelf.table();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let slots = table.by_id.range((from, Bound::Unbounded)).take(limit);
        let places: Vec<Place> = slots.map(|(_, slot)| table.slots[*slot].place).collect();
        let file = table.file.clone();
        drop(table);
        let mut records = shelf.read(file.as_deref(), &places)?;
        if !vectors {
            records.iter_mut().for_each(|record| record.vector = None);
        }
        Ok(records)
    }

    fn count(&self, collection: Collection) -> Result<usize> {
        Ok(self.shelf(collection).table().slots.len())
    }

    fn compact(&self) -> Result<()> {
        self.shelves
            .iter()
            .try_for_each(|shelf| shelf.compact(&mut shelf.log()))
    }
}

impl Shelf {
    fn open(directory: &Path, collection: Collection) -> Result<Self> {
        let mut table = Table::default();
        let path = directory.join(format!("{collection}.log"));
        let mut wrong = None;
        let log = Log::open(&path, |place, frame| match frame {
            Frame::Put(record) => match checked(&record, table.dimensions) {
                Ok(record) => table.put(place, &record),
                Err(error) => wrong = Some(error),
            },
            Frame::Remove(id) => table.remove(id),
            Frame::Dimensions(dimensions) => table.set_dimensions(dimensions),
        })?;
        if let Some(wrong) = wrong {
            let what = wrong.to_string();
            return Err(MemoryError::Damaged { path, what });
        }
        table.file = Some(log.file());
        let shelf = Self {
            log: Mutex::new(log),
            table: RwLock::new(table),
            directory: directory.into(),
        };
        shelf.compact_if_due(&mut shelf.log())?;
        Ok(shelf)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads records without holding anything: a log that is written anew leaves the old file to
    /// those who are reading it.
    fn read(&self, file: Option<&File>, places: &[Place]) -> Result<Vec<Record>> {
        let Some(file) = file else {
            return Ok(Vec::new());
        };
        let read = |place: &Place| log::read(file, *place);
        // A few are read faster than threads are woken for them.
        let records: std::io::Result<_> = if places.len() < 64 {
            places.iter().map(read).collect()
        } else {
            places.par_iter().map(read).collect()
        };
        records.map_err(io(&self.directory))
    }

    fn compact_if_due(&self, log: &mut Log) -> Result<()> {
        let live = self.table().live_bytes;
        if log.end().saturating_sub(live) > live.max(DEAD_BYTES_MAX) {
            self.compact(log)?;
        }
        Ok(())
    }

    fn compact(&self, log: &mut Log) -> Result<()> {
        let table = self.table();
        let mut first = Batch::default();
        if let Some(dimensions) = table.dimensions {
            first.dimensions(dimensions)?;
        }
        let kept: Vec<Place> = table.slots.iter().map(|slot| slot.place).collect();
        drop(table);
        let places = log.rewrite(&first, &kept)?;
        let mut table = self.table_mut();
        for (slot, place) in table.slots.iter_mut().zip(places) {
            slot.place = place;
        }
        table.file = Some(log.file());
        Ok(())
    }
}

impl Table {
    fn set_dimensions(&mut self, dimensions: usize) {
        self.dimensions = Some(dimensions);
        self.vectors.resize(self.slots.len() * dimensions, 0.0);
    }

    fn put(&mut self, place: Place, record: &Record) {
        let slot = Slot {
            id: record.id,
            place,
            facets: self.words.facets(&record.payload),
            has_vector: record.vector.is_some(),
        };
        self.live_bytes += u64::from(place.bytes);
        let dimensions = self.dimensions.unwrap_or(0);
        let at = match self.by_id.get(&record.id) {
            Some(at) => {
                self.live_bytes -= u64::from(self.slots[*at].place.bytes);
                self.slots[*at] = slot;
                *at
            }
            None => {
                self.by_id.insert(record.id, self.slots.len());
                self.slots.push(slot);
                self.vectors.resize(self.slots.len() * dimensions, 0.0);
                self.slots.len() - 1
            }
        };
        if let Some(vector) = &record.vector {
            self.vectors[at * dimensions..][..dimensions].copy_from_slice(vector);
        }
    }

    /// The last slot moves to where the removed one was, so that there are no holes.
    fn remove(&mut self, id: Id) {
        let Some(at) = self.by_id.remove(&id) else {
            return;
        };
        let removed = self.slots.swap_remove(at);
        self.live_bytes -= u64::from(removed.place.bytes);
        let dimensions = self.dimensions.unwrap_or(0);
        let last = self.slots.len();
        self.vectors
            .copy_within(last * dimensions.., at * dimensions);
        self.vectors.truncate(last * dimensions);
        if let Some(moved) = self.slots.get(at) {
            self.by_id.insert(moved.id, at);
        }
    }

    /// The best scores with their slots.
    fn nearest(&self, vector: &[f32], k: usize, filter: &Filter) -> Vec<(f32, usize)> {
        let Some(sieve) = self.words.sieve(filter) else {
            return Vec::new();
        };
        let tasks = self
            .slots
            .par_chunks(SLOTS_PER_TASK)
            .zip(self.vectors.par_chunks(SLOTS_PER_TASK * vector.len()))
            .enumerate();
        let best = tasks.map(|(task, (slots, vectors))| {
            let each = slots
                .iter()
                .zip(vectors.chunks_exact(vector.len()))
                .enumerate();
            let passing = each
                .filter(|(_, (slot, _))| slot.has_vector && sieve.passes(&slot.facets))
                .map(|(at, (_, other))| (dot(vector, other), task * SLOTS_PER_TASK + at));
            let mut best: Vec<(f32, usize)> = passing.collect();
            self.keep(&mut best, k);
            best
        });
        best.reduce(Vec::new, |mut one, other| {
            one.extend(other);
            self.keep(&mut one, k);
            one
        })
    }

    /// Keeps the `k` best, the best first.
    fn keep(&self, scores: &mut Vec<(f32, usize)>, k: usize) {
        let order = |one: &(f32, usize), other: &(f32, usize)| {
            let ids = || self.slots[one.1].id.cmp(&self.slots[other.1].id);
            other.0.total_cmp(&one.0).then_with(ids)
        };
        if scores.len() > k {
            scores.select_nth_unstable_by(k, order);
            scores.truncate(k);
        }
        scores.sort_unstable_by(order);
    }
}

/// The record as it is kept: checked, with a vector of unit length and the collection's size.
fn checked(record: &Record, dimensions: Option<usize>) -> Result<Record> {
    record.payload.check()?;
    let mut record = record.clone();
    if let Some(vector) = &mut record.vector {
        let Some(dimensions) = dimensions else {
            let why = "the collection was made without an embedding model".into();
            return Err(MemoryError::Vector { why });
        };
        embed::unit(vector, dimensions)?;
    }
    Ok(record)
}

pub(super) fn check_batch(records: usize) -> Result<()> {
    if records > BATCH_MAX {
        let why = format!("has {records} records; the limit for one call is {BATCH_MAX}");
        return Err(invalid("batch", why));
    }
    Ok(())
}

/// Sixteen sums at once, which the compiler turns into vector instructions.
fn dot(one: &[f32], other: &[f32]) -> f32 {
    let (ones, one_rest) = one.as_chunks::<16>();
    let (others, other_rest) = other.as_chunks::<16>();
    let mut sums = [0.0; 16];
    for (one, other) in ones.iter().zip(others) {
        for at in 0..16 {
            sums[at] += one[at] * other[at];
        }
    }
    let rest: f32 = one_rest
        .iter()
        .zip(other_rest)
        .map(|(one, other)| one * other)
        .sum();
    sums.iter().sum::<f32>() + rest
}

fn lock(directory: &Path) -> Result<File> {
    let path = directory.join("memory.lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(MemoryError::InUse {
            path: directory.into(),
        }),
        Err(TryLockError::Error(error)) => Err(io(&path)(error)),
    }
}

#[cfg(test)]
mod tests;
