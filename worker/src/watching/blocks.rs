//! Blocks: the policy is asked for each one, what is done is recorded before it happens, and the
//! firewall is told last.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use fazai_tools::{Action, Outcome, Permit};
use fazai_watch::action::{self, Proposal, Rules};
use fazai_watch::enforce::crowdsec::CrowdSec;
use fazai_watch::enforce::nft::Nft;
use fazai_watch::enforce::{
    AllowList, Block, Done, EnforceError, Enforcer, Limits, Reconciled, Sessions,
};
use fazai_watch::time::Timestamp;
use ipnet::IpNet;
use tracing::{error, info, warn};

use super::WatchFault;
use super::record::Did;
use super::wall::{DenyFile, Program, Wall};
use crate::acting::Acting;
use crate::config::{Enforce, WatchSettings};
use crate::lock::lock;

/// The allow-list follows the machine, whose peers and addresses change, so often, in seconds.
const ALLOW_EVERY_S: i64 = 30;

/// Where SSH listens.
const SSH_PORT: u16 = 22;

/// What happened longer ago is no reason to block anybody, in seconds.
const OLD_S: i64 = 900;

/// What is blocked, and by whom.
pub(crate) struct Blocks {
    mode: Enforce,
    allow: Vec<IpNet>,
    state: Mutex<State>,
}

struct State {
    enforcer: Enforcer<Wall>,
    sessions: Sessions,
    /// When the allow-list was made, and the firewall looked at.
    allowed: Timestamp,
}

impl Blocks {
    /// Opens the ledger, and makes the firewall what it says.
    pub(super) fn open(
        path: &Path,
        settings: &WatchSettings,
        rules: &Rules,
    ) -> Result<Self, WatchFault> {
        let wall = match &settings.enforce {
            Enforce::Off => Wall::Nothing,
            Enforce::Nft => Wall::Nft(Nft::new(Program, rules.rates())),
            Enforce::CrowdSec => Wall::CrowdSec(CrowdSec::new(Program)),
            Enforce::DenyFile(reader, path) => Wall::File(DenyFile::new(*reader, path.clone())),
        };
        let limits = Limits {
            dry_run: settings.enforce == Enforce::Off,
            ..Limits::default()
        };
        let now = Timestamp::now();
        let mut sessions = Sessions::default();
        let allow = allow_list(&settings.allow, &mut sessions, now);
        let mut enforcer = Enforcer::open(path, limits, allow.clone(), wall)?;
        if settings.enforce != Enforce::Off {
            // What a firewall does not do now it may do later; the ledger holds.
            let undone = enforcer.allow(allow, now).map(|count| count > 0);
            match undone.and_then(|_| enforcer.reconcile(now)) {
                Ok(done) => info!(done.restored, done.removed, "blocks are as the ledger says"),
                Err(fault) => error!(%fault, "blocks are not as the ledger says"),
            }
        }
        Ok(Self {
            mode: settings.enforce.clone(),
            allow: settings.allow.clone(),
            state: Mutex::new(State {
                enforcer,
                sessions,
                allowed: now,
            }),
        })
    }

    /// Whether it is only said what would be done.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.mode == Enforce::Off
    }

    /// The state with an allow-list that is not old, and a firewall that was not changed by others
    /// for long.
    fn lock(&self, now: Timestamp) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        if state.allowed.plus_s(ALLOW_EVERY_S) <= now || now < state.allowed {
            state.allowed = now;
            let allow = allow_list(&self.allow, &mut state.sessions, now);
            match state.enforcer.allow(allow, now) {
                Ok(0) => {}
                Ok(count) => warn!(count, "blocks were ended that the allow-list now forbids"),
                Err(fault) => error!(%fault, "a block that is not allowed can't be ended"),
            }
            if !self.is_dry_run() {
                match state.enforcer.reconcile(now) {
                    Ok(done) if done == Reconciled::default() => {}
                    Ok(done) => warn!(done.restored, done.removed, "others changed the blocks"),
                    Err(fault) => error!(%fault, "blocks are not as the ledger says"),
                }
            }
        }
        state
    }

    /// To be called now and then: a file does not forget by itself what is over.
    pub(super) fn tick(&self) {
        let now = Timestamp::now();
        let mut state = self.lock(now);
        if matches!(self.mode, Enforce::DenyFile(..))
            && let Err(fault) = state.enforcer.reconcile(now)
        {
            error!(%fault, "the deny file is not as the ledger says");
        }
    }

    /// Does what a rule proposes, as far as allow-list, caps and policy go along; otherwise it is
    /// only told.
    pub(super) fn act(
        &self,
        acting: &Acting,
        proposal: &Proposal,
        incident: u64,
        last: Timestamp,
    ) -> Did {
        let now = Timestamp::now();
        let mut state = self.lock(now);
        let rule = &proposal.rule;
        if let Some(block) = state.enforcer.already(proposal, now) {
            return made(proposal, block, now);
        }
        if last.plus_s(OLD_S) < now {
            return Did::only_alert(rule, "it is over for a quarter of an hour".to_owned());
        }
        if let Err(why) = state.enforcer.may(proposal, now) {
            return Did::only_alert(rule, why.to_string());
        }
        if self.is_dry_run() {
            return Did::new(&proposal.action, rule, true);
        }
        let permit = typed(&proposal.action)
            .map(|typed| acting.permit_own(typed).map_err(|fault| fault.to_string()));
        let done = match permit {
            Some(Ok(permit)) => recorded(permit, || {
                let incident = incident.to_string();
                state.enforcer.act(proposal, &incident, now)
            }),
            Some(Err(why)) => Err(why),
            None => Err("it has no target".to_owned()),
        };
        match done {
            Ok(Done::Blocked(block) | Done::Already(block)) => made(proposal, &block, now),
            Ok(Done::DryRun) => Did::new(&proposal.action, rule, true),
            Err(why) => Did::only_alert(rule, why),
        }
    }

    /// What is blocked now.
    pub(crate) fn list(&self) -> Vec<Block> {
        let now = Timestamp::now();
        self.lock(now).enforcer.blocks(now).cloned().collect()
    }

    /// Whether a person may block this.
    pub(crate) fn may(&self, action: &action::Action) -> Result<(), EnforceError> {
        let now = Timestamp::now();
        self.lock(now).enforcer.may_person(action, now)
    }

    /// Blocks because a person wants it.
    pub(crate) fn add(&self, permit: Permit, proposal: &Proposal) -> Result<Done, WatchFault> {
        let now = Timestamp::now();
        let mut state = self.lock(now);
        let done = state.enforcer.act_by_person(proposal, now);
        finish(permit, done)
    }

    /// Ends a block.
    pub(crate) fn remove(&self, permit: Permit, block: &Block) -> Result<Block, WatchFault> {
        let now = Timestamp::now();
        let mut state = self.lock(now);
        let done = state.enforcer.undo(block.id, now);
        finish(permit, done)
    }

    /// A person says that a rule is right; the permits are those of its blocks.
    pub(crate) fn confirm(
        &self,
        permits: Vec<Permit>,
        rule: &str,
        ttl_s: u32,
    ) -> Result<usize, WatchFault> {
        let now = Timestamp::now();
        let done = self.lock(now).enforcer.confirm(rule, ttl_s, now);
        for permit in permits {
            permit.finish(Outcome::of(&done))?;
        }
        Ok(done?)
    }
}

/// Ends a permit as what was done with it ended.
fn finish<T>(permit: Permit, done: Result<T, EnforceError>) -> Result<T, WatchFault> {
    permit.finish(Outcome::of(&done))?;
    Ok(done?)
}

/// The same, with the failure in words.
fn recorded<T>(
    permit: Permit,
    work: impl FnOnce() -> Result<T, EnforceError>,
) -> Result<T, String> {
    finish(permit, work()).map_err(|fault| fault.to_string())
}

fn allow_list(nets: &[IpNet], sessions: &mut Sessions, now: Timestamp) -> AllowList {
    let root = Path::new("/");
    AllowList::new(nets.iter().copied())
        .and_of_machine(root)
        .and(sessions.standing(root, SSH_PORT, now))
}

/// What was done, with the time that is left.
fn made(proposal: &Proposal, block: &Block, now: Timestamp) -> Did {
    let left = block.until.seconds() - now.seconds();
    Did {
        target: Some(block.net),
        ttl_s: u32::try_from(left).unwrap_or(0),
        ..Did::new(&proposal.action, &proposal.rule, false)
    }
}

/// What a policy judges.
fn typed(action: &action::Action) -> Option<Action> {
    let ttl_s = match action {
        action::Action::Log | action::Action::Alert => return None,
        action::Action::BlockIp { ttl_s, .. }
        | action::Action::RateLimit { ttl_s, .. }
        | action::Action::DenyFile { ttl_s, .. } => *ttl_s,
    };
    action.net().map(|net| block(net, ttl_s))
}

/// Blocking a network, for the gate; for 0 seconds: ending that.
pub(crate) fn block(net: IpNet, ttl_s: u32) -> Action {
    let whole = net.prefix_len() == net.max_prefix_len();
    let address: IpAddr = net.addr();
    Action::BlockAddress {
        address,
        prefix: (!whole).then_some(net.prefix_len()),
        ttl_s: ttl_s.into(),
    }
}
