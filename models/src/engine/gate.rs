//! The bound on what may wait: checked by the caller, so that "no" costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::SubmitError;

/// What may wait for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// Requests.
    pub waiting_requests_max: usize,
    /// Their prompt tokens together.
    pub waiting_prompt_tokens_max: usize,
}

/// What a job may take, while none has ended.
const SERVICE_MS_GUESS: u64 = 1_000;

/// Counts what waits and refuses what is too much.
#[derive(Debug)]
pub(super) struct Gate {
    limits: GateLimits,
    slots: u32,
    requests: AtomicUsize,
    tokens: AtomicUsize,
    /// Smoothed time that a job keeps a slot, in milliseconds; 0 until one was seen.
    service_ms: AtomicU64,
}

/// A place in the queue; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Arc<Gate>,
    tokens: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gate.requests.fetch_sub(1, Ordering::SeqCst);
        self.gate.tokens.fetch_sub(self.tokens, Ordering::SeqCst);
    }
}

impl Gate {
    pub(super) fn new(limits: GateLimits, slots: u32) -> Self {
        Self {
            limits,
            slots: slots.max(1),
            requests: AtomicUsize::new(0),
            tokens: AtomicUsize::new(0),
            service_ms: AtomicU64::new(0),
        }
    }

    /// A place for a request of so many prompt tokens.
    pub(super) fn enter(self: &Arc<Self>, tokens: usize) -> Result<Ticket, SubmitError> {
        let requests_before = self.requests.fetch_add(1, Ordering::SeqCst);
        let tokens_before = self.tokens.fetch_add(tokens, Ordering::SeqCst);
        let ticket = Ticket {
            gate: Arc::clone(self),
            tokens,
        };
        let too_many = requests_before >= self.limits.waiting_requests_max;
        // A single request that is larger than the limit may still wait alone.
        let too_long =
            tokens_before > 0 && tokens_before + tokens > self.limits.waiting_prompt_tokens_max;
        if too_many || too_long {
            return Err(SubmitError::Overloaded {
                waiting_requests: requests_before,
                waiting_tokens: tokens_before,
                retry_after_ms: self.retry_after_ms(requests_before),
            });
        }
        Ok(ticket)
    }

    /// How many requests wait.
    pub(super) fn waiting(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Learns how long a job kept its slot.
    pub(super) fn observe(&self, service: Duration) {
        let sample = u64::try_from(service.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let old = self.service_ms.load(Ordering::Relaxed);
        let smoothed = match old {
            0 => sample,
            old => (old.saturating_mul(7).saturating_add(sample)).div_ceil(8),
        };
        self.service_ms.store(smoothed, Ordering::Relaxed);
    }

    /// How long a job keeps its slot, smoothed; zero until one was seen.
    pub(super) fn service_time(&self) -> Duration {
        Duration::from_millis(self.service_ms.load(Ordering::Relaxed))
    }

    /// When a quarter of those that wait will have had their turn, by the measured speed.
    fn retry_after_ms(&self, waiting: usize) -> u64 {
        let rounds = (waiting as u64 / 4 + 1).div_ceil(u64::from(self.slots));
        let service_ms = match self.service_ms.load(Ordering::Relaxed) {
            0 => SERVICE_MS_GUESS,
            known => known,
        };
        rounds.saturating_mul(service_ms).clamp(50, 60_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(requests: usize, tokens: usize) -> Arc<Gate> {
        let limits = GateLimits {
            waiting_requests_max: requests,
            waiting_prompt_tokens_max: tokens,
        };
        Arc::new(Gate::new(limits, 2))
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let gate = gate(2, 100);
        let first = gate.enter(40).expect("room");
        let _second = gate.enter(40).expect("room");
        assert!(matches!(
            gate.enter(1),
            Err(SubmitError::Overloaded {
                waiting_requests: 2,
                waiting_tokens: 80,
                ..
            })
        ));
        drop(first);
        assert!(gate.enter(61).is_err(), "101 tokens");
        let _third = gate.enter(60).expect("100 tokens");
        assert_eq!(gate.waiting(), 2);
    }

    #[test]
    fn a_request_larger_than_the_limit_waits_alone() {
        let gate = gate(8, 100);
        let large = gate.enter(500).expect("alone");
        assert!(gate.enter(1).is_err());
        drop(large);
        assert_eq!(gate.waiting(), 0);
    }

    #[test]
    fn the_time_to_retry_follows_the_measured_speed() {
        let gate = gate(0, 0);
        let retry = |gate: &Arc<Gate>| match gate.enter(1) {
            Err(SubmitError::Overloaded { retry_after_ms, .. }) => retry_after_ms,
            other => panic!("{other:?}"),
        };
        let slow = retry(&gate);
        for _ in 0..100 {
            gate.observe(Duration::from_millis(10));
        }
        assert!(retry(&gate) < slow);
    }
}
