//! Blocks: what may not be blocked, how many may be, what is blocked, and how it ends.
//!
//! The order of things is always the same: the allow-list and the caps decide, the ledger is
//! written and flushed, and only then the firewall changes. After a crash in between
//! [`Enforcer::reconcile`] makes the firewall what the ledger says.

mod allow;
mod caps;
pub mod crowdsec;
pub mod deny;
mod firewall;
mod ledger;
pub mod nft;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use serde::Serialize;

pub use self::allow::{AllowList, Sessions};
use self::caps::Caps;
pub use self::caps::Limits;
pub use self::firewall::{Change, Firewall, FirewallError, Held, Measure};
pub use self::ledger::{Block, BlockId};
use self::ledger::{Entry, Ledger};
use crate::action::{Action, Kind, Proposal, TTL_S_MAX};
use crate::time::Timestamp;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum EnforceError {
    /// It would hit somebody who must never be hit.
    #[error("{net} is not blocked: it has to do with {allowed}, which is on the allow-list")]
    Allowed {
        /// What was to be blocked.
        net: IpNet,
        /// What protects it.
        allowed: IpNet,
    },
    /// There were too many lately, or worse ones wait.
    #[error(
        "no more than {0} are blocked in a minute, the worst first; look at what is going on, or raise `per_minute`"
    )]
    PerMinute(u32),
    /// There are too many.
    #[error("nothing more is blocked: {0} are; undo some, or raise `total`")]
    Total(usize),
    /// The action is none that changes something.
    #[error("this action does nothing to anybody")]
    NoTarget,
    /// There is no such block.
    #[error("there is no block {0}; list them to see their numbers")]
    NoBlock(BlockId),
    /// The ledger could not be read or written; the firewall was not touched.
    #[error("the ledger of blocks: {0}; nothing was changed")]
    Ledger(#[from] io::Error),
    /// The firewall did not do it.
    #[error(transparent)]
    Firewall(#[from] FirewallError),
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "done", rename_all = "snake_case")]
pub enum Done {
    /// It would have been done.
    DryRun,
    /// It is done.
    Blocked(Block),
    /// Something that holds at least as long does it already.
    Already(Block),
}

/// What [`Enforcer::reconcile`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// Put back into the firewall.
    pub restored: usize,
    /// Taken out of it: the ledger does not know them.
    pub removed: usize,
}

/// Who blocks.
#[derive(Debug)]
pub struct Enforcer<F> {
    caps: Caps,
    allow: AllowList,
    ledger: Ledger,
    firewall: F,
}

impl<F: Firewall> Enforcer<F> {
    /// Opens the ledger, which no other process may have open.
    pub fn open(
        ledger: &Path,
        limits: Limits,
        allow: AllowList,
        firewall: F,
    ) -> Result<Self, EnforceError> {
        let ledger = Ledger::open(ledger)?;
        Ok(Self {
            caps: Caps::new(limits),
            allow,
            ledger,
            firewall,
        })
    }

    /// Replaces the allow-list; blocks that it now forbids are undone.
    pub fn allow(&mut self, allow: AllowList, now: Timestamp) -> Result<usize, EnforceError> {
        self.allow = allow;
        let wrong = |block: &Block| self.allow.protects(block.net).is_some();
        let wrong = self.which(now, wrong);
        self.end(&wrong)?;
        Ok(wrong.len())
    }

    /// Whether a rule may do it; what [`act`](Self::act) asks first. Where there is room for some of
    /// those that want it, the worst have it.
    pub fn may(&mut self, proposal: &Proposal, now: Timestamp) -> Result<(), EnforceError> {
        self.may_person(&proposal.action, now)?;
        let net = proposal.action.net().ok_or(EnforceError::NoTarget)?;
        match self.caps.has_room(net, proposal.weight, now) {
            true => Ok(()),
            false => Err(EnforceError::PerMinute(self.limits().per_minute)),
        }
    }

    /// Whether a person may do it: whoever floods rules keeps no person from acting.
    pub fn may_person(&self, action: &Action, now: Timestamp) -> Result<(), EnforceError> {
        let net = action.net().ok_or(EnforceError::NoTarget)?;
        if let Some(allowed) = self.allow.protects(net) {
            return Err(EnforceError::Allowed { net, allowed });
        }
        let active = self.blocks(now).count();
        if active >= self.limits().total {
            return Err(EnforceError::Total(active));
        }
        Ok(())
    }

    /// Does what a rule proposes. `incident` is kept, so that all that was done for it can be
    /// undone together.
    pub fn act(
        &mut self,
        proposal: &Proposal,
        incident: &str,
        now: Timestamp,
    ) -> Result<Done, EnforceError> {
        let confirmed = self.ledger.is_confirmed(&proposal.rule);
        self.make(proposal, Some(incident), confirmed, now)
    }

    /// Does what a person wants, for as long as the person says.
    pub fn act_by_person(
        &mut self,
        proposal: &Proposal,
        now: Timestamp,
    ) -> Result<Done, EnforceError> {
        self.make(proposal, None, true, now)
    }

    /// What does already what is proposed, for at least half of the time: it need not be done anew.
    #[must_use]
    pub fn already(&self, proposal: &Proposal, now: Timestamp) -> Option<&Block> {
        let confirmed = self.ledger.is_confirmed(&proposal.rule);
        let mut wanted = self.wanted(&proposal.action, confirmed)?;
        wanted.ttl_s /= 2;
        self.covering(&wanted, now)
    }

    fn wanted(&self, action: &Action, confirmed: bool) -> Option<Wanted> {
        let (kind, measure, net, ttl_s) = parts(action)?;
        let most = if confirmed {
            u32::MAX
        } else {
            self.limits().unconfirmed_s
        };
        let ttl_s = ttl_s.min(most);
        Some(Wanted {
            kind,
            measure,
            net,
            ttl_s,
        })
    }

    /// What does it already: as long as is wanted, or to a network around it. A firewall holds no
    /// part of a network for longer than the network; what goes on then is blocked anew.
    fn covering(&self, wanted: &Wanted, now: Timestamp) -> Option<&Block> {
        let until = now.plus_s(wanted.ttl_s.into());
        self.blocks(now).find(|block| {
            let around = block.net != wanted.net && block.net.contains(&wanted.net);
            let same = block.net == wanted.net && block.until >= until;
            wanted.measure == block.measure && (around || same)
        })
    }

    fn make(
        &mut self,
        proposal: &Proposal,
        incident: Option<&str>,
        confirmed: bool,
        now: Timestamp,
    ) -> Result<Done, EnforceError> {
        let wanted = self.wanted(&proposal.action, confirmed);
        let wanted = wanted.ok_or(EnforceError::NoTarget)?;
        let net = wanted.net;
        // The allow-list comes before everything, the caps before what is new.
        if let Some(allowed) = self.allow.protects(net) {
            return Err(EnforceError::Allowed { net, allowed });
        }
        if let Some(block) = self.covering(&wanted, now) {
            return Ok(Done::Already(block.clone()));
        }
        match incident {
            Some(_) => self.may(proposal, now)?,
            None => self.may_person(&proposal.action, now)?,
        }
        if self.limits().dry_run {
            return Ok(Done::DryRun);
        }
        let block = Block {
            id: self.ledger.next_id(),
            kind: wanted.kind,
            measure: wanted.measure,
            net,
            rule: proposal.rule.clone(),
            incident: incident.unwrap_or_default().to_owned(),
            since: now,
            until: now.plus_s(wanted.ttl_s.into()),
            confirmed,
        };
        self.put(&wanted, block, now).map(Done::Blocked)
    }

    /// The ledger first, then the firewall.
    fn put(
        &mut self,
        wanted: &Wanted,
        block: Block,
        now: Timestamp,
    ) -> Result<Block, EnforceError> {
        // What is within the new one would stand in its way.
        let within =
            |known: &Block| wanted.measure == known.measure && wanted.net.contains(&known.net);
        let within = self.which(now, within);
        let undone = within.iter().map(Block::undone);
        self.ledger
            .write(undone.chain([Entry::Add(block.clone())]).collect())?;
        self.caps.made(now);
        let changes: Vec<Change> = within
            .iter()
            .map(Block::removed)
            .chain([block.put(wanted.ttl_s)])
            .collect();
        if let Err(fault) = self.firewall.apply(&changes) {
            // The ledger says what is: not this, and what was there before.
            let before = within.into_iter().map(Entry::Add);
            self.ledger
                .write([block.undone()].into_iter().chain(before).collect())?;
            return Err(fault.into());
        }
        Ok(block)
    }

    /// The blocks of now that are so.
    fn which(&self, now: Timestamp, so: impl Fn(&Block) -> bool) -> Vec<Block> {
        self.blocks(now)
            .filter(|block| so(block))
            .cloned()
            .collect()
    }

    /// Ends blocks: all of them in the ledger, then in the firewall.
    fn end(&mut self, blocks: &[Block]) -> Result<(), EnforceError> {
        self.ledger
            .write(blocks.iter().map(Block::undone).collect())?;
        let removed: Vec<Change> = blocks.iter().map(Block::removed).collect();
        self.change(&removed)
    }

    fn change(&mut self, changes: &[Change]) -> Result<(), EnforceError> {
        if !changes.is_empty() {
            self.firewall.apply(changes)?;
        }
        Ok(())
    }

    /// A person says that blocks by this rule are right: those that are active get `ttl_s` from
    /// now on, and new ones are made for the time that their rule says.
    pub fn confirm(
        &mut self,
        rule: &str,
        ttl_s: u32,
        now: Timestamp,
    ) -> Result<usize, EnforceError> {
        let ttl_s = ttl_s.min(TTL_S_MAX);
        let mut blocks = self.which(now, |block| block.rule == rule && !block.confirmed);
        for block in &mut blocks {
            block.until = now.plus_s(ttl_s.into());
            block.confirmed = true;
        }
        let confirm = Entry::Confirm {
            rule: rule.to_owned(),
        };
        let longer = blocks.iter().cloned().map(Entry::Add);
        self.ledger
            .write([confirm].into_iter().chain(longer).collect())?;
        let put: Vec<Change> = blocks.iter().map(|block| block.put(ttl_s)).collect();
        self.change(&put)?;
        Ok(blocks.len())
    }

    /// Ends a block.
    pub fn undo(&mut self, id: BlockId, now: Timestamp) -> Result<Block, EnforceError> {
        let block = self.blocks(now).find(|block| block.id == id).cloned();
        let block = block.ok_or(EnforceError::NoBlock(id))?;
        self.end(std::slice::from_ref(&block))?;
        Ok(block)
    }

    /// Ends all that was done for an incident.
    pub fn undo_incident(
        &mut self,
        incident: &str,
        now: Timestamp,
    ) -> Result<Vec<Block>, EnforceError> {
        let blocks = self.which(now, |block| block.incident == incident);
        self.end(&blocks)?;
        Ok(blocks)
    }

    /// Makes the firewall what the ledger says. To be called at the start, and when somebody may
    /// have changed the firewall or the clock.
    pub fn reconcile(&mut self, now: Timestamp) -> Result<Reconciled, EnforceError> {
        self.settle(now)?;
        let held = self.firewall.held()?;
        let wanted: BTreeMap<(Measure, IpNet), u32> = self
            .blocks(now)
            .map(|block| ((block.measure, block.net), block.left_s(now)))
            .collect();
        let mut right = BTreeSet::new();
        let mut wrong = BTreeSet::new();
        for known in held {
            let what = (known.measure, known.net);
            match wanted.get(&what) {
                None => wrong.insert(what),
                Some(left) if left.abs_diff(known.left_s) <= 5 => right.insert(what),
                Some(_) => false,
            };
        }
        let done = Reconciled {
            restored: wanted.len() - right.len(),
            removed: wrong.len(),
        };
        let removed = wrong
            .into_iter()
            .map(|(measure, net)| Change::Remove { measure, net });
        let missing = wanted.into_iter().filter(|(what, _)| !right.contains(what));
        let restored = missing.map(|((measure, net), ttl_s)| Change::Put {
            measure,
            net,
            ttl_s,
        });
        // What can't limit, because the settings changed meanwhile, blocks all the same.
        let (blocks, limits): (Vec<Change>, Vec<Change>) = removed
            .chain(restored)
            .partition(|change| change.measure() == Measure::Block);
        let blocks = self.change(&blocks);
        let limits = self.change(&limits);
        blocks.and(limits)?;
        Ok(done)
    }

    /// Writes down what is over, so that no clock that is set back brings it again. What was made
    /// later than now was made before the clock was set back, and has its whole time from now on.
    fn settle(&mut self, now: Timestamp) -> Result<(), EnforceError> {
        let most = i64::from(TTL_S_MAX);
        let settled = |block: &Block| {
            if block.until <= now {
                return Some(block.undone());
            }
            let ttl_s = block.until.seconds() - block.since.seconds();
            let ahead = block.since > now || block.until > now.plus_s(most);
            ahead.then(|| {
                Entry::Add(Block {
                    since: now,
                    until: now.plus_s(ttl_s.min(most)),
                    ..block.clone()
                })
            })
        };
        let entries: Vec<Entry> = self.ledger.blocks().filter_map(settled).collect();
        Ok(self.ledger.write(entries)?)
    }

    /// How much may be blocked.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        self.caps.limits()
    }

    /// What is blocked now.
    pub fn blocks(&self, now: Timestamp) -> impl Iterator<Item = &Block> {
        self.ledger.blocks().filter(move |block| block.until > now)
    }

    /// The firewall.
    pub fn firewall(&mut self) -> &mut F {
        &mut self.firewall
    }
}

/// An address, or a network that is written with its prefix.
#[must_use]
pub fn net(text: &str) -> Option<IpNet> {
    let whole = |ip: IpAddr| IpNet::from(ip.to_canonical());
    let address = text.parse().ok().map(whole);
    address.or_else(|| text.parse().ok().map(|net: IpNet| canonical(net.trunc())))
}

/// A network of IPv4 that is written in IPv6 is one of IPv4.
fn canonical(net: IpNet) -> IpNet {
    let IpAddr::V4(ip) = net.addr().to_canonical() else {
        return net;
    };
    let bits = net.prefix_len().checked_sub(net.max_prefix_len() - 32);
    bits.and_then(|bits| IpNet::new(ip.into(), bits).ok())
        .unwrap_or(net)
}

/// What is to be done, to whom and for how long.
struct Wanted {
    kind: Kind,
    measure: Measure,
    net: IpNet,
    ttl_s: u32,
}

fn parts(action: &Action) -> Option<(Kind, Measure, IpNet, u32)> {
    match *action {
        Action::Log | Action::Alert => None,
        Action::BlockIp { net, ttl_s } => Some((Kind::BlockIp, Measure::Block, net, ttl_s)),
        Action::RateLimit {
            net,
            per_second,
            ttl_s,
        } => Some((Kind::RateLimit, Measure::Limit(per_second), net, ttl_s)),
        Action::DenyFile { net, ttl_s } => Some((Kind::DenyFile, Measure::Block, net, ttl_s)),
    }
}

#[cfg(test)]
mod tests;
