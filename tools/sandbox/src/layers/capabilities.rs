//! What root can do besides what its files are: nearly all of it is given up.

use rustix::process::geteuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities,
};

use super::State;

/// With these one sees more and changes nothing: the files and processes of all users, and the
/// messages of the kernel.
const SEEING: CapabilitySet = CapabilitySet::DAC_READ_SEARCH
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SYSLOG);

pub(super) fn enter() -> Result<State, String> {
    if !geteuid().is_root() {
        return Ok(State::On);
    }
    give_up().map_err(|error| error.to_string())?;
    Ok(State::On)
}

fn give_up() -> rustix::io::Result<()> {
    let has = capabilities(None)?;
    // What a program of root has after its start is bounded by this set.
    for one in has.permitted.difference(SEEING).iter() {
        remove_capability_from_bounding_set(one)?;
    }
    let kept = has.permitted.intersection(SEEING);
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )
}
