//! The keeper of a command: a process that starts it, adopts what it orphans, and ends it all.
//!
//! It is not told to end with the worker, as a module's process is: it would be gone before it had
//! ended anything. It waits for its connection to close instead.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};
use std::time::{Duration, Instant};

use fazai_sandbox::{State, Wait, Wire, WireError, poll_until};
use rustix::event::PollFlags;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, getpid,
    kill_process_group, pidfd_open, set_child_subreaper, setsid, wait, waitid,
};

use super::family;
use super::group::Way;
use super::order::{ORDER_BYTES_MAX, Order, Refusal, Said, read, send};

/// How the process ends when it has lost the worker.
const EXIT_LOST: i32 = 70;

/// How long killed processes are waited for; one in a device's driver may take for ever.
pub(super) const LAST_WAIT: Duration = Duration::from_secs(5);

/// How often orphans that have ended are waited for while the command runs.
const REAP_EVERY: Duration = Duration::from_secs(5);

/// How often it is looked whether all have followed a SIGTERM.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The life of the keeper of one command. The program calls this first thing when it was started
/// with the arguments of [`How::launcher`](super::How::launcher); standard input is the connection.
pub fn confined_main() -> ! {
    match keep() {
        Ok(()) => exit(0),
        Err(_) => exit(EXIT_LOST),
    }
}

fn keep() -> Result<(), WireError> {
    let mut wire = Wire::inherited(ORDER_BYTES_MAX)?;
    let [stdin] = wire.recv_descriptors()?;
    let order: Order = read(&wire.recv(Wait::FOREVER)?)?;
    let said = match start(&order, stdin) {
        Ok(command) => Keeper {
            me: getpid(),
            command,
            ended: pidfd_open(command, PidfdFlags::empty())?,
        }
        .watch(&wire, order.term_grace),
        Err(refusal) => Said::Refused(refusal),
    };
    send(&mut wire, &said, Wait::FOREVER)
}

/// Enters the sandbox and starts the command in it.
fn start(order: &Order, stdin: OwnedFd) -> Result<Pid, Refusal> {
    // A session has no terminal at first: a program that wants a password fails instead of asking
    // on the terminal of whoever started the worker.
    setsid()
        .and_then(|_| set_child_subreaper(Some(getpid())))
        .map_err(|error| Refusal::Sandbox(error.to_string()))?;
    let group = order.group.as_ref().map(Way::enter).transpose();
    let group = group.map_err(|error| Refusal::Group(number(&error)))?;
    confine(order)?;
    std::env::set_current_dir(&order.cwd).map_err(|error| Refusal::Directory(number(&error)))?;
    let mut command = Command::new(&order.argv[0]);
    command
        .args(&order.argv[1..])
        .env_clear()
        .envs(&order.env)
        .stdin(stdin)
        // A group without the keeper: scripts signal their group, and mean only themselves.
        .process_group(0);
    if order.wanted.files.is_some() {
        fazai_sandbox::set_apart(&mut command);
    }
    let child = command.spawn();
    let child = child.map_err(|error| Refusal::Program(number(&error)))?;
    // The keeper must live when the group is ended for its memory. If it can't leave, the loss of
    // it is noticed.
    let left = group.map(|mut back| io::Write::write_all(&mut back, b"0"));
    drop(left);
    // The output ends when the command closes it, whether the keeper lives or not.
    let null = File::options().write(true).open("/dev/null");
    let closed = null.and_then(|null| {
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        Ok(())
    });
    // Without /dev/null it ends a little later, with the keeper.
    drop(closed);
    Ok(Pid::from_child(&child))
}

/// A layer that is wanted and missing is no sandbox: nobody looks at warnings here.
fn confine(order: &Order) -> Result<(), Refusal> {
    let report = fazai_sandbox::enter(&order.wanted).map_err(Refusal::Sandbox)?;
    for layer in report.layers {
        if let State::Off(why) = layer.state {
            return Err(Refusal::Sandbox(format!("{}: {why}", layer.name)));
        }
    }
    Ok(())
}

fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or_default()
}

struct Keeper {
    me: Pid,
    /// Not waited for before the end, so that its number stays its own, and its group's.
    command: Pid,
    /// Ready to read once the command has ended.
    ended: OwnedFd,
}

impl Keeper {
    /// Waits for the end, or brings it about when the connection closes.
    fn watch(&self, wire: &Wire, grace: Duration) -> Said {
        let wanted = self.wait_while_wanted(wire);
        if !wanted {
            self.terminate(grace);
        }
        let status = self.kill_all();
        Said::Ended {
            exit_code: status.and_then(WaitStatus::exit_status),
            signal: status.and_then(WaitStatus::terminating_signal),
        }
    }

    /// True: the command has ended by itself.
    fn wait_while_wanted(&self, wire: &Wire) -> bool {
        loop {
            let mut wait = Wait::of(REAP_EVERY);
            wait.wake = Some(wire.socket());
            match poll_until(self.ended.as_fd(), PollFlags::IN, wait) {
                Err(WireError::TimedOut) => family::reap_others(self.me, self.command),
                Ok(()) => return true,
                Err(_) => return self.has_ended(),
            }
        }
    }

    /// Asks all to end, and waits for that.
    fn terminate(&self, grace: Duration) {
        let until = Instant::now() + grace;
        let _ = kill_process_group(self.command, Signal::TERM);
        family::signal_descendants(self.me, Signal::TERM);
        while Instant::now() < until && !(self.has_ended() && family::is_alone(self.me)) {
            std::thread::sleep(LOOK_EVERY.min(until.saturating_duration_since(Instant::now())));
        }
    }

    /// Kills what is left, the orphans that it leaves as well, and says how the command ended.
    fn kill_all(&self) -> Option<WaitStatus> {
        let until = Instant::now() + LAST_WAIT;
        let mut status = None;
        // At once, so that nothing that forks fast gets away.
        let _ = kill_process_group(self.command, Signal::KILL);
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, how))) if pid == self.command => status = Some(how),
                Ok(Some(_)) => {}
                Ok(None) if Instant::now() < until => {
                    family::signal_descendants(self.me, Signal::KILL);
                    std::thread::sleep(Duration::from_millis(1));
                }
                // Nobody is left, or nobody who can be ended.
                Ok(None) | Err(_) => return status,
            }
        }
    }

    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::Pid(self.command), options), Ok(Some(_)))
    }
}
