//! Commands with a permit: what they get, what they say, and why some do not start.
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

mod commands;

use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use commands::{Place, exec, how, see, shell, try_run};
use fazai_tools::{Action, Exec, Hash, How, PIECE_BYTES_MAX, Piece, RunError, Source, Why, run};

#[test]
fn a_command_says_what_it_says() {
    let seen = see("echo one; echo two >&2; printf three; exit 5", &how());
    assert_eq!(seen.stdout(), "one\nthree");
    assert_eq!(seen.text(Source::Stderr), "two\n");
    let ended = seen.ended;
    assert_eq!((ended.exit_code, ended.signal), (Some(5), None));
    assert_eq!(
        (ended.why, ended.bytes, ended.cut),
        (Why::Finished, 13, false)
    );
    let last = seen.pieces.last().expect("output");
    assert!(!last.ends_line || last.from == Source::Stderr);
}

#[test]
fn without_a_time_limit_it_runs_to_its_end() {
    let how = How {
        timeout: Duration::MAX,
        term_grace: Duration::MAX,
        ..how()
    };
    assert_eq!(see("echo hi", &how).stdout(), "hi\n");
}

#[test]
fn merged_streams_keep_their_order() {
    let how = How {
        merge_stderr: true,
        ..how()
    };
    let text = "for i in 1 2 3; do echo out $i; echo err $i >&2; done";
    let seen = see(text, &how);
    let all = "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n";
    assert_eq!(seen.stdout(), all);
    assert_eq!(seen.ended.output_sha256, Hash::of(all.as_bytes()));
}

#[test]
fn a_signal_is_no_exit_code() {
    let ended = see("kill -SEGV $$", &how()).ended;
    assert_eq!((ended.exit_code, ended.signal), (None, Some(11)));
    assert_eq!(ended.why, Why::Finished);
}

#[test]
fn what_is_no_text_is_replaced() {
    let seen = see(r"printf 'a\xff\xfeb\n\x00\n'", &how());
    assert_eq!(seen.stdout(), "a\u{fffd}\u{fffd}b\n\0\n");
}

#[test]
fn a_long_line_comes_in_pieces() {
    let seen = see("head -c 200000 /dev/zero | tr '\\0' x", &how());
    assert_eq!(seen.pieces.len(), 4);
    assert!(
        seen.pieces
            .iter()
            .all(|one| one.text.len() <= PIECE_BYTES_MAX && !one.ends_line)
    );
    assert_eq!(seen.stdout().len(), 200_000);
}

#[test]
fn stdin_is_empty_or_given() {
    assert_eq!(see("cat; echo end", &how()).stdout(), "end\n");
    let long = vec![b'z'; 3 << 20];
    let how = How {
        stdin: Some(long),
        ..how()
    };
    assert_eq!(see("wc -c", &how).stdout().trim(), "3145728");
    // Who does not read it is not waited for.
    assert_eq!(see("true", &how).ended.exit_code, Some(0));
    // What was not judged is not given.
    assert!(try_run(shell("cat"), &how, None).is_err());
}

#[test]
fn a_closed_output_is_no_end() {
    let seen = see("echo before; exec >&- 2>&-; sleep 0.3; exit 3", &how());
    assert_eq!(seen.stdout(), "before\n");
    assert_eq!(seen.ended.exit_code, Some(3));
    assert!(seen.took.as_millis() >= 300);
}

#[test]
fn a_pipe_that_closes_ends_its_writer() {
    // SIGPIPE is not ignored, as it is in this program.
    let seen = see("yes | head -n 1; echo ${PIPESTATUS[0]}", &how());
    assert_eq!(seen.stdout(), "y\n141\n");
}

#[test]
fn nothing_of_the_worker_is_inherited() {
    // Not close-on-exec: what a careless library leaves open.
    let file = std::fs::File::open("/etc/hostname").expect("a file");
    let leaked = rustix::io::dup(file.as_fd()).expect("a descriptor");
    let seen = see(
        "ls /proc/self/fd; env -0 | sort -z | tr '\\0' '\\n'",
        &how(),
    );
    drop(leaked);
    let text = seen.stdout();
    // 3 is the directory that ls reads.
    assert!(text.starts_with("0\n1\n2\n3\n"), "{text}");
    assert!(!text.starts_with("0\n1\n2\n3\n4\n"), "{text}");
    // Cargo gives its tests dozens of variables.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(!text.contains("CARGO"), "{text}");
    assert!(
        text.contains("TERM=dumb\n") && text.contains("PATH="),
        "{text}"
    );
}

#[test]
fn variables_and_the_directory_are_the_actions() {
    let mut exec = shell("echo $GREETING; pwd");
    exec.env.insert("GREETING".into(), "olá".into());
    exec.cwd = "/usr".into();
    let seen = try_run(exec, &how(), None).expect("it runs");
    assert_eq!(seen.stdout(), "olá\n/usr\n");
}

#[test]
fn what_can_not_start_says_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("plain"), "echo hi").expect("written");
    let refusal = |exec: Exec| try_run(exec, &how(), None).expect_err("nothing to run");
    let missing = refusal(exec(&["no-such-program-here"]));
    assert!(
        matches!(&missing, RunError::NotFound { program } if program == "no-such-program-here")
    );
    assert!(missing.to_string().contains("install the package"));
    assert!(matches!(
        refusal(exec(&[&path("none")])),
        RunError::NotFound { .. }
    ));
    for name in [path("plain"), path("")] {
        let error = refusal(exec(&[&name]));
        assert!(matches!(error, RunError::NotExecutable { .. }), "{error}");
    }
    let nowhere = Exec {
        cwd: "/no/such/directory".into(),
        ..exec(&["true"])
    };
    let error = refusal(nowhere);
    assert!(matches!(error, RunError::Directory { .. }), "{error}");
    let mut equals = exec(&["true"]);
    equals.env.insert("A=B".into(), "c".into());
    let error = refusal(equals);
    assert!(matches!(error, RunError::Malformed { .. }), "{error}");
}

#[test]
fn a_launcher_that_is_no_keeper_is_an_error() {
    let mut how = how();
    how.launcher.program = "/bin/true".into();
    let error = try_run(shell("echo hi"), &how, None).expect_err("nobody starts it");
    assert!(
        matches!(error, RunError::Lost | RunError::Spawn(_)),
        "{error}"
    );
    how.launcher.program = "/no/such/program".into();
    let error = try_run(shell("echo hi"), &how, None).expect_err("nobody starts it");
    assert!(matches!(error, RunError::Spawn(_)), "{error}");
}

#[test]
fn long_arguments_arrive_or_are_refused_by_the_gate() {
    let long = "x".repeat(10_000);
    let seen = try_run(exec(&["printf", "%s", &long]), &how(), None).expect("it runs");
    assert_eq!(seen.stdout(), long);
    let huge = "x".repeat(1 << 20);
    let refused = catch_unwind(|| {
        drop(Place::new().permit(Action::Exec(exec(&["printf", "%s", &huge]))));
    });
    assert!(refused.is_err(), "it is refused before it can be run");
}

#[test]
fn a_permit_for_something_else_starts_nothing() {
    let place = Place::new();
    let permit = place.permit(Action::ReadFile {
        path: "/var/log/messages".into(),
    });
    let error = run(permit, &how(), None, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(error, Err(RunError::WrongAction { .. })));
    assert_eq!(place.last_entry()["event"], "finished");
}

#[test]
fn the_end_is_recorded() {
    let place = Place::new();
    let permit = place.permit(Action::Exec(shell("echo hi; exit 4")));
    run(permit, &how(), None, &mut |_| ControlFlow::Continue(())).expect("it runs");
    let entry = place.last_entry();
    assert_eq!(entry["exit_code"], 4);
    assert_eq!(entry["output_sha256"], Hash::of(b"hi\n").to_string());
}

#[test]
fn a_reader_that_panics_leaves_nothing_behind() {
    let place = Place::new();
    let mark = commands::mark(1);
    let permit = place.permit(Action::Exec(shell(&format!("echo hi; sleep {mark}"))));
    let mut reader = |_: Piece| panic!("the reader's own mistake");
    let caught = catch_unwind(AssertUnwindSafe(|| run(permit, &how(), None, &mut reader)));
    assert!(caught.is_err());
    assert!(!commands::runs(&mark));
    assert_eq!(place.last_entry()["event"], "finished");
}

#[test]
fn a_script_that_was_replaced_after_the_yes_does_not_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let (script, done) = (
        directory.path().join("run.sh"),
        directory.path().join("done"),
    );
    std::fs::write(&script, "true").expect("written");
    let place = Place::new();
    let permit = place.permit(Action::shell(format!("sh {}", script.display()), "/"));
    std::fs::write(&script, format!("touch {}", done.display())).expect("written");
    let error = run(permit, &how(), None, &mut |_| ControlFlow::Continue(()));
    let error = error.expect_err("it is another script");
    assert!(matches!(error, RunError::Changed(_)), "{error}");
    assert!(!done.exists());
    let entry = place.last_entry();
    assert_eq!(entry["event"], "finished");
    let recorded = entry["error"].as_str().expect("a reason");
    assert!(recorded.contains("was changed"), "{recorded}");
}
