//! What FazAI remembers: personalities and preferences, and the knowledge that it has met.
//!
//! [`Memory`] is what a worker opens. It has a [`Store`](store::Store) for the records, an index in
//! memory for their words, and, where the machine has one, an [`Embedder`] for their meaning. A
//! search goes both ways, says which way found what, and works with either alone.
//!
//! Everything here blocks: call it from threads that may wait.

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test fails by a panic"))]

pub mod embed;
pub mod episodes;
pub mod error;
pub mod filter;
mod index;
pub mod ingest;
pub mod knowledge;
mod lock;
pub mod memory;
pub mod personality;
pub mod portable;
pub mod record;
pub mod search;
pub mod store;
mod text;

pub use self::embed::{EmbedError, EmbedKind, Embedder};
pub use self::error::{MemoryError, Result};
pub use self::filter::Filter;
#[cfg(feature = "pdf")]
pub use self::ingest::pdf_text;
pub use self::ingest::{
    Changes, Following, IngestOptions, IngestReport, Journal, Progress, ReadPdf, Skipped,
};
pub use self::knowledge::{Commit, Committed, Entry, GcReport};
pub use self::memory::{Backend, Memory, Options, Stats};
pub use self::personality::Personality;
pub use self::record::{Id, Kind, Metadata, Namespace, Payload, Record, Status};
pub use self::search::{Found, FoundBy, Hit, Warning};
pub use self::store::Collection;
