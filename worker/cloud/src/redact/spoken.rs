//! Passwords where people write them: behind the options of commands, in pipes into `sudo`, and in
//! sentences. What comes behind such a word is often no password, so that each has its own idea of
//! what one looks like.

use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Match, Regex};

use super::find::patterns;

/// What may be a password in a command: in quotes or bare. A variable is none.
const VALUE: &str = r#"(?:"([^"\n]+)"|'([^'\n]+)'|([^\s"'$|;&<>-][^\s"'|;&<>]*))"#;

/// Behind these comes one, `VALUE` standing for it.
const COMMANDS: &[&str] = &[
    r"(?i)(?:^|\s)--?(?:[\w-]*[_-])?(?:password|passwd|passphrase|passwort|token|secret(?:-key)?|pass|(?:api|access|auth|account)-?key)[ \t]+VALUE",
    r"\bsshpass(?:\s+-(?:[vV]|P\s*\S+))*\s+-p\s*VALUE",
    // Without a space: otherwise it is asked for, and what follows is a database.
    r"\b(?:mysql|mariadb)[\w-]*(?:[ \t][^\n|;&]*?)?[ \t]-pVALUE",
    r"\bredis-cli\b[^\n|;&]*?\s(?:-a|--pass)\s+VALUE",
    r"\bldap(?:search|add|modify|delete|whoami|passwd)\b[^\n|;&]*?\s-w\s*VALUE",
    r"\b(?:smbclient|rpcclient|net|wmic)\b[^\n|;&]*?\s-U\s*[^\s%]+%VALUE",
    r"-pass(?:in|out)?\s+pass:VALUE",
    r"\b(?:echo|printf)\s+(?:-\w+\s+)*VALUE\s*\|\s*(?:sudo\s+(?:-\w+\s+)*-[A-Za-z]*S|(?:sudo\s+)?chpasswd\b|[^\n|;&]*--(?:password-)?stdin\b)",
    r"\bsudo\s+(?:-\w+\s+)*-[A-Za-z]*S\b[^\n|;]*<<<\s*VALUE",
];

/// A word for a password, a word that says that it comes now, and what comes.
const SAID: &str = r#"(?ix)
    \b(?: password | passwd | passphrase | passcode | pass\s?word | token | secret | api\s+key
        | senha | passwort | kennwort | contraseña | mot\s+de\s+passe )
    \s+ (?: (?P<is> is | was | é | era | ist | lautet | es | est ) \s+ )?
    (?: "(?P<double>[^"\n]+)" | '(?P<single>[^'\n]+)' | `(?P<back>[^`\n]+)` | (?P<bare>[^\s"'`$()\[\]<>/|;=,-][^\s"'`()\[\]<>/|;=,]*) )"#;

/// What is said of passwords, and is none.
const ABOUT: &[&str] = &[
    "a",
    "about",
    "accepted",
    "allowed",
    "also",
    "always",
    "an",
    "asked",
    "at",
    "bad",
    "blank",
    "by",
    "cached",
    "changed",
    "checked",
    "compromised",
    "correct",
    "default",
    "denied",
    "different",
    "disabled",
    "displayed",
    "empty",
    "enabled",
    "encrypted",
    "expired",
    "expiring",
    "for",
    "from",
    "generated",
    "given",
    "good",
    "hashed",
    "here",
    "hidden",
    "in",
    "incorrect",
    "invalid",
    "it",
    "kept",
    "leaked",
    "locked",
    "long",
    "lost",
    "mandatory",
    "missing",
    "my",
    "needed",
    "never",
    "new",
    "no",
    "not",
    "now",
    "null",
    "of",
    "ok",
    "okay",
    "old",
    "on",
    "only",
    "optional",
    "out",
    "plain",
    "printed",
    "provided",
    "public",
    "random",
    "read",
    "rejected",
    "required",
    "reset",
    "revoked",
    "right",
    "rotated",
    "safe",
    "same",
    "saved",
    "secure",
    "sent",
    "set",
    "short",
    "shown",
    "still",
    "stored",
    "strong",
    "supplied",
    "taken",
    "that",
    "the",
    "there",
    "to",
    "too",
    "unknown",
    "unset",
    "unused",
    "used",
    "valid",
    "visible",
    "weak",
    "what",
    "where",
    "within",
    "without",
    "written",
    "wrong",
    "yes",
    "your",
    "obrigatória",
    "errada",
    "inválida",
    "falsch",
    "ungültig",
    "incorrecta",
];

/// A shorter word behind `password` alone says something about it.
const BARE_CHARS_MIN: usize = 6;

static IN_COMMANDS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let whole: Vec<String> = (COMMANDS.iter())
        .map(|command| command.replace("VALUE", VALUE))
        .collect();
    patterns(&whole.iter().map(String::as_str).collect::<Vec<_>>())
});
static IN_SENTENCES: LazyLock<Vec<Regex>> = LazyLock::new(|| patterns(&[SAID]));

/// Where passwords are.
pub(super) fn passwords(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let commands = IN_COMMANDS.iter();
    let commands = commands.flat_map(|pattern| {
        pattern
            .captures_iter(text)
            .filter_map(|found| value(&found))
    });
    let sentences = IN_SENTENCES.iter();
    let sentences =
        sentences.flat_map(|pattern| pattern.captures_iter(text).filter_map(|found| said(&found)));
    commands.chain(sentences)
}

fn value(found: &Captures<'_>) -> Option<Range<usize>> {
    let value = found.iter().skip(1).flatten().next()?;
    (!value.as_str().starts_with('$')).then(|| value.range())
}

fn said(found: &Captures<'_>) -> Option<Range<usize>> {
    let group = |name| found.name(name);
    let quoted = group("double").or(group("single")).or(group("back"));
    let is = group("is").is_some();
    if let Some(quoted) = quoted {
        return (is && !quoted.as_str().starts_with('$')).then(|| quoted.range());
    }
    let bare = group("bare")?;
    // The end of the sentence is no part of it.
    let word = bare.as_str().trim_end_matches(['.', ':', '!', '?']);
    let fits = match is {
        true => !word.is_empty() && !ABOUT.contains(&word.to_lowercase().as_str()),
        false => looks_made(word),
    };
    fits.then(|| range(&bare, word))
}

fn range(found: &Match<'_>, word: &str) -> Range<usize> {
    found.start()..found.start() + word.len()
}

/// Letters with digits among them: no word of a language, and no version or time.
fn looks_made(word: &str) -> bool {
    let has = |fits: fn(char) -> bool| word.chars().any(fits);
    word.chars().count() >= BARE_CHARS_MIN
        && has(|c| c.is_ascii_digit())
        && has(char::is_alphabetic)
        && !has(|c| c == '.' || c == ':')
}
