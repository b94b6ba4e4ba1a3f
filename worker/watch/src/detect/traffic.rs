//! How much: floods of connections and requests, bursts of alerts, rules that match hardly ever,
//! destinations that were never talked to.

use super::table::Table;
use super::window::{Alarm, Counter, Rate, Trip};
use super::{Finding, Host, hash, is_private};
use crate::event::{Category, Event, Severity};
use crate::time::Timestamp;

const FLOOD_WINDOW_S: u32 = 10;
const BURST_WINDOW_S: u32 = 60;
/// A burst is so many times as much as usual,
const BURST_TIMES: u32 = 10;
/// and at least so much.
const BURST_MIN: u32 = 200;
/// Before so many alerts nobody knows what is rare.
const ALERTS_KNOWN: u64 = 1_000;
const RULES_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Traffic {
    connections: Alarm<Rate>,
    /// Those of them that were not answered, whose sender may be made up.
    unanswered: Rate,
    requests: Alarm<Rate>,
}

impl Traffic {
    pub(super) fn connections(
        &mut self,
        event: &Event<'_>,
        now: Timestamp,
        threshold: u32,
        found: &mut Vec<Finding<'_>>,
    ) {
        let vain = u32::from(!event.answered);
        let vain = self.unanswered.add(now, FLOOD_WINDOW_S, vain);
        if let Some(count) = self.connections.add(now, FLOOD_WINDOW_S, threshold, 1) {
            let flood = Finding::of(event, "flood of connections", Severity::High, Category::Dos);
            found.push(Finding {
                answered: vain < count / 2,
                ..flood.counted(count)
            });
        }
    }

    pub(super) fn requests(
        &mut self,
        event: &Event<'_>,
        now: Timestamp,
        threshold: u32,
        found: &mut Vec<Finding<'_>>,
    ) {
        if let Some(count) = self.requests.add(now, FLOOD_WINDOW_S, threshold, 1) {
            found.push(
                Finding::of(event, "flood of requests", Severity::High, Category::Dos)
                    .counted(count),
            );
        }
    }
}

/// A host that many sources flood together.
pub(super) fn to_host(
    host: &mut Host,
    event: &Event<'_>,
    now: Timestamp,
    threshold: u32,
    found: &mut Vec<Finding<'_>>,
) {
    if let Some(count) = host.connections.add(now, FLOOD_WINDOW_S, threshold, 1) {
        let mut finding = Finding::of(
            event,
            "flood from many sources",
            Severity::High,
            Category::Dos,
        );
        finding.actor = None;
        found.push(finding.counted(count));
    }
}

/// How often each rule matches.
#[derive(Debug)]
pub(super) struct Alerts {
    rules: Table<u64, RuleTraffic>,
    seen: u64,
}

#[derive(Debug, Default)]
struct RuleTraffic {
    seen: u64,
    rate: Rate,
    /// Matches in a window, in the long run, times 16.
    usual: u32,
    part: i64,
    trip: Trip,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            rules: Table::new(RULES_MAX),
            seen: 0,
        }
    }
}

impl Alerts {
    /// Counts an alert; whether its rule is a rare one.
    pub(super) fn look<'e>(
        &mut self,
        event: &Event<'_>,
        rule: &'e str,
        now: Timestamp,
        found: &mut Vec<Finding<'e>>,
    ) -> bool {
        self.seen += 1;
        let known = self.rules.entry(hash(&rule));
        known.seen += 1;
        let part = now.seconds() / i64::from(BURST_WINDOW_S);
        let count = known.rate.add(now, BURST_WINDOW_S, 1);
        if part != known.part {
            // An average that forgets a sixteenth with each window.
            let first = known.part == 0;
            known.part = part;
            known.usual = if first {
                0
            } else {
                known.usual - known.usual / 16 + count
            };
        }
        let usual = known.usual / 16;
        let limit = usual.saturating_mul(BURST_TIMES).max(BURST_MIN);
        if known.seen > u64::from(BURST_MIN)
            && known.usual > 0
            && known.trip.trips(count, limit, now, BURST_WINDOW_S)
        {
            let category = event.category.unwrap_or(Category::Network);
            let mut finding = Finding::of(
                event,
                format!("burst of: {rule}"),
                Severity::Medium,
                category,
            );
            finding.actor = None;
            found.push(finding.counted(count));
        }
        self.seen > ALERTS_KNOWN && known.seen <= 2
    }
}

/// Who talked to whom: two Bloom filters in turns.
#[derive(Debug)]
pub(super) struct Destinations {
    now: Vec<u64>,
    before: Vec<u64>,
    noted: u32,
    since: Option<Timestamp>,
}

/// Bits of a filter: a million bytes. With [`PAIRS_MAX`] pairs about one new one in a hundred is
/// missed.
const FILTER_BITS: u64 = 1 << 23;
const PAIRS_MAX: u32 = 400_000;
/// Before that everything is new.
const LEARNING_S: i64 = 3_600;
/// A new destination is told of when it is sent so many bytes.
const NEW_BYTES: u64 = 10_000_000;

impl Default for Destinations {
    fn default() -> Self {
        let filter = || vec![0; usize::try_from(FILTER_BITS / 64).unwrap_or(0)];
        Self {
            now: filter(),
            before: filter(),
            noted: 0,
            since: None,
        }
    }
}

impl Destinations {
    pub(super) fn look(&mut self, event: &Event<'_>, now: Timestamp, found: &mut Vec<Finding<'_>>) {
        let (Some(source), Some(destination)) = (event.source.ip, event.destination.ip) else {
            return;
        };
        if !is_private(source) || is_private(destination) {
            return;
        }
        let since = *self.since.get_or_insert(now);
        let known = self.note(hash(&(source, destination)));
        if !known && event.bytes >= NEW_BYTES && now > since.plus_s(LEARNING_S) {
            found.push(Finding::of(
                event,
                "much data to a new destination",
                Severity::Low,
                Category::Exfiltration,
            ));
        }
    }

    /// Notes a pair; whether it was there.
    fn note(&mut self, hash: u64) -> bool {
        if self.noted >= PAIRS_MAX {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.fill(0);
            self.noted = 0;
        }
        // All bits of a pair are in one line of the processor's cache.
        let lines = FILTER_BITS / 512;
        let line = usize::try_from(hash % lines).unwrap_or(0) * 8;
        let mut in_now = true;
        let mut in_before = true;
        for step in 0..4 {
            let bit = hash >> (28 + 9 * step) & 511;
            let (word, mask) = (line + (bit / 64) as usize, 1u64 << (bit % 64));
            in_now &= self.now[word] & mask != 0;
            in_before &= self.before[word] & mask != 0;
            self.now[word] |= mask;
        }
        self.noted += u32::from(!in_now);
        in_now || in_before
    }
}
