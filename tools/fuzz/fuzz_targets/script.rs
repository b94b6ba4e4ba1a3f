//! Any text as a command: it is understood or refused, and judged by every profile, without a
//! panic and within a second; and quotes around a plain word make no verdict laxer.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use fazai_tools::{
    Action, Caller, Policy, READY_PROFILES, Script, User, Verdict, blocked, files_of,
};
use jiff::civil::date;
use libfuzzer_sys::fuzz_target;

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::ready("standard"));

const DIRECTORY: &str = "/home/anna";
const TIME_MAX: Duration = Duration::from_secs(1);

/// What the four profiles say of a text.
fn verdicts(text: &str) -> [Verdict; 4] {
    let caller = Caller::User(User {
        uid: 1000,
        groups: vec![1000],
        name: "anna".into(),
    });
    let noon = date(2026, 6, 1).at(12, 0, 0, 0);
    READY_PROFILES.map(|profile| {
        let action = Action::shell(text, DIRECTORY);
        POLICY.decide_as(profile, &caller, &action, noon).verdict
    })
}

/// A text of plain words only, with quotes around one of them. The words of the grammar are left
/// out, which quotes turn into others.
fn quoted(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._- ".contains(c);
    let grammar = |word: &str| {
        matches!(
            word,
            "if" | "then" | "elif" | "else" | "fi" | "for" | "in" | "do" | "done" | "while" | "until"
                | "case" | "esac" | "select" | "function" | "time" | "coproc"
        )
    };
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let at = text.len().checked_rem(words.len())?;
    if !text.chars().all(plain) || words.iter().any(|word| grammar(word)) {
        return None;
    }
    let words = words.iter().enumerate().map(|(place, word)| match place == at {
        true => format!("'{word}'"),
        false => (*word).to_owned(),
    });
    Some(words.collect::<Vec<_>>().join(" "))
}

fuzz_target!(|text: &str| {
    let start = Instant::now();
    if let Ok(script) = Script::parse(text) {
        let _ = (blocked(&script, DIRECTORY), files_of(&script), script.plain_argv());
    }
    let plain = verdicts(text);
    assert!(start.elapsed() < TIME_MAX, "it took {:?}", start.elapsed());
    if let Some(quoted) = quoted(text) {
        for (plain, other) in plain.iter().zip(verdicts(&quoted)) {
            assert!(other >= *plain, "{quoted}: {other} instead of {plain}");
        }
    }
});
