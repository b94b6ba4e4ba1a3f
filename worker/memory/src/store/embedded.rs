//! The store in a directory of ours: no server, one writer, exact search.
//!
//! Small copies of the vectors and what is filtered by are in memory; payloads and whole vectors
//! stay in the file, and are read when they may be what is looked for. A search compares with every
//! vector that passes the filter, on all processors: so it is exact, needs no building, and takes
//! milliseconds for tens of thousands of records.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rayon::prelude::*;

use super::log::{self, Batch, Frame, Log, Place};
use super::table::Table;
use super::vectors::{Coded, dot};
use super::{BATCH_MAX, Collection, Scored, Stamp, Store};
use crate::embed;
use crate::error::{MemoryError, Result, invalid, io};
use crate::filter::{Face, Filter};
use crate::lock::Lock;
use crate::record::{Id, Record};

/// The embedded store. One process has its directory at a time.
pub struct Embedded {
    directory: PathBuf,
    _lock: Lock,
    shelves: [Shelf; 2],
}

/// One collection. Whoever writes holds the log, and the table only for the moment of the change,
/// so that a slow disk keeps no search waiting.
struct Shelf {
    log: Mutex<Log>,
    table: RwLock<Table>,
    directory: PathBuf,
}

/// A log with more that is dead than this, and than what lives, is written anew.
const DEAD_BYTES_MAX: u64 = 32 << 20;

impl Embedded {
    /// Opens the store of a directory, or begins one. A second process is refused.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        let directory = directory.into();
        let lock = Lock::take(&directory, "memory.lock")?;
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
        let found = shelf.table().dimensions();
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
        let dimensions = shelf.table().dimensions();
        let (mut batch, mut whole) = (Batch::default(), Vec::with_capacity(records.len()));
        for record in records {
            let record = checked(record, dimensions)?;
            batch.put(&record)?;
            whole.push(record);
        }
        let places = log.append(&batch)?;
        let code = |record: &Record| record.vector.as_deref().map(Coded::of);
        let coded: Vec<Option<Coded>> = whole.par_iter().map(code).collect();
        let places = places.into_iter().zip(batch.stamps());
        let mut table = shelf.table_mut();
        for ((record, vector), (place, stamp)) in whole.iter().zip(&coded).zip(places) {
            let face = Face::of(&record.payload);
            table.put(record.id, place, stamp, &face, vector.as_ref());
        }
        drop(table);
        shelf.compact_if_due(&mut log)
    }

    fn get(&self, collection: Collection, ids: &[Id]) -> Result<Vec<Record>> {
        check_batch(ids.len())?;
        let shelf = self.shelf(collection);
        let table = shelf.table();
        let places = table.places_of(ids);
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
        let Some(dimensions) = table.dimensions() else {
            return Ok(Vec::new());
        };
        let mut vector = vector.to_vec();
        embed::unit(&mut vector, dimensions)?;
        let candidates = table.candidates(&vector, k, filter);
        let file = table.file.clone();
        drop(table);
        let best = shelf.best(file.as_deref(), &vector, candidates, k)?;
        let (scores, places): (Vec<f32>, Vec<Place>) = best.into_iter().unzip();
        let records = shelf.read(file.as_deref(), &places)?;
        let without = |record: Record| Record {
            vector: None,
            ..record
        };
        let scored = records.into_iter().zip(scores);
        let scored = scored.map(|(record, score)| Scored {
            record: without(record),
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
        let places = table.places_after(after, limit);
        let file = table.file.clone();
        drop(table);
        let mut records = shelf.read(file.as_deref(), &places)?;
        if !vectors {
            records.iter_mut().for_each(|record| record.vector = None);
        }
        Ok(records)
    }

    fn count(&self, collection: Collection) -> Result<usize> {
        Ok(self.shelf(collection).table().len())
    }

    fn compact(&self) -> Result<()> {
        self.shelves
            .iter()
            .try_for_each(|shelf| shelf.compact(&mut shelf.log()))
    }

    fn beside(&self, collection: Collection) -> Option<(PathBuf, HashMap<Id, Stamp>)> {
        let path = self.directory.join(format!("{collection}.words"));
        let stamps = self.shelf(collection).table().stamps().collect();
        Some((path, stamps))
    }
}

impl Shelf {
    fn open(directory: &Path, collection: Collection) -> Result<Self> {
        let mut table = Table::default();
        let path = directory.join(format!("{collection}.log"));
        let mut wrong = None;
        let log = Log::open(&path, |place, frame| match frame {
            Frame::Put(brief) => {
                let found = brief.vector.as_ref().map(Coded::dimensions);
                if found.is_some() && found != table.dimensions() {
                    wrong = Some(format!("a vector of {found:?} dimensions"));
                } else {
                    let (id, stamp, vector) = (brief.id, brief.stamp, brief.vector.as_ref());
                    table.put(id, place, stamp, &brief.face, vector);
                }
            }
            Frame::Remove(id) => table.remove(id),
            Frame::Dimensions(dimensions) => table.set_dimensions(dimensions),
        })?;
        if let Some(what) = wrong {
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

    /// The `k` of the candidates that are nearest, by their whole vectors, with their scores.
    fn best(
        &self,
        file: Option<&File>,
        vector: &[f32],
        candidates: Vec<(Id, Place)>,
        k: usize,
    ) -> Result<Vec<(f32, Place)>> {
        let Some(file) = file else {
            return Ok(Vec::new());
        };
        let score = |(id, place): (Id, Place)| {
            let other = log::read_vector(file, place)?;
            Ok((dot(vector, &other), id, place))
        };
        let scored: std::io::Result<Vec<(f32, Id, Place)>> = if candidates.len() < 64 {
            candidates.into_iter().map(score).collect()
        } else {
            candidates.into_par_iter().map(score).collect()
        };
        let mut scored = scored.map_err(io(&self.directory))?;
        scored.sort_unstable_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
        scored.truncate(k);
        let best = scored.into_iter().map(|(score, _, place)| (score, place));
        Ok(best.collect())
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
        if let Some(dimensions) = table.dimensions() {
            first.dimensions(dimensions)?;
        }
        let kept = table.places();
        drop(table);
        let places = log.rewrite(&first, &kept)?;
        let mut table = self.table_mut();
        table.set_places(places);
        table.file = Some(log.file());
        Ok(())
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

#[cfg(test)]
mod tests;
