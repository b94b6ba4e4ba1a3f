//! One incident while it grows: what it keeps of each finding, and when there is something to tell.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::{
    EVIDENCE_BYTES_MAX, EVIDENCE_MAX, Evidence, Incident, IncidentId, Key, Place, RuleCount,
};
use crate::detect::window::counted;
use crate::detect::{Finding, hash};
use crate::event::{Event, Severity};
use crate::judge::prompt::{clean, instructs};
use crate::time::Timestamp;

/// Rules, peers and users that an incident names.
const NAMES_MAX: usize = 8;

/// The longest name of a rule that is kept, in bytes: sensors write parts of them.
const RULE_BYTES_MAX: usize = 200;

/// What goes on is reported again after this long, in seconds.
const AGAIN_S: i64 = 60;

/// An incident and what only its keeper needs.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) incident: Incident,
    /// Bits for actors that were put together.
    many: Option<Box<[u64; 64]>>,
    reported: Option<(Severity, u64, Timestamp)>,
    /// When something was added, in the time of the stream.
    pub(super) touched: Timestamp,
    /// Whether it is in the list of what changed.
    pub(super) listed: bool,
}

impl Open {
    pub(super) fn new(
        id: IncidentId,
        key: Key,
        finding: &Finding<'_>,
        event: &Event<'_>,
        now: Timestamp,
    ) -> Self {
        let subject = match key {
            Key::Subject(..) if event.host.is_empty() => event.process.to_string(),
            Key::Subject(..) if event.process.is_empty() => event.host.to_string(),
            Key::Subject(..) => format!("{} on {}", event.process, event.host),
            _ => String::new(),
        };
        let incident = Incident {
            id,
            severity: finding.severity,
            category: finding.category,
            clear: false,
            actor: finding.actor.filter(|_| matches!(key, Key::Actor(..))),
            subject: clean(&subject, 80),
            actors: 0,
            peers: Vec::new(),
            users: BTreeSet::new(),
            rules: Vec::new(),
            count: 0,
            stopped: 0,
            answered: finding.answered,
            rare: false,
            instructs: false,
            again: false,
            first: event.time.unwrap_or(now),
            last: event.time.unwrap_or(now),
            evidence: Vec::new(),
        };
        Self {
            incident,
            many: matches!(key, Key::Many(_)).then(|| Box::new([0; 64])),
            reported: None,
            touched: now,
            listed: false,
        }
    }

    pub(super) fn add(
        &mut self,
        finding: &Finding<'_>,
        event: &Event<'_>,
        place: Place,
        now: Timestamp,
    ) {
        let incident = &mut self.incident;
        let worse = finding.severity > incident.severity;
        // Of what is milder nobody knows whether it was the same who spoke.
        incident.answered = match finding.severity.cmp(&incident.severity) {
            Ordering::Greater => finding.answered,
            Ordering::Equal => incident.answered || finding.answered,
            Ordering::Less => incident.answered,
        };
        incident.severity = incident.severity.max(finding.severity);
        incident.clear |= finding.clear;
        incident.count += 1;
        incident.stopped += u64::from(event.stopped);
        incident.rare |= finding.rare;
        incident.last = incident.last.max(event.time.unwrap_or(now));
        self.touched = now;
        if let (Some(bits), Some(ip)) = (&mut self.many, finding.actor) {
            let bit = (hash(&ip) >> 52) as usize;
            bits[bit / 64] |= 1 << (bit % 64);
            incident.actors = counted(bits.iter().map(|word| word.count_ones()).sum(), 4_096);
        }
        if let Some(peer) = finding.peer
            && incident.peers.len() < NAMES_MAX
            && !incident.peers.contains(&peer)
        {
            incident.peers.push(peer);
        }
        if !event.user.is_empty() && incident.users.len() < NAMES_MAX {
            incident.users.insert(clean(&event.user, 64));
        }
        let new_rule = self.count_rule(finding, event);
        self.keep(finding, event, place, now, worse || new_rule);
    }

    /// Counts a rule; whether it is new here.
    fn count_rule(&mut self, finding: &Finding<'_>, event: &Event<'_>) -> bool {
        let rules = &mut self.incident.rules;
        let rule = clean(&finding.rule, RULE_BYTES_MAX);
        let known = rules.iter_mut().find(|known| known.rule == rule);
        if let Some(known) = known {
            known.count = match finding.counter {
                Some(counter) => known.count.max(counter.into()),
                None => known.count + 1,
            };
            return false;
        }
        if rules.len() < NAMES_MAX {
            let count = finding.counter.map_or(1, u64::from);
            let own = event.rule.as_ref();
            let sensor = own.is_some_and(|own| [&own.name, &own.id].contains(&&finding.rule));
            rules.push(RuleCount {
                rule,
                count,
                sensor,
            });
        }
        true
    }

    /// Keeps the line if there is room; one that shows something new takes the place of the last.
    fn keep(
        &mut self,
        finding: &Finding<'_>,
        event: &Event<'_>,
        place: Place,
        now: Timestamp,
        new: bool,
    ) {
        let rule = clean(&finding.rule, RULE_BYTES_MAX);
        let evidence = &mut self.incident.evidence;
        if evidence.len() >= EVIDENCE_MAX && !new {
            return;
        }
        if evidence.iter().any(|known| known.place == place) {
            return;
        }
        // The first few lines of a rule tell what the next thousand would.
        let of_rule = evidence.iter().filter(|known| known.rule == rule).count();
        if !new && of_rule >= EVIDENCE_MAX / 2 {
            return;
        }
        evidence.truncate(EVIDENCE_MAX - 1);
        let id = format!("e{}", evidence.len() + 1);
        let text = clean(event.original, EVIDENCE_BYTES_MAX);
        self.incident.instructs |= instructs(event.original);
        let time = event.time.unwrap_or(now);
        evidence.push(Evidence {
            id,
            place,
            time,
            rule,
            text,
        });
    }

    pub(super) fn take(&mut self) -> Incident {
        self.listed = false;
        self.incident.again = !self.grew();
        let Incident {
            severity, count, ..
        } = self.incident;
        self.reported = Some((severity, count, self.touched));
        self.incident.clone()
    }

    /// Whether it is new, got worse, or grew eightfold since it was reported.
    fn grew(&self) -> bool {
        let Incident {
            severity, count, ..
        } = self.incident;
        let same = |(reported, then, _)| severity <= reported && count < then * 8;
        !self.reported.is_some_and(same)
    }

    /// Whether it is to be reported: it grew, or goes on.
    pub(super) fn news(&self) -> bool {
        let Some((_, then, at)) = self.reported else {
            return true;
        };
        let goes_on = self.incident.count > then && at.plus_s(AGAIN_S) <= self.touched;
        goes_on || self.grew()
    }
}
