//! One run: what is read is stored, and what no file says any more is removed.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;

use jiff::Timestamp;
use rayon::prelude::*;

use super::read::{self, Document};
use super::walk::{Found, Skipped};
use super::{IngestOptions, IngestReport, Progress, chunk};
use crate::error::Result;
use crate::knowledge::Entry;
use crate::memory::Memory;
use crate::record::{Id, Kind, Record, Status};
use crate::search::Warning;
use crate::store::Collection;

/// How many files are read before their pieces are stored.
const FILES_AT_ONCE: usize = 64;
/// And how many bytes of files, unpacked.
const BYTES_AT_ONCE: u64 = 64 << 20;
/// How many times its size a file of gzip has in it at most.
const GZIP_RATIO: u64 = 1032;
/// How many pieces are stored together.
const RECORDS_AT_ONCE: usize = 512;

/// One run: what waits to be stored, and what was found so far.
pub(super) struct Intake<'a> {
    memory: &'a Memory,
    options: &'a IngestOptions,
    now: Timestamp,
    report: IngestReport,
    /// What each source said before.
    before: HashMap<String, Vec<Id>>,
    waiting: Vec<Record>,
    /// What was there already, and may lack a tag.
    known: Vec<Id>,
    gone: Vec<Id>,
}

impl<'a> Intake<'a> {
    pub(super) fn new(memory: &'a Memory, options: &'a IngestOptions) -> Self {
        let before = memory
            .index(Collection::Knowledge)
            .documents(&options.namespace);
        Self {
            memory,
            options,
            now: Timestamp::now(),
            report: IngestReport::default(),
            before,
            waiting: Vec::new(),
            known: Vec::new(),
            gone: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, path: &Path, document: &Document) -> Result<()> {
        self.report.files += 1;
        if document.lossy {
            self.report.lossy.push(path.into());
        }
        let source = path.to_string_lossy().into_owned();
        let mut ids = HashSet::new();
        for chunk in chunk::chunks(document, self.options) {
            let mut entry = Entry::new(self.options.namespace.clone(), Kind::Document, chunk.text);
            entry.title = chunk.title;
            entry.source.clone_from(&source);
            entry.tags.clone_from(&self.options.tags);
            entry.distro.clone_from(&self.options.distro);
            entry.expires = self.options.expires;
            entry.action = "ingest".into();
            let record = entry.into_record(self.now)?;
            // A document that says the same thing twice is believed the first time.
            if !ids.insert(record.id) {
                continue;
            }
            if self.is_known(record.id) {
                self.report.known += 1;
                self.known.push(record.id);
            } else {
                self.report.added += 1;
                self.waiting.push(record);
            }
        }
        let before = self.before.remove(&source).unwrap_or_default();
        self.gone
            .extend(before.into_iter().filter(|id| !ids.contains(id)));
        if self.waiting.len().max(self.known.len()) >= RECORDS_AT_ONCE {
            self.store()?;
        }
        Ok(())
    }

    /// Reads files and takes them in, until `progress` breaks.
    pub(super) fn all(
        mut self,
        files: &[Found],
        skipped: Vec<Skipped>,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<IngestReport> {
        let (mut done, options) = (skipped.len(), self.options);
        let files_total = files.len() + done;
        skipped
            .into_iter()
            .for_each(|skipped| self.leave_out(skipped));
        for files in batches(files, options.file_bytes_max) {
            let read = |file: &Found| read::file(file, options);
            let documents: Vec<_> = files.par_iter().map(read).collect();
            for (file, document) in files.iter().zip(documents) {
                match document {
                    Ok(document) => self.add(&file.path, &document)?,
                    Err(why) => self.leave_out(Skipped::new(&file.path, why)),
                }
                done += 1;
                let now = Progress {
                    files_done: done,
                    files_total,
                    added: self.report.added,
                    path: &file.path,
                };
                if progress(now).is_break() {
                    return self.stopped();
                }
            }
        }
        self.finish()
    }

    /// The same of a file that was there before: what it said goes, if it can't say that any more.
    pub(super) fn leave_out(&mut self, skipped: Skipped) {
        if skipped.why.is_an_end() {
            self.forget(&skipped.path.to_string_lossy());
        }
        self.note(skipped);
    }

    /// Says why something was not read.
    pub(super) fn note(&mut self, skipped: Skipped) {
        self.report.skipped.push(skipped);
    }

    /// Removes what files said that are no longer below a directory. An empty one is more likely not
    /// mounted than emptied, and takes nothing with it.
    pub(super) fn forget_gone(&mut self, root: &Path, files: &[Found], skipped: &[Skipped]) {
        if files.is_empty() && skipped.is_empty() {
            return;
        }
        let gone = gone(self.before.keys(), root, files);
        self.report.gone = gone.len();
        gone.iter().for_each(|source| self.forget(source));
    }

    /// Removes all that a source said.
    pub(super) fn forget(&mut self, source: &str) {
        self.gone
            .extend(self.before.remove(source).unwrap_or_default());
    }

    fn is_known(&self, id: Id) -> bool {
        let index = self.memory.index(Collection::Knowledge);
        index.doc(id).is_some_and(|doc| {
            doc.status == Status::Active && doc.expires.is_none_or(|expires| expires > self.now)
        })
    }

    fn store(&mut self) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        if let Some(fault) = self.memory.embed(&mut waiting) {
            let why = fault.to_string();
            self.report.warning.get_or_insert(Warning::NoVector { why });
        }
        let known = std::mem::take(&mut self.known);
        let _writes = self.memory.write();
        self.memory.insert(Collection::Knowledge, &waiting)?;
        let (memory, tags) = (self.memory, &self.options.tags);
        self.report.tagged += memory.add_tags(Collection::Knowledge, &known, tags)?;
        Ok(())
    }

    /// How many pieces were new so far.
    pub(super) fn added(&self) -> usize {
        self.report.added
    }

    /// Ends before everything was read.
    pub(super) fn stopped(mut self) -> Result<IngestReport> {
        self.report.stopped = true;
        self.finish()
    }

    /// What is new is stored before what is old goes.
    pub(super) fn finish(mut self) -> Result<IngestReport> {
        self.store()?;
        let _writes = self.memory.write();
        self.memory.delete(Collection::Knowledge, &self.gone)?;
        self.report.removed = self.gone.len();
        Ok(self.report)
    }
}

/// Those of some sources that were files below a directory, and are no longer there.
pub(super) fn gone<'a>(
    sources: impl Iterator<Item = &'a String>,
    root: &Path,
    files: &[Found],
) -> Vec<String> {
    let present: HashSet<_> = files
        .iter()
        .map(|file| file.path.to_string_lossy())
        .collect();
    sources
        .filter(|source| Path::new(source).starts_with(root))
        .filter(|source| !present.contains(source.as_str()) && is_gone(Path::new(source)))
        .cloned()
        .collect()
}

/// What can't be looked at is not gone.
fn is_gone(path: &Path) -> bool {
    let gone = [ErrorKind::NotFound, ErrorKind::NotADirectory];
    fs::symlink_metadata(path).is_err_and(|error| gone.contains(&error.kind()))
}

/// Files that are read together.
fn batches(files: &[Found], file_bytes_max: u64) -> Vec<&[Found]> {
    let (mut batches, mut rest) = (Vec::new(), files);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |file: &&Found| {
            bytes += bytes_at_most(file, file_bytes_max);
            bytes <= BYTES_AT_ONCE
        };
        let count = rest
            .iter()
            .take(FILES_AT_ONCE)
            .take_while(fits)
            .count()
            .max(1);
        let (batch, others) = rest.split_at(count);
        batches.push(batch);
        rest = others;
    }
    batches
}

/// How much of a file is in memory at most; a packed one is there twice.
fn bytes_at_most(file: &Found, file_bytes_max: u64) -> u64 {
    let is_packed = file.path.extension().is_some_and(|ending| ending == "gz");
    let unpacked = file.bytes.saturating_mul(GZIP_RATIO).min(file_bytes_max);
    file.bytes + if is_packed { unpacked } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ingest::{root::Root, walk};
    use crate::record::Namespace;

    #[test]
    fn packed_files_count_as_what_they_may_become() {
        let home = tempfile::tempdir().unwrap();
        for n in 0..64 {
            for (ending, bytes) in [("gz", 40_000), ("small.gz", 300), ("txt", 40_000)] {
                let file = fs::File::create(home.path().join(format!("{ending}-{n}.{ending}")));
                file.unwrap().set_len(bytes).unwrap();
            }
        }
        let options = IngestOptions::new(Namespace::new("a").unwrap());
        let root = Arc::new(Root::named(home.path()).unwrap());
        let (files, _) = walk::walk(&root, &options, &mut |_| {});
        assert_eq!(files.len(), 3 * 64);
        let sizes = |from: &str| {
            let is_one = |file: &&Found| {
                let name = file.path.file_name().unwrap_or_default();
                name.to_string_lossy().starts_with(from)
            };
            let files: Vec<Found> = files.iter().filter(is_one).cloned().collect();
            let batches = batches(&files, options.file_bytes_max);
            batches.iter().map(|batch| batch.len()).max().unwrap()
        };
        assert_eq!(sizes("txt"), 64);
        assert_eq!(sizes("small"), 64, "as a man page is");
        assert_eq!(sizes("gz-"), 1, "each may become 32 MB");
    }
}
