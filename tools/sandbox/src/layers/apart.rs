//! What a confined process starts can't signal it: it would outlive whoever keeps it.
#![expect(unsafe_code, reason = "between fork and exec there is no other place")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use landlock::{CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError, Scope};

/// Sets apart what the command starts, below the Landlock that this process has entered. Before
/// Linux 6.12 the kernel can't, and it is left as it is.
pub fn set_apart(command: &mut Command) {
    let enter = || restrict().map_err(io::Error::other);
    // SAFETY: a process that has entered its layers has one thread, so that after the fork no lock
    // is held by another one.
    unsafe { command.pre_exec(enter) };
}

fn restrict() -> Result<(), RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .scope(Scope::Signal)?;
    ruleset.create()?.restrict_self().map(drop)
}
