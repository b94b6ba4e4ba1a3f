//! A view of the file system of the process's own, in which some places are empty or can't be
//! changed: by whatever path they are reached, and whatever links are on the way.
//!
//! Root has it by a mount namespace; other users by a user namespace around one, in which they are
//! who they were, and nobody else is there.
#![expect(
    unsafe_code,
    reason = "leaving a mount namespace, and trying it, has no safe wrapper"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags, open, statvfs};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change, mount_remount,
};
use rustix::process::{getegid, geteuid};
use rustix::thread::{UnshareFlags, set_no_new_privs, unshare_unsafe};
use serde::{Deserialize, Serialize};

use super::State;

/// What the process sees otherwise than everybody else. Paths that are not there are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounts {
    /// Directories are empty, and files can't be opened.
    #[serde(with = "super::paths")]
    pub hidden: Vec<PathBuf>,
    /// They can be read and not changed.
    #[serde(with = "super::paths")]
    pub kept: Vec<PathBuf>,
    /// Whether the process has to be able to become another user, as with sudo. Without being root
    /// it can't have both.
    pub becomes_others: bool,
}

impl Mounts {
    /// The directories in which they are, the outer ones first.
    fn parents(&self) -> Vec<PathBuf> {
        let paths = self.hidden.iter().chain(&self.kept);
        let parents = paths
            .filter(|path| path.exists())
            .filter_map(|path| path.parent());
        // The root is a mount as it is.
        let parents = parents.filter(|parent| parent.parent().is_some());
        let parents: BTreeSet<&Path> = parents.collect();
        parents.into_iter().map(Path::to_owned).collect()
    }
}

/// What others mount later is still seen; what the process mounts is its own.
pub(super) fn enter(mounts: &Mounts) -> Result<State, String> {
    let left = match geteuid().is_root() {
        // SAFETY: the process has a single thread, and no descriptor table is shared.
        true => unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(why_not),
        false if mounts.becomes_others => Err(
            "only root can have a view of its own of the file system and become another user"
                .into(),
        ),
        false => Own::of_this_process().leave(),
    };
    if let Err(why) = left {
        return Ok(State::Partly(why));
    }
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", slave).map_err(|error| format!("/: {error}"))?;
    let pinned = mounts.parents();
    for (paths, cover) in [
        (&pinned, pin as fn(&Path) -> io::Result<()>),
        (&mounts.hidden, hide),
        (&mounts.kept, keep),
    ] {
        for path in paths {
            match cover(path) {
                Err(error) if !is_out_of_reach(&error) => {
                    return Err(format!("{}: {error}", path.display()));
                }
                _ => {}
            }
        }
    }
    Ok(State::On)
}

/// Whether this process could have a view of its own of the file system; an error says why not.
pub fn own_view() -> Result<(), String> {
    match geteuid().is_root() {
        true => try_it(|| {
            // SAFETY: it is a process with a single thread that ends at once.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }
        })
        .map_err(why_not),
        false => Own::of_this_process().check(),
    }
}

/// Containers often may not, and some systems let only programs that they know.
fn why_not(error: Errno) -> String {
    format!("the file system can't be seen otherwise: {error}")
}

/// What this user can't reach needs no cover from it.
fn is_out_of_reach(error: &io::Error) -> bool {
    let denied = error.kind() == io::ErrorKind::PermissionDenied && !geteuid().is_root();
    error.kind() == io::ErrorKind::NotFound || denied
}

/// Who the process is, as the maps of a user namespace have it: it alone, under the same numbers.
struct Own {
    user: Vec<u8>,
    group: Vec<u8>,
}

impl Own {
    fn of_this_process() -> Self {
        let line = |id: u32| format!("{id} {id} 1").into_bytes();
        Self {
            user: line(geteuid().as_raw()),
            group: line(getegid().as_raw()),
        }
    }

    /// Whether [`leave`](Self::leave) would succeed, and something could be mounted then. There is
    /// no way back from a namespace in which nothing can, so another process tries it.
    fn check(&self) -> Result<(), String> {
        let tried = try_it(|| {
            self.enter_namespaces()?;
            mount(c"none", c"/", c"ramfs", MountFlags::RDONLY, c"mode=000")
        });
        tried.map_err(|error| {
            format!(
                "this system lets only root see the file system otherwise ({error}): allow \
                 unprivileged user namespaces to this program, or run it as root"
            )
        })
    }

    /// Leaves for good. What the process starts has no power over its mounts, for it loses with
    /// its program what it may in the namespace, and nobody else is in there whom it could become.
    fn leave(&self) -> Result<(), String> {
        self.check()?;
        self.enter_namespaces().map_err(why_not)?;
        set_no_new_privs(true).map_err(why_not)
    }

    /// Allocates nothing, as is due after a fork.
    fn enter_namespaces(&self) -> rustix::io::Result<()> {
        // SAFETY: the process has a single thread, and no descriptor table is shared.
        unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }?;
        // Who could drop groups could reach what they are kept from.
        write(c"/proc/self/setgroups", b"deny")?;
        write(c"/proc/self/uid_map", &self.user)?;
        write(c"/proc/self/gid_map", &self.group)
    }
}

fn write(path: &std::ffi::CStr, bytes: &[u8]) -> rustix::io::Result<()> {
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, bytes).map(drop)
}

/// Tries something in a process of its own, which must not allocate.
fn try_it(what: impl FnOnce() -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    // SAFETY: the child makes a few system calls and ends, without unwinding, allocating, or
    // running what was registered for an exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code = what().err().map_or(0, Errno::raw_os_error);
        // SAFETY: see above.
        unsafe { libc::_exit(code) };
    }
    let child = rustix::process::Pid::from_raw(child).ok_or(Errno::AGAIN)?;
    let options = rustix::process::WaitOptions::empty();
    let ended = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(child), options))?;
    match ended.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw_os_error(code)),
        None => Err(Errno::CANCELED),
    }
}

fn hide(path: &Path) -> io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        mount_bind_recursive("/dev/null", path)?;
        // A device that can't be opened.
        return restrict(path, MountFlags::NODEV);
    }
    // Of this kind of file system no size is told, so that lists of disks do not show it.
    Ok(mount(
        "none",
        path,
        "ramfs",
        MountFlags::RDONLY,
        c"mode=000",
    )?)
}

/// What is mounted can't be renamed, and another one put in its place.
fn pin(path: &Path) -> io::Result<()> {
    Ok(mount_bind_recursive(path, path)?)
}

fn keep(path: &Path) -> io::Result<()> {
    fs::metadata(path)?;
    mount_bind_recursive(path, path)?;
    restrict(path, MountFlags::empty())
}

/// Makes what is mounted there read-only, besides what it is already: that can't be taken away in
/// the namespace of a user.
fn restrict(path: &Path, more: MountFlags) -> io::Result<()> {
    let is = statvfs(path)?.f_flag;
    let flags = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let kept = flags.into_iter().filter(|(have, _)| is.contains(*have));
    let kept = kept.fold(more, |all, (_, flag)| all | flag);
    let flags = MountFlags::BIND | MountFlags::RDONLY | kept;
    Ok(mount_remount(path, flags, "")?)
}
