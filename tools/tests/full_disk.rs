//! A full disk stops actions and nothing else.
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fazai_tools::{
    Action, Approvals, Approvers, AuditError, AuditLog, AuditOptions, Caller, Gate, GateError,
    Outcome, Passage, Policy, Request, User, verify,
};
use jiff::civil::date;

/// A small file system that is taken away again.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let mounted = run(
            "mount",
            &["-t", "tmpfs", "-o", size, "tmpfs"],
            directory.path(),
        );
        mounted.then_some(Self(directory))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        run("umount", &["-l"], self.0.path());
    }
}

fn run(program: &str, args: &[&str], path: &Path) -> bool {
    let output = Command::new(program).args(args).arg(path).output();
    output.is_ok_and(|output| output.status.success())
}

fn request(gate: &Gate) -> Result<Passage, GateError> {
    gate.request(Request {
        caller: Caller::User(User {
            uid: 1000,
            groups: vec![],
            name: "anna".into(),
        }),
        session: None,
        action: Action::shell("df -h", "/"),
        now: date(2026, 6, 1).at(12, 0, 0, 0),
        approvers: Approvers::Nobody,
        patience: Duration::from_secs(1),
    })
}

#[test]
fn a_full_disk_stops_actions_until_there_is_space() {
    let Some(disk) = Tmpfs::mount("size=64k") else {
        eprintln!(
            "SKIPPED: a_full_disk_stops_actions needs the right to mount a tmpfs (run it as root)"
        );
        return;
    };
    let path = disk.0.path();
    let audit = AuditLog::open(AuditOptions::new(path)).expect("a record");
    let gate = Gate::new(
        Policy::ready("standard").into(),
        audit,
        Approvals::default(),
    );
    let mut done = 0;
    let refused = loop {
        match request(&gate) {
            Ok(Passage::Granted(permit)) => {
                // The end of the last action may not fit any more; it was allowed when it began.
                let _ = permit.finish(Outcome::default());
                done += 1;
                assert!(done < 10_000, "the disk never filled up");
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert!(done > 0);
    assert!(
        matches!(
            refused,
            GateError::Audit(AuditError::AuditUnavailable { .. })
        ),
        "{refused:?}"
    );
    assert!(request(&gate).is_err(), "it stays refused");
    assert_eq!(
        gate.policy().profiles().count(),
        4,
        "questions are still answered"
    );

    assert!(run("mount", &["-o", "remount,size=1m"], path));
    match request(&gate) {
        Ok(Passage::Granted(permit)) => permit.finish(Outcome::default()).expect("recorded"),
        other => panic!("there is space again: {other:?}"),
    }
    gate.sign_head().expect("a head");
    let report = verify(path).expect("readable");
    assert_eq!(report.findings, []);
}
