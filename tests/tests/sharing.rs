//! What the engine does for many clients at once, as they see it: choices, quotas, priorities,
//! deadlines, and prompts that are kept.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fazai_models::backend::scripted::{Fault, Script};
use fazai_tests::{PATIENCE, TestWorker, echo, talker};
use serde_json::{Value, json};

#[tokio::test]
async fn choices_come_with_their_probabilities() {
    let worker = TestWorker::start(echo()).await;
    let mut wire = worker.connect().await;
    let ask = json!({
        "action": "ask", "action_id": "1", "input": "what",
        "params": { "choices": ["no answer", "what is the question", "what"] },
    });
    let done = wire.call(&ask.to_string()).await;
    assert_eq!(done["result"], "what is the question", "{done}");
    assert_eq!(done["finish_reason"], "stop");
    assert_eq!(done["usage"]["output_tokens"], 0);
    let choices = done["data"]["choices"].as_array().unwrap();
    let texts: Vec<&Value> = choices.iter().map(|choice| &choice["text"]).collect();
    assert_eq!(texts, ["no answer", "what is the question", "what"]);
    let sum: f64 = choices
        .iter()
        .map(|choice| choice["probability"].as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-3, "{done}");
    assert!(choices[1]["probability"].as_f64().unwrap() > 0.9, "{done}");
    // Without the mark that ends an answer, its beginning would be likelier than it is.
    assert!(choices[2]["probability"].as_f64().unwrap() < 0.1, "{done}");

    let long = json!({
        "action": "ask", "action_id": "2", "input": "x".repeat(8_000),
        "params": { "choices": ["a".repeat(200), "b".repeat(200)] },
    });
    let done = wire.call(&long.to_string()).await;
    assert_eq!(done["error"]["code"], "context_overflow", "{done}");
    worker.stop().await;
}

/// Whether a user who may have 300 tokens in a minute is refused after one such request, which
/// ends with `ending`.
async fn check_charged(script: Script, ask: Value, ending: &str) -> Value {
    let worker = TestWorker::with_settings(script, |settings| {
        settings.limits.user_tokens_per_minute_max = 300;
    })
    .await;
    let mut wire = worker.connect().await;
    let first = wire.call(&ask.to_string()).await;
    let ended = first["error"]["code"].as_str();
    assert_eq!(
        ended.or(first["finish_reason"].as_str()),
        Some(ending),
        "{first}"
    );
    let second = wire.call(&ask.to_string()).await;
    assert_eq!(second["error"]["code"], "quota_exceeded", "{second}");
    worker.stop().await;
    first
}

#[tokio::test]
async fn tokens_of_choices_and_of_requests_that_fail_are_charged() {
    let choices = json!({
        "action": "ask", "action_id": "1", "input": "what",
        "params": { "choices": ["a".repeat(200), "b".repeat(200)] },
    });
    check_charged(echo(), choices, "stop").await;

    let long = json!({
        "action": "ask", "action_id": "1", "input": "x".repeat(400), "params": { "max_tokens": 9 },
    });
    // In the middle of the answer.
    let failing = Script {
        faults: [(4, Fault::Fail)].into(),
        ..talker(100, Duration::ZERO)
    };
    let failed = check_charged(failing, long, "engine_failed").await;
    let usage = &failed["usage"];
    assert!(usage["prompt_tokens"].as_u64().unwrap() > 400, "{failed}");
}

#[tokio::test]
async fn a_user_has_a_quota_and_is_told_when_there_is_more() {
    let worker = TestWorker::with_settings(echo(), |settings| {
        settings.limits.user_requests_per_minute_max = 3;
    })
    .await;
    let mut wire = worker.connect().await;
    for _ in 0..3 {
        let done = wire
            .call(r#"{"action":"ask","action_id":"1","input":"x"}"#)
            .await;
        assert_eq!(done["finish_reason"], "stop", "{done}");
    }
    let done = wire
        .call(r#"{"action":"ask","action_id":"2","input":"x"}"#)
        .await;
    let error = &done["error"];
    assert_eq!(error["code"], "quota_exceeded", "{done}");
    assert_eq!(error["retryable"], true);
    let wait = error["retry_after_ms"].as_u64().unwrap();
    assert!((1_000..=20_000).contains(&wait), "{done}");
    // Other operations go on.
    let pong = wire.call(r#"{"action":"ping","action_id":"3"}"#).await;
    assert_eq!(pong["result"], "pong");
    worker.stop().await;
}

#[tokio::test]
async fn as_many_requests_at_once_as_the_user_may_have() {
    let worker = TestWorker::with_settings(talker(200, Duration::from_millis(2)), |settings| {
        settings.limits.user_requests_at_once_max = 1;
    })
    .await;
    let mut busy = worker.connect().await;
    busy.send(r#"{"action":"ask","action_id":"1","input":"x","params":{"max_tokens":800}}"#)
        .await;
    busy.next_text().await.unwrap();
    let mut wire = worker.connect().await;
    let refused = wire
        .call(r#"{"action":"ask","action_id":"2","input":"x"}"#)
        .await;
    assert_eq!(refused["error"]["code"], "quota_exceeded", "{refused}");
    // The place is free as soon as the first one is gone.
    drop(busy);
    let until = Instant::now() + PATIENCE;
    loop {
        let done = wire
            .call(r#"{"action":"ask","action_id":"3","input":"x","params":{"max_tokens":2}}"#)
            .await;
        if done["finish_reason"] == "length" {
            break;
        }
        assert!(Instant::now() < until, "{done}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn an_urgent_request_goes_first_and_the_others_lose_nothing() {
    let worker = TestWorker::with_settings(talker(60, Duration::from_millis(4)), |settings| {
        settings.model.slots = 2;
    })
    .await;
    let mut wires = Vec::new();
    for _ in 0..4 {
        let mut wire = worker.connect().await;
        wire.send(r#"{"action":"ask","action_id":"low","input":"x","stream":false,"params":{"priority":"low","max_tokens":400}}"#)
            .await;
        wires.push(wire);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut urgent = worker.connect().await;
    let done = urgent
        .call(r#"{"action":"ask","action_id":"high","input":"x","stream":false,"params":{"priority":"high","max_tokens":3}}"#)
        .await;
    let queue_ms = done["usage"]["queue_ms"].as_f64().unwrap();
    let mut whole = Vec::new();
    for wire in &mut wires {
        let done = wire.done("low").await;
        assert_eq!(done["finish_reason"], "stop", "{done}");
        whole.push(done["result"].as_str().unwrap().to_owned());
    }
    assert!(whole.iter().all(|text| *text == whole[0]), "{whole:?}");
    let mut wire = worker.connect().await;
    let status = wire.call(r#"{"action":"status","action_id":"s"}"#).await;
    let model = &status["data"]["models"][0];
    assert!(model["pauses"].as_u64().unwrap() >= 1, "{model}");
    // A slot would have been free after a whole answer of some 300 tokens.
    assert!(queue_ms < 600.0, "{queue_ms} ms in the queue");
    worker.stop().await;
}

/// The states in a store of prompts.
fn kept(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let paths = files.map(|file| file.path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "kv"))
        .collect()
}

fn named(input: &str) -> String {
    let system = "You are a careful watcher of logs. ".repeat(10);
    json!({
        "action": "ask", "action_id": "1", "input": input, "stream": false,
        "params": { "system": system, "prompt_name": "watcher" },
    })
    .to_string()
}

async fn worker_with_store(script: Script, dir: &Path) -> TestWorker {
    let dir = dir.to_owned();
    TestWorker::with_settings(script, move |settings| {
        settings.model.prompt_store = dir;
    })
    .await
}

#[tokio::test]
async fn a_named_prompt_is_there_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("prompts");
    let worker = worker_with_store(echo(), &dir).await;
    let mut wire = worker.connect().await;
    let done = wire.call(&named("one")).await;
    assert_eq!(done["result"], "one is the question", "{done}");
    assert_eq!(done["usage"]["cached_tokens"], 0);
    let until = Instant::now() + PATIENCE;
    while kept(&dir).is_empty() {
        assert!(Instant::now() < until, "nothing was kept");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    worker.stop().await;

    let worker = worker_with_store(echo(), &dir).await;
    let mut wire = worker.connect().await;
    let done = wire.call(&named("two")).await;
    assert_eq!(done["result"], "two is the question", "{done}");
    assert!(
        done["usage"]["cached_tokens"].as_u64().unwrap() > 300,
        "{done}"
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_store_that_can_not_be_written_costs_nobody_an_answer() {
    let worker = worker_with_store(echo(), Path::new("/proc/no/such/place")).await;
    let mut wire = worker.connect().await;
    for input in ["one", "two"] {
        let done = wire.call(&named(input)).await;
        assert_eq!(done["result"], format!("{input} is the question"), "{done}");
    }
    worker.stop().await;
}
