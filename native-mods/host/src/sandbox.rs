//! What a module's process may do: layers of the kernel, each of which only takes rights away.
//!
//! A kernel that lacks a layer leaves the others; the [`Report`] says which are there. Entered
//! before the module's file is loaded, since loading runs the module's code already.

mod files;
mod limits;
mod syscalls;
mod user;

use serde::{Deserialize, Serialize};

use crate::message::Start;

pub(crate) use self::limits::close_from;
pub(crate) use self::user::close_proc;

/// Which layers confine a module.
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

/// Enters all layers. An error means that one exists and could not be entered, so that the module
/// must not run.
pub(crate) fn enter(start: &Start) -> Result<Report, String> {
    // What the layers hide is looked at before.
    let own = limits::mapped_bytes().ok_or("/proc/self/statm can't be read; mount /proc")?;
    // The kernel confines threads, and those that are there already would stay as they are.
    if limits::threads() != Some(1) {
        return Err(
            "the host's program starts threads before it becomes a module's process; it \
                    must call child_main first"
                .into(),
        );
    }
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
    layer("no_new_privs", user::no_new_privs())?;
    // Paths are looked up with the rights that the process still has.
    layer("landlock", files::enter(&start.capabilities))?;
    layer("user", user::leave_root(start.user))?;
    // Becoming somebody else forgets the wish to end with the host, so it is made only here.
    layer("parent_death_signal", user::end_with_parent(start.parent))?;
    layer("rlimits", limits::enter(start, own, root))?;
    // Last, because it also forbids what the layers before it need.
    layer("seccomp", syscalls::enter(&start.capabilities))?;
    Ok(Report { layers })
}
