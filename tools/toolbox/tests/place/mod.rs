//! A gate whose person says yes, and programs under a keeper.
#![allow(dead_code, reason = "each test program uses a part")]

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fazai_sandbox::{Launcher, Stop};
use fazai_toolbox::{Host, McpServer, ToolError};
use fazai_tools::{
    Action, Approvals, Approvers, AuditLog, AuditOptions, Caller, Choice, Confinement, Gate, How,
    OwnFiles, Passage, Permit, Policy, Request, User,
};
use jiff::civil::date;
use serde_json::Value;

/// A profile that asks for what it does not know, and allows tools that change nothing.
const ASKS: &str = r#"
    default_profile = "asks"
    [profiles.asks]
    opaque = "ask"
    otherwise = "ask"
    read_only = false
"#;

/// Whoever runs a tool, in a test.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    gate: Gate,
    pub(crate) stop: Stop,
    pub(crate) said: Mutex<Vec<String>>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(ASKS)
    }

    pub(crate) fn with(policy: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let audit = AuditLog::open(AuditOptions::new(directory.path().join("audit")));
        let policy = Policy::parse(policy).expect("a policy");
        let gate = Gate::new(
            policy.into(),
            audit.expect("a record"),
            Approvals::default(),
        );
        Self {
            directory,
            gate,
            stop: Stop::new().expect("a stop"),
            said: Mutex::default(),
        }
    }

    /// The actions for which there was a permit.
    pub(crate) fn granted(&self) -> Vec<Value> {
        let granted =
            |one: &Value| one["decision"]["verdict"] == "allow" || !one["approved_by"].is_null();
        let decided =
            (self.entries().into_iter()).filter(|one| one["event"] == "decided" && granted(one));
        decided.map(|one| one["action"].clone()).collect()
    }

    /// What is in the record.
    pub(crate) fn entries(&self) -> Vec<Value> {
        let file = self.directory.path().join("audit/audit-000001.ndjson");
        let text = std::fs::read_to_string(file).expect("a record");
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("JSON")
    }
}

impl Host for Place {
    fn permit(&self, action: Action) -> Result<Permit, ToolError> {
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
        let refused = |error: fazai_tools::GateError| ToolError::Refused(error.to_string());
        let waiting = match self.gate.request(request).map_err(refused)? {
            Passage::Granted(permit) => return Ok(permit),
            Passage::Asked(waiting, _) => waiting,
        };
        let approvals = self.gate.approvals();
        approvals
            .answer(&waiting.id, &caller, Choice::Once, "", Instant::now())
            .expect("taken");
        self.gate
            .enter(waiting.wait().expect("a yes"), now)
            .map_err(refused)
    }

    fn say(&self, text: &str) {
        self.said.lock().expect("said").push(text.to_owned());
    }

    fn stop(&self) -> &Stop {
        &self.stop
    }

    fn how(&self, permit: &Permit) -> How {
        How {
            launcher: Launcher {
                program: program(),
                args: vec!["keep".into()],
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
            timeout: Duration::from_secs(30),
            term_grace: Duration::from_millis(500),
            output_bytes_max: 1 << 20,
            stdin: None,
            merge_stderr: false,
        }
    }
}

/// The example `mcp_server`, which is built together with the tests.
pub(crate) fn program() -> PathBuf {
    let tests = std::env::current_exe().expect("this program");
    let built = tests
        .parent()
        .and_then(|deps| deps.parent())
        .expect("a directory");
    let program = built.join("examples/mcp_server");
    assert!(
        program.exists(),
        "{} is missing: run all tests of the package, or `cargo build -p fazai-toolbox --example \
         mcp_server` with the same profile",
        program.display()
    );
    program
}

/// A server with this command, and no rights.
pub(crate) fn server(name: &str, command: &[&str]) -> McpServer {
    let words: String = command.iter().map(|word| format!("{word:?}, ")).collect();
    let text = format!("[servers.{name}]\ncommand = [{words}]\ntimeout_s = 20");
    fazai_toolbox::read_servers(&text)
        .expect("a server")
        .remove(0)
}

/// Waits until something is so.
pub(crate) fn soon(what: impl Fn() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        if what() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Whether a process runs that has this word among its arguments.
pub(crate) fn runs(mark: &str) -> bool {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let mut lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| {
        line.split(|byte| *byte == 0)
            .any(|word| word == mark.as_bytes())
    })
}
