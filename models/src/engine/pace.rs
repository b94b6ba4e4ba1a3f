//! How long decodes take here, learnt from those that were made: the base of every estimate.

use std::time::Duration;

use super::numbers::{millis, to_f64};

/// Decodes of 1, 2, 3-4, 5-8, ... tokens are averaged together.
const CLASSES: usize = 14;

/// New measurements count so much; the machine's other work comes and goes.
const SMOOTHING: f64 = 0.2;

/// Smoothed times of decodes, by their size.
#[derive(Debug, Default, Clone)]
pub(super) struct Pace {
    /// Milliseconds and the tokens that took them.
    classes: [Option<(f64, f64)>; CLASSES],
}

impl Pace {
    /// Takes note that a decode of so many tokens took so long.
    pub(super) fn observe(&mut self, tokens: usize, time: Duration) {
        let (tokens, time) = (to_f64(tokens), millis(time));
        let class = &mut self.classes[class(tokens)];
        *class = Some(match *class {
            None => (time, tokens),
            Some((old_millis, old_tokens)) => (
                old_millis + SMOOTHING * (time - old_millis),
                old_tokens + SMOOTHING * (tokens - old_tokens),
            ),
        });
    }

    /// How long a decode of so many tokens is likely to take, in milliseconds. `None`: nothing
    /// like it was measured yet.
    pub(super) fn estimate(&self, tokens: usize) -> Option<f64> {
        let wanted = to_f64(tokens);
        let known = || self.classes.iter().flatten();
        let below = known().rfind(|(_, tokens)| *tokens <= wanted);
        let above = known().find(|(_, tokens)| *tokens > wanted);
        match (below, above) {
            (Some((low, from)), Some((high, to))) => {
                Some(low + (high - low) * (wanted - from) / (to - from))
            }
            // Beyond the largest, time grows with the tokens; below the smallest it does not
            // shrink, because the weights are read all the same.
            (Some((millis, tokens)), None) => Some(millis * wanted / tokens),
            (None, Some((millis, _))) => Some(*millis),
            (None, None) => None,
        }
    }

    /// Prompt tokens for each second, as far as is known: from the largest decodes.
    pub(super) fn prompt_tokens_per_second(&self) -> Option<f64> {
        let (millis, tokens) = self.classes.iter().flatten().last()?;
        (*tokens >= 16.0).then(|| tokens / millis.max(1e-6) * 1e3)
    }
}

fn class(tokens: f64) -> usize {
    let exponent = tokens.max(1.0).log2().ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small exponent, at least 0"
    )]
    let class = exponent as usize;
    class.min(CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_lie_between_what_was_measured() {
        let mut pace = Pace::default();
        assert_eq!(pace.estimate(1), None);
        for _ in 0..50 {
            pace.observe(1, Duration::from_millis(10));
            pace.observe(64, Duration::from_millis(136));
        }
        let near = |tokens, expected: f64| {
            let estimate = pace.estimate(tokens).expect("known");
            assert!((estimate - expected).abs() < 0.5, "{tokens}: {estimate}");
        };
        near(1, 10.0);
        near(64, 136.0);
        near(8, 24.0);
        near(128, 272.0);
        let speed = pace.prompt_tokens_per_second().expect("known");
        assert!((speed - 470.6).abs() < 1.0, "{speed}");
    }
}
