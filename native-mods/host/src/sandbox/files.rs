//! Landlock: which files the process can reach, and that it reaches no TCP port or process.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::State;
use crate::manifest::Capabilities;

/// What is asked for; older kernels give a part of it.
const WANTED: ABI = ABI::V6;

/// What the dynamic loader reads, and what the C library reads by itself.
const LIBRARIES: &[&str] = &[
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
];

/// What finding a name and checking a certificate take.
const NETWORK: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ssl",
    "/etc/pki/tls",
    "/usr/share/ca-certificates",
];

/// Where programs are.
const PROGRAMS: &[&str] = &["/bin", "/sbin", "/usr", "/opt"];

pub(super) fn enter(capabilities: &Capabilities) -> Result<State, String> {
    restrict(capabilities).map_err(|error| error.to_string())
}

fn restrict(capabilities: &Capabilities) -> Result<State, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let run = AccessFs::from_read(WANTED);
    let write = AccessFs::from_all(WANTED) & !AccessFs::Execute;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WANTED))?
        .scope(Scope::from_all(WANTED))?;
    if !capabilities.network {
        ruleset = ruleset.handle_access(AccessNet::from_all(WANTED))?;
    }
    let network = if capabilities.network { NETWORK } else { &[] };
    let programs = if capabilities.exec { PROGRAMS } else { &[] };
    let loader = if capabilities.exec { run } else { read };
    // Paths that do not exist are passed over.
    let status = ruleset
        .create()?
        .add_rules(path_beneath_rules(LIBRARIES, loader))?
        .add_rules(path_beneath_rules(
            [Path::new("/dev/null")],
            read | AccessFs::WriteFile,
        ))?
        .add_rules(path_beneath_rules(network, read))?
        .add_rules(path_beneath_rules(programs, run))?
        .add_rules(path_beneath_rules(&capabilities.files, read))?
        .add_rules(path_beneath_rules(&capabilities.files_writable, write))?
        .restrict_self()?;
    Ok(match status.ruleset {
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
