//! Servers that speak the Model Context Protocol, good and bad, through a real gate and a keeper.
#![allow(clippy::needless_pass_by_value, reason = "calls in tests are short")]
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

mod host;
mod mcp_servers;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fazai_toolbox::{
    Broken, McpOptions, McpServer, Origin, Servers, Source, Tool, ToolError, Toolbox, call, wants,
};
use fazai_tools::{Action, Right, Risk};
use host::TestHost;
use mcp_servers::{host_with, program, runs, server, soon, willing};
use serde_json::{Value, json};

/// The server that was made with the SDK.
fn good() -> McpServer {
    let program = program();
    server("good", &[program.to_str().expect("a path")])
}

/// Lines that were logged.
type Lines = Arc<Mutex<Vec<String>>>;

/// Options that remember what was logged.
fn options() -> (McpOptions, Lines) {
    let lines = Lines::default();
    let seen = lines.clone();
    let options = McpOptions {
        log: Arc::new(move |server, line| {
            seen.lock().expect("seen").push(format!("{server}: {line}"));
        }),
        ..McpOptions::default()
    };
    (options, lines)
}

fn servers(all: Vec<McpServer>) -> Servers {
    Servers::new(all, &options().0).expect("a thread")
}

type Listed = Vec<Result<Arc<dyn Tool>, Broken>>;

fn find(list: &Listed, name: &str) -> Option<Arc<dyn Tool>> {
    let tools = list.iter().flatten();
    tools
        .into_iter()
        .find(|tool| tool.about().name == name)
        .cloned()
}

#[track_caller]
fn problem(list: &Listed, name: &str) -> String {
    let mut broken = list.iter().filter_map(|one| one.as_ref().err());
    match broken.find(|broken| broken.name == name) {
        Some(broken) => broken.problem.clone(),
        None => panic!("{name} is not broken"),
    }
}

#[track_caller]
fn ask(servers: &Servers, host: &TestHost, name: &str, params: Value) -> Result<Value, ToolError> {
    let tool = servers
        .tool(name, host)
        .expect("it is there")
        .expect("it can be used");
    call(&*tool, &params, host)
}

#[test]
fn tools_of_a_server_are_listed_and_called() {
    let host = willing();
    let (options, lines) = options();
    let servers = Servers::new(vec![good()], &options).expect("a thread");
    let list = servers.tools(&host);
    let echo = find(&list, "good.echo").expect("the first page");
    assert_eq!(echo.about().description, "Says what it is told.");
    assert_eq!(echo.about().risk, Risk::Medium);
    let origin = Origin::Mcp {
        server: "good".into(),
    };
    assert_eq!(echo.about().origin, origin);
    assert!(find(&list, "good.with_space").is_some(), "the second page");
    let remove = find(&list, "good.remove").expect("listed");
    assert_eq!(remove.about().risk, Risk::High);
    assert!(problem(&list, "good.loop").contains("schema"));

    let told = |name, params| ask(&servers, &host, name, params).expect(name);
    assert_eq!(
        told("good.echo", json!({ "text": "hé" })),
        json!({ "text": "hé" })
    );
    assert_eq!(told("good.structured", json!({})), json!({ "answer": 42 }));
    let image = json!([{ "kind": "image", "mime_type": "image/png", "bytes": 5 }]);
    let picture = json!({ "text": "see", "left_out": image });
    assert_eq!(told("good.picture", json!({})), picture);
    // One process answers all.
    assert_eq!(told("good.count", json!({})), json!({ "text": "4" }));
    let asked = json!({ "text": "sampled: false, rooted: false" });
    assert_eq!(told("good.ask", json!({})), asked);

    let error = ask(&servers, &host, "good.fail", json!({})).expect_err("it fails");
    assert!(
        matches!(&error, ToolError::Failed(text) if text == "it went wrong"),
        "{error}"
    );
    let error = ask(&servers, &host, "good.echo", json!({ "text": 1 })).expect_err("no text");
    assert!(matches!(error, ToolError::BadParams(_)), "{error}");
    assert!(servers.tool("good.none", &host).is_none());
    assert!(servers.tool("other.echo", &host).is_none());
    let log = || {
        lines
            .lock()
            .expect("lines")
            .contains(&"good: it begins".to_owned())
    };
    assert!(soon(log));

    // What was recorded: one start, and each call by its own name.
    drop(servers);
    let entries = host.entries();
    let actions = host.granted();
    let names: Vec<_> = actions
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    let unique = |name: &str| names.iter().filter(|one| **one == name).count();
    assert_eq!(unique("good"), 1, "{names:?}");
    assert_eq!(unique("good.echo"), 1, "{names:?}");
    assert!(actions[0]["exec"]["argv"][0].is_string());
    assert!(actions[1]["exec"].is_null());
    let finished = entries
        .iter()
        .filter(|one| one["event"] == "finished")
        .count();
    assert_eq!(finished, names.len(), "every permit has its end");
    assert!(!entries.iter().any(|one| one["event"] == "unused"));
}

#[test]
fn what_a_call_takes_is_known_before() {
    let host = willing();
    let servers = servers(vec![good()]);
    let list = servers.tools(&host);
    let echo = find(&list, "good.echo").expect("listed");
    let params = json!({ "text": "x" });
    let wanted = wants(&*echo, &params).expect("good parameters");
    let [Action::CallTool(wanted)] = &wanted[..] else {
        panic!("{wanted:?}");
    };
    assert_eq!(
        (wanted.name.as_str(), wanted.exec.is_none()),
        ("good.echo", true)
    );
    assert_eq!(wanted.input.head, r#"{"text":"x"}"#);
    drop(servers);
    let wanted = wants(&*echo, &params).expect("good parameters");
    assert_eq!(wanted.len(), 2);
    assert_eq!(
        wanted[1].exec().map(|exec| exec.argv.clone()),
        Some(good().command)
    );
    let error = call(&*echo, &params, &host).expect_err("all are ended");
    assert!(matches!(error, ToolError::Unavailable(_)), "{error}");
}

#[test]
fn a_call_ends_when_it_is_stopped_or_its_time_is_up() {
    let host = willing();
    let (options, lines) = options();
    let short = McpServer {
        name: "short".into(),
        timeout: Duration::from_secs(2),
        ..good()
    };
    let servers = Servers::new(vec![good(), short], &options).expect("a thread");
    let logged = |line: &str| lines.lock().expect("lines").iter().any(|one| one == line);
    let error = ask(&servers, &host, "short.sleep", json!({})).expect_err("too long");
    assert!(matches!(error, ToolError::TimedOut), "{error}");
    assert!(
        soon(|| logged("short: it was cancelled")),
        "the server was not told"
    );
    // It goes on.
    assert!(ask(&servers, &host, "short.echo", json!({ "text": "x" })).is_ok());

    servers.tools(&host);
    let stop = host.stop.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(soon(|| logged("good: it sleeps")));
            stop.stop();
        });
        let error = ask(&servers, &host, "good.sleep", json!({})).expect_err("stopped");
        assert!(matches!(error, ToolError::Stopped), "{error}");
    });
    assert!(
        soon(|| logged("good: it was cancelled")),
        "the server was not told"
    );
    let entries = host.entries();
    assert!(entries.iter().any(|one| one["error"] == "it was stopped"));
}

#[test]
fn a_list_that_changes_is_asked_for_again() {
    let host = willing();
    let servers = servers(vec![good()]);
    assert!(find(&servers.tools(&host), "good.grown0").is_none());
    ask(&servers, &host, "good.grow", json!({})).expect("grown");
    assert!(soon(|| find(&servers.tools(&host), "good.grown0").is_some()));
    let quick = Instant::now();
    for _ in 0..100 {
        servers.tools(&host);
    }
    assert!(quick.elapsed() < Duration::from_secs(5), "it is not kept");
    let actions = host.granted();
    let starts = actions.iter().filter(|one| one["exec"].is_object());
    assert_eq!(starts.count(), 1);
}

#[test]
fn a_server_has_the_rights_of_its_settings_and_no_more() {
    let host = willing();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let named = |name: &str, rights: &[Right]| McpServer {
        name: name.into(),
        rights: rights.iter().copied().collect(),
        env: [("GIVEN".to_owned(), "yes".to_owned())].into(),
        ..good()
    };
    let servers = servers(vec![
        named("none", &[]),
        named("net", &[Right::Network]),
        named("all", &[Right::Network, Right::Change]),
    ]);
    let file = host.directory.path().join("written");
    let connect = json!({ "port": port });
    let write = json!({ "path": file });
    let audit = host.directory.path().join("audit/audit-000001.ndjson");
    let read = json!({ "path": audit });
    for (name, connects, writes) in [
        ("none", false, false),
        ("net", true, false),
        ("all", true, true),
    ] {
        let done = |tool: &str, params: &Value| {
            ask(&servers, &host, &format!("{name}.{tool}"), params.clone()).is_ok()
        };
        assert_eq!(done("connect", &connect), connects, "{name} connects");
        assert_eq!(done("write", &write), writes, "{name} writes");
        assert_eq!(file.exists(), writes, "{name} writes");
        assert_eq!(done("read", &read), writes, "{name} reads what is hidden");
        let env = ask(&servers, &host, &format!("{name}.env"), json!({})).expect("its variables");
        assert_eq!(env["GIVEN"], "yes");
        assert!(
            env["CARGO_MANIFEST_DIR"].is_null(),
            "it has the variables of its parent"
        );
    }
    let actions = host.granted();
    let connect = actions.iter().filter(|one| one["name"] == "net.connect");
    let rights: Vec<_> = connect.map(|one| one["rights"].clone()).collect();
    assert_eq!(rights, [json!(["network"])]);
}

#[test]
fn who_may_only_look_does_not_share_with_who_may_change() {
    // What is allowed without a question changes nothing, and a person says yes to the rest.
    let policy = |rule: &str| {
        format!(
            r#"
            default_profile = "reader"
            [profiles.reader]
            otherwise = "ask"
            opaque = "ask"
            read_only = true
            [[profiles.reader.rules]]
            name = "tools"
            decision = "allow"
            actions = ["call_tool"]
            names = [{rule}]
            rights = ["change", "network"]
        "#
        )
    };
    let changes = McpServer {
        rights: [Right::Change].into(),
        ..good()
    };
    let (reader, writer) = (host_with(&policy("\"good.*\", \"good\"")), willing());
    let servers = servers(vec![changes]);
    let write = |host: &TestHost, name: &str| {
        let path = writer.directory.path().join(name);
        let _ = ask(&servers, host, "good.write", json!({ "path": path }));
        path.exists()
    };
    assert!(write(&writer, "a"), "a person has said yes");
    assert!(!write(&reader, "b"), "it was allowed to look only");
    assert!(write(&writer, "c"), "both run");
}

#[test]
fn a_server_that_must_not_start_is_listed_with_the_reason() {
    let denies = r#"
        default_profile = "denies"
        [profiles.denies]
        otherwise = "deny"
        opaque = "deny"
    "#;
    let host = host_with(denies);
    let servers = servers(vec![good()]);
    let list = servers.tools(&host);
    assert_eq!(list.len(), 1);
    let why = problem(&list, "good");
    assert!(why.starts_with("denied by"), "{why}");
    let toolbox = Toolbox::new(vec![Arc::new(servers)]);
    let error = toolbox
        .get("good.echo", &host)
        .err()
        .expect("it is not there");
    assert!(matches!(error, ToolError::Broken { .. }), "{error}");
    // Somebody else may.
    assert!(toolbox.get("good.echo", &willing()).is_ok());
}

#[test]
fn all_end_with_their_owner() {
    let host = willing();
    let mark = format!("--owner-{}", std::process::id());
    let program = program();
    let path = program.to_str().expect("a path");
    let servers = servers(vec![
        server("a", &[path, &mark]),
        server("b", &[path, &mark]),
    ]);
    assert!(servers.tools(&host).iter().all(|tool| match tool {
        Ok(_) => true,
        Err(broken) => broken.name.ends_with(".loop"),
    }));
    assert!(runs(&mark));
    drop(servers);
    assert!(!runs(&mark));
    let ends = host
        .entries()
        .into_iter()
        .filter(|one| one["exit_code"] == 0);
    assert_eq!(
        ends.count(),
        2,
        "they end by themselves when nobody talks to them"
    );
}

const WORKER: &str = "FAZAI_TEST_WORKER";

/// Does nothing by itself: it is the worker of the test below.
#[test]
fn a_worker_that_waits() {
    if let Some(mark) = std::env::var_os(WORKER) {
        let program = program();
        let words = [
            program.to_str().expect("a path"),
            mark.to_str().expect("a word"),
        ];
        let servers = servers(vec![server("good", &words)]);
        let _ = ask(&servers, &willing(), "good.sleep", json!({}));
    }
}

#[test]
fn a_worker_that_is_killed_takes_its_servers_along() {
    let mark = format!("--worker-{}", std::process::id());
    let mut worker = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "a_worker_that_waits", "--nocapture"])
        .env(WORKER, &mark)
        .stdout(Stdio::null())
        .spawn()
        .expect("a worker");
    assert!(soon(|| runs(&mark)), "it did not start");
    worker.kill().expect("killed");
    worker.wait().expect("ended");
    assert!(soon(|| !runs(&mark)), "it still runs");
}
