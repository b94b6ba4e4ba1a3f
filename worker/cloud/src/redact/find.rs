//! Where in a text secrets are.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::{Kind, numbers, spoken};

/// Patterns whose group, or whole if there is none, is a key, a token or a password.
const KEYS: &[&str] = &[
    r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
    r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
    r"\bsk-[\w-]{16,}",
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\bAIza[\w-]{30,}",
    r"\b(?:ghp|gho|ghs|ghu|ghr)_\w{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w-]{16,}",
    r"\bxox[abeoprs]-[\w-]{10,}|\bhooks\.slack\.com/(?:services|workflows|triggers)/([\w/+-]+)",
    r"\bgsk_\w{20,}|\bhf_\w{20,}|\b[rs]k_live_\w{16,}|\bnpm_\w{10,}|\bdckr_pat_[\w-]{10,}",
    r"\bhv[bsr]\.[\w-]{10,}|\bSG\.[\w.-]{16,}|\bpypi-[\w-]{16,}|(?i:\bAGE-SECRET-KEY-\w{10,})",
    r"\$(?:1|5|6|7|y|gy|2[abxy]|apr1|sha1|argon2(?:id|i|d))\$[\w./$=,+-]{8,}",
    r"(?i)\b(?:bearer|basic)\s+([\w.~+/-]{8,}=*)",
    r#"(?i)\bauthorization\\?["']?\s*[:=]\s*\\?["']?(?:(?:token|api-?key|key|bearer|basic|negotiate)\s+([^\s"',;\\]+)|([^\s"',;\\]{12,}))"#,
    r#"(?i)\bcookie\\?["']?\s*:\s*\\?["']?([\w.-]+=[^\r\n"'\\]+)"#,
    r#"\bcurl\b[^\n]*?\s(?:-u|--user|--proxy-user)[ =]*["']?[^\s:"']*:([^\s"']+)"#,
    r"\b[a-z][a-z0-9+.-]*://[^\s/:@]*:([^\s/@]+)@",
    NAMED,
];

/// What follows a name such as `DB_PASSWORD`: in quotes, in quotes of a text in quotes, or bare.
const NAMED: &str = r#"(?ix)
    \b(?: [\w-]*(?: password | passwd | passphrase | pwd | token | secret(?:[_-]?key)?
                  | (?:api|access|account|private)[_-]?key )
        | (?:[\w-]*_)?pass )
    \\?["']? \s*[=:]\s*
    (?: \\["'] ([^"'\\\n]+) | " ((?:[^"\\\n]|\\.)+) | ' ([^'\n]+) | ([^\s"',;]{4,}) )"#;

static KEY_PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| patterns(KEYS));
static EMAIL: LazyLock<Vec<Regex>> =
    LazyLock::new(|| patterns(&[r"\b[\w.%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+\b"]));
/// What may be an address; whether it is one says the parser.
static ADDRESS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    patterns(&[
        r"[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*|\d+(?:\.\d+){3}",
        r"\d+(?:\.\d+){3}",
    ])
});

#[expect(clippy::expect_used, reason = "they are constants, and tested")]
pub(super) fn patterns(texts: &[&str]) -> Vec<Regex> {
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

    /// The secrets of a text in their order. Two that overlap are one, of the kind of the one that
    /// begins first, and of these the longer one.
    pub(super) fn find(&self, text: &str) -> Vec<(Range<usize>, Kind)> {
        let mut found = Vec::new();
        let mut add = |patterns: &[Regex], kind: Kind| {
            for pattern in patterns {
                let matches = pattern.captures_iter(text);
                let ranges = matches.filter_map(|m| {
                    let group = m.iter().skip(1).flatten().next();
                    group.or(m.get(0)).map(|m| m.range())
                });
                found.extend(ranges.map(|range| (range, kind)));
            }
        };
        add(&KEY_PATTERNS, Kind::Key);
        add(&self.custom, Kind::Custom);
        add(&EMAIL, Kind::Email);
        add(self.hosts.as_slice(), Kind::Host);
        add(self.users.as_slice(), Kind::User);
        if let [any, v4] = ADDRESS.as_slice() {
            let candidates = any.find_iter(text);
            let ranges = candidates.flat_map(|m| addresses(text, m.range(), v4));
            found.extend(ranges.map(|range| (range, Kind::Ip)));
        }
        found.extend(spoken::passwords(text).map(|range| (range, Kind::Key)));
        found.extend(numbers::cards(text).map(|range| (range, Kind::Card)));
        found.extend(numbers::accounts(text).map(|range| (range, Kind::Iban)));
        found.retain(|(range, _)| !range.is_empty());
        found.sort_by_key(|(range, kind)| (range.start, std::cmp::Reverse(range.end), *kind));
        found.dedup_by(|(later, _), (range, _)| {
            let overlap = later.start < range.end;
            if overlap {
                range.end = range.end.max(later.end);
            }
            overlap
        });
        found
    }
}

/// The parts of a candidate that are addresses of other machines.
fn addresses(text: &str, range: Range<usize>, v4: &Regex) -> Vec<Range<usize>> {
    if let Some((range, address)) = address(text, range.clone()) {
        return Vec::from_iter(is_other(address).then_some(range));
    }
    let part = &text[range.clone()];
    let within = |m: regex::Match| range.start + m.start()..range.start + m.end();
    let parts = v4
        .find_iter(part)
        .filter_map(|m| address(text, within(m)))
        .filter(|(_, address)| is_other(*address));
    let parts: Vec<_> = parts.map(|(range, _)| range).collect();
    if !parts.is_empty() {
        return parts;
    }
    // A name or a port before it ends with one colon; two are a part of something else.
    let colons = part.match_indices(':').map(|(at, _)| at);
    let begins = colons.filter(|at| !part[..*at].ends_with(':'));
    begins
        .take(SEGMENTS_MAX)
        .filter_map(|at| address(text, range.start + at + 1..range.end))
        .find(|(_, address)| is_other(*address))
        .map(|(range, _)| range)
        .into_iter()
        .collect()
}

/// No address has more parts.
const SEGMENTS_MAX: usize = 8;

fn is_other(address: IpAddr) -> bool {
    !address.is_loopback() && !address.is_unspecified()
}

/// A candidate that is an address, without what follows it.
fn address(text: &str, range: Range<usize>) -> Option<(Range<usize>, IpAddr)> {
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
    Some((range, candidate.parse().ok()?))
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
