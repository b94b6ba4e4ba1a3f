//! Findings of one actor and one category put together, with their evidence. The number of open
//! incidents is bounded: what does not fit is counted in one incident for each category.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde::Serialize;

use crate::detect::window::counted;
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

/// Rules, peers and users that an incident names.
const NAMES_MAX: usize = 8;

/// The longest name of a rule that is kept, in bytes: sensors write parts of them.
const RULE_BYTES_MAX: usize = 200;

/// What goes on is reported again after this long, in seconds.
const AGAIN_S: i64 = 60;

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

/// An incident and what only its keeper needs.
#[derive(Debug)]
struct Open {
    incident: Incident,
    /// Bits for actors that were put together.
    many: Option<Box<[u64; 64]>>,
    reported: Option<(Severity, u64, Timestamp)>,
    /// When something was added, in the time of the stream.
    touched: Timestamp,
    /// Whether it is in the list of what changed.
    listed: bool,
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

impl Open {
    fn new(
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
            subject: crate::judge::prompt::clean(&subject, 80),
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

    fn add(&mut self, finding: &Finding<'_>, event: &Event<'_>, place: Place, now: Timestamp) {
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
            incident
                .users
                .insert(crate::judge::prompt::clean(&event.user, 64));
        }
        let new_rule = self.count_rule(finding, event);
        self.keep(finding, event, place, now, worse || new_rule);
    }

    /// Counts a rule; whether it is new here.
    fn count_rule(&mut self, finding: &Finding<'_>, event: &Event<'_>) -> bool {
        let rules = &mut self.incident.rules;
        let rule = crate::judge::prompt::clean(&finding.rule, RULE_BYTES_MAX);
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
        let rule = crate::judge::prompt::clean(&finding.rule, RULE_BYTES_MAX);
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
        let text = crate::judge::prompt::clean(event.original, EVIDENCE_BYTES_MAX);
        self.incident.instructs |= crate::judge::prompt::instructs(event.original);
        let time = event.time.unwrap_or(now);
        evidence.push(Evidence {
            id,
            place,
            time,
            rule,
            text,
        });
    }

    fn take(&mut self) -> Incident {
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
    fn news(&self) -> bool {
        let Some((_, then, at)) = self.reported else {
            return true;
        };
        let goes_on = self.incident.count > then && at.plus_s(AGAIN_S) <= self.touched;
        goes_on || self.grew()
    }
}
