//! What is left of a command whose keeper was killed: of the commands that may signal it, some may
//! mean that. It comes to the worker, if that adopts orphans, and is ended there.

use std::collections::BTreeSet;
use std::io;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, getpid, set_child_subreaper};

use super::family;
use super::keeper::LAST_WAIT;

static ADOPTS: AtomicBool = AtomicBool::new(false);

/// The keepers that run, and what there was before any.
static KEEPERS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn keepers() -> MutexGuard<'static, BTreeSet<i32>> {
    KEEPERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes what is orphaned below this process its child, so that it is found, and known for what it
/// is. For a program that is nothing but a worker: whatever else it starts must stay in its session.
pub fn adopt_orphans() -> io::Result<()> {
    keepers().extend(family::children_of_this());
    set_child_subreaper(Some(getpid()))?;
    ADOPTS.store(true, Ordering::Relaxed);
    Ok(())
}

/// Whether it does.
#[must_use]
pub fn adopts_orphans() -> bool {
    ADOPTS.load(Ordering::Relaxed)
}

/// Starts a keeper. Meanwhile nobody takes it for an orphan.
pub(super) fn spawn_keeper(command: Command) -> io::Result<Child> {
    let mut keepers = keepers();
    let keeper = fazai_sandbox::spawn(command)?;
    keepers.insert(Pid::from_child(&keeper).as_raw_pid());
    Ok(keeper)
}

/// Waits for a keeper that has ended.
pub(super) fn reap_keeper(keeper: &mut Child) {
    let _ = keeper.wait();
    keepers().remove(&Pid::from_child(keeper).as_raw_pid());
}

/// Kills what came to this process, and what that has started.
pub(super) fn end_orphans() {
    if !adopts_orphans() {
        return;
    }
    let until = Instant::now() + LAST_WAIT;
    while family::kill_adopted(&keepers()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
}
