use jiff::civil::date;

use super::*;
use crate::action::Input;
use crate::approval::Choice;
use crate::audit::{AuditOptions, verify};
use crate::caller::User;

fn caller() -> Caller {
    Caller::User(User {
        uid: 1000,
        groups: vec![1000],
        name: "anna".into(),
    })
}

fn gate(profile: &str) -> (tempfile::TempDir, Gate) {
    let directory = tempfile::tempdir().expect("a directory");
    let audit = AuditLog::open(AuditOptions::new(directory.path())).expect("a record");
    (
        directory,
        Gate::new(Policy::ready(profile).into(), audit, Approvals::default()),
    )
}

fn request(text: &str, approvers: Approvers) -> Request {
    Request {
        caller: caller(),
        session: Some("s".into()),
        action: Action::shell(text, "/home/anna"),
        now: date(2026, 6, 1).at(12, 0, 0, 0),
        approvers,
        patience: Duration::from_secs(10),
    }
}

fn entries(directory: &std::path::Path) -> Vec<serde_json::Value> {
    assert_eq!(verify(directory).expect("readable").findings, []);
    let text = std::fs::read_to_string(directory.join("audit-000001.ndjson")).expect("a file");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// The names of the events of the record, without those about files.
fn events(directory: &std::path::Path) -> Vec<String> {
    let lines = entries(directory);
    let names = lines
        .iter()
        .map(|line| match line["event"].as_str().expect("an event") {
            "decided" => format!(
                "decided {}",
                line["decision"]["verdict"].as_str().expect("a verdict")
            ),
            other => other.to_owned(),
        });
    names.filter(|name| name != "opened").collect()
}

fn granted(passage: Result<Passage, GateError>) -> Permit {
    match passage {
        Ok(Passage::Granted(permit)) => permit,
        other => panic!("no permit: {other:?}"),
    }
}

fn asked(passage: Result<Passage, GateError>) -> Waiting {
    match passage {
        Ok(Passage::Asked(waiting, _)) => waiting,
        other => panic!("no question: {other:?}"),
    }
}

#[test]
fn what_is_allowed_is_recorded_before_and_after() {
    let (directory, gate) = gate("standard");
    let permit = granted(gate.request(request("df -h", Approvers::Nobody)));
    assert_eq!(events(directory.path()), ["decided allow"]);
    permit
        .finish(Outcome {
            exit_code: Some(0),
            ..Outcome::default()
        })
        .expect("recorded");
    assert_eq!(events(directory.path()), ["decided allow", "finished"]);
}

#[test]
fn a_permit_that_is_dropped_is_recorded() {
    let (directory, gate) = gate("standard");
    drop(granted(gate.request(request("df -h", Approvers::Nobody))));
    assert_eq!(events(directory.path()), ["decided allow", "unused"]);
}

#[test]
fn a_no_is_recorded() {
    let (directory, gate) = gate("privileged");
    let refused = gate.request(request("rm -rf /", Approvers::Caller));
    assert!(
        matches!(refused, Err(GateError::Denied(decision)) if decision.rule == "blocked/remove-system")
    );
    assert_eq!(events(directory.path()), ["decided deny"]);
}

#[test]
fn many_denials_of_the_same_are_counted() {
    let (directory, gate) = gate("elevated");
    for _ in 0..100 {
        let refused = gate.request(request("rm -rf /", Approvers::Nobody));
        assert!(matches!(refused, Err(GateError::Denied(_))));
        let nobody = gate.request(request("reboot", Approvers::Nobody));
        assert!(matches!(nobody, Err(GateError::NotApproved(_))));
    }
    assert_eq!(events(directory.path()), vec!["decided deny"; 40]);
    // Another caller's are written, and what is allowed always is.
    let other = Request {
        caller: Caller::Token("other".into()),
        ..request("rm -rf /", Approvers::Nobody)
    };
    assert!(gate.request(other).is_err());
    drop(granted(gate.request(request("df -h", Approvers::Nobody))));
    gate.sign_head().expect("signed");
    gate.sign_head().expect("signed");
    let lines = entries(directory.path());
    let last = &lines[lines.len() - 4..];
    assert_eq!(last[0]["caller"]["token"], "other");
    assert_eq!(last[1]["decision"]["verdict"], "allow");
    assert_eq!(last[2]["event"], "unused");
    assert_eq!(last[3]["event"], "denied_more");
    assert_eq!(last[3]["count"], 160);
    assert_eq!(last[3]["caller"]["user"]["uid"], 1000);
    // What was not written yet when it is killed is lost, and nothing else.
    assert!(
        gate.request(request("rm -rf /", Approvers::Nobody))
            .is_err()
    );
    drop(gate);
    let again = AuditLog::open(AuditOptions::new(directory.path())).expect("a record");
    assert_eq!(again.entries(), lines.len() as u64);
    assert!(verify(directory.path()).expect("readable").is_whole());
}

/// A yes to a script, for once or the session.
fn agreed(gate: &Gate, request: Request, choice: Choice) -> Permit {
    let now = request.now;
    let waiting = asked(gate.request(request));
    assert!(
        waiting
            .seen
            .files
            .iter()
            .any(|file| file.path.ends_with("run.sh"))
    );
    let answer = gate.answer(&waiting.id, &caller(), choice, "");
    answer.expect("taken");
    gate.enter(waiting.wait().expect("a yes"), now)
        .expect("a permit")
}

#[test]
fn a_yes_holds_for_what_was_there_when_it_was_asked() {
    let (directory, gate) = gate("elevated");
    let files = tempfile::tempdir().expect("a directory");
    let script = files.path().join("run.sh");
    std::fs::write(&script, "true").expect("written");
    let wanted = || request(&format!("bash {}", script.display()), Approvers::Caller);
    let permit = agreed(&gate, wanted(), Choice::Session);
    assert_eq!(permit.check_files(), Ok(()));
    std::fs::write(&script, "rm -rf /srv").expect("written");
    let changed = permit
        .check_files()
        .expect_err("it is another one")
        .to_string();
    assert!(changed.contains("run.sh was changed"), "{changed}");
    // The session's yes was to the other one, and holds for that again.
    drop(asked(gate.request(wanted())));
    std::fs::write(&script, "true").expect("written");
    let again = granted(gate.request(wanted()));
    assert_eq!(again.check_files(), Ok(()));
    std::fs::remove_file(&script).expect("removed");
    assert!(again.check_files().is_err());
    drop((permit, again));
    let asked_about = &entries(directory.path())[1];
    let sha256 = Hash::of(b"true").to_string();
    let files = asked_about["files"].as_array().expect("files");
    assert!(
        files.iter().any(|file| file["sha256"] == sha256),
        "{files:?}"
    );
}

#[test]
fn a_yes_opens_the_gate_once() {
    let (directory, gate) = gate("elevated");
    let waiting = asked(gate.request(request("reboot", Approvers::Caller)));
    gate.approvals()
        .answer(&waiting.id, &caller(), Choice::Once, "", Instant::now())
        .expect("taken");
    let approved = waiting.wait().expect("a yes");
    let permit = gate
        .enter(approved, date(2026, 6, 1).at(12, 0, 0, 0))
        .expect("a permit");
    permit.finish(Outcome::default()).expect("recorded");
    assert_eq!(
        events(directory.path()),
        ["decided ask", "decided ask", "finished"]
    );
    drop(asked(gate.request(request("reboot", Approvers::Caller))));
}

#[test]
fn a_question_that_nobody_answers_is_recorded_with_its_id() {
    type End = fn(&Gate, Waiting);
    let (directory, gate) = gate("elevated");
    let ways: [(&str, End); 3] = [
        ("withdrawn", |_, waiting| drop(waiting)),
        ("expired", |_, waiting| {
            assert!(waiting.poll(waiting.deadline).is_some());
        }),
        ("expired", |gate, waiting| {
            assert!(gate.approvals().pending(waiting.deadline).is_empty());
            assert!(waiting.wait().is_err());
        }),
    ];
    for (event, end) in ways {
        let waiting = asked(gate.request(request("reboot", Approvers::Caller)));
        let id = waiting.id.as_str().to_owned();
        end(&gate, waiting);
        let entries = entries(directory.path());
        let [.., decided, last] = entries.as_slice() else {
            panic!("too few entries");
        };
        assert_eq!(
            (&last["event"], &last["question"]),
            (&event.into(), &id.clone().into())
        );
        assert_eq!(
            (&decided["event"], &decided["question"]),
            (&"decided".into(), &id.into())
        );
    }
    assert_eq!(entries(directory.path()).len(), 7);
}

#[test]
fn a_yes_for_the_session_holds_for_it() {
    let (_directory, gate) = gate("elevated");
    let waiting = asked(gate.request(request("reboot", Approvers::Caller)));
    gate.approvals()
        .answer(&waiting.id, &caller(), Choice::Session, "", Instant::now())
        .expect("taken");
    let approved = waiting.wait().expect("a yes");
    let now = date(2026, 6, 1).at(12, 0, 0, 0);
    gate.enter(approved, now)
        .expect("a permit")
        .finish(Outcome::default())
        .expect("recorded");
    let permit = granted(gate.request(request("reboot", Approvers::Nobody)));
    permit.finish(Outcome::default()).expect("recorded");
}

#[test]
fn a_policy_that_changed_meanwhile_counts() {
    let (_directory, gate) = gate("elevated");
    let waiting = asked(gate.request(request("reboot", Approvers::Caller)));
    gate.approvals()
        .answer(&waiting.id, &caller(), Choice::Once, "", Instant::now())
        .expect("taken");
    gate.replace_policy(Policy::ready("restricted").into());
    let approved = waiting.wait().expect("a yes");
    let refused = gate.enter(approved, date(2026, 6, 1).at(12, 0, 0, 0));
    assert!(matches!(refused, Err(GateError::Denied(_))));
}

#[test]
fn nobody_to_ask_means_no() {
    let (directory, gate) = gate("elevated");
    let refused = gate.request(request("reboot", Approvers::Nobody));
    assert!(matches!(
        refused,
        Err(GateError::NotApproved(ApprovalError::NobodyToAsk))
    ));
    assert_eq!(events(directory.path()), ["decided deny"]);
}

#[test]
fn a_link_that_is_turned_while_the_question_waits_is_not_followed() {
    let (directory, gate) = gate("elevated");
    let files = tempfile::tempdir().expect("a directory");
    let at = std::fs::canonicalize(files.path()).expect("a path");
    for name in ["one", "two"] {
        std::fs::create_dir(at.join(name)).expect("made");
    }
    let link = at.join("dl");
    let turn = |to: &str| {
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(to, &link).expect("a link");
    };
    turn("one");
    let wanted = || Request {
        action: Action::ReadFile {
            path: link.join("x"),
        },
        ..request("", Approvers::Caller)
    };
    let now = wanted().now;
    let waiting = asked(gate.request_by_person(wanted()));
    let shown = format!("reads {0}/dl/x, which is {0}/one/x", at.display());
    assert_eq!(waiting.seen.lines(), [shown]);
    turn("two");
    let taken = gate.answer(&waiting.id, &caller(), Choice::Session, "");
    taken.expect("taken");
    let refused = gate.enter(waiting.wait().expect("a yes"), now);
    assert!(matches!(refused, Err(GateError::Changed(_))), "{refused:?}");
    let entries = entries(directory.path());
    let last = entries.last().expect("an entry");
    assert_eq!(last["decision"]["rule"], "changed");
    assert_eq!(last["leads"][0]["to"][0], format!("{}/one/x", at.display()));
    // The session's yes was to the other place as well.
    drop(asked(gate.request_by_person(wanted())));
    turn("one");
    drop(granted(gate.request_by_person(wanted())));
}

#[test]
fn a_yes_to_write_a_file_holds_for_what_is_written() {
    let (directory, gate) = gate("elevated");
    let with_mode = |content: &[u8], mode: Option<&str>| Request {
        action: Action::WriteFile {
            path: "/etc/motd".into(),
            content: Some(Input::of(content)),
            mode: mode.map(str::to_owned),
        },
        ..request("", Approvers::Caller)
    };
    let wanted = |content: &[u8]| with_mode(content, None);
    let waiting = asked(gate.request_by_person(wanted(b"hello")));
    let taken = gate.answer(&waiting.id, &caller(), Choice::Session, "");
    taken.expect("taken");
    let now = wanted(b"").now;
    let permit = gate.enter(waiting.wait().expect("a yes"), now);
    drop(permit.expect("a permit"));
    drop(granted(gate.request_by_person(wanted(b"hello"))));
    drop(asked(gate.request_by_person(wanted(b"evil"))));
    drop(asked(
        gate.request_by_person(with_mode(b"hello", Some("0666"))),
    ));
    let asked_about = &entries(directory.path())[1];
    let content = &asked_about["action"]["content"];
    assert_eq!(content["sha256"], Hash::of(b"hello").to_string());
    assert_eq!(content["head"], "hello");
}

#[test]
fn long_denials_take_little_room() {
    let (directory, gate) = gate("restricted");
    let size = || {
        let file = directory.path().join("audit-000001.ndjson");
        std::fs::metadata(file).expect("a file").len()
    };
    let before = size();
    for number in 0..200 {
        let wanted = Request {
            action: Action::ReadFile {
                path: format!("/srv/{number}/{}", "x".repeat(60_000)).into(),
            },
            ..request("", Approvers::Nobody)
        };
        assert!(gate.request(wanted).is_err());
    }
    assert!(size() - before < 64 << 10, "{} bytes", size() - before);
    let entries = entries(directory.path());
    let cut = &entries[1]["cut"];
    assert!(cut["bytes"].as_u64().expect("a length") > 60_000, "{cut}");
    assert_eq!(cut["sha256"].as_str().map(str::len), Some(64), "{cut}");
}

#[test]
fn who_asks_and_leaves_again_and_again_is_not_asked_for() {
    let (directory, gate) = gate("elevated");
    for _ in 0..20 {
        drop(asked(gate.request(request("reboot", Approvers::Caller))));
    }
    for _ in 0..100 {
        let refused = gate.request(request("reboot", Approvers::Caller));
        assert!(
            matches!(
                refused,
                Err(GateError::NotApproved(ApprovalError::TooOften))
            ),
            "{refused:?}"
        );
    }
    let other = Request {
        caller: Caller::Token("other".into()),
        ..request("reboot", Approvers::Caller)
    };
    drop(asked(gate.request(other)));
    let events = events(directory.path());
    let denied = events.iter().filter(|event| *event == "decided deny");
    assert_eq!(denied.count(), 20);
}

#[test]
fn an_answer_is_recorded_before_it_is_given() {
    let (directory, gate) = gate("elevated");
    let waiting = asked(gate.request(request("reboot", Approvers::Caller)));
    // A record that was moved away can't be written.
    let (file, aside) = (
        directory.path().join("audit-000001.ndjson"),
        directory.path().join("aside"),
    );
    std::fs::rename(&file, &aside).expect("moved");
    let answered = gate.answer(&waiting.id, &caller(), Choice::Once, "");
    assert!(matches!(answered, Err(GateError::Audit(_))), "{answered:?}");
    assert!(waiting.poll(Instant::now()).is_none(), "no yes without it");
    std::fs::rename(&aside, &file).expect("moved back");
    let answered = gate.answer(&waiting.id, &caller(), Choice::Once, "");
    answered.expect("it waits still");
    assert!(waiting.wait().is_ok());
    assert_eq!(events(directory.path()), ["decided ask", "answered"]);
}

#[test]
fn who_may_not_answer_is_recorded() {
    let (directory, gate) = gate("elevated");
    let waiting = asked(gate.request(request("reboot", Approvers::Caller)));
    let other = Caller::Token("other".into());
    for _ in 0..100 {
        let refused = gate.answer(&waiting.id, &other, Choice::Once, "");
        assert!(matches!(
            refused,
            Err(GateError::NotApproved(ApprovalError::NotAsked { .. }))
        ));
    }
    let entries = entries(directory.path());
    let refused = entries
        .iter()
        .filter(|it| it["event"] == "answer_refused")
        .collect::<Vec<_>>();
    assert_eq!(refused.len(), 20);
    assert_eq!(refused[0]["by"]["token"], "other");
    assert_eq!(refused[0]["question"], waiting.id.as_str());
}
