//! Everything that can go wrong, and whether another try can help.

use std::time::Duration;

use crate::budget::BudgetError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The settings can't be used.
    #[error("{0}")]
    Settings(String),
    /// A file or program of this machine could not be used.
    #[error("{what}: {error}")]
    Io {
        /// What was done with which file.
        what: String,
        /// Why it failed.
        error: std::io::Error,
    },
    /// The request would cost more than is left, or that can't be recorded.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// No provider answered; one failure for each one, in order.
    #[error("{}", all(.0))]
    Failed(Vec<Failure>),
    /// No provider is left to ask.
    #[error("no provider is configured that could be asked")]
    NoProvider,
}

/// How one provider failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{provider}: {message}")]
pub struct Failure {
    /// Its name in the settings.
    pub provider: String,
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// What happened, without any key.
    pub message: String,
    /// When it may work again, if that is known.
    pub retry_after: Option<Duration>,
    /// What it cost all the same, in billionths of a dollar, as far as prices are known.
    pub nanos: u64,
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// There is no key that could be used, or all of them rest.
    NoKey,
    /// The policy said no, or nobody said yes.
    Denied,
    /// The breaker is open: it failed too often just now.
    Open,
    /// No connection: refused, no such name, bad TLS.
    Unreachable,
    /// The connection took longer than `connect_ms`.
    SlowConnect,
    /// The first token took longer than `first_token_ms`.
    SlowFirstToken,
    /// A later one took longer than `between_tokens_ms`.
    Stalled,
    /// All of it took longer than `total_ms`.
    SlowTotal,
    /// The key was not accepted: 401 or 403.
    Unauthorized,
    /// No such model or path: 404.
    NotFound,
    /// The prompt is too long: 413.
    TooLong,
    /// Too many requests with this key: 429.
    RateLimited,
    /// Another status that says the request is wrong.
    Rejected,
    /// The provider is not well: 408 or a status from 500 on.
    Unavailable,
    /// It wants the request to be sent elsewhere, which is not done.
    Redirected,
    /// What came is no stream of the format.
    Malformed,
    /// The answer is longer than what may come.
    TooLarge,
    /// The connection ended before the answer did.
    Cut,
    /// The stream itself reported an error.
    Reported,
    /// The answer does not fit the schema, also after another try.
    BadAnswer,
}

impl Failure {
    /// A failure without a time to come back, which cost nothing.
    pub(crate) fn new(provider: &str, kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            provider: provider.to_owned(),
            kind,
            message: message.into(),
            retry_after: None,
            nanos: 0,
        }
    }
}

impl FailureKind {
    /// Whether the same provider may be asked again at once, if nothing was shown yet.
    #[must_use]
    pub fn retry_here(self) -> bool {
        use FailureKind::{Cut, RateLimited, Reported, Unauthorized, Unavailable, Unreachable};
        // A refused key or a rate limit is tried again with another key only.
        matches!(
            self,
            Cut | RateLimited | Reported | Unauthorized | Unavailable | Unreachable
        )
    }

    /// Whether it says that the provider is not well, which the breaker counts.
    #[must_use]
    pub fn is_outage(self) -> bool {
        use FailureKind as K;
        match self {
            K::Unreachable
            | K::SlowConnect
            | K::SlowFirstToken
            | K::Stalled
            | K::SlowTotal
            | K::Unavailable
            | K::Redirected
            | K::Malformed
            | K::TooLarge
            | K::Cut
            | K::Reported => true,
            K::NoKey
            | K::Denied
            | K::Open
            | K::Unauthorized
            | K::NotFound
            | K::TooLong
            | K::RateLimited
            | K::Rejected
            | K::BadAnswer => false,
        }
    }

    /// Whether the provider may have begun to write, and so to count.
    #[must_use]
    pub fn may_cost(self) -> bool {
        use FailureKind as K;
        matches!(
            self,
            K::SlowFirstToken
                | K::Stalled
                | K::SlowTotal
                | K::Malformed
                | K::TooLarge
                | K::Cut
                | K::Reported
                | K::BadAnswer
        )
    }
}

fn all(failures: &[Failure]) -> String {
    let texts: Vec<String> = failures.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// For `map_err`: what was done with which file.
pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> CloudError {
    let what = what.into();
    move |error| CloudError::Io { what, error }
}
