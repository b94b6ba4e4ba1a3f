//! A command that kills its keeper.
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

mod commands;

use std::process::Command;

use commands::{how, mark, read_only, runs, see, shell, soon, try_run};
use fazai_tools::RunError;

/// Whether this kernel keeps signals within a Landlock domain.
fn can_be_set_apart() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>());
    let mut next = || numbers.next().and_then(Result::ok).expect("a number");
    (next(), next()) >= (6, 12)
}

#[test]
fn one_that_only_looks_can_not_reach_it() {
    if !can_be_set_apart() {
        eprintln!("SKIPPED: this kernel lets it, before Linux 6.12");
        return;
    }
    match try_run(shell("true"), &read_only(), None) {
        Err(RunError::NotConfined { why }) => return eprintln!("SKIPPED: {why}"),
        ran => drop(ran.expect("it runs")),
    }
    let text = "for how in KILL STOP TERM; do kill -$how $PPID && echo $how; done; \
                kill -KILL -- -$PPID; sleep 0.2; echo alive";
    let seen = see(text, &read_only());
    assert_eq!(seen.stdout(), "alive\n");
    assert_eq!(seen.ended.exit_code, Some(0));
    // Its own it can.
    let seen = see("sleep 60 & kill -KILL $!; wait $!; echo $?", &read_only());
    assert_eq!(seen.stdout(), "137\n");
}

/// In a process of its own for each, since that is for good.
#[test]
fn what_it_leaves_is_ended_by_a_worker_that_adopts_it() {
    const ALONE: &str = "FAZAI_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let test = "what_it_leaves_is_ended_by_a_worker_that_adopts_it";
        let ran = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", test, "--nocapture"])
            .env(ALONE, "1")
            .output()
            .expect("it runs");
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        return;
    }
    // One that was there before, in a session of its own.
    let mut before = Command::new("setsid")
        .args(["sleep", "60"])
        .spawn()
        .expect("it runs");
    let in_its_own = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", before.id()));
        let fields: Vec<String> = stat
            .expect("it is there")
            .split(' ')
            .map(str::to_owned)
            .collect();
        fields[5] == before.id().to_string()
    };
    assert!(soon(in_its_own));
    fazai_tools::adopt_orphans().expect("it can");
    let mark = mark(80);
    for leave in [
        "setsid sleep MARK & sleep 0.3",
        "setsid -f bash -c 'setsid -f sleep MARK; sleep MARK'; sleep 0.3",
        "sleep MARK &",
    ] {
        let text = format!("{leave}\nkill -KILL $PPID; sleep 60").replace("MARK", &mark);
        let error = try_run(shell(&text), &how(), None).expect_err("nobody knows how it ended");
        assert!(matches!(error, RunError::Lost), "{error}");
        // Not after a while: before anybody is told.
        assert!(!runs(&mark), "{leave}");
    }
    assert!(before.try_wait().expect("known").is_none());
    before.kill().expect("killed");
    before.wait().expect("ended");
}
