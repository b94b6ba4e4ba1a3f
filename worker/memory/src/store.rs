//! Where records are kept: one trait, and two stores that behave alike.
//!
//! | file | what it owns |
//! |---|---|
//! | `embedded.rs` | the store in a directory of ours: one writer, exact search |
//! | `log.rs` | its file: frames that are whole or not there, repair, compaction |
//! | `table.rs` | what it has in memory of each record |
//! | `vectors.rs` | vectors in a quarter of their size, and the few that must be read whole |
//! | `server.rs` | a Qdrant server: deadlines, and leaving it alone while it is down |
//! | `points.rs` | records, filters and answers in Qdrant's words |
//! | `breaker.rs` | when something that fails is asked again |

mod breaker;
pub mod embedded;
mod log;
#[cfg(feature = "server")]
mod points;
#[cfg(feature = "server")]
pub mod server;
mod table;
mod vectors;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::breaker::Breaker;
use crate::error::Result;
use crate::filter::Filter;
use crate::record::{Id, Record};

/// Tells what a record says from what it said before: a checksum.
pub type Stamp = u32;

/// The most records in one call.
pub const BATCH_MAX: usize = 4096;

/// What is kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Collection {
    /// Personalities, preferences and episodes.
    #[serde(rename = "fazai_memory")]
    Memory,
    /// Knowledge.
    #[serde(rename = "fazai_kb")]
    Knowledge,
}

/// A record without its vector, and how near it is: the cosine.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// What was found.
    pub record: Record,
    /// The cosine of the angle between it and what was looked for.
    pub score: f32,
}

/// A place for records. Every call ends: with an answer, or with an error that says when to ask
/// again.
pub trait Store: Send + Sync {
    /// What it is, for people.
    fn name(&self) -> String;

    /// Whether it is in this process, so that reading from it costs little and can't be refused.
    fn is_local(&self) -> bool;

    /// Makes a collection, or checks the one that is there: vectors of this size, by cosine.
    /// Without a size, whatever is there is good. Answers the size that it has.
    fn prepare(&self, collection: Collection, dimensions: Option<usize>) -> Result<Option<usize>>;

    /// Adds records, or replaces those of the same id. When it returns they are on the disk.
    fn upsert(&self, collection: Collection, records: &[Record]) -> Result<()>;

    /// The records of these ids, with their vectors; those that are not there are left out.
    fn get(&self, collection: Collection, ids: &[Id]) -> Result<Vec<Record>>;

    /// Removes records; those that are not there are no error.
    fn remove(&self, collection: Collection, ids: &[Id]) -> Result<()>;

    /// The `k` nearest records that the filter lets pass, by score and then by id.
    fn nearest(
        &self,
        collection: Collection,
        vector: &[f32],
        k: usize,
        filter: &Filter,
    ) -> Result<Vec<Scored>>;

    /// Up to `limit` records by id, after one of them, with their vectors if asked for.
    fn scroll(
        &self,
        collection: Collection,
        after: Option<Id>,
        limit: usize,
        vectors: bool,
    ) -> Result<Vec<Record>>;

    /// How many records there are.
    fn count(&self, collection: Collection) -> Result<usize>;

    /// Gives the space of removed records back.
    fn compact(&self) -> Result<()>;

    /// Where what is known about a collection may be kept between two runs, and what tells whether
    /// it still fits: the stamps of all records. `None` if the store is elsewhere.
    fn beside(&self, collection: Collection) -> Option<(PathBuf, HashMap<Id, Stamp>)> {
        let _ = collection;
        None
    }
}

impl Collection {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Memory, Self::Knowledge];

    /// Its name on every store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "fazai_memory",
            Self::Knowledge => "fazai_kb",
        }
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Calls back with every record of a collection, by id, a page at a time.
pub(crate) fn each_page(
    store: &dyn Store,
    collection: Collection,
    vectors: bool,
    mut page: impl FnMut(Vec<Record>) -> Result<()>,
) -> Result<()> {
    const PAGE: usize = 1024;
    let mut after = None;
    loop {
        let records = store.scroll(collection, after, PAGE, vectors)?;
        let Some(last) = records.last() else {
            return Ok(());
        };
        after = Some(last.id);
        page(records)?;
    }
}
