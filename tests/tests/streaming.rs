//! Streams, readers that are slow or leave, and stopping.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::time::{Duration, Instant};

use fazai_models::backend::scripted::Script;
use fazai_protocol::client::Client;
use fazai_protocol::{Ask, Line};
use fazai_tests::{OLD_KEYS, PATIENCE, TestWorker, Wire, echo, talker};
use serde_json::{Value, json};
use tokio::net::UnixStream;

/// Waits until the worker's only model has so many busy slots.
async fn wait_for_busy(worker: &TestWorker, slots: u64) {
    let mut wire = worker.connect().await;
    let until = Instant::now() + PATIENCE;
    loop {
        let status = wire.call(r#"{"action":"status","action_id":"s"}"#).await;
        if status["data"]["models"][0]["slots_busy"] == slots {
            return;
        }
        assert!(Instant::now() < until, "{status}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn the_lines_of_an_answer_and_their_keys() {
    let worker = TestWorker::start(echo()).await;
    let mut wire = worker.connect().await;
    wire.send(r#"{"action":"ask","action_id":"1","input":"what"}"#)
        .await;
    let accepted = wire.next_text().await.unwrap();
    assert!(
        accepted.starts_with(r#"{"action":"accepted","action_id":"1","#),
        "{accepted}"
    );
    let mut text = String::new();
    let done = loop {
        let line = wire.next_text().await.unwrap();
        if line.contains(r#""action":"done""#) {
            break line;
        }
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["action"], "token");
        let piece = value["result"].as_str().unwrap();
        let smallest = format!(
            r#"{{"action":"token","action_id":"1","result":{}}}"#,
            json!(piece)
        );
        assert_eq!(line, smallest, "token lines stay small");
        text.push_str(piece);
    };
    assert_eq!(text, "what is the question");
    let value: Value = serde_json::from_str(&done).unwrap();
    let keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(keys[..8], OLD_KEYS);
    assert_eq!(value["result"], "what is the question");
    assert_eq!(value["source"], "local");
    assert_eq!(value["model"], "fazai-builtin");
    assert_eq!(value["finish_reason"], "stop");
    assert_eq!(value["metadata"], json!({ "status": "done" }));
    let usage = &value["usage"];
    assert_eq!(usage["output_tokens"], 20);
    assert!(usage["ttft_ms"].as_f64().unwrap() >= usage["queue_ms"].as_f64().unwrap());
    assert!(value["timestamp"].as_str().unwrap().ends_with('Z'));
    worker.stop().await;
}

#[tokio::test]
async fn without_streaming_there_is_one_line() {
    let worker = TestWorker::start(echo()).await;
    let mut wire = worker.connect().await;
    wire.send(
        r#"{"action":"ask","action_id":"1","input":"é","stream":false,"params":{"logprobs":1}}"#,
    )
    .await;
    let done = wire.next().await.unwrap();
    assert_eq!(done["action"], "done");
    assert_eq!(done["result"], "é is the question");
    assert_eq!(
        done["logprobs"].as_array().unwrap().len(),
        "é is the question".len()
    );
    wire.half_close().await;
    assert!(wire.next().await.is_none());
    worker.stop().await;
}

#[tokio::test]
async fn pipelined_requests_interleave_and_each_ends_once() {
    let worker = TestWorker::start(talker(20, Duration::from_millis(1))).await;
    let mut wire = worker.connect().await;
    let requests: String = (0..20)
        .map(|id| format!("{{\"action\":\"ask\",\"action_id\":\"{id}\",\"input\":\"x\"}}\n"))
        .collect();
    wire.send_bytes(requests.as_bytes()).await;
    wire.half_close().await;
    let mut order = Vec::new();
    let mut ended = Vec::new();
    while let Some(line) = wire.next().await {
        let id = line["action_id"].as_str().unwrap().to_owned();
        if line["action"] == "done" {
            assert_eq!(line["result"], "word ".repeat(20), "{line}");
            ended.push(id.clone());
        }
        order.push(id);
    }
    ended.sort_by_key(|id| id.parse::<u32>().unwrap());
    let expected: Vec<String> = (0..20).map(|id| id.to_string()).collect();
    assert_eq!(ended, expected, "half-closed, and still every answer came");
    let changes = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes > 100, "the streams interleave: {changes} changes");
    worker.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_slots_in_queue_prefill_and_decode() {
    let slow = Script {
        prefill_token: Duration::from_millis(5),
        ..talker(1_000, Duration::from_millis(2))
    };
    let worker = TestWorker::with_settings(slow, |settings| settings.model.slots = 2).await;
    let mut wire = worker.connect().await;
    // One writes, one reads a prompt that takes seconds, one waits.
    let long = "long ".repeat(400);
    for (id, input) in [("write", "x"), ("read", long.as_str()), ("wait", "y")] {
        let request = json!({ "action": "ask", "action_id": id, "input": input });
        wire.send(&request.to_string()).await;
    }
    wait_for_busy(&worker, 2).await;
    let left = Instant::now();
    drop(wire);
    wait_for_busy(&worker, 0).await;
    assert!(
        left.elapsed() < Duration::from_secs(5),
        "not waited for: {:?}",
        left.elapsed()
    );
    let mut wire = worker.connect().await;
    let status = wire.call(r#"{"action":"status","action_id":"s"}"#).await;
    let model = &status["data"]["models"][0];
    assert_eq!(model["jobs_cancelled"], 3, "{model}");
    assert_eq!(model["waiting"], 0);
    worker.stop().await;
}

#[tokio::test]
async fn a_half_closed_client_that_then_leaves_is_noticed_without_a_write() {
    let slow = Script {
        prefill_token: Duration::from_millis(20),
        ..echo()
    };
    let worker = TestWorker::start(slow).await;
    let mut wire = worker.connect().await;
    let request = json!({ "action": "ask", "action_id": "1", "input": "long ".repeat(200) });
    wire.send(&request.to_string()).await;
    wire.half_close().await;
    wait_for_busy(&worker, 1).await;
    drop(wire);
    wait_for_busy(&worker, 0).await;
    worker.stop().await;
}

#[tokio::test]
async fn cancel_from_another_connection() {
    let worker = TestWorker::start(talker(2_000, Duration::from_millis(2))).await;
    let mut wire = worker.connect().await;
    wire.send(r#"{"action":"ask","action_id":"long","input":"x","params":{"max_tokens":9000}}"#)
        .await;
    while wire.next().await.unwrap()["action"] != "token" {}
    let mut other = worker.connect().await;
    let answer = other
        .call(r#"{"action":"cancel","action_id":"c","input":"long"}"#)
        .await;
    assert_eq!(
        (answer["result"].as_str(), &answer["data"]),
        (Some("cancelled"), &json!({ "cancelled": 1 }))
    );
    let done = wire.done("long").await;
    assert_eq!(done["finish_reason"], "cancelled");
    assert_eq!(done["metadata"]["status"], "stopped");
    assert!("word word".starts_with(&done["result"].as_str().unwrap()[..1]));
    let again = other
        .call(r#"{"action":"cancel","action_id":"c","input":"long"}"#)
        .await;
    assert_eq!(again["result"], "not found");
    worker.stop().await;
}

#[tokio::test]
async fn a_client_that_never_reads_pauses_itself_alone_and_is_given_up() {
    let worker = TestWorker::with_settings(talker(400, Duration::ZERO), |settings| {
        settings.limits.write_stall_ms_max = 1_000;
        settings.limits.line_bytes_max = 1 << 20;
    })
    .await;
    let lazy = UnixStream::connect(&worker.socket).await.unwrap();
    for id in 0..40 {
        let request = json!({ "action": "ask", "action_id": id.to_string(), "input": "x", "params": { "max_tokens": 2000 } });
        let line = format!("{request}\n");
        // Its requests end up waiting on each other; the worker must not.
        if lazy.try_write(line.as_bytes()).is_err() {
            break;
        }
    }
    for _ in 0..7 {
        let mut wire = worker.connect().await;
        let done = wire
            .call(r#"{"action":"ask","action_id":"1","input":"x","params":{"max_tokens":50}}"#)
            .await;
        assert_eq!(done["finish_reason"], "length");
    }
    wait_for_busy(&worker, 0).await;
    drop(lazy);
    worker.stop().await;
}

#[tokio::test]
async fn old_clients_are_kept_alive_by_progress() {
    // 300 prompt tokens at 40 ms: 12 s without a token.
    let slow = Script {
        prefill_token: Duration::from_millis(40),
        ..echo()
    };
    let worker = TestWorker::start(slow).await;
    let mut wire = worker.connect().await;
    let request = json!({ "action": "ask", "action_id": "1", "input": "x".repeat(270) });
    wire.send(&request.to_string()).await;
    let mut last = Instant::now();
    let mut longest = Duration::ZERO;
    let mut progress = Vec::new();
    loop {
        let line = wire.next().await.unwrap();
        longest = longest.max(last.elapsed());
        last = Instant::now();
        match line["action"].as_str().unwrap() {
            "progress" => progress.push(line),
            "done" => break,
            _ => {}
        }
    }
    assert!(longest < Duration::from_secs(10), "{longest:?} of silence");
    assert_eq!(progress[0]["phase"], "prefill");
    assert_eq!(progress[0]["total"].as_u64(), Some(270 + 19));
    worker.stop().await;
}

#[tokio::test]
async fn sessions_remember_and_belong_to_one_request_at_a_time() {
    let script = Script {
        decode_step: Duration::from_millis(2),
        ..Script::answering(|prompt| {
            format!("{} turns", prompt.matches("<|im_start|>user").count())
        })
    };
    let worker = TestWorker::start(script).await;
    let mut wire = worker.connect().await;
    let ask = |id: &str| {
        format!(r#"{{"action":"ask","action_id":"{id}","input":"hello","session":"s"}}"#)
    };
    for expected in ["1 turns", "2 turns", "3 turns"] {
        let done = wire.call(&ask("a")).await;
        assert_eq!(
            (done["result"].as_str(), done["session"].as_str()),
            (Some(expected), Some("s"))
        );
    }
    wire.send(&ask("b")).await;
    while wire.next().await.unwrap()["action"] != "accepted" {}
    let mut other = worker.connect().await;
    let busy = other.call(&ask("c")).await;
    assert_eq!(busy["error"]["code"], "session_busy");
    assert_eq!(wire.done("b").await["result"], "4 turns");
    worker.stop().await;
}

#[tokio::test]
async fn a_stop_drains_and_then_ends_the_rest() {
    let worker = TestWorker::with_settings(talker(600, Duration::from_millis(2)), |settings| {
        settings.server.drain_ms = 300;
    })
    .await;
    let mut short = worker.connect().await;
    let mut long = worker.connect().await;
    let mut idle = worker.connect().await;
    short
        .send(r#"{"action":"ask","action_id":"short","input":"x","params":{"max_tokens":20}}"#)
        .await;
    long.send(r#"{"action":"ask","action_id":"long","input":"x","params":{"max_tokens":3000}}"#)
        .await;
    while long.next().await.unwrap()["action"] != "token" {}
    let stopping = tokio::spawn(worker.stop());
    assert!(
        idle.next().await.is_none(),
        "idle connections are closed at once"
    );
    assert_eq!(short.done("short").await["finish_reason"], "length");
    long.send(r#"{"action":"ping","action_id":"late"}"#).await;
    let late = long.done("late").await;
    assert_eq!(late["error"]["code"], "shutting_down");
    let done = long.done("long").await;
    assert_eq!(done["error"]["code"], "shutting_down", "{done}");
    assert!(
        done["result"].as_str().unwrap().starts_with("word"),
        "what was written is not lost"
    );
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_client_that_never_reads() {
    let worker = TestWorker::with_settings(talker(4_000, Duration::from_micros(10)), |settings| {
        settings.server.drain_ms = 100;
        settings.limits.write_stall_ms_max = 3_600_000;
    })
    .await;
    let mut lazy = Wire::connect(&worker.socket).await;
    for _ in 0..4 {
        lazy.send(r#"{"action":"ask","action_id":"","input":"x","params":{"max_tokens":4000}}"#)
            .await;
    }
    wait_for_busy(&worker, 4).await;
    // Until its socket takes no more.
    tokio::time::sleep(Duration::from_secs(1)).await;
    // The engine's thread ends too, which it would not with a request that can't be delivered.
    let stopped = tokio::time::timeout(Duration::from_secs(9), worker.stop()).await;
    assert!(
        stopped.is_ok(),
        "the stop waits for a client that never reads"
    );
}

#[tokio::test]
async fn an_engine_that_dies_is_an_error_and_is_started_again() {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use fazai_models::backend::scripted::{Fault, loaded};

    let starts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&starts);
    let worker = fazai::Worker::with_loader(
        fazai::config::Settings::default(),
        Arc::new(move |_, _, _| {
            let faults = match counted.fetch_add(1, Ordering::SeqCst) {
                0 => HashMap::from([(5, Fault::Panic)]),
                _ => HashMap::new(),
            };
            Ok(loaded(Script { faults, ..echo() }))
        }),
    );
    let client: Client = worker.client();
    let failed = client
        .ask(Ask::new("first question"))
        .await
        .unwrap()
        .done()
        .await;
    let failed = failed.expect_err("the engine died");
    assert!(failed.to_string().contains("engine_failed"), "{failed}");
    let mut reply = client.ask(Ask::new("second")).await.unwrap();
    let mut text = String::new();
    while let Some(line) = reply.next().await.unwrap() {
        if let Line::Token(token) = line {
            text.push_str(&token.result);
        }
    }
    assert_eq!(text, "second is the question");
    assert_eq!(starts.load(Ordering::SeqCst), 2);
    worker.stop().await;
}

#[tokio::test]
async fn eight_clients_of_which_one_never_reads() {
    let worker = TestWorker::with_settings(talker(100, Duration::from_millis(1)), |settings| {
        settings.model.slots = 8;
        // It is not given up; the others must not need that.
        settings.limits.write_stall_ms_max = 3_600_000;
    })
    .await;
    let ask = r#"{"action":"ask","action_id":"1","input":"x","params":{"max_tokens":400}}"#;
    // As many requests as there are slots, which write until nobody reads.
    let mut lazy = Wire::connect(&worker.socket).await;
    for _ in 0..8 {
        lazy.send(r#"{"action":"ask","action_id":"","input":"x","params":{"max_tokens":4000}}"#)
            .await;
    }
    let mut tasks = Vec::new();
    for _ in 0..7 {
        let mut wire = worker.connect().await;
        tasks.push(tokio::spawn(async move { wire.call(ask).await }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap()["finish_reason"], "length");
    }
    worker.stop().await;
}

/// What this process has in memory.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test]
async fn who_reads_nothing_gets_few_answers_computed() {
    let worker = TestWorker::start(echo()).await;
    let mut fast = worker.connect().await;
    // The model is loaded before anything is measured.
    fast.call(r#"{"action":"tokenize","action_id":"1","input":"x"}"#)
        .await;
    let before = resident_bytes();
    let text = "x".repeat(120_000);
    let mut lazy = Vec::new();
    for _ in 0..6 {
        let mut wire = worker.connect().await;
        let text = text.clone();
        lazy.push(tokio::spawn(async move {
            for id in 0..60 {
                let request = json!({ "action": "tokenize", "action_id": id.to_string(), "input": text, "params": { "pieces": true } });
                wire.send(&request.to_string()).await;
            }
            // It stays, and reads nothing.
            std::future::pending::<()>().await;
        }));
    }
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let done = fast
            .call(r#"{"action":"tokenize","action_id":"1","input":"hi"}"#)
            .await;
        assert_eq!(done["data"]["count"], 2);
    }
    // 360 answers have more than a megabyte each.
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 200 << 20, "{} MiB more", grown >> 20);
    for task in lazy {
        task.abort();
    }
    worker.stop().await;
}

#[tokio::test]
async fn who_reads_gets_every_long_answer() {
    let worker = TestWorker::start(echo()).await;
    let mut wire = worker.connect().await;
    let text = "x".repeat(120_000);
    for round in 0..3 {
        for id in 0..8 {
            let request = json!({ "action": "tokenize", "action_id": format!("{round}-{id}"), "input": text, "params": { "pieces": true } });
            wire.send(&request.to_string()).await;
        }
        // They come as they are ready.
        for _ in 0..8 {
            let mut done = wire.next().await.expect("an answer");
            while done["action"] != "done" {
                done = wire.next().await.expect("an answer");
            }
            assert_eq!(done["data"]["count"], 120_000, "{}", done["error"]);
        }
    }
    worker.stop().await;
}
