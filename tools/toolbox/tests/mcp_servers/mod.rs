//! MCP servers, and a host for them whose person says yes.
#![allow(dead_code, reason = "each test program uses a part")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fazai_toolbox::McpServer;
use fazai_tools::Policy;

use super::host::TestHost;

/// A profile that asks for what it does not know, and allows tools that change nothing.
const ASKS: &str = r#"
    default_profile = "asks"
    [profiles.asks]
    opaque = "ask"
    otherwise = "ask"
    read_only = false
"#;

pub(crate) fn willing() -> TestHost {
    host_with(ASKS)
}

pub(crate) fn host_with(policy: &str) -> TestHost {
    let policy = Policy::parse(policy).expect("a policy");
    let mut host = TestHost::new(policy, true);
    host.keeper = (program(), vec!["keep".into()]);
    host.timeout = Duration::from_secs(30);
    host
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
