//! A host whose policy allows every tool what it has the rights for, and remembers what was asked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use fazai_sandbox::{Launcher, Stop};
use fazai_toolbox::{Broken, Files, FilesOptions, Host, Source, Tool, ToolError, call};
use fazai_tools::{
    Action, Approvals, Approvers, AuditLog, AuditOptions, Caller, Confinement, Gate, How, OwnFiles,
    Passage, Permit, Policy, Request, ToolCall, User,
};
use serde_json::Value;

const POLICY: &str = r#"
    default_profile = "tools"
    [profiles.tools]
    read_only = false
    [[profiles.tools.rules]]
    name = "all-tools"
    decision = "allow"
    actions = ["call_tool"]
    names = ["*"]
    rights = ["network", "change"]
    reason = "this is a test"
"#;

pub(crate) struct Bench {
    pub(crate) tools: PathBuf,
    pub(crate) timeout: Duration,
    /// Whether it refuses everything.
    pub(crate) refuses: AtomicBool,
    pub(crate) files: Files,
    stop: Stop,
    gate: Gate,
    said: Mutex<Vec<String>>,
    asked: Mutex<Vec<ToolCall>>,
    _directory: tempfile::TempDir,
}

impl Bench {
    /// With these files in the directory of tools.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let record = directory.path().join("record");
        let tools = directory.path().join("tools");
        for path in [&record, &tools] {
            fs::create_dir(path).expect("made");
            mode(path, 0o755);
        }
        let audit = AuditLog::open(AuditOptions::new(record)).expect("a record");
        let policy = Policy::parse(POLICY).expect("a policy");
        let bench = Self {
            timeout: Duration::from_secs(60),
            refuses: AtomicBool::new(false),
            files: Files::new(FilesOptions {
                directory: tools.clone(),
                node: None,
                python: system("/usr/bin/python3"),
            }),
            tools,
            stop: Stop::new().expect("a descriptor"),
            gate: Gate::new(policy.into(), audit, Approvals::default()),
            said: Mutex::default(),
            asked: Mutex::default(),
            _directory: directory,
        };
        for (name, text) in files {
            bench.write(name, text);
        }
        bench
    }

    /// Writes a tool; it can be run if its first line says how.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.tools.join(name);
        fs::write(&path, text).expect("written");
        mode(&path, if text.starts_with("#!") { 0o755 } else { 0o644 });
    }

    pub(crate) fn list(&self) -> Vec<Result<std::sync::Arc<dyn Tool>, Broken>> {
        self.files.tools(self)
    }

    /// Why a tool can't be used.
    #[track_caller]
    pub(crate) fn problem(&self, name: &str) -> String {
        match self.files.tool(name, self) {
            Some(Err(broken)) => broken.problem,
            Some(Ok(_)) => panic!("`{name}` can be used"),
            None => panic!("there is no `{name}`"),
        }
    }

    pub(crate) fn call(&self, name: &str, params: &Value) -> Result<Value, ToolError> {
        match self.files.tool(name, self) {
            None => Err(ToolError::NotFound(name.into())),
            Some(Err(broken)) => Err(ToolError::Broken {
                name: broken.name,
                problem: broken.problem,
            }),
            Some(Ok(tool)) => call(tool.as_ref(), params, self),
        }
    }

    /// What was said since this was asked last.
    pub(crate) fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().expect("no panic"))
    }

    /// For what a permit was asked since this was asked last.
    pub(crate) fn asked(&self) -> Vec<ToolCall> {
        std::mem::take(&mut self.asked.lock().expect("no panic"))
    }
}

impl Host for Bench {
    fn permit(&self, action: Action) -> Result<Permit, ToolError> {
        if let Action::CallTool(call) = &action {
            self.asked.lock().expect("no panic").push((**call).clone());
        }
        if self.refuses.load(Ordering::Relaxed) {
            return Err(ToolError::Refused("the policy says no".into()));
        }
        let request = Request {
            caller: Caller::User(User {
                uid: 1000,
                groups: vec![],
                name: "anna".into(),
            }),
            session: None,
            action,
            now: jiff::civil::date(2026, 6, 1).at(12, 0, 0, 0),
            approvers: Approvers::Caller,
            patience: Duration::ZERO,
        };
        match self.gate.request(request) {
            Ok(Passage::Granted(permit)) => Ok(permit),
            other => panic!("{other:?}"),
        }
    }

    fn say(&self, text: &str) {
        self.said.lock().expect("no panic").push(text.to_owned());
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
            confinement: Confinement::of(permit, OwnFiles::default()),
            groups: None,
            timeout: self.timeout,
            term_grace: Duration::from_millis(200),
            output_bytes_max: 1 << 20,
            stdin: None,
            merge_stderr: false,
        }
    }
}

pub(crate) fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
}

/// The system's own program rather than a wrapper in somebody's home, if it is there.
fn system(path: &str) -> Option<PathBuf> {
    Path::new(path).exists().then(|| path.into())
}

/// False, and said so: this machine lacks an interpreter or a layer of the sandbox.
pub(crate) fn possible() -> bool {
    static POSSIBLE: LazyLock<Result<(), String>> = LazyLock::new(|| missing().map_or(Ok(()), Err));
    if let Err(why) = &*POSSIBLE {
        eprintln!("SKIPPED: {why}");
    }
    POSSIBLE.is_ok()
}

fn missing() -> Option<String> {
    let bench = Bench::new(&[
        (
            "a.mjs",
            "export const info = {}; export const run = () => ({})",
        ),
        ("b.py", "INFO = {}\nrun = lambda params: {}"),
        ("c", "#!/bin/sh\necho '{}'"),
        ("c.toml", ""),
    ]);
    for name in ["a", "b", "c"] {
        match bench.call(name, &serde_json::json!({})) {
            Ok(_) => {}
            Err(ToolError::Broken { problem, .. }) if problem.contains("install") => {
                return Some(problem);
            }
            Err(ToolError::Run(fazai_tools::RunError::NotConfined { why })) => return Some(why),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    None
}
