//! What computes: one trait, three implementations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::vocabulary::Token;

#[cfg(feature = "candle")]
pub mod candle;
#[cfg(feature = "llama")]
pub mod llama;
#[cfg(any(test, feature = "scripted"))]
pub mod scripted;

/// The number of a sequence in a backend's KV cache.
pub type SeqId = u32;

/// Consecutive tokens of one sequence, appended behind what the cache holds of it.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The sequence.
    pub seq: SeqId,
    /// Position of the first token: how many the cache holds of the sequence.
    pub start: u32,
    /// The tokens, at least one.
    pub tokens: &'a [Token],
    /// Behind how many of its last tokens the logits are wanted.
    pub outputs: u32,
}

/// What a backend can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Tokens in the KV cache, over all sequences.
    pub cells: u32,
    /// Sequences at once.
    pub sequences: u32,
    /// Longest sequence.
    pub context_tokens: u32,
    /// Tokens in one decode.
    pub batch_tokens: u32,
    /// Rows of logits in one decode.
    pub outputs: u32,
    /// Whether a sequence can be cut anywhere. A sliding window or a recurrent state can't.
    pub rolls_back: bool,
    /// Whether a copy of a sequence shares its cells; otherwise it takes as many again.
    pub shares_cells: bool,
}

/// Why a decode gave no logits. The sequences of the batch are then in an unknown state:
/// the caller truncates or clears each of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The abort signal was seen.
    #[error("aborted")]
    Aborted,
    /// No cells left for the batch.
    #[error("the KV cache is full")]
    CacheFull,
    /// The backend failed.
    #[error("{0}")]
    Failed(String),
}

/// Stops a running decode from another thread.
#[derive(Debug, Clone, Default)]
pub struct AbortSignal(Arc<AtomicBool>);

impl AbortSignal {
    /// Asks the running decode to stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Forgets an earlier request.
    pub fn clear(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// The flag itself, for a callback across the C border.
    #[must_use]
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }
}

/// A loaded model with its KV cache. Owned by one engine thread.
pub trait Backend: Send {
    /// What it can hold.
    fn capacity(&self) -> Capacity;

    /// With how many threads it computes, if that can be changed and makes a difference.
    fn threads(&self) -> Option<u32> {
        None
    }

    /// Computes with so many threads from now on, at most as many as it was loaded with. A
    /// backend whose threads are everybody's does not.
    fn set_threads(&mut self, _threads: u32) {}

    /// The signal that stops a running [`decode`](Self::decode).
    fn abort_signal(&self) -> AbortSignal;

    /// Computes the runs together.
    ///
    /// # Errors
    /// See [`DecodeError`].
    fn decode(&mut self, runs: &[Run<'_>]) -> Result<(), DecodeError>;

    /// A row of logits of the last decode, one for each token of the vocabulary: of run number
    /// `run`, the row number `output` of those that it wanted, in the order of its tokens.
    fn logits(&self, run: usize, output: usize) -> &[f32];

    /// Makes the empty sequence `to` hold the first `len` tokens that `from` holds. A model that
    /// can't go back copies whole sequences only.
    fn copy(&mut self, from: SeqId, to: SeqId, len: u32);

    /// What the sequence holds, as bytes for [`restore`](Self::restore) in a backend of the same
    /// build and model. `None`: it can't be had, or has more than `bytes_max`.
    fn save(&mut self, seq: SeqId, bytes_max: usize) -> Option<Vec<u8>>;

    /// Puts back what was saved into an empty sequence. `false`: it is not usable, and the
    /// sequence is empty.
    fn restore(&mut self, seq: SeqId, state: &[u8]) -> bool;

    /// Forgets what the sequence holds beyond its first `keep` tokens. `false`: this model can't
    /// go back; nothing was changed.
    fn truncate(&mut self, seq: SeqId, keep: u32) -> bool;

    /// Forgets the sequence.
    fn clear(&mut self, seq: SeqId);

    /// The input's vector, of unit length.
    ///
    /// # Errors
    /// [`DecodeError::Failed`] when the model or the backend has none.
    fn embed(&mut self, input: &[Token]) -> Result<Vec<f32>, DecodeError>;
}
