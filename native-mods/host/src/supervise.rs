//! The handle of a loaded module: calls with a time limit, restarts, quarantine, reload.
//!
//! A module is given one call at a time, and the others wait for their turn within their own time
//! limit. One that runs inside the host's process and takes several (`FAZAI_MOD_THREADS`) is given
//! them side by side. Everything here blocks, and can be called from any thread.

mod call;
mod failure;
mod health;
mod inproc;
mod process;
mod stderr;
mod stream;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fazai_sandbox::{Launcher, Report};
use parking_lot::{Mutex, RwLock};

use self::call::Work;
use self::health::Health;
use self::inproc::InProcess;
use self::process::Process;
use crate::message::{COMMAND_BYTES_MAX, Descriptor};
use crate::verify::Checked;

pub use self::call::Call;
pub use self::failure::{Answer, Failure};

/// How long an answer about health is repeated: modules are asked once a second at most.
const HEALTH_AGE: Duration = Duration::from_secs(1);

/// What bounds a module. An entry of the manifest can set the first two for its module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// One call, from its turn on.
    pub call_timeout: Duration,
    /// What the module may map beyond what its process has already.
    pub memory_bytes_max: u64,
    /// Loading, with the module's constructors and its init.
    pub init_timeout: Duration,
    /// The module's cleanup.
    pub cleanup_timeout: Duration,
    /// How long a call may go on after it was stopped, or its reader wanted no more.
    pub stop_timeout: Duration,
    /// The buffer of a module that asks to be repeated with a larger one.
    pub result_bytes_max: usize,
    /// All pieces of a streamed answer together; it is stopped and cut there.
    pub stream_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(5),
            memory_bytes_max: 256 << 20,
            init_timeout: Duration::from_secs(5),
            cleanup_timeout: Duration::from_secs(2),
            stop_timeout: Duration::from_secs(1),
            result_bytes_max: 2 << 20,
            stream_bytes_max: 64 << 20,
        }
    }
}

/// Where modules run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolation {
    /// Each in a process of its own, which the sandbox confines.
    Process(Launcher),
    /// Inside the host's process. Only a module that is signed and that its entry calls trusted may
    /// do that, since nothing of [`Limits`] holds there but the lengths of answers, and whatever
    /// ends the module ends the host. A call that hangs hangs for ever: time limits bound the wait
    /// for a turn, and a [`Stop`](crate::Stop) what a module hands over in pieces.
    InProcess,
}

/// Which layers of the sandbox this system has for modules with no rights: starts a process that
/// enters them and ends.
pub fn probe(launcher: &Launcher) -> Result<Report, Failure> {
    Process::probe(launcher, &Limits::default())
}

/// How a module is, without asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The process of its own, if one is running. Unknown while a call runs.
    pub pid: Option<u32>,
    /// Ends other than by unload, in the last minute.
    pub crashes: usize,
    /// Whether it is not started again until [`Module::release`].
    pub quarantined: bool,
}

/// A loaded module. Dropping it ends its process without `cleanup`, and leaves one that runs inside
/// this process as it is; see [`Module::unload`].
#[derive(Debug)]
pub struct Module {
    name: String,
    isolation: Isolation,
    defaults: Limits,
    /// The version that new calls go to.
    current: RwLock<Arc<Version>>,
    /// Reloads take turns.
    reloading: Mutex<()>,
    health: Mutex<Health>,
}

/// A version that was started to take the place of another. Dropping it ends its process.
#[derive(Debug)]
pub struct Next(Version);

impl Next {
    /// What it says about itself.
    #[must_use]
    pub fn descriptor(&self) -> Option<&Descriptor> {
        self.0.descriptor.as_ref()
    }
}

/// One version of a module, which lives until its last call has ended.
#[derive(Debug)]
struct Version {
    checked: Checked,
    limits: Limits,
    descriptor: Option<Descriptor>,
    report: Report,
    /// Whether turns for calls are shared.
    side_by_side: bool,
    /// Held by whoever has a turn.
    slot: RwLock<Slot>,
}

#[derive(Debug)]
enum Slot {
    Running(Box<Process>),
    InProcess(InProcess),
    /// The process has crashed, and the next call starts another.
    Ended,
    /// The version was replaced or unloaded.
    Retired,
}

/// What a turn is for.
enum Job<'a> {
    Exec(&'a str, &'a mut dyn FnMut(String) -> ControlFlow<()>),
    Health,
}

impl Module {
    /// Starts a module's process, if it is to have one, and waits until the module is ready.
    pub fn load(checked: Checked, isolation: Isolation, limits: Limits) -> Result<Self, Failure> {
        let version = Version::start(checked, &isolation, &limits)?;
        Ok(Self {
            name: version.checked.entry.name.clone(),
            isolation,
            defaults: limits,
            current: RwLock::new(Arc::new(version)),
            reloading: Mutex::new(()),
            health: Mutex::new(Health::default()),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was loaded: the manifest's entry, the file, its hash.
    #[must_use]
    pub fn checked(&self) -> Checked {
        self.version().checked.clone()
    }

    /// What it says about itself; none for a module of version 0.
    #[must_use]
    pub fn descriptor(&self) -> Option<Descriptor> {
        self.version().descriptor.clone()
    }

    /// Which layers of the sandbox hold.
    #[must_use]
    pub fn report(&self) -> Report {
        self.version().report.clone()
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> Status {
        let version = self.version();
        let pid = version.slot.try_read().and_then(|slot| match &*slot {
            Slot::Running(process) => Some(process.pid()),
            Slot::InProcess(_) | Slot::Ended | Slot::Retired => None,
        });
        let mut health = self.health.lock();
        let crashes = health.crashes(Instant::now());
        Status {
            pid,
            crashes,
            quarantined: health.quarantined(),
        }
    }

    /// Runs a command and collects its answer.
    pub fn exec(&self, command: &str) -> Result<Answer, Failure> {
        let mut text = String::new();
        let answer = self.exec_stream(command, &Call::default(), &mut |piece| {
            if text.is_empty() {
                text = piece;
            } else {
                text.push_str(&piece);
            }
            ControlFlow::Continue(())
        })?;
        Ok(Answer { text, ..answer })
    }

    /// Runs a command and hands over its answer as it comes; the answer that is returned has no
    /// text then. A reader that breaks ends the answer soon.
    ///
    /// A call whose [`Stop`](crate::Stop) is raised fails with [`Failure::Stopped`]: while it waits for its
    /// turn when that comes, and later as soon as the module returns. One that does not return
    /// within [`Limits::stop_timeout`] is ended, and starts again with the next call; that is no
    /// crash.
    pub fn exec_stream(
        &self,
        command: &str,
        call: &Call,
        reader: &mut dyn FnMut(String) -> ControlFlow<()>,
    ) -> Result<Answer, Failure> {
        if command.len() > COMMAND_BYTES_MAX {
            return Err(Failure::CommandTooLong {
                bytes: command.len(),
            });
        }
        if let Some(at) = command.bytes().position(|byte| byte == 0) {
            return Err(Failure::CommandHasNul { at });
        }
        self.turn(call, &mut Job::Exec(command, reader))
    }

    /// Asks the module whether it can work. One that has no such function can, if it runs.
    pub fn health(&self) -> Result<Answer, Failure> {
        if let Some(answer) = self.health.lock().recent(HEALTH_AGE) {
            return Ok(answer);
        }
        let answer = self.turn(&Call::default(), &mut Job::Health)?;
        self.health.lock().remember(answer.clone());
        Ok(answer)
    }

    /// Puts another version in this one's place. The new one is started first: if that fails, the
    /// old one stays. A call that runs ends in the version that it began in.
    pub fn reload(&self, checked: Checked) -> Result<(), Failure> {
        self.replace(self.start_next(checked)?);
        Ok(())
    }

    /// Starts another version, beside the one that calls go to.
    pub fn start_next(&self, checked: Checked) -> Result<Next, Failure> {
        Version::start(checked, &self.isolation, &self.defaults).map(Next)
    }

    /// Has calls go to a version that was started for that.
    pub fn replace(&self, next: Next) {
        let _one_at_a_time = self.reloading.lock();
        let old = std::mem::replace(&mut *self.current.write(), Arc::new(next.0));
        self.health.lock().release();
        old.retire();
    }

    /// Waits for the calls that run, calls `cleanup`, and ends the process. Code inside this
    /// process stays there, and is not called again.
    pub fn unload(&self) {
        let _one_at_a_time = self.reloading.lock();
        self.version().retire();
    }

    /// Ends a quarantine: the next call starts the module again.
    pub fn release(&self) {
        self.health.lock().release();
    }

    fn version(&self) -> Arc<Version> {
        Arc::clone(&self.current.read())
    }

    /// Gives a job its turn in the version that is current then.
    fn turn(&self, call: &Call, job: &mut Job<'_>) -> Result<Answer, Failure> {
        loop {
            let version = self.version();
            let limit = call.limit.unwrap_or(version.limits.call_timeout);
            let wait = Work::new("turn", limit).unless(call.stop.as_ref());
            match self.take_turn(&version, &wait, job) {
                // Replaced while this call waited: its turn is in the new version.
                Err(Failure::Unloaded { .. }) if !Arc::ptr_eq(&version, &self.version()) => {}
                result => return result,
            }
        }
    }

    /// Waits for a turn, has a process ready, and uses it. A failure that ended the process is a
    /// crash, unless the caller wanted that.
    fn take_turn(
        &self,
        version: &Version,
        wait: &Work<'_>,
        job: &mut Job<'_>,
    ) -> Result<Answer, Failure> {
        let unloaded = || Failure::Unloaded {
            module: self.name.clone(),
        };
        if version.side_by_side && matches!(job, Job::Exec(..)) {
            let slot = self.granted(version.slot.try_read_until(wait.until), wait)?;
            return match &*slot {
                Slot::InProcess(module) => module.perform(job, &version.limits, wait),
                _ => Err(unloaded()),
            };
        }
        let mut slot = self.granted(version.slot.try_write_until(wait.until), wait)?;
        if let Slot::InProcess(module) = &*slot {
            return module.perform(job, &version.limits, wait);
        }
        // While it is out of its place nothing brings it back but this function, so that a reader
        // that panics leaves no process in the middle of a call.
        let mut process = match std::mem::replace(&mut *slot, Slot::Ended) {
            Slot::Running(process) => process,
            Slot::Ended => self.restart(version, wait)?,
            other => {
                *slot = other;
                return Err(unloaded());
            }
        };
        let result = process.perform(job, &version.limits, wait);
        if process.runs() {
            *slot = Slot::Running(process);
        }
        result.inspect_err(|failure| self.note(failure))
    }

    /// A turn, if it came in time and is still wanted.
    fn granted<T>(&self, turn: Option<T>, wait: &Work<'_>) -> Result<T, Failure> {
        let module = || self.name.clone();
        if wait.stopped() {
            return Err(Failure::Stopped { module: module() });
        }
        turn.ok_or_else(|| Failure::Busy {
            module: module(),
            waited: wait.limit,
        })
    }

    /// Starts the process again, after the wait that its last crashes ask for.
    fn restart(&self, version: &Version, wait: &Work<'_>) -> Result<Box<Process>, Failure> {
        let module = || self.name.clone();
        let start_at = {
            let health = self.health.lock();
            if health.quarantined() {
                return Err(Failure::Quarantined { module: module() });
            }
            health.start_at()
        };
        if let Some(at) = start_at {
            if at > wait.until {
                return Err(Failure::Restarting {
                    module: module(),
                    wait: at.saturating_duration_since(Instant::now()),
                });
            }
            if wait.sleep_until(at) {
                return Err(Failure::Stopped { module: module() });
            }
        }
        let Isolation::Process(launcher) = &self.isolation else {
            // What runs inside this process does not end without it.
            return Err(Failure::Unloaded { module: module() });
        };
        Process::start(&version.checked, launcher, &version.limits, wait.stop)
            .map(|(process, _, _)| Box::new(process))
            .inspect_err(|failure| self.note(failure))
    }

    /// Counts a failure that ended the process.
    fn note(&self, failure: &Failure) {
        if matches!(failure, Failure::Stopped { .. }) {
            return;
        }
        tracing::warn!(module = self.name, %failure, "a module failed");
        self.health.lock().crashed(Instant::now());
    }
}

impl Version {
    fn start(checked: Checked, isolation: &Isolation, defaults: &Limits) -> Result<Self, Failure> {
        let mut limits = defaults.clone();
        let entry = &checked.entry;
        if let Some(ms) = entry.call_timeout_ms {
            limits.call_timeout = Duration::from_millis(ms);
        }
        if let Some(bytes) = entry.memory_bytes_max {
            limits.memory_bytes_max = bytes;
        }
        let (slot, descriptor, report) = match isolation {
            Isolation::Process(launcher) => {
                let started = Process::start(&checked, launcher, &limits, None)?;
                (Slot::Running(Box::new(started.0)), started.1, started.2)
            }
            Isolation::InProcess => {
                let started = InProcess::start(&checked)?;
                (Slot::InProcess(started.0), started.1, started.2)
            }
        };
        let side_by_side = matches!(&slot, Slot::InProcess(module) if module.side_by_side());
        Ok(Self {
            checked,
            limits,
            descriptor,
            report,
            side_by_side,
            slot: RwLock::new(slot),
        })
    }

    fn retire(&self) {
        let slot = std::mem::replace(&mut *self.slot.write(), Slot::Retired);
        match slot {
            Slot::Running(mut process) => process.cleanup(&self.limits),
            Slot::InProcess(module) => module.cleanup(),
            Slot::Ended | Slot::Retired => {}
        }
    }
}
