//! Knowledge that follows what is written elsewhere: directories, journals, source code.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use fazai_tests::served::{Served, fazai, path, wait_for};
use fazai_tests::{TestWorker, Wire, echo, program, stdout};
use serde_json::{Value, json};

async fn worker(home: &Path) -> TestWorker {
    TestWorker::with_settings(echo(), |settings| {
        settings.policy.audit_dir = home.join("audit");
        settings.policy.file = home.join("policy.toml");
        settings.memory.dir = home.join("memory");
    })
    .await
}

/// The next line that says that something was added, or removed; a slow machine may see a change in
/// more than one look.
async fn until(wire: &mut Wire, what: &str) {
    loop {
        let line = wire.next().await.unwrap();
        match line["action"].as_str().unwrap() {
            "ingest" if line["data"][what].as_u64().unwrap() > 0 => return,
            "ingest" | "progress" => {}
            _ => panic!("{line}"),
        }
    }
}

async fn sources(wire: &mut Wire, query: &str) -> Vec<String> {
    let call = json!({ "action": "research", "action_id": "r", "input": query });
    let done = wire.call(&call.to_string()).await;
    let passages = done["data"]["passages"].as_array().unwrap().iter();
    let name = |passage: &Value| {
        let source = passage["source"].as_str().unwrap();
        source.rsplit('/').next().unwrap().to_owned()
    };
    passages.map(name).collect()
}

#[tokio::test]
async fn a_directory_is_followed_until_it_is_cancelled() {
    let home = tempfile::tempdir().unwrap();
    let docs = home.path().join("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(
        docs.join("mail.md"),
        "# Mail\n\nPostfix relays by relayhost.\n",
    )
    .unwrap();
    let worker = worker(home.path()).await;
    let (mut following, mut asking) = (worker.connect().await, worker.connect().await);
    let watch = json!({
        "action": "kb", "action_id": "w", "input": format!("watch {}", path(&docs)),
        "params": { "tags": ["wiki"] },
    });
    following.send(&watch.to_string()).await;
    until(&mut following, "added").await;

    // An editor writes beside the file, and then over it.
    fs::write(docs.join(".mail.md.swp"), "Postfix").unwrap();
    fs::write(
        docs.join("new"),
        "# Mail\n\nSendmail relays by a smarthost.\n",
    )
    .unwrap();
    fs::rename(docs.join("new"), docs.join("mail.md")).unwrap();
    until(&mut following, "removed").await;
    assert_eq!(sources(&mut asking, "smarthost").await, ["mail.md"]);
    assert!(sources(&mut asking, "relayhost").await.is_empty());

    fs::remove_file(docs.join("mail.md")).unwrap();
    until(&mut following, "removed").await;
    assert!(sources(&mut asking, "smarthost").await.is_empty());

    let cancel = json!({ "action": "cancel", "action_id": "c", "input": "w" });
    asking.call(&cancel.to_string()).await;
    let done = following.done("w").await;
    assert!(done["error"].is_null(), "{done}");
    assert!(done["data"]["added"].as_u64().unwrap() >= 2, "{done}");
    worker.stop().await;
}

#[tokio::test]
async fn what_can_not_be_followed_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(home.path()).await;
    let mut wire = worker.connect().await;
    let file = home.path().join("file.txt");
    fs::write(&file, "text").unwrap();
    for wrong in ["docs", "/nowhere/at/all", path(&file)] {
        let watch = json!({ "action": "kb", "action_id": "w", "input": format!("watch {wrong}") });
        let refused = wire.call(&watch.to_string()).await;
        assert_eq!(refused["error"]["code"], "invalid_params", "{refused}");
    }
    // One user has at most half of the places.
    let docs = home.path().join("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("a.txt"), "text").unwrap();
    let mut following = Vec::new();
    let watch =
        json!({ "action": "kb", "action_id": "w", "input": format!("watch {}", path(&docs)) });
    for number in 0..9 {
        let mut wire = worker.connect().await;
        wire.send(&watch.to_string()).await;
        if number == 8 {
            let refused = wire.done("w").await;
            assert_eq!(refused["error"]["code"], "overloaded", "{refused}");
            break;
        }
        // What was found in the beginning is told in any case.
        until(&mut wire, "files").await;
        following.push(wire);
    }
    drop(following);
    worker.stop().await;
}

/// The command follows, and Ctrl-C ends it.
#[test]
fn the_command_follows_until_it_is_interrupted() {
    let home = tempfile::tempdir().unwrap();
    let docs = home.path().join("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("one.txt"), "fact one").unwrap();
    let settings = format!("[memory]\ndir = {}\n", home.path().join("memory").display());
    let served = Served::with_settings(&settings);
    let out = home.path().join("out");
    let mut following = Command::new(program())
        .args([
            "kb",
            "add",
            "--watch",
            path(&docs),
            "--socket",
            path(&served.socket),
        ])
        .stdout(fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    let added = || {
        let told = fs::read_to_string(&out).unwrap();
        let lines = told
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .map(|line| line["added"].as_u64().unwrap())
            .sum::<u64>()
    };
    wait_for(|| added() == 1);
    fs::write(docs.join("two.txt"), "fact two").unwrap();
    wait_for(|| added() == 2);
    let id = following.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status();
    assert!(sent.unwrap().success());
    assert_eq!(following.wait().unwrap().code(), Some(130));
    // The worker lives on, and its place is free again.
    assert!(served.ask_status().is_some());
}

/// A worker that finds this `journalctl` first, or none at all.
fn with_journalctl(home: &Path, script: Option<&str>) -> Served {
    let bin = home.join("bin");
    fs::create_dir_all(&bin).unwrap();
    if let Some(script) = script {
        let program = bin.join("journalctl");
        fs::write(&program, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let settings = format!(
        "[memory]\ndir = {0}/memory\n[policy]\naudit_dir = {0}/audit\n",
        home.display()
    );
    let path = match script {
        Some(_) => format!("{}:/usr/bin:/bin", bin.display()),
        None => bin.display().to_string(),
    };
    Served::with_environment(&settings, &[("PATH", path.as_str())])
}

const SCRIPT: &str = r#"
now=$(date +%s)
for argument; do case $argument in --unit=empty.service) exit 0;; --unit=*) unit=${argument#--unit=};; esac; done
for port in 1 22 333; do
  printf '{"__REALTIME_TIMESTAMP":"%s000000","MESSAGE":"Failed password for root port %s","_SYSTEMD_UNIT":"%s","SYSLOG_IDENTIFIER":"sshd"}\n' "$now" "$port" "${unit:-ssh.service}"
done
printf '{"__REALTIME_TIMESTAMP":"%s000000","MESSAGE":[111,111,109,255],"_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"kernel"}\n' "$now"
"#;

#[test]
fn a_journal_becomes_knowledge_of_its_reader_alone() {
    let home = tempfile::tempdir().unwrap();
    let served = with_journalctl(home.path(), Some(SCRIPT));
    let at = ["--json", "--socket", path(&served.socket)];
    let kb = |arguments: &[&str]| {
        let output = fazai(&[arguments, &at].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let first = kb(&[
        "kb",
        "add",
        "--journal",
        "ssh.service",
        "--days",
        "1",
        "--tag",
        "night",
    ]);
    assert_eq!(
        (&first["messages"], &first["added"]),
        (&json!(4), &json!(2)),
        "{first}"
    );
    let found = kb(&[
        "research",
        "failed password",
        "--tag",
        "journal",
        "--tag",
        "night",
    ]);
    let passage = &found["passages"][0];
    assert!(
        passage["text"]
            .as_str()
            .unwrap()
            .contains("(2 more like it until"),
        "{found}"
    );
    assert!(
        passage["source"]
            .as_str()
            .unwrap()
            .starts_with("journal:ssh.service/"),
        "{found}"
    );
    let kernel = kb(&["research", "oom"]);
    assert!(
        kernel["passages"][0]["title"]
            .as_str()
            .unwrap()
            .starts_with("journal of kernel"),
        "{kernel}"
    );
    let refused = |arguments: &[&str], part: &str| {
        let output = fazai(&[arguments, &at].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(part), "{said}");
    };
    refused(
        &["kb", "add", "--journal", "empty.service"],
        "no messages of empty.service",
    );
    refused(&["kb", "add", "--journal", "a;b"], "no name of a unit");
    refused(&["kb", "add", "--journal", "--days", "900"], "1 to 31");
}

#[test]
fn without_journalctl_that_is_said() {
    let home = tempfile::tempdir().unwrap();
    let served = with_journalctl(home.path(), None);
    let output = fazai(&["kb", "add", "--journal", "--socket", path(&served.socket)]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("no journalctl") && said.contains("tool_unavailable"),
        "{said}"
    );
}

#[tokio::test]
async fn a_program_is_found_by_its_functions() {
    let home = tempfile::tempdir().unwrap();
    let docs = home.path().join("docs");
    fs::create_dir(&docs).unwrap();
    let function = |name: &str, word: &str| {
        let body: String = (0..30)
            .map(|n| format!("    {word}_{n} = compute({n})\n"))
            .collect();
        format!("def {name}(items):\n    \"\"\"Does {word}.\"\"\"\n{body}\n")
    };
    let text = format!(
        "import os\n\n{}{}",
        function("rotate_logs", "rotation"),
        function("send_mail", "postage")
    );
    fs::write(docs.join("tools.py"), text).unwrap();
    let worker = worker(home.path()).await;
    let mut wire = worker.connect().await;
    let add = json!({ "action": "kb", "action_id": "a", "input": format!("add {}", path(&docs)) });
    wire.call(&add.to_string()).await;
    let call =
        json!({ "action": "research", "action_id": "r", "input": "postage", "params": { "k": 1 } });
    let done = wire.call(&call.to_string()).await;
    let passage = &done["data"]["passages"][0];
    assert_eq!(passage["title"], "tools.py: def send_mail(items)", "{done}");
    assert!(
        !passage["text"].as_str().unwrap().contains("rotation"),
        "{done}"
    );
    worker.stop().await;
}

/// A PDF of these objects.
fn pdf(objects: &[&str]) -> String {
    let mut text = "%PDF-1.4\n".to_owned();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (number, object) in objects.iter().enumerate() {
        table += &format!("{:010} 00000 n \n", text.len());
        text += &format!("{} 0 obj\n{object}\nendobj\n", number + 1);
    }
    let at = text.len();
    let size = objects.len() + 1;
    text + &table + &format!("trailer<</Size {size}/Root 1 0 R>>\nstartxref\n{at}\n%%EOF\n")
}

/// One that draws itself for ever takes all stack there is, and that ends a process.
#[test]
fn a_hostile_pdf_ends_only_who_reads_it() {
    let home = tempfile::tempdir().unwrap();
    let docs = home.path().join("docs");
    fs::create_dir(&docs).unwrap();
    let stream = |rest: &str, text: &str| {
        let length = text.len();
        format!("<<{rest}/Length {length}>>stream\n{text}\nendstream")
    };
    let form = "/Type/XObject/Subtype/Form/BBox[0 0 1 1]/Resources<</XObject<</X 5 0 R>>>>";
    let page = |resources: &str| {
        format!(
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<<{resources}>>/Contents 4 0 R>>"
        )
    };
    let (catalog, pages) = (
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
    );
    let hostile = pdf(&[
        catalog,
        pages,
        &page("/XObject<</X 5 0 R>>"),
        &stream("", "/X Do"),
        &stream(form, "/X Do"),
    ]);
    let good = pdf(&[
        catalog,
        pages,
        &page("/Font<</F 5 0 R>>"),
        &stream(
            "",
            "BT /F 12 Tf 72 700 Td (the needle is in this page) Tj ET",
        ),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]);
    fs::write(docs.join("hostile.pdf"), hostile).unwrap();
    fs::write(docs.join("good.pdf"), good).unwrap();
    let settings = format!("[memory]\ndir = {}\n", home.path().join("memory").display());
    let served = Served::with_settings(&settings);
    let add = ["kb", "add", path(&docs), "--socket", path(&served.socket)];
    let added: Value = serde_json::from_str(&stdout(fazai(&add))).unwrap();
    assert_eq!((&added["files"], &added["added"]), (&json!(1), &json!(1)));
    let why = added["skipped"][0]["why"].to_string() + &added["skipped"][0].to_string();
    assert!(
        why.contains("hostile.pdf") && why.contains("PDF"),
        "{added}"
    );
    let search = ["kb", "search", "needle", "--socket", path(&served.socket)];
    assert!(stdout(fazai(&search)).contains("the needle is in this page"));
}
