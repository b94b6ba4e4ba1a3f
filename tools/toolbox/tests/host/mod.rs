//! A host with a real gate and a real keeper of commands.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "parameters are written where they are used"
)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fazai_sandbox::{Launcher, Stop};
use fazai_toolbox::{BuiltIn, Host, Settings, ToolError, Toolbox, call, wants};
use fazai_tools::{
    Action, Approvals, Approvers, AuditLog, AuditOptions, Caller, Choice, Confinement, Gate, How,
    OwnFiles, Passage, Permit, Policy, Request, User,
};
use jiff::civil::date;
use serde_json::Value;

/// Asks for everything.
pub(crate) const ASKS: &str =
    "default_profile = \"p\"\n[profiles.p]\nopaque = \"ask\"\notherwise = \"ask\"";

pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    gate: Gate,
    /// What the person says who is asked.
    yes: bool,
    stop: Stop,
    pub(crate) said: Mutex<String>,
    toolbox: Toolbox,
}

impl Place {
    /// With this policy; who is asked says yes.
    pub(crate) fn new(policy: &str) -> Self {
        Self::with(policy, true, Settings::default())
    }

    /// With a ready profile; who is asked says no.
    pub(crate) fn ready(profile: &str) -> Self {
        let policy = format!("default_profile = \"{profile}\"");
        Self::with(&policy, false, Settings::default())
    }

    /// With a policy that does not look where paths lead.
    pub(crate) fn blind(policy: &str) -> Self {
        let policy = Policy::parse(policy).expect("a policy");
        Self::of(policy, true, Settings::default())
    }

    pub(crate) fn with(policy: &str, yes: bool, settings: Settings) -> Self {
        let policy = Policy::parse(policy).expect("a policy");
        let real_path = Box::new(|path: &Path| path.canonicalize().ok());
        Self::of(policy.with_real_path(real_path), yes, settings)
    }

    fn of(policy: Policy, yes: bool, settings: Settings) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let audit = directory.path().join("audit");
        let audit = AuditLog::open(AuditOptions::new(&audit)).expect("a record");
        Self {
            directory,
            gate: Gate::new(Arc::new(policy), audit, Approvals::default()),
            yes,
            stop: Stop::new().expect("a stop"),
            said: Mutex::default(),
            toolbox: Toolbox::new(vec![Arc::new(BuiltIn::new(settings))]),
        }
    }

    pub(crate) fn toolbox(&self) -> &Toolbox {
        &self.toolbox
    }

    pub(crate) fn call(&self, name: &str, params: Value) -> Result<Value, ToolError> {
        call(&*self.toolbox.get(name, self)?, &params, self)
    }

    #[track_caller]
    pub(crate) fn done(&self, name: &str, params: Value) -> Value {
        self.call(name, params.clone())
            .unwrap_or_else(|fault| panic!("{name} {params}: {fault}"))
    }

    /// The text of why it was not done.
    #[track_caller]
    pub(crate) fn fault(&self, name: &str, params: Value) -> String {
        match self.call(name, params.clone()) {
            Ok(answer) => panic!("{name} {params}: {answer}"),
            Err(fault) => fault.to_string(),
        }
    }

    /// Whether the gate gave no permit.
    #[track_caller]
    pub(crate) fn refused(&self, name: &str, params: Value) {
        match self.call(name, params.clone()) {
            Err(ToolError::Refused(_)) => {}
            other => panic!("{name} {params}: {other:?}"),
        }
    }

    pub(crate) fn wants(&self, name: &str, params: &Value) -> Vec<Action> {
        let tool = self.toolbox.get(name, self).expect("a tool");
        wants(&*tool, params).expect("what it wants")
    }

    /// The record.
    pub(crate) fn entries(&self) -> Vec<Value> {
        let file = self.directory.path().join("audit/audit-000001.ndjson");
        let text = std::fs::read_to_string(file).expect("a record");
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        let path = self.directory.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    }
}

impl Host for Place {
    fn permit(&self, action: Action) -> Result<Permit, ToolError> {
        let no = |fault: &dyn std::fmt::Display| ToolError::Refused(fault.to_string());
        let caller = Caller::User(User {
            uid: 1000,
            groups: vec![],
            name: "anna".into(),
        });
        let now = date(2026, 6, 1).at(12, 0, 0, 0);
        let request = Request {
            caller: caller.clone(),
            session: None,
            action,
            now,
            approvers: Approvers::Caller,
            patience: Duration::from_secs(10),
        };
        let waiting = match self.gate.request(request).map_err(|fault| no(&fault))? {
            Passage::Granted(permit) => return Ok(permit),
            Passage::Asked(waiting, _) => waiting,
        };
        let choice = if self.yes { Choice::Once } else { Choice::Deny };
        let approvals = self.gate.approvals();
        approvals
            .answer(&waiting.id, &caller, choice, "", Instant::now())
            .expect("taken");
        let approved = waiting.wait().map_err(|fault| no(&fault))?;
        self.gate.enter(approved, now).map_err(|fault| no(&fault))
    }

    fn say(&self, text: &str) {
        self.said.lock().expect("no panic").push_str(text);
    }

    fn stop(&self) -> &Stop {
        &self.stop
    }

    fn how(&self, permit: &Permit) -> How {
        How {
            launcher: Launcher {
                program: env!("CARGO_BIN_EXE_fazai-toolbox-keeper").into(),
                args: Vec::new(),
                user: None,
            },
            confinement: Confinement::of(
                permit,
                OwnFiles {
                    secret: vec![self.directory.path().join("audit")],
                    ..OwnFiles::default()
                },
            ),
            groups: None,
            timeout: Duration::from_secs(60),
            term_grace: Duration::from_millis(500),
            output_bytes_max: 1 << 20,
            stdin: None,
            merge_stderr: false,
        }
    }
}
