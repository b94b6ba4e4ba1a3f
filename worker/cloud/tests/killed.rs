//! The budget survives a `kill -9`: nothing is lost, nothing is counted twice.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use fazai_cloud::budget::{Amount, Ledger, Limits};
use jiff::Timestamp;

const DIRECTORY: &str = "FAZAI_CLOUD_TEST_DIRECTORY";
const RESERVED: u64 = 10;
const SPENT: u64 = 3;

/// Not a test of its own: the process that is killed.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let ledger = Ledger::open(Path::new(&directory), now()).unwrap();
    for _ in 0..100_000 {
        let amount = Amount {
            tokens: RESERVED,
            nanos: 0,
        };
        let mut held = ledger
            .reserve("u", amount, &Limits::default(), now())
            .unwrap();
        println!("reserved");
        held.so_far(Amount {
            tokens: SPENT,
            nanos: 0,
        });
        drop(held);
        println!("settled");
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_780_315_200).unwrap()
}

#[test]
fn nothing_is_lost_or_doubled() {
    let directory = tempfile::tempdir().unwrap();
    let mut before = 0;
    for kill_after in [1, 2, 101, 1000] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut reserved, mut settled) = (0, 0);
        for line in lines.map_while(Result::ok) {
            reserved += u64::from(line.ends_with("reserved"));
            settled += u64::from(line.ends_with("settled"));
            if reserved + settled == kill_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(
            reserved + settled >= kill_after,
            "it was killed in the middle"
        );
        for _ in 0..2 {
            let ledger = Ledger::open(directory.path(), now()).unwrap();
            let spent = ledger.spent("u", now())[0].tokens - before;
            // What was said is in it, and at most one step more that it had no time to say.
            let said = settled * SPENT + (reserved - settled) * RESERVED;
            let silent = [
                said,
                settled * SPENT + (reserved - settled) * SPENT,
                said + RESERVED,
            ];
            assert!(
                silent.contains(&spent),
                "{spent} after {reserved} and {settled}"
            );
        }
        let ledger = Ledger::open(directory.path(), now()).unwrap();
        before = ledger.spent("u", now())[0].tokens;
    }
}
