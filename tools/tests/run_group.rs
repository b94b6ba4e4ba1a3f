//! Commands in control groups of their own.
//!
//! They need root and a system whose groups are of version 2, with the controllers in question;
//! what can't be tried here says so and is left out.
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

mod commands;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use commands::{Seen, exec, how, mark, read_only, runs, see, shell, try_run};
use fazai_tools::{GroupLimits, Groups, How, Source, Why};

/// Control groups of version 2, mounted for one test. All such mounts show the same groups, so one
/// test at a time has one.
struct Mounted {
    directory: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Mounted {
    fn new(test: &str) -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = tempfile::tempdir().expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "cgroup2", "none"])
            .arg(directory.path())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self {
                directory,
                _alone: alone,
            });
        }
        eprintln!("LEFT OUT: {test}: control groups can't be mounted here, which needs root");
        None
    }

    /// Groups with these limits, unless the kernel has no such controller here.
    fn groups(&self, test: &str, limits: GroupLimits) -> Option<Arc<Groups>> {
        match Groups::open(Some(self.directory.path()), limits) {
            Ok(groups) => Some(groups),
            Err(why) => {
                eprintln!("LEFT OUT: {test}: {why}");
                None
            }
        }
    }

    /// The groups of commands that are there.
    fn left(&self) -> usize {
        let entries = self
            .directory
            .path()
            .read_dir()
            .expect("the groups")
            .flatten();
        let names = entries.map(|entry| entry.file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with("fazai-command-"))
            .count()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.directory.path()).status();
    }
}

fn grouped(how: How, groups: &Arc<Groups>) -> How {
    How {
        groups: Some(Arc::clone(groups)),
        ..how
    }
}

/// The group that a command saw itself in.
fn group(seen: &Seen) -> String {
    let text = seen.stdout();
    let line = text.lines().find_map(|line| line.strip_prefix("0::"));
    line.unwrap_or_default().to_owned()
}

#[test]
fn each_command_has_a_group_which_goes_with_it() {
    let test = "each_command_has_a_group";
    let Some(mounted) = Mounted::new(test) else {
        return;
    };
    let limits = GroupLimits::default();
    let groups = mounted
        .groups(test, limits)
        .expect("no controller is needed");
    let mut names = Vec::new();
    for how in [how(), read_only()] {
        let seen = see("cat /proc/self/cgroup", &grouped(how, &groups));
        names.push(group(&seen));
    }
    assert!(
        names.iter().all(|name| name.starts_with("/fazai-command-")),
        "{names:?}"
    );
    assert_ne!(names[0], names[1]);
    // What leaves the session and the group of processes does not leave this one.
    let mark = mark(1);
    let text = format!("setsid -f sleep {mark}; cat /proc/self/cgroup");
    see(&text, &grouped(how(), &groups));
    assert!(!runs(&mark), "it still runs");
    assert_eq!(mounted.left(), 0);
    // A keeper leaves the group of its command: it must tell how that ended.
    let home = std::fs::read_to_string("/proc/self/cgroup").expect("a group");
    assert!(!home.contains("fazai-command-"), "{home}");
}

#[test]
fn a_group_that_can_not_be_made_runs_nothing() {
    let test = "a_group_that_can_not_be_made";
    let Some(mounted) = Mounted::new(test) else {
        return;
    };
    let limits = GroupLimits::default();
    let groups = mounted
        .groups(test, limits)
        .expect("no controller is needed");
    drop(mounted);
    let refused = try_run(shell("echo ran"), &grouped(how(), &groups), None);
    let said = refused.expect_err("nothing ran").to_string();
    assert!(said.contains("[policy] cgroup"), "{said}");
}

#[test]
fn what_is_no_group_is_not_taken_for_one() {
    let directory = tempfile::tempdir().expect("a directory");
    for path in [directory.path(), Path::new("/no/such/group")] {
        let refused = Groups::open(Some(path), GroupLimits::default());
        let said = refused.expect_err("it is no group");
        assert!(said.contains("cgroup.controllers"), "{said}");
    }
}

#[test]
fn a_command_has_no_more_processes_than_it_may() {
    let test = "a_command_has_no_more_processes";
    let limits = GroupLimits {
        processes: Some(10),
        ..GroupLimits::default()
    };
    let mounted = Mounted::new(test);
    let Some(groups) = mounted.as_ref().and_then(|at| at.groups(test, limits)) else {
        return;
    };
    // Bash would wait and try again.
    let text = "for i in $(seq 30); do sleep 60 & done; echo all";
    let seen = try_run(exec(&["sh", "-c", text]), &grouped(how(), &groups), None);
    let seen = seen.expect("it ran");
    assert_ne!(seen.ended.exit_code, Some(0), "{seen:?}");
    assert_eq!(seen.stdout(), "");
    assert!(seen.text(Source::Stderr).contains("fork"), "{seen:?}");
}

#[test]
fn a_command_has_no_more_memory_than_it_may() {
    let test = "a_command_has_no_more_memory";
    let limits = GroupLimits {
        memory_bytes: Some(64 << 20),
        ..GroupLimits::default()
    };
    let mounted = Mounted::new(test);
    let Some(groups) = mounted.as_ref().and_then(|at| at.groups(test, limits)) else {
        return;
    };
    let seen = see("tail /dev/zero", &grouped(how(), &groups));
    assert_eq!(
        (seen.ended.why, seen.ended.signal),
        (Why::MemoryLimit, Some(9))
    );
    // The others are not.
    assert_eq!(
        see("true", &grouped(how(), &groups)).ended.why,
        Why::Finished
    );
}
