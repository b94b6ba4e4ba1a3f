//! From measurements to a choice.

use super::{BatchSizes, Timing, Tuning};

/// The size that tells how fast prompts are read, when layouts and threads are compared.
pub(super) const READING: u32 = 64;

/// Sizes that are compared for prompts.
pub(super) const CHUNKS: [u32; 4] = [64, 128, 256, 512];

/// Another choice than the usual one has to be better by so much: measurements are noisy.
const BETTER: f64 = 0.9;

/// An agent's request has about so many new prompt tokens, and writes so many.
const REQUEST: (f64, f64) = (200.0, 40.0);

/// The threads and the layout with which a request takes the least time.
pub(super) fn pair(timings: &[Timing], usual: (u32, bool)) -> (u32, bool) {
    let mut best = usual;
    let Some(mut least) = request_millis(timings, usual).map(|millis| millis * BETTER) else {
        return usual;
    };
    for timing in timings {
        let other = (timing.threads, timing.repack);
        if let Some(millis) = request_millis(timings, other)
            && millis < least
        {
            (best, least) = (other, millis);
        }
    }
    best
}

fn request_millis(timings: &[Timing], pair: (u32, bool)) -> Option<f64> {
    let (read, written) = REQUEST;
    let reading = millis(timings, pair, READING)? / f64::from(READING);
    Some(read * reading + written * millis(timings, pair, 1)?)
}

fn millis(timings: &[Timing], (threads, repack): (u32, bool), tokens: u32) -> Option<f64> {
    let mut same = timings.iter().filter(|timing| {
        (timing.threads, timing.repack, timing.tokens) == (threads, repack, tokens)
    });
    Some(same.next()?.millis())
}

/// The whole choice, from what was measured with the best pair.
pub(super) fn tuning(timings: &[Timing], pair: (u32, bool)) -> Tuning {
    let usual = BatchSizes::default();
    let speed = |tokens: u32| Some(f64::from(tokens) / millis(timings, pair, tokens)?);
    let speeds: Vec<(u32, f64)> = CHUNKS
        .iter()
        .filter_map(|&tokens| Some((tokens, speed(tokens)?)))
        .collect();
    let fastest = speeds.iter().map(|(_, speed)| *speed).fold(0.0, f64::max);
    let nearly = |share: f64| {
        let good = speeds
            .iter()
            .filter(move |(_, speed)| *speed >= share * fastest);
        good.map(|(tokens, _)| *tokens)
    };
    Tuning {
        threads: pair.0,
        repack: pair.1,
        batch: BatchSizes {
            // What was not measured is left as it is.
            most: if speeds.len() == CHUNKS.len() {
                nearly(0.97).max().unwrap_or(usual.most)
            } else {
                usual.most
            },
            // Waiting less for a prompt is worth a little of the speed.
            chunk: if speeds.len() > 1 {
                nearly(0.93).min().unwrap_or(usual.chunk)
            } else {
                usual.chunk
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timings(threads: u32, repack: bool, millis: &[(u32, u64)]) -> Vec<Timing> {
        let timing = |&(tokens, millis)| Timing {
            threads,
            repack,
            tokens,
            micros: millis * 1_000,
        };
        millis.iter().map(timing).collect()
    }

    #[test]
    fn a_layout_that_reads_twice_as_fast_pays_for_slower_writing() {
        let mut measured = timings(2, true, &[(1, 15), (READING, 400)]);
        measured.extend(timings(2, false, &[(1, 19), (READING, 200)]));
        measured.extend(timings(1, false, &[(1, 30), (READING, 390)]));
        assert_eq!(pair(&measured, (2, true)), (2, false));
    }

    #[test]
    fn the_usual_one_stays_unless_another_is_clearly_better() {
        let mut measured = timings(4, true, &[(1, 15), (READING, 200)]);
        measured.extend(timings(3, true, &[(1, 14), (READING, 190)]));
        // Nobody knows how this one reads.
        measured.extend(timings(2, true, &[(1, 1)]));
        assert_eq!(pair(&measured, (4, true)), (4, true));
    }

    #[test]
    fn sizes_follow_the_speeds() {
        let caches = [(1, 15), (64, 190), (128, 390), (256, 740), (512, 1_670)];
        let chosen = tuning(&timings(2, true, &caches), (2, true)).batch;
        let expected = BatchSizes {
            most: 256,
            chunk: 64,
        };
        assert_eq!(chosen, expected);

        let plain = [(64, 700), (128, 1_200), (256, 2_200), (512, 4_300)];
        let chosen = tuning(&timings(2, true, &plain), (2, true)).batch;
        let expected = BatchSizes {
            most: 512,
            chunk: 256,
        };
        assert_eq!(chosen, expected);
    }

    #[test]
    fn what_was_not_measured_is_as_usual() {
        let chosen = tuning(&timings(1, true, &[(1, 15), (64, 900)]), (1, true));
        assert_eq!(chosen.batch, BatchSizes::default());
    }
}
