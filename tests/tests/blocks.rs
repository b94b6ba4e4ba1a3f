//! Blocks in the real nftables, in a network namespace of each test's own: past the policy, on the
//! record, undone, and made again after a kill. Without the right to make namespaces, or without
//! `nft` and `ip`, the tests say so and do nothing.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fazai_tests::incidents::{guessing, incident};
use fazai_tests::served::{fazai, path, wait_for};
use fazai_tests::{Wire, program, stdout};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixStream;

/// Blocks for a day are allowed.
const ALLOWS: &str = "default_profile = \"elevated\"\n";

/// A network namespace, which goes with the test.
struct Namespace(String);

impl Namespace {
    fn make(name: &str) -> Option<Self> {
        let namespace = Self(format!("fazai-{name}-{}", std::process::id()));
        for command in [
            format!("ip netns add {}", namespace.0),
            format!("ip -n {} link set lo up", namespace.0),
            format!("ip netns exec {} nft -j list tables", namespace.0),
        ] {
            let words: Vec<&str> = command.split(' ').collect();
            let output = Command::new(words[0]).args(&words[1..]).output();
            if !output.is_ok_and(|output| output.status.success()) {
                eprintln!("SKIPPED: `{command}` failed");
                return None;
            }
        }
        Some(namespace)
    }

    /// What nftables holds of ours.
    fn held(&self) -> String {
        let list = ["netns", "exec", &self.0, "nft", "list", "ruleset"];
        let output = Command::new("ip").args(list).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}

/// A worker within a namespace.
struct Guard {
    namespace: Namespace,
    home: TempDir,
    process: Option<Child>,
}

impl Guard {
    fn make(name: &str, policy: &str, more: &str) -> Option<Self> {
        let namespace = Namespace::make(name)?;
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name).display().to_string();
        fs::write(home.path().join("policy.toml"), policy).unwrap();
        let settings = format!(
            "[policy]\nfile = {}\naudit_dir = {}\n[memory]\ndir = {}\n[watch]\nstate_dir = {}\n\
             enforce = nft\nmodel = off\nallow = 203.0.113.200\n{more}\n",
            at("policy.toml"),
            at("audit"),
            at("memory"),
            at("watch"),
        );
        fs::write(home.path().join("fazai.conf"), settings).unwrap();
        Some(Self {
            namespace,
            home,
            process: None,
        })
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("fazai.sock")
    }

    fn start(&mut self, path_variable: Option<&str>) {
        let config = self.home.path().join("fazai.conf");
        let log = fs::File::create(self.home.path().join("log")).unwrap();
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace.0])
            .arg(program())
            .args(["serve", "--socket", path(&self.socket())])
            .args(["--config", path(&config)])
            .stdin(Stdio::null())
            .stderr(log);
        if let Some(variable) = path_variable {
            command.env("PATH", variable);
        }
        self.process = Some(command.spawn().unwrap());
        let socket = self.socket();
        let status = ["status", "--json", "--socket", path(&socket)];
        wait_for(|| fazai(&status).status.success());
    }

    async fn wire(&self) -> Wire {
        Wire::connect(&self.socket()).await
    }

    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// What was recorded.
    fn entries(&self) -> Vec<Value> {
        let dir = self.home.path().join("audit");
        let shown = stdout(fazai(&["audit", "show", "-n", "1000", "--dir", path(&dir)]));
        shown
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The decisions about an address, each with what followed.
    fn decisions(&self, address: &str) -> Vec<Value> {
        let about = |entry: &Value| entry["action"]["address"] == address;
        self.entries().into_iter().filter(about).collect()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

async fn call(wire: &mut Wire, action: &str, input: &str) -> Value {
    let request = json!({ "action": action, "action_id": "x", "input": input });
    wire.call(&request.to_string()).await
}

#[tokio::test]
async fn a_block_passes_the_gate_and_reaches_the_kernel() {
    let Some(mut guard) = Guard::make("b", ALLOWS, "") else {
        return;
    };
    guard.start(None);
    let mut wire = guard.wire().await;
    let found = incident(&mut wire, "203.0.113.9").await;
    assert_eq!(found["action"], "block_ip", "{found}");
    assert_eq!(found["dry_run"], false);
    // Nobody has confirmed the rule.
    assert_eq!(found["ttl_s"], 300);
    assert!(guard.namespace.held().contains("203.0.113.9 timeout 5m"));
    let decided = guard.decisions("203.0.113.9");
    assert_eq!(decided.len(), 1, "{decided:?}");
    assert_eq!(decided[0]["decision"]["verdict"], "allow", "{decided:?}");
    let permit = &decided[0]["permit"];
    let entries = guard.entries();
    let ended = entries
        .iter()
        .any(|entry| entry["event"] == "finished" && entry["permit"] == *permit);
    assert!(ended, "{entries:?}");

    // The same once more is there already, and no second decision.
    let again = incident(&mut wire, "203.0.113.9").await;
    assert_eq!(again["action"], "block_ip", "{again}");
    assert_eq!(guard.decisions("203.0.113.9").len(), 1);

    // IPv6.
    let found = incident(&mut wire, "2001:db8:66::9").await;
    assert_eq!(found["target"], "2001:db8:66::/64", "{found}");
    assert!(guard.namespace.held().contains("2001:db8:66::/64"));

    // Never: what the settings, or reason, forbid.
    for ip in ["203.0.113.200", "127.0.0.1", "10.1.2.3", "::1", "fe80::1"] {
        let found = incident(&mut wire, ip).await;
        assert_eq!(found["action"], "alert", "{ip}: {found}");
        assert!(!guard.namespace.held().contains(ip), "{ip}");
        let refused = call(&mut wire, "blocks", &format!("add {ip}")).await;
        assert_eq!(refused["error"]["code"], "denied", "{refused}");
        assert!(guard.decisions(ip).is_empty(), "{ip}");
    }

    // What people do goes the same way.
    let list = call(&mut wire, "blocks", "list").await;
    assert_eq!(list["data"]["dry_run"], false, "{list}");
    assert_eq!(
        list["data"]["blocks"].as_array().unwrap().len(),
        2,
        "{list}"
    );
    let undone = call(&mut wire, "blocks", &format!("undo {}", again["id"])).await;
    assert_eq!(
        undone["result"], "203.0.113.9/32 is blocked no more",
        "{undone}"
    );
    assert!(!guard.namespace.held().contains("203.0.113.9 "));
    assert_eq!(guard.decisions("203.0.113.9")[1]["action"]["ttl_s"], 0);
    let added = call(&mut wire, "blocks", "add 198.51.100.0/24 600").await;
    assert_eq!(
        added["result"], "198.51.100.0/24 is blocked for 600 s",
        "{added}"
    );
    assert!(
        guard
            .namespace
            .held()
            .contains("198.51.100.0/24 timeout 10m")
    );
    assert_eq!(guard.decisions("198.51.100.0")[0]["action"]["prefix"], 24);
    let removed = call(&mut wire, "blocks", "remove 198.51.100.0/24").await;
    assert!(removed["error"].is_null(), "{removed}");
    assert!(!guard.namespace.held().contains("198.51.100.0"));
    let confirmed = call(&mut wire, "blocks", "confirm guessing").await;
    assert_eq!(confirmed["data"]["blocks"], 1, "{confirmed}");
    assert!(
        guard
            .namespace
            .held()
            .contains("2001:db8:66::/64 timeout 1h")
    );
    let found = incident(&mut wire, "203.0.113.10").await;
    assert_eq!(found["ttl_s"], 3600, "{found}");

    // By the program, as people have it.
    let socket = guard.socket();
    let shown = stdout(fazai(&[
        "blocks",
        "list",
        "--json",
        "--socket",
        path(&socket),
    ]));
    assert!(shown.contains("203.0.113.10/32"), "{shown}");
    let shown = stdout(fazai(&[
        "incidents",
        "list",
        "--json",
        "--socket",
        path(&socket),
    ]));
    assert!(shown.contains("\"who\":\"203.0.113.10\""), "{shown}");
}

#[tokio::test]
async fn what_the_policy_denies_or_asks_about_is_only_told() {
    // Nobody is there to ask when a rule of the watch would block.
    for (name, policy) in [
        ("d", "default_profile = \"restricted\"\n".to_owned()),
        ("a", "default_profile = \"standard\"\n".to_owned()),
    ] {
        let Some(mut guard) = Guard::make(name, &policy, "") else {
            return;
        };
        guard.start(None);
        let mut wire = guard.wire().await;
        let found = incident(&mut wire, "203.0.113.9").await;
        assert_eq!(found["action"], "alert", "{name}: {found}");
        assert!(found["instead"].is_string(), "{found}");
        assert!(!guard.namespace.held().contains("203.0.113.9"));
        let decided = guard.decisions("203.0.113.9");
        assert_eq!(decided[0]["decision"]["verdict"], "deny", "{decided:?}");
        let list = call(&mut wire, "blocks", "list").await;
        assert_eq!(list["data"]["blocks"], json!([]), "{list}");
    }
}

/// The ledger is written, the firewall is not yet told, and the worker is killed.
#[tokio::test]
async fn a_block_that_a_kill_came_between_is_made_at_the_next_start() {
    let Some(mut guard) = Guard::make("k", ALLOWS, "") else {
        return;
    };
    let bin = guard.home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let slow = bin.join("nft");
    let real = "PATH=/usr/sbin:/usr/bin:/sbin:/bin; export PATH";
    let script = format!(
        "#!/bin/sh\n{real}\ncase \"$*\" in\n*-f*) input=$(cat)\n\
         case \"$input\" in *203.0.113.66*) sleep 8; exit 1;; esac\n\
         printf %s \"$input\" | nft \"$@\";;\n*) exec nft \"$@\";;\nesac\n"
    );
    fs::write(&slow, script).unwrap();
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).unwrap();
    let variable = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
    guard.start(Some(&variable));
    let mut wire = guard.wire().await;
    let request = json!({ "action": "event", "action_id": "x", "input": guessing("203.0.113.66") });
    wire.send(&request.to_string()).await;
    let ledger = guard.home.path().join("watch/blocks.jsonl");
    wait_for(|| {
        fs::read_to_string(&ledger)
            .unwrap()
            .contains("203.0.113.66")
    });
    guard.kill();
    assert!(!guard.namespace.held().contains("203.0.113.66"));
    drop(wire);

    guard.start(None);
    wait_for(|| guard.namespace.held().contains("203.0.113.66"));
    let mut wire = guard.wire().await;
    let list = call(&mut wire, "blocks", "list").await;
    assert_eq!(
        list["data"]["blocks"][0]["net"], "203.0.113.66/32",
        "{list}"
    );
    let removed = call(&mut wire, "blocks", "remove 203.0.113.66").await;
    assert!(removed["error"].is_null(), "{removed}");
    assert!(!guard.namespace.held().contains("203.0.113.66"));
}

/// The daemon's own sources, from a file to the kernel, and `fazai watch` beside it.
#[tokio::test]
async fn a_line_in_a_file_blocks_and_is_shown() {
    let log = tempfile::tempdir().unwrap();
    let file = log.path().join("auth.log");
    let events = log.path().join("events.sock");
    fs::write(&file, "").unwrap();
    let more = format!("files = {}\nunix = {}\n", file.display(), events.display());
    let Some(mut guard) = Guard::make("f", ALLOWS, &more) else {
        return;
    };
    guard.start(None);
    let socket = guard.socket();
    let mut watching = Command::new(program())
        .args(["watch", "--min-severity", "high", "--socket", path(&socket)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    fs::write(&file, format!("{}\n", guessing("203.0.113.77"))).unwrap();
    wait_for(|| guard.namespace.held().contains("203.0.113.77"));
    // As `socat - UNIX-CONNECT:...` does.
    let stream = UnixStream::connect(&events).await.unwrap();
    let text = format!("{}\n", guessing("203.0.113.78"));
    let mut sent = 0;
    while sent < text.len() {
        stream.writable().await.unwrap();
        sent += stream.try_write(&text.as_bytes()[sent..]).unwrap_or(0);
    }
    drop(stream);
    wait_for(|| guard.namespace.held().contains("203.0.113.78"));
    // What was blocked is told a moment later.
    let shown = BufReader::new(watching.stdout.take().unwrap()).lines();
    let actors: Vec<Value> = shown
        .take(2)
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["actor"].clone())
        .collect();
    assert_eq!(actors, ["203.0.113.77", "203.0.113.78"]);
    watching.kill().unwrap();
    watching.wait().unwrap();

    // Sources on the command line are the settings' business.
    let refused = fazai(&["watch", "--file", path(&file)]);
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && complaint.contains("[watch]"),
        "{complaint}"
    );
}
