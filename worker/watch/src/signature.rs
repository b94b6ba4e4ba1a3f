//! Patterns of attacks in requests: words by Aho-Corasick, confirmed by regular expressions.
//!
//! A file is TOML:
//!
//! ```toml
//! [[signature]]
//! id = "sql-injection"
//! category = "exploit"
//! severity = "medium"          # of an attempt
//! severity_if_2xx = "high"     # when the server answered with success
//! any = ["union select", "' or 1=1"]
//! regex = "union\\s+(all\\s+)?select"  # optional: must match as well
//! in = ["url", "agent"]        # default: url, referrer, agent
//! ```

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;

use crate::event::{Category, Http, Severity};

/// The signatures that come with the crate.
pub const BUILT_IN: &str = include_str!("signatures.toml");

/// Most signatures of a file.
pub const SIGNATURES_MAX: usize = 10_000;

/// Longest word of a signature, in bytes.
const WORD_BYTES_MAX: usize = 256;

/// Longer fields are searched up to here.
const FIELD_BYTES_MAX: usize = 8 << 10;

/// How often percent signs are taken for escapes: attackers encode twice.
const DECODINGS_MAX: usize = 2;

/// Memory for a compiled expression, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// It is not the TOML that is described above.
    #[error("the signatures can't be read: {0}")]
    Toml(#[from] toml::de::Error),
    /// An entry is wrong.
    #[error("signature `{id}`: {why}")]
    Entry {
        /// Which one.
        id: String,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// There are too many.
    #[error("a file has at most {SIGNATURES_MAX} signatures; split off what is not needed here")]
    Many,
}

/// A field of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Field {
    /// Path and query.
    Url,
    /// Where the client says to come from.
    Referrer,
    /// Who the client says to be.
    Agent,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    signature: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    category: Category,
    severity: Severity,
    category_if_2xx: Option<Category>,
    severity_if_2xx: Option<Severity>,
    any: Vec<String>,
    regex: Option<String>,
    #[serde(default, rename = "in")]
    fields: Vec<Field>,
}

/// Signatures, ready to be looked for. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Signatures {
    automaton: AhoCorasick,
    /// For each word, whose it is.
    of_word: Vec<usize>,
    entries: Vec<Signature>,
}

#[derive(Debug, Clone)]
struct Signature {
    id: String,
    attempt: (Severity, Category),
    success: (Severity, Category),
    regex: Option<Regex>,
    fields: BTreeSet<Field>,
}

/// A signature that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match<'s> {
    /// Its name.
    pub id: &'s str,
    /// How bad it is, given how the server answered.
    pub severity: Severity,
    /// What it is about.
    pub category: Category,
}

impl Signatures {
    /// Reads a file's text.
    pub fn of_toml(text: &str) -> Result<Self, SignatureError> {
        let file: File = toml::from_str(text)?;
        if file.signature.len() > SIGNATURES_MAX {
            return Err(SignatureError::Many);
        }
        let mut words = Vec::new();
        let mut of_word = Vec::new();
        let mut entries = Vec::new();
        for entry in file.signature {
            let wrong = |why: String| SignatureError::Entry {
                id: entry.id.clone(),
                why,
            };
            if entry.any.is_empty() {
                return Err(wrong("`any` needs at least one word".to_owned()));
            }
            for word in &entry.any {
                if !(2..=WORD_BYTES_MAX).contains(&word.len()) {
                    return Err(wrong(format!(
                        "a word has 2 to {WORD_BYTES_MAX} bytes, not {word:?}"
                    )));
                }
                words.push(word.clone());
                of_word.push(entries.len());
            }
            let regex = entry.regex.as_deref().map(|regex| {
                RegexBuilder::new(regex)
                    .case_insensitive(true)
                    .size_limit(REGEX_BYTES_MAX)
                    .build()
            });
            let regex = regex
                .transpose()
                .map_err(|fault| wrong(fault.to_string()))?;
            let attempt = (entry.severity, entry.category);
            entries.push(Signature {
                success: (
                    entry.severity_if_2xx.unwrap_or(attempt.0),
                    entry.category_if_2xx.unwrap_or(attempt.1),
                ),
                attempt,
                regex,
                fields: match &*entry.fields {
                    [] => [Field::Url, Field::Referrer, Field::Agent].into(),
                    fields => fields.iter().copied().collect(),
                },
                id: entry.id,
            });
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(&words);
        let automaton = automaton.map_err(|fault| SignatureError::Entry {
            id: "all".to_owned(),
            why: fault.to_string(),
        })?;
        Ok(Self {
            automaton,
            of_word,
            entries,
        })
    }

    /// The worst signature that matches a request.
    #[must_use]
    pub fn find(&self, http: &Http<'_>) -> Option<Match<'_>> {
        let fields = [
            (Field::Url, &http.url),
            (Field::Referrer, &http.referrer),
            (Field::Agent, &http.agent),
        ];
        let success = (200..300).contains(&http.status);
        let mut worst: Option<Match<'_>> = None;
        for (field, text) in fields {
            let text = limited(text);
            let mut text = Cow::Borrowed(text);
            for _ in 0..=DECODINGS_MAX {
                self.look(field, &text, success, &mut worst);
                match decoded(&text) {
                    Some(plain) => text = Cow::Owned(plain),
                    None => break,
                }
            }
        }
        worst
    }

    fn look<'s>(&'s self, field: Field, text: &str, success: bool, worst: &mut Option<Match<'s>>) {
        // A text can be full of an entry's words; its expression is tried once.
        let mut tried = BTreeSet::new();
        for found in self.automaton.find_overlapping_iter(text) {
            let at = self.of_word[found.pattern().as_usize()];
            let entry = &self.entries[at];
            let (severity, category) = if success {
                entry.success
            } else {
                entry.attempt
            };
            if worst.is_some_and(|worst| worst.severity >= severity)
                || !entry.fields.contains(&field)
                || !tried.insert(at)
                || entry
                    .regex
                    .as_ref()
                    .is_some_and(|regex| !regex.is_match(text))
            {
                continue;
            }
            *worst = Some(Match {
                id: &entry.id,
                severity,
                category,
            });
        }
    }
}

impl Default for Signatures {
    fn default() -> Self {
        static BUILT: LazyLock<Signatures> = LazyLock::new(|| {
            Signatures::of_toml(BUILT_IN)
                .unwrap_or_else(|fault| unreachable!("a test reads them: {fault}"))
        });
        BUILT.clone()
    }
}

fn limited(text: &str) -> &str {
    let mut end = text.len().min(FIELD_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Without one layer of percent signs and plus signs; `None` if there is nothing to decode.
fn decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    memchr::memchr2(b'%', b'+', bytes)?;
    let hex = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                plain.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 3;
            }
            (byte, ..) => {
                plain.push(if byte == b'+' { b' ' } else { byte });
                at += 1;
            }
        }
    }
    (plain != bytes).then(|| String::from_utf8_lossy(&plain).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, status: u16, expected: Option<(&str, Severity)>) {
        let signatures = Signatures::default();
        let http = Http {
            url: url.into(),
            status,
            ..Http::default()
        };
        let found = signatures
            .find(&http)
            .map(|found| (found.id, found.severity));
        assert_eq!(found, expected, "{url}");
    }

    #[test]
    fn attacks_are_found_in_any_dress() {
        use Severity::{High, Low, Medium};
        for (url, status, id, severity) in [
            ("/a?id=1' UNION SELECT 1,2--", 404, "sql-injection", Medium),
            (
                "/a?id=1%27%20union%20all%20select+1",
                200,
                "sql-injection",
                High,
            ),
            (
                "/a?id=1%2527%2520union%2520select%2520x",
                500,
                "sql-injection",
                Medium,
            ),
            ("/%2e%2e/%2e%2e/etc/passwd", 404, "path-traversal", Medium),
            ("/?x=${jndi:ldap://x}", 400, "log4shell", Medium),
            (
                "/?q=%3Cscript%3Ealert(1)",
                200,
                "cross-site-scripting",
                High,
            ),
            ("/.env", 404, "secret-file", Low),
            ("/.env", 200, "secret-file", High),
            ("/wp-login.php", 404, "known-weak-page", Low),
        ] {
            check(url, status, Some((id, severity)));
        }
        for url in [
            "/",
            "/union/select-committee",
            "/shop?item=100%25+off",
            "/environment",
            "/%",
            "/%zz",
            "/é%c3",
        ] {
            check(url, 200, None);
        }
    }

    /// A hundred thousand looks at eight thousand bytes would take minutes.
    #[test]
    fn words_without_an_attack_are_looked_at_once() {
        let url = " and ".repeat(FIELD_BYTES_MAX / 5 - 1);
        for _ in 0..300 {
            check(&url, 200, None);
        }
        check(
            &format!("{url}1=1"),
            200,
            Some(("sql-injection", Severity::High)),
        );
    }

    #[test]
    fn scanners_name_themselves() {
        let signatures = Signatures::default();
        let http = Http {
            url: "/".into(),
            agent: "sqlmap/1.7".into(),
            ..Http::default()
        };
        assert_eq!(
            signatures.find(&http).map(|found| found.category),
            Some(Category::Recon)
        );
    }

    #[test]
    fn a_wrong_file_is_refused() {
        let entry = "[[signature]]\nid = \"a\"\ncategory = \"exploit\"\nseverity = \"low\"\n";
        for rest in [
            "any = []",
            "any = [\"x\"]",
            "any = [\"xx\"]\nregex = \"(\"",
            "any = [\"xx\"]\nnope = 1",
            "any = [\"xx\"]\nregex = \"(a{1000}){1000}\"",
        ] {
            assert!(
                Signatures::of_toml(&format!("{entry}{rest}")).is_err(),
                "{rest}"
            );
        }
        assert!(Signatures::of_toml("").is_ok());
    }
}
