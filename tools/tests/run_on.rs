//! Programs that run on while somebody talks with them.
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

mod commands;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use commands::{Place, exec, how, mark, read_only, runs, shell, soon};
use fazai_tools::{Action, Exec, Exited, How, RunError, Started, start};

fn started(place: &Place, exec: Exec, how: &How) -> Started {
    start(place.permit(Action::Exec(exec)), how).expect("started")
}

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn it_is_talked_with_and_ends_by_itself() {
    let place = Place::new();
    let text = "while read line; do echo \"<$line>\"; done; echo bye >&2; exit 4";
    let mut it = started(&place, shell(text), &how());
    let mut lines = BufReader::new(it.stdout).lines();
    for word in ["one", "two"] {
        writeln!(it.stdin, "{word}").expect("written");
        let line = lines.next().expect("a line").expect("text");
        assert_eq!(line, format!("<{word}>"));
    }
    drop(it.stdin);
    let mut told = String::new();
    it.stderr.read_to_string(&mut told).expect("text");
    assert_eq!(told, "bye\n");
    let exited = it.process.end(PATIENCE).expect("it ran");
    let expected = Exited {
        exit_code: Some(4),
        signal: None,
        stopped: false,
    };
    assert_eq!(exited, expected);
    assert_eq!(place.last_entry()["exit_code"], 4);
}

#[test]
fn it_is_ended_with_all_that_it_started() {
    let place = Place::new();
    let mark = mark(70);
    let text = format!("trap '' TERM; setsid -f sleep {mark}; sleep {mark}; sleep {mark}");
    let it = started(&place, shell(&text), &how());
    assert!(soon(|| runs(&mark)), "it did not start");
    let exited = it.process.end(Duration::ZERO).expect("it ran");
    assert!(exited.stopped);
    assert_eq!(exited.signal, Some(9));
    assert!(!runs(&mark));
    assert_eq!(place.last_entry()["error"], "it was stopped");
    // One that is dropped ends as well, and that is recorded.
    let it = started(&place, shell(&format!("sleep {mark}")), &how());
    assert!(soon(|| runs(&mark)), "it did not start");
    drop(it);
    assert!(!runs(&mark));
    assert_eq!(place.last_entry()["error"], "it was stopped");
}

#[test]
fn why_it_did_not_start_is_said_at_its_end() {
    let place = Place::new();
    let mut it = started(&place, exec(&["no-such-program"]), &how());
    let mut told = String::new();
    it.stdout.read_to_string(&mut told).expect("text");
    assert_eq!(told, "");
    let error = it.process.end(PATIENCE).expect_err("there is none");
    assert!(matches!(error, RunError::NotFound { .. }), "{error}");
    let error = place.last_entry()["error"].to_string();
    assert!(error.contains("no-such-program"), "{error}");
}

#[test]
fn it_is_confined_for_as_long_as_it_runs() {
    let place = Place::new();
    let outside = place.directory.path().join("written");
    let text = "read path; echo x >\"$path\" || echo no; echo y >\"$TMPDIR/a\" && cat \"$TMPDIR/a\"; echo $TMPDIR";
    let mut it = started(&place, shell(text), &read_only());
    writeln!(it.stdin, "{}", outside.display()).expect("written");
    drop(it.stdin);
    let mut told = String::new();
    it.stdout.read_to_string(&mut told).expect("text");
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines[..2], ["no", "y"]);
    it.process.end(PATIENCE).expect("it ran");
    assert!(!outside.exists());
    assert!(!std::path::Path::new(lines[2]).exists());
}

const WORKER: &str = "FAZAI_TEST_WORKER";

/// Does nothing by itself: it is the worker of the test below.
#[test]
fn a_worker_that_waits() {
    if let Some(mark) = std::env::var_os(WORKER) {
        let text = format!("trap '' TERM; sleep {0}; sleep {0}", mark.display());
        let mut it = started(&Place::new(), shell(&text), &how());
        let _ = it.stdout.read_to_string(&mut String::new());
    }
}

#[test]
fn a_worker_that_is_killed_takes_it_along() {
    let mark = mark(71);
    let mut worker = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "a_worker_that_waits", "--nocapture"])
        .env(WORKER, &mark)
        .stdout(Stdio::null())
        .spawn()
        .expect("a worker");
    assert!(soon(|| runs(&mark)), "it did not start");
    worker.kill().expect("killed");
    worker.wait().expect("ended");
    assert!(soon(|| !runs(&mark)), "it still runs");
}
