//! Landlock: which files the process can reach, and that it reaches no process but its own, nor,
//! if that is wanted, any TCP port.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use serde::{Deserialize, Serialize};

use super::State;

/// What is asked for; older kernels give a part of it.
const WANTED: ABI = ABI::V6;

/// What a process can reach. Abstract Unix sockets of other processes and signals to them are
/// always closed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The rights of all rules whose paths a file is below are added up; a file that is below none
    /// can't be opened.
    pub rules: Vec<Rule>,
    /// Whether it may connect to TCP ports and listen on them.
    pub tcp: bool,
}

/// A right to some files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Files, and directories with all that is below them. Paths that do not exist are passed over.
    #[serde(with = "super::paths")]
    pub paths: Vec<PathBuf>,
    /// What may be done there.
    pub rights: Rights,
}

/// What may be done with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rights {
    /// List directories, and nothing of what is in the files.
    List,
    /// Read them, and list directories.
    Read,
    /// The same, and run them.
    Run,
    /// Read and write what is there, such as a device.
    Write,
    /// Everything but run them: read, write, create, rename, delete.
    Change,
}

impl Rights {
    fn access(self) -> BitFlags<AccessFs> {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        match self {
            Self::List => AccessFs::ReadDir.into(),
            Self::Read => read,
            Self::Run => AccessFs::from_read(WANTED),
            Self::Write => read | AccessFs::WriteFile,
            Self::Change => AccessFs::from_all(WANTED) & !AccessFs::Execute,
        }
    }
}

pub(super) fn enter(files: &Files) -> Result<State, String> {
    restrict(files).map_err(|error| error.to_string())
}

fn restrict(files: &Files) -> Result<State, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WANTED))?
        .scope(Scope::from_all(WANTED))?;
    if !files.tcp {
        ruleset = ruleset.handle_access(AccessNet::from_all(WANTED))?;
    }
    let mut ruleset = ruleset.create()?;
    for rule in &files.rules {
        ruleset = ruleset.add_rules(path_beneath_rules(&rule.paths, rule.rights.access()))?;
    }
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => State::On,
        RulesetStatus::PartiallyEnforced => {
            State::Partly("this kernel knows a part of it; Linux 6.12 knows all".into())
        }
        RulesetStatus::NotEnforced => State::Off(
            "this kernel has no Landlock, or `lsm=` at boot leaves it out: files are protected by \
             their permissions only"
                .into(),
        ),
    })
}
