//! Amounts, limits, and whether one more fits.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::prices::dollars;

/// Tokens and money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Tokens, both ways.
    pub tokens: u64,
    /// Billionths of a dollar.
    pub nanos: u64,
}

/// The most that may be spent on something; none: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cap {
    /// Tokens, both ways.
    pub tokens: Option<u64>,
    /// Billionths of a dollar.
    pub nanos: Option<u64>,
}

/// What may be spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// By one request.
    pub request: Cap,
    /// By one user in a day.
    pub user_day: Cap,
    /// By one user in a month.
    pub user_month: Cap,
    /// By all in a day.
    pub day: Cap,
    /// By all in a month.
    pub month: Cap,
}

/// What a limit is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One request.
    Request,
    /// A user's day.
    UserDay,
    /// A user's month.
    UserMonth,
    /// A day of all.
    Day,
    /// A month of all.
    Month,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Tokens.
    Tokens,
    /// Billionths of a dollar.
    Nanos,
}

/// A limit that is reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} may spend {}, has spent {}, and this may take {}{}",
    .scope.words(), .unit.show(*.limit), .unit.show(*.spent), .unit.show(*.wanted), until(.reset_at.as_ref()))]
pub struct Refusal {
    /// Which one.
    pub scope: Scope,
    /// In what.
    pub unit: Unit,
    /// How much may be spent.
    pub limit: u64,
    /// How much was.
    pub spent: u64,
    /// How much more was wanted.
    pub wanted: u64,
    /// When it begins anew; none: a request is simply too large.
    pub reset_at: Option<Timestamp>,
}

/// A limit of which most is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Which one.
    pub scope: Scope,
    /// In what.
    pub unit: Unit,
    /// How much may be spent.
    pub limit: u64,
    /// How much was, this request included.
    pub spent: u64,
    /// When it begins anew.
    pub reset_at: Timestamp,
}

/// A day of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Day(Date);

/// What was spent until now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) user_day: Amount,
    pub(super) user_month: Amount,
    pub(super) day: Amount,
    pub(super) month: Amount,
}

/// From this share of a limit on there is a warning, in percent.
const WARNING_PERCENT: u64 = 80;

impl Amount {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            nanos: self.nanos.saturating_add(other.nanos),
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            nanos: self.nanos.saturating_sub(other.nanos),
        }
    }
}

impl Day {
    pub(super) fn of(now: Timestamp) -> Self {
        Self(now.to_zoned(TimeZone::UTC).date())
    }

    pub(super) fn month_begin(self) -> Self {
        Self(self.0.first_of_month())
    }

    pub(super) fn last_month_begin(self) -> Self {
        let before = self.0.first_of_month().yesterday().unwrap_or(self.0);
        Self(before).month_begin()
    }

    fn tomorrow(self) -> Timestamp {
        midnight(self.0.tomorrow().unwrap_or(self.0))
    }

    fn next_month(self) -> Timestamp {
        midnight(self.0.last_of_month().tomorrow().unwrap_or(self.0))
    }
}

fn midnight(date: Date) -> Timestamp {
    let zoned = date.to_zoned(TimeZone::UTC);
    zoned.map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

impl Limits {
    /// Whether money is counted, so that every price has to be known.
    #[must_use]
    pub fn in_money(&self) -> bool {
        let caps = [
            self.request,
            self.user_day,
            self.user_month,
            self.day,
            self.month,
        ];
        caps.iter().any(|cap| cap.nanos.is_some())
    }

    /// Whether `more` fits; the limits that are nearly reached then.
    pub(super) fn check(
        &self,
        spent: &Spent,
        more: Amount,
        day: Day,
    ) -> Result<Vec<Warning>, Refusal> {
        let rows = [
            (Scope::Request, self.request, Amount::default(), None),
            (
                Scope::UserDay,
                self.user_day,
                spent.user_day,
                Some(day.tomorrow()),
            ),
            (
                Scope::UserMonth,
                self.user_month,
                spent.user_month,
                Some(day.next_month()),
            ),
            (Scope::Day, self.day, spent.day, Some(day.tomorrow())),
            (
                Scope::Month,
                self.month,
                spent.month,
                Some(day.next_month()),
            ),
        ];
        let mut warnings = Vec::new();
        for (scope, cap, spent, reset_at) in rows {
            for (unit, limit, spent, wanted) in [
                (Unit::Tokens, cap.tokens, spent.tokens, more.tokens),
                (Unit::Nanos, cap.nanos, spent.nanos, more.nanos),
            ] {
                let Some(limit) = limit else { continue };
                let then = spent.saturating_add(wanted);
                if then > limit {
                    return Err(Refusal {
                        scope,
                        unit,
                        limit,
                        spent,
                        wanted,
                        reset_at,
                    });
                }
                let most = u128::from(limit) * u128::from(WARNING_PERCENT);
                if let Some(reset_at) = reset_at
                    && u128::from(then) * 100 >= most
                {
                    warnings.push(Warning {
                        scope,
                        unit,
                        limit,
                        spent: then,
                        reset_at,
                    });
                }
            }
        }
        Ok(warnings)
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (spent, limit) = (self.unit.show(self.spent), self.unit.show(self.limit));
        let scope = self.scope.words();
        write!(
            f,
            "{scope} has spent or set aside {spent} of {limit}; it begins anew at {}",
            self.reset_at
        )
    }
}

impl Scope {
    fn words(self) -> &'static str {
        match self {
            Self::Request => "a request",
            Self::UserDay => "this user today",
            Self::UserMonth => "this user this month",
            Self::Day => "everybody together today",
            Self::Month => "everybody together this month",
        }
    }
}

impl Unit {
    fn show(self, amount: u64) -> String {
        match self {
            Self::Tokens => format!("{amount} tokens"),
            Self::Nanos => format!("${:.6}", dollars(amount)),
        }
    }
}

fn until(reset_at: Option<&Timestamp>) -> String {
    reset_at.map_or_else(String::new, |at| format!("; it begins anew at {at}"))
}
