//! Who the process is, and with whom it ends.

use rustix::process::{
    DumpableBehavior, Pid, Signal, geteuid, getppid, set_dumpable_behavior,
    set_parent_process_death_signal,
};
use rustix::thread::{Gid, Uid};
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::State;

/// The user `nobody`, wherever there is one.
pub const NOBODY: u32 = 65534;

pub(super) fn no_new_privs() -> Result<State, String> {
    set_no_new_privs(true).map_err(|error| error.to_string())?;
    Ok(State::On)
}

/// Becomes an ordinary user. Only threads have users on Linux; this process has one thread yet.
pub(super) fn leave_root(id: u32) -> Result<State, String> {
    if !geteuid().is_root() {
        let uid = geteuid().as_raw();
        return Ok(State::Partly(format!(
            "it runs as the host's own user (uid {uid}); only root can give it another one"
        )));
    }
    if id == 0 {
        return Err("the user to become is root; choose another".into());
    }
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    let left = set_thread_groups(&[])
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid));
    left.map_err(|error| format!("uid {id}: {error}"))?;
    // The loader opens /proc/self/fd, which belongs to root after a change of the user.
    set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(|error| error.to_string())?;
    Ok(State::On)
}

/// Takes /proc/self away again when foreign code has been loaded, so that no other process of this
/// user can trace it.
pub fn close_proc() {
    // The flag exists on every kernel; there is nobody to tell if it did not.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

pub(super) fn end_with_parent(parent: i32) -> Result<State, String> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())?;
    // It may have ended before it was asked. In another PID namespace its number means nothing.
    if getppid().map(Pid::as_raw_pid) != Some(parent) {
        return Err("the host has ended".into());
    }
    Ok(State::On)
}
