//! What may be done about an incident: rules say it, never a model.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::detect::is_private;
use crate::event::{Category, Severity};
use crate::incident::Incident;
use crate::judge::{Verdict, Wish};

/// Longest time that something is blocked for, in seconds.
pub const TTL_S_MAX: u32 = 86_400;

/// The widest networks that may be blocked, of IPv4 and IPv6.
pub const PREFIX_MIN: (u8, u8) = (24, 48);

/// Something to do, as plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Keep it.
    Log,
    /// Tell somebody.
    Alert,
    /// Drop what comes from there.
    BlockIp {
        /// An address, or the network that a rule widens it to.
        net: IpNet,
        /// For how long, in seconds.
        ttl_s: u32,
    },
    /// Drop what is more than that.
    RateLimit {
        /// An address, or the network that a rule widens it to.
        net: IpNet,
        /// New packets that pass in a second.
        per_second: u32,
        /// For how long, in seconds.
        ttl_s: u32,
    },
    /// A line in a file that a web server reads.
    DenyFile {
        /// An address, or the network that a rule widens it to.
        net: IpNet,
        /// For how long, in seconds.
        ttl_s: u32,
    },
}

impl Action {
    /// Against whom, if anybody.
    #[must_use]
    pub fn net(&self) -> Option<IpNet> {
        match self {
            Self::Log | Self::Alert => None,
            Self::BlockIp { net, .. }
            | Self::RateLimit { net, .. }
            | Self::DenyFile { net, .. } => Some(*net),
        }
    }
}

/// A kind of action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`Action::Log`].
    Log,
    /// [`Action::Alert`].
    Alert,
    /// [`Action::BlockIp`].
    BlockIp,
    /// [`Action::RateLimit`].
    RateLimit,
    /// [`Action::DenyFile`].
    DenyFile,
}

/// A rule that allows an action.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, which the ledger keeps.
    pub name: String,
    /// For which categories; none: for all.
    #[serde(default)]
    pub category: Vec<Category>,
    /// From which severity on.
    pub severity: Severity,
    /// What it allows.
    pub action: Kind,
    /// For how long, in seconds, at most [`TTL_S_MAX`].
    #[serde(default)]
    pub ttl_s: u32,
    /// How much of an IPv4 address counts: 24 to 32.
    #[serde(default = "whole4")]
    pub prefix_v4: u8,
    /// How much of an IPv6 address counts: 48 to 128.
    #[serde(default = "whole6")]
    pub prefix_v6: u8,
    /// New packets in a second, for a rate limit.
    #[serde(default = "per_second")]
    pub per_second: u32,
    /// The model must want it as well.
    #[serde(default)]
    pub needs_model: bool,
    /// Also where the address could be made up.
    #[serde(default)]
    pub unanswered: bool,
}

fn whole4() -> u8 {
    32
}

/// What one customer has.
fn whole6() -> u8 {
    64
}

fn per_second() -> u32 {
    20
}

/// Rules, the first that fits counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    rule: Vec<Rule>,
}

/// Why rules can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// It is not the TOML of rules.
    #[error("the rules can't be read: {0}")]
    Toml(#[from] toml::de::Error),
    /// A value is out of its range.
    #[error("rule `{name}`: {why}")]
    Value {
        /// Which rule.
        name: String,
        /// What is wrong, and what would be right.
        why: String,
    },
}

/// An action and the rule that allows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// What would be done.
    #[serde(flatten)]
    pub action: Action,
    /// By which rule.
    pub rule: String,
    /// How bad it is and how often it happened, by rules, which nobody can talk to: where not all
    /// can be done, the highest comes first.
    #[serde(skip)]
    pub weight: (Severity, u64),
}

/// The rules that hold without a file.
pub const BUILT_IN: &str = include_str!("rules.toml");

impl Default for Rules {
    fn default() -> Self {
        Self::of_toml(BUILT_IN).unwrap_or_else(|fault| unreachable!("a test reads them: {fault}"))
    }
}

impl Rules {
    /// The rates that they limit to, in packets a second.
    pub fn rates(&self) -> impl Iterator<Item = u32> {
        let limits = self
            .rule
            .iter()
            .filter(|rule| rule.action == Kind::RateLimit);
        limits.map(|rule| rule.per_second)
    }

    /// The names of the rules that do something to somebody.
    pub fn blocking(&self) -> impl Iterator<Item = &str> {
        let acting = self.rule.iter().filter(|rule| rule.ttl_s > 0);
        acting.map(|rule| rule.name.as_str())
    }

    /// For how long a rule of that name does it, in seconds.
    #[must_use]
    pub fn ttl_s_of(&self, name: &str) -> Option<u32> {
        let mut named = self.rule.iter().filter(|rule| rule.name == name);
        named
            .next()
            .map(|rule| rule.ttl_s)
            .filter(|ttl_s| *ttl_s > 0)
    }

    /// Reads a file's text.
    pub fn of_toml(text: &str) -> Result<Self, RuleError> {
        let rules: Self = toml::from_str(text)?;
        for rule in &rules.rule {
            let wrong = |why: String| RuleError::Value {
                name: rule.name.clone(),
                why,
            };
            let acts = !matches!(rule.action, Kind::Log | Kind::Alert);
            if acts && !(1..=TTL_S_MAX).contains(&rule.ttl_s) {
                return Err(wrong(format!(
                    "`ttl_s` is 1 to {TTL_S_MAX}; nothing is blocked for ever"
                )));
            }
            if !(PREFIX_MIN.0..=32).contains(&rule.prefix_v4)
                || !(PREFIX_MIN.1..=128).contains(&rule.prefix_v6)
            {
                return Err(wrong(
                    "`prefix_v4` is 24 to 32 and `prefix_v6` 48 to 128".to_owned(),
                ));
            }
            if !(1..=1_000_000).contains(&rule.per_second) {
                return Err(wrong("`per_second` is 1 to 1000000".to_owned()));
            }
        }
        Ok(rules)
    }

    /// What the rules allow for an incident. Without one that fits it is kept, and that is all.
    #[must_use]
    pub fn propose(&self, incident: &Incident, verdict: &Verdict) -> Proposal {
        let fits = self.rule.iter().find_map(|rule| {
            let action = rule.allows(incident, verdict)?;
            Some((action, rule.name.clone()))
        });
        let (action, rule) = fits.unwrap_or((Action::Log, "none".to_owned()));
        Proposal {
            action,
            rule,
            weight: (incident.severity, incident.count),
        }
    }
}

impl Rule {
    fn allows(&self, incident: &Incident, verdict: &Verdict) -> Option<Action> {
        if !self.category.is_empty() && !self.category.contains(&verdict.category) {
            return None;
        }
        if verdict.severity < self.severity {
            return None;
        }
        match self.action {
            Kind::Log => return Some(Action::Log),
            Kind::Alert => return Some(Action::Alert),
            Kind::BlockIp | Kind::RateLimit | Kind::DenyFile => {}
        }
        // What follows changes something, and for that the rules' own severity must do.
        let actor = incident.actor?;
        let understood = incident.clear
            && incident.severity >= self.severity
            && incident.category == verdict.category;
        let certain = incident.answered || self.unanswered;
        let needed = incident.stopped < incident.count
            && !is_private(actor)
            && !actor.is_multicast()
            && !actor.is_unspecified();
        if !(understood
            && certain
            && needed
            && (!self.needs_model || self.model_agrees(incident, verdict)))
        {
            return None;
        }
        let net = self.net(actor)?;
        let ttl_s = self.ttl_s;
        Some(match self.action {
            Kind::RateLimit => Action::RateLimit {
                net,
                per_second: self.per_second,
                ttl_s,
            },
            Kind::DenyFile => Action::DenyFile { net, ttl_s },
            _ => Action::BlockIp { net, ttl_s },
        })
    }

    /// Evidence that gives orders has no agreement of a model.
    fn model_agrees(&self, incident: &Incident, verdict: &Verdict) -> bool {
        verdict.answer.as_ref().is_some_and(|answer| {
            !incident.instructs
                && matches!(answer.action, Wish::Block | Wish::RateLimit)
                && answer.target == incident.actor
        })
    }

    fn net(&self, ip: IpAddr) -> Option<IpNet> {
        let prefix = if ip.is_ipv4() {
            self.prefix_v4
        } else {
            self.prefix_v6
        };
        IpNet::new(ip, prefix).ok().map(|net| net.trunc())
    }
}
