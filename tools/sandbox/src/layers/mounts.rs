//! A view of the file system of the process's own, in which some places are empty or can't be
//! changed: by whatever path they are reached, and whatever links are on the way.
#![expect(unsafe_code, reason = "leaving a mount namespace has no safe wrapper")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change, mount_remount,
};
use rustix::process::geteuid;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde::{Deserialize, Serialize};

use super::State;

/// What the process sees otherwise than everybody else. Paths that are not there are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounts {
    /// Directories are empty, and files can't be opened.
    pub hidden: Vec<PathBuf>,
    /// They can be read and not changed.
    pub kept: Vec<PathBuf>,
}

/// What others mount later is still seen; what the process mounts is its own.
pub(super) fn enter(mounts: &Mounts) -> Result<State, String> {
    if !geteuid().is_root() {
        return Ok(State::Partly(
            "only root can have a view of its own of the file system".into(),
        ));
    }
    // SAFETY: the process has a single thread, and no descriptor table is shared.
    let left = unsafe { unshare_unsafe(UnshareFlags::NEWNS) };
    if let Err(error) = left {
        // Containers often may not.
        return Ok(State::Partly(format!(
            "the file system can't be seen otherwise: {error}"
        )));
    }
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", slave).map_err(|error| format!("/: {error}"))?;
    for (paths, cover) in [
        (&mounts.hidden, hide as fn(&Path) -> io::Result<()>),
        (&mounts.kept, keep),
    ] {
        for path in paths {
            match cover(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(format!("{}: {error}", path.display()));
                }
                _ => {}
            }
        }
    }
    Ok(State::On)
}

fn hide(path: &Path) -> io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        mount_bind_recursive("/dev/null", path)?;
        // A device that can't be opened.
        let closed = MountFlags::BIND | MountFlags::NODEV | MountFlags::RDONLY;
        return Ok(mount_remount(path, closed, "")?);
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

fn keep(path: &Path) -> io::Result<()> {
    fs::metadata(path)?;
    mount_bind_recursive(path, path)?;
    Ok(mount_remount(
        path,
        MountFlags::BIND | MountFlags::RDONLY,
        "",
    )?)
}
