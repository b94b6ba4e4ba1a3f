//! How this program becomes the process of a module.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fazai_modhost::Launcher;

/// What tells the program to be a module's process.
const ARGUMENT: &str = "module-process";

/// Whether [`module_process`] was called, so that starting this program again is of use.
static PREPARED: AtomicBool = AtomicBool::new(false);

/// To be called before anything else in `main` of a program whose worker shall have modules.
///
/// Each native module runs in a process of its own, which is this program, started again by the
/// worker. In such a process this call does not return; in any other one it does nothing but
/// remember that the program is prepared.
pub fn module_process() {
    if std::env::args_os().nth(1).as_deref() == Some(OsStr::new(ARGUMENT)) {
        fazai_modhost::child_main();
    }
    PREPARED.store(true, Ordering::Relaxed);
}

/// How a module's process is started from this program; none if it did not call
/// [`module_process`].
#[must_use]
pub fn module_launcher() -> Option<Launcher> {
    let prepared = PREPARED.load(Ordering::Relaxed);
    prepared.then(|| Launcher::this_program([ARGUMENT.into()]))
}

/// The same from another program, which has to be a `fazai`.
pub(crate) fn launcher_from(program: &Path) -> Launcher {
    Launcher {
        program: program.to_owned(),
        ..Launcher::this_program([ARGUMENT.into()])
    }
}
