//! When a module that crashes is started again, and when no more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Answer;

const WINDOW: Duration = Duration::from_secs(60);
const CRASHES_MAX: usize = 5;
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The crashes of a module, and what it last said about itself.
#[derive(Debug, Default)]
pub(super) struct Health {
    crashes: VecDeque<Instant>,
    quarantined: bool,
    start_at: Option<Instant>,
    answer: Option<(Instant, Answer)>,
}

impl Health {
    /// Counts a crash. Each within a minute doubles the wait; the fifth is the last.
    pub(super) fn crashed(&mut self, now: Instant) {
        self.answer = None;
        self.crashes.push_back(now);
        let count = self.crashes(now);
        self.quarantined |= count >= CRASHES_MAX;
        let doubled = u32::try_from(count - 1).unwrap_or(u32::MAX).min(16);
        self.start_at = Some(now + FIRST_WAIT * 2_u32.pow(doubled));
    }

    /// How many there were in the last minute.
    pub(super) fn crashes(&mut self, now: Instant) -> usize {
        while self
            .crashes
            .front()
            .is_some_and(|at| now.duration_since(*at) > WINDOW)
        {
            self.crashes.pop_front();
        }
        self.crashes.len()
    }

    pub(super) fn quarantined(&self) -> bool {
        self.quarantined
    }

    /// The earliest time of the next start.
    pub(super) fn start_at(&self) -> Option<Instant> {
        self.start_at
    }

    /// Forgets all crashes.
    pub(super) fn release(&mut self) {
        *self = Self::default();
    }

    pub(super) fn remember(&mut self, answer: Answer) {
        self.answer = Some((Instant::now(), answer));
    }

    pub(super) fn recent(&self, age: Duration) -> Option<Answer> {
        self.answer
            .as_ref()
            .filter(|(at, _)| at.elapsed() < age)
            .map(|(_, answer)| answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_the_fifth_crash_in_a_minute_is_the_last() {
        let mut health = Health::default();
        let now = Instant::now();
        for (count, wait) in [(1, 50), (2, 100), (3, 200), (4, 400)] {
            health.crashed(now);
            assert_eq!(health.crashes(now), count);
            assert_eq!(health.start_at(), Some(now + Duration::from_millis(wait)));
            assert!(!health.quarantined());
        }
        health.crashed(now);
        assert!(health.quarantined());
        let later = now + Duration::from_secs(3600);
        assert_eq!(health.crashes(later), 0);
        assert!(health.quarantined(), "time alone does not end it");
        health.release();
        assert!(!health.quarantined() && health.start_at().is_none());
    }

    #[test]
    fn crashes_that_are_far_apart_do_not_add_up() {
        let mut health = Health::default();
        let mut now = Instant::now();
        for _ in 0..20 {
            health.crashed(now);
            now += Duration::from_secs(16);
        }
        assert!(!health.quarantined());
    }
}
