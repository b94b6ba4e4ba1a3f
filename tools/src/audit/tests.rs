use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::caller::User;
use crate::policy::{Risk, Verdict};
use crate::{Action, Caller, Decision};

fn event(permit: u64) -> Event {
    Event::Decided {
        permit,
        caller: Caller::User(User {
            uid: 1,
            groups: vec![1],
            name: "anna".into(),
        }),
        seen: Box::default(),
        cut: None,
        action: Action::shell(format!("echo {permit}, \"hash\":\"x\""), "/"),
        decision: Box::new(Decision {
            verdict: Verdict::Allow,
            rule: "r".into(),
            reason: "é\n".into(),
            risk: Risk::Low,
        }),
        question: None,
        approved_by: None,
    }
}

fn open(directory: &Path) -> AuditLog {
    AuditLog::open(AuditOptions::new(directory)).expect("a record")
}

/// A record with this many entries besides its first one, and a head over the last.
fn record(entries: u64) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let mut log = open(directory.path());
    for permit in 0..entries {
        log.append(&event(permit)).expect("a good disk");
    }
    log.sign_head().expect("a head");
    directory
}

fn first_file(directory: &Path) -> PathBuf {
    directory.join("audit-000001.ndjson")
}

/// Changes the lines of the first file and says what is found.
fn tamper(change: impl FnOnce(&mut Vec<String>)) -> Vec<(usize, Problem)> {
    let directory = record(5);
    let path = first_file(directory.path());
    let mut lines: Vec<String> = fs::read_to_string(&path)
        .expect("text")
        .lines()
        .map(str::to_owned)
        .collect();
    change(&mut lines);
    fs::write(&path, lines.join("\n") + "\n").expect("written");
    let findings = verify(directory.path()).expect("readable").findings;
    findings
        .into_iter()
        .map(|finding| (finding.line, finding.problem))
        .collect()
}

#[test]
fn a_record_that_was_left_alone_is_whole() {
    let directory = record(5);
    let report = verify(directory.path()).expect("readable");
    assert_eq!(
        (report.entries, report.repairs, report.findings),
        (6, 0, vec![])
    );
    assert!(report.heads >= 1);
    for (file, mode) in [
        ("audit-000001.ndjson", 0o600),
        ("audit.key", 0o600),
        ("heads.ndjson", 0o600),
    ] {
        let found = fs::metadata(directory.path().join(file))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(found & 0o777, mode, "{file}");
    }
}

#[test]
fn it_goes_on_after_a_restart() {
    let directory = record(2);
    let mut log = open(directory.path());
    assert_eq!(log.append(&event(9)).expect("a good disk"), 4);
    drop(log);
    assert!(verify(directory.path()).expect("readable").is_whole());
}

#[test]
fn an_edit_is_found() {
    let found = tamper(|lines| lines[2] = lines[2].replace("echo 1", "echo 2"));
    assert!(
        matches!(found.as_slice(), [(3, Problem::Edited(_))]),
        "{found:?}"
    );
    let found = tamper(|lines| lines[2] = lines[2].replacen('{', "{ ", 1));
    assert!(
        matches!(found.as_slice(), [(3, Problem::Edited(_)), ..]),
        "{found:?}"
    );
    let found = tamper(|lines| lines[2] = "nonsense".into());
    assert!(
        matches!(found.as_slice(), [(3, Problem::Edited(_)), ..]),
        "{found:?}"
    );
}

#[test]
fn a_line_that_was_removed_is_found() {
    let found = tamper(|lines| drop(lines.remove(2)));
    assert_eq!(
        found[0],
        (
            3,
            Problem::OutOfOrder {
                expected: 3,
                found: 4
            }
        )
    );
}

#[test]
fn another_order_is_found() {
    let found = tamper(|lines| lines.swap(2, 3));
    assert_eq!(
        found[0],
        (
            3,
            Problem::OutOfOrder {
                expected: 3,
                found: 4
            }
        )
    );
}

#[test]
fn a_line_from_elsewhere_is_found() {
    let other = record(5);
    let line = fs::read_to_string(first_file(other.path()))
        .expect("text")
        .lines()
        .nth(2)
        .expect("a line")
        .to_owned();
    let found = tamper(|lines| lines[2] = line);
    assert_eq!(found[0], (3, Problem::Unchained));
}

#[test]
fn a_cut_end_is_found() {
    let found = tamper(|lines| lines.truncate(3));
    assert_eq!(
        found.last().map(|(_, problem)| problem.clone()),
        Some(Problem::Truncated { signed: 6, last: 3 })
    );
    let found = tamper(Vec::clear);
    assert!(
        found
            .iter()
            .any(|(_, problem)| matches!(problem, Problem::Truncated { signed: 6, .. })),
        "{found:?}"
    );
}

#[test]
fn a_history_that_was_written_anew_is_found() {
    let (directory, other) = (record(5), record(5));
    fs::copy(first_file(other.path()), first_file(directory.path())).expect("copied");
    let report = verify(directory.path()).expect("readable");
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.problem == Problem::Rewritten(6)),
        "{report:?}"
    );
}

#[test]
fn heads_that_are_gone_or_forged_are_found() {
    let directory = record(2);
    let path = directory.path().join("heads.ndjson");
    let text = fs::read_to_string(&path).expect("text");
    fs::write(&path, text.replace("\"seq\":", "\"seq\":1")).expect("written");
    let problems = |directory: &Path| {
        verify(directory)
            .expect("readable")
            .findings
            .into_iter()
            .map(|finding| finding.problem)
            .collect::<Vec<_>>()
    };
    assert!(problems(directory.path()).contains(&Problem::BadHead));
    fs::remove_file(&path).expect("removed");
    assert_eq!(problems(directory.path()), [Problem::NoHead]);
    fs::remove_file(directory.path().join("audit.pub")).expect("removed");
    assert_eq!(problems(directory.path()), [Problem::NoKey]);
}

#[test]
fn rotation_keeps_the_chain() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = AuditOptions {
        file_bytes_max: 1000,
        ..AuditOptions::new(directory.path())
    };
    let mut log = AuditLog::open(options.clone()).expect("a record");
    for permit in 0..10 {
        log.append(&event(permit)).expect("a good disk");
    }
    drop(log);
    let mut log = AuditLog::open(options).expect("a record");
    log.append(&event(10)).expect("a good disk");
    log.sign_head().expect("a head");
    assert!(directory.path().join("audit-000003.ndjson").exists());
    assert_eq!(verify(directory.path()).expect("readable").findings, []);

    fs::remove_file(directory.path().join("audit-000002.ndjson")).expect("removed");
    let report = verify(directory.path()).expect("readable");
    let missing = Problem::MissingFile("audit-000002.ndjson".into());
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.problem == missing),
        "{report:?}"
    );
}

#[test]
fn half_a_line_is_cut_off_and_recorded() {
    let directory = record(2);
    let path = first_file(directory.path());
    let whole = fs::read(&path).expect("bytes");
    fs::write(&path, [whole.as_slice(), b"{\"seq\":4,\"ti"].concat()).expect("written");
    let report = verify(directory.path()).expect("readable");
    assert_eq!(report.findings.len(), 1);
    assert_eq!(
        (report.findings[0].line, &report.findings[0].problem),
        (4, &Problem::HalfLine)
    );

    drop(open(directory.path()));
    let report = verify(directory.path()).expect("readable");
    assert_eq!((report.repairs, report.findings), (1, vec![]));
}

#[test]
fn a_damaged_end_is_not_continued() {
    let directory = record(2);
    let path = first_file(directory.path());
    let text = fs::read_to_string(&path).expect("text");
    fs::write(&path, text + "{}\n").expect("written");
    let refused = AuditLog::open(AuditOptions::new(directory.path())).map(drop);
    assert!(
        matches!(refused, Err(AuditError::Damaged { line: 4, .. })),
        "{refused:?}"
    );
}

#[test]
fn only_one_process_writes() {
    let directory = record(1);
    let _log = open(directory.path());
    let second = AuditLog::open(AuditOptions::new(directory.path())).map(drop);
    assert!(
        matches!(second, Err(AuditError::InUse { .. })),
        "{second:?}"
    );
}

#[test]
fn a_link_is_not_followed() {
    let directory = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink("/dev/null", first_file(directory.path())).expect("a link");
    let refused = AuditLog::open(AuditOptions::new(directory.path())).map(drop);
    assert!(
        matches!(refused, Err(AuditError::AuditUnavailable { .. })),
        "{refused:?}"
    );
}

#[test]
fn an_entry_has_a_limit() {
    let directory = record(1);
    let mut log = open(directory.path());
    let long = Event::Finished {
        permit: 1,
        exit_code: None,
        output_sha256: None,
        duration_ms: 0,
        error: Some("x".repeat(ENTRY_BYTES_MAX)),
    };
    assert!(matches!(log.append(&long), Err(AuditError::TooLong { .. })));
    log.append(&event(2)).expect("the next one fits");
    log.sign_head().expect("a head");
    drop(log);
    assert!(verify(directory.path()).expect("readable").is_whole());
}

/// Who moves the file away, or puts another in its place, does not get a record without its end.
#[test]
fn a_record_that_was_moved_takes_no_more() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 3] = [
        ("moved", |path| {
            fs::rename(path, path.with_extension("old")).expect("moved");
        }),
        ("removed", |path| fs::remove_file(path).expect("removed")),
        ("replaced by a copy", |path| {
            let copy = path.with_extension("copy");
            fs::copy(path, &copy).expect("copied");
            fs::rename(copy, path).expect("replaced");
        }),
    ];
    for (what, change) in changes {
        let directory = tempfile::tempdir().expect("a directory");
        let mut log = open(directory.path());
        log.append(&event(1)).expect("a good disk");
        let path = first_file(directory.path());
        let kept = path.with_extension("kept");
        fs::hard_link(&path, &kept).expect("linked");
        change(&path);
        let refused = log.append(&event(2));
        assert!(
            matches!(refused, Err(AuditError::Moved { .. })),
            "{what}: {refused:?}"
        );
        // Put back, it goes on.
        fs::rename(&kept, &path).expect("put back");
        log.append(&event(2)).expect("a good disk");
    }
}

#[test]
fn half_a_head_is_cut_off_before_the_next() {
    let directory = record(2);
    let path = directory.path().join("heads.ndjson");
    let whole = fs::read(&path).expect("heads");
    // As a full disk leaves it, once before an open and once while it is open.
    let half = || {
        let mut text = fs::read(&path).expect("heads");
        text.extend_from_slice(&whole[..100]);
        fs::write(&path, text).expect("written");
        let findings = verify(directory.path()).expect("readable").findings;
        let problems: Vec<_> = findings.iter().map(|finding| &finding.problem).collect();
        assert_eq!(problems, [&Problem::HalfLine]);
    };
    half();
    let mut log = open(directory.path());
    assert_eq!(verify(directory.path()).expect("readable").findings, []);
    half();
    log.sign_head().expect("a head");
    assert_eq!(verify(directory.path()).expect("readable").findings, []);
}

#[test]
fn a_public_key_that_was_not_written_is_made_again() {
    let directory = record(1);
    let path = directory.path().join("audit.pub");
    let key = fs::read(&path).expect("a key");
    fs::remove_file(&path).expect("removed");
    drop(open(directory.path()));
    assert_eq!(fs::read(&path).expect("a key"), key);
    assert!(verify(directory.path()).expect("readable").is_whole());
}
