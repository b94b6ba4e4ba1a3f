//! A host with a real gate and a real keeper of commands, for whoever runs a tool in a test.
#![allow(dead_code, reason = "each test program uses a part")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fazai_sandbox::{Launcher, Stop};
use fazai_toolbox::{Host, ToolError};
use fazai_tools::{
    Action, Approvals, Approvers, AuditLog, AuditOptions, Caller, Choice, Confinement, Gate, How,
    OwnFiles, Passage, Permit, Policy, Request, User,
};
use jiff::civil::date;
use serde_json::Value;

/// Asks for what it does not know.
pub(crate) const ASKS: &str =
    "default_profile = \"p\"\n[profiles.p]\nopaque = \"ask\"\notherwise = \"ask\"";

/// The host. Its audit is in a directory of its own, where tests may put files too.
pub(crate) struct TestHost {
    pub(crate) directory: tempfile::TempDir,
    gate: Gate,
    /// What the person says who is asked.
    yes: bool,
    /// Whether it refuses everything.
    pub(crate) refuses: AtomicBool,
    /// The program that keeps commands, and its arguments.
    pub(crate) keeper: (PathBuf, Vec<OsString>),
    pub(crate) timeout: Duration,
    pub(crate) stop: Stop,
    /// What tools said.
    pub(crate) said: Mutex<Vec<String>>,
    /// For what a permit was asked.
    pub(crate) asked: Mutex<Vec<Action>>,
}

impl TestHost {
    /// With this policy; who is asked says yes, or no.
    pub(crate) fn new(policy: Policy, yes: bool) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let audit = AuditLog::open(AuditOptions::new(directory.path().join("audit")));
        let audit = audit.expect("a record");
        Self {
            directory,
            gate: Gate::new(policy.into(), audit, Approvals::default()),
            yes,
            refuses: AtomicBool::new(false),
            keeper: (env!("CARGO_BIN_EXE_fazai-toolbox-keeper").into(), vec![]),
            timeout: Duration::from_secs(60),
            stop: Stop::new().expect("a stop"),
            said: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// The record.
    pub(crate) fn entries(&self) -> Vec<Value> {
        let file = self.directory.path().join("audit/audit-000001.ndjson");
        let text = std::fs::read_to_string(file).expect("a record");
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("JSON")
    }

    /// The actions for which there was a permit.
    pub(crate) fn granted(&self) -> Vec<Value> {
        let granted =
            |one: &Value| one["decision"]["verdict"] == "allow" || !one["approved_by"].is_null();
        let decided =
            (self.entries().into_iter()).filter(|one| one["event"] == "decided" && granted(one));
        decided.map(|one| one["action"].clone()).collect()
    }

    /// A file of this name in its directory.
    pub(crate) fn path(&self, name: &str) -> String {
        let path = self.directory.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    }
}

impl Host for TestHost {
    fn permit(&self, action: Action) -> Result<Permit, ToolError> {
        self.asked.lock().expect("no panic").push(action.clone());
        let no = |fault: &dyn std::fmt::Display| ToolError::Refused(fault.to_string());
        if self.refuses.load(Ordering::Relaxed) {
            return Err(no(&"the policy says no"));
        }
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
        self.said.lock().expect("no panic").push(text.to_owned());
    }

    fn stop(&self) -> &Stop {
        &self.stop
    }

    fn how(&self, permit: &Permit) -> How {
        let (program, args) = self.keeper.clone();
        let own = OwnFiles {
            secret: vec![self.directory.path().join("audit")],
            ..OwnFiles::default()
        };
        How {
            launcher: Launcher {
                program,
                args,
                user: None,
            },
            confinement: Confinement::of(permit, own),
            groups: None,
            timeout: self.timeout,
            term_grace: Duration::from_millis(500),
            output_bytes_max: 1 << 20,
            stdin: None,
            merge_stderr: false,
        }
    }
}
