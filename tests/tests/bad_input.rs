//! Whatever a client sends, it gets a clear answer under its id, and the others are served.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::time::Duration;

use fazai_tests::{TestWorker, Wire, echo, talker};
use serde_json::{Value, json};

/// A bad line is answered with `code` and `says`, and the same connection goes on.
async fn check_line(wire: &mut Wire, line: &[u8], id: &str, code: &str, says: &str) {
    wire.send_bytes(line).await;
    wire.send_bytes(b"\n").await;
    let done = wire.next().await.unwrap();
    let shown = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
    assert_eq!(done["action"], "done", "{shown}");
    assert_eq!(done["action_id"], id, "{shown}: {done}");
    assert_eq!(done["error"]["code"], code, "{shown}: {done}");
    assert_eq!(done["source"], "error", "{shown}");
    assert_eq!(done["metadata"]["status"], "error", "{shown}");
    let text = done["error"].to_string();
    assert!(text.contains(says), "{shown}: {text} lacks {says:?}");
    let pong = wire.call(r#"{"action":"ping","action_id":"p"}"#).await;
    assert_eq!(pong["result"], "pong");
}

fn ask(params: &Value) -> Vec<u8> {
    let request = json!({ "action": "ask", "action_id": "x", "input": "hi", "params": params });
    request.to_string().into_bytes()
}

#[tokio::test]
async fn bad_lines_get_their_error_and_the_connection_goes_on() {
    let worker = TestWorker::start(echo()).await;
    let mut wire = worker.connect().await;
    let deep = format!("{{\"action_id\":\"d\",\"x\":{}", "[".repeat(10_000));
    let long_id = format!(
        "{{\"action\":\"ping\",\"action_id\":\"{}\"}}",
        "i".repeat(1_000_000)
    );
    let cases: Vec<(Vec<u8>, &str, &str, &str)> = vec![
        (b"hello".to_vec(), "", "parse_error", "not JSON"),
        (b"[1]".to_vec(), "", "invalid_request", "not an object"),
        (deep.into_bytes(), "d", "parse_error", "recursion"),
        (
            b"{\"action_id\":\"u\",\"input\":\"\xff\xfe\"}".to_vec(),
            "u",
            "parse_error",
            "UTF-8",
        ),
        (
            b"{\"action_id\":\"n\",\"input\":\"\0\"}".to_vec(),
            "n",
            "parse_error",
            "control character",
        ),
        (
            br#"{"action_id":"1"}"#.to_vec(),
            "1",
            "invalid_request",
            "no action",
        ),
        (
            br#"{"action":"akc","action_id":"1"}"#.to_vec(),
            "1",
            "unknown_action",
            "ask",
        ),
        (
            br#"{"action":"ask","action_id":7,"input":"x"}"#.to_vec(),
            "7",
            "invalid_request",
            "string",
        ),
        (
            br#"{"action":"ask","action_id":"e","input":""}"#.to_vec(),
            "e",
            "invalid_request",
            "nothing to answer",
        ),
        (
            br#"{"action":"ask","action_id":"e","input":[]}"#.to_vec(),
            "e",
            "invalid_request",
            "input",
        ),
        (
            br#"{"action":"ask","action_id":"e","input":"x","stream":"no"}"#.to_vec(),
            "e",
            "invalid_request",
            "stream",
        ),
        (
            ask(&json!({ "temperature": -1 })),
            "x",
            "invalid_params",
            "temperature",
        ),
        (
            ask(&json!({ "temperature": 1e9 })),
            "x",
            "invalid_params",
            "temperature",
        ),
        (
            br#"{"action":"ask","action_id":"e","input":"x","params":{"temperature":NaN}}"#
                .to_vec(),
            "e",
            "parse_error",
            "JSON",
        ),
        (
            ask(&json!({ "max_tokens": 0 })),
            "x",
            "invalid_params",
            "max_tokens",
        ),
        (
            ask(&json!({ "max_tokens": -1 })),
            "x",
            "invalid_params",
            "max_tokens",
        ),
        (
            ask(&json!({ "max_tokens": 1u64 << 63 })),
            "x",
            "invalid_params",
            "max_tokens",
        ),
        (
            ask(&json!({ "tempreature": 1 })),
            "x",
            "invalid_params",
            "did you mean \\\"temperature\\\"",
        ),
        (
            ask(&json!({ "json_schema": { "type": "nonsense" } })),
            "x",
            "invalid_grammar",
            "nonsense",
        ),
        (
            ask(&json!({ "json_schema": { "enum": vec!["x".repeat(100); 1_000] } })),
            "x",
            "invalid_grammar",
            "limit",
        ),
        (ask(&json!({ "regex": "(" })), "x", "invalid_grammar", ""),
        (
            ask(&json!({ "lark": "start: nothing" })),
            "x",
            "invalid_grammar",
            "",
        ),
        (
            ask(&json!({ "stop": vec!["a"; 10_000] })),
            "x",
            "invalid_params",
            "10000 stop strings",
        ),
        (
            br#"{"action":"ask","action_id":"m","input":"x","model":"../../etc/passwd"}"#.to_vec(),
            "m",
            "invalid_request",
            "not a model name",
        ),
        (
            br#"{"action":"ask","action_id":"m","input":"x","model":"nobody"}"#.to_vec(),
            "m",
            "model_not_found",
            "nobody",
        ),
        (
            br#"{"action":"models","action_id":"m","input":"dance"}"#.to_vec(),
            "m",
            "invalid_request",
            "list",
        ),
        (
            br#"{"action":"cancel","action_id":"c"}"#.to_vec(),
            "c",
            "invalid_request",
            "input",
        ),
        (
            br#"{"action":"research","action_id":"s","input":" "}"#.to_vec(),
            "s",
            "invalid_request",
            "nothing",
        ),
        (
            br#"{"action":"shell","action_id":"s","input":"  "}"#.to_vec(),
            "s",
            "invalid_request",
            "empty",
        ),
        (
            br#"{"action":"shell","action_id":"s","input":"df","params":{"cwd":"x"}}"#.to_vec(),
            "s",
            "invalid_params",
            "absolute",
        ),
        (
            br#"{"action":"approve","action_id":"s","input":"x"}"#.to_vec(),
            "s",
            "invalid_params",
            "decision",
        ),
        (
            br#"{"action":"approve","action_id":"s","input":"x","params":{"decision":"deny"}}"#
                .to_vec(),
            "s",
            "approval_not_found",
            "x",
        ),
        (
            br#"{"action":"plan","action_id":"s","input":""}"#.to_vec(),
            "s",
            "invalid_request",
            "nothing",
        ),
        (
            br#"{"action":"kb","action_id":"s","input":"show x"}"#.to_vec(),
            "s",
            "invalid_params",
            "UUID",
        ),
        (
            br#"{"action":"embed","action_id":"s","input":""}"#.to_vec(),
            "s",
            "invalid_request",
            "no text",
        ),
    ];
    for (line, id, code, says) in cases {
        check_line(&mut wire, &line, id, code, says).await;
    }
    let limit = "i".repeat(128);
    check_line(
        &mut wire,
        long_id.as_bytes(),
        &limit,
        "invalid_request",
        "1000000 bytes",
    )
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn a_line_that_is_too_long_is_answered_before_it_ends_and_skipped() {
    let worker = TestWorker::start(echo()).await;
    let mut wire = worker.connect().await;
    let mut line = br#"{"action":"ask","action_id":"big","input":""#.to_vec();
    line.resize((1 << 20) + 1, b'x');
    wire.send_bytes(&line).await;
    let done = wire.next().await.unwrap();
    assert_eq!(
        (done["action_id"].as_str(), done["error"]["code"].as_str()),
        (Some("big"), Some("line_too_long"))
    );
    wire.send_bytes(b"still the same line\n").await;
    let answer = wire
        .call(r#"{"action":"ask","action_id":"2","input":"next"}"#)
        .await;
    assert_eq!(answer["result"], "next is the question");
    worker.stop().await;
}

#[tokio::test]
async fn recursive_schemas_work_and_endless_ones_are_refused() {
    let worker = TestWorker::start(echo()).await;
    let mut wire = worker.connect().await;
    let schema = |rest: Value| {
        json!({
            "$defs": { "node": {
                "type": "object",
                "properties": { "next": rest },
                "required": ["next"],
                "additionalProperties": false,
            } },
            "$ref": "#/$defs/node",
        })
    };
    let request = |schema: Value| {
        let params = json!({ "json_schema": schema, "max_tokens": 40 });
        json!({ "action": "ask", "action_id": "r", "input": "x", "params": params }).to_string()
    };
    let may_end = json!({ "anyOf": [{ "$ref": "#/$defs/node" }, { "type": "string" }] });
    let done = wire.call(&request(schema(may_end))).await;
    assert!(done["error"].is_null(), "{done}");
    assert!(
        done["result"].as_str().unwrap().starts_with(r#"{"next":"#),
        "{done}"
    );
    if done["finish_reason"] == "stop" {
        let text = done["result"].as_str().unwrap();
        serde_json::from_str::<Value>(text).unwrap();
    }
    // No JSON text can ever satisfy this one.
    let endless = json!({ "$ref": "#/$defs/node" });
    let done = wire.call(&request(schema(endless))).await;
    assert_eq!(done["error"]["code"], "invalid_grammar", "{done}");
    worker.stop().await;
}

#[tokio::test]
async fn a_live_id_can_not_be_used_twice_and_an_ended_one_can() {
    let worker = TestWorker::start(talker(40, Duration::from_millis(5))).await;
    let mut wire = worker.connect().await;
    let ask = r#"{"action":"ask","action_id":"same","input":"x"}"#;
    wire.send(ask).await;
    wire.send(ask).await;
    let mut ends = Vec::new();
    while ends.len() < 2 {
        let line = wire.next().await.unwrap();
        if line["action"] == "done" {
            ends.push(line["error"]["code"].as_str().map(str::to_owned));
        }
    }
    assert_eq!(ends, [Some("duplicate_id".to_owned()), None]);
    assert!(wire.call(ask).await["error"].is_null());
    worker.stop().await;
}

#[tokio::test]
async fn a_thousand_idle_connections_cost_little_and_one_more_is_told() {
    let worker =
        TestWorker::with_settings(echo(), |settings| settings.limits.connections_max = 1_001).await;
    let before = resident_bytes();
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        idle.push(worker.connect().await);
    }
    let mut wire = worker.connect().await;
    let answer = wire
        .call(r#"{"action":"ask","action_id":"1","input":"still there"}"#)
        .await;
    assert_eq!(answer["result"], "still there is the question");
    let grown = resident_bytes().saturating_sub(before);
    assert!(
        grown < 40 << 20,
        "both ends of 1000 connections take {grown} bytes"
    );

    let mut refused = worker.connect().await;
    let done = refused.next().await.unwrap();
    assert_eq!(done["error"]["code"], "overloaded");
    assert!(refused.next().await.is_none(), "and is closed");
    drop(idle);
    worker.stop().await;
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse::<u64>()
        .unwrap()
        * 1024
}

#[tokio::test]
async fn connect_and_close_is_a_health_probe() {
    let worker = TestWorker::start(echo()).await;
    for _ in 0..50 {
        drop(worker.connect().await);
    }
    let mut wire = worker.connect().await;
    let pong = wire.call(r#"{"action":"ping","action_id":"1"}"#).await;
    assert_eq!(pong["result"], "pong");
    worker.stop().await;
}

#[tokio::test]
async fn too_many_requests_on_one_connection_are_refused_one_by_one() {
    let script = talker(100, Duration::from_millis(2));
    let worker =
        TestWorker::with_settings(script, |settings| settings.limits.in_flight_max = 3).await;
    let mut wire = worker.connect().await;
    for id in 0..5 {
        wire.send(&format!(
            r#"{{"action":"ask","action_id":"{id}","input":"x"}}"#
        ))
        .await;
    }
    let (mut refused, mut answered) = (0, 0);
    while refused + answered < 5 {
        let line = wire.next().await.unwrap();
        if line["action"] == "done" {
            match line["error"]["code"].as_str() {
                Some(code) => {
                    assert_eq!(code, "too_many_requests");
                    assert!(line["error"]["retry_after_ms"].is_number());
                    refused += 1;
                }
                None => answered += 1,
            }
        }
    }
    assert_eq!((refused, answered), (2, 3));
    worker.stop().await;
}
