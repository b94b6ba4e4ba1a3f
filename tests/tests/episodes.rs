//! The record of a day: what is in it, what is not, and how long it lasts.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::path::Path;

use fazai_tests::served::{Served, fazai, path, wait_for};
use fazai_tests::{TestWorker, Wire, echo, program, stdout};
use serde_json::{Value, json};

async fn worker(home: &Path, on: bool) -> TestWorker {
    TestWorker::with_settings(echo(), |settings| {
        settings.modules.program = Some(program());
        settings.policy.audit_dir = home.join("audit");
        settings.policy.file = home.join("policy.toml");
        settings.memory.dir = home.join("memory");
        settings.memory.episodes.on = on;
    })
    .await
}

/// The episodes of the only day.
async fn recorded(wire: &mut Wire) -> Vec<Value> {
    let days = json!({ "action": "kb", "action_id": "d", "input": "episodes" });
    let days = wire.call(&days.to_string()).await;
    assert!(days["error"].is_null(), "{days}");
    let Some(day) = days["data"]["days"].as_array().unwrap().last() else {
        return Vec::new();
    };
    let day = day["day"].as_str().unwrap();
    let read = json!({ "action": "kb", "action_id": "e", "input": format!("episodes {day}") });
    let read = wire.call(&read.to_string()).await;
    read["data"]["episodes"].as_array().unwrap().clone()
}

/// Waits until so many requests that are no `kb` are written down; nobody waits for that otherwise.
async fn until(wire: &mut Wire, count: usize) -> Vec<Value> {
    for _ in 0..600 {
        let mut episodes = recorded(wire).await;
        episodes.retain(|episode| episode["action"] != "kb");
        if episodes.len() >= count {
            return episodes;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("they never came");
}

#[tokio::test]
async fn a_day_says_what_was_asked_and_done_and_keeps_secrets() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path(), true).await;
    let mut wire = worker.connect().await;
    let ask = |id: &str, input: &str, session: Option<&str>, params: Value| {
        json!({ "action": "ask", "action_id": id, "input": input, "session": session, "params": params }).to_string()
    };
    let plain = json!({});
    wire.call(&ask(
        "a",
        "why does mail to root@example.org from 192.0.2.7 wait?",
        None,
        plain.clone(),
    ))
    .await;
    wire.call(&ask(
        "b",
        "my password is hunter2",
        None,
        json!({ "label": "private" }),
    ))
    .await;
    // What was private once in a session makes all of it private.
    wire.call(&ask(
        "c",
        "the first secret",
        Some("s"),
        json!({ "label": "private" }),
    ))
    .await;
    wire.call(&ask("d", "more about the secret", Some("s"), plain.clone()))
        .await;
    wire.call(&ask(
        "e",
        "a wish that is no wish",
        None,
        json!({ "temperature": 99 }),
    ))
    .await;
    let shell = json!({ "action": "shell", "action_id": "f", "input": "echo done" });
    let ran = wire.call(&shell.to_string()).await;
    assert!(ran["error"].is_null(), "{ran}");

    let episodes = until(&mut wire, 2).await;
    let mut asked: Vec<&str> = episodes
        .iter()
        .map(|episode| episode["asked"].as_str().unwrap())
        .collect();
    asked.sort_unstable();
    assert_eq!(
        asked,
        ["echo done", "why does mail to [EMAIL_1] from [IP_1] wait?"]
    );
    let shell = episodes
        .iter()
        .find(|episode| episode["action"] == "shell")
        .unwrap();
    assert_eq!(shell["did"], json!(["echo done"]), "{shell}");
    assert_eq!(shell["status"], "done", "{shell}");
    let answer = episodes
        .iter()
        .find(|episode| episode["action"] == "ask")
        .unwrap();
    assert!(
        answer["result"].as_str().unwrap().contains("[EMAIL_1]"),
        "{answer}"
    );

    for (wrong, code) in [
        ("episodes yesterday", "invalid_params"),
        ("episodes 2001-01-01", "memory_not_found"),
    ] {
        let call = json!({ "action": "kb", "action_id": "w", "input": wrong });
        let refused = wire.call(&call.to_string()).await;
        assert_eq!(refused["error"]["code"], code, "{refused}");
    }
    let gc = json!({ "action": "kb", "action_id": "g", "input": "gc" });
    let collected = wire.call(&gc.to_string()).await;
    assert_eq!(collected["data"]["episodes"]["expired"], 0, "{collected}");
    worker.stop().await;
    // With the end of the worker the day is in its store, and whole.
    let files = fs::read_dir(home.path().join("memory/episodes")).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let days: Vec<_> = files.filter(|path| !path.ends_with("lock")).collect();
    assert_eq!(days.len(), 1);
    let text = fs::read_to_string(&days[0]).unwrap();
    for secret in ["hunter2", "secret", "example.org", "192.0.2.7"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    for line in text.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
}

#[tokio::test]
async fn without_a_wish_nothing_is_recorded() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path(), false).await;
    let mut wire = worker.connect().await;
    wire.call(r#"{"action":"ask","action_id":"a","input":"hello"}"#)
        .await;
    let days = wire
        .call(r#"{"action":"kb","action_id":"d","input":"episodes"}"#)
        .await;
    let error = &days["error"];
    assert_eq!(error["code"], "not_supported", "{days}");
    assert_eq!(error["retryable"], false, "{days}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("episodes is off"), "{days}");
    worker.stop().await;
    assert!(!home.path().join("memory/episodes.open").exists());
}

/// A worker that is killed leaves whole lines, and the next one goes on behind them.
#[test]
fn a_worker_that_is_killed_leaves_whole_lines() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("memory");
    let settings = format!("[memory]\ndir = {}\nepisodes = on\n", dir.display());
    let say = |served: &Served, text: &str| {
        let said = fazai(&["kb", "note", text, "--socket", path(&served.socket)]);
        assert!(said.status.success(), "{said:?}");
    };
    let spool = || {
        let files = fs::read_dir(dir.join("episodes.open"))
            .into_iter()
            .flatten();
        let days = files
            .map(|file| file.unwrap().path())
            .filter(|file| file.extension().is_some());
        days.map(|file| fs::read_to_string(file).unwrap())
            .collect::<String>()
    };
    let mut first = Served::with_settings(&settings);
    say(&first, "the first note of the day");
    wait_for(|| spool().contains("the first note"));
    first.process.kill().unwrap();
    first.process.wait().unwrap();
    // As if it had been killed within a line.
    let file = fs::read_dir(dir.join("episodes.open"))
        .unwrap()
        .map(|file| file.unwrap().path());
    let file = file
        .into_iter()
        .find(|file| file.extension().is_some())
        .unwrap();
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{whole}{{\"time\":\"20")).unwrap();

    let second = Served::with_settings(&settings);
    say(&second, "the second note of the day");
    wait_for(|| spool().contains("the second note"));
    let listed = stdout(fazai(&[
        "memory",
        "episodes",
        "--json",
        "--socket",
        path(&second.socket),
    ]));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let day = listed["days"][0]["day"].as_str().unwrap().to_owned();
    let read = stdout(fazai(&[
        "memory",
        "episodes",
        &day,
        "--json",
        "--socket",
        path(&second.socket),
    ]));
    let read: Value = serde_json::from_str(&read).unwrap();
    let asked: Vec<&str> = read["episodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["asked"].as_str().unwrap())
        .collect();
    assert!(
        asked.starts_with(&["the first note of the day", "the second note of the day"]),
        "{asked:?}"
    );
}
