//! A host whose policy allows every tool what it has the rights for, and remembers what was asked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use fazai_toolbox::{Broken, Files, FilesOptions, Source, Tool, ToolError, call};
use fazai_tools::{Action, Policy, ToolCall};
use serde_json::Value;

use super::host::TestHost;

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
    pub(crate) host: TestHost,
    pub(crate) tools: PathBuf,
    pub(crate) files: Files,
}

impl Bench {
    /// With these files in the directory of tools.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let host = TestHost::new(Policy::parse(POLICY).expect("a policy"), false);
        let tools = host.directory.path().join("tools");
        fs::create_dir(&tools).expect("made");
        mode(&tools, 0o755);
        let bench = Self {
            host,
            files: Files::new(FilesOptions {
                directory: tools.clone(),
                node: None,
                python: system("/usr/bin/python3"),
            }),
            tools,
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

    pub(crate) fn list(&self) -> Vec<Result<Arc<dyn Tool>, Broken>> {
        self.files.tools(&self.host)
    }

    /// Why a tool can't be used.
    #[track_caller]
    pub(crate) fn problem(&self, name: &str) -> String {
        match self.files.tool(name, &self.host) {
            Some(Err(broken)) => broken.problem,
            Some(Ok(_)) => panic!("`{name}` can be used"),
            None => panic!("there is no `{name}`"),
        }
    }

    fn find(&self, name: &str) -> Result<Arc<dyn Tool>, ToolError> {
        match self.files.tool(name, &self.host) {
            None => Err(ToolError::NotFound(name.into())),
            Some(Err(broken)) => Err(ToolError::Broken {
                name: broken.name,
                problem: broken.problem,
            }),
            Some(Ok(tool)) => Ok(tool),
        }
    }

    /// A tool that there is.
    #[track_caller]
    pub(crate) fn tool(&self, name: &str) -> Arc<dyn Tool> {
        self.find(name)
            .unwrap_or_else(|fault| panic!("{name}: {fault}"))
    }

    pub(crate) fn call(&self, name: &str, params: &Value) -> Result<Value, ToolError> {
        call(self.find(name)?.as_ref(), params, &self.host)
    }

    /// What was said since this was asked last.
    pub(crate) fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.host.said.lock().expect("no panic"))
    }

    /// For which calls a permit was asked since this was asked last.
    pub(crate) fn asked(&self) -> Vec<ToolCall> {
        let asked = std::mem::take(&mut *self.host.asked.lock().expect("no panic"));
        let call = |action| match action {
            Action::CallTool(call) => Some(*call),
            _ => None,
        };
        asked.into_iter().filter_map(call).collect()
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
