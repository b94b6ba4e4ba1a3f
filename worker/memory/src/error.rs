//! Everything that can go wrong, in the words of who has to do something about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::record::Id;
use crate::store::Collection;

/// The result of whatever can fail here.
pub type Result<T, E = MemoryError> = std::result::Result<T, E>;

/// Why it did not work, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// A value that nobody can use.
    #[error("`{field}` {why}")]
    Invalid {
        /// Which value.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// More hits than anybody reads, or none.
    #[error("k is {k}; ask for 1 to {max} passages")]
    K {
        /// What was asked for.
        k: usize,
        /// The most.
        max: usize,
    },
    /// The vectors of a collection have another size than the embedding model's.
    #[error(
        "`{collection}` holds vectors of {found} dimensions and the embedding model gives {wanted}; \
         use the model that it was made with, or re-embed: export it, and import the file into an \
         empty memory with its vectors computed anew"
    )]
    Dimensions {
        /// Which collection.
        collection: Collection,
        /// What it has.
        found: usize,
        /// What the model gives.
        wanted: usize,
    },
    /// The collection was made by something else.
    #[error(
        "`{collection}` compares vectors by `{found}` and must by `Cosine`; re-embed: export it, \
         and import the file into an empty memory with its vectors computed anew"
    )]
    Distance {
        /// Which collection.
        collection: Collection,
        /// What it has.
        found: String,
    },
    /// A vector that means nothing. It is never replaced by a made-up one.
    #[error("a vector can't be used: {why}; check the embedding model")]
    Vector {
        /// What is wrong with it.
        why: String,
    },
    /// Another process has the directory.
    #[error(
        "the memory in {path} is in use by another process; stop that worker, or give this one \
         another directory"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}; check that the disk has space and the directory is this user's")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the store is not what was written.
    #[error("{path} is damaged: {what}; keep a copy of it, then restore it from an export")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The store does not answer, and is left alone for a while.
    #[error("the memory's {store} is not available: {why}; try again in {retry_after_ms} ms")]
    Unavailable {
        /// Which store.
        store: String,
        /// What happened.
        why: String,
        /// When it is asked again.
        retry_after_ms: u64,
    },
    /// The server answered, and the answer was no.
    #[error("the memory's server refused: {0}; check `server` and what belongs to it in [memory]")]
    Refused(String),
    /// Nothing has this id in this namespace.
    #[error("nothing has the id {0} in this namespace; search for it to find its id")]
    NotFound(Id),
    /// There is no such personality.
    #[error("there is no personality `{0}`; list them to see their names")]
    NoPersonality(String),
    /// It is a file, and files are the operator's.
    #[error("the personality `{name}` is the file {path}; edit or remove that")]
    PersonalityFile {
        /// Its name.
        name: String,
        /// Its file.
        path: PathBuf,
    },
    /// As many records as the settings allow.
    #[error("the memory is full ({records} records); collect garbage or raise `records_max`")]
    Full {
        /// How many.
        records: usize,
    },
    /// The embedding model failed.
    #[error(transparent)]
    Embed(#[from] crate::embed::EmbedError),
    /// A line of an export can't be imported.
    #[error("line {line} of the import: {why}; nothing from this line on was imported")]
    Import {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// There was nothing to read where something was to be ingested or imported.
    #[error("{path} can't be read: {why}")]
    Ingest {
        /// What was named.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

/// For `map_err`, with the file's name.
pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> MemoryError {
    move |source| MemoryError::Io {
        path: path.into(),
        source,
    }
}

/// A value that nobody can use.
pub(crate) fn invalid(field: &'static str, why: impl Into<String>) -> MemoryError {
    MemoryError::Invalid {
        field,
        why: why.into(),
    }
}
