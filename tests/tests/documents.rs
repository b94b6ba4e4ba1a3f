//! What is written down is what the program does.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::fs;

use fazai_models::backend::scripted::Script;
use fazai_module_examples::built;
use fazai_protocol::{ErrorCode, reply_schema, request_schema};
use fazai_tests::served::{fazai, path};
use fazai_tests::{TestWorker, program, root, stdout};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The committed file is what the program prints; `UPDATE=1` writes it anew.
fn check_committed(file: &str, expected: &str) {
    let path = root().join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, expected).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == expected,
        "{file} is not what the program prints; run the tests with UPDATE=1"
    );
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    for (name, schema) in [("request", request_schema()), ("reply", reply_schema())] {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        check_committed(&format!("protocol/schema/{name}.json"), &text);
    }
}

#[test]
fn the_example_settings_are_committed() {
    let example = fazai::config::example();
    // What depends on the machine is left out.
    let committed: String = example
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some((
                key @ ("#socket" | "#dir" | "#prompt_store" | "#audit_dir" | "#runs_dir"
                | "#servers" | "#backend" | "#budget_dir" | "#state_dir"),
                _,
            )) => {
                format!("{key} = ...\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    check_committed("worker/fazai.conf.example", &committed);
}

/// The parts of PROTOCOL.md between three backquotes of a kind.
fn blocks(kind: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("PROTOCOL.md")).unwrap();
    let fence = format!("```{kind}\n");
    let parts = text.split(&fence).skip(1);
    parts
        .map(|part| part.split("\n```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_error_code_is_documented_as_it_is() {
    let text = fs::read_to_string(root().join("PROTOCOL.md")).unwrap();
    for &code in ErrorCode::ALL {
        let retry = if code.retryable() { "yes" } else { "no" };
        let row = format!("| `{code}` | {} | {retry} |", code.meaning());
        assert!(text.contains(&row), "PROTOCOL.md lacks the row\n{row}");
    }
}

/// Whether a line is as documented: `"..."` stands for any value, and a key `"..."` for any
/// further keys.
fn matches(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::String(text), _) if text == "..." => true,
        (Value::Object(expected), Value::Object(actual)) => {
            let open = expected.contains_key("...");
            let named = expected.iter().filter(|(key, _)| *key != "...");
            named
                .clone()
                .all(|(key, value)| actual.get(key).is_some_and(|found| matches(value, found)))
                && (open || actual.keys().all(|key| expected.contains_key(key)))
        }
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected.iter().zip(actual).all(|(e, a)| matches(e, a))
        }
        _ => expected == actual,
    }
}

/// What the model of the documentation answers.
fn documented() -> Script {
    let answers = BTreeMap::from([
        ("What does exit code 137 mean?", "Killed by SIGKILL."),
        ("And 143?", "Ended by SIGTERM."),
        ("Is 10.0.0.7 an address?", "yes"),
    ]);
    Script::answering(move |prompt| {
        let user = prompt.rsplit("user\n").next().unwrap_or("");
        let question = user.split("<|im_end|>").next().unwrap_or("");
        let answer = answers.get(question).copied();
        answer.unwrap_or("I do not know.").to_owned()
    })
}

/// A directory with the example `echo`.
fn modules() -> TempDir {
    let mods = tempfile::tempdir().unwrap();
    let config = mods.path().join("fazai.conf");
    fs::write(&config, format!("[modules]\ndir = {}\n", path(mods.path()))).unwrap();
    let echo = built().join("echo.so");
    let add = ["modules", "add", path(&echo), "--config", path(&config)];
    let _ = stdout(fazai(&add));
    mods
}

#[tokio::test]
async fn the_transcripts_of_the_protocol_are_true() {
    let transcripts = blocks("transcript");
    assert!(transcripts.len() >= 12, "{} transcripts", transcripts.len());
    let mods = modules();
    // Each worker begins a record of its own.
    let audits = tempfile::tempdir().unwrap();
    for transcript in transcripts {
        let audit = tempfile::tempdir_in(audits.path()).unwrap();
        let runs = tempfile::tempdir_in(audits.path()).unwrap();
        let worker = TestWorker::with_settings(documented(), |settings| {
            settings.modules.dir = mods.path().to_owned();
            settings.modules.program = Some(program());
            settings.policy.audit_dir = audit.path().to_owned();
            settings.tools.runs_dir = runs.path().to_owned();
        })
        .await;
        let mut wire = worker.connect().await;
        let mut skipping = false;
        for line in transcript.lines() {
            if let Some(sent) = line.strip_prefix("> ") {
                wire.send(sent).await;
            } else if line == "< ..." {
                skipping = true;
            } else if let Some(expected) = line.strip_prefix("< ") {
                let expected: Value = serde_json::from_str(expected)
                    .unwrap_or_else(|fault| panic!("{fault}: {expected}"));
                loop {
                    let actual = wire
                        .next()
                        .await
                        .unwrap_or_else(|| panic!("the end instead of {expected}"));
                    if matches(&expected, &actual) {
                        break;
                    }
                    assert!(skipping, "documented: {expected}\nin truth:   {actual}");
                }
                skipping = false;
            } else {
                panic!("neither sent nor received: {line}");
            }
        }
        worker.stop().await;
    }
}

#[test]
fn every_operation_has_a_chapter_and_every_parameter_is_named() {
    let text = fs::read_to_string(root().join("PROTOCOL.md")).unwrap();
    let schema = json!(request_schema());
    let mut names = Vec::new();
    for variant in schema["oneOf"].as_array().unwrap() {
        names.push(
            variant["properties"]["action"]["const"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert!(names.len() >= 9, "{names:?}");
    for name in names {
        assert!(
            text.contains(&format!("`{name}`")),
            "PROTOCOL.md has nothing on {name}"
        );
    }
    for parameter in schema["$defs"]["AskParams"]["properties"]
        .as_object()
        .unwrap()
        .keys()
    {
        assert!(
            text.contains(&format!("| `{parameter}` |")),
            "PROTOCOL.md lacks params.{parameter}"
        );
    }
}
