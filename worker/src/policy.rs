//! The policy of this machine: where it is, and how it is read.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use fazai_tools::{Caller, Machine, OwnFiles, Policy, PolicyError, User};
use rustix::process::{getgroups, getuid};

use crate::config::{PolicySettings, Settings};
use crate::lock::lock;
use crate::text_file;

/// Why a policy can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFault {
    /// It can't be read.
    #[error("the policy {path} can't be read: {fault}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        fault: io::Error,
    },
    /// Somebody else could change what they may do.
    #[error("the policy {0} can be changed by others: `chown root` and `chmod go-w` it")]
    Open(PathBuf),
    /// It has a mistake.
    #[error("{path}: {fault}")]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// What, and where in it.
        fault: PolicyError,
    },
}

/// Reads the policy that the settings name. If there is no file, the ready profile holds for root
/// and the worker's own user, as whom commands run; nobody else may run any.
///
/// # Errors
/// The file is there and can't be used: nothing is decided by half a policy.
pub fn load(settings: &PolicySettings) -> Result<Policy, PolicyFault> {
    let path = &settings.file;
    match fs::symlink_metadata(path) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => {
            let own = getuid().as_raw();
            Ok(Policy::ready_for(&settings.profile, own).with_disk(Machine))
        }
        _ => read(path),
    }
}

/// What belongs to the worker itself, wherever its settings put it: no policy opens that.
#[must_use]
pub fn own_files(settings: &Settings) -> OwnFiles {
    crate::acting::own_files(settings)
}

/// Reads one policy file.
///
/// # Errors
/// It can't be used.
pub fn read(path: &Path) -> Result<Policy, PolicyFault> {
    let unreadable = |fault| PolicyFault::Unreadable {
        path: path.to_owned(),
        fault,
    };
    let about = fs::metadata(path).map_err(unreadable)?;
    if about.is_file() && !is_ours_alone(&about) {
        return Err(PolicyFault::Open(path.to_owned()));
    }
    let text = text_file::read(path).map_err(unreadable)?;
    let policy = Policy::parse(&text).map_err(|fault| PolicyFault::Wrong {
        path: path.to_owned(),
        fault,
    })?;
    Ok(policy.with_disk(Machine))
}

/// Whether nobody but root and the worker's own user can change a file.
pub(crate) fn is_ours_alone(about: &fs::Metadata) -> bool {
    let ours = about.uid() == 0 || about.uid() == getuid().as_raw();
    ours && about.mode() & 0o022 == 0
}

/// A user of this machine, as the policy knows one.
#[must_use]
pub fn user(uid: u32) -> Caller {
    /// Who they are, and when that was looked up.
    type LookedUp = HashMap<u32, (Instant, Caller)>;
    // One request asks several times, and each look reads three files.
    static LOOKED_UP: LazyLock<Mutex<LookedUp>> = LazyLock::new(Mutex::default);
    let known = || lock(&LOOKED_UP);
    let now = Instant::now();
    if let Some((at, caller)) = known().get(&uid)
        && now.duration_since(*at) < LOOKED_UP_AGE_MAX
    {
        return caller.clone();
    }
    // Without the lock: a directory on the network may be slow.
    let caller = look_up(uid);
    let mut known = known();
    known.retain(|_, (at, _)| now.duration_since(*at) < LOOKED_UP_AGE_MAX);
    known.insert(uid, (now, caller.clone()));
    caller
}

/// A change of groups counts after this time.
const LOOKED_UP_AGE_MAX: Duration = Duration::from_secs(1);

fn look_up(uid: u32) -> Caller {
    let known = uzers::get_user_by_uid(uid);
    let groups = known.as_ref().and_then(|user| user.groups());
    let groups = groups.map(|groups| groups.iter().map(uzers::Group::gid).collect());
    let name = known.map(|user| user.name().to_string_lossy().into_owned());
    Caller::User(User {
        uid,
        groups: groups.unwrap_or_default(),
        name: name.unwrap_or_else(|| uid.to_string()),
    })
}

/// The user of this process.
#[must_use]
pub fn own_user() -> Caller {
    let mut caller = user(getuid().as_raw());
    if let (Caller::User(user), Ok(groups)) = (&mut caller, getgroups()) {
        user.groups
            .extend(groups.iter().map(|group| group.as_raw()));
        user.groups.sort_unstable();
        user.groups.dedup();
    }
    caller
}
