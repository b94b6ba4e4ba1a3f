//! From files to records: what is read, how it is cut, and what was left out and why.
//!
//! | file | what it owns |
//! |---|---|
//! | `walk.rs` | which files of a directory; links and devices stay outside |
//! | `root.rs` | how files are opened: from one directory, through no link |
//! | `intake.rs` | one run: what is new is stored, and what no file says any more goes |
//! | `follow.rs` | a directory that is followed |
//! | `journal.rs` | a system's journal |
//! | `read.rs` | from a file's bytes to a document, by its name and its first bytes |
//! | `markdown.rs`, `man.rs`, `html.rs`, `pdf.rs`, `code.rs` | the formats that need more than a line |
//! | `chunk.rs` | from a document to pieces of the size that a model reads |
//!
//! A document is data, whatever it says: nothing here looks for orders in it.

mod chunk;
mod code;
mod follow;
mod html;
mod intake;
mod journal;
mod man;
mod markdown;
#[cfg(feature = "pdf")]
mod pdf;
mod read;
mod root;
mod walk;

use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

pub use self::follow::{Changes, Following};
use self::intake::Intake;
pub use self::journal::{DOCUMENTS_MAX, Journal};
#[cfg(feature = "pdf")]
pub use self::pdf::pdf_text;
use self::root::Root;
pub use self::walk::{Skip, Skipped};
use crate::embed::Embedder;
use crate::error::{MemoryError, Result, invalid};
use crate::memory::Memory;
use crate::record::Namespace;
use crate::search::Warning;

/// Counts the tokens of a text, roughly.
pub type TokenCount = Arc<dyn Fn(&str) -> usize + Send + Sync>;

/// Whether a file may be read.
pub type MayRead = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// What a PDF says, or why it can't be read.
pub type ReadPdf = Arc<dyn Fn(&[u8]) -> Result<String, String> + Send + Sync>;

/// What is ingested, and in what pieces.
#[derive(Clone)]
pub struct IngestOptions {
    /// Whose it is to be.
    pub namespace: Namespace,
    /// Tags of every piece.
    pub tags: Vec<String>,
    /// The distribution that it holds for.
    pub distro: Option<String>,
    /// From when on it is not found any more.
    pub expires: Option<Timestamp>,
    /// The longest piece, in tokens.
    pub chunk_tokens: usize,
    /// How much of a piece the next one repeats, in tokens.
    pub overlap_tokens: usize,
    /// How tokens are counted.
    pub tokens: TokenCount,
    /// A file of which this says no is left out.
    pub may_read: MayRead,
    /// Who reads PDF files; none: this process, which a hostile one can end.
    pub read_pdf: Option<ReadPdf>,
    /// A larger file is left out, and so is a packed one that gets larger.
    pub file_bytes_max: u64,
    /// How deep directories are looked into.
    pub depth_max: usize,
    /// How many files are looked at.
    pub files_max: usize,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Files that are done, with those that were left out.
    pub files_done: usize,
    /// All files.
    pub files_total: usize,
    /// Pieces that were added.
    pub added: usize,
    /// The file that was done last.
    pub path: &'a Path,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IngestReport {
    /// Files that were read.
    pub files: usize,
    /// Pieces that are new.
    pub added: usize,
    /// Pieces that were there already.
    pub known: usize,
    /// Pieces of these that got a tag which they did not have.
    pub tagged: usize,
    /// Pieces that are gone, since their files say something else now, or are gone.
    pub removed: usize,
    /// Files of the directory that are no longer there.
    pub gone: usize,
    /// What was left out, and why.
    pub skipped: Vec<Skipped>,
    /// Files that were not UTF-8; what is not text in them was replaced.
    #[serde(serialize_with = "all_lossy")]
    pub lossy: Vec<PathBuf>,
    /// Whether it was stopped before the end.
    pub stopped: bool,
    /// Why pieces have no vector, and are found by their words alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<Warning>,
}

fn all_lossy<S: serde::Serializer>(
    paths: &[PathBuf],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.display().to_string()))
}

/// How much of what a model reads is kept for a piece's title.
const TITLE_TOKENS: usize = 32;

impl IngestOptions {
    /// Pieces of 400 tokens, counted as a quarter of their characters; files of up to 32 MiB.
    #[must_use]
    pub fn new(namespace: Namespace) -> Self {
        Self {
            namespace,
            tags: Vec::new(),
            distro: None,
            expires: None,
            chunk_tokens: 400,
            overlap_tokens: 40,
            tokens: Arc::new(|text| text.chars().count().div_ceil(4)),
            may_read: Arc::new(|_| true),
            read_pdf: None,
            file_bytes_max: 32 << 20,
            depth_max: 16,
            files_max: 100_000,
        }
    }

    /// Pieces no longer than the model reads, with room for their titles, counted as it counts.
    #[must_use]
    pub fn for_model(mut self, model: &Arc<dyn Embedder>) -> Self {
        let Some(tokens_max) = model.tokens_max() else {
            return self;
        };
        let room = tokens_max.saturating_sub(TITLE_TOKENS).max(16);
        self.chunk_tokens = self.chunk_tokens.min(room);
        self.overlap_tokens = self.overlap_tokens.min(self.chunk_tokens / 8);
        let model = Arc::clone(model);
        self.tokens = Arc::new(move |text| model.count_tokens(text));
        self
    }

    fn check(&self) -> Result<()> {
        if !(16..=8192).contains(&self.chunk_tokens) {
            let why = format!("is {}; it goes from 16 to 8192", self.chunk_tokens);
            return Err(invalid("chunk_tokens", why));
        }
        if self.overlap_tokens * 2 > self.chunk_tokens {
            let why = format!(
                "is {}; at most half of a piece repeats",
                self.overlap_tokens
            );
            return Err(invalid("overlap_tokens", why));
        }
        Ok(())
    }
}

impl Memory {
    /// Takes in a file, or every file of a directory. A second time nothing is added; a file that
    /// has changed replaces what it said before, and one that is gone from the directory says
    /// nothing any more. What is named and can't be read is an error. Goes on until `progress`
    /// breaks.
    pub fn ingest(
        &self,
        path: &Path,
        options: &IngestOptions,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<IngestReport> {
        options.check()?;
        self.make_ready()?;
        let root = Root::named(path).map_err(|error| nothing(path, error.to_string()))?;
        let root = Arc::new(root);
        let (files, skipped) = walk::walk(&root, options, &mut |_| {});
        let mut intake = Intake::new(self, options);
        intake.forget_gone(root.path(), &files, &skipped);
        let report = intake.all(&files, skipped, progress)?;
        // It was asked for by its name: that it was left out is no side note.
        let named = |one: &&Skipped| {
            // Of a directory that has too many files some were read.
            one.path == root.path() && !matches!(one.why, Skip::TooMany { .. })
        };
        match report.skipped.iter().find(named) {
            Some(Skipped { why, .. }) => Err(nothing(path, why.to_string())),
            None => Ok(report),
        }
    }

    /// Takes in what a reader gives, under a name: its ending says what it is, and it is what the
    /// pieces name as their source. What can't be read is left out, and what the name said before
    /// stays: the end of a pipe that broke is no new version.
    pub fn ingest_reader(
        &self,
        name: &str,
        reader: &mut dyn Read,
        options: &IngestOptions,
    ) -> Result<IngestReport> {
        options.check()?;
        self.make_ready()?;
        let mut intake = Intake::new(self, options);
        let path = Path::new(name);
        match read::reader(path, reader, options) {
            Ok(document) => intake.add(path, &document)?,
            Err(why) => intake.note(Skipped::new(path, why)),
        }
        intake.finish()
    }
}

fn nothing(path: &Path, why: impl Into<String>) -> MemoryError {
    MemoryError::Ingest {
        path: path.into(),
        why: why.into(),
    }
}
