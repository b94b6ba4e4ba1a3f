//! What is done on the machine: the policy in force, and the gate before every side effect.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use fazai_sandbox::Launcher;
use fazai_tools::{
    Action, ApprovalError, Approvals, Approvers, AuditError, AuditLog, AuditOptions, Caller,
    Confinement, Decision, Gate, GateError, GroupLimits, Groups, How, Outcome, OwnFiles, Passage,
    Permit, Policy, Request, real_path,
};
use tokio::sync::watch;
use tracing::{error, info};

use crate::config::{Cgroup, PolicySettings, Settings};
use crate::live::User;
use crate::lock::lock;
use crate::policy::{self, PolicyFault};
use crate::process::command_launcher;

/// From SIGTERM to SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// Why nothing can be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActingFault {
    #[error(transparent)]
    Policy(#[from] PolicyFault),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Gate(#[from] GateError),
}

/// The policy and the gate, each read or opened when it is first needed: a worker that only
/// answers has neither.
pub(crate) struct Acting {
    settings: watch::Receiver<Arc<Settings>>,
    policy: Mutex<Option<Arc<Policy>>>,
    gate: Mutex<Option<Arc<Gate>>>,
    /// Where commands get control groups, or why they get none.
    groups: Result<Arc<Groups>, String>,
    /// Why commands do not see the file system without the worker's own files, if so; tried when it
    /// is first asked for, since that takes a process.
    own_view: OnceLock<Result<(), String>>,
}

impl Acting {
    /// To be called before anything is started: the worker's own group may have to be left.
    pub(crate) fn new(settings: watch::Receiver<Arc<Settings>>) -> Self {
        let groups = open_groups(&settings.borrow().policy);
        match &groups {
            Ok(groups) => info!(dir = %groups.dir().display(), "commands get control groups"),
            Err(why) => info!(%why, "commands get no control groups"),
        }
        Self {
            settings,
            policy: Mutex::default(),
            gate: Mutex::default(),
            groups,
            own_view: OnceLock::new(),
        }
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> Result<Arc<Policy>, PolicyFault> {
        let mut policy = lock(&self.policy);
        if let Some(policy) = &*policy {
            return Ok(Arc::clone(policy));
        }
        let settings = self.settings();
        let read = policy::load(&settings.policy)?.with_own_files(own_files(&settings));
        let read = Arc::new(read);
        *policy = Some(Arc::clone(&read));
        Ok(read)
    }

    /// What the policy says, without doing or recording anything.
    pub(crate) fn decide(&self, user: User, action: &Action) -> Result<Decision, PolicyFault> {
        let now = jiff::Zoned::now().datetime();
        Ok(self.policy()?.decide(&caller(user), action, now))
    }

    /// The gate; the first one who wants it opens the audit log.
    pub(crate) fn gate(&self) -> Result<Arc<Gate>, ActingFault> {
        let mut gate = lock(&self.gate);
        if let Some(gate) = &*gate {
            return Ok(Arc::clone(gate));
        }
        let policy = self.policy()?;
        let audit = AuditLog::open(AuditOptions::new(&self.settings().policy.audit_dir))?;
        let opened = Arc::new(Gate::new(policy, audit, Approvals::default()));
        *gate = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// How the keeper of a command is started, if it can be.
    pub(crate) fn launcher(&self) -> Option<Launcher> {
        command_launcher(self.settings().modules.program.as_deref())
    }

    /// In what way a program runs that has this permit.
    pub(crate) fn how(&self, launcher: Launcher, permit: &Permit) -> How {
        let settings = self.settings();
        let own = own_files(&settings);
        let settings = &settings.policy;
        How {
            launcher,
            confinement: Confinement::of(permit, own),
            groups: self.groups.as_ref().ok().cloned(),
            timeout: Duration::from_millis(settings.command_timeout_ms),
            term_grace: TERM_GRACE,
            output_bytes_max: settings.output_bytes_max,
            stdin: None,
            merge_stderr: true,
        }
    }

    /// Whether they get any, for people.
    pub(crate) fn groups_state(&self) -> String {
        match &self.groups {
            Ok(groups) => format!("on: {}", groups.dir().display()),
            Err(why) => format!("off: {why}"),
        }
    }

    /// Whether what the policy allows by itself is kept from the worker's own files by a view of its
    /// own, for people.
    pub(crate) fn own_view_state(&self) -> String {
        match self.own_view.get_or_init(fazai_sandbox::own_view) {
            Ok(()) => "on".to_owned(),
            Err(why) => format!("off: {why}"),
        }
    }

    /// The gate, if there is one already: without it no question can be waiting.
    pub(crate) fn open_gate(&self) -> Option<Arc<Gate>> {
        lock(&self.gate).clone()
    }

    /// A request to the gate on behalf of a user.
    pub(crate) fn request(&self, user: User, session: Option<String>, action: Action) -> Request {
        Request {
            caller: caller(user),
            session,
            action,
            now: jiff::Zoned::now().datetime(),
            approvers: administrators(),
            patience: Duration::from_millis(self.settings().policy.approval_timeout_ms),
        }
    }

    /// A permit for what the policy allows by itself: what it would ask about is denied.
    pub(crate) fn permit_without_asking(
        &self,
        user: User,
        action: Action,
    ) -> Result<Permit, ActingFault> {
        let request = Request {
            approvers: Approvers::Nobody,
            ..self.request(user, None, action)
        };
        match self.gate()?.request(request)? {
            Passage::Granted(permit) => Ok(permit),
            Passage::Asked(..) => Err(GateError::from(ApprovalError::NobodyToAsk).into()),
        }
    }

    /// A permit for what the worker does of its own accord, with its own user's rights.
    pub(crate) fn permit_own(&self, action: Action) -> Result<Permit, ActingFault> {
        let own = User::Uid(rustix::process::getuid().as_raw());
        self.permit_without_asking(own, action)
    }

    /// Does something of the worker's own accord, and records how it ended. What fails is in the
    /// inner result.
    pub(crate) fn do_own<T, E: Display>(
        &self,
        action: Action,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<Result<T, E>, ActingFault> {
        let permit = self.permit_own(action)?;
        let done = work();
        permit.finish(Outcome::of(&done))?;
        Ok(done)
    }

    /// Reads the policy again. One with a mistake is refused whole, and the old one stays.
    pub(crate) fn reload(&self) {
        if lock(&self.policy).is_none() {
            return;
        }
        let settings = self.settings();
        let read = match policy::load(&settings.policy) {
            Ok(read) => Arc::new(read.with_own_files(own_files(&settings))),
            Err(fault) => return error!(%fault, "the old policy stays in force"),
        };
        // The gate before the policy, as everywhere: who has both must not wait for who has both.
        let gate = lock(&self.gate);
        if let Some(gate) = &*gate {
            gate.replace_policy(Arc::clone(&read));
        }
        *lock(&self.policy) = Some(read);
        info!("policy read again");
    }

    /// Signs the end of the record, so that a cut end is found.
    pub(crate) fn sign_head(&self) {
        if let Some(gate) = self.open_gate()
            && let Err(fault) = gate.sign_head()
        {
            error!(%fault, "the end of the audit log can't be signed");
        }
    }
}

fn open_groups(settings: &PolicySettings) -> Result<Arc<Groups>, String> {
    let dir = match &settings.cgroup {
        Cgroup::Off => return Err("the settings say so".to_owned()),
        Cgroup::Auto => None,
        Cgroup::Dir(dir) => Some(dir.as_path()),
    };
    let memory = match settings.command_memory_bytes_max {
        0 => fazai_models::memory::available().map(|free| free / 4 * 3),
        most => Some(most),
    };
    let limits = GroupLimits {
        memory_bytes: memory,
        processes: Some(settings.command_processes_max).filter(|most| *most > 0),
    };
    Groups::open(dir, limits)
}

/// What belongs to the worker, wherever the settings put it.
pub(crate) fn own_files(settings: &Settings) -> OwnFiles {
    let secret = [
        &settings.policy.audit_dir,
        &settings.policy.file,
        &settings.tools.runs_dir,
        &settings.tools.servers,
        &settings.memory.dir,
        &settings.memory.episodes.dir,
        &settings.cloud.budget_dir,
        &settings.watch.state_dir,
    ];
    let keys = settings.memory.server_key_file.iter();
    let keys = keys.chain(settings.cloud.key_files());
    OwnFiles {
        secret: with_real(secret.into_iter().chain(&settings.files).chain(keys)),
        kept: with_real(
            [
                &settings.tools.dir,
                &settings.modules.dir,
                &settings.modules.trusted_keys,
                &settings.model.dir,
                &settings.model.prompt_store,
                &settings.memory.personalities,
            ]
            .into_iter()
            .chain(&settings.watch.rules),
        ),
    }
}

/// Paths as the settings have them, and where they lead.
fn with_real<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
    let named = paths.into_iter().filter(|path| path.is_absolute());
    // What is not there yet is made later, behind the same links.
    named
        .flat_map(|path| [Some(path.clone()), real_path(path)])
        .flatten()
        .collect()
}

/// A client, as the policy knows one.
pub(crate) fn caller(user: User) -> Caller {
    match user {
        User::Uid(uid) => policy::user(uid),
        // There is one token for all.
        User::Tcp => Caller::Token("tcp".to_owned()),
    }
}

/// Who may say yes: root and the worker's own user. Others may not allow themselves what the
/// policy asks about.
fn administrators() -> Approvers {
    Approvers::Any(vec![policy::user(0), policy::own_user()])
}
