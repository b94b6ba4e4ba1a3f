//! The memory: what is added is found, by those who may.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::path::Path;

use fazai_tests::served::{fazai, path};
use fazai_tests::{TestWorker, Wire, echo, stdout};
use serde_json::{Value, json};

async fn worker(home: &Path) -> TestWorker {
    TestWorker::with_settings(echo(), |settings| {
        settings.policy.audit_dir = home.join("audit");
        settings.policy.file = home.join("policy.toml");
        settings.memory.dir = home.join("memory");
    })
    .await
}

async fn research(wire: &mut Wire, query: &str) -> Vec<Value> {
    let call = json!({ "action": "research", "action_id": "r", "input": query });
    let done = wire.call(&call.to_string()).await;
    assert!(done["error"].is_null(), "{done}");
    done["data"]["passages"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_is_remembered_is_found_once_and_outlives_the_worker() {
    let home = tempfile::tempdir().unwrap();
    let first = worker(home.path()).await;
    let mut wire = first.connect().await;
    let commit = |id: &str| {
        json!({
            "action": "commitKB", "action_id": id, "input": "",
            "params": {
                "title": "disk full on mail", "problem": "postfix stopped: no space left",
                "solution": "empty /var/spool/postfix/deferred", "tags": ["mail"],
            },
        })
        .to_string()
    };
    let added = wire.call(&commit("a")).await;
    assert_eq!(added["data"]["result"]["result"], "added", "{added}");
    let again = wire.call(&commit("b")).await;
    assert_eq!(again["data"]["result"]["result"], "same", "{again}");
    drop(wire);
    first.stop().await;

    let second = worker(home.path()).await;
    let mut wire = second.connect().await;
    let found = research(&mut wire, "postfix no space").await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["found_by"], "text");
    // A small model does not answer from passages; they are the answer.
    let ask = json!({
        "action": "research", "action_id": "c", "input": "postfix", "params": { "answer": true },
    });
    let answered = wire.call(&ask.to_string()).await;
    assert!(
        answered["result"]
            .as_str()
            .unwrap()
            .starts_with("[1] disk full on mail"),
        "{answered}"
    );
    let id = found[0]["id"].as_str().unwrap();
    let remove = json!({ "action": "kb", "action_id": "d", "input": format!("rm {id}") });
    assert_eq!(wire.call(&remove.to_string()).await["result"], "removed");
    assert!(research(&mut wire, "postfix").await.is_empty());
    second.stop().await;
}

/// Files below a directory are judged one by one: the policy's secrets do not become knowledge.
#[tokio::test]
async fn secrets_below_a_directory_are_left_out() {
    let home = tempfile::tempdir().unwrap();
    let docs = home.path().join("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("notes.md"), "# Backups\n\nThey run at night.\n").unwrap();
    fs::write(docs.join(".env"), "PASSWORD=hunter2\n").unwrap();
    fs::write(docs.join("hosts.netrc"), "nothing\n").unwrap();
    fs::create_dir(docs.join("more")).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", docs.join("more/link")).unwrap();
    fs::write(
        home.path().join("policy.toml"),
        format!(
            "default_profile = \"p\"\n[profiles.p]\n\
             [[profiles.p.rules]]\nname = \"secret\"\ndecision = \"deny\"\n\
             actions = [\"read_file\"]\npaths = [\"**/*.netrc\"]\n\
             [[profiles.p.rules]]\nname = \"docs\"\ndecision = \"allow\"\n\
             actions = [\"read_file\"]\npaths = [\"{0}\", \"{0}/**\"]\n\
             [[profiles.p.rules]]\nname = \"memory\"\ndecision = \"allow\"\n\
             actions = [\"write_memory\"]\n",
            docs.canonicalize().unwrap().display()
        ),
    )
    .unwrap();
    let worker = worker(home.path()).await;
    let mut wire = worker.connect().await;
    let add = json!({
        "action": "kb", "action_id": "a", "input": format!("add {}", docs.display()),
    });
    let done = wire.call(&add.to_string()).await;
    assert_eq!(done["data"]["files"], 1, "{done}");
    assert_eq!(
        done["data"]["skipped"].as_array().unwrap().len(),
        3,
        "{done}"
    );
    assert_eq!(research(&mut wire, "backups at night").await.len(), 1);
    for secret in ["hunter2", "root"] {
        assert!(research(&mut wire, secret).await.is_empty());
    }
    worker.stop().await;
}

/// On a fresh machine, without a server and without an embedding model.
#[test]
fn man_pages_answer_a_question() {
    let pages = Path::new("/usr/share/man/man8/lsblk.8.gz");
    if !pages.exists() {
        eprintln!("SKIPPED: {} is not there", pages.display());
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("fazai.conf");
    fs::write(
        &config,
        format!(
            "[policy]\naudit_dir = {0}/audit\nfile = {0}/policy.toml\n[memory]\ndir = {0}/memory\n",
            home.path().display()
        ),
    )
    .unwrap();
    let added = stdout(fazai(&[
        "kb",
        "add",
        "--config",
        path(&config),
        "/usr/share/man/man8",
    ]));
    let added: Value = serde_json::from_str(&added).unwrap();
    assert!(added["added"].as_u64().unwrap() > 10, "{added}");
    let question = "how do I list block devices?";
    let found = stdout(fazai(&["research", "--config", path(&config), question]));
    let found: Value = serde_json::from_str(&found).unwrap();
    let first = &found["passages"][0];
    assert!(
        first["source"].as_str().unwrap().contains("lsblk"),
        "{first}"
    );
}
