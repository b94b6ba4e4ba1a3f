//! Lines in, incidents out.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Serialize;

use crate::detect::{Detectors, Thresholds, network};
use crate::event::Severity;
use crate::format::{self, Parser};
use crate::incident::{Incident, IncidentId, Incidents, Place, Taken};
use crate::signature::Signatures;
use crate::time::{Clock, SECOND, Timestamp};

/// Longer lines are cut and counted; Suricata's with a payload reach some ten thousand bytes.
pub const LINE_BYTES_MAX: usize = 256 << 10;

/// Sources at most.
pub const SOURCES_MAX: u16 = 256;

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Lines that came.
    pub lines: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Lines that are no event.
    pub unreadable: u64,
    /// Findings of the detectors.
    pub findings: u64,
    /// Sources that are remembered.
    pub sources: usize,
    /// Sources that were forgotten because there were too many.
    pub sources_forgotten: u64,
}

/// From lines to incidents, in bounded memory.
#[derive(Debug)]
pub struct Watch {
    parsers: Vec<Parser>,
    time: StreamTime,
    detectors: Detectors,
    incidents: Incidents,
    stats: Stats,
    /// What the lines have to do with that are asked about, while they are taken.
    met: Option<Met>,
}

#[derive(Debug, Default)]
struct Met {
    ids: BTreeSet<IncidentId>,
    /// As networks.
    actors: BTreeSet<IpAddr>,
}

impl Watch {
    /// Reads streams whose times are meant by `clock`.
    #[must_use]
    pub fn new(clock: Clock, thresholds: Thresholds, signatures: Signatures) -> Self {
        Self::with_parsers(vec![Parser::new(clock)], thresholds, signatures)
    }

    /// Reads each source by a parser of its own; those beyond the last share that.
    #[must_use]
    pub fn with_parsers(
        parsers: Vec<Parser>,
        thresholds: Thresholds,
        signatures: Signatures,
    ) -> Self {
        let parsers = if parsers.is_empty() {
            vec![Parser::new(Clock::of_machine())]
        } else {
            parsers
        };
        Self {
            parsers,
            time: StreamTime::default(),
            detectors: Detectors::new(thresholds, signatures),
            incidents: Incidents::default(),
            stats: Stats::default(),
            met: None,
        }
    }

    /// For what happens now: an event that does not say when it was is of the moment in which it
    /// comes, and not of the time of the one before.
    #[must_use]
    pub fn live(mut self) -> Self {
        self.time.live = true;
        self
    }

    /// Numbers incidents from `next` on in steps of `step`.
    #[must_use]
    pub fn numbered(mut self, next: u64, step: u64) -> Self {
        self.incidents.number(next, step.max(1));
        self
    }

    /// The number of the next incident.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.incidents.next_number()
    }

    /// Takes a line, without its end.
    pub fn line(&mut self, place: Place, line: &[u8]) {
        self.stats.lines += 1;
        self.stats.bytes += line.len() as u64;
        let line = &line[..line.len().min(LINE_BYTES_MAX)];
        match std::str::from_utf8(line) {
            Ok(text) => self.text(place, text),
            Err(_) => self.text(place, &String::from_utf8_lossy(line)),
        }
    }

    fn text(&mut self, place: Place, line: &str) {
        match format::several(line) {
            Some(parts) => {
                for part in parts {
                    self.event(place, part.get());
                }
            }
            None => self.event(place, line),
        }
    }

    fn event(&mut self, place: Place, line: &str) {
        let parser = usize::from(place.source).min(self.parsers.len() - 1);
        let Ok(event) = self.parsers[parser].parse(line) else {
            self.stats.unreadable += 1;
            return;
        };
        let now = self.time.at(event.time);
        let mut found = Vec::new();
        self.detectors.look(&event, now, &mut found);
        self.stats.findings += found.len() as u64;
        for finding in &found {
            let id = self.incidents.add(finding, &event, place, now);
            if let Some(met) = &mut self.met {
                met.ids.insert(id);
            }
        }
        if let Some(met) = &mut self.met {
            met.actors.extend(event.source.ip.map(network));
        }
        self.incidents.sweep(now);
    }

    /// Takes lines, and says which incidents they or their sources belong to now, the worst first.
    pub fn ask<'l>(&mut self, lines: impl IntoIterator<Item = (Place, &'l [u8])>) -> Vec<Taken> {
        self.met = Some(Met::default());
        for (place, line) in lines {
            self.line(place, line);
        }
        let Met { ids, actors } = self.met.take().unwrap_or_default();
        let mut taken = self.incidents.take_of(&ids, &actors);
        taken.sort_by_key(|taken| Reverse((taken.incident.severity, taken.incident.count)));
        taken
    }

    /// The incidents from `min` on that are new, got worse, or grew eightfold since the last call; those
    /// that only go on come once in a minute.
    pub fn take_incidents(&mut self, min: Severity) -> Vec<Incident> {
        let mut taken = self.incidents.take_changed();
        // The model is to say what the rules can't.
        taken.retain(|incident| incident.severity >= min || !incident.clear);
        taken
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (sources, sources_forgotten) = self.detectors.sources();
        Stats {
            sources,
            sources_forgotten,
            ..self.stats
        }
    }
}

/// The time of the stream. It follows the events, never goes back, and is not moved far by a few
/// lines with a wrong clock. After a clock was set back it runs ahead of the events by a constant.
#[derive(Debug, Default)]
struct StreamTime {
    now: Option<Timestamp>,
    /// What the event before said.
    last: Timestamp,
    /// Microseconds between what events say and the time of the stream.
    ahead: i64,
    /// Lines in a row that are far from it.
    strays: u32,
    /// Whether what has no time is of now.
    live: bool,
}

/// Farther away is astray, in microseconds.
const STRAY: i64 = 600 * SECOND;
/// How much later than now something may have happened, in seconds.
const AHEAD_S: i64 = 60;
/// So many in a row are right after all.
const STRAYS_MAX: u32 = 32;

impl StreamTime {
    fn at(&mut self, time: Option<Timestamp>) -> Timestamp {
        let Some(said) = time else {
            if self.live {
                let now = Timestamp::now();
                let now = self.now.map_or(now, |before| before.max(now));
                return *self.now.insert(now);
            }
            return *self.now.get_or_insert_with(Timestamp::now);
        };
        let mut time = Timestamp(said.0.saturating_add(self.ahead));
        if self.live {
            // A clock that runs ahead must not take the others along.
            time = time.min(Timestamp::now().plus_s(AHEAD_S));
        }
        let now = self.now.unwrap_or(time);
        let since_last = said.0.saturating_sub(self.last.0);
        self.last = said;
        let off = time.0.saturating_sub(now.0);
        let next = if off.saturating_abs() <= STRAY {
            self.strays = 0;
            now.max(time)
        } else if self.strays < STRAYS_MAX {
            self.strays += 1;
            // Their intervals are right, whatever the date is.
            let step = if (0..=STRAY).contains(&since_last) {
                since_last
            } else {
                0
            };
            Timestamp(now.0.saturating_add(step))
        } else {
            self.strays = 0;
            if off < 0 {
                self.ahead = self.ahead.saturating_sub(off);
            }
            now.max(time)
        };
        self.now = Some(next);
        next
    }
}

#[cfg(test)]
mod tests;
