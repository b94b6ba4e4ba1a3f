//! Who is whose child, as /proc has it.

use std::collections::BTreeSet;

use rustix::process::{Pid, Signal, WaitOptions, getpid, getsid, kill_process, waitpid};

/// A process as /proc/PID/stat has it.
#[derive(Debug, Clone, Copy)]
pub struct Stat {
    /// Its number.
    pub pid: Pid,
    /// The number of the process whose child it is; 0 if that is in another namespace.
    pub parent: i32,
    /// The number of its session.
    pub session: i32,
    /// Whether it has ended, and nobody has asked how.
    pub zombie: bool,
}

impl Stat {
    /// The one with this number; none if it is gone, or if no process can have the number.
    #[must_use]
    pub fn find(pid: i32) -> Option<Self> {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name of the program is in parentheses, and may hold anything.
        let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
        let mut fields = std::str::from_utf8(&stat[after..]).ok()?.split_whitespace();
        let zombie = fields.next()? == "Z";
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        Some(Self {
            pid: Pid::from_raw(pid)?,
            parent,
            session,
            zombie,
        })
    }
}

/// Signals all that a process has started, and what that has started.
pub(super) fn signal_descendants(of: Pid, signal: Signal) {
    signal_all(&descendants(&processes(), of), signal);
}

fn signal_all(family: &[Pid], signal: Signal) {
    for pid in family {
        // It may have ended meanwhile.
        let _ = kill_process(*pid, signal);
    }
}

/// Kills what runs in a session. Its leader must not have been waited for, so that its number is
/// no other's.
pub(super) fn kill_session(leader: Pid) {
    let session = leader.as_raw_pid();
    for process in processes().iter().filter(|one| one.session == session) {
        let _ = kill_process(process.pid, Signal::KILL);
    }
}

pub(super) fn children_of_this() -> Vec<i32> {
    let all = processes();
    let children = children(&all, getpid().as_raw_pid());
    children.map(|one| one.pid.as_raw_pid()).collect()
}

/// Kills the children of this process that live in sessions of others, and their descendants; waits
/// for those that have ended. Whether there were any.
pub(super) fn kill_adopted(keepers: &BTreeSet<i32>) -> bool {
    let (me, own) = (getpid(), getsid(None).map_or(0, Pid::as_raw_pid));
    let all = processes();
    let strange = |one: &&Stat| one.session != own && !keepers.contains(&one.pid.as_raw_pid());
    let adopted: Vec<&Stat> = children(&all, me.as_raw_pid()).filter(strange).collect();
    for process in &adopted {
        signal_all(&descendants(&all, process.pid), Signal::KILL);
        let _ = kill_process(process.pid, Signal::KILL);
        let _ = waitpid(Some(process.pid), WaitOptions::NOHANG);
    }
    !adopted.is_empty()
}

/// Whether nothing runs any more of what a process has started.
pub(super) fn is_alone(of: Pid) -> bool {
    descendants(&processes(), of).is_empty()
}

/// Waits for the children of this process that have ended, but not for this one.
pub(super) fn reap_others(me: Pid, but: Pid) {
    let parent = me.as_raw_pid();
    let ended = |one: &&Stat| one.zombie && one.parent == parent && one.pid != but;
    for process in processes().iter().filter(ended) {
        let _ = waitpid(Some(process.pid), WaitOptions::NOHANG);
    }
}

fn descendants(all: &[Stat], of: Pid) -> Vec<Pid> {
    let mut family = vec![of];
    let mut next = 0;
    while let Some(parent) = family.get(next).map(|pid| pid.as_raw_pid()) {
        family.extend(children(all, parent).map(|one| one.pid));
        next += 1;
    }
    let runs = |pid: &Pid| *pid != of && all.iter().any(|one| one.pid == *pid && !one.zombie);
    family.into_iter().filter(runs).collect()
}

fn children(all: &[Stat], parent: i32) -> impl Iterator<Item = &Stat> {
    all.iter().filter(move |one| one.parent == parent)
}

fn processes() -> Vec<Stat> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let numbers = names.filter_map(|name| name.parse().ok());
    numbers.filter_map(Stat::find).collect()
}
