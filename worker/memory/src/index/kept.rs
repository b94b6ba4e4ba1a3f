//! An index in a file beside its store, so that the next start need not take all texts apart.
//!
//! Nothing depends on it: one that is damaged, of another version or of another store is thrown
//! away. Which records have changed since is seen by their stamps, one by one. So it may be written
//! at any time, and it needs no care for a crash.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::Index;
use crate::error::{Result, io};
use crate::record::Id;
use crate::store::Stamp;

/// Another number whenever words are taken apart or counted in another way.
const MAGIC: &[u8; 8] = b"FAZWRD1\n";

/// What stands in the file behind the checksum.
#[derive(Serialize)]
struct Written<'a> {
    index: &'a Index,
    /// Of each number's record; none for those that are gone.
    stamps: Vec<Option<Stamp>>,
}

#[derive(Deserialize)]
struct Read {
    index: Index,
    stamps: Vec<Option<Stamp>>,
}

impl Index {
    /// Writes it for the next start.
    pub(crate) fn keep(&self, path: &Path, stamps: &HashMap<Id, Stamp>) -> Result<()> {
        let stamp = |doc: &super::Doc| stamps.get(&doc.id).copied();
        let alive = self.docs.iter().zip(&self.seen);
        let written = Written {
            stamps: alive
                .map(|(doc, seen)| seen.live.then(|| stamp(doc)).flatten())
                .collect(),
            index: self,
        };
        let body = postcard::to_allocvec(&written)
            .map_err(|error| io(path)(std::io::Error::other(error.to_string())))?;
        let new = path.with_extension("words-new");
        let write = || {
            let _ = fs::remove_file(&new);
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(MAGIC)?;
            file.write_all(&crc32fast::hash(&body).to_le_bytes())?;
            file.write_all(&body)?;
            fs::rename(&new, path)
        };
        self.unkept.store(0, Ordering::Relaxed);
        write().map_err(io(path))
    }

    /// The index of a file, without the records that are not or not so in the store any more.
    /// `None` if there is none that can be used.
    pub(crate) fn kept(path: &Path, stamps: &HashMap<Id, Stamp>) -> Option<Self> {
        let bytes = fs::read(path).ok()?;
        let rest = bytes.strip_prefix(MAGIC)?;
        let (crc, body) = rest.split_at_checked(4)?;
        if crc32fast::hash(body) != u32::from_le_bytes(crc.try_into().ok()?) {
            return None;
        }
        let Read {
            mut index,
            stamps: kept,
        } = postcard::from_bytes(body).ok()?;
        let is_known = |at: u32| (at as usize) < kept.len();
        let fits = index.postings.values().all(|each| is_known(each.last()))
            && (index.docs.len(), index.seen.len()) == (kept.len(), kept.len());
        if !fits {
            return None;
        }
        let all = (0..).zip(index.docs.iter().zip(&index.seen).zip(kept));
        let mut changed = Vec::new();
        for (at, ((doc, seen), stamp)) in all {
            if seen.live && stamp.is_some() && stamps.get(&doc.id).copied() == stamp {
                index.by_id.insert(doc.id, at);
            } else if seen.live {
                changed.push(at);
            }
        }
        changed.into_iter().for_each(|at| index.bury(at));
        Some(index)
    }
}
