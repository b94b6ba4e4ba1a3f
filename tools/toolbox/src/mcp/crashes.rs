//! When a server that has ended may be started again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// In how much time crashes are counted.
const COUNTED_IN: Duration = Duration::from_secs(60);

/// How many crashes in that time are enough.
const CRASHES_MAX: usize = 5;

/// How long the second crash in a row is waited out; each one after it twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// The crashes of a server.
#[derive(Debug, Default)]
pub(super) struct Crashes {
    /// Of the last minute.
    recent: VecDeque<Instant>,
    /// Until when it is left alone, and why.
    pause: Option<(Instant, String)>,
}

impl Crashes {
    /// It ended, for this reason. The first time it is started again as soon as it is needed.
    pub(super) fn crashed(&mut self, why: String, now: Instant, rest: Duration) {
        while (self.recent.front()).is_some_and(|at| now.duration_since(*at) > COUNTED_IN) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        let count = self.recent.len();
        if count >= CRASHES_MAX {
            self.recent.clear();
            let why = format!("it ended {count} times in a minute; the last time: {why}");
            self.rest(why, now, rest);
        } else {
            let doublings = u32::try_from(count - 1).unwrap_or_default();
            let pause = match doublings {
                0 => Duration::ZERO,
                more => PAUSE * 2_u32.pow(more - 1),
            };
            self.rest(why, now, pause.min(rest));
        }
    }

    /// It is left alone for so long.
    pub(super) fn rest(&mut self, why: String, now: Instant, time: Duration) {
        self.pause = Some((now + time, why));
    }

    /// Why it is not started now.
    pub(super) fn pause(&self, now: Instant) -> Option<String> {
        let (until, why) = self.pause.as_ref()?;
        let left = until.checked_duration_since(now)?;
        let left = left.as_millis().div_ceil(1000).max(1);
        Some(format!(
            "{why}; it is started again in {left} s at the earliest"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_crashes_again_and_again_is_left_alone() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let rest = Duration::from_secs(60);
        let mut crashes = Crashes::default();
        assert_eq!(crashes.pause(at(0)), None);
        crashes.crashed("a".into(), at(0), rest);
        assert_eq!(crashes.pause(at(1)), None);
        crashes.crashed("b".into(), at(10), rest);
        assert!(
            crashes
                .pause(at(509))
                .is_some_and(|why| why.starts_with("b; "))
        );
        assert_eq!(crashes.pause(at(511)), None);
        crashes.crashed("c".into(), at(1_000), rest);
        assert!(crashes.pause(at(1_999)).is_some());
        crashes.crashed("d".into(), at(3_000), rest);
        crashes.crashed("e".into(), at(5_000), rest);
        let why = crashes.pause(at(5_001)).expect("it rests");
        assert_eq!(
            why,
            "it ended 5 times in a minute; the last time: e; it is started again in 60 s at the earliest"
        );
        assert_eq!(crashes.pause(at(65_001)), None);
        // Old crashes are forgotten.
        crashes.crashed("f".into(), at(200_000), rest);
        crashes.crashed("g".into(), at(300_000), rest);
        assert_eq!(crashes.pause(at(300_001)), None);
    }
}
