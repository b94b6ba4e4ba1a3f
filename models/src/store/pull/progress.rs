//! How far a download is, told often enough and no more.

use std::time::{Duration, Instant};

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullEvent {
    /// The file that is worked on.
    pub file: String,
    /// What is done with it.
    pub step: PullStep,
    /// Bytes of the whole model that are on the disk (or, while checking, read again). Never
    /// falls within a step.
    pub done_bytes: u64,
    /// Bytes of the whole model; 0 until the hub has said it.
    pub total_bytes: u64,
    /// How fast it is, once that can be told.
    pub bytes_per_second: Option<u64>,
    /// What did not work, and will be tried again.
    pub retry: Option<PullRetry>,
}

/// A failure that is not the last word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRetry {
    /// What went wrong.
    pub why: String,
    /// The pause before the next attempt.
    pub wait: Duration,
}

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullStep {
    /// What an earlier attempt brought is read again for its sum.
    Checking,
    /// The rest is downloaded.
    Fetching,
}

/// What hears of the progress. It is called on the task that downloads, so it must be quick.
pub type PullListener<'a> = &'a mut (dyn FnMut(&PullEvent) + Send);

/// Events closer together than this are left out.
const EVENT_INTERVAL: Duration = Duration::from_millis(100);

/// Decides which progress is worth an event. Knows time only from its callers.
#[derive(Debug)]
pub(crate) struct Meter {
    file: String,
    step: PullStep,
    total_bytes: u64,
    /// When the last event was, and at how many bytes.
    last: Option<(Instant, u64)>,
    speed: Option<u64>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            file: String::new(),
            step: PullStep::Checking,
            total_bytes: 0,
            last: None,
            speed: None,
        }
    }

    pub(crate) fn expect(&mut self, total_bytes: u64) {
        self.total_bytes = total_bytes;
    }

    /// Another step begins: its first event comes at once, and speed is measured anew.
    pub(crate) fn begin(&mut self, file: &str, step: PullStep) {
        file.clone_into(&mut self.file);
        self.step = step;
        self.last = None;
        self.speed = None;
    }

    pub(crate) fn at(&mut self, done_bytes: u64, now: Instant) -> Option<PullEvent> {
        let due = match self.last {
            None => true,
            Some((then, _)) => {
                done_bytes >= self.total_bytes || now.duration_since(then) >= EVENT_INTERVAL
            }
        };
        if !due {
            return None;
        }
        if let Some((then, before)) = self.last {
            self.measure(now.duration_since(then), done_bytes.saturating_sub(before));
        }
        self.last = Some((now, done_bytes));
        Some(self.event(done_bytes))
    }

    /// A failure is told at once.
    pub(crate) fn failed(&self, file: &str, retry: PullRetry) -> PullEvent {
        let done_bytes = self.last.map_or(0, |(_, bytes)| bytes);
        PullEvent {
            file: file.to_owned(),
            retry: Some(retry),
            ..self.event(done_bytes)
        }
    }

    fn event(&self, done_bytes: u64) -> PullEvent {
        PullEvent {
            file: self.file.clone(),
            step: self.step,
            done_bytes,
            total_bytes: self.total_bytes,
            bytes_per_second: self.speed,
            retry: None,
        }
    }

    /// A moving average, so that the figure can be read while it changes.
    fn measure(&mut self, took: Duration, bytes: u64) {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let fresh = bytes.saturating_mul(1_000) / took_ms;
        self.speed = Some(match self.speed {
            Some(old) => {
                (old.saturating_mul(7)
                    .saturating_add(fresh.saturating_mul(3)))
                    / 10
            }
            None => fresh,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_events_a_second_and_the_last_one() {
        let mut meter = Meter::new();
        meter.expect(10_000);
        meter.begin("x", PullStep::Fetching);
        let start = Instant::now();
        let events: Vec<_> = (0..=1_000u64)
            .filter_map(|ms| meter.at(ms * 10, start + Duration::from_millis(ms)))
            .collect();
        assert!((10..=12).contains(&events.len()), "{}", events.len());
        assert_eq!(events[0].bytes_per_second, None);
        assert_eq!(events[5].bytes_per_second, Some(10_000));
        let last = events.last().expect("at least one");
        assert_eq!((last.done_bytes, last.total_bytes), (10_000, 10_000));
    }

    #[test]
    fn the_end_is_told_however_soon_it_comes() {
        let mut meter = Meter::new();
        meter.expect(2);
        meter.begin("x", PullStep::Fetching);
        let now = Instant::now();
        assert!(meter.at(0, now).is_some());
        assert!(meter.at(1, now).is_none());
        assert!(meter.at(2, now).is_some());
    }
}
