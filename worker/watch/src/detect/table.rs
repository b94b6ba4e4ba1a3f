//! A map that never grows beyond its size. When it is full, the hand of a clock looks for an entry
//! that was not used for some rounds; what was used often survives more of them. A flood of new
//! keys therefore displaces other new keys first, and what is forgotten is never counted too high.

use std::hash::Hash;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Rounds that an entry can earn by being used.
const ROUNDS_MAX: u8 = 7;

#[derive(Debug)]
pub(crate) struct Table<K, V> {
    at: HashMap<K, u32, FixedState>,
    slots: Vec<Slot<K, V>>,
    hand: usize,
    max: usize,
    /// Entries that were given up.
    pub(crate) forgotten: u64,
}

#[derive(Debug)]
struct Slot<K, V> {
    key: K,
    rounds: u8,
    value: V,
}

impl<K: Copy + Eq + Hash, V: Default> Table<K, V> {
    /// At most so many entries; at least one. Memory is taken as they come.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            // Keys that attackers choose are spread by a seed that they do not know.
            at: HashMap::with_hasher(FixedState::with_seed(super::seed())),
            slots: Vec::new(),
            hand: 0,
            max: max.clamp(1, 1 << 31),
            forgotten: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The entry of a key, new if there was none.
    pub(crate) fn entry(&mut self, key: K) -> &mut V {
        if let Some(&at) = self.at.get(&key) {
            let slot = &mut self.slots[at as usize];
            slot.rounds = (slot.rounds + 1).min(ROUNDS_MAX);
            return &mut slot.value;
        }
        let slot = Slot {
            key,
            rounds: 0,
            value: V::default(),
        };
        let at = if self.slots.len() < self.max {
            self.slots.push(slot);
            self.slots.len() - 1
        } else {
            let at = self.victim();
            self.at.remove(&self.slots[at].key);
            self.slots[at] = slot;
            self.forgotten += 1;
            at
        };
        self.at.insert(key, u32::try_from(at).unwrap_or(u32::MAX));
        &mut self.slots[at].value
    }

    fn victim(&mut self) -> usize {
        loop {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            let slot = &mut self.slots[at];
            if slot.rounds == 0 {
                return at;
            }
            slot.rounds -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_new_keys_leaves_those_that_are_used() {
        let mut table: Table<u64, u64> = Table::new(1_000);
        for round in 0..100_000u64 {
            *table.entry(1_000_000 + round) += 1;
            if round % 10 == 0 {
                *table.entry(round % 100 / 10) += 1;
            }
        }
        assert_eq!(table.len(), 1_000);
        assert!((0..10).all(|key| *table.entry(key) == 1_000));
        assert!(table.forgotten > 98_000);
    }
}
