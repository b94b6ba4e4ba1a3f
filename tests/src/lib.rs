//! What the end-to-end tests share: a worker on a socket of its own, and a client that sees
//! every byte.
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test fails by a panic"
)]

pub mod incidents;
pub mod served;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use fazai::Worker;
use fazai::config::Settings;
use fazai::server::Server;
use fazai_models::backend::scripted::{self, Script};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinHandle;

/// Longer than anything takes, even on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The keys of the old dialect's lines, in their order; new ones come behind them.
pub const OLD_KEYS: [&str; 8] = [
    "action",
    "action_id",
    "input",
    "result",
    "metadata",
    "timestamp",
    "source",
    "model",
];

/// What a program wrote on its standard output; fails with its complaint if it failed.
#[track_caller]
#[must_use]
pub fn stdout(output: Output) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// A worker whose models follow scripts, listening on a socket of its own.
pub struct TestWorker {
    /// The worker itself.
    pub worker: Worker,
    /// Where it listens.
    pub socket: PathBuf,
    accepting: JoinHandle<()>,
    _dir: TempDir,
}

impl TestWorker {
    /// A worker with the usual settings.
    pub async fn start(script: Script) -> Self {
        Self::with_settings(script, |_| {}).await
    }

    /// A worker with other settings.
    pub async fn with_settings(script: Script, change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.server.socket = dir.path().join("worker.sock");
        settings.server.drain_ms = 500;
        settings.model.dir = dir.path().join("models");
        settings.model.prompt_store = dir.path().join("prompts");
        settings.policy.audit_dir = dir.path().join("audit");
        settings.memory.dir = dir.path().join("memory");
        settings.tools.dir = dir.path().join("tools");
        settings.tools.runs_dir = dir.path().join("runs");
        settings.watch.state_dir = dir.path().join("watch");
        settings.model.slots = 4;
        settings.defaults.temperature = 0.0;
        change(&mut settings);
        let socket = settings.server.socket.clone();
        let server = Server::bind(&settings.server).await.unwrap();
        let worker = Worker::with_loader(
            settings,
            Arc::new(move |_, _, _| Ok(scripted::loaded(script.clone()))),
        );
        let accepting = tokio::spawn(server.run(worker.clone()));
        Self {
            worker,
            socket,
            accepting,
            _dir: dir,
        }
    }

    /// A connection that shows every line.
    pub async fn connect(&self) -> Wire {
        Wire::connect(&self.socket).await
    }

    /// Stops the worker and waits for it.
    pub async fn stop(self) {
        self.worker.stop().await;
        self.accepting.await.unwrap();
    }
}

/// A connection on which the test writes bytes and reads lines.
pub struct Wire {
    reading: BufReader<OwnedReadHalf>,
    writing: OwnedWriteHalf,
}

impl Wire {
    /// Connects.
    pub async fn connect(socket: &Path) -> Self {
        let (reading, writing) = UnixStream::connect(socket).await.unwrap().into_split();
        Self {
            reading: BufReader::new(reading),
            writing,
        }
    }

    /// Sends the bytes as they are.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.writing.write_all(bytes).await.unwrap();
    }

    /// Sends a line.
    pub async fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes()).await;
    }

    /// Closes the writing side, as `nc -N` does.
    pub async fn half_close(&mut self) {
        self.writing.shutdown().await.unwrap();
    }

    /// The next line as text; `None` at the end.
    pub async fn next_text(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.reading.read_line(&mut line)).await;
        match read.expect("a line in time").unwrap() {
            0 => None,
            _ => Some(line.trim_end().to_owned()),
        }
    }

    /// The next line; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        let line = self.next_text().await?;
        Some(serde_json::from_str(&line).unwrap_or_else(|fault| panic!("{fault}: {line}")))
    }

    /// Reads until the last line of a request and returns it; other requests' lines are lost.
    pub async fn done(&mut self, id: &str) -> Value {
        loop {
            let line = self.next().await.expect("the answer before the end");
            if line["action"] == "done" && line["action_id"] == id {
                return line;
            }
        }
    }

    /// Sends a request and waits for its last line.
    pub async fn call(&mut self, line: &str) -> Value {
        let id = serde_json::from_str::<Value>(line).unwrap()["action_id"].clone();
        self.send(line).await;
        self.done(id.as_str().unwrap()).await
    }
}

/// A script that answers "QUESTION is the question".
pub fn echo() -> Script {
    Script::answering(|prompt| {
        let user = prompt.rsplit("user\n").next().unwrap_or("");
        let question = user.split("<|im_end|>").next().unwrap_or("");
        format!("{question} is the question")
    })
}

/// A script that writes `words` words, however long that takes.
pub fn talker(words: usize, step: Duration) -> Script {
    Script {
        decode_step: step,
        ..Script::answering(move |_| "word ".repeat(words))
    }
}

/// The `fazai` program that was built with the tests.
///
/// # Panics
/// If it was not built.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let dir = test.parent().and_then(Path::parent).unwrap();
    let program = dir.join("fazai");
    assert!(
        program.exists(),
        "{} is missing: build it first (`cargo build --release`, or use ./check)",
        program.display()
    );
    program
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
