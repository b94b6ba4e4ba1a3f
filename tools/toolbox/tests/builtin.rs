//! The built-in tools on this machine, past a real gate.
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

mod builtins;
mod host;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;

use fazai_toolbox::{Settings, ToolError};
use fazai_tools::Action;
use serde_json::{Value, json};

use self::builtins::Place;
use self::host::ASKS;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn every_tool_has_a_name_a_schema_and_takes_no_unknown_field() {
    let place = Place::new(ASKS);
    let tools = place.toolbox().list(&place.host);
    assert_eq!(tools.len(), 15);
    for tool in tools {
        let tool = tool.tool.expect("a good tool");
        let name = &tool.about().name;
        assert_eq!(tool.about().parameters["type"], "object", "{name}");
        assert!(!tool.about().description.is_empty(), "{name}");
        let fault = place.call(name, json!({ "no_such_field": 1 }));
        assert!(
            matches!(fault, Err(ToolError::BadParams(_))),
            "{name}: {fault:?}"
        );
    }
    assert!(
        place
            .entries()
            .iter()
            .all(|entry| entry["event"] != "decided")
    );
    assert!(
        place
            .done("ports_monitor", json!({}))
            .get("ports")
            .is_some()
    );
}

#[test]
fn a_command_runs_as_it_was_judged() {
    let place = Place::new(ASKS);
    let answer = place.done(
        "shell",
        json!({ "command": "echo a b; exit 3", "cwd": "/tmp" }),
    );
    assert_eq!(
        (&answer["output"], &answer["exit_code"]),
        (&json!("a b\n"), &json!(3))
    );
    assert_eq!(place.said.lock().expect("no panic").concat(), "a b\n");
    assert_eq!(
        place.done("shell", json!({ "command": "pwd", "cwd": "/usr" }))["output"],
        "/usr\n"
    );

    let wanted = place.wants("shell", &json!({ "command": "ls '-l' /" }));
    let [Action::Exec(exec)] = wanted.as_slice() else {
        panic!("{wanted:?}")
    };
    assert_eq!(exec.argv, ["ls", "-l", "/"]);

    let late = place.call("shell", json!({ "command": "sleep 30", "timeout_ms": 100 }));
    assert!(matches!(late, Err(ToolError::TimedOut)), "{late:?}");
    for params in [
        json!({ "command": "ls \0" }),
        json!({ "command": "" }),
        json!({ "command": "ls", "cwd": "tmp" }),
    ] {
        let fault = place.call("shell", params.clone());
        assert!(
            matches!(fault, Err(ToolError::BadParams(_))),
            "{params}: {fault:?}"
        );
    }
    Place::ready("restricted").refused("shell", json!({ "command": "cat /etc/passwd" }));
    Place::ready("standard").refused("shell", json!({ "command": "touch /tmp/x" }));
}

#[test]
fn a_file_is_read_by_lines() {
    let place = Place::new(ASKS);
    let path = place.path("a.txt");
    fs::write(&path, "one\ntwo\nthree").expect("written");
    let all = place.done("read_file", json!({ "path": path }));
    assert_eq!(
        (&all["text"], &all["lines"]),
        (&json!("one\ntwo\nthree"), &json!(3))
    );
    let some = place.done(
        "read_file",
        json!({ "path": path, "from_line": 2, "lines": 1 }),
    );
    assert_eq!(
        (&some["text"], &some["truncated"]),
        (&json!("two\n"), &json!(false))
    );
    assert_eq!(
        place.done("read_file", json!({ "path": path, "from_line": 9 }))["text"],
        ""
    );

    fs::write(&path, vec![0; 1 << 20]).expect("written");
    let cut = place.done("read_file", json!({ "path": path }));
    assert_eq!(cut["truncated"], true);
    assert_eq!(
        cut["text"].as_str().map(|text| text.chars().count()),
        Some(256 << 10)
    );
}

#[test]
fn what_is_no_file_is_not_read() {
    let place = Place::new(ASKS);
    let fifo = place.path("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .expect("mkfifo")
            .success()
    );
    for path in [fifo.as_str(), "/dev/zero", "/dev/tty", "/tmp"] {
        let fault = place.fault("read_file", json!({ "path": path }));
        assert!(fault.contains("not a file"), "{path}: {fault}");
    }
    let fault = place.fault("read_file", json!({ "path": "/no/such/file" }));
    assert!(fault.contains("No such file"), "{fault}");
    for path in ["etc/passwd", "", "~/x"] {
        let fault = place.call("read_file", json!({ "path": path }));
        assert!(
            matches!(fault, Err(ToolError::BadParams(_))),
            "{path}: {fault:?}"
        );
    }
    // The links of /proc lead past paths.
    let fault = place.fault("read_file", json!({ "path": "/proc/self/root/etc/passwd" }));
    assert!(fault.contains("can't be found"), "{fault}");
}

#[test]
fn secrets_are_not_read_by_any_way() {
    let place = Place::ready("standard");
    let link = place.path("link");
    symlink("/etc/shadow", &link).expect("a link");
    let directory = place.path("etc");
    symlink("/etc", &directory).expect("a link");
    for path in [
        "/etc/shadow",
        "/var/../etc/shadow",
        "/etc//./shadow",
        "/etc/shadow/",
        "/proc/self/root/etc/shadow",
        "/proc/self/environ",
        &link,
        &format!("{directory}/shadow"),
        &format!("{directory}/../etc/shadow"),
    ] {
        place.refused("read_file", json!({ "path": path }));
    }
    assert!(place.done("read_file", json!({ "path": "/etc/passwd" }))["text"].is_string());
    // Where a link leads is judged here as well, also if the policy looks at no disk.
    let record = place.entries();
    let read = record.iter().filter(|entry| entry["event"] == "finished");
    assert_eq!(read.count(), 1);
}

#[test]
fn a_link_is_judged_by_where_it_leads_without_the_policy_looking() {
    let policy = "default_profile = \"p\"\n[profiles.p]\nopaque = \"deny\"\notherwise = \"deny\"\n\
        [[profiles.p.rules]]\nname = \"tmp\"\ndecision = \"allow\"\nactions = [\"read_file\", \"write_file\"]\npaths = [\"/tmp/**\"]";
    let place = Place::blind(policy);
    let (link, directory) = (place.path("link"), place.path("etc"));
    symlink("/etc/passwd", &link).expect("a link");
    symlink("/var", &directory).expect("a link");
    for path in [&link, &format!("{directory}/../etc/passwd")] {
        place.refused("read_file", json!({ "path": path }));
    }
    place.refused("list_dir", json!({ "path": directory }));
    place.refused("disk_usage", json!({ "path": directory }));
    place.refused(
        "write_file",
        json!({ "path": format!("{directory}/fazai-x"), "content": "" }),
    );
    assert!(!Path::new("/var/fazai-x").exists());
}

#[test]
fn a_directory_is_listed() {
    let place = Place::new(ASKS);
    fs::write(place.path("b"), "12345").expect("written");
    symlink("b", place.path("c")).expect("a link");
    let listed = place.done("list_dir", json!({ "path": place.path("") }));
    let entries = listed["entries"].as_array().expect("entries");
    let names: Vec<&Value> = entries.iter().map(|entry| &entry["name"]).collect();
    assert_eq!(names, ["audit", "b", "c"]);
    assert_eq!(
        (&entries[0]["kind"], &entries[1]["size_bytes"]),
        (&json!("directory"), &json!(5))
    );
    assert_eq!(
        (&entries[2]["kind"], &entries[2]["target"]),
        (&json!("link"), &json!("b"))
    );
    let some = place.done("list_dir", json!({ "path": place.path(""), "limit": 1 }));
    assert_eq!(
        (&some["truncated"], &some["count"]),
        (&json!(true), &json!(3))
    );
    assert!(
        place
            .fault("list_dir", json!({ "path": place.path("b") }))
            .contains("not a directory")
    );
}

#[test]
fn a_file_is_written_whole_and_what_was_there_is_kept() {
    let place = Place::new(ASKS);
    let path = place.path("a.conf");
    let new = place.done(
        "write_file",
        json!({ "path": path, "content": "one\ntwo\n" }),
    );
    assert_eq!(
        (&new["backup"], &new["changed"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o644);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    if is_root() {
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).expect("an owner");
    }
    let before = fs::metadata(&path).expect("there");
    let changed = place.done("write_file", json!({ "path": path, "content": "one\n2\n" }));
    let diff = changed["diff"].as_str().expect("a difference");
    assert!(diff.contains("\n-two\n+2\n"), "{diff}");
    let backup = changed["backup"].as_str().expect("a copy");
    assert!(
        backup.starts_with(&format!("{path}.fazai-")) && backup.ends_with(".bak"),
        "{backup}"
    );
    assert_eq!(fs::read_to_string(backup).expect("kept"), "one\ntwo\n");
    assert_eq!(fs::read_to_string(&path).expect("there"), "one\n2\n");
    for path in [path.as_str(), backup] {
        let after = fs::metadata(path).expect("there");
        assert_eq!(
            (after.mode(), after.uid(), after.gid()),
            (before.mode(), before.uid(), before.gid())
        );
    }

    let same = place.done("write_file", json!({ "path": path, "content": "one\n2\n" }));
    assert_eq!(
        (&same["changed"], &same["backup"]),
        (&json!(false), &Value::Null)
    );
    place.done(
        "write_file",
        json!({ "path": path, "content": "x", "mode": "0640" }),
    );
    assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o640);
    let fault = place.call(
        "write_file",
        json!({ "path": path, "content": "x", "mode": "4755" }),
    );
    assert!(matches!(fault, Err(ToolError::BadParams(_))), "{fault:?}");

    let left = fs::read_dir(place.directory.path())
        .expect("a directory")
        .flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().ends_with(".tmp")),
        "{left:?}"
    );
}

#[test]
fn copies_may_be_kept_elsewhere() {
    let backups = tempfile::tempdir().expect("a directory");
    let settings = Settings {
        backup_dir: Some(backups.path().into()),
        ..Settings::default()
    };
    let place = Place::with(ASKS, true, settings);
    let path = place.path("a");
    fs::write(&path, "old").expect("written");
    let backup =
        place.done("write_file", json!({ "path": path, "content": "new" }))["backup"].clone();
    let backup = Path::new(backup.as_str().expect("a copy"));
    assert!(backup.starts_with(backups.path()), "{}", backup.display());
    assert_eq!(fs::read_to_string(backup).expect("kept"), "old");
}

#[test]
fn nothing_is_written_where_it_must_not() {
    let place = Place::new(ASKS);
    let (target, link, fifo) = (place.path("target"), place.path("link"), place.path("fifo"));
    fs::write(&target, "safe").expect("written");
    symlink(&target, &link).expect("a link");
    let dangling = place.path("dangling");
    symlink(place.path("nothing"), &dangling).expect("a link");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .expect("mkfifo")
            .success()
    );
    let write = |path: &str| place.fault("write_file", json!({ "path": path, "content": "x" }));
    assert!(write(&link).contains("is a link"));
    assert!(write(&dangling).contains("is a link"));
    assert!(write(&fifo).contains("a FIFO"));
    assert!(write(&place.path("")).contains("a directory"));
    assert!(write(&place.path("no/such")).contains("No such file"));
    assert!(write("/").contains("names no file"));
    assert!(write(&format!("{target}/..")).contains("names no file"));
    assert_eq!(fs::read_to_string(&target).expect("there"), "safe");
    assert!(!Path::new(&place.path("nothing")).exists());

    place.refused(
        "write_file",
        json!({ "path": "/etc/shadow", "content": "x" }),
    );
    let standard = Place::ready("standard");
    standard.refused(
        "write_file",
        json!({ "path": standard.path("x"), "content": "x" }),
    );
    assert!(!Path::new(&standard.path("x")).exists());
}

#[test]
fn many_writers_leave_a_whole_file() {
    let place = Place::new(ASKS);
    let path = place.path("a");
    fs::write(&path, "first").expect("written");
    thread::scope(|scope| {
        for writer in 0..8 {
            let (place, path) = (&place, &path);
            scope.spawn(move || {
                let content = writer.to_string().repeat(10_000);
                place.done("write_file", json!({ "path": path, "content": content }));
            });
        }
    });
    let last = fs::read_to_string(&path).expect("there");
    assert_eq!(last.len(), 10_000);
    assert!(last.chars().all(|c| last.starts_with(c)), "mixed");
    let copies = fs::read_dir(place.directory.path())
        .expect("a directory")
        .flatten();
    let copies = copies.filter(|entry| entry.file_name().to_string_lossy().ends_with(".bak"));
    assert_eq!(copies.count(), 8);
}

/// Something mounted for as long as the test goes on.
struct Mounted(String);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn on_a_full_disk_a_file_stays_as_it_was() {
    let place = Place::new(ASKS);
    let small = place.path("small");
    fs::create_dir(&small).expect("a directory");
    let mount = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", &small];
    let mounted = is_root()
        && Command::new("mount")
            .args(mount)
            .status()
            .is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("skipped: only root can mount a small disk, where that is allowed");
        return;
    }
    let _mounted = Mounted(small.clone());
    let path = format!("{small}/a");
    fs::write(&path, "x".repeat(40_000)).expect("written");
    let fault = place.fault(
        "write_file",
        json!({ "path": path, "content": "y".repeat(40_000) }),
    );
    assert!(fault.contains("is as it was"), "{fault}");
    assert_eq!(
        fs::read_to_string(&path).expect("there"),
        "x".repeat(40_000)
    );
    let left = fs::read_dir(&small).expect("a directory").count();
    assert_eq!(left, 1);
}

#[test]
fn facts_of_the_machine() {
    let place = Place::ready("standard");
    let system = place.done("system_info", json!({}));
    assert!(
        system["memory"]["total_bytes"].as_u64() > Some(1 << 20),
        "{system}"
    );
    assert!(system["processors"]["count"].as_u64() > Some(0), "{system}");

    let me = std::process::id();
    let name = fs::read_to_string("/proc/self/comm").expect("a name");
    let found = place.done(
        "processes",
        json!({ "name": name.trim(), "sort": "memory", "limit": 500 }),
    );
    let processes = found["processes"].as_array().expect("processes");
    let mine = processes.iter().find(|process| process["pid"] == me);
    assert!(mine.expect("this test")["memory_bytes"].as_u64() > Some(1 << 16));
    assert_eq!(
        place.done("processes", json!({ "limit": 1 }))["truncated"],
        true
    );

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let found = place.done("ports", json!({ "port": port }));
    let mine = &found["ports"][0];
    assert_eq!(
        (&mine["pid"], &mine["state"], &mine["address"]),
        (&json!(me), &json!("listen"), &json!("127.0.0.1"))
    );

    let disks = place.done("disk_usage", json!({}));
    let systems = disks["file_systems"].as_array().expect("file systems");
    assert!(
        systems
            .iter()
            .any(|system| system["mount"] == "/" && system["total_bytes"].as_u64() > Some(0)),
        "{disks}"
    );
}

#[test]
fn directories_are_measured() {
    let place = Place::new(ASKS);
    let root = place.path("root");
    fs::create_dir_all(format!("{root}/large/inner")).expect("directories");
    fs::create_dir(format!("{root}/small")).expect("a directory");
    fs::write(format!("{root}/large/inner/a"), vec![1; 1 << 20]).expect("written");
    fs::hard_link(format!("{root}/large/inner/a"), format!("{root}/small/a")).expect("a link");
    symlink("/", format!("{root}/small/all")).expect("a link");
    let found = place.done("disk_usage", json!({ "path": root, "limit": 2 }));
    let total = found["total_bytes"].as_u64().expect("a number");
    assert!((1 << 20..3 << 20).contains(&total), "{found}");
    assert_eq!(
        (&found["complete"], &found["truncated"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(found["directories"].as_array().map(Vec::len), Some(2));
}

#[test]
fn restricted_tells_facts_and_no_more() {
    let place = Place::ready("restricted");
    place.done("system_info", json!({}));
    place.done("disk_usage", json!({}));
    for (name, params) in [
        ("processes", json!({})),
        ("ports", json!({})),
        ("list_dir", json!({ "path": "/etc" })),
        ("packages", json!({ "action": "installed" })),
        (
            "chart",
            json!({ "kind": "line", "series": [{ "values": [1] }] }),
        ),
    ] {
        place.refused(name, params);
    }
}

/// Under `standard` it is done, or the machine can't do it; the policy is not what stands in the
/// way.
#[track_caller]
fn asked(place: &Place, name: &str, params: &Value) -> Option<Value> {
    match place.call(name, params.clone()) {
        Ok(answer) => Some(answer),
        Err(ToolError::Refused(why)) => panic!("{name} {params}: {why}"),
        Err(fault) => {
            eprintln!("skipped: {name} {params}: {fault}");
            None
        }
    }
}

#[test]
fn services_logs_and_packages_are_looked_at() {
    let place = Place::ready("standard");
    asked(&place, "services", &json!({ "action": "list" }));
    if Path::new("/run/systemd/system").exists() {
        asked(&place, "services", &json!({ "action": "failed" }));
        let unit = json!({ "action": "status", "unit": "systemd-journald.service" });
        let status = asked(&place, "services", &unit).expect("it is there");
        assert_eq!(status["unit"]["active_state"], "active");
    }
    for params in [
        json!({}),
        json!({ "unit": "ssh.service", "priority": "err", "since": "today", "grep": "x" }),
    ] {
        asked(&place, "journal", &params);
    }
    let Some(installed) = asked(
        &place,
        "packages",
        &json!({ "action": "installed", "limit": 5 }),
    ) else {
        return;
    };
    assert_eq!(
        installed["packages"].as_array().map(Vec::len),
        Some(5),
        "{installed}"
    );
    assert!(
        installed["packages"][0]["version"].is_string(),
        "{installed}"
    );
    for action in ["search", "info"] {
        let found = asked(
            &place,
            "packages",
            &json!({ "action": action, "name": "bash", "limit": 3 }),
        );
        assert!(found.is_none_or(|found| found["lines"][0].is_string()));
    }
    asked(&place, "packages", &json!({ "action": "outdated" }));
}

#[test]
fn nothing_is_started_or_installed_without_both_permits() {
    let place = Place::ready("standard");
    for (name, params) in [
        ("services", json!({ "action": "restart", "unit": "nginx" })),
        ("services", json!({ "action": "stop", "unit": "nginx" })),
        ("packages", json!({ "action": "install", "name": "nginx" })),
        ("packages", json!({ "action": "remove", "name": "nginx" })),
    ] {
        place.refused(name, params);
    }
    let entries = place.entries();
    assert!(
        entries.iter().all(|entry| entry["event"] != "finished"),
        "{entries:?}"
    );

    // The package may be installed, the command that does it may not.
    let half = "default_profile = \"p\"\n[profiles.p]\nopaque = \"deny\"\notherwise = \"deny\"\n\
        [[profiles.p.rules]]\nname = \"one\"\ndecision = \"allow\"\nactions = [\"install_package\"]\nnames = [\"nginx\"]";
    let place = Place::new(half);
    place.refused("packages", json!({ "action": "install", "name": "nginx" }));
    let entries = place.entries();
    let decided = entries.iter().filter(|entry| entry["event"] == "decided");
    let decided: Vec<_> = decided.collect();
    assert_eq!(decided.len(), 1, "it asks once: {entries:?}");
    assert_eq!(decided[0]["action"]["action"], "install_package");
    assert!(decided[0]["action"]["exec"]["argv"].is_array());
    assert!(
        entries.iter().all(|entry| entry["event"] != "finished"),
        "{entries:?}"
    );
}

#[test]
fn a_name_that_is_an_option_or_a_command_is_no_name() {
    let place = Place::new(ASKS);
    for name in [
        "-o=x",
        "--purge",
        "a;b",
        "a b",
        "a\nb",
        "nginx-",
        "../x",
        "./x.deb",
        "http://x/y",
        "$(id)",
        "",
        "é",
    ] {
        for action in ["search", "info", "installed", "install", "remove"] {
            let fault = place.call("packages", json!({ "action": action, "name": name }));
            assert!(
                matches!(fault, Err(ToolError::BadParams(_))),
                "{action} {name:?}: {fault:?}"
            );
        }
    }
    for unit in [
        "-H=x",
        "--host",
        "a;b",
        "a b",
        "../x",
        "/etc/x.service",
        "",
        "$(id)",
        "a\u{430}",
    ] {
        for action in ["status", "restart"] {
            let fault = place.call("services", json!({ "action": action, "unit": unit }));
            assert!(
                matches!(fault, Err(ToolError::BadParams(_))),
                "{action} {unit:?}: {fault:?}"
            );
        }
        let fault = place.call("journal", json!({ "unit": unit }));
        assert!(
            matches!(fault, Err(ToolError::BadParams(_))),
            "{unit:?}: {fault:?}"
        );
    }
    let fault = place.call("services", json!({ "action": "restart" }));
    assert!(matches!(fault, Err(ToolError::BadParams(_))), "{fault:?}");
}

#[test]
fn a_chart_is_drawn_and_written() {
    let place = Place::new(ASKS);
    let params = json!({ "title": "load", "kind": "bar", "series": [{ "name": "1 min", "values": [1, 2, 3] }] });
    let svg = place.done("chart", params.clone())["svg"].clone();
    assert!(
        svg.as_str().is_some_and(|svg| svg.contains("load")),
        "{svg}"
    );
    let path = place.path("load.svg");
    let mut to_file = params;
    to_file["path"] = json!(path);
    assert_eq!(
        place.wants("chart", &to_file),
        [Action::write_file(path.clone())]
    );
    place.done("chart", to_file.clone());
    assert_eq!(
        fs::read_to_string(&path).expect("written"),
        svg.as_str().expect("text")
    );
    Place::ready("standard").refused("chart", to_file);
}
