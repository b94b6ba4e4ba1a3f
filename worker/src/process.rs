//! The other lives of this program: the process of a module, and the keeper of a command.
//!
//! Both confine themselves before they run what is not ours, so they are processes of their own,
//! and the worker starts this very program again for each.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fazai_sandbox::Launcher;

/// What tells the program to be a module's process.
const MODULE: &str = "module-process";
/// What tells it to be a command's keeper.
const COMMAND: &str = "command-process";

/// Whether [`child_process`] was called, so that starting this program again is of use.
static PREPARED: AtomicBool = AtomicBool::new(false);

/// To be called before anything else in `main` of a program whose worker shall run modules and
/// commands.
///
/// In a process that the worker started for one of them, this call does not return; in any other
/// one it does nothing but remember that the program is prepared.
pub fn child_process() {
    let role = std::env::args_os().nth(1);
    if role.as_deref() == Some(OsStr::new(MODULE)) {
        fazai_modhost::child_main();
    }
    if role.as_deref() == Some(OsStr::new(COMMAND)) {
        fazai_tools::confined_main();
    }
    PREPARED.store(true, Ordering::Relaxed);
}

/// How the process of a module is started: from `program`, which has to be a `fazai`, or from this
/// one; none if this one did not call [`child_process`].
#[must_use]
pub fn module_launcher(program: Option<&Path>) -> Option<Launcher> {
    launcher(program, MODULE)
}

/// The same for the keeper of a command.
#[must_use]
pub fn command_launcher(program: Option<&Path>) -> Option<Launcher> {
    launcher(program, COMMAND)
}

fn launcher(program: Option<&Path>, role: &str) -> Option<Launcher> {
    let this = || Launcher::this_program([role.into()]);
    match program {
        Some(program) => Some(Launcher {
            program: program.to_owned(),
            ..this()
        }),
        None => PREPARED.load(Ordering::Relaxed).then(this),
    }
}
