//! The machine itself as a source: a directory stands in for `/proc`.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;

use fazai_models::backend::scripted::Script;
use fazai_tests::TestWorker;
use serde_json::{Value, json};

#[tokio::test]
async fn a_machine_whose_memory_is_full_is_an_incident() {
    let home = tempfile::tempdir().unwrap();
    let proc = home.path().join("proc");
    fs::create_dir(&proc).unwrap();
    // All fields that a kernel always has.
    let real = fs::read_to_string("/proc/meminfo").unwrap();
    let full: String = real
        .lines()
        .map(|line| match line.split(':').next() {
            Some("MemTotal") => "MemTotal: 1000 kB\n".to_owned(),
            Some("MemAvailable") => "MemAvailable: 5 kB\n".to_owned(),
            _ => format!("{line}\n"),
        })
        .collect();
    fs::write(proc.join("meminfo"), full).unwrap();
    // The others are not there, which is told and keeps nothing from being read.
    let worker = TestWorker::with_settings(Script::answering(|_| String::new()), |settings| {
        settings.policy.audit_dir = home.path().join("audit");
        settings.watch.state_dir = home.path().join("watch");
        settings.watch.model = false;
        settings.watch.metrics = Some(proc.clone());
    })
    .await;
    worker.worker.watch().await.unwrap();
    let mut wire = worker.connect().await;
    let request = json!({ "action": "subscribe", "action_id": "s", "params": { "after": 0 } });
    wire.send(&request.to_string()).await;
    let line: Value = loop {
        let line = wire.next().await.unwrap();
        if line["action"] == "incident" {
            break line;
        }
    };
    let data = &line["data"];
    assert_eq!(data["category"], "resource", "{line}");
    assert_eq!(data["severity"], "high", "{line}");
    assert_eq!(data["actor"], Value::Null);
    assert!(
        data["subject"].as_str().unwrap().starts_with("memory on "),
        "{line}"
    );
    let text = data["incident"]["evidence"][0]["text"].as_str().unwrap();
    let evidence: Value = serde_json::from_str(text).unwrap();
    assert_eq!(evidence["system"]["memory"]["actual"]["used"]["pct"], 0.995);
    worker.stop().await;
}
