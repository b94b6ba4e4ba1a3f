//! Lists of bad addresses, asked of a name server on this machine: what they say comes to the
//! incident, and nobody waits for it.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::thread;

use fazai_models::backend::scripted::Script;
use fazai_tests::incidents::{incident, until};
use fazai_tests::served::{fazai, path};
use fazai_tests::{TestWorker, Wire, stdout};
use serde_json::{Value, json};

/// Names may be asked for on this machine.
const ALLOWS: &str = r#"
    default_profile = "names"
    [profiles.names]
    [[profiles.names.rules]]
    name = "names"
    decision = "allow"
    actions = ["network"]
    networks = ["127.0.0.1/32"]
"#;

async fn worker(home: &Path, policy: &str, server: SocketAddr) -> TestWorker {
    fs::write(home.join("policy.toml"), policy).unwrap();
    TestWorker::with_settings(Script::answering(|_| String::new()), |settings| {
        settings.policy.audit_dir = home.join("audit");
        settings.policy.file = home.join("policy.toml");
        settings.watch.state_dir = home.join("watch");
        settings.watch.model = false;
        settings.watch.dnsbl.lists = ["bad.test", "good.test"].map(str::to_owned).to_vec();
        settings.watch.dnsbl.server = Some(server);
    })
    .await
}

/// The incident as it is kept now.
async fn kept(wire: &mut Wire, incident: &Value) -> Value {
    let show = format!("show {}", incident["id"]);
    let request = json!({ "action": "incidents", "action_id": "x", "input": show });
    let done = wire.call(&request.to_string()).await;
    assert!(done["error"].is_null(), "{done}");
    done["data"].clone()
}

/// A name server whose first list has 1.2.3.4. Before the right answer comes what is none.
fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let question = &buffer[..length];
            let right = answer(question);
            let mut wrong = right.clone();
            wrong[0] ^= 0xff;
            for packet in [&[0][..], &wrong, &right] {
                let _ = socket.send_to(packet, from);
            }
        }
    });
    address
}

/// The answer to one question, in the format of DNS.
fn answer(question: &[u8]) -> Vec<u8> {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap();
    let kind = question[end + 2];
    let name = question[12..end].to_ascii_lowercase();
    let data: Option<Vec<u8>> = match kind {
        1 if name == b"\x014\x013\x012\x011\x03bad\x04test" => Some(vec![127, 0, 0, 2]),
        16 => Some(b"\x0ait guesses".to_vec()),
        _ => None,
    };
    // 3: there is no such name.
    let code = if data.is_some() { 0x80 } else { 0x83 };
    let count = u8::from(data.is_some());
    let head = [0x81, code, 0, 1, 0, count, 0, 0, 0, 0];
    let mut answer = [&question[..2], &head, &question[12..end + 5]].concat();
    if let Some(data) = data {
        let length = u8::try_from(data.len()).unwrap();
        answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, length]);
        answer.extend(data);
    }
    answer
}

#[tokio::test]
async fn what_a_list_says_comes_to_the_incident_and_raises_it() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path(), ALLOWS, name_server()).await;
    let mut wire = worker.connect().await;
    let first = incident(&mut wire, "1.2.3.4").await;
    let other = incident(&mut wire, "1.2.3.5").await;
    until(async || kept(&mut wire, &first).await["listed"].is_array()).await;
    let raised = kept(&mut wire, &first).await;
    assert_eq!(raised["listed"][0]["list"], "bad.test", "{raised}");
    assert_eq!(raised["listed"][0]["codes"], json!(["127.0.0.2"]));
    assert_eq!(raised["listed"][0]["reason"], "it guesses");
    assert!(raised["rank"].as_f64() > first["rank"].as_f64(), "{raised}");
    assert!(raised["seq"].as_u64() > first["seq"].as_u64());
    // It changes nothing of what is done.
    for field in ["severity", "category", "action", "rule"] {
        assert_eq!(raised[field], first[field], "{field}");
    }
    // What is known is there at once, and is not asked for again.
    let again = incident(&mut wire, "1.2.3.4").await;
    assert_eq!(again["listed"], raised["listed"], "{again}");
    let dir = home.path().join("audit");
    let asked = || {
        let shown = stdout(fazai(&["audit", "show", "-n", "1000", "--dir", path(&dir)]));
        shown
            .lines()
            .filter(|line| line.contains("\"network\""))
            .count()
    };
    until(async || asked() == 2).await;
    let other = kept(&mut wire, &other).await;
    assert!(other["listed"].is_null(), "{other}");
    // Addresses of nobody's, private and for examples, are nobody's to ask for.
    for ip in ["10.1.2.3", "203.0.113.9", "fe80::1"] {
        incident(&mut wire, ip).await;
    }
    incident(&mut wire, "1.2.3.6").await;
    until(async || asked() == 3).await;
    worker.stop().await;
}

/// One that is not there, one that says nothing, and one that may not be asked.
#[tokio::test]
async fn nobody_waits_for_a_name_server() {
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
    let gone = gone.local_addr().unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let forbidden = UdpSocket::bind("127.0.0.1:0").unwrap();
    let was_asked = |socket: &UdpSocket| {
        socket.set_nonblocking(true).unwrap();
        socket.recv_from(&mut [0; 1500]).is_ok()
    };
    for (policy, server) in [
        (ALLOWS, gone),
        (ALLOWS, silent.local_addr().unwrap()),
        (
            "default_profile = \"restricted\"\n",
            forbidden.local_addr().unwrap(),
        ),
    ] {
        let home = tempfile::tempdir().unwrap();
        let worker = worker(home.path(), policy, server).await;
        let mut wire = worker.connect().await;
        for number in 1..=20 {
            let told = incident(&mut wire, &format!("1.2.4.{number}")).await;
            assert_eq!(told["severity"], "high");
            assert!(told["listed"].is_null(), "{told}");
        }
        let status = wire.call(r#"{"action":"status","action_id":"s"}"#).await;
        assert_eq!(status["data"]["watch"]["dnsbl"]["known"], 20, "{status}");
        if silent.local_addr().unwrap() == server {
            until(async || was_asked(&silent)).await;
        }
        worker.stop().await;
    }
    // The policy did not allow it.
    assert!(!was_asked(&forbidden));
}
