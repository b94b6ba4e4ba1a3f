//! Events become incidents: answered, told, kept, closed by people.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fazai::config::Settings;
use fazai_models::backend::scripted::Script;
use fazai_tests::incidents::{failed, guessing};
use fazai_tests::{OLD_KEYS, TestWorker, Wire, root, stdout};
use serde_json::{Value, json};

/// A model that makes nothing of anything.
fn harmless() -> Script {
    let answer = json!({
        "severity": "info", "category": "service", "action": "observe", "reason": "all is well",
    });
    Script::answering(move |_| answer.to_string())
}

async fn worker(home: &Path, change: impl FnOnce(&mut Settings)) -> TestWorker {
    TestWorker::with_settings(harmless(), |settings| {
        settings.policy.audit_dir = home.join("audit");
        settings.policy.file = home.join("policy.toml");
        settings.memory.dir = home.join("memory");
        settings.watch.state_dir = home.join("watch");
        change(settings);
    })
    .await
}

/// An alert of a sensor.
fn alert(ip: &str, signature: &str) -> String {
    let now = ["-u", "+%Y-%m-%dT%H:%M:%S.000000+0000"];
    let now = stdout(Command::new("date").args(now).output().unwrap());
    json!({
        "timestamp": now.trim(), "event_type": "alert", "src_ip": ip, "dest_ip": "192.0.2.80", "proto": "TCP",
        "flow": { "pkts_toserver": 9, "pkts_toclient": 9 },
        "alert": {
            "action": "allowed", "signature_id": 1, "signature": signature, "severity": 1,
            "category": "Web Application Attack",
        },
    })
    .to_string()
}

async fn call(wire: &mut Wire, action: &str, input: &str, params: Value) -> Value {
    let request = json!({ "action": action, "action_id": "x", "input": input, "params": params });
    wire.call(&request.to_string()).await
}

async fn event(wire: &mut Wire, input: &str) -> Value {
    let done = call(wire, "event", input, json!({})).await;
    assert!(done["error"].is_null(), "{done}");
    done
}

async fn subscribe(wire: &mut Wire, params: Value) {
    let request = json!({ "action": "subscribe", "action_id": "s", "params": params });
    wire.send(&request.to_string()).await;
}

/// The next line that says something, within a minute.
async fn told(wire: &mut Wire) -> Value {
    for _ in 0..12 {
        let line = wire.next().await.unwrap();
        if line["action"] != "progress" {
            return line;
        }
    }
    panic!("nothing came");
}

#[tokio::test]
async fn an_event_is_answered_with_how_bad_it_is_and_what_is_done() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path(), |_| {}).await;
    let mut wire = worker.connect().await;
    let nothing = event(&mut wire, &failed("203.0.113.9", "deploy")).await;
    assert_eq!(nothing["result"], "info: it belongs to no incident");
    assert_eq!(nothing["data"]["incidents"], json!([]));

    let done = event(&mut wire, &guessing("203.0.113.9")).await;
    assert_eq!(
        done["result"], "high bruteforce 203.0.113.9: block_ip 3600 s (dry run)",
        "{done}"
    );
    let data = &done["data"];
    assert_eq!(data["severity"], "high");
    let incident = &data["incidents"][0];
    for (name, value) in [
        ("action", json!("block_ip")),
        ("target", json!("203.0.113.9/32")),
        ("ttl_s", json!(3600)),
        ("rule", json!("guessing")),
        ("dry_run", json!(true)),
        ("trusted", json!(true)),
        // The model thinks otherwise, which a person should see; it changes nothing.
        ("by_model", json!(true)),
        ("reason", json!("all is well")),
        ("review", json!(true)),
    ] {
        assert_eq!(incident[name], value, "{name}: {incident}");
    }
    assert_eq!(incident["evidence"], json!(["e1"]));

    // One more line belongs to the same incident, and is no new judgement.
    let again = event(&mut wire, &failed("203.0.113.9", "admin")).await;
    let same = &again["data"]["incidents"][0];
    assert_eq!(same["id"], incident["id"], "{again}");
    assert_eq!(same["seq"], incident["seq"], "{again}");
    assert_eq!(same["action"], "block_ip");

    // Somebody else's logins have nothing to do with it.
    let other = event(&mut wire, &failed("203.0.113.10", "deploy")).await;
    assert_eq!(other["data"]["incidents"], json!([]), "{other}");
    worker.stop().await;
}

#[tokio::test]
async fn an_event_may_be_an_object_and_an_alert_of_an_older_client() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path(), |_| {}).await;
    let mut wire = worker.connect().await;
    let object: Value = serde_json::from_str(&alert("203.0.113.20", "ET EXPLOIT x")).unwrap();
    let done = call(&mut wire, "event", "", json!({ "event": object })).await;
    let incident = &done["data"]["incidents"][0];
    assert_eq!(incident["actor"], "203.0.113.20", "{done}");
    assert_eq!(incident["severity"], "high");
    let old = json!({
        "source_ip": "203.0.113.21", "dest_ip": "192.0.2.80", "source_port": 4022, "dest_port": 3306,
        "service": "mysql", "threat_type": "database_attack", "description": "union select",
        "risk_level": 9, "action": "log", "wait_ms": 0,
    });
    let done = call(&mut wire, "event", "", old).await;
    let incident = &done["data"]["incidents"][0];
    assert_eq!(incident["category"], "exploit", "{done}");
    assert_eq!(incident["severity"], "critical");
    assert_eq!(done["data"]["rules_alone"], true);
    let high = json!({ "min_severity": "critical" });
    let done = call(
        &mut wire,
        "event",
        &alert("203.0.113.22", "ET EXPLOIT x"),
        high,
    )
    .await;
    assert_eq!(done["data"]["incidents"], json!([]), "{done}");
    worker.stop().await;
}

/// A hundred texts that give orders, before a model that obeys all of them.
#[tokio::test]
async fn orders_in_events_change_nothing() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path(), |_| {}).await;
    let mut wire = worker.connect().await;
    let orders = fs::read_to_string(root().join("worker/watch/tests/orders.txt")).unwrap();
    assert!(orders.lines().count() >= 100);
    for (number, order) in orders.lines().enumerate() {
        let ip = format!("198.51.100.{number}");
        let lines = format!("{}\n{}", failed(&ip, order), guessing(&ip));
        let done = event(&mut wire, &lines).await;
        let result = format!("high bruteforce {ip}: block_ip 3600 s (dry run)");
        assert_eq!(done["result"], result, "{order}: {done}");
        assert_eq!(done["data"]["incidents"][0]["target"], format!("{ip}/32"));
    }
    worker.stop().await;
}

#[tokio::test]
async fn subscribers_get_what_they_want_and_go_on_where_they_were() {
    let home = tempfile::tempdir().unwrap();
    let first = worker(home.path(), |_| {}).await;
    let mut wire = first.connect().await;
    let (mut all, mut some) = (first.connect().await, first.connect().await);
    subscribe(&mut all, json!({})).await;
    let only = json!({ "min_severity": "high", "category": "exploit" });
    subscribe(&mut some, only).await;
    // Until both are there.
    tokio::time::sleep(Duration::from_millis(300)).await;
    event(&mut wire, &guessing("203.0.113.30")).await;
    event(&mut wire, &alert("203.0.113.31", "ET EXPLOIT y")).await;
    let line = told(&mut all).await;
    assert_eq!(line["action"], "incident", "{line}");
    let keys: Vec<&String> = line.as_object().unwrap().keys().take(8).collect();
    assert_eq!(keys, OLD_KEYS);
    assert_eq!(line["action_id"], "s");
    let kind = json!({ "severity": "high", "category": "bruteforce" });
    assert_eq!(line["metadata"], kind);
    let seq = line["seq"].as_u64().unwrap();
    assert_eq!(told(&mut all).await["seq"], seq + 1);
    let line = told(&mut some).await;
    assert_eq!(line["data"]["actor"], "203.0.113.31", "{line}");

    // Cancelled, it ends and says where it was.
    all.send(r#"{"action":"cancel","action_id":"c","input":"s"}"#)
        .await;
    let done = all.done("s").await;
    assert_eq!(done["metadata"]["status"], "stopped", "{done}");
    assert_eq!(done["data"]["after"], seq + 1);
    subscribe(&mut all, json!({ "after": seq })).await;
    assert_eq!(told(&mut all).await["seq"], seq + 1);
    drop((wire, all, some));
    first.stop().await;

    // The worker's end is one of subscriptions too, and after it they go on.
    let second = worker(home.path(), |_| {}).await;
    let mut wire = second.connect().await;
    subscribe(&mut wire, json!({ "after": 0 })).await;
    assert_eq!(told(&mut wire).await["seq"], seq);
    assert_eq!(told(&mut wire).await["seq"], seq + 1);
    let mut early = second.connect().await;
    subscribe(&mut early, json!({ "after": 1_000_000 })).await;
    let warning = told(&mut early).await;
    assert_eq!(warning["action"], "warning", "{warning}");
    second.worker.stop().await;
    assert_eq!(wire.done("s").await["metadata"]["status"], "stopped");
}

/// Three thousand incidents, of which a thousand are kept.
#[tokio::test]
async fn a_slow_subscriber_loses_the_oldest_and_is_told_how_many() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path(), |settings| settings.watch.model = false).await;
    let mut wire = worker.connect().await;
    let mut slow = worker.connect().await;
    subscribe(&mut slow, json!({})).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut sent = 0;
    let categories = ["malware_signature", "database_attack", "rbl_listed"];
    for (at, category) in categories.into_iter().enumerate() {
        let line = |number: u32| {
            let ip = format!("203.{}.{}.{at}", number / 250, number % 250);
            json!({ "source_ip": ip, "threat_type": category, "risk_level": 8 }).to_string()
        };
        let lines: Vec<String> = (0..1_000).map(line).collect();
        for lines in lines.chunks(250) {
            let done = event(&mut wire, &lines.join("\n")).await;
            assert_eq!(done["data"]["more"], 250 - 64, "{}", done["result"]);
            sent += 250;
        }
    }
    let (mut got, mut lost, mut last) = (0, 0, 0);
    while last < sent {
        let line = told(&mut slow).await;
        if line["action"] == "warning" {
            let text = line["result"].as_str().unwrap().to_owned();
            lost += text.split(' ').next().unwrap().parse::<u64>().unwrap();
        } else {
            got += 1;
            let seq = line["seq"].as_u64().unwrap();
            assert!(seq > last);
            last = seq;
        }
    }
    assert!(lost > 0);
    assert_eq!(got + lost, sent);
    // The rest of the worker was served meanwhile, and the latest are on the disk.
    let list = call(&mut wire, "incidents", "list", json!({ "limit": 1_000 })).await;
    assert_eq!(list["data"]["incidents"].as_array().unwrap().len(), 1_000);
    worker.stop().await;
}

#[tokio::test]
async fn incidents_outlive_the_worker_and_their_numbers_do_not_come_again() {
    let home = tempfile::tempdir().unwrap();
    let first = worker(home.path(), |_| {}).await;
    let mut wire = first.connect().await;
    let done = event(&mut wire, &guessing("203.0.113.40")).await;
    let id = done["data"]["incidents"][0]["id"].as_u64().unwrap();
    drop(wire);
    first.stop().await;
    // Killed in the middle of a line.
    let file = home.path().join("watch/incidents.jsonl");
    let mut kept = fs::OpenOptions::new().append(true).open(&file).unwrap();
    kept.write_all(b"{\"op\":\"judged\",\"id\":7").unwrap();
    drop(kept);

    let second = worker(home.path(), |_| {}).await;
    let mut wire = second.connect().await;
    let shown = call(&mut wire, "incidents", &format!("show {id}"), json!({})).await;
    assert_eq!(shown["data"]["actor"], "203.0.113.40", "{shown}");
    let evidence = &shown["data"]["incident"]["evidence"][0]["text"];
    assert!(evidence.as_str().unwrap().contains("Failed password"));
    let done = event(&mut wire, &guessing("203.0.113.41")).await;
    let next = done["data"]["incidents"][0]["id"].as_u64().unwrap();
    assert!(next > id, "{next} after {id}");
    let list = call(&mut wire, "incidents", "", json!({})).await;
    let ids: Vec<u64> = list["data"]["incidents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [next, id]);
    second.stop().await;
}

#[tokio::test]
async fn what_a_person_calls_a_false_positive_is_only_told_until_it_was_real() {
    let home = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    let mut ranks = Vec::new();
    for (round, action) in ["block_ip", "alert", "block_ip"].into_iter().enumerate() {
        let worker = worker(home.path(), |_| {}).await;
        let mut wire = worker.connect().await;
        let done = event(&mut wire, &guessing("203.0.113.50")).await;
        let incident = &done["data"]["incidents"][0];
        assert_eq!(incident["action"], action, "round {round}: {done}");
        if round == 1 {
            assert_eq!(incident["like"], ids[0], "{done}");
            let why = done["result"].as_str().unwrap();
            assert!(why.contains("false positive"), "{why}");
            // Of another one it says nothing.
            let other = event(&mut wire, &guessing("203.0.113.51")).await;
            let actions = &other["data"]["incidents"][0]["action"];
            assert_eq!(actions, "block_ip", "{other}");
        }
        let id = incident["id"].as_u64().unwrap();
        ranks.push(incident["rank"].as_f64().unwrap());
        ids.push(id);
        let close = json!({ "false_positive": round == 0, "note": "the backup" });
        let closed = call(&mut wire, "incidents", &format!("close {id}"), close).await;
        assert!(closed["error"].is_null(), "{closed}");
        if round == 0 {
            assert_eq!(closed["data"]["remembered"]["result"], "added", "{closed}");
            let found = call(
                &mut wire,
                "research",
                "false positive bruteforce",
                json!({}),
            )
            .await;
            let passage = &found["data"]["passages"][0];
            assert!(
                passage["text"].as_str().unwrap().contains("the backup"),
                "{found}"
            );
        }
        let list = call(&mut wire, "incidents", "list", json!({ "all": true })).await;
        let rows = list["data"]["incidents"].as_array().unwrap();
        let row = rows.iter().find(|row| row["id"] == id).unwrap();
        assert_eq!(row["closed"]["false_positive"], round == 0, "{row}");
        worker.stop().await;
    }
    assert!(ranks[1] < ranks[0] && ranks[2] > ranks[1], "{ranks:?}");
}

#[tokio::test]
async fn a_rule_of_a_sensor_that_was_wrong_once_is_known() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path(), |_| {}).await;
    let mut wire = worker.connect().await;
    let done = event(&mut wire, &alert("203.0.113.55", "ET EXPLOIT odd")).await;
    let first = &done["data"]["incidents"][0];
    let id = first["id"].as_u64().unwrap();
    let wrong = json!({ "false_positive": true });
    let closed = call(&mut wire, "incidents", &format!("close {id}"), wrong).await;
    assert!(closed["error"].is_null(), "{closed}");
    for (ip, signature, like) in [
        ("203.0.113.56", "ET EXPLOIT odd", json!(id)),
        ("203.0.113.57", "ET EXPLOIT other", Value::Null),
    ] {
        let done = event(&mut wire, &alert(ip, signature)).await;
        let found = &done["data"]["incidents"][0];
        assert_eq!(found["like"], like, "{done}");
        let lower = found["rank"].as_f64() < first["rank"].as_f64();
        assert_eq!(lower, !like.is_null(), "{done}");
    }
    worker.stop().await;
}

/// A request by TCP, from somebody who administers nothing.
fn by_tcp(port: u16, request: &Value) -> Value {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    writeln!(stream, "{request}").unwrap();
    let lines = BufReader::new(stream).lines();
    let mut read = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    read.find(|line| line["action"] == "done").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_make_nobody_an_attacker_and_see_no_logs() {
    let home = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let worker = worker(home.path(), |settings| {
        settings.server.tcp = Some(format!("127.0.0.1:{port}"));
    })
    .await;
    let ask =
        |action: &str, input: &str| json!({ "action": action, "action_id": "t", "input": input });
    let done = by_tcp(port, &ask("event", &guessing("203.0.113.60")));
    let incident = &done["data"]["incidents"][0];
    assert_eq!(incident["severity"], "high", "{done}");
    assert_eq!(incident["action"], "alert");
    assert_eq!(incident["trusted"], false);
    assert!(incident["incident"]["evidence"].is_null(), "{incident}");
    // What strangers say is not added to what is known of somebody.
    let mut wire = worker.connect().await;
    let own = event(&mut wire, &failed("203.0.113.60", "deploy")).await;
    assert_eq!(own["data"]["incidents"], json!([]), "{own}");

    let id = incident["id"].as_u64().unwrap();
    let shown = by_tcp(port, &ask("incidents", &format!("show {id}")));
    assert!(!shown.to_string().contains("Failed password"), "{shown}");
    let seen = call(&mut wire, "incidents", &format!("show {id}"), json!({})).await;
    assert!(seen.to_string().contains("Failed password"), "{seen}");
    for input in ["list", "add 203.0.113.1", "undo 1", "confirm guessing"] {
        let refused = by_tcp(port, &ask("blocks", input));
        assert_eq!(refused["error"]["code"], "forbidden", "{refused}");
    }
    let refused = by_tcp(port, &ask("incidents", &format!("close {id}")));
    assert_eq!(refused["error"]["code"], "forbidden", "{refused}");
    worker.stop().await;
}

#[tokio::test]
async fn files_of_the_settings_are_followed_across_restarts() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("auth.log");
    let append = |text: &str| {
        let file = fs::OpenOptions::new().append(true).create(true).open(&log);
        file.unwrap().write_all(text.as_bytes()).unwrap();
    };
    // What was there before anybody watched is of no interest.
    append(&format!("{}\n", guessing("203.0.113.70")));
    let start = || async {
        let worker = worker(home.path(), |settings| {
            settings.watch.files = vec![log.clone(), home.path().join("not-there")];
            settings.watch.model = false;
        })
        .await;
        worker.worker.watch().await.unwrap();
        worker
    };
    let first = start().await;
    let mut wire = first.connect().await;
    subscribe(&mut wire, json!({ "after": 0 })).await;
    append(&format!("{}\n", guessing("203.0.113.71")));
    let line = told(&mut wire).await;
    assert_eq!(line["data"]["actor"], "203.0.113.71", "{line}");
    drop(wire);
    first.stop().await;

    append(&format!("{}\n", guessing("203.0.113.72")));
    let second = start().await;
    let mut wire = second.connect().await;
    subscribe(&mut wire, json!({ "after": line["seq"] })).await;
    let line = told(&mut wire).await;
    assert_eq!(line["data"]["actor"], "203.0.113.72", "{line}");
    second.stop().await;
}

/// Whoever subscribed notices nothing, and a table with a mistake changes nothing.
#[tokio::test]
async fn new_settings_are_followed_without_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let (one, other) = (home.path().join("one.log"), home.path().join("other.log"));
    let rules = home.path().join("rules.toml");
    for file in [&one, &other] {
        fs::write(file, "").unwrap();
    }
    let append = |log: &Path, ip: &str| {
        let file = fs::OpenOptions::new().append(true).open(log);
        file.unwrap()
            .write_all(format!("{}\n", guessing(ip)).as_bytes())
            .unwrap();
    };
    let worker = worker(home.path(), |settings| {
        settings.watch.files = vec![one.clone()];
        settings.watch.model = false;
    })
    .await;
    worker.worker.watch().await.unwrap();
    let mut wire = worker.connect().await;
    subscribe(&mut wire, json!({ "after": 0 })).await;
    append(&one, "203.0.113.75");
    assert_eq!(told(&mut wire).await["data"]["actor"], "203.0.113.75");

    let mut settings = Settings::clone(&worker.worker.settings());
    settings.watch.files = vec![one.clone(), other.clone()];
    settings.watch.rules = Some(rules.clone());
    worker.worker.reload(settings);
    fs::write(&rules, "rule = 1\n").unwrap();
    let fault = worker.worker.watch().await.unwrap_err();
    assert!(fault.message.contains("rules.toml"), "{}", fault.message);
    append(&one, "203.0.113.76");
    let line = told(&mut wire).await;
    assert_eq!(line["data"]["actor"], "203.0.113.76", "{line}");

    fs::write(&rules, "rule = []\n").unwrap();
    worker.worker.watch().await.unwrap();
    append(&other, "203.0.113.77");
    let next = told(&mut wire).await;
    assert_eq!(next["data"]["actor"], "203.0.113.77", "{next}");
    assert!(next["seq"].as_u64() > line["seq"].as_u64(), "{next}");
    // No rule says what to do.
    assert_eq!(next["data"]["action"], "log", "{next}");
    worker.stop().await;
}

/// A model that takes its time keeps nobody from being heard, and rules answer without it.
#[tokio::test]
async fn a_slow_model_stops_no_event() {
    let home = tempfile::tempdir().unwrap();
    let script = Script {
        decode_step: Duration::from_millis(200),
        ..harmless()
    };
    let worker = TestWorker::with_settings(script, |settings| {
        settings.watch.state_dir = home.path().join("watch");
    })
    .await;
    let mut wire = worker.connect().await;
    for number in 0..5 {
        let ip = format!("203.0.113.{}", 80 + number);
        let began = std::time::Instant::now();
        let done = call(&mut wire, "event", &guessing(&ip), json!({ "wait_ms": 50 })).await;
        assert_eq!(done["data"]["rules_alone"], true, "{done}");
        assert_eq!(done["data"]["severity"], "high");
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    worker.stop().await;
}

#[tokio::test]
async fn bad_input_is_refused_with_its_reason() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path(), |_| {}).await;
    let mut wire = worker.connect().await;
    let many = "x\n".repeat(10_001);
    let cases = [
        ("event", "", json!({}), "invalid_request", "no event"),
        ("event", "  \n\n", json!({}), "invalid_request", "no event"),
        ("event", "{\"a\":", json!({}), "invalid_request", "no line"),
        ("event", &*many, json!({}), "invalid_request", "10000"),
        (
            "event",
            "",
            json!({ "event": "x" }),
            "invalid_params",
            "event",
        ),
        (
            "event",
            "x",
            json!({ "wait_ms": 60_001 }),
            "invalid_params",
            "60000",
        ),
        (
            "event",
            "x",
            json!({ "wait_ms": -1 }),
            "invalid_params",
            "wait_ms",
        ),
        (
            "event",
            "x",
            json!({ "min_severity": "bad" }),
            "invalid_params",
            "min_severity",
        ),
        (
            "event",
            "",
            json!({ "source_port": 70_000 }),
            "invalid_params",
            "source_port",
        ),
        (
            "event",
            "",
            json!({ "source_up": "x" }),
            "invalid_params",
            "source_ip",
        ),
        (
            "subscribe",
            "",
            json!({ "category": "x" }),
            "invalid_params",
            "bruteforce",
        ),
        (
            "subscribe",
            "",
            json!({ "after": -1 }),
            "invalid_params",
            "after",
        ),
        (
            "incidents",
            "show x",
            json!({}),
            "invalid_request",
            "no number",
        ),
        (
            "incidents",
            "show -1",
            json!({}),
            "invalid_request",
            "no number",
        ),
        (
            "incidents",
            "show 99",
            json!({}),
            "incident_not_found",
            "99",
        ),
        (
            "incidents",
            "close 99",
            json!({}),
            "incident_not_found",
            "99",
        ),
        (
            "incidents",
            "close",
            json!({}),
            "invalid_request",
            "close ID",
        ),
        (
            "incidents",
            "list",
            json!({ "limit": 0 }),
            "invalid_params",
            "limit",
        ),
        (
            "incidents",
            "list",
            json!({ "category": "" }),
            "invalid_params",
            "category",
        ),
        (
            "incidents",
            "close 1",
            json!({ "note": "x".repeat(3_000) }),
            "invalid_params",
            "note",
        ),
        (
            "blocks",
            "ban 203.0.113.1",
            json!({}),
            "invalid_request",
            "remove ADDRESS",
        ),
        ("blocks", "add", json!({}), "invalid_request", "add ADDRESS"),
        (
            "blocks",
            "add example.org",
            json!({}),
            "invalid_request",
            "no address",
        ),
        (
            "blocks",
            "add 203.0.113.1;reboot",
            json!({}),
            "invalid_request",
            "no address",
        ),
        (
            "blocks",
            "add 203.0.113.0/33",
            json!({}),
            "invalid_request",
            "no address",
        ),
        (
            "blocks",
            "add 203.0.0.0/16",
            json!({}),
            "invalid_request",
            "/24",
        ),
        (
            "blocks",
            "add 2001:db8::/32",
            json!({}),
            "invalid_request",
            "/48",
        ),
        (
            "blocks",
            "add 203.0.113.1 -5",
            json!({}),
            "invalid_request",
            "86400",
        ),
        (
            "blocks",
            "add 203.0.113.1 0",
            json!({}),
            "invalid_request",
            "86400",
        ),
        (
            "blocks",
            "add 203.0.113.1 86401",
            json!({}),
            "invalid_request",
            "86400",
        ),
        (
            "blocks",
            "add 203.0.113.1 1e3",
            json!({}),
            "invalid_request",
            "86400",
        ),
        ("blocks", "add 127.0.0.1", json!({}), "denied", "allow-list"),
        (
            "blocks",
            "add ::ffff:10.0.0.1",
            json!({}),
            "denied",
            "allow-list",
        ),
        ("blocks", "add ::1", json!({}), "denied", "allow-list"),
        (
            "blocks",
            "remove 203.0.113.1",
            json!({}),
            "incident_not_found",
            "nothing",
        ),
        ("blocks", "undo 5", json!({}), "incident_not_found", "5"),
        (
            "blocks",
            "undo all",
            json!({}),
            "invalid_request",
            "no number",
        ),
        (
            "blocks",
            "confirm nothing",
            json!({}),
            "incident_not_found",
            "guessing",
        ),
        (
            "blocks",
            "list",
            json!({ "all": true }),
            "invalid_params",
            "no params",
        ),
    ];
    for (action, input, params, code, says) in cases {
        let head: String = input.chars().take(40).collect();
        let done = call(&mut wire, action, input, params).await;
        assert_eq!(done["error"]["code"], code, "{action} {head}: {done}");
        let text = done["error"].to_string();
        assert!(text.contains(says), "{action} {head}: {text} lacks {says}");
    }
    let huge = format!(
        "{{\"action\":\"event\",\"action_id\":\"h\",\"input\":\"{}\"}}",
        "x".repeat(2 << 20)
    );
    wire.send(&huge).await;
    assert_eq!(wire.done("h").await["error"]["code"], "line_too_long");
    wire.send_bytes(b"{\"action\":\"event\",\"action_id\":\"u\",\"input\":\"\xff\"}\n")
        .await;
    assert_eq!(wire.done("u").await["error"]["code"], "parse_error");
    // A long line, control characters, a forged line: events like others.
    for input in [
        "x".repeat(300_000),
        "\u{0}\u{1b}[2J".to_owned(),
        "\u{202e}sshd[1]: x".to_owned(),
    ] {
        event(&mut wire, &input).await;
    }
    let dry = call(&mut wire, "blocks", "add 203.0.113.1 60", json!({})).await;
    assert_eq!(dry["data"]["dry_run"], true, "{dry}");
    let list = call(&mut wire, "blocks", "", json!({})).await;
    assert!(
        list["result"].as_str().unwrap().starts_with("dry run"),
        "{list}"
    );
    worker.stop().await;
}

#[tokio::test]
async fn state_that_can_not_be_kept_is_said_and_nothing_else_stops() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("watch");
    fs::write(&file, "in the way").unwrap();
    let worker = worker(home.path(), |_| {}).await;
    let mut wire = worker.connect().await;
    let done = call(&mut wire, "event", "x", json!({})).await;
    assert_eq!(done["error"]["code"], "watch_unavailable", "{done}");
    let pong = wire.call(r#"{"action":"ping","action_id":"p"}"#).await;
    assert_eq!(pong["result"], "pong");
    fs::remove_file(&file).unwrap();
    event(&mut wire, "x").await;
    worker.stop().await;
}
