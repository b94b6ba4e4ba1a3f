//! Runs of plans: kept, paused, resumed, cancelled, and never done twice.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::path::Path;
use std::process::Child;

use fazai_models::backend::scripted::Script;
use fazai_tests::served::{fazai, path, serve, wait_for};
use fazai_tests::{TestWorker, Wire, program, stdout};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A model whose every plan has these commands, and that is large enough to plan changes.
fn planner(commands: &[&str]) -> Script {
    let steps: Vec<Value> = commands
        .iter()
        .map(|command| {
            json!({ "type": "shell", "command": command, "explain": "x", "riskLevel": "low" })
        })
        .collect();
    let plan = json!({ "steps": steps }).to_string();
    Script {
        parameters: 1_000_000_000,
        ..Script::answering(move |_| plan.clone())
    }
}

/// A worker with a record and journals of its own, under the standard profile.
async fn worker(home: &Path, script: Script) -> TestWorker {
    TestWorker::with_settings(script, |settings| {
        settings.modules.program = Some(program());
        settings.policy.audit_dir = home.join("audit");
        settings.policy.file = home.join("policy.toml");
        settings.tools.runs_dir = home.join("runs");
    })
    .await
}

fn run(id: &str) -> String {
    json!({ "action": "plan", "action_id": id, "input": "go", "params": { "run": true } })
        .to_string()
}

fn runs(id: &str, input: &str) -> String {
    json!({ "action": "runs", "action_id": id, "input": input }).to_string()
}

/// Reads until a step is in this state, and returns its line.
async fn step(wire: &mut Wire, state: &str) -> Value {
    loop {
        let line = wire.next().await.unwrap();
        assert_ne!(line["action"], "done", "{line}");
        if line["action"] == "step" && line["state"] == state {
            return line;
        }
    }
}

fn commands(done: &Value) -> Vec<(String, String)> {
    let steps = done["data"]["steps"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    steps
        .iter()
        .map(|step| (text(&step["what"]), text(&step["state"])))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(what, state): &(&str, &str)| ((*what).to_owned(), (*state).to_owned());
    expected.iter().map(own).collect()
}

#[tokio::test]
async fn a_run_waits_while_it_is_paused_and_then_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path(), planner(&["sleep 0.5", "uptime"])).await;
    let (mut wire, mut other) = (worker.connect().await, worker.connect().await);
    wire.send(&run("a")).await;
    let begun = step(&mut wire, "running").await;
    let id = begun["run"].as_str().unwrap();
    let paused = other.call(&runs("p", &format!("pause {id}"))).await;
    assert_eq!(paused["result"], "told", "{paused}");
    step(&mut wire, "done").await;
    loop {
        let line = wire.next().await.unwrap();
        assert_eq!(line["action"], "progress", "{line}");
        if line["phase"] == "paused" {
            break;
        }
    }
    let shown = other.call(&runs("s", &format!("show {id}"))).await;
    assert_eq!(shown["data"]["stand"], "paused");
    assert_eq!(shown["data"]["left"].as_array().unwrap().len(), 1);
    other.call(&runs("r", &format!("resume {id}"))).await;
    let done = wire.done("a").await;
    assert_eq!(
        commands(&done),
        pairs(&[("sleep 0.5", "done"), ("uptime", "done")])
    );
    // It is over, and stays so.
    let again = other.call(&runs("x", &format!("resume {id}"))).await;
    assert_eq!(again["error"]["code"], "invalid_request", "{again}");
    worker.stop().await;
}

/// What is missing is installed first if the policy allows it, and asked for once only.
#[tokio::test]
async fn a_missing_program_is_installed_if_that_is_allowed() {
    let home = tempfile::tempdir().unwrap();
    let policy = "default_profile = \"mine\"\n[profiles.mine]\nextends = \"standard\"\n\
        [[profiles.mine.rules]]\nname = \"run\"\ndecision = \"allow\"\nactions = [\"exec\"]\n\
        programs = [\"no-such-program\", \"uptime\"]\nreason = \"it may\"\n";
    fs::write(home.path().join("policy.toml"), policy).unwrap();
    let worker = worker(home.path(), planner(&["no-such-program", "uptime"])).await;
    let mut wire = worker.connect().await;
    let done = wire.call(&run("a")).await;
    let install = "tool:packages param={\"action\":\"install\",\"name\":\"no-such-program\"}";
    assert_eq!(
        commands(&done),
        pairs(&[
            ("no-such-program", "failed"),
            (install, "denied"),
            // Another plan; that nothing can be installed is known.
            ("no-such-program", "failed"),
        ])
    );
    worker.stop().await;
}

/// What a small model plans may be the opposite of what was asked.
#[tokio::test]
async fn a_small_model_plans_only_what_looks() {
    for (commands, ends) in [
        (["uptime", "nproc"], None),
        (["uptime", "passwd -l root"], Some("plan_failed")),
    ] {
        let home = tempfile::tempdir().unwrap();
        let small = Script {
            parameters: 5_000_000,
            ..planner(&commands)
        };
        let worker = worker(home.path(), small).await;
        let mut wire = worker.connect().await;
        let plan = json!({ "action": "plan", "action_id": "p", "input": "go" });
        let agent = json!({
            "action": "ask", "action_id": "a", "input": "go", "params": { "agent": true },
        });
        for request in [plan.to_string(), run("r"), agent.to_string()] {
            let done = wire.call(&request).await;
            assert_eq!(done["error"]["code"].as_str(), ends, "{done}");
            if ends.is_some() {
                let hint = done["error"]["hint"].as_str().unwrap();
                assert!(hint.contains("larger"), "{done}");
                assert!(
                    done["data"]["steps"].as_array().is_none_or(Vec::is_empty),
                    "{done}"
                );
            }
        }
        worker.stop().await;
    }
}

/// A plan that begins with what just failed is none.
#[tokio::test]
async fn what_failed_is_not_tried_again_at_once() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path(), planner(&["passwd -l root", "uptime"])).await;
    let mut wire = worker.connect().await;
    wire.send(&run("a")).await;
    let done = wire.done("a").await;
    assert_eq!(commands(&done), pairs(&[("passwd -l root", "denied")]));
    assert_eq!(done["data"]["plans"], 2, "{done}");
    worker.stop().await;
}

#[tokio::test]
async fn a_cancelled_run_ends_its_command_and_stays_cancelled() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path(), planner(&["sleep 1000", "uptime"])).await;
    let (mut wire, mut other) = (worker.connect().await, worker.connect().await);
    wire.send(&run("a")).await;
    let id = step(&mut wire, "running").await["run"].clone();
    let id = id.as_str().unwrap();
    other.call(&runs("c", &format!("cancel {id}"))).await;
    let done = wire.done("a").await;
    assert_eq!(done["metadata"]["status"], "stopped", "{done}");
    let listed = other.call(&runs("l", "list")).await;
    assert_eq!(listed["data"]["runs"][0]["stand"], "cancelled", "{listed}");
    let again = other.call(&runs("x", &format!("resume {id}"))).await;
    assert_eq!(again["error"]["code"], "invalid_request", "{again}");
    worker.stop().await;
}

/// What was done can't be called off; what was called off can be again.
#[tokio::test]
async fn a_run_that_is_done_is_not_cancelled() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path(), planner(&["uptime"])).await;
    let mut wire = worker.connect().await;
    wire.send(&run("a")).await;
    let id = step(&mut wire, "done").await["run"].clone();
    wire.done("a").await;
    let cancel = runs("c", &format!("cancel {}", id.as_str().unwrap()));
    let refused = wire.call(&cancel).await;
    assert_eq!(refused["error"]["code"], "invalid_request", "{refused}");
    let listed = wire.call(&runs("l", "list")).await;
    assert_eq!(listed["data"]["runs"][0]["stand"], "done", "{listed}");
    worker.stop().await;
}

/// Whoever leaves can come back; the step that was interrupted is not done again.
#[tokio::test]
async fn a_run_whose_client_left_can_be_resumed() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path(), planner(&["uptime", "sleep 1000", "nproc"])).await;
    let mut wire = worker.connect().await;
    wire.send(&run("a")).await;
    step(&mut wire, "done").await;
    let id = step(&mut wire, "running").await["run"].clone();
    let id = id.as_str().unwrap();
    drop(wire);
    let mut other = worker.connect().await;
    loop {
        let listed = other.call(&runs("l", "list")).await;
        if listed["data"]["runs"][0]["stand"] == "stopped" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let done = other.call(&runs("r", &format!("resume {id}"))).await;
    assert_eq!(
        commands(&done),
        pairs(&[
            ("uptime", "done"),
            ("sleep 1000", "unknown"),
            ("nproc", "done")
        ])
    );
    worker.stop().await;
}

#[tokio::test]
async fn two_can_not_resume_one_run() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path(), planner(&["sleep 2"])).await;
    let (mut wire, mut other) = (worker.connect().await, worker.connect().await);
    wire.send(&run("a")).await;
    let id = step(&mut wire, "running").await["run"].clone();
    // It is told to go on, which it does anyway.
    let told = other
        .call(&runs("r", &format!("resume {}", id.as_str().unwrap())))
        .await;
    assert_eq!(told["result"], "told", "{told}");
    assert_eq!(
        commands(&wire.done("a").await),
        pairs(&[("sleep 2", "done")])
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_run_that_can_not_be_kept_is_not_run() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("runs"), "in the way").unwrap();
    let worker = worker(home.path(), planner(&["uptime"])).await;
    let mut wire = worker.connect().await;
    let done = wire.call(&run("a")).await;
    assert_eq!(done["error"]["code"], "audit_unavailable", "{done}");
    // Answers go on.
    let ask = json!({ "action": "ask", "action_id": "b", "input": "hello" }).to_string();
    assert_eq!(wire.call(&ask).await["metadata"]["status"], "done");
    worker.stop().await;
}

/// A worker that can be killed and started again on the same record and journals.
struct Killed {
    home: TempDir,
    process: Option<Child>,
}

impl Killed {
    fn start(&mut self) {
        let settings = format!(
            "[policy]\naudit_dir = {0}/audit\nfile = {0}/policy.toml\n[tools]\nruns_dir = {0}/runs\n",
            self.home.path().display()
        );
        let config = self.home.path().join("fazai.conf");
        fs::write(&config, settings).unwrap();
        let log = fs::File::create(self.home.path().join("log")).unwrap();
        let socket = self.socket();
        let process = serve(&socket, &config).stderr(log).spawn().unwrap();
        self.process = Some(process);
        wait_for(|| {
            fazai(&["status", "--json", "--socket", path(&socket)])
                .status
                .success()
        });
    }

    fn socket(&self) -> std::path::PathBuf {
        self.home.path().join("run/fazai.sock")
    }

    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// The built-in model's plan has two steps; the worker dies after each line that it may have sent.
#[tokio::test]
async fn a_worker_killed_at_any_moment_leaves_a_record_and_a_run_that_goes_on() {
    for lines in [0, 1, 2, 4, 6] {
        let mut killed = Killed {
            home: tempfile::tempdir().unwrap(),
            process: None,
        };
        killed.start();
        let mut wire = Wire::connect(&killed.socket()).await;
        let ask = json!({
            "action": "ask", "action_id": "a", "input": "the service postgresql failed",
            "params": { "agent": true },
        });
        wire.send(&ask.to_string()).await;
        for _ in 0..lines {
            assert!(wire.next().await.is_some());
        }
        killed.kill();
        killed.start();

        let audit = killed.home.path().join("audit");
        let mut wire = Wire::connect(&killed.socket()).await;
        let listed = wire.call(&runs("l", "list")).await;
        // Killed before it began, there is nothing to go on with.
        let Some(kept) = listed["data"]["runs"].as_array().unwrap().first() else {
            assert_eq!(lines, 0, "{listed}");
            continue;
        };
        assert_eq!(kept["stand"], "interrupted", "{listed}");
        let resume = format!("resume {}", kept["run"].as_str().unwrap());
        let done = wire.call(&runs("r", &resume)).await;
        assert!(done["error"].is_null(), "{done}");
        let steps = commands(&done);
        assert_eq!(steps.len(), 2, "{done}");
        assert!(
            steps
                .iter()
                .all(|(_, state)| state == "done" || state == "unknown"),
            "{done}"
        );
        // No command was let through twice.
        let shown = stdout(fazai(&[
            "audit",
            "show",
            "-n",
            "1000",
            "--dir",
            path(&audit),
        ]));
        for (what, _) in &steps {
            let decided = shown
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap())
                .filter(|entry| entry["event"] == "decided")
                .filter(|entry| {
                    let argv = entry["action"]["argv"].as_array().into_iter().flatten();
                    let words: Vec<&str> = argv.filter_map(Value::as_str).collect();
                    words.join(" ").ends_with(what)
                });
            assert!(decided.count() <= 1, "{what} after {lines} lines:\n{shown}");
        }
        let verified = fazai(&["audit", "verify", "--dir", path(&audit)]);
        assert!(verified.status.success(), "{verified:?}");
    }
}
