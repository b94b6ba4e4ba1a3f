//! What holds for every command, tried on random ones.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use fazai_tools::{Action, Caller, Policy, READY_PROFILES, Script, User, Verdict};
use jiff::civil::date;
use proptest::prelude::*;
use proptest::sample::select;

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::ready("restricted"));

/// Commands that no profile allows.
const BLOCKED: &[&str] = &[
    "rm -rf /",
    "mkfs.ext4 /dev/sda",
    "dd if=/dev/zero of=/dev/sda",
    "chmod -R 777 /",
    "kill -9 -1",
    "mv /etc /tmp/x",
    "insmod x.ko",
    "wipefs -a /dev/sda",
    "tee /etc/shadow",
    "find / -delete",
    "systemctl stop auditd",
    "crontab -r",
];

/// Programs that run what comes after them.
const BEFORE: &[&str] = &[
    "sudo",
    "sudo -n -u root",
    "doas",
    "env",
    "env A=1",
    "env -i",
    "nohup",
    "nice",
    "nice -n 5",
    "ionice -c 3",
    "timeout 5",
    "timeout -s KILL 5",
    "setsid",
    "stdbuf -oL",
    "command",
    "builtin",
    "exec",
    "time",
    "busybox",
    "xargs",
    "xargs -n 1",
    "find . -exec",
    "chroot /mnt",
    "nsenter -t 1 -m",
    "unshare -r",
    "systemd-run",
    "flock /tmp/l",
    "watch",
    "ssh host",
    "parallel",
    "strace -f",
    "!",
    "a=1",
    "if",
    "true &&",
    "false ||",
    "ls |",
    "ls ;",
];

/// How one word may be written.
#[derive(Debug, Clone, Copy)]
enum Quoting {
    Plain,
    Single,
    Double,
    Backslash,
    AnsiC,
    Split,
}

impl Quoting {
    fn word(self, word: &str) -> String {
        match self {
            Self::Plain => word.into(),
            Self::Single => format!("'{word}'"),
            Self::Double => format!("\"{word}\""),
            Self::Backslash => word.chars().flat_map(|c| ['\\', c]).collect(),
            Self::AnsiC => {
                word.bytes()
                    .fold("$'".to_owned(), |text, byte| format!("{text}\\x{byte:02x}"))
                    + "'"
            }
            Self::Split => word
                .chars()
                .fold(String::new(), |text, c| format!("{text}{c}''")),
        }
    }
}

fn quoting() -> impl Strategy<Value = Quoting> {
    select(
        &[
            Quoting::Plain,
            Quoting::Single,
            Quoting::Double,
            Quoting::Backslash,
            Quoting::AnsiC,
            Quoting::Split,
        ][..],
    )
}

/// Around a whole command text.
fn around(kind: u8, text: &str) -> String {
    let quoted = text.replace('\'', r"'\''");
    match kind {
        0 => text.into(),
        1 => format!("bash -c '{quoted}'"),
        2 => format!("( {text} )"),
        3 => format!("{{ {text}; }}"),
        4 => format!("echo $( {text} )"),
        5 => format!("f() {{ {text}; }}; f"),
        6 => format!("echo '{quoted}' | sh"),
        7 => format!("eval '{quoted}'"),
        8 => format!("cat <( {text} )"),
        9 => format!("sudo sh -c '{quoted}'"),
        10 => format!("sh <<'E'\n{text}\nE\n"),
        11 => format!("while true; do {text}; done"),
        12 => format!("echo \"$( {text} )\""),
        13 => format!("su root -c '{quoted}'"),
        _ => format!("x=$( {text} )"),
    }
}

fn wrapped() -> impl Strategy<Value = String> {
    let words = select(BLOCKED).prop_flat_map(|command| {
        let words: Vec<&str> = command.split(' ').collect();
        let count = words.len();
        (Just(words), prop::collection::vec(quoting(), count))
    });
    let command = words.prop_map(|(words, quotings)| {
        let words = words
            .iter()
            .zip(quotings)
            .map(|(word, quoting)| quoting.word(word));
        words.collect::<Vec<_>>().join(" ")
    });
    (
        command,
        prop::collection::vec(select(BEFORE), 0..4),
        prop::collection::vec(0_u8..15, 0..3),
    )
        .prop_map(|(command, before, kinds)| {
            let text = before
                .iter()
                .rev()
                .fold(command, |text, before| format!("{before} {text}"));
            kinds
                .into_iter()
                .fold(text, |text, kind| around(kind, &text))
        })
}

/// Texts that look like shell more often than not.
fn shellish() -> impl Strategy<Value = String> {
    let pieces = select(
        &[
            "rm",
            "-rf",
            "/",
            " ",
            " ",
            ";",
            "|",
            "&",
            "&&",
            "(",
            ")",
            "{",
            "}",
            "$(",
            "`",
            "\"",
            "'",
            "$'",
            "\\",
            "$",
            "${",
            "$((",
            "))",
            "<",
            ">",
            "<<",
            "<<<",
            "<(",
            "\n",
            "E",
            "if",
            "then",
            "fi",
            "for",
            "in",
            "do",
            "done",
            "case",
            "esac",
            "[[",
            "]]",
            "[",
            "]",
            "=",
            "a",
            "*",
            "?",
            "~",
            "#",
            "!",
            "x=",
            "sudo",
            "xargs",
            "find",
            "-exec",
            "sh",
            "-c",
            "env",
            "-S",
            "é",
            "\u{202e}",
            "\u{0}",
            "\t",
            "1",
            "99999999999999999999",
            "..",
            ",",
            "@",
            "%",
            ":",
            "+",
            "-",
            "function",
            "time",
            "((",
        ][..],
    );
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

/// So many cases, or as many as `PROPTEST_CASES` says.
fn config(cases: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if asked { usual.cases } else { cases },
        failure_persistence: None,
        ..usual
    }
}

fn verdicts(text: &str) -> [Verdict; 4] {
    let caller = Caller::User(User {
        uid: 1000,
        groups: vec![1000],
        name: "anna".into(),
    });
    let now = date(2026, 6, 1).at(12, 0, 0, 0);
    READY_PROFILES.map(|profile| {
        let action = Action::shell(text, "/home/anna");
        POLICY.decide_as(profile, &caller, &action, now).verdict
    })
}

/// A line of one of the lists that is words alone.
fn line_of_words() -> impl Strategy<Value = Vec<&'static str>> {
    let lines = include_str!("dangerous.txt")
        .lines()
        .chain(include_str!("harmless.txt").lines());
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=@:+, ".contains(c);
    let grammar = [
        "if", "for", "while", "until", "time", "case", "select", "function", "coproc",
    ];
    let lines: Vec<Vec<&str>> = lines
        .filter(|line| line.chars().all(plain))
        .map(|line| line.split_whitespace().collect())
        .filter(|words: &Vec<&str>| !words.iter().any(|word| grammar.contains(word)))
        // An assignment in quotes is a program.
        .filter(|words| words.first().is_some_and(|word| !word.contains('=')))
        .collect();
    select(lines)
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn the_parser_never_fails_otherwise(text in shellish()) {
        let start = Instant::now();
        let _ = Script::parse(&text);
        prop_assert!(start.elapsed() < Duration::from_secs(5), "slow: {text:?}");
    }

    #[test]
    fn no_bytes_make_it_panic(text in any::<String>()) {
        let _ = Script::parse(&text);
    }

    #[test]
    fn no_wrapper_opens_what_is_blocked(text in wrapped()) {
        let caller = Caller::User(User { uid: 0, groups: vec![0], name: "root".into() });
        for profile in READY_PROFILES {
            let now = date(2026, 6, 1).at(12, 0, 0, 0);
            let decision = POLICY.decide_as(profile, &caller, &Action::shell(text.clone(), "/home/anna"), now);
            prop_assert_ne!(decision.verdict, Verdict::Allow, "{} under {}: {:?}", text, profile, decision);
        }
    }
}

/// A dangerous line that is words alone, which may stand behind a program that runs it.
fn dangerous_words() -> impl Strategy<Value = String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@:+, ".contains(c);
    let lines = include_str!("dangerous.txt").lines();
    let lines: Vec<&str> = lines
        .filter(|line| !line.is_empty() && line.chars().all(plain))
        .collect();
    select(lines).prop_map(str::to_owned)
}

/// Ways to run a line that no profile may take for something else.
fn run_by(kind: u8, line: &str) -> String {
    match kind {
        0 => format!("env A=1 {line}"),
        1 => format!("nice {line}"),
        2 => format!("timeout 5 {line}"),
        3 => format!("sh -c '{line}'"),
        4 => format!("xargs {line}"),
        5 => format!("find . -exec {line} \\;"),
        6 => format!("sudo -n {line}"),
        7 => format!("nohup stdbuf -oL {line}"),
        8 => format!("ls | xargs -n 1 {line}"),
        _ => format!("find . -exec sh -c '{line}' \\;"),
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn no_wrapper_opens_what_is_dangerous(
        harmless in select(include_str!("harmless.txt").lines().collect::<Vec<_>>()),
        dangerous in dangerous_words(),
        kind in 0_u8..10,
    ) {
        let wrapped = run_by(kind, &dangerous);
        for text in [wrapped.clone(), format!("{harmless}\n{wrapped}")] {
            let verdicts = verdicts(&text);
            prop_assert!(!verdicts.contains(&Verdict::Allow), "{text:?}: {verdicts:?}");
        }
    }

    #[test]
    fn every_text_is_judged_soon(text in shellish()) {
        let start = Instant::now();
        let _ = verdicts(&text);
        prop_assert!(start.elapsed() < Duration::from_secs(5), "slow: {text:?}");
    }

    #[test]
    fn quotes_make_no_verdict_laxer(words in line_of_words(), at in any::<prop::sample::Index>(), how in quoting()) {
        let at = at.index(words.len());
        let quoted = words.iter().enumerate().map(|(place, word)| {
            if place == at { how.word(word) } else { (*word).to_owned() }
        });
        let (plain, quoted) = (words.join(" "), quoted.collect::<Vec<_>>().join(" "));
        for (before, after) in verdicts(&plain).into_iter().zip(verdicts(&quoted)) {
            prop_assert!(after >= before, "{plain:?} {before}, {quoted:?} {after}");
        }
    }

    #[test]
    fn any_text_is_a_policy_or_an_error(text in any::<String>(), cut in any::<prop::sample::Index>()) {
        let _ = Policy::parse(&text);
        let ready = include_str!("../profiles/elevated.toml");
        let cut = ready.floor_char_boundary(cut.index(ready.len()));
        let _ = Policy::parse(&format!("{}{text}{}", &ready[..cut], &ready[cut..]));
    }
}
