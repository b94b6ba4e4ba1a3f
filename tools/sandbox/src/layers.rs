//! What a process may do: layers of the kernel, each of which only takes rights away.
//!
//! A kernel that lacks a layer leaves the others; the [`Report`] says which are there. They are
//! entered before any foreign code runs.

mod apart;
mod capabilities;
mod files;
mod limits;
mod mounts;
mod paths;
mod syscalls;
mod user;

use serde::{Deserialize, Serialize};

pub use self::apart::set_apart;
pub use self::files::{Files, Rights, Rule};
pub use self::limits::Limits;
pub(crate) use self::limits::close_from;
pub use self::mounts::{Mounts, own_view};
pub use self::syscalls::{Calls, Sockets};
pub use self::user::{NOBODY, close_proc};

/// What a process gives up. By default: nothing but its core dumps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Whether programs with set-user-ID, such as sudo, give it no rights. An ordinary user can
    /// have the layers `files` and `calls` only with this.
    pub no_new_privs: bool,
    /// What it sees otherwise than everybody else; none: nothing.
    pub mounts: Option<Mounts>,
    /// The files that it can reach; none: all.
    pub files: Option<Files>,
    /// Whom it becomes if it is root; none: it stays who it is.
    pub user: Option<u32>,
    /// Whether root keeps only what it takes to see everything.
    pub only_sees: bool,
    /// The process with which it ends; none: it may outlive its parent.
    pub parent: Option<i32>,
    /// How much it may take.
    pub limits: Limits,
    /// The system calls that fail; none: none.
    pub calls: Option<Calls>,
}

/// Which layers confine a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// In the order in which they were entered.
    pub layers: Vec<Layer>,
}

/// One layer of the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// What operators know it by, such as `seccomp`.
    pub name: String,
    /// Whether it holds.
    pub state: State,
}

/// Whether a layer holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It does.
    On,
    /// It does in part.
    Partly(String),
    /// It does not, for this reason.
    Off(String),
}

impl Report {
    /// The layers that do not hold as they should.
    pub fn weak(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| layer.state != State::On)
    }
}

/// Enters all layers that are wanted, for good. An error, which says what to do, means that one
/// exists and could not be entered, so that foreign code must not run.
pub fn enter(wanted: &Wanted) -> Result<Report, String> {
    // The kernel confines threads, and those that are there already would stay as they are.
    if limits::threads() != Some(1) {
        return Err(
            "this program starts threads before it is confined, and they would not be; it must \
             call confined_main or child_main first"
                .into(),
        );
    }
    // What the layers hide is looked at before.
    let own = limits::mapped_bytes().ok_or("/proc/self/statm can't be read; mount /proc")?;
    let root = rustix::process::geteuid().is_root();
    let mut layers = Vec::new();
    let mut layer = |name: &str, state: Result<State, String>| {
        let state = state.map_err(|why| format!("the sandbox layer {name} failed: {why}"))?;
        layers.push(Layer {
            name: name.into(),
            state,
        });
        Ok::<_, String>(())
    };
    if wanted.no_new_privs {
        layer("no_new_privs", user::no_new_privs())?;
    }
    if let Some(mounts) = &wanted.mounts {
        layer("mounts", mounts::enter(mounts))?;
    }
    // Paths are looked up with the rights that the process still has.
    if let Some(files) = &wanted.files {
        layer("landlock", files::enter(files))?;
    }
    if let Some(user) = wanted.user {
        layer("user", user::leave_root(user))?;
    }
    if wanted.only_sees {
        layer("capabilities", capabilities::enter())?;
    }
    // Becoming somebody else forgets the wish to end with the parent, so it is made only here.
    if let Some(parent) = wanted.parent {
        layer("parent_death_signal", user::end_with_parent(parent))?;
    }
    let user_of_its_own = root && wanted.user.is_some();
    layer(
        "rlimits",
        limits::enter(&wanted.limits, own, user_of_its_own),
    )?;
    // Last, because it also forbids what the layers before it need.
    if let Some(calls) = &wanted.calls {
        layer("seccomp", syscalls::enter(calls))?;
    }
    Ok(Report { layers })
}
