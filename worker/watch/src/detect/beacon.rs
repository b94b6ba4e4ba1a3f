//! Connections at equal intervals, as programs make them that call home.

use std::net::IpAddr;

use super::table::Table;
use super::{Finding, is_private};
use crate::event::{Category, Event, Severity};
use crate::time::{SECOND, Timestamp};

/// Pairs that are watched.
const PAIRS_MAX: usize = 65_536;
/// Shorter intervals are one page with its pictures; longer ones are forgotten.
const INTERVAL_S: std::ops::RangeInclusive<f64> = 5.0..=86_400.0;
/// How much intervals may differ, as their standard deviation over their mean.
const JITTER_MAX: f64 = 0.1;

/// A client, a server, and its port.
type Pair = (IpAddr, IpAddr, u16);

#[derive(Debug)]
pub(super) struct Beacons(Table<Pair, Beat>);

/// Intervals so far, by Welford's method.
#[derive(Debug, Default)]
struct Beat {
    last: Option<Timestamp>,
    count: u32,
    mean: f64,
    squares: f64,
    told: bool,
}

impl Default for Beacons {
    fn default() -> Self {
        Self(Table::new(PAIRS_MAX))
    }
}

impl Beacons {
    pub(super) fn look(
        &mut self,
        event: &Event<'_>,
        now: Timestamp,
        threshold: u32,
        found: &mut Vec<Finding<'_>>,
    ) {
        let (Some(source), Some(destination), Some(port)) = (
            event.source.ip,
            event.destination.ip,
            event.destination.port,
        ) else {
            return;
        };
        // Calls home go out. Time and names are asked for at intervals by everybody.
        if !is_private(source) || is_private(destination) || matches!(port, 53 | 123) {
            return;
        }
        let beat = self.0.entry((source, destination, port));
        let Some(last) = beat.last.replace(now) else {
            return;
        };
        #[expect(clippy::cast_precision_loss, reason = "of a day")]
        let interval = (now.0 - last.0) as f64 / SECOND as f64;
        if interval < 1.0 {
            // The same connection, seen as flow and as TLS.
            return;
        }
        if !INTERVAL_S.contains(&interval) {
            *beat = Beat {
                last: Some(now),
                ..Beat::default()
            };
            return;
        }
        beat.count += 1;
        let off = interval - beat.mean;
        beat.mean += off / f64::from(beat.count);
        beat.squares += off * (interval - beat.mean);
        if beat.count < threshold || beat.told {
            return;
        }
        let deviation = (beat.squares / f64::from(beat.count)).sqrt();
        if deviation <= beat.mean * JITTER_MAX {
            beat.told = true;
            found.push(
                Finding::of(
                    event,
                    "connections at equal intervals",
                    Severity::Medium,
                    Category::Malware,
                )
                .counted(beat.count),
            );
        } else if beat.count >= threshold.saturating_mul(8) {
            *beat = Beat {
                last: Some(now),
                ..Beat::default()
            };
        }
    }
}
