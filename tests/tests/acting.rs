//! What is done on the machine: judged, asked for, recorded, ended in time.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use fazai_tests::served::{Served, fazai, path, wait_for};
use fazai_tests::{Wire, stdout};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A worker with a record of its own, and this policy if there is one.
struct Acting {
    home: TempDir,
    served: Served,
}

impl Acting {
    fn start(profile: &str) -> Self {
        Self::with(&format!("profile = {profile}"))
    }

    fn with(more: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let settings = format!(
            "[policy]\naudit_dir = {}\nfile = {}\n{more}\n[tools]\nruns_dir = {}\n",
            home.path().join("audit").display(),
            home.path().join("policy.toml").display(),
            home.path().join("runs").display(),
        );
        let served = Served::with_settings(&settings);
        Self { home, served }
    }

    fn audit(&self) -> PathBuf {
        self.home.path().join("audit")
    }

    async fn wire(&self) -> Wire {
        Wire::connect(&self.served.socket).await
    }

    fn verify(&self) -> Output {
        fazai(&["audit", "verify", "--dir", path(&self.audit())])
    }

    fn entries(&self) -> Vec<Value> {
        let shown = stdout(fazai(&[
            "audit",
            "show",
            "-n",
            "1000",
            "--dir",
            path(&self.audit()),
        ]));
        shown
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn shell(id: &str, command: &str) -> String {
    json!({ "action": "shell", "action_id": id, "input": command }).to_string()
}

#[tokio::test]
async fn a_command_runs_where_it_can_change_nothing_and_is_recorded() {
    let acting = Acting::start("standard");
    let mut wire = acting.wire().await;
    let done = wire
        .call(&shell("a", "cat /proc/self/status | grep NoNewPrivs"))
        .await;
    assert!(
        done["result"].as_str().unwrap().contains("NoNewPrivs:\t1"),
        "{done}"
    );
    assert_eq!(done["metadata"], json!({ "status": "done", "code": 0 }));
    // Allowed by its words; the sandbox holds all the same.
    let denied = wire.call(&shell("b", "touch /etc/fazai-was-here")).await;
    assert_eq!(denied["error"]["code"], "denied", "{denied}");

    let entries = acting.entries();
    let events: Vec<&str> = entries
        .iter()
        .map(|entry| entry["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["opened", "decided", "finished", "decided"]);
    assert_eq!(entries[2]["exit_code"], 0);
    assert!(acting.verify().status.success());
}

/// Secrets can't be read in whatever way a file is named; the rest can.
#[tokio::test]
async fn a_command_that_may_look_is_shown_no_secrets() {
    let acting = Acting::start("standard");
    let mut wire = acting.wire().await;
    let key = acting.audit().join("audit.key");
    assert_eq!(
        wire.call(&shell("a", "cat /etc/hostname")).await["metadata"]["code"],
        0
    );
    assert!(key.exists());
    let link = acting.home.path().join("innocent");
    std::os::unix::fs::symlink(&key, &link).unwrap();
    for (id, command) in [
        (
            "b",
            format!("cat {}?", link.display().to_string().trim_end_matches('t')),
        ),
        ("c", format!("wc --files0-from={}", key.display())),
        ("d", format!("cat {}", key.display())),
    ] {
        let done = wire.call(&shell(id, &command)).await;
        let refused = done["error"]["code"] == "denied" || done["metadata"]["code"] != 0;
        assert!(refused, "{command}: {done}");
        assert!(
            !done["result"]
                .as_str()
                .unwrap_or_default()
                .contains("ed25519"),
            "{done}"
        );
    }
}

/// What a command is given to read is part of what is judged, asked, granted and recorded.
#[tokio::test]
async fn input_is_always_asked_for_and_recorded() {
    let acting = Acting::start("elevated");
    let mut wire = acting.wire().await;
    let mut other = acting.wire().await;
    let given = |id: &str, stdin: &str| {
        json!({
            "action": "shell", "action_id": id, "input": "cat", "session": "s",
            "params": { "stdin": stdin },
        })
        .to_string()
    };
    wire.send(&given("a", "harmless")).await;
    let question = wire.next().await.unwrap();
    assert_eq!(
        question["wanted"]["stdin"]["head"], "harmless",
        "{question}"
    );
    let answer = json!({
        "action": "approve", "action_id": "x", "input": question["id"],
        "params": { "decision": "session", "reason": "read it" },
    });
    let _ = other.call(&answer.to_string()).await;
    assert_eq!(wire.done("a").await["result"], "harmless");
    wire.send(&given("b", "something else")).await;
    assert_eq!(wire.next().await.unwrap()["action"], "approval");
    let entries = acting.entries();
    assert!(entries.iter().any(|entry| entry["reason"] == "read it"));
    assert!(
        entries
            .iter()
            .any(|entry| entry["action"]["stdin"]["bytes"] == 8)
    );
}

#[tokio::test]
async fn what_is_asked_for_waits_for_somebody_who_may() {
    let acting = Acting::start("elevated");
    let target = acting.home.path().join("made");
    let command = format!("$(echo touch) {}", target.display());
    let mut wire = acting.wire().await;
    let mut other = acting.wire().await;
    for (id, decision, code) in [("no", "deny", "denied"), ("yes", "once", "")] {
        wire.send(&shell(id, &command)).await;
        let question = wire.next().await.unwrap();
        assert_eq!(question["action"], "approval", "{question}");
        assert_eq!(question["result"], command);
        assert!(!target.exists());
        let list = other
            .call(r#"{"action":"approvals","action_id":"l"}"#)
            .await;
        assert_eq!(list["data"]["approvals"][0]["id"], question["id"]);
        let answer = json!({
            "action": "approve", "action_id": "x", "input": question["id"],
            "params": { "decision": decision, "reason": "a test" },
        });
        let answered = other.call(&answer.to_string()).await;
        assert_eq!(answered["error"], Value::Null, "{answered}");
        let twice = other.call(&answer.to_string()).await;
        assert_eq!(twice["error"]["code"], "approval_not_found");
        let done = wire.done(id).await;
        assert_eq!(
            done["error"]["code"].as_str().unwrap_or_default(),
            code,
            "{done}"
        );
    }
    assert!(target.exists());
    let approved = acting
        .entries()
        .into_iter()
        .any(|entry| entry["approved_by"] != Value::Null);
    assert!(approved);
}

/// Else it could say yes to its own questions, and root would have asked root.
#[tokio::test]
async fn a_command_can_not_ask_the_worker_that_runs_it() {
    let acting = Acting::start("elevated");
    let socket = path(&acting.served.socket).to_owned();
    let ping = r#"{"action":"ping","action_id":"p"}"#;
    let script = acting.home.path().join("probe.sh");
    fs::write(&script, format!("echo '{ping}' | nc -N -U {socket}\n")).unwrap();
    let command = format!("sh {}", path(&script));
    let (mut wire, mut other) = (acting.wire().await, acting.wire().await);
    wire.send(&shell("a", &command)).await;
    let question = wire.next().await.unwrap();
    assert_eq!(question["action"], "approval", "{question}");
    let answer = json!({
        "action": "approve", "action_id": "x", "input": question["id"],
        "params": { "decision": "once" },
    });
    other.call(&answer.to_string()).await;
    let done = wire.done("a").await;
    let said = done["result"].as_str().unwrap_or_default();
    assert!(!said.contains(r#""status":"done""#), "{done}");
    // Who is no command of the worker is served by the same script.
    let outside = Command::new("sh").arg(&script).output().unwrap();
    assert!(stdout(outside).contains(r#""status":"done""#));
}

#[tokio::test]
async fn silence_means_no_and_a_client_that_leaves_takes_its_question_back() {
    let acting = Acting::with("profile = elevated\napproval_timeout_ms = 1000");
    let mut wire = acting.wire().await;
    let done = wire.call(&shell("a", "$(echo true)")).await;
    assert_eq!(done["error"]["code"], "denied", "{done}");
    let mut leaving = acting.wire().await;
    leaving.send(&shell("b", "$(echo true)")).await;
    let _ = leaving.next().await;
    drop(leaving);
    let listed = Instant::now();
    loop {
        let list = wire.call(r#"{"action":"approvals","action_id":"l"}"#).await;
        if list["data"]["approvals"] == json!([]) {
            break;
        }
        assert!(listed.elapsed() < Duration::from_secs(30));
    }
}

#[tokio::test]
async fn a_yes_for_the_session_holds_for_the_same_action() {
    let acting = Acting::start("elevated");
    let mut wire = acting.wire().await;
    let mut other = acting.wire().await;
    let ask = |id: &str, session: &str| {
        json!({ "action": "shell", "action_id": id, "input": "$(echo true)", "session": session })
            .to_string()
    };
    wire.send(&ask("a", "one")).await;
    let question = wire.next().await.unwrap();
    let answer = json!({
        "action": "approve", "action_id": "x", "input": question["id"],
        "params": { "decision": "session" },
    });
    let _ = other.call(&answer.to_string()).await;
    assert_eq!(wire.done("a").await["metadata"]["code"], 0);
    assert_eq!(wire.call(&ask("b", "one")).await["metadata"]["code"], 0);
    wire.send(&ask("c", "two")).await;
    assert_eq!(wire.next().await.unwrap()["action"], "approval");
}

#[tokio::test]
async fn a_command_ends_at_its_time_and_with_its_client() {
    let acting = Acting::start("elevated");
    let mut wire = acting.wire().await;
    let late = json!({
        "action": "shell", "action_id": "t", "input": "sleep 1000",
        "params": { "timeout_ms": 300 },
    });
    let done = wire.call(&late.to_string()).await;
    assert_eq!(done["error"]["code"], "deadline_exceeded", "{done}");

    wire.send(&shell("s", "sleep 98765")).await;
    assert_eq!(wire.next().await.unwrap()["metadata"]["event"], "start");
    let running = || {
        let found = Command::new("pgrep")
            .args(["-f", "sleep 98765"])
            .output()
            .unwrap();
        !found.stdout.is_empty()
    };
    wait_for(running);
    drop(wire);
    wait_for(|| !running());
}

/// Commands run, the worker dies in the middle, and the record can still be read and continued.
#[test]
fn a_record_outlives_the_death_of_the_worker() {
    let home = tempfile::tempdir().unwrap();
    let settings = format!(
        "[policy]\naudit_dir = {}\nprofile = elevated\n",
        home.path().join("audit").display()
    );
    let audit = home.path().join("audit");
    for _ in 0..3 {
        let mut served = Served::with_settings(&settings);
        let socket = served.socket.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut wire = Wire::connect(&socket).await;
            for id in 0..20 {
                wire.send(&shell(&id.to_string(), "echo again; sleep 0.05"))
                    .await;
            }
            let _ = wire.next().await;
        });
        served.process.kill().unwrap();
        served.process.wait().unwrap();
    }
    let served = Served::with_settings(&settings);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let done = runtime.block_on(async {
        Wire::connect(&served.socket)
            .await
            .call(&shell("z", "echo well"))
            .await
    });
    assert_eq!(done["result"], "well\n", "{done}");
    let verified = fazai(&["audit", "verify", "--dir", path(&audit)]);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );

    // And what is changed afterwards is found.
    drop(served);
    let file = audit.join("audit-000001.ndjson");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("echo again", "echo never", 1)).unwrap();
    assert_eq!(
        fazai(&["audit", "verify", "--dir", path(&audit)])
            .status
            .code(),
        Some(1)
    );
}

/// The lines of a long command don't repeat all of it.
#[tokio::test]
async fn a_long_command_is_whole_in_its_first_line_alone() {
    let acting = Acting::start("elevated");
    let mut wire = acting.wire().await;
    let command = format!("echo {}", "long ".repeat(1_000))
        .trim_end()
        .to_owned();
    wire.send(&shell("l", &command)).await;
    let first = wire.next().await.unwrap();
    assert_eq!(first["input"], command.as_str());
    for event in ["stream", "end"] {
        let line = wire.next().await.unwrap();
        assert_eq!(line["metadata"]["event"], event, "{line}");
        assert_eq!(line["input"], &command[..1 << 10]);
    }
}

/// One user leaves places for others.
#[tokio::test]
async fn commands_have_a_limit() {
    let acting = Acting::with("profile = elevated\ncommands_max = 4");
    let mut wire = acting.wire().await;
    for id in 0..2 {
        wire.send(&shell(&id.to_string(), "sleep 30")).await;
        assert_eq!(wire.next().await.unwrap()["metadata"]["event"], "start");
    }
    let third = wire.call(&shell("third", "true")).await;
    assert_eq!(third["error"]["code"], "overloaded", "{third}");
}

#[tokio::test]
async fn a_policy_with_a_mistake_is_refused_whole_and_the_old_one_stays() {
    let acting = Acting::start("standard");
    let mut wire = acting.wire().await;
    assert_eq!(wire.call(&shell("a", "echo hi")).await["result"], "hi\n");
    let policy = acting.home.path().join("policy.toml");
    fs::write(
        &policy,
        "default_profile = \"standard\"\n[[callers]]\nuid = 0\nprofle = 'x'\n",
    )
    .unwrap();
    acting.served.signal("HUP");
    wait_for(|| acting.served.log().contains("the old policy stays"));
    assert!(
        acting.served.log().contains("line 4"),
        "{}",
        acting.served.log()
    );
    assert_eq!(wire.call(&shell("b", "echo hi")).await["result"], "hi\n");
    fs::write(&policy, "default_profile = \"restricted\"\n").unwrap();
    acting.served.signal("HUP");
    wait_for(|| acting.served.log().contains("policy read again"));
    let done = wire.call(&shell("c", "cat /etc/hostname")).await;
    assert_eq!(done["error"]["code"], "denied", "{done}");
}

#[tokio::test]
async fn a_record_that_cannot_be_kept_stops_actions_and_not_answers() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("audit");
    fs::write(&place, "a file where a directory should be").unwrap();
    let served = Served::with_settings(&format!("[policy]\naudit_dir = {}\n", place.display()));
    let mut wire = Wire::connect(&served.socket).await;
    let done = wire.call(&shell("a", "echo hi")).await;
    assert_eq!(done["error"]["code"], "audit_unavailable", "{done}");
    let ask =
        json!({ "action": "ask", "action_id": "q", "input": "What does exit code 137 mean?" });
    assert_eq!(wire.call(&ask.to_string()).await["error"], Value::Null);
}

#[test]
fn the_policy_can_be_asked_on_the_command_line() {
    let word = |arguments: &[&str]| {
        let arguments = [
            &[
                "policy",
                "check",
                "--profile",
                "elevated",
                "--config",
                "/dev/null",
            ],
            arguments,
        ]
        .concat();
        let said = stdout(fazai(&arguments));
        said.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(word(&["--", "df", "-h"]), "allow");
    assert_eq!(word(&["--", "rm", "-rf", "/"]), "deny");
    assert_eq!(word(&["--", "r''m -rf  /"]), "deny");
    assert_eq!(word(&["--", "echo cm0gLXJmIC8= | base64 -d | sh"]), "ask");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("expected");
    fs::write(&file, "# comment\nallow df -h\ndeny rm -rf /\n").unwrap();
    let test = ["policy", "test", "--config", "/dev/null", path(&file)];
    assert!(fazai(&test).status.success());
    fs::write(&file, "allow rm -rf /\n").unwrap();
    assert_eq!(fazai(&test).status.code(), Some(1));
}

/// The built-in model plans, the policy lets the plan be followed, and what was seen is the answer.
#[tokio::test]
async fn an_agent_answers_from_what_it_saw() {
    let acting = Acting::start("standard");
    let mut wire = acting.wire().await;
    let ask = json!({
        "action": "ask", "action_id": "a", "input": "show memory usage",
        "params": { "agent": true },
    });
    wire.send(&ask.to_string()).await;
    let mut steps = Vec::new();
    let done = loop {
        let line = wire.next().await.unwrap();
        match line["action"].as_str().unwrap() {
            "step" => steps.push(line["state"].as_str().unwrap().to_owned()),
            "done" => break line,
            _ => {}
        }
    };
    assert_eq!(steps, ["running", "done"], "{done}");
    assert_eq!(done["data"]["steps"][0]["what"], "free -h", "{done}");
    assert!(done["result"].as_str().unwrap().contains("Mem:"), "{done}");
    assert!(
        acting
            .entries()
            .iter()
            .any(|entry| entry["action"]["argv"][0] == "free")
    );
    let mixed = json!({
        "action": "ask", "action_id": "b", "input": "x",
        "params": { "agent": true, "regex": "a" },
    });
    assert_eq!(
        wire.call(&mixed.to_string()).await["error"]["code"],
        "invalid_params"
    );
    let said = stdout(fazai(&[
        "ask",
        "--agent",
        "--socket",
        path(&acting.served.socket),
        "show memory usage",
    ]));
    assert!(said.contains("Mem:"), "{said}");
}

/// What the policy does not allow is not done, whatever the plan says.
#[tokio::test]
async fn an_agent_does_not_do_what_is_not_allowed() {
    let acting = Acting::start("restricted");
    let mut wire = acting.wire().await;
    let ask = json!({
        "action": "ask", "action_id": "a", "input": "list open ports",
        "params": { "agent": true }, "stream": false,
    });
    let done = wire.call(&ask.to_string()).await;
    assert_eq!(done["data"]["steps"][0]["state"], "denied", "{done}");
    // Nor does the built-in model plan changes: it may plan the opposite of what was asked.
    let change = json!({
        "action": "ask", "action_id": "b", "input": "install nginx",
        "params": { "agent": true }, "stream": false,
    });
    let done = wire.call(&change.to_string()).await;
    assert_eq!(done["error"]["code"], "plan_failed", "{done}");
    assert!(
        acting
            .entries()
            .iter()
            .all(|entry| entry["event"] != "finished")
    );
    let here = ["--socket", path(&acting.served.socket)];
    // A program that ends with 1 is something else.
    for (command, code, hint) in [
        ("cat /etc/hostname", 126, "[policy] `file` or `profile`"),
        ("rm -rf /", 126, "no profile opens this"),
    ] {
        let output = fazai(&[&["shell"], &here[..], &[command]].concat());
        assert_eq!(output.status.code(), Some(code), "{command}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(hint), "{said}");
    }
    for asked in [["ask", "--agent"], ["plan", "--run"]] {
        let output = fazai(&[&asked[..], &here, &["list open ports"]].concat());
        assert!(!output.status.success(), "{asked:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let last = said.lines().last().unwrap();
        assert!(last.contains("not allowed"), "{said}");
    }
}

/// The built-in model plans, and nothing is run.
#[test]
fn a_plan_is_whole_and_judged() {
    let plan = stdout(fazai(&["plan", "--config", "/dev/null", "list open ports"]));
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let step = &plan["steps"][0];
    assert_eq!(step["type"], "shell", "{plan}");
    assert!(step["command"].as_str().unwrap().contains("ss "), "{plan}");
    assert_eq!(step["decision"]["verdict"], "allow");
}
