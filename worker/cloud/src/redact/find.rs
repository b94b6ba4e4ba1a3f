//! Where in a text secrets are.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::Kind;

/// Patterns whose first group, or whole if there is none, is a key, a token or a password.
const KEYS: &[&str] = &[
    r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
    r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
    r"\bsk-[\w-]{16,}",
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\bAIza[\w-]{30,}",
    r"\b(?:ghp|gho|ghs|ghu|ghr)_\w{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w-]{16,}",
    r"\bxox[abeoprs]-[\w-]{10,}",
    r"\bgsk_\w{20,}|\bhf_\w{20,}|\b[rs]k_live_\w{16,}",
    r"(?i)\b(?:bearer|basic)\s+([\w.~+/-]{8,}=*)",
    r"\b[a-z][a-z0-9+.-]*://[^\s/:@]*:([^\s/@]+)@",
    r#"(?i)\b(?:[\w-]*(?:password|passwd|secret|api[_-]?key|access[_-]?key|auth[_-]?token))["']?\s*[=:]\s*["']?([^\s"',;]{4,})"#,
];

static KEY_PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| patterns(KEYS));
static EMAIL: LazyLock<Vec<Regex>> =
    LazyLock::new(|| patterns(&[r"\b[\w.%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+\b"]));
/// What may be an address; whether it is one says the parser.
static ADDRESS: LazyLock<Vec<Regex>> =
    LazyLock::new(|| patterns(&[r"[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*|\d+(?:\.\d+){3}"]));

#[expect(clippy::expect_used, reason = "they are constants, and tested")]
fn patterns(texts: &[&str]) -> Vec<Regex> {
    let compiled = texts.iter().map(|text| Regex::new(text));
    compiled
        .map(|pattern| pattern.expect("a pattern"))
        .collect()
}

/// Finds secrets.
#[derive(Debug)]
pub(super) struct Finder {
    hosts: Option<Regex>,
    users: Option<Regex>,
    custom: Vec<Regex>,
}

impl Finder {
    pub(super) fn new(hosts: &[String], users: &[String], custom: Vec<Regex>) -> Self {
        Self {
            hosts: words(hosts),
            users: words(users),
            custom,
        }
    }

    /// The secrets of a text in their order. Where two overlap, the one counts that begins first,
    /// and of these the longer one.
    pub(super) fn find(&self, text: &str) -> Vec<(Range<usize>, Kind)> {
        let mut found = Vec::new();
        let mut add = |patterns: &[Regex], kind: Kind| {
            for pattern in patterns {
                let matches = pattern.captures_iter(text);
                let ranges = matches.filter_map(|m| m.get(1).or(m.get(0)).map(|m| m.range()));
                found.extend(ranges.map(|range| (range, kind)));
            }
        };
        add(&KEY_PATTERNS, Kind::Key);
        add(&self.custom, Kind::Custom);
        add(&EMAIL, Kind::Email);
        add(self.hosts.as_slice(), Kind::Host);
        add(self.users.as_slice(), Kind::User);
        for pattern in ADDRESS.iter() {
            let ranges = pattern
                .find_iter(text)
                .filter_map(|m| address(text, m.range()));
            found.extend(ranges.map(|range| (range, Kind::Ip)));
        }
        found.sort_by_key(|(range, kind)| (range.start, std::cmp::Reverse(range.end), *kind));
        let mut end = 0;
        found.retain(|(range, _)| {
            let free = range.start >= end && !range.is_empty();
            if free {
                end = range.end;
            }
            free
        });
        found
    }
}

/// The part of a candidate that is an address of another machine.
fn address(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    // The end of a sentence, or a port with nothing before it, is no part of it.
    let trimmed = text[range.clone()].trim_end_matches(['.', ':']);
    let candidate = match &text[range.clone()] {
        // `::` may be the end of an address.
        whole if whole.ends_with("::") => whole,
        _ => trimmed,
    };
    let range = range.start..range.start + candidate.len();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let before = text[..range.start].chars().next_back();
    let after = text[range.end..].chars().next();
    if before.is_some_and(word) || after.is_some_and(word) {
        return None;
    }
    let address: IpAddr = candidate.parse().ok()?;
    (!address.is_loopback() && !address.is_unspecified()).then_some(range)
}

/// A pattern for any of these words, whole.
fn words(names: &[String]) -> Option<Regex> {
    let mut names: Vec<&String> = names.iter().filter(|name| name.len() >= 2).collect();
    // The longer name before the one that it begins with.
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let escaped: Vec<String> = names.iter().map(|name| regex::escape(name)).collect();
    let any = escaped.join("|");
    (!any.is_empty())
        .then(|| Regex::new(&format!(r"(?i)\b(?:{any})\b")).ok())
        .flatten()
}
