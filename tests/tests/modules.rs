//! Native modules through the whole program: old ones, hostile ones, refused ones, signed ones.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fazai_module_examples::built;
use fazai_tests::served::{Served, fazai, path, wait_for};
use fazai_tests::{Wire, stdout};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A directory for modules, and settings that name it.
struct Mods {
    home: TempDir,
}

impl Mods {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("mods")).unwrap();
        fs::set_permissions(home.path().join("mods"), fs::Permissions::from_mode(0o755)).unwrap();
        Self { home }
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("mods")
    }

    fn settings(&self, more: &str) -> String {
        format!("[modules]\ndir = {}\n{more}\n", self.dir().display())
    }

    /// `fazai modules ...` without a worker, with these further settings.
    fn run(&self, more: &str, arguments: &[&str]) -> Output {
        let config = self.home.path().join("fazai.conf");
        fs::write(&config, self.settings(more)).unwrap();
        let mut command = Command::new(fazai_tests::program());
        command.args(["modules", arguments[0]]);
        if !matches!(arguments[0], "keygen" | "sign") {
            command.args(["--config", path(&config)]);
        }
        command.args(&arguments[1..]);
        // No worker of this machine's user is to answer.
        command.env("XDG_RUNTIME_DIR", self.home.path());
        command.env("FAZAI_GEMMA_SOCKET", self.home.path().join("none.sock"));
        command.output().unwrap()
    }

    fn add(&self, file: &Path, rights: &[&str]) {
        let added = self.run("", &[&["add", path(file)], rights].concat());
        assert!(added.status.success(), "{}", complaint(&added));
    }

    fn example(&self, name: &str) {
        self.add(&built().join(format!("{name}.so")), &[]);
    }

    fn serve(&self, more: &str) -> Served {
        Served::with_settings(&self.settings(more))
    }
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn compile(dir: &Path, name: &str, code: &str) -> PathBuf {
    let source = dir.join(format!("{name}.c"));
    fs::write(&source, code).unwrap();
    let object = dir.join(format!("{name}.so"));
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o", path(&object), path(&source)])
        .status();
    assert!(compiled.unwrap().success());
    object
}

/// A module that was written against the three functions, long before this worker.
const OLD: &str = r#"
#include <stdio.h>
#include <string.h>
int fazai_mod_init(void);
int fazai_mod_exec(const char *cmd, char *result, int result_len);
void fazai_mod_cleanup(void);
int fazai_mod_init(void) { return 0; }
int fazai_mod_exec(const char *cmd, char *result, int result_len) {
    if (strncmp(cmd, "echo ", 5) == 0) { snprintf(result, result_len, "%s", cmd + 5); return 0; }
    snprintf(result, result_len, "unknown: %s", cmd);
    return 3;
}
void fazai_mod_cleanup(void) {}
"#;

#[tokio::test]
async fn an_old_module_loads_and_answers() {
    let mods = Mods::new();
    mods.add(&compile(mods.home.path(), "system_mod", OLD), &[]);
    let served = mods.serve("");
    let mut wire = Wire::connect(&served.socket).await;
    wire.send(
        r#"{"action":"module","action_id":"m1","input":"system_mod echo hi  there","result":null}"#,
    )
    .await;
    let piece = wire.next().await.unwrap();
    assert_eq!(piece["action"], "module");
    assert_eq!(piece["result"], "hi  there");
    let done = wire.done("m1").await;
    assert_eq!(done["result"], "hi  there");
    assert_eq!(done["source"], "module");
    assert_eq!(done["metadata"]["status"], "done");
    assert_eq!(done["data"]["code"], 0);

    let done = wire
        .call(r#"{"action":"module","action_id":"m2","params":{"module":"system_mod","command":"dance"}}"#)
        .await;
    assert_eq!(done["error"]["code"], "module_error");
    assert_eq!(done["result"], "unknown: dance");
    assert_eq!(done["data"]["code"], 3);

    let list = wire.call(r#"{"action":"modules","action_id":"m3"}"#).await;
    assert_eq!(list["data"]["modules"][0]["name"], "system_mod");
    assert_eq!(list["data"]["modules"][0]["state"], "ready");
    assert_eq!(list["data"]["modules"][0]["abi"], 0);
}

#[test]
fn the_command_line_needs_no_worker() {
    let mods = Mods::new();
    mods.example("echo");
    let called = stdout(mods.run("", &["call", "echo", "echo", "hello", "there"]));
    assert_eq!(called, "hello there\n");
    let bad = mods.run("", &["call", "echo", "dance"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(complaint(&bad).contains("module_error"));
    let list: Value = serde_json::from_str(&stdout(mods.run("", &["list"]))).unwrap();
    assert_eq!(list[0]["name"], "echo");
    let none = mods.run("", &["call", "nobody", "help"]);
    assert!(complaint(&none).contains("module_not_found"));
    // Replaced by another file of the same name, and added again.
    mods.add(&compile(mods.home.path(), "echo", OLD), &[]);
    assert_eq!(
        stdout(mods.run("", &["call", "echo", "echo", "new"])),
        "new\n"
    );
}

/// What every hostile command must end with.
const HOSTILE: &[(&str, &str)] = &[
    ("segv", "module_failed"),
    ("loop", "module_failed"),
    ("fork", ""),
    ("alloc 4096", ""),
    ("exit", "module_failed"),
    ("abort", "module_failed"),
    ("overflow", "module_failed"),
    ("closefds", "module_failed"),
    ("shadow", "module_error"),
    ("connect", "module_error"),
    ("no_nul", ""),
    ("negative", "module_error"),
    ("not_utf8", ""),
    ("stack", "module_failed"),
    ("throw", "module_failed"),
];

/// Each hostile command runs while answers are streamed and another module is called; neither
/// notices.
#[test]
fn hostile_commands_leave_all_else_untouched() {
    let mods = Mods::new();
    mods.example("hostile");
    mods.example("echo");
    let served = mods.serve("call_timeout_ms = 1000");
    let pid = served.process.id();
    let expected = answer(&served.socket);
    assert!(expected.len() > 100, "{expected}");

    let over = AtomicBool::new(false);
    let (asked, called) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut asked = 0;
            while !over.load(Ordering::Relaxed) {
                assert_eq!(answer(&served.socket), expected);
                asked += 1;
            }
            asked
        });
        let calling = scope.spawn(|| {
            let mut called = 0;
            while !over.load(Ordering::Relaxed) {
                let done = call(&served.socket, "echo echo hi");
                assert_eq!(done["result"], "hi", "{done}");
                called += 1;
            }
            called
        });
        let attack = scope.spawn(|| {
            for (command, code) in HOSTILE {
                let done = call(&served.socket, &format!("hostile {command}"));
                let found = done["error"]["code"].as_str().unwrap_or_default();
                assert!(
                    found == *code || code.is_empty() && found != "internal",
                    "{command}: {done}"
                );
                // A quarantine is not what is tested here.
                let load = r#"{"action":"modules","action_id":"q","input":"load hostile"}"#;
                request(&served.socket, load);
                wait_for(|| call(&served.socket, "hostile ok")["result"] == "ok");
            }
        });
        let attacked = attack.join();
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = attacked {
            std::panic::resume_unwind(panic);
        }
        (asking.join().unwrap(), calling.join().unwrap())
    });
    assert!(asked > 2 && called > 2, "{asked} answers, {called} calls");
    assert_eq!(served.process.id(), pid);
    let status = served.ask_status().expect("it is there");
    assert_eq!(status["draining"], false);
}

/// One request on a connection of its own; its last line.
fn request(socket: &Path, line: &str) -> Value {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { Wire::connect(socket).await.call(line).await })
}

fn call(socket: &Path, input: &str) -> Value {
    let line = json!({ "action": "module", "action_id": "c", "input": input });
    request(socket, &line.to_string())
}

/// The streamed text of an answer that is always the same.
fn answer(socket: &Path) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut wire = Wire::connect(socket).await;
        let ask = json!({
            "action": "ask", "action_id": "a", "input": "What does exit code 137 mean?",
            "params": { "temperature": 0, "ignore_eos": true, "max_tokens": 200 },
        });
        wire.send(&ask.to_string()).await;
        let mut text = String::new();
        loop {
            let line = wire.next().await.expect("the answer before the end");
            match line["action"].as_str() {
                Some("token") => text.push_str(line["result"].as_str().unwrap()),
                Some("done") => {
                    assert_eq!(line["result"].as_str(), Some(text.as_str()), "{line}");
                    return text;
                }
                _ => {}
            }
        }
    })
}

#[tokio::test]
async fn a_call_that_hangs_can_be_cancelled_and_ends_with_its_client() {
    let mods = Mods::new();
    mods.example("hostile");
    let served = mods.serve("call_timeout_ms = 600000");
    let mut wire = Wire::connect(&served.socket).await;
    let mut other = Wire::connect(&served.socket).await;
    wire.send(r#"{"action":"module","action_id":"h","input":"hostile loop"}"#)
        .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let cancelled = other
        .call(r#"{"action":"cancel","action_id":"c","input":"h"}"#)
        .await;
    assert_eq!(cancelled["metadata"]["status"], "done");
    assert_eq!(wire.done("h").await["metadata"]["status"], "stopped");

    wire.send(r#"{"action":"module","action_id":"l","input":"hostile loop"}"#)
        .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(wire);
    // The module has one turn at a time: this one waits until the other call was ended.
    let done = other
        .call(r#"{"action":"module","action_id":"o","input":"hostile ok"}"#)
        .await;
    assert_eq!(done["result"], "ok", "{done}");

    let late = r#"{"action":"module","action_id":"d","input":"hostile loop","params":{"deadline_ms":300}}"#;
    let began = Instant::now();
    assert_eq!(other.call(late).await["error"]["code"], "deadline_exceeded");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_module_that_crashes_often_is_quarantined_until_it_is_loaded() {
    let mods = Mods::new();
    mods.example("hostile");
    let served = mods.serve("");
    let mut seen = Vec::new();
    wait_for(|| {
        let done = call(&served.socket, "hostile abort");
        let message = done["error"]["message"].as_str().unwrap().to_owned();
        let quarantined = message.contains("quarantine");
        seen.push(message);
        quarantined
    });
    assert!(seen.len() >= 5, "{seen:?}");
    let modules = [
        "modules",
        "list",
        "--json",
        "--socket",
        path(&served.socket),
    ];
    let list: Value = serde_json::from_str(&stdout(fazai(&modules))).unwrap();
    assert_eq!(list[0]["state"], "quarantined");
    let doctor = fazai(&["doctor", "--json", "--socket", path(&served.socket)]);
    assert_eq!(doctor.status.code(), Some(1));
    let _ = stdout(fazai(&[
        "modules",
        "load",
        "hostile",
        "--socket",
        path(&served.socket),
    ]));
    wait_for(|| call(&served.socket, "hostile ok")["result"] == "ok");
}

/// Breaks a rule in each way; what is said names the rule.
#[test]
fn every_refused_load_names_its_rule() {
    let refused = |more: &str, said: &str, harm: &dyn Fn(&Path)| {
        let mods = Mods::new();
        mods.example("echo");
        harm(&mods.dir());
        for verb in [&["verify", "echo"][..], &["call", "echo", "help"]] {
            let output = mods.run(more, verb);
            assert_eq!(output.status.code(), Some(1), "{said}");
            let complaint = complaint(&output);
            assert!(complaint.contains("module_refused"), "{complaint}");
            assert!(complaint.contains(said), "{said}: {complaint}");
        }
    };
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    refused("", "is not the file that modules.toml lists", &|dir| {
        fs::copy(built().join("hostile.so"), dir.join("echo.so")).unwrap();
    });
    refused("", "no sha256 in modules.toml", &|dir| {
        fs::write(dir.join("modules.toml"), "").unwrap();
    });
    refused("", "can be written by others", &|dir| {
        chmod(&dir.join("echo.so"), 0o666);
    });
    refused("", "can be written by others", &|dir| chmod(dir, 0o777));
    refused("", "can be written by others", &|dir| {
        chmod(&dir.join("modules.toml"), 0o666);
    });
    refused("", "outside of the module directory", &|dir| {
        let elsewhere = dir.parent().unwrap().join("echo.so");
        fs::rename(dir.join("echo.so"), &elsewhere).unwrap();
        symlink(elsewhere, dir.join("echo.so")).unwrap();
    });
    refused("", "netwrok", &|dir| {
        fs::write(
            dir.join("modules.toml"),
            "[[module]]\nname = 'echo'\nnetwrok = true\n",
        )
        .unwrap();
    });
    refused("trust = signature", "trusted_keys", &|_| {});

    // Nothing has to vouch for this one; it is no library.
    let mods = Mods::new();
    fs::write(mods.dir().join("echo.so"), b"\x7fELF and no more").unwrap();
    let called = mods.run("trust = any", &["call", "echo", "help"]);
    let complaint = complaint(&called);
    assert!(complaint.contains("module_refused"), "{complaint}");
    assert!(complaint.contains("can't be loaded"), "{complaint}");
}

#[test]
fn signed_modules_load_and_others_do_not() {
    let mods = Mods::new();
    let trust = "trust = signature";
    fs::copy(built().join("echo.so"), mods.dir().join("echo.so")).unwrap();
    let key = mods.home.path().join("vendor");
    let _ = stdout(mods.run("", &["keygen", "--no-password", path(&key)]));
    let secret = fs::metadata(key.with_extension("key")).unwrap();
    assert_eq!(secret.permissions().mode() & 0o777, 0o600);
    let again = mods.run("", &["keygen", "--no-password", path(&key)]);
    assert!(
        complaint(&again).contains("is there already"),
        "{}",
        complaint(&again)
    );

    fs::copy(key.with_extension("pub"), mods.dir().join("trusted_keys")).unwrap();
    let unsigned = mods.run(trust, &["verify", "echo"]);
    assert!(
        complaint(&unsigned).contains("there is no signature"),
        "{}",
        complaint(&unsigned)
    );

    let secret = key.with_extension("key");
    let file = mods.dir().join("echo.so");
    let _ = stdout(mods.run("", &["sign", "--key", path(&secret), path(&file)]));
    let verified: Value =
        serde_json::from_str(&stdout(mods.run(trust, &["verify", "echo"]))).unwrap();
    assert_eq!(verified["signed"], true);
    assert_eq!(
        stdout(mods.run(trust, &["call", "echo", "echo", "hi"])),
        "hi\n"
    );

    // In the worker's own process, if the manifest trusts it as well.
    fs::write(
        mods.dir().join("modules.toml"),
        "[[module]]\nname = 'echo'\ntrusted = true\n",
    )
    .unwrap();
    let inside = format!("{trust}\nisolation = inproc");
    assert_eq!(
        stdout(mods.run(&inside, &["call", "echo", "echo", "hi"])),
        "hi\n"
    );
    let served = mods.serve(&inside);
    let _ = call(&served.socket, "echo echo hi");
    let show = [
        "modules",
        "show",
        "echo",
        "--json",
        "--socket",
        path(&served.socket),
    ];
    let shown: Value = serde_json::from_str(&stdout(fazai(&show))).unwrap();
    assert_eq!(shown["pid"], Value::Null, "{shown}");

    fs::copy(built().join("hostile.so"), &file).unwrap();
    let changed = mods.run(trust, &["verify", "echo"]);
    assert!(
        complaint(&changed).contains("was not made of this file"),
        "{}",
        complaint(&changed)
    );
}

#[tokio::test]
async fn who_may_call_is_in_the_manifest() {
    let mods = Mods::new();
    mods.example("echo");
    let list = mods.dir().join("modules.toml");
    let entry = fs::read_to_string(&list).unwrap();
    fs::write(&list, format!("{entry}users = [4000000001]\n")).unwrap();
    let served = mods.serve("");
    let mut wire = Wire::connect(&served.socket).await;
    let done = wire
        .call(r#"{"action":"module","action_id":"u","input":"echo help"}"#)
        .await;
    assert_eq!(done["error"]["code"], "forbidden");
    // What a manifest says holds from the next reload on.
    fs::write(&list, entry).unwrap();
    let done = wire
        .call(r#"{"action":"modules","action_id":"r","input":"reload echo"}"#)
        .await;
    assert_eq!(done["error"], Value::Null);
    let done = wire
        .call(r#"{"action":"module","action_id":"v","input":"echo echo hi"}"#)
        .await;
    assert_eq!(done["result"], "hi");
}

#[tokio::test]
async fn arguments_are_checked_before_the_module_sees_them() {
    let commands = r#"
#include <stdio.h>
#include <string.h>
#include "fazai_mod.h"
const struct fazai_mod_descriptor fazai_mod_descriptor = {
    .magic = FAZAI_MOD_MAGIC, .abi = FAZAI_MOD_ABI, .struct_size = sizeof(struct fazai_mod_descriptor),
    .name = "adds", .version = "1", .description = "Adds.",
    .commands = "[{\"name\": \"add\", \"args\": {\"type\": \"object\", \"required\": [\"n\"], \"properties\": {\"n\": {\"type\": \"integer\"}}}}]",
};
int fazai_mod_init(void) { return 0; }
int fazai_mod_exec(const char *cmd, char *result, int result_len) { snprintf(result, result_len, "%s", cmd); return 0; }
void fazai_mod_cleanup(void) {}
"#;
    let mods = Mods::new();
    let header = fazai_tests::root().join("native-mods/include/fazai_mod.h");
    fs::copy(header, mods.home.path().join("fazai_mod.h")).unwrap();
    mods.add(&compile(mods.home.path(), "adds", commands), &[]);
    let served = mods.serve("");
    let mut wire = Wire::connect(&served.socket).await;
    for (id, params, code) in [
        ("a", json!({ "args": { "n": 1 } }), Value::Null),
        (
            "b",
            json!({ "args": { "n": "x" } }),
            json!("invalid_params"),
        ),
        ("c", json!({ "args": [] }), json!("invalid_params")),
        ("d", json!({}), json!("invalid_params")),
        ("e", json!({ "arg": 1 }), json!("invalid_params")),
    ] {
        let mut request = json!({ "action": "module", "action_id": id, "params": params });
        request["params"]["module"] = json!("adds");
        request["params"]["command"] = json!("add");
        let done = wire.call(&request.to_string()).await;
        assert_eq!(done["error"]["code"], code, "{done}");
    }
    let done = wire
        .call(r#"{"action":"module","action_id":"f","input":"adds add {\"n\": 2}"}"#)
        .await;
    assert_eq!(done["result"], "add {\"n\":2}");
    let long = json!({ "action": "module", "action_id": "g", "input": "adds x\u{0}y" });
    assert_eq!(
        wire.call(&long.to_string()).await["error"]["code"],
        "invalid_request"
    );
    for (id, input) in [
        ("h", ""),
        ("i", "adds"),
        ("j", "no/such help"),
        ("k", "../adds help"),
    ] {
        let request = json!({ "action": "module", "action_id": id, "input": input });
        let done = wire.call(&request.to_string()).await;
        let code = done["error"]["code"].as_str().unwrap();
        assert!(
            matches!(code, "invalid_request" | "module_not_found"),
            "{done}"
        );
    }
    for (id, input) in [
        ("l", "dance"),
        ("m", "load"),
        ("n", "load a b"),
        ("o", "unload nobody"),
    ] {
        let request = json!({ "action": "modules", "action_id": id, "input": input });
        assert_ne!(
            wire.call(&request.to_string()).await["error"],
            Value::Null,
            "{input}"
        );
    }
}

/// Versions are swapped under calls, and none of these is dropped.
#[test]
fn a_reload_drops_no_call() {
    let mods = Mods::new();
    let version = |answer: &str| {
        let code = OLD.replace("unknown: %s", answer);
        mods.add(&compile(mods.home.path(), "version", &code), &[]);
    };
    version("first");
    let served = mods.serve("");
    assert_eq!(call(&served.socket, "version which")["result"], "first");
    let over = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let mut seen = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let done = call(&served.socket, "version which");
                seen.push(done["result"].as_str().unwrap_or_default().to_owned());
            }
            seen
        });
        for round in 0..5 {
            version(if round % 2 == 0 { "second" } else { "first" });
            let reload = [
                "modules",
                "reload",
                "version",
                "--socket",
                path(&served.socket),
            ];
            let reloaded = fazai(&reload);
            assert!(reloaded.status.success(), "{}", complaint(&reloaded));
        }
        let last = call(&served.socket, "version which");
        over.store(true, Ordering::Relaxed);
        assert_eq!(last["result"], "second");
        calling.join().unwrap()
    });
    assert!(
        seen.iter().all(|text| text == "first" || text == "second"),
        "{seen:?}"
    );
    let _ = stdout(fazai(&[
        "modules",
        "unload",
        "version",
        "--socket",
        path(&served.socket),
    ]));
    assert_eq!(
        call(&served.socket, "version which")["error"]["code"],
        "module_unavailable"
    );
}

/// From every state a module can be in, a reload ends with the file that is there.
#[tokio::test]
async fn a_reload_works_from_every_state() {
    let mods = Mods::new();
    mods.example("echo");
    let served = mods.serve("");
    let mut wire = Wire::connect(&served.socket).await;
    let mut modules = async |id: &str, input: &str| {
        let line = json!({ "action": "modules", "action_id": id, "input": input });
        wire.call(&line.to_string()).await
    };
    for (id, before) in [("a", "show echo"), ("b", "unload echo"), ("c", "load echo")] {
        let _ = modules(id, before).await;
        let done = modules("r", "reload echo").await;
        assert_eq!(done["error"], Value::Null, "{before}: {done}");
    }
    let late = mods.dir().join("late.so");
    fs::copy(built().join("echo.so"), &late).unwrap();
    for id in ["d", "e"] {
        let done = modules(id, "reload late").await;
        assert_eq!(done["error"]["code"], "module_refused", "{done}");
    }
    mods.add(&late, &[]);
    assert_eq!(modules("f", "reload late").await["error"], Value::Null);
}

/// Only a module's own faults count against it.
#[tokio::test]
async fn nobody_can_quarantine_a_module_with_deadlines() {
    let mods = Mods::new();
    mods.example("hostile");
    let served = mods.serve("");
    let mut wire = Wire::connect(&served.socket).await;
    for id in 0..7 {
        let line = json!({
            "action": "module", "action_id": id.to_string(), "input": "hostile loop",
            "params": { "deadline_ms": if id < 4 { 0 } else { 100 } },
        });
        let done = wire.call(&line.to_string()).await;
        assert_eq!(done["error"]["code"], "deadline_exceeded", "{done}");
    }
    let done = wire
        .call(r#"{"action":"module","action_id":"o","input":"hostile ok"}"#)
        .await;
    assert_eq!(done["result"], "ok", "{done}");
}

/// A new version that can't be used leaves the old one whole.
#[test]
fn a_reload_that_fails_changes_nothing() {
    let mods = Mods::new();
    mods.add(
        &compile(
            mods.home.path(),
            "version",
            &OLD.replace("unknown: %s", "first"),
        ),
        &[],
    );
    let served = mods.serve("");
    assert_eq!(call(&served.socket, "version which")["result"], "first");
    let bad = OLD.replace("unknown: %s", "second")
        + r#"
#include "fazai_mod.h"
const struct fazai_mod_descriptor fazai_mod_descriptor = {
    .magic = FAZAI_MOD_MAGIC, .abi = FAZAI_MOD_ABI, .struct_size = sizeof(struct fazai_mod_descriptor),
    .name = "version", .version = "2", .description = "Bad.",
    .commands = "[{\"name\": \"which\", \"args\": {\"type\": \"nonsense\"}}]",
};"#;
    let header = fazai_tests::root().join("native-mods/include/fazai_mod.h");
    fs::copy(header, mods.home.path().join("fazai_mod.h")).unwrap();
    mods.add(&compile(mods.home.path(), "version", &bad), &[]);
    let reloaded = fazai(&[
        "modules",
        "reload",
        "version",
        "--socket",
        path(&served.socket),
    ]);
    assert!(
        complaint(&reloaded).contains("schema"),
        "{}",
        complaint(&reloaded)
    );
    assert_eq!(call(&served.socket, "version which")["result"], "first");
}

/// Whoever adds modules at the same time loses none.
#[test]
fn modules_that_are_added_together_are_all_listed() {
    let mods = Mods::new();
    let echo = built().join("echo.so");
    std::thread::scope(|scope| {
        for number in 0..12 {
            let (mods, echo) = (&mods, &echo);
            scope.spawn(move || {
                let config = mods.home.path().join(format!("{number}.conf"));
                fs::write(&config, mods.settings("")).unwrap();
                let name = format!("m{number}");
                let added = fazai(&[
                    "modules",
                    "add",
                    path(echo),
                    "--name",
                    &name,
                    "--config",
                    path(&config),
                ]);
                assert!(added.status.success(), "{}", complaint(&added));
            });
        }
    });
    let list: Value = serde_json::from_str(&stdout(mods.run("", &["list"]))).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 12, "{list}");
}

/// A client that reads nothing keeps neither the module nor other clients.
#[tokio::test]
async fn a_slow_reader_keeps_nobody_waiting() {
    let mods = Mods::new();
    mods.example("echo");
    let served = mods.serve("");
    let mut slow = Wire::connect(&served.socket).await;
    let text = "x".repeat(8000);
    for id in 0..60 {
        let request = json!({ "action": "module", "action_id": id.to_string(), "input": format!("echo echo {text}") });
        slow.send(&request.to_string()).await;
    }
    let mut quick = Wire::connect(&served.socket).await;
    for id in 0..20 {
        let request =
            json!({ "action": "module", "action_id": id.to_string(), "input": "echo echo hi" });
        let done = quick.call(&request.to_string()).await;
        assert!(
            done["result"] == "hi" || done["error"]["retryable"] == true,
            "{done}"
        );
    }
}

#[test]
fn doctor_looks_at_everything() {
    let mods = Mods::new();
    mods.example("echo");
    let served = mods.serve("");
    let output = fazai(&["doctor", "--json", "--socket", path(&served.socket)]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let about = |what: &str| {
        let rows = found.as_array().unwrap().iter();
        rows.filter(|row| row["what"] == what).count()
    };
    for what in [
        "settings",
        "memory",
        "models",
        "worker",
        "sandbox seccomp",
        "module echo",
    ] {
        assert_eq!(about(what), 1, "{what}: {found}");
    }
}
