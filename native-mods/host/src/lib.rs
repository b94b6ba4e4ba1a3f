//! Native modules: checked, loaded into a process of their own, confined there, and supervised;
//! or called inside the host's process, if they are signed and an administrator trusts them.
//!
//! A module is a shared library with the functions of `fazai_mod.h`. Its way in, file by file:
//!
//! | file | what it owns |
//! |---|---|
//! | `manifest.rs` | `modules.toml`: what may load, with which rights and limits |
//! | `discover.rs` | which modules there are |
//! | `verify.rs`, `trust.rs` | whether a file may load; every refusal names its rule |
//! | `sign.rs` | keys and signatures, for those who release modules |
//! | `image.rs` | the checked bytes, sealed: what was checked is what is loaded |
//! | `supervise.rs`, `supervise/` | the handle, the process behind it, restarts, quarantine |
//! | `message.rs` | what the two processes say to each other, in frames of `fazai-sandbox` |
//! | `child.rs`, `child/` | the process that the module lives in: its loop, its result buffer |
//! | `result.rs` | how a command's result is asked for, wherever the module lives |
//! | `abi.rs` | the C side: symbols and the descriptor |
//! | `sandbox.rs` | what that process may do; `fazai-sandbox` has the layers that see to it |
//!
//! Nothing here knows about the worker. The program that hosts modules starts itself again with
//! arguments of its choice, and calls [`child_main`] there before it does anything else. It is to be
//! linked dynamically: the C library of a static program can load a module, and the module crashes
//! when it starts a thread.

#[cfg(not(target_os = "linux"))]
compile_error!("modules are confined with seccomp, Landlock and memfds, which only Linux has");

mod abi;
mod child;
mod discover;
mod image;
mod manifest;
mod message;
mod result;
mod sandbox;
pub mod sign;
mod supervise;
mod text;
mod trust;
mod verify;

pub use fazai_sandbox::{Launcher, Layer, Report, State, Stop};

pub use self::child::child_main;
pub use self::discover::discover;
pub use self::image::Image;
pub use self::manifest::{
    Capabilities, Entry, MANIFEST_BYTES_MAX, Manifest, ManifestError, User, valid_name,
};
pub use self::message::{Command, Descriptor};
pub use self::supervise::{Answer, Call, Failure, Isolation, Limits, Module, Next, Status, probe};
pub use self::trust::{BadKey, Keys, KeysError, Trust};
pub use self::verify::{Checked, FILE_BYTES_MAX, Refused, Vouched, check, fingerprint, verify};
