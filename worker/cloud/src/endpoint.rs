//! One provider and how it stands: its connections, its keys, its breaker.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng;

use crate::breaker::{Breaker, State};
use crate::error::{CloudError, Failure, FailureKind};
use crate::http::Http;
use crate::keys::{Key, KeySource, Picked, Ring};
use crate::route::Trouble;
use crate::settings::ProviderSettings;

/// One provider and how it stands.
pub(crate) struct Provider {
    pub(crate) settings: ProviderSettings,
    pub(crate) http: Http,
    ring: Mutex<(Option<Instant>, Ring)>,
    breaker: Mutex<Breaker>,
}

/// Keys are read again after this time, so that new ones are taken without a restart.
const KEYS_AGE_MAX: Duration = Duration::from_secs(300);
/// A key that was not accepted rests so long.
const UNAUTHORIZED_REST: Duration = Duration::from_secs(60);
/// A key that had too many requests rests so long, if the provider does not say how long.
const RATE_LIMITED_REST: Duration = Duration::from_secs(20);
/// The first pause before another try; it doubles, and chance makes it up to a half longer or shorter.
const BACKOFF: Duration = Duration::from_millis(200);

impl Provider {
    pub(crate) fn new(settings: &ProviderSettings) -> Result<Self, CloudError> {
        Ok(Self {
            http: Http::new(settings)?,
            settings: settings.clone(),
            ring: Mutex::default(),
            breaker: Mutex::default(),
        })
    }

    /// What speaks against it now.
    pub(crate) fn trouble(&self, now: Instant) -> Option<Trouble> {
        if let State::Open(left) = lock(&self.breaker).state(now) {
            return Some(Trouble::Resting(left));
        }
        if self.settings.kind.needs_key() && self.settings.keys.is_empty() {
            let name = &self.settings.name;
            let why = format!("has no key; set api_key_file in [cloud.{name}]");
            return Some(Trouble::Broken(why));
        }
        lock(&self.ring).1.rest_left(now).map(Trouble::Resting)
    }

    /// Takes a failure in the middle of an answer into account, which was asked for at `entered`.
    pub(crate) fn report(&self, entered: Instant, failure: &Failure) {
        if failure.kind.is_outage() {
            lock(&self.breaker).failed(entered, Instant::now(), failure.retry_after);
        }
    }

    /// A try, if the breaker lets one through.
    pub(crate) fn enter(&self) -> Result<Entered<'_>, Failure> {
        let now = Instant::now();
        match lock(&self.breaker).enter(now) {
            Ok(()) => Ok(Entered(Some(&self.breaker), now)),
            Err(left) => Err(Failure {
                retry_after: Some(left),
                ..Failure::new(
                    &self.settings.name,
                    FailureKind::Open,
                    format!(
                        "it failed too often and is left alone for {} s",
                        left.as_secs().max(1)
                    ),
                )
            }),
        }
    }

    /// A key that does not rest; none: it wants no key.
    pub(crate) async fn pick(&self) -> Result<Option<Picked>, Failure> {
        let fail = |why: String| Failure::new(&self.settings.name, FailureKind::NoKey, why);
        if self.settings.keys.is_empty() {
            return match self.settings.kind.needs_key() {
                true => Err(fail(format!(
                    "set api_key_file in [cloud.{}]",
                    self.settings.name
                ))),
                false => Ok(None),
            };
        }
        let now = Instant::now();
        let read_at = lock(&self.ring).0;
        if read_at.is_none_or(|at| now.duration_since(at) > KEYS_AGE_MAX) {
            let sources = self.settings.keys.clone();
            let reading = tokio::task::spawn_blocking(move || {
                let keys: Result<Vec<Vec<Key>>, CloudError> =
                    sources.iter().map(KeySource::read).collect();
                keys
            });
            let read = reading.await.map_err(|fault| fail(fault.to_string()))?;
            let keys = read.map_err(|fault| fail(fault.to_string()))?.concat();
            let mut ring = lock(&self.ring);
            let fresh = std::mem::take(&mut ring.1).renewed(keys);
            *ring = (Some(now), fresh);
        }
        lock(&self.ring)
            .1
            .pick(now)
            .map(Some)
            .map_err(|left| Failure {
                retry_after: Some(left),
                ..fail(format!("all its keys rest for {} s", left.as_secs().max(1)))
            })
    }

    /// Asks once for something that comes whole, with one of its keys, within a time.
    pub(crate) async fn once<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        time_max: Duration,
        ask: impl FnOnce(Option<Key>) -> F,
    ) -> Result<T, Failure> {
        let mut entered = self.enter()?;
        let asking = async {
            let picked = self.pick().await?;
            let key = picked.as_ref().map(|picked| picked.key.clone());
            ask(key).await.inspect_err(|failure| {
                // A key that rests is not tried again at once.
                let _ = self.pause(failure, picked.as_ref(), 1);
            })
        };
        let Ok(answer) = tokio::time::timeout(time_max, asking).await else {
            entered.timed_out();
            let why = format!("no answer within {time_max:?}");
            let name = &self.settings.name;
            return Err(Failure::new(name, FailureKind::SlowFirstToken, why));
        };
        match &answer {
            Ok(_) => entered.succeeded(),
            Err(failure) => entered.failed(failure),
        }
        answer
    }

    /// How long to wait before another try; none: another try is of no use.
    pub(crate) fn pause(
        &self,
        failure: &Failure,
        picked: Option<&Picked>,
        tries: u32,
    ) -> Option<Duration> {
        if !failure.kind.retry_here() {
            return None;
        }
        let now = Instant::now();
        let rest = match failure.kind {
            FailureKind::RateLimited => Some(failure.retry_after.unwrap_or(RATE_LIMITED_REST)),
            FailureKind::Unauthorized => Some(UNAUTHORIZED_REST),
            _ => None,
        };
        if let Some(rest) = rest {
            let ring = &mut lock(&self.ring).1;
            // Without a key there is nothing that could rest, and nothing else to try.
            ring.cool(picked?.index, now + rest);
            // Another key at once, or the first that will be ready.
            return Some(ring.rest_left(now).unwrap_or_default());
        }
        let doubled = BACKOFF.saturating_mul(1 << (tries - 1).min(6));
        let chance = rand::rng().random_range(0.5..1.5);
        Some(
            doubled
                .mul_f64(chance)
                .max(failure.retry_after.unwrap_or_default()),
        )
    }
}

/// A try that the breaker let through, and when. One that nobody tells about was cancelled.
pub(crate) struct Entered<'a>(Option<&'a Mutex<Breaker>>, pub(crate) Instant);

impl Entered<'_> {
    pub(crate) fn succeeded(&mut self) {
        if let Some(breaker) = self.0.take() {
            lock(breaker).succeeded();
        }
    }

    pub(crate) fn failed(&mut self, failure: &Failure) {
        if failure.kind.is_outage()
            && let Some(breaker) = self.0.take()
        {
            lock(breaker).failed(self.1, Instant::now(), failure.retry_after);
        }
    }

    pub(crate) fn timed_out(&mut self) {
        if let Some(breaker) = self.0.take() {
            lock(breaker).timed_out(self.1, Instant::now());
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(breaker) = self.0 {
            lock(breaker).unknown();
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
