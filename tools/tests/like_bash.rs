//! Words are what bash makes of them: random quoting, given to both.
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

use std::process::Command;

use fazai_tools::{Script, Word};
use proptest::prelude::*;
use proptest::sample::select;

/// Nothing here can make bash run or open anything, whatever the quotes around it are.
const PIECES: &[&str] = &[
    "a", "b", " ", "  ", "'", "'", "\"", "\"", "\\", "$'", "\\x61", "\\141", "\\n", "\\'", "\\\"",
    "\\\\", "\\\n", "\t", "#", " #", "=", "a=b", "-", "é", "%", ",", ".", ":", "@", "+", "/", "!",
    "^", "]",
];

/// The arguments that bash gives to a program; `None` if it finds the text wrong.
fn bash(text: &str) -> Option<Vec<String>> {
    let script = format!("printf '%s\\0' args {text}");
    let output = Command::new("bash")
        .args(["--norc", "-c", &script])
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("bash");
    if !output.status.success() || !output.stderr.is_empty() {
        return None;
    }
    let stdout = String::from_utf8(output.stdout).ok()?;
    Some(
        stdout
            .trim_end_matches('\0')
            .split('\0')
            .skip(1)
            .map(str::to_owned)
            .collect(),
    )
}

/// The same as this crate has it; `None` if it does not vouch for it.
fn ours(text: &str) -> Option<Vec<String>> {
    let script = Script::parse(&format!("args {text}")).ok()?;
    let [command] = script.commands.as_slice() else {
        return None;
    };
    if !script.opaque.is_empty() {
        return None;
    }
    command
        .args
        .iter()
        .map(|arg| arg.literal().map(str::to_owned))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_understood_is_what_bash_does(pieces in prop::collection::vec(select(PIECES), 0..12)) {
        let text = pieces.concat();
        if let Some(ours) = ours(&text) {
            prop_assert_eq!(Some(ours), bash(&text), "{:?}", text);
        }
    }
}

#[test]
fn the_comparison_compares() {
    assert_eq!(ours("a 'b c'\\ d"), Some(vec!["a".into(), "b c d".into()]));
    assert_eq!(bash("a 'b c'\\ d"), ours("a 'b c'\\ d"));
    assert_eq!(ours("'"), None);
    assert!(matches!(Word::Literal("x".into()).literal(), Some("x")));
}
