//! How much may be blocked, and who comes first when that is too little.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::Deserialize;

use crate::event::Severity;
use crate::time::Timestamp;

/// How much may be blocked.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Nothing is done, everything is said.
    pub dry_run: bool,
    /// New blocks in a minute.
    pub per_minute: u32,
    /// Blocks at one time.
    pub total: usize,
    /// Blocks by a rule that nobody has confirmed yet end after so many seconds.
    pub unconfirmed_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            dry_run: true,
            per_minute: 30,
            total: 5_000,
            unconfirmed_s: 300,
        }
    }
}

/// A cap is on so many seconds.
const MINUTE_S: i64 = 60;

/// What goes on is proposed once in a minute. What was not for so long, in seconds, waits no more.
const WAITS_S: i64 = 90;

/// So many wait at one time.
const WAITING_MAX: usize = 4_096;

/// How bad and how often: [`Proposal::weight`](crate::action::Proposal::weight).
type Weight = (Severity, u64);

#[derive(Debug)]
pub(super) struct Caps {
    limits: Limits,
    /// When the latest blocks were made.
    made: Vec<Timestamp>,
    /// Whom there was no room for, how much it weighs, and when it asked.
    waiting: BTreeMap<IpNet, (Weight, Timestamp)>,
}

impl Caps {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            made: Vec::new(),
            waiting: BTreeMap::new(),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A block was made.
    pub(super) fn made(&mut self, now: Timestamp) {
        self.made.retain(|then| lately(*then, MINUTE_S, now));
        self.made.push(now);
    }

    /// Whether there is room in this minute for one more, and for all that wait and weigh more.
    pub(super) fn has_room(&mut self, net: IpNet, weight: Weight, now: Timestamp) -> bool {
        self.waiting
            .retain(|_, (_, asked)| lately(*asked, WAITS_S, now));
        self.waiting.remove(&net);
        let made = self.made.iter();
        let made = made.filter(|then| lately(**then, MINUTE_S, now));
        let worse = self.waiting.values();
        let worse = worse.filter(|(other, _)| *other > weight);
        let room = made.count() + worse.count() < self.limits.per_minute as usize;
        if !room && self.waiting.len() < WAITING_MAX {
            self.waiting.insert(net, (weight, now));
        }
        room
    }
}

/// Whether that was in the last seconds; what was later than now, another clock said.
fn lately(then: Timestamp, seconds: i64, now: Timestamp) -> bool {
    then <= now && then.plus_s(seconds) > now
}
