//! The records that have a word, and how often, in one or two bytes for most of them.
//!
//! Records are numbered in the order in which they come, so that a number is kept as its distance
//! from the one before. Two bits of it say how often, up to three times; what is more follows.

use serde::{Deserialize, Serialize};

/// From this count on it stands by itself.
const MANY: u32 = 4;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Postings {
    bytes: Vec<u8>,
    last: u32,
    len: u32,
}

/// The records of one word, each with how often it has it.
pub(super) struct Iter<'a> {
    bytes: &'a [u8],
    at: u32,
}

impl Postings {
    /// Adds a record; its number is greater than those before.
    pub(super) fn push(&mut self, at: u32, count: u32) {
        let distance = u64::from(at - self.last);
        let few = count.clamp(1, MANY) - 1;
        self.write(distance << 2 | u64::from(few));
        if count >= MANY {
            self.write(u64::from(count - MANY));
        }
        self.last = at;
        self.len += 1;
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// The greatest number of a record.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    pub(super) fn iter(&self) -> Iter<'_> {
        Iter {
            bytes: &self.bytes,
            at: 0,
        }
    }

    /// Seven bits in each byte, and whether more follow.
    fn write(&mut self, mut number: u64) {
        loop {
            let low = (number & 0x7f) as u8;
            number >>= 7;
            if number == 0 {
                return self.bytes.push(low);
            }
            self.bytes.push(low | 0x80);
        }
    }
}

impl FromIterator<(u32, u32)> for Postings {
    fn from_iter<T: IntoIterator<Item = (u32, u32)>>(records: T) -> Self {
        let mut postings = Self::default();
        for (at, count) in records {
            postings.push(at, count);
        }
        postings.bytes.shrink_to_fit();
        postings
    }
}

impl Iter<'_> {
    fn read(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let (byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
            shift += 7;
            if shift > 56 {
                return None;
            }
        }
    }
}

impl Iterator for Iter<'_> {
    type Item = (u32, u32);

    #[expect(
        clippy::cast_possible_truncation,
        reason = "it was written from 32 bits"
    )]
    fn next(&mut self) -> Option<(u32, u32)> {
        let number = self.read()?;
        self.at = self.at.wrapping_add((number >> 2) as u32);
        let few = (number & 3) as u32 + 1;
        let count = match few {
            MANY => MANY.saturating_add(self.read()? as u32),
            few => few,
        };
        Some((self.at, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let records = [
            (0, 1),
            (1, 3),
            (31, 4),
            (32, 5),
            (5000, 1000),
            (1 << 30, u32::MAX),
            (u32::MAX, 2),
        ];
        let postings: Postings = records.into_iter().collect();
        assert_eq!(postings.iter().collect::<Vec<_>>(), records);
        assert_eq!(postings.len(), 7);
        let dense: Postings = (0..1000).map(|at| (at, 1)).collect();
        assert_eq!(dense.bytes.len(), 1000);
        // Half a number, and one without an end.
        for bytes in [vec![0x80], vec![0xff; 100]] {
            let broken = Postings {
                bytes,
                last: 0,
                len: 1,
            };
            assert_eq!(broken.iter().next(), None);
        }
    }
}
