//! Every command ends, and all that it started with it.
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

mod commands;

use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use commands::{Place, how, mark, runs, see, shell, soon, try_run};
use fazai_sandbox::Stop;
use fazai_tools::{Action, Ended, How, OUTPUT_DROPPED_BYTES_MAX, RunError, Why, run};

fn short() -> How {
    How {
        timeout: Duration::from_millis(500),
        ..how()
    }
}

/// Runs a text in which `MARK` is a sleep; says how it ended, and that the sleep did.
#[track_caller]
fn ends(test: u32, text: &str, how: &How) -> (Ended, Duration) {
    let mark = mark(test);
    let seen = see(&text.replace("MARK", &mark), how);
    assert!(!runs(&mark), "{text}: it still runs");
    (seen.ended, seen.took)
}

#[test]
fn time_ends_a_command() {
    let (ended, took) = ends(1, "sleep MARK", &short());
    assert_eq!((ended.why, ended.signal), (Why::TimedOut, Some(15)));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_command_may_clean_up() {
    let text = "trap 'echo bye; exit 7' TERM; sleep MARK & wait";
    let (ended, _) = ends(2, text, &short());
    assert_eq!((ended.why, ended.exit_code), (Why::TimedOut, Some(7)));
}

#[test]
fn one_that_ignores_sigterm_is_killed() {
    let (ended, took) = ends(3, "trap '' TERM; sleep MARK; sleep MARK", &short());
    assert_eq!((ended.why, ended.signal), (Why::TimedOut, Some(9)));
    assert!(took >= Duration::from_secs(1), "the grace was not given");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn whoever_leaves_the_group_is_found() {
    for (test, text) in [
        (10, "setsid sleep MARK & sleep 60"),
        (11, "setsid -f sleep MARK; sleep 60"),
        (
            12,
            "(setsid bash -c 'setsid sleep MARK & exit' & exit); sleep 60",
        ),
        (
            13,
            "nohup setsid bash -c \"trap '' TERM HUP; sleep MARK\" >/dev/null 2>&1 & disown; sleep 60",
        ),
        (14, "timeout 1000 sleep MARK"),
        (
            15,
            "trap '' TERM; (setsid -f bash -c \"trap '' TERM; sleep MARK\"); sleep 60",
        ),
    ] {
        assert_eq!(ends(test, text, &short()).0.why, Why::TimedOut);
    }
}

#[test]
fn nothing_is_left_behind_by_one_that_ends() {
    for (test, text) in [
        (20, "sleep MARK & echo hi"),
        (21, "setsid -f sleep MARK; echo hi"),
        (
            22,
            "setsid -f bash -c \"trap '' TERM; sleep MARK\" >/dev/null 2>&1; echo hi",
        ),
    ] {
        let (ended, took) = ends(test, text, &how());
        assert_eq!(
            (ended.why, ended.exit_code, ended.bytes),
            (Why::Finished, Some(0), 3)
        );
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn a_script_that_signals_its_group_means_itself() {
    let (ended, _) = ends(
        30,
        "trap 'exit 3' TERM; sleep MARK & group=0; kill $group; sleep 60",
        &how(),
    );
    assert_eq!(ended.why, Why::Finished);
    assert_eq!((ended.exit_code, ended.signal), (Some(3), None));
}

#[test]
fn a_stop_ends_a_command() {
    let stop = Stop::new().expect("a stop");
    let other = stop.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        other.stop();
    });
    let mark = mark(40);
    let text = format!("sleep {mark}");
    let seen = try_run(shell(&text), &how(), Some(&stop)).expect("it ran");
    thread.join().expect("raised");
    assert_eq!(
        (seen.ended.why, seen.ended.signal),
        (Why::Stopped, Some(15))
    );
    assert!(!runs(&mark));
    // One that was raised before ends it as well.
    let seen = try_run(shell(&text), &how(), Some(&stop)).expect("it ran");
    assert_eq!(seen.ended.why, Why::Stopped);
    assert!(!runs(&mark));
}

#[test]
fn a_reader_that_breaks_ends_a_command() {
    let place = Place::new();
    let permit = place.permit(Action::Exec(shell("yes")));
    let mut pieces = 0;
    let ended = run(permit, &how(), None, &mut |_| {
        pieces += 1;
        ControlFlow::Break(())
    });
    assert_eq!(ended.expect("it ran").why, Why::Stopped);
    assert_eq!(pieces, 1);
}

#[test]
fn output_without_end_is_cut_and_then_ended() {
    let how = How {
        output_bytes_max: 100,
        timeout: Duration::from_secs(120),
        ..how()
    };
    let seen = see("yes", &how);
    assert_eq!((seen.ended.why, seen.ended.cut), (Why::OutputLimit, true));
    assert_eq!(seen.stdout().len(), 100);
    assert!(seen.ended.bytes > OUTPUT_DROPPED_BYTES_MAX);
    assert!(seen.ended.bytes < 2 * OUTPUT_DROPPED_BYTES_MAX);
    // What is a little too much is read to its end.
    let seen = see("seq 100000; exit 2", &how);
    assert_eq!((seen.ended.exit_code, seen.ended.cut), (Some(2), true));
    assert_eq!((seen.ended.why, seen.ended.bytes), (Why::Finished, 588_895));
}

#[test]
fn a_keeper_that_is_killed_takes_the_command_along() {
    let mark = mark(50);
    let text = format!("sleep {mark} & setsid sleep 1 & kill -KILL $PPID; wait");
    let error = try_run(shell(&text), &how(), None).expect_err("nobody knows how it ended");
    assert!(matches!(error, RunError::Lost), "{error}");
    assert!(soon(|| !runs(&mark)));
}

const WORKER: &str = "FAZAI_TEST_WORKER";

/// Does nothing by itself: it is the worker of the test below.
#[test]
fn a_worker_that_waits() {
    if let Some(mark) = std::env::var_os(WORKER) {
        let mark = mark.to_string_lossy();
        see(
            &format!("setsid -f sleep {mark}; trap '' TERM; sleep {mark}; sleep {mark}"),
            &how(),
        );
    }
}

#[test]
fn a_worker_that_is_killed_takes_the_command_along() {
    let mark = mark(60);
    let mut worker = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "a_worker_that_waits", "--nocapture"])
        .env(WORKER, &mark)
        .stdout(Stdio::null())
        .spawn()
        .expect("a worker");
    assert!(soon(|| runs(&mark)), "it did not start");
    worker.kill().expect("killed");
    worker.wait().expect("ended");
    let begun = Instant::now();
    assert!(soon(|| !runs(&mark)), "it still runs");
    assert!(begun.elapsed() < Duration::from_secs(5));
}
