//! Measurements of machines that are too high for too long, or rise too fast.

use super::table::Table;
use super::{Finding, Thresholds, hash};
use crate::event::{Category, Event, Measured, Metric, Severity};
use crate::time::Timestamp;

/// Things that are measured; of more some are forgotten.
const THINGS_MAX: usize = 4_096;

/// A rise counts within one to two of these, in seconds.
const RISE_S: i64 = 300;

/// The same is told of again after this long, in seconds.
const AGAIN_S: i64 = 3_600;

/// How far below its threshold something has to be to be told of anew, in percent of it.
const BELOW: f64 = 0.95;

#[derive(Debug)]
pub(super) struct Metrics {
    things: Table<u64, State>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            things: Table::new(THINGS_MAX),
        }
    }
}

/// What is remembered of one thing.
#[derive(Debug, Default)]
struct State {
    /// When it was measured last.
    seen: Timestamp,
    /// Since when it is too high.
    since: Option<Timestamp>,
    /// How bad was told when.
    told: Option<(Severity, Timestamp)>,
    /// The least value of this part of time, and of the one before.
    part: i64,
    least: Option<f64>,
    before: Option<f64>,
}

/// The thresholds of one kind of measurement; 0: never.
struct Level {
    percent: f64,
    high: f64,
    for_s: u32,
    rise: f64,
}

impl Level {
    fn of(what: Measured, thresholds: &Thresholds) -> Self {
        let sustained = thresholds.sustained_s;
        let (percent, for_s, rise) = match what {
            Measured::Cpu => (thresholds.cpu_percent, sustained, thresholds.cpu_rise),
            Measured::Memory => (thresholds.memory_percent, 0, thresholds.memory_rise),
            Measured::Disk => (thresholds.disk_percent, 0, thresholds.disk_rise),
            Measured::Load => (thresholds.load_percent, sustained, thresholds.load_rise),
        };
        let percent = f64::from(percent);
        let high = match what {
            // A machine that is busy all the time is no emergency.
            Measured::Cpu => f64::INFINITY,
            Measured::Memory | Measured::Disk => f64::midpoint(percent, 100.0),
            Measured::Load => percent * 4.0,
        };
        Self {
            percent,
            high,
            for_s,
            rise: f64::from(rise),
        }
    }
}

impl Metrics {
    pub(super) fn look<'e>(
        &mut self,
        event: &'e Event<'_>,
        metric: Metric,
        now: Timestamp,
        thresholds: &Thresholds,
        found: &mut Vec<Finding<'e>>,
    ) {
        let level = Level::of(metric.what, thresholds);
        let state = self.things.entry(hash(&(&*event.host, &*event.process)));
        let name = &event.process;
        let mut tell = |rule: String, severity| {
            let finding = Finding::of(event, rule, severity, Category::Resource);
            found.push(finding.counted(whole(metric.percent)));
        };
        if let Some(severity) = state.high(metric.percent, &level, now) {
            tell(format!("{name} over {} %", level.percent), severity);
        }
        if state.rises(metric.percent, &level, now) {
            tell(format!("{name} rises fast"), Severity::Medium);
        }
    }
}

impl State {
    /// How bad it is, if that is to be told now.
    fn high(&mut self, value: f64, level: &Level, now: Timestamp) -> Option<Severity> {
        let seen = std::mem::replace(&mut self.seen, now);
        if level.percent <= 0.0 {
            return None;
        }
        if seen.plus_s(AGAIN_S) <= now {
            // What it was while nobody looked is not known.
            self.since = None;
        }
        if value < level.percent {
            self.since = None;
            if value < level.percent * BELOW {
                self.told = None;
            }
            return None;
        }
        let since = *self.since.get_or_insert(now);
        if since.plus_s(level.for_s.into()) > now {
            return None;
        }
        let severity = if value >= level.high {
            Severity::High
        } else {
            Severity::Medium
        };
        let known = self
            .told
            .is_some_and(|(told, at)| told >= severity && at.plus_s(AGAIN_S) > now);
        if known {
            return None;
        }
        self.told = Some((severity, now));
        Some(severity)
    }

    fn rises(&mut self, value: f64, level: &Level, now: Timestamp) -> bool {
        let part = now.seconds() / RISE_S;
        if part != self.part {
            let next = part == self.part + 1;
            self.before = self.least.take().filter(|_| next);
            self.part = part;
        }
        let low = self.least.into_iter().chain(self.before);
        let low = low.fold(value, f64::min);
        let rises = level.rise > 0.0 && value - low >= level.rise;
        if rises {
            // It is told of again when it has risen as far once more.
            self.before = None;
            self.least = Some(value);
        } else {
            self.least = Some(self.least.map_or(value, |least| least.min(value)));
        }
        rises
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the reader lets 0 to a million through"
)]
fn whole(percent: f64) -> u32 {
    percent.round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of values that come every ten seconds.
    fn said(
        what: Measured,
        values: impl IntoIterator<Item = f64>,
    ) -> Vec<(usize, String, Severity)> {
        let mut metrics = Metrics::default();
        let thresholds = Thresholds::default();
        let mut said = Vec::new();
        for (at, percent) in values.into_iter().enumerate() {
            let event = Event {
                process: what.name().into(),
                host: "h".into(),
                ..Event::default()
            };
            let now = Timestamp::default().plus_s(1_000_000 + at as i64 * 10);
            let mut found = Vec::new();
            metrics.look(
                &event,
                Metric { what, percent },
                now,
                &thresholds,
                &mut found,
            );
            for finding in found {
                said.push((at, finding.rule.into_owned(), finding.severity));
            }
        }
        said
    }

    #[test]
    fn a_busy_processor_is_told_of_only_if_it_stays_so() {
        assert!(said(Measured::Cpu, [10.0, 99.0, 99.0, 10.0, 99.0]).is_empty());
        let long = said(Measured::Cpu, [99.0; 100]);
        assert_eq!(long, [(30, "cpu over 95 %".to_owned(), Severity::Medium)]);
        // Busy before a night of sleep, and after it.
        let mut state = State::default();
        let level = Level::of(Measured::Cpu, &Thresholds::default());
        for second in [1_000_000, 1_030_000] {
            let now = Timestamp::default().plus_s(second);
            assert_eq!(state.high(99.0, &level, now), None);
        }
    }

    #[test]
    fn a_full_disk_is_told_of_once_and_again_when_it_gets_worse() {
        let values = [89.0, 91.0, 89.9, 91.0, 96.0, 97.0, 80.0, 91.0];
        let said = said(Measured::Disk, values);
        let told: Vec<(usize, Severity)> = said
            .iter()
            .filter(|(_, rule, _)| rule.contains("over"))
            .map(|(at, _, severity)| (*at, *severity))
            .collect();
        assert_eq!(
            told,
            [
                (1, Severity::Medium),
                (4, Severity::High),
                (7, Severity::Medium)
            ]
        );
    }

    #[test]
    fn what_rises_fast_is_told_of_long_before_it_is_full() {
        let fast = said(Measured::Disk, (0..40).map(|at| 20.0 + f64::from(at)));
        assert_eq!(
            fast[0],
            (10, "disk rises fast".to_owned(), Severity::Medium)
        );
        assert_eq!(fast.len(), 3, "{fast:?}");
        // The same in a day is no news.
        let slow = (0..8_640).map(|at| 20.0 + f64::from(at) / 144.0);
        assert!(said(Measured::Disk, slow).is_empty());
        // A rise after a pause of an hour is not fast.
        let mut state = State::default();
        let level = Level::of(Measured::Disk, &Thresholds::default());
        assert!(!state.rises(20.0, &level, Timestamp::default().plus_s(1_000_000)));
        assert!(!state.rises(60.0, &level, Timestamp::default().plus_s(1_003_600)));
    }
}
