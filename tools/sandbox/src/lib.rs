//! Processes of this program with fewer rights than it has: what the hosts of foreign code share.
//!
//! | file | what it owns |
//! |---|---|
//! | `launcher.rs` | this program, started again, by a thread that lives as long as it |
//! | `wire.rs` | the connection to such a process: frames, descriptors, waits with an end |
//! | `layers.rs`, `layers/` | what the process gives up before it does anything else |
//! | `stop.rs` | the wish that something ends, from another thread |
//!
//! Nothing here knows what runs in the process, or why.

#[cfg(not(target_os = "linux"))]
compile_error!("processes are confined with seccomp, Landlock and descriptors, which Linux has");

mod launcher;
mod layers;
mod stop;
mod wire;

pub use self::launcher::{Launcher, spawn};
pub use self::layers::{
    Calls, Files, Layer, Limits, Mounts, NOBODY, Report, Rights, Rule, Sockets, State, Wanted,
    close_proc, enter, own_view, set_apart,
};
pub use self::stop::Stop;
pub use self::wire::{Frame, HEADER_BYTES, Wait, Wire, WireError, header, poll_until, timespec};
