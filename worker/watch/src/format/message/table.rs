//! Sentences of daemons and of the kernel, and what each means. The first of the table that occurs
//! in a text counts.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::label;
use crate::event::{Category, Event, Severity};

/// Whose text it is. What a daemon says is not taken for the kernel's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Kernel,
    Accounts,
    Daemons,
}

/// Labels the event by the first sentence of the table that its text has. The event keeps the
/// severity that the sender gave it, if the table knows nothing.
pub(super) fn apply(event: &mut Event<'_>, scope: Scope) {
    let (automaton, table) = match scope {
        Scope::Kernel => (&*FOR_KERNEL, KERNEL),
        Scope::Accounts => (&*FOR_ACCOUNTS, ACCOUNTS),
        Scope::Daemons => (&*FOR_DAEMONS, DAEMONS),
    };
    let found = automaton
        .find_overlapping_iter(&*event.message)
        .map(|found| found.pattern().as_usize());
    if let Some((_, severity, category)) = found.min().and_then(|at| table.get(at)) {
        label(event, *severity, *category);
    }
}

type Row = (&'static str, Severity, Category);

static FOR_KERNEL: LazyLock<AhoCorasick> = LazyLock::new(|| automaton(KERNEL));
static FOR_ACCOUNTS: LazyLock<AhoCorasick> = LazyLock::new(|| automaton(ACCOUNTS));
static FOR_DAEMONS: LazyLock<AhoCorasick> = LazyLock::new(|| automaton(DAEMONS));

fn automaton(table: &[Row]) -> AhoCorasick {
    let sentences = table.iter().map(|(sentence, ..)| sentence);
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .build(sentences)
        .unwrap_or_else(|fault| unreachable!("the sentences are few and short: {fault}"))
}

const KERNEL: &[Row] = {
    use Category::{Dos, Hardware, Integrity, Network, Policy, Resource, Service};
    use Severity::{Critical, High, Info, Low, Medium};
    &[
        ("Kernel panic", Critical, Service),
        ("BUG: unable to handle", Critical, Service),
        ("Oops:", Critical, Service),
        ("EXT4-fs error", Critical, Hardware),
        ("BTRFS error", Critical, Hardware),
        ("Corruption of in-memory data", Critical, Hardware),
        ("metadata corruption", Critical, Hardware),
        ("Remounting filesystem read-only", Critical, Hardware),
        ("controller is down", Critical, Hardware),
        ("Disk failure on", Critical, Hardware),
        ("critical temperature", Critical, Hardware),
        ("Memory cgroup out of memory", Medium, Resource),
        ("CONSTRAINT_MEMCG", Medium, Resource),
        ("Out of memory", High, Resource),
        ("invoked oom-killer", High, Resource),
        ("oom-kill:", High, Resource),
        ("I/O error", High, Hardware),
        ("critical medium error", High, Hardware),
        ("failed command:", High, Hardware),
        ("I/O timeout", High, Hardware),
        ("corrected error", Medium, Hardware),
        ("temperature above threshold", Medium, Hardware),
        ("temperature/speed normal", Info, Hardware),
        ("blocked for more than", High, Service),
        ("soft lockup", High, Service),
        ("hard LOCKUP", High, Service),
        ("detected stalls", High, Service),
        ("general protection fault", Medium, Service),
        ("segfault at", Medium, Service),
        ("trap invalid opcode", Medium, Service),
        ("WARNING: CPU", Medium, Service),
        ("Possible SYN flooding", High, Dos),
        ("nf_conntrack: table full", High, Network),
        ("transmit queue", High, Network),
        ("entered promiscuous mode", Medium, Network),
        ("Link is Down", Medium, Network),
        ("link is not ready", Medium, Network),
        ("martian source", Low, Network),
        ("apparmor=\"DENIED\"", Medium, Policy),
        ("avc:  denied", Medium, Policy),
        ("module verification failed", Medium, Integrity),
        ("tainting kernel", Medium, Integrity),
    ]
};

const ACCOUNTS: &[Row] = {
    use Category::{Auth, Bruteforce, Privilege};
    use Severity::{Critical, High, Info, Low, Medium};
    &[
        ("UID=0,", Critical, Privilege),
        ("to group 'sudo'", High, Privilege),
        ("to group 'wheel'", High, Privilege),
        ("to group 'docker'", High, Privilege),
        ("to group 'root'", High, Privilege),
        ("FAILED SU", Medium, Auth),
        ("FAILED LOGIN", Low, Auth),
        ("account locked", Medium, Bruteforce),
        ("new user:", Medium, Auth),
        ("new group:", Medium, Auth),
        ("password changed for root", Medium, Auth),
        ("password changed for", Low, Auth),
        ("delete user", Low, Auth),
        ("authentication failure", Low, Auth),
        ("session opened", Info, Auth),
        ("session closed", Info, Auth),
        ("New session", Info, Auth),
    ]
};

const DAEMONS: &[Row] = {
    use Category::{Integrity, Recon, Resource, Service, Web};
    use Severity::{Critical, High, Info, Low, Medium};
    &[
        ("Freezing execution", Critical, Service),
        ("No space left on device", High, Resource),
        ("Too many open files", High, Resource),
        ("Cannot allocate memory", High, Resource),
        ("Failed with result 'oom-kill'", High, Resource),
        ("Failed to start", High, Service),
        ("Failed with result", High, Service),
        ("start operation timed out", High, Service),
        ("Start request repeated too quickly", High, Service),
        ("Dependency failed", High, Service),
        ("Watchdog timeout", High, Service),
        ("Failed to mount", High, Service),
        ("no live upstreams", High, Web),
        ("upstream timed out", Medium, Web),
        ("Scheduled restart job", Medium, Service),
        ("Log file was cleared", High, Integrity),
        ("POSSIBLE BREAK-IN ATTEMPT", Low, Recon),
        ("Deactivated successfully", Info, Service),
        ("Reached target", Info, Service),
        ("Consumed ", Info, Service),
        ("Started ", Info, Service),
        ("Starting ", Info, Service),
        ("Stopped ", Info, Service),
        ("Stopping ", Info, Service),
        ("Finished ", Info, Service),
    ]
};
