//! Blocks by others than the kernel: CrowdSec, with a program in the place of `cscli` that keeps
//! what it is asked, and files that servers read.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Child;

use fazai_tests::Wire;
use fazai_tests::incidents::{incident_within, until};
use fazai_tests::served::{fazai, path, serve, wait_for};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Keeps each word of its own, and says no when it is told to.
const CSCLI: &str = r#"#!/bin/sh
dir=$(dirname "$0")
for word in "$@"; do printf '[%s]' "$word"; done >> "$dir/calls"
echo >> "$dir/calls"
case "$2" in
list) cat "$dir/list.json" ;;
*) if [ -e "$dir/hangs" ]; then sleep 600; fi
   if [ -e "$dir/broken" ]; then echo "LAPI is down" >&2; exit 1; fi ;;
esac
"#;

struct Guard {
    home: TempDir,
    process: Option<Child>,
}

impl Guard {
    fn make(enforce: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("policy.toml"), "default_profile = \"elevated\"\n").unwrap();
        fs::create_dir(at("bin")).unwrap();
        fs::write(at("bin/cscli"), CSCLI).unwrap();
        fs::set_permissions(at("bin/cscli"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("bin/list.json"), "null\n").unwrap();
        let settings = format!(
            "[policy]\nfile = {}\naudit_dir = {}\n[memory]\ndir = {}\n[watch]\nstate_dir = {}\n\
             model = off\nenforce = {}\n",
            at("policy.toml").display(),
            at("audit").display(),
            at("memory").display(),
            at("watch").display(),
            enforce.replace("HOME", path(home.path())),
        );
        fs::write(at("fazai.conf"), settings).unwrap();
        let mut guard = Self {
            home,
            process: None,
        };
        guard.start();
        guard
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn start(&mut self) {
        let socket = self.at("fazai.sock");
        let log = File::create(self.at("log")).unwrap();
        let bin = self.at("bin");
        let variable = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
        let mut command = serve(&socket, &self.at("fazai.conf"));
        let process = command.env("PATH", variable).stderr(log).spawn();
        self.process = Some(process.unwrap());
        wait_for(|| {
            fazai(&["status", "--socket", path(&socket)])
                .status
                .success()
        });
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    async fn wire(&self) -> Wire {
        Wire::connect(&self.at("fazai.sock")).await
    }

    /// What cscli was asked to change.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.at("bin/calls")).unwrap_or_default();
        let changes = calls.lines().filter(|call| !call.contains("[list]"));
        changes.map(str::to_owned).collect()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn call(wire: &mut Wire, action: &str, input: &str) -> Value {
    let request = json!({ "action": action, "action_id": "x", "input": input });
    wire.call(&request.to_string()).await
}

#[tokio::test]
async fn crowdsec_is_told_by_words_and_asked_at_the_start() {
    let mut guard = Guard::make("crowdsec");
    let mut wire = guard.wire().await;
    let found = incident_within(&mut wire, "203.0.113.9", json!({ "wait_ms": 60_000 })).await;
    assert_eq!(found["action"], "block_ip", "{found}");
    assert_eq!(
        (&found["dry_run"], &found["ttl_s"]),
        (&json!(false), &json!(300))
    );
    let added =
        "[decisions][add][--ip][203.0.113.9][--duration][300s][--type][ban][--reason][fazai]";
    assert_eq!(guard.calls(), [added]);
    let done = call(&mut wire, "blocks", "add 198.51.100.0/24 600").await;
    assert!(done["error"].is_null(), "{done}");
    let done = call(&mut wire, "blocks", "remove 198.51.100.0/24").await;
    assert!(done["error"].is_null(), "{done}");
    assert_eq!(
        guard.calls()[1..],
        [
            "[decisions][add][--range][198.51.100.0/24][--duration][600s][--type][ban][--reason][fazai]",
            "[decisions][delete][--range][198.51.100.0/24][--origin][cscli][--scenario][fazai]",
        ]
    );

    // A no, and no answer at all, are told and block nobody.
    for (ip, file, why) in [
        ("203.0.113.10", "bin/broken", "LAPI is down"),
        ("203.0.113.11", "bin/hangs", "timed out"),
    ] {
        fs::write(guard.at(file), "").unwrap();
        let found = incident_within(&mut wire, ip, json!({ "wait_ms": 60_000 })).await;
        assert_eq!(found["action"], "alert", "{found}");
        assert!(found["instead"].as_str().unwrap().contains(why), "{found}");
        fs::remove_file(guard.at(file)).unwrap();
    }
    let list = call(&mut wire, "blocks", "list").await;
    assert_eq!(
        list["data"]["blocks"].as_array().unwrap().len(),
        1,
        "{list}"
    );
    drop(wire);

    // Somebody took our decision away, and left one that is none of ours any more.
    guard.kill();
    fs::remove_file(guard.at("bin/calls")).unwrap();
    let left = json!([{ "decisions": [
        { "duration": "2h", "origin": "cscli", "scenario": "fazai", "value": "192.0.2.66" },
        { "duration": "2h", "origin": "cscli", "scenario": "manual", "value": "192.0.2.67" },
    ] }]);
    fs::write(guard.at("bin/list.json"), left.to_string()).unwrap();
    guard.start();
    until(async || guard.calls().len() == 2).await;
    let calls = guard.calls();
    assert!(calls[0].contains("[delete][--ip][192.0.2.66]"), "{calls:?}");
    assert!(
        calls[1].contains("[add][--ip][203.0.113.9][--duration]["),
        "{calls:?}"
    );
}

#[tokio::test]
async fn a_file_has_the_form_of_who_reads_it() {
    for (form, line) in [
        ("nginx", "deny 203.0.113.9/32;"),
        ("apache", "Require not ip 203.0.113.9/32"),
        ("list", "203.0.113.9/32"),
    ] {
        let guard = Guard::make(&format!("deny_file {form} HOME/denied"));
        let lines = || {
            let text = fs::read_to_string(guard.at("denied")).unwrap_or_default();
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.map(str::to_owned).collect::<Vec<String>>()
        };
        let mut wire = guard.wire().await;
        let found = incident_within(&mut wire, "203.0.113.9", json!({ "wait_ms": 60_000 })).await;
        assert_eq!(found["action"], "block_ip", "{found}");
        assert_eq!(lines(), [line]);
        let done = call(&mut wire, "blocks", "remove 203.0.113.9").await;
        assert!(done["error"].is_null(), "{done}");
        assert!(lines().is_empty());
    }
}
