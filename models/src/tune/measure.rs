//! Timing decodes of a loaded model.

use std::time::{Duration, Instant};

use super::Timing;
use crate::backend::{Backend, Run};

/// How often a decode of so many tokens is timed; the fastest counts, because other work on the
/// machine only ever slows one down.
fn repeats(tokens: u32) -> u32 {
    match tokens {
        0..=15 => 8,
        16..=127 => 3,
        _ => 2,
    }
}

/// Times decodes until the time is up: a large model gets fewer measurements, not longer ones.
#[derive(Default)]
pub(super) struct Clock {
    /// What may still be spent.
    pub(super) left: Duration,
    /// What was measured.
    pub(super) timings: Vec<Timing>,
}

impl Clock {
    /// Times decodes of so many tokens, if they are likely to end in time and do not fail.
    pub(super) fn time(
        &mut self,
        backend: &mut dyn Backend,
        (threads, repack): (u32, bool),
        tokens: u32,
    ) {
        // As long as the nearest smaller one took, in proportion.
        let smaller = self.timings.iter().rev().filter(|it| it.tokens <= tokens);
        let expected = smaller.max_by_key(|it| it.tokens).map_or(0.0, |it| {
            it.millis() * f64::from(tokens) / f64::from(it.tokens)
        });
        let capacity = backend.capacity();
        if tokens > capacity.batch_tokens.min(capacity.context_tokens)
            || expected > self.left.as_secs_f64() * 1e3
        {
            return;
        }
        let mut best: Option<Duration> = None;
        for _ in 0..repeats(tokens) {
            let Some(time) = decode(backend, tokens) else {
                return;
            };
            best = Some(best.map_or(time, |best| best.min(time)));
            self.left = self.left.saturating_sub(time);
            if self.left.is_zero() {
                break;
            }
        }
        self.timings.extend(best.map(|best| Timing {
            threads,
            repack,
            tokens,
            micros: u64::try_from(best.as_micros()).unwrap_or(u64::MAX),
        }));
    }
}

/// One decode of an empty sequence.
fn decode(backend: &mut dyn Backend, tokens: u32) -> Option<Duration> {
    // Any tokens will do, and every vocabulary has the first few.
    let tokens: Vec<u32> = (0..tokens).map(|place| place % 64).collect();
    let run = Run {
        seq: 0,
        start: 0,
        tokens: &tokens,
        outputs: 1,
    };
    let began = Instant::now();
    let decoded = backend.decode(&[run]);
    // The logits are there when the work is done, and not before on a GPU.
    let time = decoded.ok().map(|()| {
        let _ = backend.logits(0, 0);
        began.elapsed()
    });
    backend.clear(0);
    time
}

/// All that there are, and fewer: where they share a core's units or its memory, or where other
/// work keeps one of them waiting, fewer are faster.
pub(crate) fn threads_worth_trying(all: u32) -> Vec<u32> {
    let mut counts = vec![all, all * 3 / 4, all / 2];
    counts.retain(|&count| count > 0);
    counts.dedup();
    counts
}
