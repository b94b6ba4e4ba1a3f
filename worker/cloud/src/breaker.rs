//! When a provider that fails is asked again: after some failures in a row it is left alone, then
//! one request tries it, and the others wait for how that goes.

use std::time::{Duration, Instant};

/// Whether requests go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// They do.
    Closed,
    /// They don't, for this long.
    Open(Duration),
    /// One may try.
    HalfOpen,
}

/// Failures in a row of one provider and model, and until when nothing is tried.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
    /// When it opened last.
    opened: Option<Instant>,
    /// Until when somebody is trying.
    probing_until: Option<Instant>,
}

/// How many failures in a row are an outage.
pub const FAILURES_MAX: u32 = 2;
/// For how long an outage is left alone at first.
pub const PAUSE: Duration = Duration::from_secs(10);
/// For how long at most.
pub const PAUSE_MAX: Duration = Duration::from_secs(300);
/// A try that nobody heard of again is over after this long.
const PROBE_MAX: Duration = Duration::from_secs(60);

impl Breaker {
    /// How it stands.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        let waiting = |until: Instant| (until > now).then(|| State::Open(until - now));
        match self.open_until {
            None => State::Closed,
            Some(until) => waiting(until)
                .or_else(|| self.probing_until.and_then(waiting))
                .unwrap_or(State::HalfOpen),
        }
    }

    /// Whether to try; otherwise how long to leave it alone. Who may try has to tell how it went.
    ///
    /// # Errors
    /// For how long it is left alone.
    pub fn enter(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state(now) {
            State::Closed => Ok(()),
            State::Open(left) => Err(left),
            State::HalfOpen => {
                self.probing_until = Some(now + PROBE_MAX);
                Ok(())
            }
        }
    }

    /// It answered.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A request that went through at `entered` was not answered; the provider may say itself when
    /// it will.
    pub fn failed(&mut self, entered: Instant, now: Instant, retry_after: Option<Duration>) {
        // Many that fail together are one outage.
        if self.opened.is_some_and(|opened| entered < opened) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.probing_until = None;
        if self.failures < FAILURES_MAX {
            return;
        }
        let doubled = (self.failures - FAILURES_MAX).min(10);
        let pause = PAUSE.saturating_mul(1 << doubled);
        let pause = pause.max(retry_after.unwrap_or_default()).min(PAUSE_MAX);
        self.open_until = Some(now + pause);
        self.opened = Some(now);
    }

    /// The same, and somebody waited for nothing all the time that there was: the next one shall not.
    pub fn timed_out(&mut self, entered: Instant, now: Instant) {
        self.failures = self.failures.max(FAILURES_MAX - 1);
        self.failed(entered, now, None);
    }

    /// It was not found out how it is: the request was cancelled, or was itself wrong.
    pub fn unknown(&mut self) {
        self.probing_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_lets_one_try_and_closes() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        breaker.failed(start, start, None);
        assert_eq!(breaker.state(start), State::Closed);
        breaker.failed(start, start, None);
        assert_eq!(breaker.enter(start), Err(PAUSE));
        let later = start + PAUSE;
        assert_eq!(breaker.state(later), State::HalfOpen);
        assert!(breaker.enter(later).is_ok(), "one tries");
        assert!(breaker.enter(later).is_err(), "and only one");
        breaker.failed(later, later, None);
        assert_eq!(breaker.state(later), State::Open(2 * PAUSE));
        let again = later + 2 * PAUSE;
        assert!(breaker.enter(again).is_ok());
        breaker.unknown();
        assert!(breaker.enter(again).is_ok(), "a cancelled try is no answer");
        breaker.succeeded();
        assert_eq!(breaker.state(again), State::Closed);
    }

    #[test]
    fn one_that_keeps_people_waiting_is_left_alone_at_once() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        breaker.timed_out(start, start);
        assert_eq!(breaker.state(start), State::Open(PAUSE));
        let later = start + PAUSE;
        assert!(breaker.enter(later).is_ok());
        breaker.timed_out(later, later);
        assert_eq!(breaker.state(later), State::Open(2 * PAUSE));
    }

    #[test]
    fn a_burst_of_failures_is_one_outage() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        for n in 1..=16 {
            let failed = start + Duration::from_millis(n);
            breaker.failed(start, failed, None);
        }
        let opened = start + Duration::from_millis(2);
        assert_eq!(breaker.state(opened), State::Open(PAUSE));
        // Who tries it then counts, whatever an old request does meanwhile.
        let later = opened + PAUSE;
        assert!(breaker.enter(later).is_ok());
        breaker.failed(start, later, None);
        assert!(breaker.enter(later).is_err(), "one still tries");
        breaker.failed(later, later, None);
        assert_eq!(breaker.state(later), State::Open(2 * PAUSE));
    }

    #[test]
    fn a_try_that_was_forgotten_does_not_close_it_for_ever() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        breaker.failed(start, start, None);
        breaker.failed(start, start, None);
        assert!(breaker.enter(start + PAUSE).is_ok());
        assert!(breaker.enter(start + PAUSE + PROBE_MAX).is_ok());
    }

    #[test]
    fn what_the_provider_says_counts_within_bounds() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        breaker.failed(start, start, None);
        breaker.failed(start, start, Some(Duration::from_secs(60)));
        assert_eq!(breaker.state(start), State::Open(Duration::from_secs(60)));
        for _ in 0..99 {
            breaker.failed(start, start, Some(Duration::MAX));
        }
        assert_eq!(breaker.state(start), State::Open(PAUSE_MAX));
    }
}
