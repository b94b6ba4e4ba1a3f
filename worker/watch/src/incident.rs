//! Findings of one actor and one category put together, with their evidence. The number of open
//! incidents is bounded: what does not fit is counted in one incident for each category.

mod open;

use std::collections::BTreeSet;
use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde::Serialize;

use self::open::Open;
use crate::detect::{Finding, hash, network, seed};
use crate::event::{Category, Event, Severity};
use crate::time::Timestamp;

/// Open incidents at most.
pub const INCIDENTS_MAX: usize = 4_096;

/// Actors of one category with an incident of their own.
const ACTORS_MAX: usize = 1_024;

/// Lines that an incident keeps.
pub const EVIDENCE_MAX: usize = 8;

/// Bytes of a line that are kept as evidence.
pub const EVIDENCE_BYTES_MAX: usize = 1_024;

/// An incident without anything new for this long is over, in seconds.
const QUIET_S: i64 = 900;

/// The number of an incident, unique for one [`Incidents`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct IncidentId(pub u64);

/// Where a line is: which source, and which line or byte of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// The number of the source.
    pub source: u16,
    /// The number of the line from 1, or of its first byte in all that the source ever gave.
    pub at: u64,
}

/// A line that shows something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// `e1` and so on, within the incident.
    pub id: String,
    /// Where the line is.
    pub place: Place,
    /// When it happened.
    pub time: Timestamp,
    /// What it was found by.
    pub rule: String,
    /// The line, at most [`EVIDENCE_BYTES_MAX`] of it. Strangers wrote parts of it.
    pub text: String,
}

/// A rule and how often it matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleCount {
    /// Its name.
    pub rule: String,
    /// How often it matched, or what its counter stood at.
    pub count: u64,
    /// Whether it is a sensor's own rule, and none of ours.
    #[serde(skip_serializing_if = "is_false")]
    pub sensor: bool,
}

/// What happened, as far as rules can tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// Its number.
    pub id: IncidentId,
    /// How bad it is, by rules.
    pub severity: Severity,
    /// What it is about.
    pub category: Category,
    /// Whether the rules understand it; otherwise a model may say more.
    pub clear: bool,
    /// Who did it; `None`: it has no address, or there are many.
    pub actor: Option<IpAddr>,
    /// The machine or program that it is about, where there is no address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// How many actors were put together because there were too many for an incident each.
    #[serde(skip_serializing_if = "is_zero")]
    pub actors: u32,
    /// To whom it was done, the first few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<IpAddr>,
    /// Accounts that were used or tried, the first few.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub users: BTreeSet<String>,
    /// What matched, the first few.
    pub rules: Vec<RuleCount>,
    /// Findings in all.
    pub count: u64,
    /// How many of them something else had already stopped.
    pub stopped: u64,
    /// Whether both sides spoke in the worst of it, so that the actor's address is not made up.
    pub answered: bool,
    /// Whether one of its rules matches hardly ever.
    pub rare: bool,
    /// Whether a line talks to a reader, as one does who wants to be obeyed.
    pub instructs: bool,
    /// Whether it only goes on, and there is nothing more to tell than before.
    #[serde(skip)]
    pub again: bool,
    /// The first of its lines.
    pub first: Timestamp,
    /// The latest of its lines.
    pub last: Timestamp,
    /// Lines that show it.
    pub evidence: Vec<Evidence>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// An incident as it stands.
#[derive(Debug, Clone)]
pub struct Taken {
    /// It.
    pub incident: Incident,
    /// Whether it is new, got worse, or grew eightfold.
    pub news: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Actor(Category, IpAddr),
    Subject(Category, u64),
    Many(Category),
}

/// All incidents that are not over.
#[derive(Debug)]
pub struct Incidents {
    open: HashMap<Key, Open, FixedState>,
    changed: Vec<Key>,
    actors: HashMap<Category, usize>,
    next: u64,
    step: u64,
    swept: Timestamp,
}

impl Default for Incidents {
    fn default() -> Self {
        Self {
            open: HashMap::with_hasher(FixedState::with_seed(seed())),
            changed: Vec::new(),
            actors: HashMap::new(),
            next: 1,
            step: 1,
            swept: Timestamp::default(),
        }
    }
}

impl Incidents {
    /// Numbers them from `next` on in steps of `step`, so that several count side by side.
    pub(crate) fn number(&mut self, next: u64, step: u64) {
        self.next = next;
        self.step = step;
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// Puts a finding to the others of its kind.
    pub(crate) fn add(
        &mut self,
        finding: &Finding<'_>,
        event: &Event<'_>,
        place: Place,
        now: Timestamp,
    ) -> IncidentId {
        let key = self.key(finding, event);
        let open = match self.open.entry(key) {
            hashbrown::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hashbrown::hash_map::Entry::Vacant(entry) => {
                if let Key::Actor(category, _) = key {
                    *self.actors.entry(category).or_default() += 1;
                }
                let id = IncidentId(self.next);
                self.next += self.step;
                entry.insert(Open::new(id, key, finding, event, now))
            }
        };
        open.add(finding, event, place, now);
        if open.news() && !open.listed {
            open.listed = true;
            self.changed.push(key);
        }
        open.incident.id
    }

    /// The incidents that are new, got worse, or grew eightfold since the last call; those that go on
    /// come once in a minute.
    pub fn take_changed(&mut self) -> Vec<Incident> {
        let mut taken = Vec::with_capacity(self.changed.len());
        for key in self.changed.drain(..) {
            // What was taken otherwise is listed no more.
            if let Some(open) = self.open.get_mut(&key).filter(|open| open.listed) {
                taken.push(open.take());
            }
        }
        taken
    }

    /// The open incidents of these numbers and those whose actors are in these networks, and whether
    /// [`take_changed`](Self::take_changed) would have given them; it does no more.
    pub(crate) fn take_of(
        &mut self,
        ids: &BTreeSet<IncidentId>,
        actors: &BTreeSet<IpAddr>,
    ) -> Vec<Taken> {
        let of = |open: &Open| {
            let actor = open.incident.actor;
            let known = |ip: IpAddr| actors.contains(&network(ip));
            ids.contains(&open.incident.id) || actor.is_some_and(known)
        };
        let open = self.open.values_mut().filter(|open| of(open));
        open.map(|open| Taken {
            news: open.listed,
            incident: open.take(),
        })
        .collect()
    }

    /// Forgets what has been quiet for a quarter of an hour, and what was not yet reported stays.
    pub fn sweep(&mut self, now: Timestamp) {
        // Once in a minute of the stream's time is often enough.
        if now < self.swept.plus_s(60) && self.swept <= now {
            return;
        }
        self.swept = now;
        let actors = &mut self.actors;
        self.open.retain(|key, open| {
            let stays = open.listed || open.touched.plus_s(QUIET_S) > now;
            if !stays
                && let Key::Actor(category, _) = key
                && let Some(count) = actors.get_mut(category)
            {
                *count -= 1;
            }
            stays
        });
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn key(&self, finding: &Finding<'_>, event: &Event<'_>) -> Key {
        let category = finding.category;
        let key = match finding.actor {
            Some(ip) => Key::Actor(category, network(ip)),
            None => Key::Subject(
                category,
                hash(&(&*event.host, &*event.process, &*finding.rule)),
            ),
        };
        if self.open.contains_key(&key) {
            return key;
        }
        let many = self
            .actors
            .get(&category)
            .is_some_and(|count| *count >= ACTORS_MAX);
        let actor = matches!(key, Key::Actor(..));
        if (many && actor) || self.open.len() >= INCIDENTS_MAX {
            return Key::Many(category);
        }
        key
    }
}
