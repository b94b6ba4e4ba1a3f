//! Who starts the processes.
//!
//! A process is told to end with its parent, and to the kernel that is the thread which started
//! it. The caller's may be one of a pool, and end long before the program does. So one thread, as
//! long-lived as the program, starts them all.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{OnceLock, mpsc};

/// How a process is started that confines itself: a program, and what tells it to do that first
/// thing in its `main`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// The program. `/proc/self/exe` is the one that is running, even if its file was replaced.
    pub program: PathBuf,
    /// What tells it which of its lives this is.
    pub args: Vec<OsString>,
    /// Whom a module's process becomes if it starts as root; none: nobody (65534). Commands run as
    /// whoever starts them.
    pub user: Option<u32>,
}

impl Launcher {
    /// The running program, with these arguments.
    #[must_use]
    pub fn this_program(args: impl IntoIterator<Item = OsString>) -> Self {
        Self {
            program: "/proc/self/exe".into(),
            args: args.into_iter().collect(),
            user: None,
        }
    }

    /// The command, with an empty environment, in the root directory; see [`spawn`].
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().current_dir("/");
        command
    }
}

type Job = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Starts a process whose parent is a thread that lives as long as this program.
pub fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        // Without the thread the channel is closed, which every job then reports.
        let _ = std::thread::Builder::new()
            .name("fazai-spawner".into())
            .spawn(move || {
                for (mut command, reply) in inbox {
                    // Nobody waits for a caller that has gone; its process ends with the connection.
                    let _ = reply.send(command.spawn());
                }
            });
        jobs
    });
    let gone = || io::Error::other("the thread that starts processes could not be started");
    let (reply, answer) = mpsc::sync_channel(1);
    spawner.send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}
