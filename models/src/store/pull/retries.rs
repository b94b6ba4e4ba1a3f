//! How often to try again, and how long to wait before.

use std::time::Duration;

use super::error::PullError;
use super::hub::{Retry, Trouble};
use super::options::PullOptions;
use super::progress::PullRetry;

/// An attempt that brought this much was worth it: the count begins anew.
const WORTHWHILE_BYTES: u64 = 1 << 20;

const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// A hub that wants to be asked again later than this is not waited for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// The attempts at one file.
#[derive(Debug)]
pub(crate) struct Retries {
    max: u32,
    backoff: Duration,
    failed: u32,
    /// How far the file was when the count began.
    bytes: u64,
}

impl Retries {
    pub(crate) fn new(options: &PullOptions, bytes: u64) -> Self {
        Self {
            max: options.retries_max,
            backoff: options.backoff,
            failed: 0,
            bytes,
        }
    }

    /// What went wrong, and how long to wait before the next attempt.
    ///
    /// # Errors
    /// The trouble, if there should be no other.
    pub(crate) fn wait(&mut self, trouble: Trouble, bytes: u64) -> Result<PullRetry, PullError> {
        if bytes.saturating_sub(self.bytes) >= WORTHWHILE_BYTES {
            self.failed = 0;
            self.bytes = bytes;
        }
        let doubled = self.backoff.saturating_mul(1 << self.failed.min(16));
        let wait = match trouble.retry {
            Retry::Soon => doubled.min(BACKOFF_MAX),
            Retry::After(wait) if wait <= RETRY_AFTER_MAX => wait,
            Retry::After(_) | Retry::Never => return Err(trouble.error),
        };
        if self.failed >= self.max {
            return Err(trouble.error);
        }
        self.failed += 1;
        tracing::debug!(reason = %trouble.error, ?wait, "a download is tried again");
        let why = match trouble.error {
            // Without what to do at the end: it is being done.
            PullError::Network { why } => why,
            fault => fault.to_string(),
        };
        Ok(PullRetry { why, wait })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retries() -> Retries {
        let options = PullOptions {
            retries_max: 3,
            backoff: Duration::from_secs(8),
            ..PullOptions::default()
        };
        Retries::new(&options, 100)
    }

    fn after(seconds: u64) -> Trouble {
        Trouble {
            error: PullError::RateLimited { retry_after: None },
            retry: Retry::After(Duration::from_secs(seconds)),
        }
    }

    #[test]
    fn the_waits_double_up_to_a_limit_and_end() {
        let mut retries = retries();
        let waits: Vec<_> = (0..4)
            .map(|_| retries.wait(Trouble::network("cut"), 100).ok())
            .map(|retry| retry.map(|retry| retry.wait.as_secs()))
            .collect();
        assert_eq!(waits, [Some(8), Some(16), Some(30), None]);
    }

    #[test]
    fn progress_buys_new_attempts_and_a_trickle_does_not() {
        let mut worth = retries();
        let mut trickle = retries();
        for attempt in 1..=10u64 {
            let bytes = 100 + attempt * WORTHWHILE_BYTES;
            assert!(worth.wait(Trouble::network("cut"), bytes).is_ok());
        }
        let tried = (1..=10u64)
            .take_while(|attempt| trickle.wait(Trouble::network("cut"), 100 + attempt).is_ok());
        assert_eq!(tried.count(), 3);
    }

    #[test]
    fn a_hub_decides_when_to_be_asked_again_within_reason() {
        let retry = retries().wait(after(7), 100).expect("soon");
        assert_eq!(retry.wait, Duration::from_secs(7));
        assert!(retries().wait(after(3600), 100).is_err());
    }
}
