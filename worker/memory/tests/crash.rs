//! What `upsert` acknowledged is there after the process was killed, whenever that was.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::{record, vector};
use fazai_memory::store::embedded::Embedded;
use fazai_memory::store::{Collection, Store};
use fazai_memory::{Memory, MemoryError, Options};

const DIRECTORY: &str = "FAZAI_MEMORY_TEST_DIRECTORY";
const KB: Collection = Collection::Knowledge;
const BATCH: usize = 10;

/// Not a test of its own: the process that is killed.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let store = Embedded::open(directory).unwrap();
    store.prepare(KB, Some(32)).unwrap();
    let first = store.count(KB).unwrap();
    for batch in 0..1000 {
        let numbers = first + batch * BATCH..first + (batch + 1) * BATCH;
        let records: Vec<_> = numbers
            .map(|n| record("a", n, Some(vector(n, 32))))
            .collect();
        store.upsert(KB, &records).unwrap();
        println!("acknowledged {}", first + (batch + 1) * BATCH);
    }
}

#[test]
fn what_was_acknowledged_survives_sigkill() {
    let directory = tempfile::tempdir().unwrap();
    for kill_after in [1, 57, 400] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = 0;
        let mut seen = 0;
        for line in lines.map_while(Result::ok) {
            let Some((_, number)) = line.split_once("acknowledged ") else {
                continue;
            };
            acknowledged = number.parse().unwrap();
            seen += 1;
            if seen == kill_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= kill_after, "it was killed in the middle");
        let store = Embedded::open(directory.path()).unwrap();
        let count = store.count(KB).unwrap();
        assert!(count >= acknowledged, "{count} of {acknowledged}");
        let wanted: Vec<_> = (0..acknowledged).map(|n| record("a", n, None).id).collect();
        for ids in wanted.chunks(1000) {
            let found = store.get(KB, ids).unwrap();
            assert_eq!(found.len(), ids.len());
        }
        // A batch of which a part came through goes on where it was.
        assert!(count < acknowledged + 2 * BATCH * 20, "{count}");
    }
}

#[test]
fn a_second_process_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let first = Memory::open(Options::new(directory.path()), None).unwrap();
    let second = Memory::open(Options::new(directory.path()), None).unwrap_err();
    assert!(matches!(second, MemoryError::InUse { .. }), "{second}");
    assert!(second.to_string().contains("in use"), "{second}");
    drop(first);
    Memory::open(Options::new(directory.path()), None).unwrap();
}
