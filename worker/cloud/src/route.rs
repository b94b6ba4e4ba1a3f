//! Where a request goes. [`decide`] is pure: it looks at nothing but what it is given, and says why
//! about everything that it looked at.
//!
//! The order is fixed. What may not leave stays, whatever else holds. What may leave does so only
//! for a [`Cause`] that the settings allow, or because its author asked for better than the local
//! model. Then the providers are gone through in their order.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::request::Label;

/// Why a request may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The model is not loaded, and loading it was not wanted or failed.
    NotLoaded,
    /// The prompt is longer than the local context.
    TooLong,
    /// The first token would come after the deadline.
    TooSlow,
    /// The queue is full.
    QueueFull,
    /// The machine is short of memory.
    LowMemory,
    /// Somebody else has the GPU.
    GpuBusy,
    /// The request asks for better answers than the local model's.
    Quality,
    /// The local model failed before the first token.
    LocalFailed,
}

/// A set of causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Causes(u8);

impl Cause {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::NotLoaded,
        Self::TooLong,
        Self::TooSlow,
        Self::QueueFull,
        Self::LowMemory,
        Self::GpuBusy,
        Self::Quality,
        Self::LocalFailed,
    ];

    /// Its name in the settings and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotLoaded => "not_loaded",
            Self::TooLong => "too_long",
            Self::TooSlow => "too_slow",
            Self::QueueFull => "queue_full",
            Self::LowMemory => "low_memory",
            Self::GpuBusy => "gpu_busy",
            Self::Quality => "quality",
            Self::LocalFailed => "local_failed",
        }
    }
}

impl Default for Causes {
    fn default() -> Self {
        Cause::ALL.into_iter().collect()
    }
}

impl FromIterator<Cause> for Causes {
    fn from_iter<T: IntoIterator<Item = Cause>>(causes: T) -> Self {
        Self(
            causes
                .into_iter()
                .fold(0, |set, cause| set | 1 << cause as u8),
        )
    }
}

impl Causes {
    /// Whether this one is in the set.
    #[must_use]
    pub fn has(self, cause: Cause) -> bool {
        self.0 & 1 << cause as u8 != 0
    }

    /// Names with commas between them.
    ///
    /// # Errors
    /// The name that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        names
            .map(|name| {
                let known = Cause::ALL.into_iter().find(|cause| cause.as_str() == name);
                known.ok_or_else(|| {
                    let all = Cause::ALL.map(Cause::as_str).join(", ");
                    format!("{name:?} is no cause; there are {all}")
                })
            })
            .collect()
    }
}

impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Cause::ALL.into_iter().filter(|cause| self.has(*cause));
        f.write_str(&names.map(Cause::as_str).collect::<Vec<_>>().join(","))
    }
}

/// What the request says about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Whether it may leave; none: what the settings say.
    pub allow: Option<bool>,
    /// How confidential it is.
    pub label: Label,
    /// Whether better answers than the local model's are wanted.
    pub better: bool,
    /// About how long its prompt is, in tokens, and the answer.
    pub tokens: u64,
}

/// How the local model stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Local {
    /// What speaks against it.
    pub troubles: Vec<Against>,
}

/// Something that speaks against the local model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Against {
    /// What kind of thing.
    pub cause: Cause,
    /// In words, with the numbers.
    pub detail: String,
    /// Whether the local model can't answer at all, and not just worse or later.
    pub fatal: bool,
}

/// How one provider stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// The most confidential requests that may go there.
    pub label_max: Label,
    /// Its longest conversation in tokens, if that is known.
    pub context_tokens: Option<u32>,
    /// What speaks against it now.
    pub trouble: Option<Trouble>,
}

/// What speaks against a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It failed too often, or all its keys rest, for so long.
    Resting(Duration),
    /// It would cost more than is left.
    Budget(String),
    /// The policy does not allow it.
    Policy(String),
    /// It can't be used.
    Broken(String),
}

/// What the settings say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether requests may leave that don't say so themselves.
    pub allow: bool,
    /// Why requests may leave.
    pub causes: Causes,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "to", rename_all = "snake_case")]
pub enum Decision {
    /// The local model answers.
    Local,
    /// These providers are asked, in this order.
    Cloud {
        /// Their names.
        providers: Vec<String>,
        /// Why it leaves.
        cause: Cause,
    },
    /// Nobody can answer now; somebody can after this time.
    Wait {
        /// In milliseconds.
        wait_ms: u64,
    },
    /// Nobody can answer.
    Refuse {
        /// Why, in one sentence.
        reason: String,
    },
}

/// A decision and everything that led to it, in the order in which it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Where it goes.
    #[serde(flatten)]
    pub decision: Decision,
    /// Why.
    pub reasons: Vec<String>,
}

/// Decides where a request goes.
#[must_use]
pub fn decide(asked: &Asked, local: &Local, candidates: &[Candidate], rules: &Rules) -> Route {
    let mut reasons = Vec::new();
    for Against { cause, detail, .. } in &local.troubles {
        reasons.push(format!("local: {}: {detail}", cause.as_str()));
    }
    if local.troubles.is_empty() {
        reasons.push("local: nothing speaks against it".to_owned());
    }
    let hard = local.troubles.iter().find(|against| against.fatal);
    let stays = match hard {
        None => Decision::Local,
        Some(against) => Decision::Refuse {
            reason: format!("the local model can't answer: {}", against.detail),
        },
    };
    let route = |decision, reasons| Route { decision, reasons };
    if let Some(why) = kept(asked, rules) {
        reasons.push(format!("cloud: {why}"));
        return route(stays, reasons);
    }
    let Some(cause) = leaving(asked, local, rules) else {
        reasons.push("cloud: there is no cause to leave that the settings allow".to_owned());
        return route(stays, reasons);
    };
    reasons.push(format!(
        "cloud: it may leave, because of {}",
        cause.as_str()
    ));
    let mut providers = Vec::new();
    let mut rest: Option<Duration> = None;
    for candidate in candidates {
        let (why, resting) = candidate.against(asked);
        reasons.push(format!(
            "{}: {}",
            candidate.name,
            why.as_deref().unwrap_or("can be asked")
        ));
        if why.is_none() {
            providers.push(candidate.name.clone());
        }
        rest = [rest, resting].into_iter().flatten().min();
    }
    if candidates.is_empty() {
        reasons.push("cloud: no provider is configured".to_owned());
    }
    let decision = match (providers.is_empty(), stays, rest) {
        (false, ..) => Decision::Cloud { providers, cause },
        (true, Decision::Local, _) => Decision::Local,
        // The local model can't, and only time stands between the request and a provider.
        (true, _, Some(rest)) => Decision::Wait {
            wait_ms: u64::try_from(rest.as_millis()).unwrap_or(u64::MAX).max(1),
        },
        (true, refusal, None) => refusal,
    };
    route(decision, reasons)
}

/// Why a request may not leave.
fn kept(asked: &Asked, rules: &Rules) -> Option<&'static str> {
    if asked.label == Label::Private {
        return Some("what is private never leaves");
    }
    match asked.allow {
        Some(true) => None,
        Some(false) => Some("the request does not allow it"),
        None if rules.allow => None,
        None => Some("allow_cloud is off"),
    }
}

/// The first cause to leave that holds and is allowed; a fatal one goes first.
fn leaving(asked: &Asked, local: &Local, rules: &Rules) -> Option<Cause> {
    let better = asked.better.then_some((false, Cause::Quality));
    let troubles = local.troubles.iter();
    let holding = troubles
        .map(|against| (against.fatal, against.cause))
        .chain(better);
    let allowed = holding.filter(|(_, cause)| rules.causes.has(*cause));
    allowed
        .min_by_key(|(fatal, _)| !fatal)
        .map(|(_, cause)| cause)
}

impl Candidate {
    /// What speaks against it for this request, and whether it only takes time.
    fn against(&self, asked: &Asked) -> (Option<String>, Option<Duration>) {
        if asked.label > self.label_max {
            let (label, most) = (asked.label.as_str(), self.label_max.as_str());
            return (
                Some(format!("gets nothing that is {label}, but {most} at most")),
                None,
            );
        }
        if let Some(context) = self.context_tokens
            && asked.tokens > u64::from(context)
        {
            let tokens = asked.tokens;
            return (
                Some(format!(
                    "about {tokens} tokens do not fit into its {context}"
                )),
                None,
            );
        }
        match &self.trouble {
            None => (None, None),
            Some(Trouble::Resting(left)) => {
                let why = format!("is left alone for {} s", left.as_secs().max(1));
                (Some(why), Some(*left))
            }
            Some(Trouble::Budget(why) | Trouble::Policy(why) | Trouble::Broken(why)) => {
                (Some(why.clone()), None)
            }
        }
    }
}

#[cfg(test)]
mod tests;
