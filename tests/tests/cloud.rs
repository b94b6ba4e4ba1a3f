//! Requests that leave the machine, and those that must not, seen from a worker's socket. The
//! provider is a listener on this machine that sees every byte.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fazai::config::Settings;
use fazai_models::backend::scripted::Script;
use fazai_tests::served::{Served, fazai, path};
use fazai_tests::{TestWorker, Wire, echo, stdout, talker};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a provider does with a request, after the head of its answer.
#[derive(Clone, Copy)]
enum Does {
    /// Answers "Hi there", to ten tokens with two.
    Answers,
    /// Says "Hi " and ends the connection.
    Cuts,
    /// Says "Hi ", and that its filter let no more through.
    Filters,
    /// Answers 503.
    Fails,
    /// Says "Hi " and nothing more, until the client leaves.
    Stalls,
    /// Says "Hi " again and again, until the client leaves.
    Floods,
    /// Has one passage of documentation, whatever is looked up.
    Documents,
    /// Embeds texts: a vector has 1 where the text has a word of fire, or of water.
    Embeds,
}

struct Provider {
    url: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    heads: Vec<String>,
    bodies: Vec<String>,
    left: bool,
}

impl Provider {
    async fn new(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                tokio::spawn(serve(socket, does, Arc::clone(&shared)));
            }
        });
        Self { url, seen }
    }

    fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    fn bodies(&self) -> Vec<String> {
        self.seen.lock().unwrap().bodies.clone()
    }
}

fn head(content_type: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n")
}

async fn serve(mut socket: TcpStream, does: Does, seen: Arc<Mutex<Seen>>) {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    let (asked, body) = loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap_or("0").parse().unwrap() {
                break (head.to_owned(), body.to_owned());
            }
        }
        match socket.read(&mut part).await {
            Ok(0) | Err(_) => return,
            Ok(count) => bytes.extend_from_slice(&part[..count]),
        }
    };
    {
        let mut seen = seen.lock().unwrap();
        seen.heads.push(asked);
        seen.bodies.push(body.clone());
    }
    let said = |text: &str| {
        let frame = json!({ "model": "big-1", "choices": [{ "delta": { "content": text } }] });
        format!("data: {frame}\n\n")
    };
    let stream = head("text/event-stream");
    let finish = |reason: &str| {
        let end = json!({ "choices": [{ "delta": {}, "finish_reason": reason }] });
        let usage =
            json!({ "choices": [], "usage": { "prompt_tokens": 10, "completion_tokens": 2 } });
        format!("data: {end}\n\ndata: {usage}\n\ndata: [DONE]\n\n")
    };
    let text = match does {
        Does::Fails => "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_owned(),
        Does::Embeds => {
            let asked: Value = serde_json::from_str(&body).unwrap();
            let has = |text: &Value, words: [&str; 2]| {
                let text = text.as_str().unwrap();
                u8::from(words.iter().any(|word| text.contains(word)))
            };
            let vectors = asked["input"].as_array().unwrap().iter().enumerate();
            let vectors: Vec<Value> = vectors
                .map(|(index, text)| {
                    let (fire, water) = (has(text, ["fire", "flame"]), has(text, ["sea", "wave"]));
                    json!({ "index": index, "embedding": [fire, water, 0.1] })
                })
                .collect();
            head("application/json") + &json!({ "data": vectors }).to_string()
        }
        Does::Documents => {
            let found = json!({ "infoSnippets": [{
                "breadcrumb": "relayhost", "content": "relayhost = [mail.example.org]:587",
                "pageId": "https://docs.example.org/postfix",
            }] });
            head("application/json") + &found.to_string()
        }
        Does::Cuts | Does::Stalls | Does::Floods => stream + &said("Hi "),
        Does::Filters => stream + &said("Hi ") + &finish("content_filter"),
        Does::Answers => stream + &said("Hi ") + &said("there") + &finish("stop"),
    };
    socket.write_all(text.as_bytes()).await.unwrap();
    if matches!(does, Does::Floods) {
        while socket
            .write_all(said("Hi ").repeat(100).as_bytes())
            .await
            .is_ok()
        {}
        seen.lock().unwrap().left = true;
    }
    if matches!(does, Does::Stalls) {
        // Until the client leaves.
        let _ = socket.read(&mut part).await;
        seen.lock().unwrap().left = true;
    }
}

/// A worker with these providers, whose model is not loaded.
async fn worker(
    script: Script,
    providers: &[(&str, &Provider)],
    more: &str,
) -> (TestWorker, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let prices = directory.path().join("prices.toml");
    std::fs::write(
        &prices,
        "[[price]]\nmodel = 'big'\ninput = 1.0\noutput = 2.0\n",
    )
    .unwrap();
    let (prices, budget) = (prices.display(), directory.path().join("budget"));
    let mut text = format!(
        "[cloud]\nprices = {prices}\nbudget_dir = {}\n{more}\n",
        budget.display()
    );
    for (name, provider) in providers {
        let url = &provider.url;
        text += &format!(
            "[cloud.{name}]\nkind = openai_compatible\nbase_url = {url}\nmodel = big\nretries_max = 0\n"
        );
    }
    let read = Settings::parse(&text, std::path::Path::new("test.conf")).unwrap();
    let started = TestWorker::with_settings(script, |settings| settings.cloud = read.cloud).await;
    (started, directory)
}

fn ask(id: &str, params: &Value) -> String {
    let input = "What does exit code 137 mean?";
    json!({ "action": "ask", "action_id": id, "input": input, "params": params }).to_string()
}

#[tokio::test]
async fn an_unloaded_model_is_stood_in_for_with_the_truth_about_who_answered() {
    let provider = Provider::new(Does::Answers).await;
    let (worker, _directory) = worker(echo(), &[("big", &provider)], "").await;
    let mut wire = worker.connect().await;
    wire.send(&ask("1", &json!({}))).await;
    let route = wire.next().await.unwrap();
    assert_eq!(
        (&route["action"], &route["cause"]),
        (&json!("route"), &json!("not_loaded")),
        "{route}"
    );
    assert_eq!(route["providers"], json!(["big"]));
    let tokens = [wire.next().await.unwrap(), wire.next().await.unwrap()];
    assert_eq!(
        tokens.map(|line| line["result"].clone()),
        [json!("Hi "), json!("there")]
    );
    let done = wire.done("1").await;
    assert_eq!(done["result"], "Hi there");
    assert_eq!(
        (&done["source"], &done["model"]),
        (&json!("cloud:big"), &json!("big-1"))
    );
    assert_eq!(done["usage"]["prompt_tokens"], 10);
    assert_eq!(done["usage"]["output_tokens"], 2);
    assert_eq!(done["usage"]["cost_usd"], 1.4e-5);
    // Once it is loaded, the local model answers.
    worker.worker.warm_up().await.unwrap();
    let done = wire.call(&ask("2", &json!({}))).await;
    assert_eq!(done["source"], "local", "{done}");
    let done = wire.call(&ask("3", &json!({ "quality": "high" }))).await;
    assert_eq!(done["source"], "cloud:big");
    worker.stop().await;
}

/// Whoever starts a worker for one question waits until its model is loaded, if it can be.
#[tokio::test]
async fn a_worker_of_ones_own_loads_its_model_before_anything_leaves() {
    let provider = Provider::new(Does::Answers).await;
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("fazai.conf");
    let asked = |model: &str| {
        let text = format!(
            "[model]\ndefault = {model}\ndir = {home}\n[policy]\naudit_dir = {home}/audit\n\
             [cloud]\nbudget_dir = {home}/budget\n\
             [cloud.big]\nkind = openai_compatible\nbase_url = {url}\nmodel = big\n",
            home = home.path().display(),
            url = provider.url,
        );
        std::fs::write(&config, text).unwrap();
        let config = config.clone();
        tokio::task::spawn_blocking(move || {
            let arguments = [
                "ask",
                "--local",
                "--json",
                "--config",
                path(&config),
                "hello",
            ];
            let lines = stdout(fazai(&arguments));
            let done: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
            done["source"].clone()
        })
    };
    assert_eq!(asked("builtin").await.unwrap(), "local");
    assert_eq!(provider.connections(), 0);
    // One that is not there can't be loaded.
    assert_eq!(asked("qwen3:0.6b").await.unwrap(), "cloud:big");
}

/// The local model may answer where others were wanted, and not in silence.
#[tokio::test]
async fn an_answer_instead_of_a_provider_that_failed_comes_with_a_warning() {
    let down = Provider::new(Does::Fails).await;
    let (worker, _directory) = worker(echo(), &[("down", &down)], "").await;
    worker.worker.warm_up().await.unwrap();
    let mut wire = worker.connect().await;
    wire.send(&ask("1", &json!({ "quality": "high" }))).await;
    let mut warnings = Vec::new();
    let done = loop {
        let line = wire.next().await.unwrap();
        match line["action"].as_str().unwrap() {
            "warning" => warnings.push(line["result"].as_str().unwrap().to_owned()),
            "done" => break line,
            _ => {}
        }
    };
    assert_eq!(done["source"], "local", "{done}");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("the local model does"), "{warnings:?}");
    worker.stop().await;
}

#[tokio::test]
async fn what_may_not_leave_does_not() {
    let provider = Provider::new(Does::Answers).await;
    let (worker, _directory) = worker(echo(), &[("big", &provider)], "").await;
    let mut wire = worker.connect().await;
    for params in [
        json!({ "allow_cloud": false }),
        json!({ "label": "private" }),
        json!({ "label": "private", "allow_cloud": true, "quality": "high" }),
        json!({ "label": "private", "dry_run": true }),
        json!({ "dry_run": true }),
        json!({ "quality": "high", "regex": "yes|no" }),
    ] {
        let done = wire.call(&ask("1", &params)).await;
        assert!(
            !done["source"].as_str().unwrap().starts_with("cloud"),
            "{params}: {done}"
        );
        assert_eq!(provider.connections(), 0, "{params}");
    }
    worker.stop().await;
    // Nor when the policy says no.
    let (worker, directory) = worker_denied(&provider).await;
    let mut wire = worker.connect().await;
    let done = wire.call(&ask("1", &json!({ "quality": "high" }))).await;
    assert_eq!(done["source"], "local", "{done}");
    let dry = wire
        .call(&ask("2", &json!({ "quality": "high", "dry_run": true })))
        .await;
    let reasons = dry["data"]["route"]["reasons"].to_string();
    assert!(reasons.contains("big: denied by"), "{reasons}");
    assert_eq!(provider.connections(), 0);
    worker.stop().await;
    drop(directory);
}

async fn worker_denied(provider: &Provider) -> (TestWorker, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.toml");
    std::fs::write(
        &policy,
        "default_profile = \"p\"\n[profiles.p]\nopaque = \"deny\"\notherwise = \"deny\"\n",
    )
    .unwrap();
    let budget = directory.path().join("budget");
    let text = format!(
        "[policy]\nfile = {}\n[cloud]\nbudget_dir = {}\n[cloud.big]\nkind = openai_compatible\nmodel = big\nbase_url = {}\n",
        policy.display(),
        budget.display(),
        provider.url,
    );
    let read = Settings::parse(&text, std::path::Path::new("test.conf")).unwrap();
    let started = TestWorker::with_settings(echo(), |settings| {
        settings.cloud = read.cloud;
        settings.policy.file = read.policy.file;
    })
    .await;
    (started, directory)
}

#[tokio::test]
async fn a_dry_run_shows_what_a_request_sends() {
    let provider = Provider::new(Does::Answers).await;
    let (worker, _directory) = worker(echo(), &[("big", &provider)], "").await;
    let mut wire = worker.connect().await;
    let line = |id: &str, dry: bool| {
        let params = json!({ "dry_run": dry, "temperature": 0.5 });
        let input = "mail to anna@example.org from 10.1.2.3";
        json!({ "action": "ask", "action_id": id, "input": input, "params": params }).to_string()
    };
    let dry = wire.call(&line("1", true)).await;
    assert_eq!(provider.connections(), 0);
    assert_eq!(dry["data"]["route"]["to"], "cloud", "{dry}");
    assert_eq!(
        dry["data"]["would_send"][0]["redacted"],
        json!({ "email": 1, "ip": 1 })
    );
    wire.call(&line("2", false)).await;
    assert_eq!(provider.bodies(), [dry["result"].as_str().unwrap()]);
    assert!(!provider.bodies()[0].contains("anna"));
    worker.stop().await;
}

#[tokio::test]
async fn with_one_provider_down_the_next_one_answers() {
    let (down, up) = (
        Provider::new(Does::Fails).await,
        Provider::new(Does::Answers).await,
    );
    let (worker, _directory) = worker(echo(), &[("down", &down), ("up", &up)], "").await;
    let mut wire = worker.connect().await;
    for id in ["1", "2", "3"] {
        let done = wire.call(&ask(id, &json!({}))).await;
        assert_eq!(done["source"], "cloud:up", "{done}");
    }
    assert_eq!(
        down.bodies().len(),
        2,
        "the breaker keeps the third from it"
    );
    worker.stop().await;
    // With all of them down the local model answers, since it can.
    let (worker, _directory) = worker_of(&down).await;
    let done = worker.connect().await.call(&ask("1", &json!({}))).await;
    assert_eq!(done["source"], "local", "{done}");
    worker.stop().await;
}

async fn worker_of(provider: &Provider) -> (TestWorker, TempDir) {
    worker(echo(), &[("only", provider)], "").await
}

#[tokio::test]
async fn a_cut_answer_is_told_or_gone_on_with() {
    let provider = Provider::new(Does::Cuts).await;
    let script = Script::answering(|_| "Hi from here".to_owned());
    let (worker, _directory) = worker(script, &[("big", &provider)], "").await;
    let mut wire = worker.connect().await;
    let done = wire.call(&ask("1", &json!({}))).await;
    assert_eq!(done["error"]["code"], "upstream_interrupted", "{done}");
    assert_eq!(
        (&done["result"], &done["source"]),
        (&json!("Hi "), &json!("cloud:big"))
    );
    assert!(done["usage"]["cost_usd"].as_f64().unwrap() > 0.0);
    assert_eq!(done["usage"]["estimated"], true);
    let done = wire
        .call(&ask("2", &json!({ "on_interrupt": "continue_local" })))
        .await;
    assert_eq!(done["source"], "local", "{done}");
    assert_eq!(done["result"], "Hi from here", "{done}");
    assert_eq!(done["data"]["interrupted"]["source"], "cloud:big");
    worker.stop().await;
}

#[tokio::test]
async fn a_cancel_closes_the_connection() {
    let provider = Provider::new(Does::Stalls).await;
    let (worker, _directory) = worker(talker(5, Duration::ZERO), &[("big", &provider)], "").await;
    let mut wire = worker.connect().await;
    wire.send(&ask("1", &json!({}))).await;
    while wire.next().await.unwrap()["action"] != "token" {}
    wire.send(r#"{"action":"cancel","action_id":"c","input":"1"}"#)
        .await;
    let done = wire.done("1").await;
    assert_eq!(
        (&done["result"], &done["finish_reason"]),
        (&json!("Hi "), &json!("cancelled"))
    );
    while !provider.seen.lock().unwrap().left {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_budget_that_is_spent_sends_nothing() {
    let provider = Provider::new(Does::Answers).await;
    let more = "day_usd_max = 0.000001\ncauses = quality";
    let (worker, _directory) = worker(echo(), &[("big", &provider)], more).await;
    let mut wire = worker.connect().await;
    let done = wire.call(&ask("1", &json!({ "quality": "high" }))).await;
    assert_eq!(done["source"], "local", "{done}");
    let dry = wire
        .call(&ask("2", &json!({ "quality": "high", "dry_run": true })))
        .await;
    let reasons = dry["data"]["route"]["reasons"].to_string();
    assert!(
        reasons.contains("may spend $0.000001") && reasons.contains("begins anew at"),
        "{reasons}"
    );
    assert_eq!(provider.connections(), 0);
    worker.stop().await;
}

#[tokio::test]
async fn what_left_is_in_the_record_with_what_was_taken_out() {
    let provider = Provider::new(Does::Answers).await;
    let (worker, directory) = worker(echo(), &[("big", &provider)], "").await;
    let audit = worker.worker.settings().policy.audit_dir.clone();
    let mut wire = worker.connect().await;
    let input = "mail to anna@example.org";
    let line = json!({ "action": "ask", "action_id": "1", "input": input }).to_string();
    wire.call(&line).await;
    let text = std::fs::read_to_string(audit.join("audit-000001.ndjson")).unwrap();
    worker.stop().await;
    assert!(
        text.contains("\"send_to_cloud\"") && text.contains("\"redacted\":{\"email\":1}"),
        "{text}"
    );
    assert!(!text.contains("anna@"), "{text}");
    drop(directory);
}

fn research(id: &str, input: &str) -> String {
    let params = json!({ "documentation": true });
    json!({ "action": "research", "action_id": id, "input": input, "params": params }).to_string()
}

#[tokio::test]
async fn documentation_is_looked_up_without_secrets() {
    let server = Provider::new(Does::Documents).await;
    let more = format!("documentation_url = {}", server.url);
    let (worker, _directory) = worker(echo(), &[], &more).await;
    let audit = worker.worker.settings().policy.audit_dir.clone();
    let mut wire = worker.connect().await;
    let done = wire
        .call(&research("1", "postfix relay for anna@example.org"))
        .await;
    let result = done["result"].as_str().unwrap();
    assert!(
        result.starts_with("[1] relayhost (https://docs.example.org/postfix)\nrelayhost = "),
        "{done}"
    );
    let found = &done["data"]["passages"][0];
    assert_eq!(found["found_by"], "documentation", "{done}");
    let head = server.seen.lock().unwrap().heads[0].clone();
    assert!(
        head.starts_with("GET /v1/v3/search?query=postfix"),
        "{head}"
    );
    assert!(!head.contains("anna"), "{head}");
    let record = std::fs::read_to_string(audit.join("audit-000001.ndjson")).unwrap();
    assert!(record.contains("\"redacted\":{\"email\":1}"), "{record}");
    // Without being asked to, nothing is looked up.
    wire.call(r#"{"action":"research","action_id":"2","input":"postfix relay"}"#)
        .await;
    assert_eq!(server.connections(), 1);
    worker.stop().await;
}

#[tokio::test]
async fn documentation_that_is_away_or_forbidden_is_a_warning() {
    let down = Provider::new(Does::Fails).await;
    let open = format!("documentation_url = {}", down.url);
    let off = format!("{open}\nallow_cloud = off");
    for (more, why, connections) in [
        (open.as_str(), "503", 1),
        (off.as_str(), "allow_cloud is off", 1),
        ("", "set documentation_url", 1),
    ] {
        let (worker, _directory) = worker(echo(), &[], more).await;
        let mut wire = worker.connect().await;
        wire.send(&research("1", "postfix")).await;
        let warning = wire.next().await.unwrap();
        assert_eq!(warning["action"], "warning", "{warning}");
        assert!(
            warning["result"].as_str().unwrap().contains(why),
            "{warning}"
        );
        let done = wire.done("1").await;
        assert!(done["error"].is_null(), "{done}");
        assert_eq!(down.connections(), connections, "{more}");
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_gpu_that_others_have_sends_requests_elsewhere() {
    let provider = Provider::new(Does::Answers).await;
    for (probe, source) in [
        ("sh -c 'exit 3'", "cloud:big"),
        ("true", "local"),
        ("/no/such/probe", "local"),
    ] {
        let more = format!("gpu_probe = {probe}");
        let (worker, _directory) = worker(echo(), &[("big", &provider)], &more).await;
        worker.worker.warm_up().await.unwrap();
        let mut wire = worker.connect().await;
        let done = wire.call(&ask("1", &json!({}))).await;
        assert_eq!(done["source"], source, "{probe}: {done}");
        worker.stop().await;
    }
}

/// What the budget's file says: the tokens set aside by each request, and how many were settled.
fn budget(directory: &std::path::Path) -> (Vec<u64>, usize) {
    let text = std::fs::read_to_string(directory.join("budget.log")).unwrap();
    let entry =
        |line: &str| -> Value { serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap() };
    let entries: Vec<Value> = text.lines().map(entry).collect();
    let of = |kind: &str| {
        entries
            .iter()
            .filter(|e| e["is"] == kind)
            .collect::<Vec<_>>()
    };
    let tokens = of("reserve")
        .into_iter()
        .map(|e| e["tokens"].as_u64().unwrap());
    (tokens.collect(), of("settle").len())
}

#[tokio::test]
async fn a_killed_worker_loses_and_doubles_nothing_of_the_budget() {
    let provider = Provider::new(Does::Stalls).await;
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("budget");
    let settings = |more: &str| {
        format!(
            "[cloud]\nbudget_dir = {}\n{more}\n[cloud.big]\nkind = openai_compatible\n\
             base_url = {}\nmodel = big\n",
            directory.display(),
            provider.url
        )
    };
    let high = json!({ "quality": "high", "max_tokens": 100 });
    let mut served = Served::with_settings(&settings(""));
    let mut wire = Wire::connect(&served.socket).await;
    for id in ["1", "2", "3"] {
        wire.send(&ask(id, &high)).await;
    }
    let mut streaming = 0;
    while streaming < 3 {
        streaming += usize::from(wire.next().await.unwrap()["action"] == "token");
    }
    served.process.kill().unwrap();
    served.process.wait().unwrap();
    let (reserved, settled) = budget(&directory);
    assert_eq!((reserved.len(), settled), (3, 0));
    let sum: u64 = reserved.iter().sum();
    // What was not settled counts in full after the kill, and once: there is no room for a token
    // more than is left, and there is room for just that.
    for (left, leaves) in [(reserved[0] - 1, false), (reserved[0], true)] {
        let served = Served::with_settings(&settings(&format!("day_tokens_max = {}", sum + left)));
        let mut wire = Wire::connect(&served.socket).await;
        wire.send(&ask("4", &high)).await;
        let first = wire.next().await.unwrap();
        assert_eq!(first["action"] == "route", leaves, "{left}: {first}");
    }
}

/// A worker whose records get their vectors from this server.
async fn embedding_worker(server: &Provider) -> TestWorker {
    let text = format!(
        "[memory]\nembedding_server_kind = openai_compatible\nembedding_server_model = e\n\
         embedding_server_url = {}\nembedding_server_dimensions = 3\n",
        server.url
    );
    let read = Settings::parse(&text, std::path::Path::new("test.conf")).unwrap();
    TestWorker::with_settings(echo(), |settings| {
        settings.memory.embedding_server = read.memory.embedding_server;
    })
    .await
}

#[tokio::test]
async fn a_server_that_embeds_finds_by_meaning() {
    let server = Provider::new(Does::Embeds).await;
    let worker = embedding_worker(&server).await;
    let mut wire = worker.connect().await;
    for text in ["a flame burns", "the sea is deep"] {
        let commit = json!({ "action": "commitKB", "action_id": "c", "input": text });
        let done = wire.call(&commit.to_string()).await;
        assert!(done["error"].is_null(), "{done}");
    }
    let asked =
        json!({ "action": "research", "action_id": "r", "input": "fire", "params": { "k": 1 } });
    let done = wire.call(&asked.to_string()).await;
    assert_eq!(done["data"]["by_meaning"], true, "{done}");
    assert_eq!(
        done["data"]["passages"][0]["text"], "a flame burns",
        "{done}"
    );
    worker.stop().await;
}

#[tokio::test]
async fn without_the_server_that_embeds_words_are_left() {
    let server = Provider::new(Does::Fails).await;
    let worker = embedding_worker(&server).await;
    let mut wire = worker.connect().await;
    let commit = r#"{"action":"commitKB","action_id":"c","input":"a flame burns"}"#;
    let done = wire.call(commit).await;
    assert!(done["error"].is_null(), "{done}");
    wire.send(r#"{"action":"research","action_id":"r","input":"flame"}"#)
        .await;
    let warning = wire.next().await.unwrap();
    assert_eq!(warning["action"], "warning", "{warning}");
    let done = wire.done("r").await;
    assert_eq!(done["data"]["by_meaning"], false, "{done}");
    assert_eq!(
        done["data"]["passages"][0]["text"], "a flame burns",
        "{done}"
    );
    worker.stop().await;
}

#[tokio::test]
async fn what_was_private_in_a_session_stays_private() {
    let provider = Provider::new(Does::Answers).await;
    for params in [
        json!({ "label": "private" }),
        json!({ "allow_cloud": false }),
    ] {
        let (worker, _directory) = worker(echo(), &[("big", &provider)], "").await;
        let mut wire = worker.connect().await;
        let say = |id: &str, params: &Value| {
            json!({
                "action": "ask", "action_id": id, "input": format!("BLUEWHALE {id}"),
                "session": "s", "params": params,
            })
            .to_string()
        };
        let done = wire.call(&say("1", &params)).await;
        assert_eq!(done["source"], "local", "{done}");
        let open = json!({ "label": "public", "allow_cloud": true, "quality": "high" });
        let done = wire.call(&say("2", &open)).await;
        assert_eq!(done["source"], "local", "{done}");
        assert_eq!(provider.connections(), 0, "{params}");
        worker.stop().await;
    }
}

#[tokio::test]
async fn providers_that_failed_are_not_asked_again_for_the_same_request() {
    let down = Provider::new(Does::Fails).await;
    let (worker, _directory) = worker(echo(), &[("down", &down)], "").await;
    let mut wire = worker.connect().await;
    let input = "long ".repeat(20_000);
    let params = json!({ "quality": "high" });
    let line = json!({ "action": "ask", "action_id": "1", "input": input, "params": params });
    let done = wire.call(&line.to_string()).await;
    assert_eq!(done["error"]["code"], "context_overflow", "{done}");
    assert_eq!(down.bodies().len(), 1);
    worker.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_can_be_late() {
    let provider = Provider::new(Does::Floods).await;
    let (worker, _directory) = worker(echo(), &[("big", &provider)], "").await;
    let mut wire = worker.connect().await;
    wire.send(&ask(
        "1",
        &json!({ "deadline_ms": 500, "max_tokens": 16_384 }),
    ))
    .await;
    let first = wire.next().await.unwrap();
    assert_eq!(first["action"], "route", "{first}");
    // Nothing more is read until the provider sees that the worker has left.
    while !provider.seen.lock().unwrap().left {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let done = wire.done("1").await;
    assert_eq!(done["finish_reason"], "deadline", "{done}");
    worker.stop().await;
}

#[tokio::test]
async fn what_a_filter_cut_does_not_pass_for_whole() {
    let provider = Provider::new(Does::Filters).await;
    let (worker, _directory) = worker(echo(), &[("big", &provider)], "").await;
    let mut wire = worker.connect().await;
    let done = wire.call(&ask("1", &json!({}))).await;
    assert_eq!(done["finish_reason"], "content_filter", "{done}");
    assert_eq!(
        (&done["result"], &done["error"]),
        (&json!("Hi "), &Value::Null)
    );
    worker.stop().await;
}

#[tokio::test]
async fn an_answer_that_was_kept_does_not_leave() {
    let provider = Provider::new(Does::Answers).await;
    let more = "cache_bytes_max = 1M";
    let (worker, _directory) = worker(echo(), &[("big", &provider)], more).await;
    let mut wire = worker.connect().await;
    let request = ask("1", &json!({ "temperature": 0 }));
    for (first, source) in [("route", "cloud:big"), ("token", "cache")] {
        wire.send(&request).await;
        let line = wire.next().await.unwrap();
        assert_eq!(line["action"], first, "{line}");
        let done = wire.done("1").await;
        assert_eq!(
            (&done["source"], &done["result"]),
            (&json!(source), &json!("Hi there"))
        );
    }
    assert_eq!(provider.connections(), 1);
    worker.stop().await;
}
