//! Failed logins: guessing, guessing from many places, and guessing that succeeded.

use super::window::{Counter, Distinct, Rate, Trip};
use super::{Finding, Host, hash};
use crate::event::{Category, Event, Outcome, Severity};
use crate::time::Timestamp;

const SOURCE_WINDOW_S: u32 = 120;
const HOST_WINDOW_S: u32 = 300;
/// Success so long after guessing is success by guessing.
const SUCCESS_WINDOW_S: i64 = 600;
/// So many accounts of one source are no typing errors.
const ACCOUNTS: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Logins {
    failures: Rate,
    accounts: Distinct,
    trip: Trip,
    guessed: Option<Timestamp>,
}

impl Logins {
    pub(super) fn look(
        &mut self,
        event: &Event<'_>,
        now: Timestamp,
        threshold: u32,
        found: &mut Vec<Finding<'_>>,
    ) {
        match event.outcome {
            Some(Outcome::Failure) => {}
            Some(Outcome::Success) => {
                let recent = self
                    .guessed
                    .filter(|then| then.plus_s(SUCCESS_WINDOW_S) > now);
                if recent.is_some() {
                    self.guessed = None;
                    found.push(Finding::of(
                        event,
                        "login after guessing",
                        Severity::Critical,
                        Category::Bruteforce,
                    ));
                }
                return;
            }
            None => return,
        }
        let failures = self.failures.add(now, SOURCE_WINDOW_S, times(event));
        let accounts = self.accounts.add(now, SOURCE_WINDOW_S, hash(&&*event.user));
        let severe = failures >= threshold.saturating_mul(4) || accounts >= ACCOUNTS;
        if failures >= threshold {
            self.guessed = Some(now);
        }
        if self.trip.trips(failures, threshold, now, SOURCE_WINDOW_S) {
            let severity = if severe {
                Severity::High
            } else {
                Severity::Medium
            };
            let rule = if accounts >= ACCOUNTS {
                "failed logins to many accounts"
            } else {
                "failed logins"
            };
            found.push(Finding::of(event, rule, severity, Category::Bruteforce).counted(failures));
        }
    }
}

/// How often it happened; a line may say that it did four billion times more.
fn times(event: &Event<'_>) -> u32 {
    event.repeats.saturating_add(1)
}

/// A host that is guessed at from many sources, each of which stays below the threshold.
pub(super) fn at_host(
    host: &mut Host,
    event: &Event<'_>,
    now: Timestamp,
    threshold: u32,
    found: &mut Vec<Finding<'_>>,
) {
    if event.outcome != Some(Outcome::Failure) {
        return;
    }
    let failures = host
        .failures
        .add(now, HOST_WINDOW_S, threshold, times(event));
    if let Some(failures) = failures {
        let mut finding = Finding::of(
            event,
            "failed logins from many sources",
            Severity::High,
            Category::Bruteforce,
        );
        finding.actor = None;
        found.push(finding.counted(failures));
    }
}

/// One login that is worth a look by itself.
pub(super) fn single(event: &Event<'_>, found: &mut Vec<Finding<'_>>) {
    let (Some(severity), Some(category)) = (event.severity, event.category) else {
        return;
    };
    let rule = match event.outcome {
        Some(Outcome::Success) => "root logged in with a password",
        _ if event.repeats > 0 || severity > Severity::Medium => "many failed logins at once",
        _ if event.user == "root" => "failed login as root",
        _ => "failed login of an unknown user",
    };
    // One of them is noise of the internet; the counters see when it is more.
    let severity = match severity {
        Severity::Medium if category == Category::Bruteforce => Severity::Low,
        other => other,
    };
    found.push(Finding::of(event, rule, severity, category));
}
