//! The `fazai` program as its users meet it: socat, nc, old clients, signals, pipes.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use fazai_tests::served::{Served, fazai, path, serve, wait_for};
use fazai_tests::{program, root, stdout};
use serde_json::{Value, json};

/// Runs a command with the text on its standard input.
fn pipe_through(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

/// The same; returns what it wrote.
fn pipe(command: &mut Command, input: &str) -> String {
    String::from_utf8(pipe_through(command, input).stdout).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn request(id: usize) -> String {
    let ask = json!({ "action": "ask", "action_id": id.to_string(), "input": "What does exit code 137 mean?", "params": { "temperature": 0 } });
    format!("{ask}\n")
}

/// Twenty requests pipelined into one connection are all answered, each once and alike.
fn check_pipelined(answers: &str) {
    let done: Vec<Value> = lines(answers)
        .into_iter()
        .filter(|line| line["action"] == "done")
        .collect();
    assert_eq!(done.len(), 20, "{answers}");
    let mut ids: Vec<usize> = done
        .iter()
        .map(|line| line["action_id"].as_str().unwrap().parse().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..20).collect::<Vec<_>>());
    for line in &done {
        assert_eq!(line["error"], Value::Null, "{line}");
        assert!(
            line["result"].as_str().unwrap().contains("SIGKILL"),
            "{line}"
        );
    }
}

#[test]
fn socat_and_nc_get_all_their_answers() {
    let served = Served::start();
    let all: String = (0..20).map(request).collect();
    let address = format!("UNIX-CONNECT:{}", path(&served.socket));
    check_pipelined(&pipe(
        Command::new("socat").args(["-t", "600", "-", &address]),
        &all,
    ));
    check_pipelined(&pipe(
        Command::new("nc").args(["-N", "-U", path(&served.socket)]),
        &all,
    ));

    // The transcript of the README.
    let answer = pipe(
        Command::new("socat").args(["-t", "600", "-", &address]),
        &request(1),
    );
    let answer = lines(&answer);
    assert_eq!(answer[0]["action"], "accepted");
    let (tokens, last) = (&answer[1..answer.len() - 1], answer.last().unwrap());
    let streamed: String = tokens
        .iter()
        .map(|line| line["result"].as_str().unwrap())
        .collect();
    assert!(tokens.len() > 5 && tokens.iter().all(|line| line["action"] == "token"));
    assert_eq!(last["result"], streamed.as_str());
    assert_eq!(last["model"], "fazai-builtin");
    assert_eq!(last["finish_reason"], "stop");
}

#[test]
fn a_client_written_for_the_old_dialect_works_unchanged() {
    let audit = tempfile::tempdir().unwrap();
    let served = Served::with_settings(&format!("[policy]\naudit_dir = {}\n", path(audit.path())));
    let client = root().join("tests/compat/client.py");
    let run = |action: &str, input: &str| {
        let output = Command::new("python3")
            .args([path(&client), path(&served.socket), action, input])
            .output()
            .unwrap();
        stdout(output)
    };
    let answer = run("ask", "What does exit code 137 mean?");
    let (first, text) = answer.split_once('\n').unwrap();
    assert_eq!(first, "done local fazai-builtin");
    assert!(text.contains("SIGKILL"), "{text}");
    assert!(run("observe", "status").contains("fazai-builtin"));
    // It prints each line's result as it comes, and then how the request ended.
    let said = run("shell", "echo one; echo two >&2; exit 3");
    let lines: Vec<&str> = said.trim_end().lines().collect();
    assert_eq!(
        lines,
        [
            "$ echo one; echo two >&2; exit 3",
            "one",
            "two",
            "[exit 3]",
            "done shell None",
            "one",
            "two",
        ]
    );
    let refused = run("shell", "rm -rf /");
    assert!(refused.starts_with("error error None"), "{refused}");
}

#[test]
fn ask_uses_a_running_worker_and_otherwise_its_own_model() {
    let served = Served::start();
    let question = "what does exit code 137 mean?";
    let with = fazai(&["ask", "--socket", path(&served.socket), question]);
    assert!(String::from_utf8_lossy(&with.stdout).contains("SIGKILL"));
    assert_eq!(served.ask_status().unwrap()["models"][0]["jobs"], 1);

    let without = fazai(&["ask", "--local", "--config", "/dev/null", question]);
    assert!(String::from_utf8_lossy(&without.stdout).contains("SIGKILL"));
    assert!(
        without.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&without.stderr)
    );

    let json = fazai(&[
        "ask",
        "--local",
        "--config",
        "/dev/null",
        "--json",
        question,
    ]);
    let json = lines(&String::from_utf8(json.stdout).unwrap());
    assert_eq!(json.last().unwrap()["action"], "done");

    let likely = "The process was killed by SIGKILL.";
    let chosen = fazai(&[
        "ask",
        "--local",
        "--config",
        "/dev/null",
        "--choice",
        "Bananas are yellow.",
        "--choice",
        likely,
        question,
    ]);
    assert_eq!(
        String::from_utf8_lossy(&chosen.stdout),
        format!("{likely}\n")
    );

    // A place that was named and where nobody is: no answer from somewhere else.
    let nowhere = fazai(&["ask", "--socket", "/nonexistent/x.sock", question]);
    assert!(!nowhere.status.success() && nowhere.stdout.is_empty());
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("fazai serve"));
}

#[test]
fn what_comes_through_a_pipe_is_asked_about_however_long_it_is() {
    let log: String = (0..3_000)
        .map(|n| {
            format!(
                "Nov 21 01:{:02}:{:02} host app[{n}]: all is well\n",
                n / 60 % 60,
                n % 60
            )
        })
        .collect();
    let mut command = Command::new(program());
    command
        .args(["ask", "--local", "--config", "/dev/null", "what failed?"])
        .stderr(Stdio::piped());
    let output = pipe_through(&mut command, &log);
    assert!(output.status.success());
    assert!(!output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("asking about the last"), "{said}");
}

#[test]
fn a_pipe_that_nothing_comes_through_is_no_question() {
    let ask = |question: &[&str]| {
        let mut command = Command::new(program());
        command
            .args(["ask", "--local", "--config", "/dev/null"])
            .args(question)
            .stderr(Stdio::piped());
        command
    };
    let refused = |output: Output| {
        assert!(!output.status.success() && output.stdout.is_empty());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("nothing came through the pipe"), "{said}");
        assert!(said.contains("hint: "), "{said}");
    };
    refused(pipe_through(&mut ask(&["what failed?"]), ""));
    refused(pipe_through(&mut ask(&["what failed?"]), "\n \n"));
    let empty = tempfile::tempfile().unwrap();
    refused(ask(&["what failed?"]).stdin(empty).output().unwrap());
    // Scripts and services have nothing to say there.
    let mut alone = ask(&["what does SIGPIPE mean?"]);
    let nothing = alone.stdin(Stdio::null()).output().unwrap();
    assert!(!stdout(nothing).is_empty());
}

#[test]
fn an_answer_that_was_cut_does_not_pass_for_whole() {
    let dir = tempfile::tempdir().unwrap();
    let schema = dir.path().join("s.json");
    let wanted = json!({
        "type": "object",
        "properties": { "why": { "type": "string", "minLength": 100 } },
        "required": ["why"],
    });
    fs::write(&schema, wanted.to_string()).unwrap();
    let ask = |more: &[&str]| {
        let arguments = ["ask", "--local", "--config", "/dev/null"];
        let question = ["--max-tokens", "3", "what does SIGPIPE mean?"];
        let asked = fazai(&[&arguments[..], more, &question].concat());
        let said = String::from_utf8(asked.stderr).unwrap();
        assert!(said.contains("raise --max-tokens"), "{said}");
        asked.status
    };
    assert!(ask(&[]).success());
    assert!(!ask(&["--schema", path(&schema)]).success());
}

#[test]
fn variables_name_the_socket_and_the_settings_and_empty_ones_are_none() {
    let served = Served::start();
    let status = |name: &str, value: &str, more: &[&str]| {
        let mut status = Command::new(program());
        status
            .args(["status", "--json"])
            .args(more)
            .env(name, value);
        status.stdin(Stdio::null()).output().unwrap()
    };
    assert!(
        status("FAZAI_SOCKET", path(&served.socket), &[])
            .status
            .success()
    );
    let here = ["--socket", path(&served.socket)];
    assert!(status("FAZAI_SOCKET", "", &here).status.success());
    assert!(
        status("FAZAI_SOCKET", "/nonexistent/x.sock", &here)
            .status
            .success()
    );
    // An address on the command line counts more than the socket of the environment.
    let address = ["--tcp", "127.0.0.1:9"];
    let refused = status("FAZAI_SOCKET", path(&served.socket), &address);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("127.0.0.1:9"), "{said}");

    let config = |value: &Path| {
        let mut config = Command::new(program());
        config.arg("config").env("FAZAI_CONFIG", value);
        config.stdin(Stdio::null()).output().unwrap()
    };
    let file = served.dir.path().join("other.conf");
    fs::write(&file, "[server]\nsocket = /x/y.sock\n").unwrap();
    assert!(stdout(config(&file)).contains("/x/y.sock"));
    assert!(config(Path::new("")).status.success());
    fs::write(&file, "[server]\nsockets = /x\n").unwrap();
    assert!(!config(&file).status.success());
}

#[test]
fn an_output_that_is_closed_ends_a_command_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("fazai.conf");
    let audit = dir.path().join("audit");
    fs::write(&config, format!("[policy]\naudit_dir = {}\n", path(&audit))).unwrap();
    let failed = fazai_tests::incidents::guessing("203.0.113.9");
    let log = dir.path().join("auth.log");
    fs::write(&log, failed).unwrap();
    let cases: [&[&str]; 5] = [
        &["schema"],
        &["shell", "--config", path(&config), "seq 100000"],
        &[
            "bench",
            "--config",
            "/dev/null",
            "--repeats",
            "1",
            "--prompt-tokens",
            "16",
            "--output-tokens",
            "2",
        ],
        &["models", "catalog"],
        &[
            "watch",
            "--stdin",
            "--dry-run",
            "--no-model",
            "--config",
            "/dev/null",
        ],
    ];
    for arguments in cases {
        let (reading, writing) = std::io::pipe().unwrap();
        drop(reading);
        let output = Command::new(program())
            .args(arguments)
            .stdin(fs::File::open(&log).unwrap())
            .stdout(writing)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        assert!(!said.contains("roken pipe"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_file_without_an_end_is_refused() {
    let cases: [&[&str]; 5] = [
        &["ask", "--schema", "/dev/zero", "x"],
        &["ask", "--file", "/dev/zero"],
        &["policy", "test", "/dev/zero"],
        &["policy", "check", "--policy", "/dev/zero", "ls"],
        &[
            "watch",
            "--stdin",
            "--dry-run",
            "--no-model",
            "--rules",
            "/dev/zero",
        ],
    ];
    for arguments in cases {
        let mut command = Command::new(program());
        command.args(arguments).env("FAZAI_CONFIG", "/dev/null");
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said.contains("larger than 1 MiB"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_pull_that_tries_again_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut pull = Command::new(program())
        .args(["models", "pull", "qwen3:0.6b", "--dir", path(dir.path())])
        .env("HF_ENDPOINT", "http://127.0.0.1:9")
        .env("HF_HUB_OFFLINE", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut complaints = BufReader::new(pull.stderr.take().unwrap());
    complaints.read_line(&mut said).unwrap();
    pull.kill().unwrap();
    pull.wait().unwrap();
    assert!(said.contains("trying again in 0.5 s"), "{said}");
}

#[test]
fn what_the_settings_name_and_is_not_there_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("fazai.conf");
    let home = path(dir.path());
    let text = format!(
        "[model]\ndefault = qwen3:0.6b\ndir = {home}\n\
         [policy]\nfile = {home}/policy.toml\naudit_dir = {home}/audit\n"
    );
    fs::write(&config, text).unwrap();
    let doctor = fazai(&["doctor", "--json", "--config", path(&config)]);
    assert_eq!(doctor.status.code(), Some(1));
    let findings: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    for (what, says) in [
        ("default model", "fazai models pull qwen3:0.6b"),
        ("policy", "take `file` out of [policy]"),
    ] {
        let mut findings = findings.as_array().unwrap().iter();
        let found = findings.find(|one| one["what"] == what).expect(what);
        assert_eq!(found["state"], "wrong", "{found}");
        assert!(found["about"].as_str().unwrap().contains(says), "{found}");
    }
    // The file itself is good.
    let notes = stdout(fazai(&["config", "--config", path(&config)]));
    assert!(notes.contains("note: default model: "), "{notes}");
    assert!(notes.contains("note: policy: "), "{notes}");
    fs::write(&config, "").unwrap();
    let notes = stdout(fazai(&["config", "--config", path(&config)]));
    assert!(!notes.contains("note"), "{notes}");
}

#[test]
fn what_is_empty_or_awaited_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("nope.log");
    let mut watch = Command::new(program())
        .args(["watch", "--dry-run", "--no-model", "--config", "/dev/null"])
        .args(["--file", path(&missing)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut complaints = BufReader::new(watch.stderr.take().unwrap());
    complaints.read_line(&mut said).unwrap();
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(said.contains("nope.log is not there yet"), "{said}");

    let shown = fazai(&["audit", "show", "--dir", path(dir.path())]);
    let said = String::from_utf8(shown.stderr).unwrap();
    assert!(said.contains("no record in") && said.contains(path(dir.path())));

    // Each example can be copied as it stands.
    let help = stdout(fazai(&["--help"]));
    assert!(help.contains("- UNIX-CONNECT:$FAZAI_SOCKET\n"), "{help}");
    let help = stdout(fazai(&["personality", "--help"]));
    assert!(help.contains(r#"Ada."\nstyle"#), "{help}");
}

#[test]
fn sockets_are_replaced_when_stale_and_refused_when_live() {
    let mut served = Served::start();
    let mode = fs::metadata(&served.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let config = served.dir.path().join("fazai.conf");

    let second = serve(&served.socket, &config).output().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another worker is running"), "{said}");
    assert!(served.ask_status().is_some(), "the first one is unharmed");

    // After a SIGKILL the file is left over and is replaced.
    served.signal("KILL");
    served.process.wait().unwrap();
    assert!(
        fs::metadata(&served.socket)
            .unwrap()
            .file_type()
            .is_socket()
    );
    served.process = serve(&served.socket, &config).spawn().unwrap();
    wait_for(|| served.ask_status().is_some());

    // Something else under that name is not.
    let plain = served.dir.path().join("plain");
    fs::write(&plain, "precious").unwrap();
    let refused = serve(&plain, &config).output().unwrap();
    assert!(!refused.status.success());
    assert_eq!(fs::read_to_string(&plain).unwrap(), "precious");
}

#[test]
fn a_lock_that_is_a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    fs::write(&victim, "keep").unwrap();
    let socket = dir.path().join("x.sock");
    std::os::unix::fs::symlink(&victim, dir.path().join("x.sock.lock")).unwrap();
    let refused = serve(&socket, Path::new("/dev/null")).output().unwrap();
    assert!(!refused.status.success());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "keep");
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    let refused = fazai(&["serve", "--config", "/dev/null", "--log-level", "frob"]);
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    assert!(
        complaint.contains("frob") && complaint.contains("debug"),
        "{complaint}"
    );
}

#[test]
fn term_stops_and_cleans_up_and_hup_reads_the_settings_again() {
    let mut served = Served::with_settings("[defaults]\nmax_tokens = 3\n");
    let tokens = |served: &Served| {
        let output = fazai(&[
            "ask",
            "--json",
            "--socket",
            path(&served.socket),
            "What is SIGTERM?",
        ]);
        let lines = lines(&String::from_utf8(output.stdout).unwrap());
        lines.last().unwrap()["usage"]["output_tokens"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(tokens(&served), 3);
    fs::write(
        served.dir.path().join("fazai.conf"),
        "[defaults]\nmax_tokens = 5\n",
    )
    .unwrap();
    served.signal("HUP");
    wait_for(|| tokens(&served) == 5);
    // A file with faults changes nothing.
    fs::write(
        served.dir.path().join("fazai.conf"),
        "[defaults]\nmax_tokens = many\n",
    )
    .unwrap();
    served.signal("HUP");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(tokens(&served), 5);

    served.signal("TERM");
    assert!(served.process.wait().unwrap().success());
    assert!(!served.socket.exists());
    let log = served.log();
    assert!(
        log.contains("a number from 1") && log.contains("stopping"),
        "{log}"
    );
    assert!(
        !log.contains("SIGTERM?"),
        "a prompt's text is not logged: {log}"
    );
}

#[test]
fn tcp_is_for_loopback_or_for_those_who_know_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("open.conf");
    fs::write(&config, "[server]\ntcp = 0.0.0.0:0\n").unwrap();
    let open = serve(&dir.path().join("x.sock"), &config).output().unwrap();
    assert!(!open.status.success());
    assert!(String::from_utf8_lossy(&open.stderr).contains("a token is needed"));

    let port = free_port();
    let served = Served::with_settings(&format!(
        "[server]\ntcp = 127.0.0.1:{port}\ntcp_token = s3cret\n"
    ));
    let talk = |first: &str| {
        let input = format!("{first}\n{{\"action\":\"ping\",\"action_id\":\"p\"}}\n");
        lines(&pipe(
            Command::new("nc").args(["-N", "127.0.0.1", &port.to_string()]),
            &input,
        ))
    };
    let hello = |token: &str| {
        json!({ "action": "hello", "action_id": "h", "params": { "token": token } }).to_string()
    };
    let stranger = talk(r#"{"action":"ping","action_id":"h"}"#);
    assert!(
        stranger
            .iter()
            .all(|line| line["error"]["code"] == "unauthorized"),
        "{stranger:?}"
    );
    let wrong = talk(&hello("guess"));
    assert!(
        wrong
            .iter()
            .all(|line| line["error"]["code"] == "unauthorized"),
        "{wrong:?}"
    );
    let known = talk(&hello("s3cret"));
    assert!(
        known.iter().all(|line| line["error"].is_null()),
        "{known:?}"
    );
    assert_eq!(known.len(), 2);

    let token = dir.path().join("token");
    fs::write(&token, "s3cret\n").unwrap();
    let address = format!("127.0.0.1:{port}");
    let status = fazai(&["status", "--tcp", &address, "--token-file", path(&token)]);
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stderr)
    );
    drop(served);
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn a_bad_settings_file_is_told_with_all_its_lines() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("bad.conf");
    fs::write(
        &config,
        "[server]\nsockets = /x\n[limits]\nin_flight_max = none\n",
    )
    .unwrap();
    let checked = fazai(&["config", "--config", path(&config)]);
    assert!(!checked.status.success());
    let said = String::from_utf8(checked.stderr).unwrap();
    assert!(
        said.contains(":2:") && said.contains(":4:") && said.contains("\"socket\""),
        "{said}"
    );
    let example = fazai(&["config", "--example"]);
    fs::write(&config, &example.stdout).unwrap();
    assert!(
        fazai(&["config", "--config", path(&config)])
            .status
            .success()
    );
}

#[test]
fn what_the_settings_of_the_cloud_name_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("fazai.conf");
    let key = dir.path().join("key");
    let prices = dir.path().join("prices.toml");
    fs::write(
        &prices,
        "[[price]]\nmodel = 'm'\ninput = 1.0\noutput = -2.0\n",
    )
    .unwrap();
    let provider = format!(
        "[cloud.one]\nkind = openai_compatible\nbase_url = http://127.0.0.1:1/v1\nmodel = m\napi_key_file = {}\n",
        path(&key)
    );
    let complaint = |text: &str| {
        fs::write(&config, text).unwrap();
        let checked = fazai(&["config", "--config", path(&config)]);
        assert_eq!(checked.status.success(), checked.stderr.is_empty());
        String::from_utf8(checked.stderr).unwrap()
    };
    assert!(complaint(&provider).contains("the key file"));
    // Nobody waits for a pipe.
    let made = Command::new("mkfifo").arg(&key).status().unwrap();
    assert!(made.success());
    assert!(complaint(&provider).contains("no plain file"));
    fs::remove_file(&key).unwrap();
    fs::write(&key, "sk-1\n").unwrap();
    assert!(complaint(&provider).contains("chmod o="));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(complaint(&provider), "");
    let priced = format!("[cloud]\nprices = {}\n{provider}", path(&prices));
    assert!(complaint(&priced).contains("-2 is no price"));
}

/// A file that is no model, or one that was cut, is an error that says so at the start.
#[test]
fn bad_model_files_are_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let builtin = fs::read(root().join("models/builtin/fazai-builtin.gguf")).unwrap();
    let mut version = builtin.clone();
    version[4] = 99;
    let cases: [(&str, Option<&[u8]>, &str); 5] = [
        ("missing.gguf", None, "no file"),
        (
            "text.gguf",
            Some(b"#!/bin/sh\necho hello\n"),
            "not a GGUF file",
        ),
        ("cut.gguf", Some(&builtin[..builtin.len() / 2]), "truncated"),
        ("header.gguf", Some(&builtin[..1_000]), "truncated"),
        ("version.gguf", Some(&version), "version 99"),
    ];
    for (name, content, says) in cases {
        let file = dir.path().join(name);
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        for backend in ["llama", "candle"] {
            let asked = fazai(&[
                "serve",
                "--config",
                "/dev/null",
                "--backend",
                backend,
                "--socket",
                path(&dir.path().join("s.sock")),
                "--model",
                path(&file),
            ]);
            let said = String::from_utf8_lossy(&asked.stderr).into_owned();
            assert!(!asked.status.success(), "{name}");
            assert!(said.contains(says), "{name} with {backend}: {said}");
        }
    }
    let directory = fazai(&[
        "ask",
        "--config",
        "/dev/null",
        "--model",
        path(dir.path()),
        "x",
    ]);
    assert!(String::from_utf8_lossy(&directory.stderr).contains("not a regular file"));
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_both_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("small.conf");
    fs::write(&config, "[model]\nmemory_bytes_max = 4M\n").unwrap();
    let asked = fazai(&["ask", "--local", "--config", path(&config), "x"]);
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(
        said.contains("model_too_large") && said.contains("and 4 MiB are available"),
        "{said}"
    );
}

#[test]
fn a_damaged_program_does_not_answer_from_a_damaged_model() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("fazai");
    let mut bytes = fs::read(program()).unwrap();
    let model = fs::read(root().join("models/builtin/fazai-builtin.gguf")).unwrap();
    let middle = &model[model.len() / 2..model.len() / 2 + 64];
    let at = bytes
        .windows(64)
        .position(|window| window == middle)
        .expect("the model is inside");
    bytes[at] ^= 1;
    fs::write(&copy, &bytes).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let asked = Command::new(&copy)
        .args([
            "serve",
            "--config",
            "/dev/null",
            "--socket",
            path(&dir.path().join("s.sock")),
        ])
        .output()
        .unwrap();
    assert!(!asked.status.success());
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(said.contains("the built-in model is damaged"), "{said}");
}

#[test]
fn help_has_examples_and_the_small_commands_work() {
    for command in [
        &["--help"][..],
        &["serve", "--help"],
        &["ask", "--help"],
        &["models", "--help"],
        &["bench", "--help"],
        &["bench", "serve", "--help"],
        &["bench", "synth", "--help"],
    ] {
        let help = String::from_utf8(fazai(command).stdout).unwrap();
        assert!(
            help.contains("Examples:") && help.contains("fazai "),
            "{command:?}"
        );
    }
    let script = fazai(&["completions", "bash"]);
    assert!(String::from_utf8(script.stdout).unwrap().contains("models"));
    let dir = tempfile::tempdir().unwrap();
    assert!(fazai(&["man", path(dir.path())]).status.success());
    assert!(dir.path().join("fazai-ask.1").exists());
    let list = fazai(&[
        "models",
        "list",
        "--dir",
        path(dir.path()),
        "--config",
        "/dev/null",
    ]);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list[0]["name"], "builtin", "JSON in a pipe: {list}");
}

#[test]
fn bench_measures_the_builtin_model() {
    let output = fazai(&[
        "bench",
        "--config",
        "/dev/null",
        "--repeats",
        "2",
        "--prompt-tokens",
        "64",
        "--output-tokens",
        "16",
    ]);
    let report: Value = serde_json::from_str(&stdout(output)).unwrap();
    for key in [
        "prompt_tokens_per_second",
        "generation_tokens_per_second",
        "first_token_ms",
    ] {
        assert!(report[key]["median"].as_f64().unwrap() > 0.0, "{report}");
    }
    assert_eq!(report["model"]["title"], "fazai-builtin");
    assert!(report["model"]["threads"].as_u64().unwrap() >= 1);
}

#[test]
fn bench_serve_measures_a_worker_of_its_own_or_a_running_one() {
    let arguments = ["bench", "serve", "--repeats", "1", "--config", "/dev/null"];
    let case = ["--case", "stream", "--case", "json"];
    let output = fazai(&[&arguments[..], &case].concat());
    let report: Value = serde_json::from_str(&stdout(output)).unwrap();
    let figures = report["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 4, "{report}");
    for figure in figures {
        assert!(figure["ours"]["median"].as_f64().unwrap() > 0.0, "{figure}");
        assert!(figure.get("ratio").is_none(), "there is no peer: {figure}");
    }
    assert_eq!(report["model"]["slots"], 8);

    let served = Served::start();
    let socket = ["--socket", path(&served.socket), "--format", "markdown"];
    let output = fazai(&[&arguments[..4], &socket, &case[..2]].concat());
    let table = stdout(output);
    assert!(
        table.contains("| generation, 128 tokens | tokens/s |"),
        "{table}"
    );
    let status = served.ask_status().unwrap();
    assert_eq!(
        status["models"][0]["jobs"], 4,
        "two rounds of two: {status}"
    );
}

#[test]
fn bench_serve_says_what_is_wrong_with_a_peer() {
    let arguments = ["bench", "serve", "--config", "/dev/null", "--repeats", "1"];
    let peer = ["--peer", "http://127.0.0.1:9", "--case", "stream"];
    let output = fazai(&[&arguments[..], &peer].concat());
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("http://127.0.0.1:9 does not answer"),
        "{said}"
    );
}

#[test]
fn bench_synth_writes_a_model_that_runs() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tiny.gguf");
    let written = fazai(&["bench", "synth", "tiny", "--output", path(&file)]);
    let written: Value = serde_json::from_str(&stdout(written)).unwrap();
    assert_eq!(written["bytes"], file.metadata().unwrap().len());
    let asked = [
        "ask",
        "--local",
        "--config",
        "/dev/null",
        "--model",
        path(&file),
        "hello",
    ];
    assert!(fazai(&asked).status.success());
    let unknown = fazai(&["bench", "synth", "huge"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("qwen3-0.6b"), "{said}");
}

#[test]
fn bench_quality_runs_the_held_out_cases() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = dir.path().join("wrong.jsonl");
    let output = fazai(&[
        "bench",
        "quality",
        "--config",
        "/dev/null",
        "--limit",
        "3",
        "--wrong",
        path(&wrong),
    ]);
    let report: Value = serde_json::from_str(&stdout(output)).unwrap();
    let figures = report["figures"].as_array().unwrap();
    let names: Vec<&str> = figures
        .iter()
        .map(|figure| figure["figure"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"severity") && names.contains(&"wrongly refused"));
    assert!(figures.iter().all(|figure| figure["of"] == 3), "{report}");
    // What went wrong is what the first figure of each job does not count.
    let right: u64 = ["severity", "first step", "key fact", "recognised"]
        .iter()
        .filter_map(|name| figures.iter().find(|figure| figure["figure"] == *name))
        .map(|figure| figure["yes"].as_u64().unwrap())
        .sum();
    let told = lines(&fs::read_to_string(&wrong).unwrap()).len();
    assert_eq!(told as u64, 12 - right);
}

/// Only one worker can write a record.
#[test]
fn a_second_worker_of_the_same_record_says_so_at_its_start() {
    let home = tempfile::tempdir().unwrap();
    let audit = home.path().join("audit");
    let settings = format!("[policy]\naudit_dir = {}\n", path(&audit));
    let first = Served::with_settings(&settings);
    let says = |served: &Served| {
        served
            .log()
            .contains("another worker keeps its record here")
    };
    assert!(!says(&first), "{}", first.log());
    let second = Served::with_settings(&settings);
    assert!(says(&second), "{}", second.log());
    assert!(second.log().contains(path(&audit)), "{}", second.log());
}
