//! What one user may have: requests at once, and requests and tokens for each minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fazai_protocol::Limits;

use crate::live::User;
use crate::lock::lock;

/// Budgets are for so long.
const WINDOW: Duration = Duration::from_secs(60);

/// Why a user has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{user} has {what}, the limit is {most}{}", if *.for_a_minute { " for each minute" } else { "" })]
pub(crate) struct QuotaExceeded {
    user: User,
    what: Amount,
    most: u64,
    for_a_minute: bool,
    /// When there is room again; unknown for requests at once.
    pub(crate) retry_after: Option<Duration>,
}

/// How much of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    AtOnce(u64),
    Requests(u64),
    Tokens(u64),
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtOnce(count) => write!(f, "{count} requests at once"),
            Self::Requests(count) => write!(f, "sent {count} requests"),
            Self::Tokens(count) => write!(f, "used {count} tokens"),
        }
    }
}

/// An allowance that fills up evenly and may be overdrawn by one request, because nobody knows
/// what a request will cost.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    used: f64,
    seen: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self {
            used: 0.0,
            seen: now,
        }
    }

    /// What is used after some of it has come back.
    fn used(&mut self, most: u64, now: Instant) -> f64 {
        let back = rate(most) * now.duration_since(self.seen).as_secs_f64();
        self.used = (self.used - back).max(0.0);
        self.seen = now;
        self.used
    }

    /// When the use is below `most` again.
    fn wait(&self, most: u64) -> Duration {
        let excess = self.used + 1.0 - to_f64(most);
        Duration::from_secs_f64((excess / rate(most)).max(0.05))
    }
}

/// What comes back for each second.
fn rate(most: u64) -> f64 {
    to_f64(most) / WINDOW.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "counts of one minute")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

#[derive(Debug)]
struct Account {
    at_once: u64,
    requests: Bucket,
    tokens: Bucket,
}

/// Everybody's accounts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quotas(Arc<Mutex<HashMap<User, Account>>>);

/// A request that counts against its user's quota until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    quotas: Quotas,
    user: User,
}

impl Quotas {
    fn lock(&self) -> MutexGuard<'_, HashMap<User, Account>> {
        lock(&self.0)
    }

    /// Lets a request of the user begin.
    ///
    /// # Errors
    /// It has to wait.
    pub(crate) fn enter(&self, user: User, limits: &Limits) -> Result<Permit, QuotaExceeded> {
        let now = Instant::now();
        let mut accounts = self.lock();
        let account = accounts.entry(user).or_insert_with(|| Account {
            at_once: 0,
            requests: Bucket::new(now),
            tokens: Bucket::new(now),
        });
        let refused = |what, most, retry_after: Option<Duration>| QuotaExceeded {
            user,
            what,
            most,
            for_a_minute: retry_after.is_some(),
            retry_after,
        };
        let most = limits.user_requests_at_once_max;
        if most > 0 && account.at_once >= most {
            return Err(refused(Amount::AtOnce(account.at_once), most, None));
        }
        let most = limits.user_requests_per_minute_max;
        if most > 0 {
            let used = account.requests.used(most, now);
            if used + 1.0 > to_f64(most) {
                let wait = account.requests.wait(most);
                return Err(refused(Amount::Requests(round(used)), most, Some(wait)));
            }
            account.requests.used += 1.0;
        }
        let most = limits.user_tokens_per_minute_max;
        if most > 0 {
            let used = account.tokens.used(most, now);
            if used >= to_f64(most) {
                let wait = account.tokens.wait(most);
                return Err(refused(Amount::Tokens(round(used)), most, Some(wait)));
            }
        }
        account.at_once += 1;
        Ok(Permit {
            quotas: self.clone(),
            user,
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count"
)]
fn round(count: f64) -> u64 {
    count.round() as u64
}

impl Permit {
    /// Charges tokens that were computed or written.
    pub(crate) fn charge(&self, tokens: u32) {
        if let Some(account) = self.quotas.lock().get_mut(&self.user) {
            account.tokens.used += f64::from(tokens);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut accounts = self.quotas.lock();
        if let Some(account) = accounts.get_mut(&self.user) {
            account.at_once -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: User = User::Uid(1);
    const BEN: User = User::Uid(2);

    #[test]
    fn each_user_has_its_own_limits_and_gets_them_back() {
        let limits = Limits {
            user_requests_at_once_max: 2,
            ..Limits::default()
        };
        let quotas = Quotas::default();
        let first = quotas.enter(ANNA, &limits).expect("room");
        let _second = quotas.enter(ANNA, &limits).expect("room");
        let refused = quotas.enter(ANNA, &limits).expect_err("full");
        assert_eq!(
            refused.to_string(),
            "uid 1 has 2 requests at once, the limit is 2"
        );
        quotas.enter(BEN, &limits).expect("another user");
        drop(first);
        quotas.enter(ANNA, &limits).expect("room again");
    }

    #[test]
    fn requests_and_tokens_come_back_with_time() {
        let limits = Limits {
            user_requests_per_minute_max: 600,
            user_tokens_per_minute_max: 60_000,
            ..Limits::default()
        };
        let quotas = Quotas::default();
        for _ in 0..600 {
            quotas.enter(ANNA, &limits).expect("room");
        }
        let refused = quotas.enter(ANNA, &limits).expect_err("used up");
        let wait = refused.retry_after.expect("known");
        assert!(wait <= Duration::from_millis(200), "{wait:?}");
        assert!(
            refused.to_string().contains("600 for each minute"),
            "{refused}"
        );

        quotas.enter(BEN, &limits).expect("room").charge(61_000);
        let refused = quotas.enter(BEN, &limits).expect_err("overdrawn");
        let wait = refused.retry_after.expect("known");
        assert!((0.9..1.1).contains(&wait.as_secs_f64()), "{wait:?}");
        let account = |quotas: &Quotas| quotas.lock()[&BEN].tokens;
        let mut tokens = account(&quotas);
        assert!(tokens.used(60_000, Instant::now() + Duration::from_secs(61)) < 1.0);
    }
}
