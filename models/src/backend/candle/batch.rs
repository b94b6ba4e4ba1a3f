//! What one decode computes.

use std::ops::Range;

/// The rows of one sequence in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) sequence: usize,
    /// Position of the first row.
    pub(super) start: usize,
    pub(super) rows: Range<usize>,
}

/// Tokens that are computed together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) tokens: Vec<u32>,
    pub(super) positions: Vec<u32>,
    pub(super) spans: Vec<Span>,
    /// Rows whose logits are wanted.
    pub(super) outputs: Vec<u32>,
}
