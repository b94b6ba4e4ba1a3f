//! Alerts that leave the worker: past the policy, to servers that are slow, away or never end.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use fazai::config::{AlertSettings, Security, SmtpServer, SyslogPlace};
use fazai_models::backend::scripted::Script;
use fazai_protocol::Secret;
use fazai_tests::incidents::{incident, until};
use fazai_tests::served::{fazai, path};
use fazai_tests::{PATIENCE, TestWorker, Wire, program, stdout};
use serde_json::{Value, json};

/// The ways of these tests, and nothing else.
const ALLOWS: &str = r#"
    default_profile = "alerts"
    [profiles.alerts]
    read_only = false
    [[profiles.alerts.rules]]
    name = "servers"
    decision = "allow"
    actions = ["network"]
    hosts = ["127.0.0.1"]
    [[profiles.alerts.rules]]
    name = "sockets"
    decision = "allow"
    actions = ["write_file"]
    paths = ["/**"]
    [[profiles.alerts.rules]]
    name = "programs"
    decision = "allow"
    actions = ["call_tool"]
    names = ["alert_command", "keep"]
    rights = ["network", "change"]
"#;

async fn worker(home: &Path, policy: &str, change: impl FnOnce(&mut AlertSettings)) -> TestWorker {
    fs::write(home.join("policy.toml"), policy).unwrap();
    TestWorker::with_settings(Script::answering(|_| String::new()), |settings| {
        settings.modules.program = Some(program());
        settings.policy.audit_dir = home.join("audit");
        settings.policy.file = home.join("policy.toml");
        settings.tools.dir = home.join("tools");
        settings.watch.state_dir = home.join("watch");
        settings.watch.model = false;
        change(&mut settings.watch.alerts);
    })
    .await
}

/// How a way stands.
async fn way(wire: &mut Wire, name: &str) -> Value {
    let status = wire.call(r#"{"action":"status","action_id":"s"}"#).await;
    let ways = status["data"]["watch"]["alerts"]
        .as_array()
        .unwrap()
        .clone();
    ways.into_iter().find(|way| way["way"] == name).unwrap()
}

async fn stands(wire: &mut Wire, name: &str, what: &str, count: u64) {
    until(async || way(wire, name).await[what] == count).await;
}

/// What was recorded.
fn entries(home: &Path) -> Vec<Value> {
    let dir = home.join("audit");
    let shown = stdout(fazai(&["audit", "show", "-n", "1000", "--dir", path(&dir)]));
    let entries = shown
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    entries.collect()
}

fn local() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn hook(settings: &mut AlertSettings, address: SocketAddr) {
    settings.webhook = Some(format!("http://{address}/hook").parse().unwrap());
}

/// A request with its headers and its body.
fn request(stream: &TcpStream) -> (String, Value) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let length = head.to_lowercase();
    let length = length.split("content-length: ").nth(1).unwrap();
    let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

/// A server that answers each request with the next of these, and shows the requests.
fn serve(listener: TcpListener, answers: Vec<&'static str>) -> Receiver<(String, Value)> {
    let (show, shown) = channel();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let request = request(&stream);
            stream.write_all(answer.as_bytes()).unwrap();
            show.send(request).unwrap();
        }
    });
    shown
}

const OK: &str = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const NO: &str = "HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const AWAY: &str = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_webhook_gets_the_judged_incident_and_is_asked_again_while_it_is_busy() {
    let home = tempfile::tempdir().unwrap();
    let (listener, address) = local();
    let requests = serve(listener, vec![BUSY, OK, NO, AWAY, OK]);
    let worker = worker(home.path(), ALLOWS, |alerts| {
        hook(alerts, address);
        alerts.webhook_token = Some(Secret("s3cret".to_owned()));
    })
    .await;
    let mut wire = worker.connect().await;
    let told = incident(&mut wire, "203.0.113.9").await;
    stands(&mut wire, "webhook", "sent", 1).await;
    let (first, busy) = requests.recv_timeout(PATIENCE).unwrap();
    let (_, again) = requests.recv_timeout(PATIENCE).unwrap();
    assert!(first.starts_with("POST /hook HTTP/1.1\r\n"), "{first}");
    assert!(
        first.contains("authorization: Bearer s3cret\r\n"),
        "{first}"
    );
    assert_eq!(busy, again);
    assert_eq!(again["seq"], told["seq"]);
    assert_eq!(again["actor"], "203.0.113.9");
    assert_eq!(again["action"], "block_ip");
    assert!(
        again["incident"]["evidence"][0]["text"].is_string(),
        "{again}"
    );

    // The same once more is no news; a no is not asked again, nor a redirect followed.
    incident(&mut wire, "203.0.113.9").await;
    incident(&mut wire, "203.0.113.10").await;
    stands(&mut wire, "webhook", "failed", 1).await;
    incident(&mut wire, "203.0.113.11").await;
    stands(&mut wire, "webhook", "failed", 2).await;
    incident(&mut wire, "203.0.113.12").await;
    stands(&mut wire, "webhook", "sent", 2).await;
    let actors: Vec<Value> = requests
        .iter()
        .map(|(_, body)| body["actor"].clone())
        .collect();
    assert_eq!(actors, ["203.0.113.10", "203.0.113.11", "203.0.113.12"]);

    // Each try was decided and recorded, without the path, which may be a secret.
    let entries = entries(home.path());
    let tries = entries
        .iter()
        .filter(|entry| entry["action"]["action"] == "network");
    let tries: Vec<&Value> = tries.collect();
    assert_eq!(tries.len(), 5, "{entries:?}");
    assert_eq!(tries[0]["action"]["port"], address.port());
    assert!(!json!(entries).to_string().contains("hook\""));
    worker.stop().await;
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_not_done() {
    let home = tempfile::tempdir().unwrap();
    let (listener, address) = local();
    listener.set_nonblocking(true).unwrap();
    let kept = home.path().join("kept");
    let worker = worker(home.path(), "default_profile = \"standard\"\n", |alerts| {
        hook(alerts, address);
        alerts.command = vec!["touch".to_owned(), kept.display().to_string()];
        alerts.syslog = Some(SyslogPlace::Udp(address));
    })
    .await;
    let mut wire = worker.connect().await;
    let told = incident(&mut wire, "203.0.113.9").await;
    assert_eq!(told["severity"], "high");
    for name in ["webhook", "command", "syslog"] {
        stands(&mut wire, name, "failed", 1).await;
    }
    assert!(listener.accept().is_err() && !kept.exists());
    let entries = entries(home.path());
    let verdicts = entries
        .iter()
        .map(|entry| entry["decision"]["verdict"].clone());
    let denied = verdicts.filter(|verdict| verdict == "deny").count();
    assert_eq!(denied, 3, "{entries:?}");
    worker.stop().await;
}

/// One way waits for a server that is not there, one for a server that says nothing; the third
/// and the judgement go on.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_servers_that_are_away_or_slow() {
    let home = tempfile::tempdir().unwrap();
    let (silent, address) = local();
    let log = home.path().join("log");
    let syslog = UnixDatagram::bind(&log).unwrap();
    syslog.set_read_timeout(Some(PATIENCE)).unwrap();
    let (listener, mail) = local();
    drop(listener);
    let worker = worker(home.path(), ALLOWS, |alerts| {
        hook(alerts, address);
        alerts.syslog = Some(SyslogPlace::Socket(log.clone()));
        mailed(alerts, mail);
    })
    .await;
    let mut wire = worker.connect().await;
    for number in 1..=20 {
        let told = incident(&mut wire, &format!("203.0.113.{number}")).await;
        assert_eq!(told["severity"], "high");
        let mut line = [0; 4096];
        let count = syslog.recv(&mut line).unwrap();
        let line = String::from_utf8_lossy(&line[..count]).into_owned();
        let text = format!(" incident - high bruteforce 203.0.113.{number}: block_ip 3600 s");
        assert!(line.starts_with("<83>1 ") && line.contains(&text), "{line}");
    }
    // It was reached, and has not answered.
    let (held, _) = silent.accept().unwrap();
    assert_eq!(request(&held).1["actor"], "203.0.113.1");
    assert_eq!(way(&mut wire, "webhook").await["waiting"], 20);
    assert_eq!(way(&mut wire, "email").await["waiting"], 20);
    stands(&mut wire, "syslog", "sent", 20).await;

    // Once there is a mail server, it gets all that waits.
    let mails = mail_server(TcpListener::bind(mail).unwrap());
    let first = mails.recv_timeout(PATIENCE).unwrap();
    assert!(first.contains("203.0.113.1: block_ip 3600 s"), "{first}");
    let rest = mails.recv_timeout(PATIENCE).unwrap();
    assert!(
        rest.contains("203.0.113.2: ") && rest.contains("203.0.113.20: "),
        "{rest}"
    );
    stands(&mut wire, "email", "waiting", 0).await;
    // The end does not wait for the silent one.
    worker.stop().await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_an_end_is_left() {
    let home = tempfile::tempdir().unwrap();
    let (listener, address) = local();
    let (ended, all_ended) = channel();
    thread::spawn(move || {
        // A body, then a header, that goes on until the other side has had enough; then a good one.
        for begin in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nX: "] {
            let (mut stream, _) = listener.accept().unwrap();
            request(&stream);
            stream.write_all(begin.as_bytes()).unwrap();
            while stream.write_all(&[b'a'; 4096]).is_ok() {}
            ended.send(()).unwrap();
        }
        let (mut stream, _) = listener.accept().unwrap();
        request(&stream);
        stream.write_all(OK.as_bytes()).unwrap();
    });
    let (listener, mail) = local();
    let worker = worker(home.path(), ALLOWS, |alerts| {
        hook(alerts, address);
        mailed(alerts, mail);
    })
    .await;
    let mut wire = worker.connect().await;
    incident(&mut wire, "203.0.113.9").await;
    stands(&mut wire, "webhook", "sent", 1).await;
    incident(&mut wire, "203.0.113.10").await;
    stands(&mut wire, "webhook", "sent", 2).await;
    for () in [(), ()] {
        all_ended.recv_timeout(PATIENCE).unwrap();
    }
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 ").unwrap();
        while stream.write_all(&[b'a'; 4096]).is_ok() {}
        mail_server(listener).recv_timeout(PATIENCE).unwrap()
    });
    until(async || server.is_finished()).await;
    assert!(server.join().unwrap().contains("203.0.113.9"));
    worker.stop().await;
}

#[tokio::test]
async fn a_program_reads_the_incident_and_no_shell_its_words() {
    let home = tempfile::tempdir().unwrap();
    let script = home.path().join("tell");
    let out = home.path().join("out");
    // It fails the first time.
    let text = "#!/bin/sh\n[ -e \"$1.once\" ] || { touch \"$1.once\"; exit 3; }\n\
                { echo \"$2\"; cat; echo; } >> \"$1\"\n";
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let words = [path(&script), path(&out), "$(id); `id` *"];
    let worker = worker(home.path(), ALLOWS, |alerts| {
        alerts.command = words.map(str::to_owned).to_vec();
    })
    .await;
    let mut wire = worker.connect().await;
    incident(&mut wire, "203.0.113.9").await;
    incident(&mut wire, "203.0.113.10").await;
    stands(&mut wire, "command", "sent", 2).await;
    let written = fs::read_to_string(&out).unwrap();
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines.len(), 4, "{written}");
    assert_eq!(lines[0], "$(id); `id` *");
    let first: Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!(first["actor"], "203.0.113.9");
    let second: Value = serde_json::from_str(lines[3]).unwrap();
    assert_eq!(second["actor"], "203.0.113.10");
    let entries = entries(home.path());
    let calls = entries
        .iter()
        .filter(|entry| entry["action"]["name"] == "alert_command");
    let calls: Vec<&Value> = calls.collect();
    assert_eq!(calls.len(), 3, "{entries:?}");
    assert_eq!(calls[0]["action"]["exec"]["argv"], json!(words));
    worker.stop().await;
}

#[tokio::test]
async fn a_tool_is_called_with_the_incident() {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: there is no python3");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (tools, out) = (home.path().join("tools"), home.path().join("out"));
    fs::create_dir(&tools).unwrap();
    fs::set_permissions(&tools, fs::Permissions::from_mode(0o755)).unwrap();
    let text = format!(
        "INFO = {{'name': 'keep', 'description': 'Keeps'}}\n\
         def run(params):\n    open({:?}, 'w').write(params['incident']['actor'])\n    \
         return {{'success': True}}\n",
        path(&out)
    );
    fs::write(tools.join("keep.py"), text).unwrap();
    fs::set_permissions(tools.join("keep.py"), fs::Permissions::from_mode(0o644)).unwrap();
    let worker = worker(home.path(), ALLOWS, |alerts| {
        alerts.tool = Some("keep".to_owned());
    })
    .await;
    let mut wire = worker.connect().await;
    incident(&mut wire, "203.0.113.9").await;
    stands(&mut wire, "tool", "sent", 1).await;
    assert_eq!(fs::read_to_string(&out).unwrap(), "203.0.113.9");
    worker.stop().await;
}

fn mailed(alerts: &mut AlertSettings, address: SocketAddr) {
    alerts.email = vec!["Ops <ops@example.org>".parse().unwrap()];
    alerts.email_from = Some("fazai@example.org".parse().unwrap());
    alerts.smtp = Some(SmtpServer {
        security: Security::Plain,
        host: address.ip().to_string(),
        port: address.port(),
        user: None,
    });
}

/// A server that takes mails, one for each connection.
fn mail_server(listener: TcpListener) -> Receiver<String> {
    let (show, shown) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Some(mail) = mail(&stream.unwrap()) else {
                continue;
            };
            if show.send(mail).is_err() {
                break;
            }
        }
    });
    shown
}

fn mail(stream: &TcpStream) -> Option<String> {
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .ok()?;
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    let mut line = String::new();
    let mut got = String::new();
    writer.write_all(b"220 here\r\n").ok()?;
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return (!got.is_empty()).then_some(got);
        }
        let verb = line.split([' ', '\r', ':']).next().unwrap_or_default();
        let answer = match verb {
            "EHLO" => "250-here\r\n250 8BITMIME\r\n",
            "DATA" => "354 go on\r\n",
            "QUIT" => {
                writer.write_all(b"221 bye\r\n").ok()?;
                return Some(got);
            }
            _ => "250 ok\r\n",
        };
        writer.write_all(answer.as_bytes()).ok()?;
        if verb == "DATA" {
            loop {
                line.clear();
                reader.read_line(&mut line).ok()?;
                if line == ".\r\n" {
                    break;
                }
                got.push_str(&line);
            }
            writer.write_all(b"250 taken\r\n").ok()?;
        }
    }
}
