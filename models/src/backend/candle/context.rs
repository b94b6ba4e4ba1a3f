//! The sequences of a loaded model, and the batches that extend them.

use candle_core::Error;

use super::batch::{Batch, Span};
use super::cache::Sequence;
use super::model::Model;
use crate::backend::{AbortSignal, Backend, Capacity, DecodeError, Run, SeqId};
use crate::vocabulary::Token;

/// A model with its sequences.
pub(super) struct Context {
    model: Model,
    sequences: Vec<Sequence>,
    capacity: Capacity,
    abort: AbortSignal,
    /// The logits of the last decode, row after row.
    logits: Vec<f32>,
    /// For each run of the last decode, which row is its first.
    rows: Vec<usize>,
}

impl Context {
    pub(super) fn new(model: Model, capacity: Capacity) -> Self {
        let sequences = (0..capacity.sequences).map(|_| model.sequence()).collect();
        Self {
            model,
            sequences,
            capacity,
            abort: AbortSignal::default(),
            logits: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Puts the runs into one batch, refusing what the model could not compute.
    fn batch(&mut self, runs: &[Run<'_>]) -> Result<Batch, DecodeError> {
        let mut batch = Batch::default();
        self.rows.clear();
        for run in runs {
            self.check(run)?;
            let first = batch.tokens.len();
            batch.tokens.extend_from_slice(run.tokens);
            batch.positions.extend((run.start..).take(run.tokens.len()));
            batch.spans.push(Span {
                sequence: run.seq as usize,
                start: run.start as usize,
                rows: first..batch.tokens.len(),
            });
            self.rows.push(batch.outputs.len());
            let end = to_u32(batch.tokens.len());
            batch.outputs.extend(end - run.outputs..end);
        }
        let (tokens, most) = (batch.tokens.len(), self.capacity.batch_tokens);
        if tokens > most as usize {
            return Err(DecodeError::Failed(format!(
                "{tokens} tokens in a batch of {most}"
            )));
        }
        let held: usize = self.sequences.iter().map(Sequence::len).sum();
        if held + tokens > self.capacity.cells as usize {
            return Err(DecodeError::CacheFull);
        }
        Ok(batch)
    }

    fn check(&self, run: &Run<'_>) -> Result<(), DecodeError> {
        let Some(sequence) = self.sequences.get(run.seq as usize) else {
            return Err(DecodeError::Failed(format!(
                "there is no sequence {}",
                run.seq
            )));
        };
        let (held, start) = (sequence.len(), run.start);
        if held != start as usize || run.tokens.is_empty() {
            let count = run.tokens.len();
            let reason = format!("{count} tokens at {start} behind {held} held ones");
            return Err(DecodeError::Failed(reason));
        }
        let size = self.model.vocabulary_size();
        match run.tokens.iter().find(|&&token| token as usize >= size) {
            Some(token) => Err(DecodeError::Failed(format!("there is no token {token}"))),
            None => Ok(()),
        }
    }
}

impl Backend for Context {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn abort_signal(&self) -> AbortSignal {
        self.abort.clone()
    }

    fn decode(&mut self, runs: &[Run<'_>]) -> Result<(), DecodeError> {
        let batch = self.batch(runs)?;
        self.logits = self
            .model
            .forward(&batch, &mut self.sequences, &self.abort)?;
        Ok(())
    }

    fn logits(&self, run: usize, output: usize) -> &[f32] {
        let row = self.rows[run] + output;
        let size = self.model.vocabulary_size();
        &self.logits[row * size..(row + 1) * size]
    }

    fn truncate(&mut self, seq: SeqId, keep: u32) -> bool {
        self.sequences[seq as usize].truncate(keep as usize);
        true
    }

    fn clear(&mut self, seq: SeqId) {
        self.sequences[seq as usize].clear();
    }

    fn copy(&mut self, from: SeqId, to: SeqId, len: u32) {
        let mut copy = self.sequences[from as usize].clone();
        copy.truncate(len as usize);
        self.sequences[to as usize] = copy;
    }

    fn save(&mut self, seq: SeqId, bytes_max: usize) -> Option<Vec<u8>> {
        let state = self.sequences[seq as usize].to_bytes();
        Some(state).filter(|state| state.len() <= bytes_max)
    }

    fn restore(&mut self, seq: SeqId, state: &[u8]) -> bool {
        self.sequences[seq as usize].set_bytes(state)
    }

    fn embed(&mut self, _input: &[Token]) -> Result<Vec<f32>, DecodeError> {
        let reason = "the candle backend has no embeddings; use the llama backend";
        Err(DecodeError::Failed(reason.to_owned()))
    }
}

impl From<Error> for DecodeError {
    fn from(fault: Error) -> Self {
        Self::Failed(format!("candle failed: {fault}"))
    }
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
