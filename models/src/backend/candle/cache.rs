//! What a sequence has computed so far: its keys and values, as 16-bit numbers.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// One head of one layer, position after position.
#[derive(Debug, Clone, Default)]
pub(super) struct HeadCache {
    pub(super) keys: Vec<f16>,
    pub(super) values: Vec<f16>,
}

/// Positions by which a sequence's memory grows.
const GROWTH: usize = 256;

/// The keys and values of one sequence.
#[derive(Debug, Clone)]
pub(super) struct Sequence {
    /// Layer after layer, each with all its heads.
    heads: Vec<HeadCache>,
    heads_per_layer: usize,
    head_width: usize,
    /// Positions that every layer holds. After a decode that failed, the first layers may hold
    /// more until the sequence is truncated.
    len: usize,
}

impl Sequence {
    pub(super) fn new(layers: usize, heads_per_layer: usize, head_width: usize) -> Self {
        Self {
            heads: vec![HeadCache::default(); layers * heads_per_layer],
            heads_per_layer,
            head_width,
            len: 0,
        }
    }

    /// How many positions it holds.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes note that all layers hold `count` more positions.
    pub(super) fn advance(&mut self, count: usize) {
        self.len += count;
    }

    pub(super) fn head(&self, layer: usize, head: usize) -> &HeadCache {
        &self.heads[layer * self.heads_per_layer + head]
    }

    /// Adds rows of keys and values, each with all heads, to a layer.
    pub(super) fn append(&mut self, layer: usize, keys: &[f32], values: &[f32]) {
        let first = layer * self.heads_per_layer;
        let layer_heads = &mut self.heads[first..first + self.heads_per_layer];
        for (index, head) in layer_heads.iter_mut().enumerate() {
            push_head(
                &mut head.keys,
                keys,
                index,
                self.heads_per_layer,
                self.head_width,
            );
            push_head(
                &mut head.values,
                values,
                index,
                self.heads_per_layer,
                self.head_width,
            );
        }
    }

    /// Forgets what is beyond the first `keep` positions.
    pub(super) fn truncate(&mut self, keep: usize) {
        for head in &mut self.heads {
            head.keys.truncate(keep * self.head_width);
            head.values.truncate(keep * self.head_width);
        }
        self.len = self.len.min(keep);
    }

    /// All of it, position counts first.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let numbers: usize = self.heads.iter().map(|head| head.keys.len() * 2).sum();
        let mut bytes = Vec::with_capacity(8 + numbers * 2);
        bytes.extend((self.len as u64).to_le_bytes());
        for head in &self.heads {
            for number in head.keys.iter().chain(&head.values) {
                bytes.extend(number.to_le_bytes());
            }
        }
        bytes
    }

    /// Takes over what [`to_bytes`](Self::to_bytes) gave. `false`: it is of another shape, and
    /// the sequence is empty.
    pub(super) fn set_bytes(&mut self, bytes: &[u8]) -> bool {
        self.clear();
        let Some((len, bytes)) = bytes.split_first_chunk::<8>() else {
            return false;
        };
        let len = usize::try_from(u64::from_le_bytes(*len)).unwrap_or(usize::MAX);
        let each = len.checked_mul(self.head_width * 2);
        let total = each.and_then(|each| each.checked_mul(self.heads.len() * 2));
        if total != Some(bytes.len()) {
            return false;
        }
        let mut parts = bytes.chunks_exact(each.unwrap_or(0).max(1)).map(|part| {
            let (numbers, _) = part.as_chunks::<2>();
            numbers
                .iter()
                .map(|&number| f16::from_le_bytes(number))
                .collect()
        });
        for head in &mut self.heads {
            head.keys = parts.next().unwrap_or_default();
            head.values = parts.next().unwrap_or_default();
        }
        self.len = len;
        true
    }

    /// Forgets everything and gives its memory back: what one sequence no longer needs, the
    /// others may use.
    pub(super) fn clear(&mut self) {
        self.heads.fill(HeadCache::default());
        self.len = 0;
    }
}

/// Appends one head's part of each row.
fn push_head(out: &mut Vec<f16>, rows: &[f32], head: usize, heads: usize, width: usize) {
    let count = rows.len() / (heads * width);
    let start = out.len();
    let end = start + count * width;
    if out.capacity() < end {
        // In steps rather than by doubling, which would take up to twice what was budgeted.
        let capacity = end.next_multiple_of(GROWTH * width);
        out.reserve_exact(capacity - start);
    }
    out.resize(end, f16::ZERO);
    let targets = out[start..].chunks_exact_mut(width);
    for (target, row) in targets.zip(rows.chunks_exact(heads * width)) {
        target.convert_from_f32_slice(&row[head * width..(head + 1) * width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_into_heads_and_can_be_taken_back() {
        let mut sequence = Sequence::new(2, 2, 2);
        let rows: Vec<f32> = (0..8u8).map(f32::from).collect();
        for layer in 0..2 {
            sequence.append(layer, &rows, &rows);
        }
        sequence.advance(2);
        let numbers = |sequence: &Sequence, layer, head| -> Vec<f32> {
            let keys = &sequence.head(layer, head).keys;
            keys.iter().map(|key| key.to_f32()).collect()
        };
        assert_eq!(numbers(&sequence, 1, 0), [0.0, 1.0, 4.0, 5.0]);
        assert_eq!(numbers(&sequence, 1, 1), [2.0, 3.0, 6.0, 7.0]);

        // A decode that failed after the first layer.
        sequence.append(0, &rows, &rows);
        sequence.truncate(1);
        assert_eq!(sequence.len(), 1);
        assert_eq!(numbers(&sequence, 0, 1), [2.0, 3.0]);
        assert_eq!(numbers(&sequence, 1, 1), [2.0, 3.0]);

        let bytes = sequence.to_bytes();
        let mut other = Sequence::new(2, 2, 2);
        assert!(other.set_bytes(&bytes));
        assert_eq!(numbers(&other, 1, 1), [2.0, 3.0]);
        assert!(!other.set_bytes(&bytes[..bytes.len() - 1]));
        assert!(!Sequence::new(3, 2, 2).set_bytes(&bytes));
        assert_eq!(other.len(), 0);

        sequence.clear();
        assert_eq!(sequence.head(0, 0).keys.capacity(), 0);
    }
}
