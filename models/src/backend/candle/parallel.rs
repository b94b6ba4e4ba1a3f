//! Work on candle's own threads.
//!
//! Not on rayon's: candle's workers spin for a while after each matrix, so a second pool would
//! fight with them for the same processors. The pool is sized once, at its first use, by
//! `CANDLE_NUM_THREADS` or else by the number of physical cores; nothing in a running program
//! can change that.

use std::sync::{Mutex, PoisonError};

use candle_core::utils::barrier_pool;

/// Below this many numbers, waking the others costs more than it saves.
const PARALLEL_MIN: usize = 32_768;

/// How many threads compute.
pub(super) fn threads() -> usize {
    barrier_pool().n_workers() + 1
}

/// Runs `work` for each number up to `count`, in any order.
pub(super) fn for_each(count: usize, work: impl Fn(usize) + Sync) {
    barrier_pool().execute_chunked(count, |range| range.for_each(&work));
}

/// Runs `work` on each row of `data`.
pub(super) fn for_each_row(
    data: &mut [f32],
    width: usize,
    work: impl Fn(usize, &mut [f32]) + Sync,
) {
    if data.len() < PARALLEL_MIN {
        let rows = data.chunks_exact_mut(width).enumerate();
        rows.for_each(|(index, row)| work(index, row));
        return;
    }
    let rows = Parts::of(data, width);
    for_each(rows.len(), |index| rows.with(index, |row| work(index, row)));
}

/// Equal parts of a slice, each written by one thread. The locks are never waited for; they
/// are what proves it to the compiler.
pub(super) struct Parts<'a>(Vec<Mutex<&'a mut [f32]>>);

impl<'a> Parts<'a> {
    pub(super) fn of(data: &'a mut [f32], length: usize) -> Self {
        Self(data.chunks_exact_mut(length).map(Mutex::new).collect())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn with(&self, index: usize, work: impl FnOnce(&mut [f32])) {
        let mut part = self.0[index].lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut part);
    }
}
