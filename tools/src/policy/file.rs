//! `policy.toml` as it is written, and what is wrong with it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::rule::{Rule, RuleFile, Who};
use super::{OwnFiles, Policy, Profile, READY_PROFILES, Verdict};

/// The largest `policy.toml`, in bytes.
pub const POLICY_BYTES_MAX: usize = 1 << 20;

const READY: [&str; 4] = [
    include_str!("../../profiles/restricted.toml"),
    include_str!("../../profiles/standard.toml"),
    include_str!("../../profiles/elevated.toml"),
    include_str!("../../profiles/privileged.toml"),
];

/// The text of a ready profile, to read or to start an own one from.
#[must_use]
pub fn ready_profile(name: &str) -> Option<&'static str> {
    let at = READY_PROFILES.iter().position(|ready| *ready == name)?;
    READY.get(at).copied()
}

/// Why a `policy.toml` is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Something in it is misspelt, missing or of the wrong type.
    #[error("policy.toml, line {line}, column {column}: {message}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// Each part is well-formed, and yet they don't fit.
    #[error("policy.toml: {0}")]
    Meaning(String),
    /// Larger than [`POLICY_BYTES_MAX`].
    #[error("policy.toml has {bytes} bytes and {POLICY_BYTES_MAX} are allowed; shorten it")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    default_profile: Option<String>,
    #[serde(default)]
    callers: Vec<CallerFile>,
    #[serde(default)]
    profiles: BTreeMap<String, ProfileFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallerFile {
    uid: Option<u32>,
    group: Option<u32>,
    token: Option<String>,
    profile: String,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    extends: Option<String>,
    opaque: Option<Verdict>,
    otherwise: Option<Verdict>,
    read_only: Option<bool>,
    #[serde(default)]
    rules: Vec<RuleFile>,
}

pub(super) fn load(text: &str) -> Result<Policy, PolicyError> {
    if text.len() > POLICY_BYTES_MAX {
        return Err(PolicyError::TooLong { bytes: text.len() });
    }
    let file: PolicyFile = parse(text)?;
    let mut written: BTreeMap<String, ProfileFile> = BTreeMap::new();
    for (name, text) in READY_PROFILES.iter().zip(READY) {
        written.insert((*name).into(), parse(text)?);
    }
    for (name, profile) in file.profiles {
        if READY_PROFILES.contains(&name.as_str()) {
            return Err(PolicyError::Meaning(format!(
                "the profile `{name}` is built in; give yours another name and let it extend `{name}`"
            )));
        }
        written.insert(name, profile);
    }
    let profiles = written
        .keys()
        .map(|name| Ok((name.clone(), compile(name, &written)?)))
        .collect::<Result<BTreeMap<_, _>, PolicyError>>()?;
    let known = |name: &String| match profiles.contains_key(name) {
        true => Ok(()),
        false => Err(PolicyError::Meaning(format!(
            "there is no profile `{name}`; define it or name another"
        ))),
    };
    file.default_profile.iter().try_for_each(known)?;
    let mut assignments = Vec::new();
    for caller in file.callers {
        known(&caller.profile)?;
        let who = Who::new(caller.uid, caller.group, caller.token).map_err(PolicyError::Meaning)?;
        assignments.push((who, caller.profile));
    }
    Ok(Policy {
        profiles,
        assignments,
        default_profile: file.default_profile,
        disk: None,
        own: OwnFiles::default(),
    })
}

fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, PolicyError> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        PolicyError::Syntax {
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
            message: error.message().to_owned(),
        }
    })
}

/// A profile with everything that it extends.
fn compile(name: &str, written: &BTreeMap<String, ProfileFile>) -> Result<Profile, PolicyError> {
    let mut compiled = Profile {
        name: name.into(),
        opaque: Verdict::Deny,
        otherwise: Verdict::Deny,
        read_only: true,
        rules: Vec::new(),
    };
    let mut seen: Vec<&str> = Vec::new();
    let (mut opaque, mut otherwise, mut read_only) = (None, None, None);
    let mut next = Some(name);
    while let Some(name) = next {
        if seen.contains(&name) {
            return Err(PolicyError::Meaning(format!(
                "the profile `{name}` extends itself; break the circle"
            )));
        }
        seen.push(name);
        let (name, profile) = written.get_key_value(name).ok_or_else(|| {
            PolicyError::Meaning(format!(
                "there is no profile `{name}` to extend; define it or name another"
            ))
        })?;
        opaque = opaque.or(profile.opaque);
        otherwise = otherwise.or(profile.otherwise);
        read_only = read_only.or(profile.read_only);
        for rule in &profile.rules {
            compiled
                .rules
                .push(Rule::new(name, rule.clone()).map_err(PolicyError::Meaning)?);
        }
        next = profile.extends.as_deref();
    }
    for (field, value) in [("opaque", opaque), ("otherwise", otherwise)] {
        if value == Some(Verdict::Allow) {
            return Err(PolicyError::Meaning(format!(
                "`{field}` of the profile `{name}` can be \"ask\" or \"deny\", not \"allow\""
            )));
        }
    }
    compiled.opaque = opaque.unwrap_or(Verdict::Deny);
    compiled.otherwise = otherwise.unwrap_or(Verdict::Deny);
    compiled.read_only = read_only.unwrap_or(true);
    Ok(compiled)
}
