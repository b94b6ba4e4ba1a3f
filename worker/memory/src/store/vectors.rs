//! Vectors in a quarter of their size, and how far the answers of these can be off.
//!
//! Each number becomes one byte of a scale of its vector's own. By Cauchy and Schwarz the cosine of
//! two vectors of unit length changes by no more than the length of what was rounded away. So a
//! scan of the small vectors leaves a few candidates among which the true best ones are for
//! certain; their whole vectors decide.

use rayon::prelude::*;

/// A vector in bytes.
pub(super) struct Coded {
    codes: Box<[i8]>,
    scale: Scale,
}

#[derive(Clone, Copy, Default)]
struct Scale {
    /// What one step of a byte is worth.
    step: f32,
    /// The length of what was rounded away.
    error: f32,
}

/// Vectors of one size, slot after slot; zero where there is none.
#[derive(Default)]
pub(super) struct Vectors {
    dimensions: usize,
    codes: Vec<i8>,
    scales: Vec<Scale>,
}

/// What is looked for, in whole numbers.
struct Query {
    codes: Vec<i16>,
    step: f32,
    error: f32,
}

/// A slot and what its score is between.
#[derive(Clone, Copy)]
struct Candidate {
    slot: usize,
    low: f32,
    high: f32,
}

/// How many slots one thread compares before it takes more.
const SLOTS_PER_TASK: usize = 2048;
/// What sums of rounded numbers can be off by.
const SLACK: f32 = 1e-5;

impl Coded {
    /// Of a vector of unit length.
    #[expect(clippy::cast_possible_truncation, reason = "at most 127")]
    pub(super) fn of(vector: &[f32]) -> Self {
        let step = largest(vector) / 127.0;
        let code = |x: &f32| nearest(x / step) as i8;
        let codes: Box<[i8]> = vector.iter().map(code).collect();
        let rounded = vector.iter().zip(&codes);
        let error = length(rounded.map(|(x, code)| x - step * f32::from(*code)));
        Self {
            codes,
            scale: Scale { step, error },
        }
    }

    pub(super) fn dimensions(&self) -> usize {
        self.codes.len()
    }
}

impl Vectors {
    pub(super) fn new(dimensions: usize, slots: usize) -> Self {
        Self {
            dimensions,
            codes: vec![0; slots * dimensions],
            scales: vec![Scale::default(); slots],
        }
    }

    /// Sets the vector of a slot, which may be one behind the last.
    pub(super) fn set(&mut self, slot: usize, vector: Option<&Coded>) {
        if slot == self.scales.len() {
            self.scales.push(Scale::default());
            self.codes.resize(self.scales.len() * self.dimensions, 0);
        }
        if let Some(vector) = vector {
            self.scales[slot] = vector.scale;
            self.codes[slot * self.dimensions..][..self.dimensions].copy_from_slice(&vector.codes);
        }
    }

    /// The last one moves to where the removed one was.
    pub(super) fn swap_remove(&mut self, slot: usize) {
        self.scales.swap_remove(slot);
        let last = self.scales.len() * self.dimensions;
        self.codes.copy_within(last.., slot * self.dimensions);
        self.codes.truncate(last);
    }

    /// Slots among which the `k` are for certain whose cosine to a vector of unit length is
    /// greatest, of those that pass.
    pub(super) fn candidates(
        &self,
        vector: &[f32],
        k: usize,
        passes: impl Fn(usize) -> bool + Sync,
    ) -> Vec<usize> {
        let query = Query::new(vector);
        let tasks = self
            .scales
            .par_chunks(SLOTS_PER_TASK)
            .zip(
                self.codes
                    .par_chunks(SLOTS_PER_TASK * self.dimensions.max(1)),
            )
            .enumerate();
        let candidates = tasks.map(|(task, (scales, codes))| {
            let each = scales.iter().zip(codes.chunks_exact(self.dimensions));
            let each = (task * SLOTS_PER_TASK..).zip(each);
            let passing = each.filter(|(slot, _)| passes(*slot));
            let mut candidates = passing
                .map(|(slot, (scale, codes))| query.compare(slot, *scale, codes))
                .collect();
            keep(&mut candidates, k);
            candidates
        });
        let candidates = candidates.reduce(Vec::new, |mut one, other| {
            one.extend(other);
            keep(&mut one, k);
            one
        });
        candidates.into_iter().map(|found| found.slot).collect()
    }
}

impl Query {
    #[expect(clippy::cast_possible_truncation, reason = "at most 32767")]
    fn new(vector: &[f32]) -> Self {
        // As fine as sums in 32 bits allow.
        let sum_max = i32::MAX as usize / 127 / vector.len().max(1);
        let most = sum_max.min(i16::MAX as usize) as f32;
        let step = largest(vector) / most;
        let code = |x: &f32| nearest(x / step) as i16;
        let codes: Vec<i16> = vector.iter().map(code).collect();
        let rounded = vector.iter().zip(&codes);
        let error = length(rounded.map(|(x, code)| x - step * f32::from(*code)));
        Self { codes, step, error }
    }

    fn compare(&self, slot: usize, scale: Scale, codes: &[i8]) -> Candidate {
        let pairs = self.codes.iter().zip(codes);
        let sum: i32 = pairs.map(|(x, y)| i32::from(*x) * i32::from(*y)).sum();
        let score = sum as f32 * self.step * scale.step;
        let off = scale.error + self.error * (1.0 + scale.error) + SLACK;
        Candidate {
            slot,
            low: score - off,
            high: score + off,
        }
    }
}

/// Drops those that `k` others are better than for certain.
fn keep(candidates: &mut Vec<Candidate>, k: usize) {
    if k == 0 {
        candidates.clear();
    }
    if candidates.len() > k {
        let by_low = |one: &Candidate, other: &Candidate| other.low.total_cmp(&one.low);
        let (_, last, _) = candidates.select_nth_unstable_by(k - 1, by_low);
        let enough = last.low;
        candidates.retain(|candidate| candidate.high >= enough);
    }
}

fn largest(vector: &[f32]) -> f32 {
    let largest = vector.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    largest.max(f32::MIN_POSITIVE)
}

/// The nearest whole number; the function of that name is a call for most processors.
fn nearest(x: f32) -> f32 {
    (x + 0.5_f32.copysign(x)).trunc()
}

fn length(numbers: impl Iterator<Item = f32>) -> f32 {
    numbers.map(|x| x * x).sum::<f32>().sqrt() * 1.0001
}

/// Sixteen sums at once, which the compiler turns into vector instructions.
pub(super) fn dot(one: &[f32], other: &[f32]) -> f32 {
    let (ones, one_rest) = one.as_chunks::<16>();
    let (others, other_rest) = other.as_chunks::<16>();
    let mut sums = [0.0; 16];
    for (one, other) in ones.iter().zip(others) {
        for at in 0..16 {
            sums[at] += one[at] * other[at];
        }
    }
    let rest: f32 = one_rest
        .iter()
        .zip(other_rest)
        .map(|(one, other)| one * other)
        .sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(mut vector: Vec<f32>) -> Vec<f32> {
        vector.push(1e-3);
        crate::embed::unit(&mut vector, 9).unwrap();
        vector
    }

    proptest! {
        /// The plain way is the reference, also for vectors that are all alike.
        #[test]
        fn the_best_are_among_the_candidates(
            vectors in prop::collection::vec(prop::collection::vec(-1.0_f32..1.0, 8), 1..60),
            query in prop::collection::vec(-1.0_f32..1.0, 8),
            alike in 0.0_f32..2.0,
            k in 1_usize..20,
        ) {
            let vectors: Vec<Vec<f32>> = vectors
                .into_iter()
                .map(|vector| unit(vector.iter().map(|x| x + alike.floor() * 30.0).collect()))
                .collect();
            let query = unit(query);
            let mut coded = Vectors::new(9, 0);
            for (slot, vector) in vectors.iter().enumerate() {
                coded.set(slot, Some(&Coded::of(vector)));
            }
            let odd = |slot: usize| slot % 2 == 1;
            let candidates = coded.candidates(&query, k, odd);
            let mut best: Vec<usize> = (0..vectors.len()).filter(|slot| odd(*slot)).collect();
            best.sort_by(|one, other| {
                dot(&vectors[*other], &query).total_cmp(&dot(&vectors[*one], &query))
            });
            best.truncate(k);
            prop_assert!(best.iter().all(|slot| candidates.contains(slot)));
            prop_assert!(candidates.iter().all(|slot| odd(*slot)));
        }
    }

    #[test]
    fn most_are_left_out() {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let mut vector = || {
            let mut vector: Vec<f32> = (0..384).map(|_| next()).collect();
            crate::embed::unit(&mut vector, 384).unwrap();
            vector
        };
        let mut coded = Vectors::new(384, 0);
        for slot in 0..5000 {
            coded.set(slot, Some(&Coded::of(&vector())));
        }
        let candidates = coded.candidates(&vector(), 50, |_| true);
        assert!(
            (50..500).contains(&candidates.len()),
            "{}",
            candidates.len()
        );
    }
}
