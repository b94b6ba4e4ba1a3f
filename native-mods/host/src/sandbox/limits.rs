//! How much the process may take.
#![expect(unsafe_code, reason = "close_range has no safe wrapper")]

use rustix::process::{Resource, Rlimit, setrlimit};

use super::State;
use crate::message::Start;

const FILES_OPEN: u64 = 256;
const THREADS: u64 = 256;
const FILE_BYTES: u64 = 256 << 20;

/// `own` is what is mapped without the module: the program itself and its libraries.
pub(super) fn enter(start: &Start, own: u64, user_of_its_own: bool) -> Result<State, String> {
    let memory = own.saturating_add(start.memory_bytes_max);
    let writes = !start.capabilities.files_writable.is_empty();
    let mut limits = vec![
        (Resource::As, memory),
        (Resource::Core, 0),
        (Resource::Nofile, FILES_OPEN),
        (Resource::Fsize, if writes { FILE_BYTES } else { 0 }),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
    ];
    // It counts all processes of a user, so that it would count the host's own threads.
    if user_of_its_own {
        limits.push((Resource::Nproc, THREADS));
    }
    for (resource, most) in limits {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit).map_err(|error| format!("{resource:?}: {error}"))?;
    }
    Ok(if user_of_its_own {
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
