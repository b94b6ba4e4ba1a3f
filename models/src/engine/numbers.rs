//! Counts and times as the types that are wanted of them.

use std::time::Duration;

/// A count of tokens. One that is larger than any backend can hold stays the largest there is.
pub(super) fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A count for an estimate.
#[expect(clippy::cast_precision_loss, reason = "estimates")]
pub(super) fn to_f64(count: usize) -> f64 {
    count as f64
}

/// A duration in milliseconds.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Milliseconds as a whole number, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, not negative"
)]
pub(super) fn to_millis(millis: f64) -> u64 {
    millis.ceil() as u64
}
