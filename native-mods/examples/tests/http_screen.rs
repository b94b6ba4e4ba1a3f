//! `http_screen`, in C++.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::env;
use std::fs;

use fazai_module::{FILES, GROW};
use fazai_module_examples::{Loaded, ROOM, built};
use serde_json::{Value, json};

fn screen() -> Loaded {
    let signatures = built().join("http_screen.signatures");
    Loaded::copy_of(&built().join("http_screen.so"), &[&signatures])
}

fn bare() -> Loaded {
    Loaded::copy_of(&built().join("http_screen.so"), &[])
}

#[test]
fn it_asks_for_files() {
    screen().check_descriptor("http_screen", FILES, GROW);
}

/// A request, and the kinds of attack that it is.
const REQUESTS: &[(&str, &[&str])] = &[
    (
        "GET /index.html HTTP/1.1\r\nHost: example.org\r\nAccept: text/*, */*\r\n\r\n",
        &[],
    ),
    ("GET /search?q=student+union+elections+2026 HTTP/1.1", &[]),
    ("GET /docs/select-a-plan?from=home HTTP/1.1", &[]),
    (
        "POST /notes HTTP/1.1\r\n\r\ntitle=O'Brien+or+someone+else",
        &[],
    ),
    (
        "GET /?id=1+UNION+SELECT+name+FROM+users HTTP/1.1",
        &["sql_injection"],
    ),
    (
        "GET /?id=1%20union%0Aselect%201 HTTP/1.1",
        &["sql_injection"],
    ),
    (
        "GET /?id=1/**/UNION/*x*/SELECT/**/1 HTTP/1.1",
        &["sql_injection"],
    ),
    ("GET /?id=1/*!UNION SELECT*/1 HTTP/1.1", &["sql_injection"]),
    ("GET /?id=1'%20OR%20'1'='1 HTTP/1.1", &["sql_injection"]),
    ("GET /?f=../../etc/hosts HTTP/1.1", &["path_traversal"]),
    (
        "GET /?f=%2e%2e%2f%2e%2e%2fetc/hosts HTTP/1.1",
        &["path_traversal"],
    ),
    (
        "GET /?f=%252e%252e%252f%252e%252e%252fx HTTP/1.1",
        &["path_traversal"],
    ),
    ("GET /?q=<ScRiPt>alert(1)</script> HTTP/1.1", &["xss"]),
    (
        "GET /?q=%3Csvg%20id=a%20onload=alert(1)%3E HTTP/1.1",
        &["xss"],
    ),
    (
        "GET /?host=1.1.1.1;cat%20/etc/passwd HTTP/1.1",
        &["command_injection", "path_traversal"],
    ),
    (
        "GET / HTTP/1.1\r\nUser-Agent: () { :;}; /bin/sh -c id",
        &["command_injection"],
    ),
    (
        "GET / HTTP/1.1\r\nX-Id: ${jndi:ldap://x/a}",
        &["command_injection"],
    ),
    ("GET / HTTP/1.1\r\nUser-Agent: sqlmap/1.8", &["scanner"]),
];

#[test]
fn requests_and_their_kinds() {
    let screen = screen();
    for (request, kinds) in REQUESTS {
        let answer: Value =
            serde_json::from_str(&screen.good(&format!("screen {request}"))).unwrap();
        let matches = answer["matches"].as_array().unwrap();
        let mut found: Vec<_> = matches
            .iter()
            .map(|one| one["kind"].as_str().unwrap())
            .collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, *kinds, "{request}");
        let verdict = if kinds.is_empty() { "clean" } else { "attack" };
        assert_eq!(answer["verdict"], verdict, "{request}: {answer}");
    }
}

#[test]
fn the_strongest_signature_of_a_kind_counts() {
    let answer = screen().good("screen GET /?f=../../../../etc/passwd&u=<script> HTTP/1.1");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["score"], 10, "{answer}");
    assert_eq!(answer["matches"].as_array().unwrap().len(), 4, "{answer}");
    let hint = screen().good("screen GET /a/../b HTTP/1.1");
    assert_eq!(
        serde_json::from_str::<Value>(&hint).unwrap(),
        json!({"verdict": "suspicious", "score": 3, "matches":
            [{"kind": "path_traversal", "score": 3, "signature": "../"}]})
    );
}

#[test]
fn a_gap_has_a_limit_and_parts_an_order() {
    let path = env::temp_dir().join(format!("fazai-signatures-{}", std::process::id()));
    fs::write(&path, "# one\n\nkind 7 ab*cd*ef\r\n").unwrap();
    let screen = bare();
    let loaded = screen.good(&format!("load {}", path.display()));
    assert_eq!(loaded, format!("1 signatures from {}", path.display()));
    let check = |request: &str, expected: u32| {
        let answer: Value =
            serde_json::from_str(&screen.good(&format!("screen {request}"))).unwrap();
        assert_eq!(answer["score"], expected, "{request}");
    };
    check("abcdef", 7);
    check("xab-cd-efx", 7);
    check("cdabef", 0);
    check("abcd", 0);
    check("ab cd ab cd ef", 7);
    check(&format!("ab{}cdef", "x".repeat(48)), 7);
    check(&format!("ab{}cdef", "x".repeat(49)), 0);
    // The first `cd` is too far from `ef`, and only the second one will do.
    check(&format!("abcd{}cd{}ef", "x".repeat(20), "y".repeat(40)), 7);
    check(&"ab".repeat(50_000), 0);
    fs::remove_file(path).unwrap();
}

#[test]
fn without_signatures_it_says_what_to_do() {
    let screen = bare();
    for reason in [
        screen.bad("screen GET /"),
        screen.health().unwrap().text().to_owned(),
    ] {
        assert!(
            reason.contains("no signatures are loaded: cannot open"),
            "{reason}"
        );
        assert!(reason.ends_with("say load PATH"), "{reason}");
    }
    let signatures = built().join("http_screen.signatures");
    let _ = screen.good(&format!("load {}", signatures.display()));
    assert_eq!(screen.health().unwrap().code, 0);
}

#[test]
fn files_that_are_none_change_nothing() {
    let path = env::temp_dir().join(format!("fazai-no-signatures-{}", std::process::id()));
    let screen = screen();
    let before = screen.good("check_signatures");
    let check = |text: &str, part: &str| {
        fs::write(&path, text).unwrap();
        let reason = screen.bad(&format!("load {}", path.display()));
        assert!(reason.contains(part), "{text:?}: {reason}");
    };
    check("", "there are no signatures");
    check("# nothing\n", "there are no signatures");
    check("kind 5 ok\nkind\n", "line 2: a line is KIND SCORE PATTERN");
    check("kind 5", "a line is KIND SCORE PATTERN");
    check(" 5 x", "a line is KIND SCORE PATTERN");
    check("kind five x", "a score is 1 to 100, not 'five'");
    check("kind 0 x", "a score is 1 to 100, not '0'");
    check("kind 101 x", "a score is 1 to 100");
    check("kind 99999999999999999999 x", "a score is 1 to 100");
    check("Kind 5 x", "a kind is of a-z and _");
    check("kind 5 SELECT", "a pattern is in lower case");
    for pattern in ["*", "*a", "a*", "a**b", ""] {
        check(&format!("kind 5 {pattern}"), "text on both sides of a *");
    }
    check(&format!("kind 5 {}", "x".repeat(600)), "at most 512 bytes");
    check(&"kind 5 x\n".repeat(4097), "at most 4096 signatures");
    fs::remove_file(&path).unwrap();
    assert!(
        screen
            .bad("load /nowhere")
            .contains("cannot open '/nowhere'")
    );
    assert!(screen.bad("load /").contains("'/'"));
    assert_eq!(screen.good("check_signatures"), before);
}

#[test]
fn commands_and_requests_that_are_wrong() {
    let screen = screen();
    assert_eq!(screen.bad("scan x"), "no command 'scan': say help");
    assert!(screen.bad("screen").contains("there is no request"));
    let long = "x".repeat(300 * 1024);
    assert!(
        screen
            .bad(&format!("screen {long}"))
            .contains("307200 bytes and 262144 are allowed")
    );
    assert!(screen.bad(&long).len() < ROOM / 8);
    // Bytes that end in the middle of an escape or a comment.
    for request in ["%", "%4", "%zz", "/*", "/*/", "*/", "+", "%2", "%25"] {
        let answer = screen.good(&format!("screen {request}"));
        assert!(answer.contains("clean"), "{request}: {answer}");
    }
}
