//! Who may do what: `policy.toml`, its profiles, and the decision about one action.
//!
//! | file | what it owns |
//! |---|---|
//! | `file.rs` | `policy.toml` as it is written, and what is wrong with it |
//! | `rule.rs` | one rule: what it matches |
//! | `judge.rs` | all rules of a profile against one action |
//!
//! Nothing here reads a file or a clock, but for what a [`Disk`] tells. The order is always the same: the blocked patterns, then
//! the rules that deny, then those that ask, then those that allow, then [`Profile::otherwise`].
//! So a profile that extends another can forbid more, or allow more of what was only unnamed, but
//! never allow what the other denies.

mod file;
mod judge;
mod rule;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

pub use self::file::{POLICY_BYTES_MAX, PolicyError, ready_profile};
use self::judge::Judge;
use self::rule::{Rule, Who};
use crate::action::Action;
use crate::caller::Caller;
use crate::disk::Disk;

/// Whether something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may.
    Allow,
    /// Only if a person who may say so says yes to just this.
    Ask,
    /// It may not.
    Deny,
}

/// How bad it is if the decision was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Nothing is changed.
    Low,
    /// What is changed can be changed back.
    Medium,
    /// A service or somebody's work may be lost.
    High,
    /// The machine may be lost.
    Critical,
}

/// The answer of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether it may be done.
    pub verdict: Verdict,
    /// The name of the rule that decided, such as `standard/read-logs` or `blocked/format`.
    pub rule: String,
    /// Why, for a person.
    pub reason: String,
    /// How bad it is if the decision was wrong.
    pub risk: Risk,
}

/// Finds where a path leads through the symlinks of the file system; `None` if it can't be told.
/// For a file that is yet to be made, the answer is its real directory with its name.
pub type RealPath = Box<dyn Fn(&Path) -> Option<PathBuf> + Send + Sync>;

/// A disk of which only the links are known.
struct OnlyLinks(RealPath);

impl Disk for OnlyLinks {
    fn real(&self, path: &Path) -> Option<PathBuf> {
        let goes_up = path.components().any(|name| name == Component::ParentDir);
        (self.0)(path).or_else(|| (!goes_up).then(|| path.to_owned()))
    }
}

/// A whole `policy.toml`, checked.
pub struct Policy {
    profiles: BTreeMap<String, Profile>,
    assignments: Vec<(Who, String)>,
    default_profile: Option<String>,
    disk: Option<Box<dyn Disk>>,
    own: OwnFiles,
}

/// A set of rules.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) name: String,
    /// What is decided about commands that can't be understood; never `Allow`.
    pub(crate) opaque: Verdict,
    /// What is decided where no rule speaks; never `Allow`.
    pub(crate) otherwise: Verdict,
    /// Whether what it allows by itself runs where it can change nothing.
    pub(crate) read_only: bool,
    pub(crate) rules: Vec<Rule>,
}

/// The profiles that are always there, from the strictest to the most open.
pub const READY_PROFILES: [&str; 4] = ["restricted", "standard", "elevated", "privileged"];

impl Policy {
    /// Reads a `policy.toml`. Any mistake refuses it whole, so that a caller who keeps the policy
    /// it has loses nothing.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        file::load(text)
    }

    /// The policy of a machine without a `policy.toml`: everybody has this ready profile.
    ///
    /// # Panics
    /// If there is no ready profile of that name.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the ready profiles are part of the program and tested"
    )]
    pub fn ready(profile: &str) -> Self {
        Self::parse(&format!("default_profile = \"{profile}\"")).expect("a ready profile")
    }

    /// Judges paths also by where they lead on the disk.
    #[must_use]
    pub fn with_disk(mut self, disk: impl Disk + 'static) -> Self {
        self.disk = Some(Box::new(disk));
        self
    }

    /// Judges paths also by where they lead, with no other look at the disk: what patterns find and
    /// where homes are is not known.
    #[must_use]
    pub fn with_real_path(self, real_path: RealPath) -> Self {
        self.with_disk(OnlyLinks(real_path))
    }

    /// Protects what belongs to the worker itself, whatever the rules say.
    #[must_use]
    pub fn with_own_files(mut self, own: OwnFiles) -> Self {
        self.own = own;
        self
    }

    /// The names of the profiles.
    pub fn profiles(&self) -> impl Iterator<Item = &str> {
        self.profiles.keys().map(String::as_str)
    }

    /// Which profile a caller has.
    #[must_use]
    pub fn profile_of(&self, caller: &Caller) -> Option<&str> {
        let assigned = self.assignments.iter().find(|(who, _)| who.is(caller));
        assigned
            .map(|(_, profile)| profile)
            .or(self.default_profile.as_ref())
            .map(String::as_str)
    }

    /// Whether commands that the caller's profile allows by itself are to run where they can change
    /// nothing: so does a command that was understood wrongly no harm.
    #[must_use]
    pub fn is_read_only(&self, caller: &Caller) -> bool {
        let profile = self
            .profile_of(caller)
            .and_then(|name| self.profiles.get(name));
        profile.is_none_or(|profile| profile.read_only)
    }

    /// The policy of a machine without a `policy.toml` whose commands run as one user: only that
    /// user and root have the ready profile.
    ///
    /// # Panics
    /// If there is no ready profile of that name.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the ready profiles are part of the program and tested"
    )]
    pub fn ready_for(profile: &str, uid: u32) -> Self {
        let caller = |uid| format!("[[callers]]\nuid = {uid}\nprofile = \"{profile}\"\n");
        Self::parse(&(caller(0) + &caller(uid))).expect("a ready profile")
    }

    /// Decides about an action of a caller, at a local time.
    #[must_use]
    pub fn decide(&self, caller: &Caller, action: &Action, now: DateTime) -> Decision {
        match self.profile_of(caller) {
            Some(profile) => self.decide_as(profile, caller, action, now),
            None => Decision {
                verdict: Verdict::Deny,
                rule: "no-profile".into(),
                reason: format!("no profile is for {caller}; name one in policy.toml"),
                risk: Risk::High,
            },
        }
    }

    /// Decides as if the caller had this profile, for `fazai policy check --profile`.
    #[must_use]
    pub fn decide_as(
        &self,
        profile: &str,
        caller: &Caller,
        action: &Action,
        now: DateTime,
    ) -> Decision {
        let Some(profile) = self.profiles.get(profile) else {
            return Decision {
                verdict: Verdict::Deny,
                rule: "no-profile".into(),
                reason: format!("there is no profile `{profile}`"),
                risk: Risk::High,
            };
        };
        let judge = Judge {
            profile,
            caller,
            now,
            disk: self.disk.as_deref(),
            own: &self.own,
        };
        judge.action(action)
    }
}

/// What belongs to the worker itself: files, and directories with all that is below them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnFiles {
    /// Nobody reads or writes them past the worker: its record, its policy, what it remembers.
    pub secret: Vec<PathBuf>,
    /// Nobody writes them: tools and modules, which the worker runs.
    pub kept: Vec<PathBuf>,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy")
            .field("profiles", &self.profiles.keys())
            .field("default_profile", &self.default_profile)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        })
    }
}

#[cfg(test)]
mod tests;
