//! What the embedded store keeps in memory of one collection: for each record where it is, what it
//! is filtered by, and its vector in small.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Bound;
use std::sync::Arc;

use super::Stamp;
use super::log::Place;
use super::vectors::{Coded, Vectors};
use crate::filter::{Face, Facets, Filter, Words};
use crate::record::Id;

#[derive(Default)]
pub(super) struct Table {
    /// Where the places are.
    pub(super) file: Option<Arc<File>>,
    pub(super) live_bytes: u64,
    dimensions: Option<usize>,
    words: Words,
    slots: Vec<Slot>,
    by_id: BTreeMap<Id, usize>,
    vectors: Vectors,
}

struct Slot {
    id: Id,
    place: Place,
    facets: Facets,
    stamp: Stamp,
    has_vector: bool,
}

impl Table {
    pub(super) fn dimensions(&self) -> Option<usize> {
        self.dimensions
    }

    pub(super) fn set_dimensions(&mut self, dimensions: usize) {
        self.dimensions = Some(dimensions);
        self.vectors = Vectors::new(dimensions, self.slots.len());
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn put(
        &mut self,
        id: Id,
        place: Place,
        stamp: Stamp,
        face: &Face<'_>,
        vector: Option<&Coded>,
    ) {
        let slot = Slot {
            id,
            place,
            facets: self.words.facets(face),
            stamp,
            has_vector: vector.is_some(),
        };
        self.live_bytes += u64::from(place.bytes);
        let at = match self.by_id.get(&id) {
            Some(at) => {
                self.live_bytes -= u64::from(self.slots[*at].place.bytes);
                self.slots[*at] = slot;
                *at
            }
            None => {
                self.by_id.insert(id, self.slots.len());
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.vectors.set(at, vector);
    }

    /// The last slot moves to where the removed one was, so that there are no holes.
    pub(super) fn remove(&mut self, id: Id) {
        let Some(at) = self.by_id.remove(&id) else {
            return;
        };
        let removed = self.slots.swap_remove(at);
        self.live_bytes -= u64::from(removed.place.bytes);
        self.vectors.swap_remove(at);
        if let Some(moved) = self.slots.get(at) {
            self.by_id.insert(moved.id, at);
        }
    }

    /// Where records are; those that are not there are left out.
    pub(super) fn places_of(&self, ids: &[Id]) -> Vec<Place> {
        let slots = ids.iter().filter_map(|id| self.by_id.get(id));
        slots.map(|at| self.slots[*at].place).collect()
    }

    /// Where up to `limit` records are, by id, after one of them.
    pub(super) fn places_after(&self, after: Option<Id>, limit: usize) -> Vec<Place> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let slots = self.by_id.range((from, Bound::Unbounded)).take(limit);
        slots.map(|(_, at)| self.slots[*at].place).collect()
    }

    /// Where all records are, slot after slot.
    pub(super) fn places(&self) -> Vec<Place> {
        self.slots.iter().map(|slot| slot.place).collect()
    }

    /// They have moved.
    pub(super) fn set_places(&mut self, places: Vec<Place>) {
        for (slot, place) in self.slots.iter_mut().zip(places) {
            slot.place = place;
        }
    }

    pub(super) fn stamps(&self) -> impl Iterator<Item = (Id, Stamp)> {
        self.slots.iter().map(|slot| (slot.id, slot.stamp))
    }

    /// Records among which the `k` nearest to a vector of unit length are.
    pub(super) fn candidates(&self, vector: &[f32], k: usize, filter: &Filter) -> Vec<(Id, Place)> {
        let Some(sieve) = self.words.sieve(filter) else {
            return Vec::new();
        };
        let passes = |at: usize| {
            let slot = &self.slots[at];
            slot.has_vector && sieve.passes(&slot.facets)
        };
        let candidates = self.vectors.candidates(vector, k, passes);
        let candidates = candidates.into_iter().map(|at| &self.slots[at]);
        candidates.map(|slot| (slot.id, slot.place)).collect()
    }
}
