//! When something that fails is asked again: after three failures in a row it is left alone, and
//! for twice as long each time that it fails again.

use std::time::{Duration, Instant};

/// Failures in a row, and until when nothing is tried.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
}

/// How many failures in a row are an outage.
const FAILURES_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(60);

impl Breaker {
    /// Whether to try; otherwise how long to leave it alone.
    pub fn enter(&mut self, now: Instant) -> Result<(), Duration> {
        match self.open_until {
            Some(until) if now < until => Err(until - now),
            Some(_) => {
                // One tries; the others wait for how that goes.
                self.open_until = Some(now + self.pause());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// It answered.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It did not. Answers how long it is left alone.
    pub fn failed(&mut self, now: Instant) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES_MAX {
            return Duration::ZERO;
        }
        let pause = self.pause();
        self.open_until = Some(now + pause);
        pause
    }

    fn pause(&self) -> Duration {
        let doubled = self.failures.saturating_sub(FAILURES_MAX).min(10);
        PAUSE.saturating_mul(1 << doubled).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_left_alone_and_tried_again() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        for _ in 0..2 {
            assert_eq!(breaker.failed(start), Duration::ZERO);
            assert!(breaker.enter(start).is_ok());
        }
        assert_eq!(breaker.failed(start), PAUSE);
        assert_eq!(breaker.enter(start), Err(PAUSE));
        let later = start + PAUSE;
        assert!(breaker.enter(later).is_ok(), "one tries");
        assert!(breaker.enter(later).is_err(), "and only one");
        assert_eq!(breaker.failed(later), 2 * PAUSE);
        breaker.succeeded();
        assert!(breaker.enter(later).is_ok());
        for _ in 0..99 {
            let _ = breaker.failed(later);
        }
        assert_eq!(breaker.failed(later), PAUSE_MAX);
    }
}
