//! Control groups (cgroup v2): what a command may take together with all that it starts.
//!
//! A limit of a single process (`rlimits`) does not stop one that forks. Groups do, but only where
//! the system lends the worker a directory for them: a unit with `Delegate=yes`, a container whose
//! groups are writable, or one that the settings name.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What one command may take, with all that it starts. None: as much as the worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupLimits {
    /// Memory in bytes, swap included.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
}

/// The directory in which each command gets a group of its own.
#[derive(Debug)]
pub struct Groups {
    dir: PathBuf,
    /// Where the worker is, and with it the keepers.
    home: PathBuf,
    limits: GroupLimits,
    made: AtomicU64,
}

/// The group of one command. Dropping it ends whatever is still in it, and removes it.
#[derive(Debug)]
pub(super) struct Group {
    dir: PathBuf,
    home: PathBuf,
}

/// What the keeper needs to start a command in its group, and not to stay there itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Way {
    join: PathBuf,
    leave: PathBuf,
}

const PREFIX: &str = "fazai-command-";

/// How long the kernel is given to forget the processes of a group.
const REMOVE_WAIT: Duration = Duration::from_secs(2);

impl Groups {
    /// In this directory, or in the worker's own group if that was lent to it. The error says why
    /// there can be none, and what to do.
    pub fn open(dir: Option<&Path>, limits: GroupLimits) -> Result<Arc<Self>, String> {
        let dir = match dir {
            Some(dir) => dir.to_owned(),
            None => lent()?,
        };
        enable(&dir, limits).map_err(|why| format!("{}: {why}", dir.display()))?;
        remove_left(&dir);
        Ok(Arc::new(Self {
            home: own()?,
            dir,
            limits,
            made: AtomicU64::new(0),
        }))
    }

    /// Makes a group with the limits.
    pub(super) fn begin(&self) -> io::Result<Group> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", process::id());
        let dir = self.dir.join(name);
        fs::create_dir(&dir)?;
        let group = Group {
            dir,
            home: self.home.clone(),
        };
        if let Some(bytes) = self.limits.memory_bytes {
            group.write("memory.max", &bytes.to_string())?;
            // A part of a command that was killed is worse than all of it.
            group.write("memory.oom.group", "1")?;
            // Without swap there is no such file, and nothing to limit.
            match group.write("memory.swap.max", "0") {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if let Some(processes) = self.limits.processes {
            group.write("pids.max", &processes.to_string())?;
        }
        Ok(group)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Group {
    fn write(&self, file: &str, value: &str) -> io::Result<()> {
        write(&self.dir.join(file), value)
    }

    pub(super) fn way(&self) -> Way {
        Way {
            join: self.dir.join("cgroup.procs"),
            leave: self.home.join("cgroup.procs"),
        }
    }

    /// Whether the kernel ended it because it took too much memory.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.dir.join("memory.events")).unwrap_or_default();
        let kills = events
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "));
        kills.is_some_and(|count| count != "0")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Before Linux 5.14 there is no such file; the keeper has ended what it found.
        let _ = self.write("cgroup.kill", "1");
        let until = Instant::now() + REMOVE_WAIT;
        while let Err(error) = fs::remove_dir(&self.dir) {
            if error.kind() == ErrorKind::NotFound || Instant::now() > until {
                // The next worker removes it.
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Way {
    /// Enters the group, for a command that is about to be started. What it answers leads back
    /// out of it; to be called before the sandbox hides the files of groups.
    pub(super) fn enter(&self) -> io::Result<fs::File> {
        let back = fs::OpenOptions::new().write(true).open(&self.leave)?;
        write(&self.join, "0")?;
        Ok(back)
    }
}

/// The kernel takes a value as a whole, in one write.
fn write(path: &Path, value: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    io::Write::write_all(&mut file, value.as_bytes())
}

/// The group of this process.
fn own() -> Result<PathBuf, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let (groups, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
    directory(&groups, &mounts).ok_or_else(|| {
        "this system has no control groups of version 2, or does not show them here".to_owned()
    })
}

/// Where the group of a process is, by `/proc/PID/cgroup` and `/proc/PID/mountinfo`.
fn directory(groups: &str, mounts: &str) -> Option<PathBuf> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let below = Path::new(group).strip_prefix(root).ok()?;
        kind.starts_with("cgroup2 ")
            .then(|| Path::new(point).join(below))
    })
}

/// The group of this process, if it may make groups in it.
fn lent() -> Result<PathBuf, String> {
    let dir = own()?;
    // Systemd marks what it lends; the outermost group belongs to the container or the machine.
    let marked = ["user.delegate", "trusted.delegate"].iter().any(|name| {
        let mut value = [0_u8; 8];
        rustix::fs::getxattr(&dir, *name, &mut value[..])
            .is_ok_and(|length| &value[..length] == b"1")
    });
    let outermost = fs::read_to_string("/proc/self/cgroup")
        .is_ok_and(|groups| groups.lines().any(|line| line == "0::/"));
    if marked || outermost {
        Ok(dir)
    } else {
        Err(format!(
            "{} was not lent to the worker: its unit needs Delegate=yes",
            dir.display()
        ))
    }
}

/// Has the children of a directory limited as it is wanted.
fn enable(dir: &Path, limits: GroupLimits) -> Result<(), String> {
    let read = |file: &str| {
        let read = fs::read_to_string(dir.join(file));
        read.map_err(|error| format!("{file}: {error}"))
    };
    let wanted = [
        ("memory", limits.memory_bytes.is_some()),
        ("pids", limits.processes.is_some()),
    ];
    let wanted = || wanted.iter().filter(|(_, wanted)| *wanted);
    let has = |list: &str, name: &str| list.split_whitespace().any(|one| one == name);
    let available = read("cgroup.controllers")?;
    if let Some((name, _)) = wanted().find(|(name, _)| !has(&available, name)) {
        return Err(format!("there is no controller `{name}` for it"));
    }
    let enabled = read("cgroup.subtree_control")?;
    let missing: Vec<String> = wanted()
        .filter(|(name, _)| !has(&enabled, name))
        .map(|(name, _)| format!("+{name}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    // Only the outermost group may have both processes and limited children.
    if dir.join("cgroup.type").exists() {
        move_down(dir, &read("cgroup.procs")?)?;
    }
    let enabled = write(&dir.join("cgroup.subtree_control"), &missing.join(" "));
    enabled.map_err(|error| format!("cgroup.subtree_control: {error}"))
}

/// Moves this process from a group into one below it, so that the group has no processes.
fn move_down(dir: &Path, processes: &str) -> Result<(), String> {
    let me = process::id().to_string();
    if processes.lines().any(|process| process != me) {
        return Err("other processes are in it".to_owned());
    }
    if processes.is_empty() {
        return Ok(());
    }
    let below = dir.join("fazai-worker");
    match fs::create_dir(&below) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(format!("no group can be made in it: {error}"));
        }
        _ => {}
    }
    write(&below.join("cgroup.procs"), &me).map_err(|error| format!("cgroup.procs: {error}"))
}

/// Removes what a worker left that was killed. Groups with processes stay: their worker runs.
fn remove_left(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_below_its_mount() {
        let mounts = "24 1 0:22 / /proc rw shared:1 - proc proc rw\n\
                      31 1 0:27 /lent /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        let found = |groups: &str| directory(groups, mounts);
        let expected = Some(PathBuf::from("/sys/fs/cgroup/fazai.service"));
        assert_eq!(found("4:memory:/x\n0::/lent/fazai.service\n"), expected);
        assert_eq!(found("0::/elsewhere\n"), None, "it is not shown here");
        assert_eq!(found("4:memory:/x\n"), None, "version 1 alone");
    }
}
