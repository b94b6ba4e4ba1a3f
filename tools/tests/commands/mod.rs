//! Runs commands that a person has agreed to, and looks for what they left behind.
#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use fazai_sandbox::{Launcher, Sockets, Stop};
use fazai_tools::{
    Action, Approvals, Approvers, AuditLog, AuditOptions, Caller, Choice, Confinement, Ended, Exec,
    Gate, How, Input, Passage, Permit, Piece, Policy, Request, RunError, Source, User, run,
};
use jiff::civil::{DateTime, date};

const POLICY: &str = r#"
    default_profile = "asks"
    [profiles.asks]
    opaque = "ask"
    otherwise = "ask"
"#;

/// A gate whose person says yes to everything that is not blocked.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    gate: Gate,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let audit = AuditLog::open(AuditOptions::new(directory.path())).expect("a record");
        let policy = Policy::parse(POLICY).expect("a policy");
        let gate = Gate::new(policy.into(), audit, Approvals::default());
        Self { directory, gate }
    }

    pub(crate) fn permit(&self, action: Action) -> Permit {
        let caller = Caller::User(User {
            uid: 1000,
            groups: vec![],
            name: "anna".into(),
        });
        let request = Request {
            caller: caller.clone(),
            session: None,
            action,
            now: now(),
            approvers: Approvers::Caller,
            patience: Duration::from_secs(10),
        };
        let waiting = match self.gate.request(request).expect("not denied") {
            Passage::Granted(permit) => return permit,
            Passage::Asked(waiting, _) => waiting,
        };
        let approvals = self.gate.approvals();
        approvals
            .answer(&waiting.id, &caller, Choice::Once, "", Instant::now())
            .expect("taken");
        let approved = waiting.wait().expect("a yes");
        self.gate.enter(approved, now()).expect("a permit")
    }

    /// The last line of the record.
    pub(crate) fn last_entry(&self) -> serde_json::Value {
        let file = self.directory.path().join("audit-000001.ndjson");
        let text = std::fs::read_to_string(file).expect("a record");
        serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
    }
}

fn now() -> DateTime {
    date(2026, 6, 1).at(12, 0, 0, 0)
}

pub(crate) fn how() -> How {
    How {
        launcher: Launcher {
            program: env!("CARGO_BIN_EXE_fazai-keeper").into(),
            args: Vec::new(),
            user: None,
        },
        confinement: Confinement::Open,
        groups: None,
        timeout: Duration::from_secs(30),
        term_grace: Duration::from_millis(500),
        output_bytes_max: 1 << 20,
        stdin: None,
        merge_stderr: false,
    }
}

pub(crate) fn read_only() -> How {
    How {
        confinement: Confinement::ReadOnly {
            hidden: Vec::new(),
            sockets: Sockets::All,
        },
        ..how()
    }
}

pub(crate) fn exec(argv: &[&str]) -> Exec {
    Exec {
        argv: argv.iter().map(|arg| (*arg).to_owned()).collect(),
        cwd: "/".into(),
        env: BTreeMap::new(),
        stdin: None,
    }
}

pub(crate) fn shell(text: &str) -> Exec {
    exec(&["bash", "-c", text])
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) ended: Ended,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) took: Duration,
}

impl Seen {
    pub(crate) fn text(&self, from: Source) -> String {
        let pieces = self.pieces.iter().filter(|piece| piece.from == from);
        let text = pieces.map(|piece| {
            let end = if piece.ends_line { "\n" } else { "" };
            format!("{}{end}", piece.text)
        });
        text.collect()
    }

    pub(crate) fn stdout(&self) -> String {
        self.text(Source::Stdout)
    }
}

pub(crate) fn try_run(exec: Exec, how: &How, stop: Option<&Stop>) -> Result<Seen, RunError> {
    let place = Place::new();
    let permit = place.permit(Action::Exec(exec));
    let mut pieces = Vec::new();
    let begun = Instant::now();
    let ended = run(permit, how, stop, &mut |piece| {
        pieces.push(piece);
        ControlFlow::Continue(())
    });
    assert_eq!(place.last_entry()["event"], "finished");
    Ok(Seen {
        ended: ended?,
        pieces,
        took: begun.elapsed(),
    })
}

pub(crate) fn see(text: &str, how: &How) -> Seen {
    let exec = Exec {
        stdin: how.stdin.as_deref().map(Input::of),
        ..shell(text)
    };
    try_run(exec, how, None).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A length of sleep that no other test sleeps for.
pub(crate) fn mark(test: u32) -> String {
    format!("{}.{test}", 100_000 + std::process::id())
}

/// Whether a process runs that has this word among its arguments, and no shell that was told it.
pub(crate) fn runs(mark: &str) -> bool {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let mut lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| {
        line.split(|byte| *byte == 0)
            .any(|word| word == mark.as_bytes())
    })
}

/// Waits until something is so.
pub(crate) fn soon(what: impl Fn() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if what() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}
