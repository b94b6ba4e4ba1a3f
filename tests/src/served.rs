//! The `fazai` program as a service: what the tests of the whole program share.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::{PATIENCE, program};

/// A running `fazai serve` on a socket of its own.
pub struct Served {
    /// It.
    pub process: Child,
    /// Where it listens.
    pub socket: PathBuf,
    /// Holds its socket and its settings.
    pub dir: TempDir,
}

impl Served {
    /// With no settings.
    #[must_use]
    pub fn start() -> Self {
        Self::with_settings("")
    }

    /// With these settings, as the file has them.
    #[must_use]
    pub fn with_settings(settings: &str) -> Self {
        Self::with_environment(settings, &[])
    }

    /// With these settings, and these variables in its environment.
    #[must_use]
    pub fn with_environment(settings: &str, environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("run/fazai.sock");
        let config = dir.path().join("fazai.conf");
        let mut settings = settings.to_owned();
        if !settings.contains("audit_dir") {
            // A record of its own: nobody else can have it meanwhile.
            let audit = dir.path().join("audit");
            settings += &format!("\n[policy]\naudit_dir = {}\n", audit.display());
        }
        fs::write(&config, settings).unwrap();
        // A file never makes the worker wait, as a pipe does that nobody reads.
        let log = File::create(dir.path().join("log")).unwrap();
        let process = serve(&socket, &config)
            .envs(environment.iter().copied())
            .stderr(log)
            .spawn()
            .unwrap();
        let served = Self {
            process,
            socket,
            dir,
        };
        wait_for(|| served.ask_status().is_some());
        served
    }

    /// What `fazai status` says; none while nobody answers.
    #[must_use]
    pub fn ask_status(&self) -> Option<Value> {
        let output = fazai(&["status", "--json", "--socket", path(&self.socket)]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// What it wrote on standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args([format!("-{name}"), id]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `fazai serve`, with its standard error in a pipe.
#[must_use]
pub fn serve(socket: &Path, config: &Path) -> Command {
    let mut command = Command::new(program());
    command
        .args(["serve", "--socket", path(socket), "--config", path(config)])
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// A path as a text.
#[must_use]
pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs `fazai` with these arguments.
#[must_use]
pub fn fazai(arguments: &[&str]) -> Output {
    Command::new(program())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Until it is so.
pub fn wait_for(mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "it never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}
