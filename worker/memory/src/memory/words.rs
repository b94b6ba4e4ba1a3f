//! The index of a store's words: taken from the file beside the store where it still fits, read
//! from the store where it does not, and kept for the next start.

use std::collections::HashMap;

use super::{Memory, slot};
use crate::error::Result;
use crate::index::Index;
use crate::record::Id;
use crate::store::{BATCH_MAX, Collection, each_page};

/// When this many records have changed, and a quarter of all, the index is kept again.
const UNKEPT_MAX: usize = 5000;
/// Fewer are read again faster than a file is written.
const UNKEPT_MIN: usize = 500;

impl Memory {
    /// Keeps the index of words beside an embedded store, so that the next start is fast. That is
    /// done by itself now and then and when the memory is dropped; call it before a process ends
    /// in another way. Without it nothing is lost but time.
    pub fn keep_words(&self) -> Result<()> {
        let _writes = self.write();
        let keep = |collection| self.keep(collection, UNKEPT_MIN);
        Collection::ALL.into_iter().try_for_each(keep)
    }

    /// After every change, by whoever holds the writes. What was stored is stored, also where this
    /// fails; it is tried again after as many changes.
    pub(super) fn keep_if_due(&self, collection: Collection) {
        let quarter = self.index(collection).len() / 4;
        let _ = self.keep(collection, UNKEPT_MAX.max(quarter));
    }

    fn keep(&self, collection: Collection, least: usize) -> Result<()> {
        if self.index(collection).unkept() < least {
            return Ok(());
        }
        match self.store.beside(collection) {
            Some((path, stamps)) => self.index(collection).keep(&path, &stamps),
            None => Ok(()),
        }
    }

    /// The index of all that the store has now.
    pub(super) fn read_index(&self, collection: Collection) -> Result<Index> {
        let Some((path, stamps)) = self.store.beside(collection) else {
            let mut index = Index::with_copies();
            self.read_all(collection, &mut index)?;
            return Ok(index);
        };
        let Some(mut index) = Index::kept(&path, &stamps) else {
            let mut index = Index::default();
            self.read_all(collection, &mut index)?;
            return Ok(index);
        };
        self.read_missing(collection, &mut index, &stamps)?;
        Ok(index)
    }

    fn read_all(&self, collection: Collection, index: &mut Index) -> Result<()> {
        each_page(&*self.store, collection, true, |records| {
            index.put(&records);
            Ok(())
        })
    }

    fn read_missing<T>(
        &self,
        collection: Collection,
        index: &mut Index,
        all: &HashMap<Id, T>,
    ) -> Result<()> {
        let missing = all.keys().filter(|id| index.doc(**id).is_none());
        let mut missing: Vec<Id> = missing.copied().collect();
        missing.sort_unstable();
        for ids in missing.chunks(BATCH_MAX) {
            index.put(&self.store.get(collection, ids)?);
        }
        Ok(())
    }

    /// For `make_ready`: what was read is kept at once, if it was much.
    pub(super) fn set_index(&self, collection: Collection, index: Index) {
        let new = &self.indexes[slot(collection)];
        *new.write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = index;
        let _ = self.keep(collection, UNKEPT_MIN);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // It is only for speed, and there is nobody to tell.
        let _ = self.keep_words();
    }
}
