//! Counters over a sliding window, in a few bytes each.
//!
//! A window is kept as its current part and the one before, which counts by the share of it that
//! is still inside. For a steady stream that is exact; at most it is off by the unevenness of the
//! part before.

use crate::time::Timestamp;

/// Counts what happens in a window of seconds.
pub(crate) trait Counter {
    /// What is counted.
    type More;

    /// Counts it too, and says how many there are in the window.
    fn add(&mut self, time: Timestamp, window_s: u32, more: Self::More) -> u32;
}

/// How many in the last seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rate {
    part: u32,
    now: u32,
    before: u32,
}

impl Counter for Rate {
    type More = u32;

    fn add(&mut self, time: Timestamp, window_s: u32, more: u32) -> u32 {
        match steps(&mut self.part, time, window_s) {
            0 => {}
            1 => (self.before, self.now) = (self.now, 0),
            _ => (self.before, self.now) = (0, 0),
        }
        self.now = self.now.saturating_add(more);
        self.now.saturating_add(share(self.before, time, window_s))
    }
}

/// 256 bits: good to a few in a hundred up to some 500 different things.
type Bits = [u64; 4];

/// How many different things in the last one to two windows: linear counting.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Distinct {
    part: u32,
    now: Bits,
    before: Bits,
}

impl Counter for Distinct {
    /// A thing's hash.
    type More = u64;

    fn add(&mut self, time: Timestamp, window_s: u32, hash: u64) -> u32 {
        match steps(&mut self.part, time, window_s) {
            0 => {}
            1 => (self.before, self.now) = (self.now, Bits::default()),
            _ => (self.before, self.now) = <(Bits, Bits)>::default(),
        }
        let bit = (hash >> 56) as usize;
        self.now[bit / 64] |= 1 << (bit % 64);
        let set: u32 = (0..4)
            .map(|at| (self.now[at] | self.before[at]).count_ones())
            .sum();
        counted(set, 256)
    }
}

/// How many different things set so many of `bits` bits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small and positive"
)]
pub(crate) fn counted(set: u32, bits: u32) -> u32 {
    let bits_of = f64::from(bits);
    let zero = f64::from(bits.saturating_sub(set).max(1));
    (bits_of * (bits_of / zero).ln()).round() as u32
}

/// How many parts of time have passed; an event that comes late counts as of now.
fn steps(part: &mut u32, time: Timestamp, window_s: u32) -> u32 {
    let at = u32::try_from(time.seconds() / i64::from(window_s.max(1))).unwrap_or(0);
    let steps = at.saturating_sub(*part);
    *part = at.max(*part);
    steps
}

#[expect(clippy::cast_possible_truncation, reason = "not more than `before`")]
fn share(before: u32, time: Timestamp, window_s: u32) -> u32 {
    let window = u64::from(window_s.max(1));
    let inside = window - u64::try_from(time.seconds()).unwrap_or(0) % window;
    (u64::from(before) * inside / window) as u32
}

/// What goes on is said again after so long, in seconds.
const AGAIN_S: u32 = 60;

/// When to speak up: at a threshold, again at each fourfold of it and once in a minute while it goes
/// on; anew when it was quiet for a window.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trip {
    level: u32,
    at: u32,
}

impl Trip {
    pub(crate) fn trips(
        &mut self,
        value: u32,
        threshold: u32,
        time: Timestamp,
        window_s: u32,
    ) -> bool {
        let now = u32::try_from(time.seconds()).unwrap_or(0);
        if now.saturating_sub(self.at) > window_s.saturating_mul(2) {
            self.level = 0;
        }
        let again = self.level > 0 && now.saturating_sub(self.at) >= AGAIN_S;
        if value < threshold.max(1) || !again && value < self.level.saturating_mul(4) {
            return false;
        }
        self.level = value.max(self.level);
        self.at = now;
        true
    }
}

/// A counter that speaks up.
#[derive(Debug, Default)]
pub(crate) struct Alarm<C> {
    counter: C,
    trip: Trip,
}

impl<C: Counter> Alarm<C> {
    /// Adds to it, and says how many there are in the window if that is to be told.
    pub(crate) fn add(
        &mut self,
        time: Timestamp,
        window_s: u32,
        threshold: u32,
        more: C::More,
    ) -> Option<u32> {
        let count = self.counter.add(time, window_s, more);
        let trips = self.trip.trips(count, threshold, time, window_s);
        trips.then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use foldhash::quality::FixedState;

    use super::*;

    #[test]
    fn a_window_slides() {
        let mut rate = Rate::default();
        let mut at = |seconds: i64, more| rate.add(Timestamp::default().plus_s(seconds), 60, more);
        assert_eq!(at(600, 30), 30);
        assert_eq!(at(659, 30), 60);
        // Half of the part before is still inside.
        assert_eq!(at(690, 1), 31);
        assert_eq!(at(660, 0), 61, "late events count as of now");
        assert_eq!(at(900, 1), 1);
    }

    #[test]
    fn different_things_are_counted_within_a_tenth() {
        for wanted in [1u32, 10, 25, 100, 300] {
            let mut distinct = Distinct::default();
            let mut found = 0;
            for round in 0..3 {
                for thing in 0..wanted {
                    // Each seed has things that collide; this one is the same in every run.
                    let hash = FixedState::with_seed(1).hash_one(thing);
                    found = distinct.add(Timestamp::default().plus_s(1_000 + round), 60, hash);
                }
            }
            let error = f64::from(found.abs_diff(wanted)) / f64::from(wanted);
            assert!(error < 0.15, "{found} of {wanted}");
        }
    }

    #[test]
    fn a_trip_speaks_once_and_again_when_it_gets_much_worse() {
        let mut trip = Trip::default();
        let time = |seconds| Timestamp::default().plus_s(seconds);
        let spoke: Vec<u32> = (0..100)
            .filter(|value| trip.trips(*value, 5, time(100), 60))
            .collect();
        assert_eq!(spoke, [5, 20, 80]);
        assert!(trip.trips(6, 5, time(300), 60));
    }
}
