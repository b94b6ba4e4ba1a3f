//! The module as a shared library, through its C symbols.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::env;

use fazai_module::{FILES, GROW, THREADS};
use fazai_module_examples::Loaded;
use serde_json::Value;

/// Cargo puts the library beside this test when it builds the test.
fn system_info() -> Loaded {
    let test = env::current_exe().unwrap();
    Loaded::copy_of(&test.with_file_name("libsystem_info.so"), &[])
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn it_tells_about_itself() {
    let module = system_info();
    module.check_descriptor("system_info", FILES, THREADS | GROW);
    let described = module.descriptor().unwrap();
    assert_eq!(described.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(described.description, env!("CARGO_PKG_DESCRIPTION"));
}

#[test]
fn a_report_has_all_parts_or_those_that_are_named() {
    let module = system_info();
    let keys = |command: &str| -> Vec<String> {
        let report = json(&module.good(command));
        report.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys("system_info"), ["load", "memory", "disks", "uptime"]);
    assert_eq!(
        keys("system_info {}"),
        ["load", "memory", "disks", "uptime"]
    );
    assert_eq!(
        keys(r#"system_info {"parts": ["uptime", "load"]}"#),
        ["uptime", "load"]
    );
}

#[test]
fn numbers_are_those_of_this_machine() {
    let module = system_info();
    assert!(json(&module.good("uptime"))["seconds"].as_f64().unwrap() > 0.0);
    assert!(json(&module.good("load"))["tasks"].as_u64().unwrap() > 0);
    let memory = json(&module.good("memory"));
    let bytes = |name: &str| memory[name].as_u64().unwrap();
    assert!(bytes("total_bytes") > bytes("free_bytes"));
    assert!(bytes("total_bytes") >= bytes("available_bytes"));
    let disks = json(&module.good("disks"));
    let root = disks
        .as_array()
        .unwrap()
        .iter()
        .find(|disk| disk["path"] == "/")
        .unwrap();
    let bytes = |name: &str| root[name].as_u64().unwrap();
    assert!(bytes("total_bytes") >= bytes("available_bytes"));
    assert!(bytes("total_bytes") > 0);
}

#[test]
fn errors_say_what_to_do() {
    let module = system_info();
    assert_eq!(module.bad("reboot"), "no command 'reboot': say help");
    assert!(
        module
            .bad(r#"system_info {"parts": ["disk"]}"#)
            .contains("`load`, `memory`, `disks`")
    );
    assert!(
        module
            .bad(r#"system_info {"part": []}"#)
            .contains("unknown field `part`")
    );
    assert!(
        module
            .bad("system_info load")
            .contains("the arguments: expected")
    );
}

#[test]
fn the_worker_may_stream_and_ask_for_health() {
    let module = system_info();
    let streamed = module.stream("system_info").unwrap();
    assert_eq!(streamed.code, 0);
    assert!(json(streamed.text())["memory"].is_object());
    let refused = module.stream("reboot").unwrap();
    assert_eq!(
        (refused.code, refused.text()),
        (1, "no command 'reboot': say help")
    );
    assert_eq!(module.health().unwrap().code, 0);
}
