//! How a model runs best on this machine: measured when it is first loaded, and kept.
//!
//! Threads, the layout of the weights and the sizes of batches that are best differ between
//! processors and between models by more than any of them can be guessed.

#![cfg_attr(
    not(feature = "llama"),
    allow(
        dead_code,
        unused_imports,
        reason = "only llama.cpp has something to choose"
    )
)]

mod choose;
mod kept;
mod measure;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::info;

pub(crate) use self::kept::Kept;
pub(crate) use self::measure::threads_worth_trying;

use self::choose::{CHUNKS, READING};
use self::measure::Clock;
use crate::load::{LoadError, Parts, Plan, Progress};

/// What measuring may take of a load: for each layout's threads,
const LAYOUT_TIME_MAX: Duration = Duration::from_secs(2);
/// and then for sizes.
const SIZES_TIME_MAX: Duration = Duration::from_secs(6);

/// How large decodes are, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSizes {
    /// Most in one.
    pub most: u32,
    /// Most of prompts while other slots are writing: what a long prompt may delay them by.
    pub chunk: u32,
}

impl Default for BatchSizes {
    fn default() -> Self {
        Self {
            most: 512,
            chunk: 128,
        }
    }
}

/// What was found to be best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning {
    /// Threads that compute.
    pub threads: u32,
    /// Whether the weights are laid out anew for the processor's kernels, in memory of their own.
    pub repack: bool,
    /// How large decodes are.
    pub batch: BatchSizes,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// With so many threads,
    pub threads: u32,
    /// with or without another layout of the weights,
    pub repack: bool,
    /// a decode of so many tokens
    pub tokens: u32,
    /// took so long. Whole, so that what is kept in a file equals what was measured.
    pub micros: u64,
}

impl Timing {
    /// How long it took, in milliseconds.
    #[allow(clippy::cast_precision_loss)]
    pub fn millis(&self) -> f64 {
        self.micros as f64 / 1e3
    }
}

/// A choice with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibration {
    /// What was found to be best.
    pub tuning: Tuning,
    /// What was measured.
    pub timings: Vec<Timing>,
}

impl Tuning {
    /// Whether a machine could have measured it: files can say anything.
    fn is_possible(&self) -> bool {
        let BatchSizes { most, chunk } = self.batch;
        (1..=512).contains(&self.threads)
            && (16..=4_096).contains(&most)
            && (1..=4_096).contains(&chunk)
    }
}

/// Loads a model in the way that is best for it, and finds out which one that is if nobody did
/// before. The plan's threads are the most that may be used, and the counts are worth trying.
pub(crate) fn load_tuned(
    plan: &mut Plan,
    kept: &Kept,
    thread_counts: &[u32],
    mut load: impl FnMut(&Plan, Progress<'_>) -> Result<Parts, LoadError>,
    progress: Progress<'_>,
) -> Result<(Parts, Calibration), LoadError> {
    if let Some(known) = kept.load() {
        plan.threads = known.tuning.threads.min(plan.threads);
        plan.repack = known.tuning.repack;
        return Ok((load(plan, progress)?, known));
    }
    info!("measuring how this model runs best on this machine: once, a few seconds");
    let usual = (plan.threads, true);
    let mut clock = Clock::default();
    let mut loaded = None;
    // The usual layout comes last, so that its model can stay.
    for repack in [false, usual.1] {
        drop(loaded.take());
        plan.repack = repack;
        let mut parts = load(plan, progress)?;
        clock.left = LAYOUT_TIME_MAX;
        for &threads in thread_counts {
            parts.backend.set_threads(threads);
            for tokens in [1, READING] {
                clock.time(&mut *parts.backend, (threads, repack), tokens);
            }
        }
        loaded = Some(parts);
    }
    let best = choose::pair(&clock.timings, usual);
    if best.1 != plan.repack {
        drop(loaded.take());
        plan.repack = best.1;
    }
    let mut parts = match loaded {
        Some(parts) => parts,
        None => load(plan, progress)?,
    };
    parts.backend.set_threads(best.0);
    clock.left = SIZES_TIME_MAX;
    for tokens in CHUNKS {
        if tokens != READING {
            clock.time(&mut *parts.backend, best, tokens);
        }
    }
    let calibration = Calibration {
        tuning: choose::tuning(&clock.timings, best),
        timings: clock.timings,
    };
    plan.threads = best.0;
    info!(tuning = ?calibration.tuning, "measured");
    kept.save(&calibration);
    Ok((parts, calibration))
}

#[cfg(all(test, feature = "llama"))]
mod tests {
    use super::*;
    use crate::load::{LoadOptions, ModelSource, plan};

    fn tuned(kept: &Kept) -> Calibration {
        let mut plan = plan(&ModelSource::Builtin, &LoadOptions::default()).expect("a plan");
        let load = crate::backend::llama::load;
        let (_, calibration) =
            load_tuned(&mut plan, kept, &[1], load, &mut |_| true).expect("loaded");
        assert_eq!(plan.repack, calibration.tuning.repack);
        calibration
    }

    #[test]
    fn a_model_is_measured_once_and_again_when_the_file_says_nonsense() {
        let dir = tempfile::tempdir().expect("a directory");
        let kept = Kept::new(dir.path(), &[7; 32], 1);
        let first = tuned(&kept);
        for repack in [false, true] {
            let of = first.timings.iter().filter(|it| it.repack == repack);
            assert!(of.count() >= 2, "{first:?}");
        }
        // Two measurements never agree to the last digit.
        assert_eq!(tuned(&kept), first);

        let path = dir.path().read_dir().expect("a directory").next();
        let path = path.expect("a file").expect("an entry").path();
        let nonsense = [
            String::from("{"),
            serde_json::to_string(&first)
                .expect("JSON")
                .replace(r#""threads":1,"repack""#, r#""threads":100000,"repack""#),
        ];
        for text in nonsense {
            std::fs::write(&path, text).expect("written");
            let again = tuned(&kept);
            assert_eq!(again.tuning.threads, 1);
            assert_ne!(again, first);
        }
    }

    #[test]
    fn without_a_place_to_keep_it_a_model_still_loads() {
        let kept = Kept::new("/proc/nowhere".as_ref(), &[7; 32], 1);
        assert!(!tuned(&kept).timings.is_empty());
    }
}
