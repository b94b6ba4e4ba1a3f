//! Any bytes as a record: it is read back with findings, or refused, and can be opened for
//! appending or not; never a panic.
#![no_main]

use std::fs;

use fazai_tools::{AuditLog, AuditOptions, Event, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>, bool)| {
    let (entries, heads, after_an_opening) = input;
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    if after_an_opening {
        // With a key and a good first line.
        drop(AuditLog::open(AuditOptions::new(directory.path())));
    }
    let file = path("audit-000001.ndjson");
    let whole = [fs::read(&file).unwrap_or_default(), entries].concat();
    fs::write(&file, whole).expect("written");
    fs::write(path("heads.ndjson"), heads).expect("written");
    let _ = verify(directory.path());
    if let Ok(mut log) = AuditLog::open(AuditOptions::new(directory.path())) {
        log.append(&Event::Unused { permit: 1 }).expect("appended");
        let _ = verify(directory.path());
    }
});
