//! The backend with a memory: what was computed for one job is kept for the next that begins
//! alike.

use tracing::debug;

use super::numbers::to_u32;
use super::prefix::{Match, PrefixTree};
use crate::backend::{AbortSignal, Backend, Capacity, DecodeError, Run, SeqId};
use crate::vocabulary::Token;

/// Less than this is computed again rather than shared: a sequence is worth more.
const SHARED_TOKENS_MIN: u32 = 8;

/// A backend, and what its cells hold.
///
/// A sequence is *live* while a job has it, *idle* while it is only kept in case that it is of
/// use again, and free otherwise. Idle ones go when their cells or numbers are needed, those
/// first that were of use the longest ago.
pub(super) struct KvCache {
    backend: Box<dyn Backend>,
    capacity: Capacity,
    tree: PrefixTree,
    free: Vec<SeqId>,
}

impl KvCache {
    pub(super) fn new(backend: Box<dyn Backend>) -> Self {
        let capacity = backend.capacity();
        Self {
            backend,
            capacity,
            tree: PrefixTree::default(),
            free: (0..capacity.sequences).rev().collect(),
        }
    }

    pub(super) fn capacity(&self) -> Capacity {
        self.capacity
    }

    pub(super) fn threads(&self) -> Option<u32> {
        self.backend.threads()
    }

    pub(super) fn set_threads(&mut self, threads: u32) {
        self.backend.set_threads(threads);
    }

    pub(super) fn abort_signal(&self) -> AbortSignal {
        self.backend.abort_signal()
    }

    /// Cells that hold something.
    pub(super) fn cells_used(&self) -> u32 {
        self.tree.cells()
    }

    /// Cells that hold something of a job.
    pub(super) fn cells_live(&self) -> u32 {
        self.tree.live_cells()
    }

    /// Whether a sequence for another job can be had.
    pub(super) fn has_sequence(&self) -> bool {
        !self.free.is_empty() || self.tree.oldest().is_some()
    }

    /// An empty live sequence, if need be that of something idle.
    pub(super) fn begin(&mut self) -> Option<SeqId> {
        if self.free.is_empty() {
            let (seq, _) = self.tree.oldest()?;
            self.release(seq);
        }
        let seq = self.free.pop()?;
        self.tree.begin(seq);
        Some(seq)
    }

    /// The most of `tokens` that can be taken over.
    pub(super) fn find(&self, tokens: &[Token]) -> Option<Match> {
        let found = self.tree.longest(tokens, !self.capacity.rolls_back)?;
        let live_len = if self.capacity.shares_cells {
            found.live_len
        } else {
            0
        };
        Some(Match { live_len, ..found }).filter(|found| found.len >= SHARED_TOKENS_MIN)
    }

    /// How many of `tokens` somebody has begun with before. For a model that can't go back this
    /// may be more than [`find`](Self::find) finds, and is then a place to keep a copy at.
    pub(super) fn known(&self, tokens: &[Token]) -> u32 {
        self.tree.known(tokens)
    }

    /// Takes over what is held of `tokens`, if it is more than the live sequence holds already.
    /// Returns how many tokens the sequence then holds.
    pub(super) fn adopt(&mut self, seq: SeqId, tokens: &[Token]) -> u32 {
        let held = self.tree.len(seq);
        let better = |found: &Match| found.seq != seq && found.len >= held + SHARED_TOKENS_MIN;
        let Some(found) = self.find(tokens).filter(better) else {
            return held;
        };
        if !self.has_room_to_copy(found.len) {
            return held;
        }
        self.backend.clear(seq);
        self.tree.begin(seq);
        self.copy(found.seq, seq, found.len);
        found.len
    }

    fn has_room_to_copy(&self, len: u32) -> bool {
        self.capacity.shares_cells || self.capacity.cells - self.cells_used() >= len
    }

    /// Makes the empty live sequence `to` hold the first `len` tokens that `from` holds.
    fn copy(&mut self, from: SeqId, to: SeqId, len: u32) {
        self.backend.copy(from, to, len);
        if self.capacity.shares_cells {
            self.tree.share(from, to, len);
        } else {
            let tokens = self.tree.tokens(from);
            self.tree.extend(to, &tokens[..len as usize]);
        }
    }

    /// Another live sequence that holds what this one holds.
    pub(super) fn fork(&mut self, seq: SeqId) -> Option<SeqId> {
        let len = self.tree.len(seq);
        if !self.has_room_to_copy(len) {
            return None;
        }
        let copy = self.begin()?;
        self.copy(seq, copy, len);
        Some(copy)
    }

    /// Keeps a copy of what the sequence holds now, for a model that can't go back to it.
    pub(super) fn keep_copy(&mut self, seq: SeqId) {
        if let Some(copy) = self.fork(seq) {
            self.retire(copy);
        }
    }

    /// The sequence's job is over: what it holds may be of use to another one.
    pub(super) fn retire(&mut self, seq: SeqId) {
        if self.capacity.rolls_back && self.tree.is_covered(seq) {
            self.release(seq);
        } else {
            self.tree.set_live(seq, false);
        }
    }

    /// Forgets the sequence.
    pub(super) fn release(&mut self, seq: SeqId) {
        self.backend.clear(seq);
        self.tree.remove(seq);
        self.free.push(seq);
    }

    /// Forgets what the sequence holds beyond its first `keep` tokens, or all of it if the model
    /// can't go back. Returns how many it holds then.
    pub(super) fn truncate(&mut self, seq: SeqId, keep: u32) -> u32 {
        if self.backend.truncate(seq, keep) {
            self.tree.truncate(seq, keep);
        } else {
            self.backend.clear(seq);
            self.tree.begin(seq);
        }
        self.tree.len(seq)
    }

    /// Computes the runs, in the cells of idle sequences if there are not enough others.
    ///
    /// # Errors
    /// See [`DecodeError`]; the runs' sequences are then to be truncated.
    pub(super) fn decode(&mut self, runs: &[Run<'_>]) -> Result<(), DecodeError> {
        let tokens: usize = runs.iter().map(|run| run.tokens.len()).sum();
        self.make_room(to_u32(tokens));
        self.backend.decode(runs)?;
        for run in runs {
            self.tree.extend(run.seq, run.tokens);
        }
        Ok(())
    }

    /// Gives up idle cells until so many are free.
    fn make_room(&mut self, cells: u32) {
        while self.cells_used().saturating_add(cells) > self.capacity.cells
            && let Some((seq, keep)) = self.tree.oldest()
        {
            debug!(seq, keep, "idle cells are given up");
            if keep == 0 || self.truncate(seq, keep) == 0 {
                self.release(seq);
            }
        }
    }

    pub(super) fn logits(&self, run: usize, output: usize) -> &[f32] {
        self.backend.logits(run, output)
    }

    pub(super) fn embed(&mut self, input: &[Token]) -> Result<Vec<f32>, DecodeError> {
        self.backend.embed(input)
    }

    /// Moves what the sequence holds into this process's memory, if that is at most
    /// `bytes_max`; the sequence is then free.
    pub(super) fn move_out(&mut self, seq: SeqId, bytes_max: usize) -> Option<Vec<u8>> {
        let state = self.backend.save(seq, bytes_max)?;
        self.release(seq);
        Some(state)
    }

    /// A copy of the state of the sequence's first `len` tokens.
    pub(super) fn snapshot(&mut self, seq: SeqId, len: u32) -> Option<Vec<u8>> {
        if self.tree.len(seq) == len {
            return self.backend.save(seq, usize::MAX);
        }
        if !self.capacity.rolls_back {
            return None;
        }
        let copy = self.fork(seq)?;
        self.truncate(copy, len);
        let state = self.backend.save(copy, usize::MAX);
        self.release(copy);
        state
    }

    /// Moves it back into a live sequence; `tokens` are those that it held.
    pub(super) fn move_in(&mut self, state: &[u8], tokens: &[Token]) -> Option<SeqId> {
        let seq = self.begin()?;
        self.make_room(to_u32(tokens.len()));
        if !self.backend.restore(seq, state) {
            self.release(seq);
            return None;
        }
        self.tree.extend(seq, tokens);
        Some(seq)
    }
}
