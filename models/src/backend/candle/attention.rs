//! Attention of a batch's rows to what their sequences hold, and the rotation of positions.

use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::batch::{Batch, Span};
use super::cache::Sequence;
use super::parallel::{self, Parts};
use super::shape::{Rope, Shape};
use crate::backend::AbortSignal;

/// The angles of a batch's positions.
pub(super) struct Rotation {
    /// For each row, half a head's pairs of cosine and sine.
    angles: Vec<(f32, f32)>,
    pairs: usize,
}

impl Rotation {
    pub(super) fn new(positions: &[u32], rope: Rope, head_width: usize) -> Self {
        let pairs = head_width / 2;
        let frequency = |pair: usize| rope.scale / rope.base.powf(pair as f64 / pairs as f64);
        let frequencies: Vec<f64> = (0..pairs).map(frequency).collect();
        let angle = |position: u32, frequency: f64| {
            let (sine, cosine) = (f64::from(position) * frequency).sin_cos();
            #[expect(clippy::cast_possible_truncation, reason = "at most 1")]
            (cosine as f32, sine as f32)
        };
        let rows = positions.iter().map(|&position| (position, &frequencies));
        let angles = rows.flat_map(|(position, frequencies)| {
            frequencies
                .iter()
                .map(move |&frequency| angle(position, frequency))
        });
        Self {
            angles: angles.collect(),
            pairs,
        }
    }

    /// Turns one head of a row: each number with the one half a head further on.
    pub(super) fn turn(&self, row: usize, head: &mut [f32]) {
        let angles = &self.angles[row * self.pairs..(row + 1) * self.pairs];
        let (left, right) = head.split_at_mut(self.pairs);
        for ((x, y), &(cosine, sine)) in left.iter_mut().zip(right).zip(angles) {
            (*x, *y) = (*x * cosine - *y * sine, *x * sine + *y * cosine);
        }
    }
}

/// Rows of one sequence that look at one head of keys and values.
struct Tile<'a> {
    span: &'a Span,
    kv_head: usize,
    /// Rows of the batch.
    first_row: usize,
    rows: usize,
}

/// Rows in a tile: a block of the cache is turned into 32-bit numbers once for all of them.
const TILE_ROWS: usize = 16;

/// Positions of the cache that are read together.
const BLOCK: usize = 64;

/// What each row gathers from its sequence. `queries` are rows of all heads, and so is the
/// result. Incomplete when `abort` was raised.
pub(super) fn attend(
    queries: &[f32],
    batch: &Batch,
    sequences: &[Sequence],
    layer: usize,
    shape: &Shape,
    abort: &AbortSignal,
) -> Vec<f32> {
    let group_width = shape.heads / shape.kv_heads * shape.head_width;
    let mut gathered = vec![0.0; queries.len()];
    let parts = Parts::of(&mut gathered, group_width);
    let tiles = tiles(batch, shape.kv_heads);
    let work = |index: usize| {
        let tile: &Tile<'_> = &tiles[index];
        if abort.raised() {
            return;
        }
        let part = |row: usize| row * shape.kv_heads + tile.kv_head;
        let rows = tile.first_row..tile.first_row + tile.rows;
        let tile_queries: Vec<&[f32]> = rows
            .clone()
            .flat_map(|row| {
                let start = part(row) * group_width;
                queries[start..start + group_width].chunks_exact(shape.head_width)
            })
            .collect();
        let gathered = attend_tile(tile, &tile_queries, sequences, layer, shape);
        for (row, sums) in rows.zip(gathered.chunks_exact(group_width)) {
            parts.with(part(row), |out| out.copy_from_slice(sums));
        }
    };
    parallel::for_each(tiles.len(), work);
    gathered
}

fn tiles(batch: &Batch, kv_heads: usize) -> Vec<Tile<'_>> {
    let mut tiles = Vec::new();
    for span in &batch.spans {
        for first_row in span.rows.clone().step_by(TILE_ROWS) {
            let rows = TILE_ROWS.min(span.rows.end - first_row);
            tiles.extend((0..kv_heads).map(|kv_head| Tile {
                span,
                kv_head,
                first_row,
                rows,
            }));
        }
    }
    tiles
}

/// The sums of one tile: for each row, each head of queries that shares the keys.
fn attend_tile(
    tile: &Tile<'_>,
    queries: &[&[f32]],
    sequences: &[Sequence],
    layer: usize,
    shape: &Shape,
) -> Vec<f32> {
    let width = shape.head_width;
    let group = shape.heads / shape.kv_heads;
    let cache = sequences[tile.span.sequence].head(layer, tile.kv_head);
    let window = shape.window(layer).unwrap_or(usize::MAX);
    // What the row of a query may see: itself and what came before, as far as the window goes.
    let seen = |query: usize| {
        let row = tile.first_row + query / group;
        let end = tile.span.start + (row - tile.span.rows.start) + 1;
        end.saturating_sub(window)..end
    };
    let first = seen(0).start;
    let end = seen(queries.len() - 1).end;
    let held = end - first;

    let mut weights = vec![0.0; queries.len() * held];
    for_each_block(&cache.keys, first..end, width, |start, keys| {
        for (query, row) in queries.iter().zip(weights.chunks_exact_mut(held)) {
            let scores = row[start - first..].iter_mut();
            for (score, key) in scores.zip(keys.chunks_exact(width)) {
                *score = dot(query, key) * shape.attention_scale;
            }
        }
    });
    for (query, row) in weights.chunks_exact_mut(held).enumerate() {
        let seen = seen(query);
        let (before, rest) = row.split_at_mut(seen.start - first);
        let (visible, after) = rest.split_at_mut(seen.len());
        before.fill(0.0);
        after.fill(0.0);
        softmax(visible);
    }
    let mut sums = vec![0.0; queries.len() * width];
    for_each_block(&cache.values, first..end, width, |start, values| {
        let rows = weights.chunks_exact(held);
        for (row, sum) in rows.zip(sums.chunks_exact_mut(width)) {
            for (&weight, value) in row[start - first..].iter().zip(values.chunks_exact(width)) {
                add_scaled(sum, value, weight);
            }
        }
    });
    sums
}

/// Hands out the cached rows of the positions, as 32-bit numbers, block by block.
fn for_each_block(
    cached: &[f16],
    positions: Range<usize>,
    width: usize,
    mut work: impl FnMut(usize, &[f32]),
) {
    let mut block = vec![0.0; BLOCK.min(positions.len()) * width];
    for start in positions.clone().step_by(BLOCK) {
        let end = positions.end.min(start + BLOCK);
        let rows = &mut block[..(end - start) * width];
        cached[start * width..end * width].convert_to_f32_slice(rows);
        work(start, rows);
    }
}

/// Numbers that are added up side by side, so that the compiler can use wide registers: it may
/// not change the order of additions by itself.
const LANES: usize = 16;

pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (left, right) in left.iter().zip(right) {
        for lane in 0..LANES {
            sums[lane] += left[lane] * right[lane];
        }
    }
    let rest = left_rest.iter().zip(right_rest);
    let rest: f32 = rest.map(|(left, right)| left * right).sum();
    sums.iter().sum::<f32>() + rest
}

fn add_scaled(sums: &mut [f32], row: &[f32], weight: f32) {
    for (sum, number) in sums.iter_mut().zip(row) {
        *sum += weight * number;
    }
}

/// Scores become shares of one.
pub(super) fn softmax(scores: &mut [f32]) {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - highest).exp();
        total += *score;
    }
    for score in scores.iter_mut() {
        *score /= total;
    }
}
