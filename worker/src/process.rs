//! The other lives of this program: the process of a module, the keeper of a command, and the
//! reader of a PDF file.
//!
//! All confine themselves before they run what is not ours, so they are processes of their own,
//! and the worker starts this very program again for each.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fazai_sandbox::Launcher;
use fazai_tools::Stat;

/// What tells the program to be a module's process.
const MODULE: &str = "module-process";
/// What tells it to be a command's keeper.
const COMMAND: &str = "command-process";
/// What tells it to read a PDF file.
const PDF: &str = "pdf-process";

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
    #[cfg(feature = "pdf")]
    if role.as_deref() == Some(OsStr::new(PDF)) {
        crate::memory::pdf::process_main();
    }
    PREPARED.store(true, Ordering::Relaxed);
}

/// More processes above one are nobody's shell.
const ANCESTORS_MAX: usize = 256;

/// Whether a client is a command or a module of this worker, or was started by one: it stands below
/// a keeper, whose children can't leave it. One that is gone already may have been, too.
pub(crate) fn is_ours(client: Option<i32>) -> bool {
    // One of another namespace of processes has no number here, and what is ours has one.
    let Some(mut pid) = client.filter(|pid| *pid > 0) else {
        return false;
    };
    let own = std::process::id().cast_signed();
    for _ in 0..ANCESTORS_MAX {
        let Some(Stat {
            parent, session, ..
        }) = Stat::find(pid)
        else {
            return true;
        };
        if parent == own {
            // One that lives in a session of others was adopted: it has lost its keeper.
            return keeps(pid) || is_strange(session);
        }
        if parent <= 1 {
            return false;
        }
        pid = parent;
    }
    true
}

fn is_strange(session: i32) -> bool {
    let own = rustix::process::getsid(None).map(|own| own.as_raw_pid());
    fazai_tools::adopts_orphans() && own != Ok(session)
}

/// Whether a child of this process keeps a command or a module, by what it was started as.
fn keeps(child: i32) -> bool {
    let words = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
    let mut words = words.split(|byte| *byte == 0);
    let program = words.next().unwrap_or_default();
    let role = words.next().unwrap_or_default();
    let helpers = ["fazai-keeper", "fazai-modhost", "fazai-toolbox-keeper"];
    [MODULE, COMMAND, PDF]
        .iter()
        .any(|known| role == known.as_bytes())
        || helpers
            .iter()
            .any(|name| program.ends_with(name.as_bytes()))
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

/// The same for a process that reads a PDF file.
#[cfg(feature = "pdf")]
pub(crate) fn pdf_launcher(program: Option<&Path>) -> Option<Launcher> {
    launcher(program, PDF)
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
