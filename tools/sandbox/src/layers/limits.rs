//! How much the process may take.
#![expect(unsafe_code, reason = "close_range has no safe wrapper")]

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use serde::{Deserialize, Serialize};

use super::State;

/// How much a process may take. None: as much as its parent. A core dump is never written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// What it may map beyond what is mapped at its start, which is the program itself.
    pub memory_bytes: Option<u64>,
    /// The size of a file that it writes.
    pub file_bytes: Option<u64>,
    /// What it may keep from being swapped out.
    pub locked_bytes: Option<u64>,
    /// POSIX message queues.
    pub queue_bytes: Option<u64>,
    /// Descriptors.
    pub files_open: Option<u64>,
    /// Threads of its user, if it has one of its own.
    pub threads: Option<u64>,
}

/// `own` is what is mapped already.
pub(super) fn enter(limits: &Limits, own: u64, user_of_its_own: bool) -> Result<State, String> {
    // It counts all processes of a user, so that it would count the host's own threads.
    let threads = limits.threads.filter(|_| user_of_its_own);
    let memory = limits.memory_bytes.map(|bytes| own.saturating_add(bytes));
    let all = [
        (Resource::As, memory),
        (Resource::Core, Some(0)),
        (Resource::Nofile, limits.files_open),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Memlock, limits.locked_bytes),
        (Resource::Msgqueue, limits.queue_bytes),
        (Resource::Nproc, threads),
    ];
    for (resource, most) in all {
        if let Some(most) = most {
            // Nobody can have more than whoever started this.
            let most = getrlimit(resource)
                .maximum
                .map_or(most, |all| all.min(most));
            let limit = Rlimit {
                current: Some(most),
                maximum: Some(most),
            };
            setrlimit(resource, limit).map_err(|error| format!("{resource:?}: {error}"))?;
        }
    }
    Ok(if threads == limits.threads {
        State::On
    } else {
        State::Partly("the number of threads is not limited, because it shares its user".into())
    })
}

/// Closes every descriptor from this one on.
pub(crate) fn close_from(first: u32) {
    // SAFETY: called before anything that owns a descriptor exists. Where the call is missing
    // (before Linux 5.9) descriptors are still closed by the exec that began this process.
    unsafe {
        libc::syscall(libc::SYS_close_range, first, u32::MAX, 0);
    }
}

/// How much this process has mapped.
pub(super) fn mapped_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').next()?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// How many threads this process has.
pub(super) fn threads() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}
