//! What a module writes to standard error is in the host's log. One test, because the log is the
//! whole program's.

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::Dir;
use fazai_modhost::{Entry, Limits};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

#[track_caller]
fn soon(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(5);
    while !is() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How many threads follow a process.
fn followers() -> usize {
    std::fs::read_dir("/proc/self/task")
        .expect("threads")
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.trim() == "fazai-modlog")
        .count()
}

#[test]
fn messages_are_logged_until_there_are_too_many() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let dir = Dir::new();
    let module = dir
        .load("noisy", &Entry::unlisted("noisy"), Limits::default())
        .expect("loads");
    soon("init's line", || log.text().contains("here I am"));
    assert!(log.text().contains("INFO") && log.text().contains("module=\"noisy\""));
    module.exec("this").expect("answers");
    assert_eq!(followers(), 1);

    // Nothing waits for the log, and most of it is dropped.
    let begun = Instant::now();
    assert_eq!(module.exec("flood 200000").expect("answers").text, "done");
    assert!(begun.elapsed() < Duration::from_secs(5));
    soon("the last line", || log.text().contains("is dropped"));
    assert_eq!(module.exec("again").expect("answers").text, "done");
    drop(module);
    soon("the thread's end", || followers() == 0);

    let text = log.text();
    assert!(text.contains("[2Jsaid: thisline 0 of a flood"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains("standard output"));
    let lines = text.lines().filter(|line| line.contains("::stderr: "));
    assert_eq!(lines.count(), 201);
    assert_eq!(text.matches("is dropped").count(), 1);
}
