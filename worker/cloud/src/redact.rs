//! What is taken out of a request before it leaves, and put back into the answer.
//!
//! Each secret becomes a mark such as `[EMAIL_1]`, the same one wherever it stands, so that the
//! model can speak of it. [`restore`] puts the secrets back. What is no secret by its looks is found
//! only if its pattern is in the settings: this makes mistakes rarer, it does not make a text public.
//!
//! | file | what it owns |
//! |---|---|
//! | `find.rs` | where in a text secrets are |
//! | `restore.rs` | the way back, also where a mark comes in two pieces |

mod find;
mod restore;

use std::collections::BTreeMap;

use regex::Regex;
use serde::Serialize;
use serde_json::Value;

use self::find::Finder;
pub use self::restore::Restorer;
use crate::error::CloudError;
use crate::request::Request;

/// What is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Turns everything off.
    pub off: bool,
    /// Names of machines.
    pub hosts: Vec<String>,
    /// Names of users.
    pub users: Vec<String>,
    /// Further patterns, as regular expressions.
    pub patterns: Vec<String>,
}

/// A kind of secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A key, a token or a password.
    Key,
    /// An address of e-mail.
    Email,
    /// An address of a machine.
    Ip,
    /// A name of a machine.
    Host,
    /// A name of a user.
    User,
    /// One of the further patterns.
    Custom,
}

/// How many different secrets of each kind were taken out.
pub type Counts = BTreeMap<Kind, usize>;

/// Takes secrets out of requests.
#[derive(Debug)]
pub struct Redactor(Option<Finder>);

/// The secrets of one request and their marks.
#[derive(Clone, Default)]
pub struct Marks {
    /// The secret for each mark.
    secrets: BTreeMap<String, String>,
    counts: Counts,
}

impl std::fmt::Debug for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Marks").field(&self.counts).finish()
    }
}

/// The most further patterns, and the longest.
const PATTERNS_MAX: usize = 100;
const PATTERN_BYTES_MAX: usize = 1000;

impl Redactor {
    /// Reads the rules.
    ///
    /// # Errors
    /// [`CloudError::Settings`] with the pattern that can't be used.
    pub fn new(rules: &Rules) -> Result<Self, CloudError> {
        if rules.off {
            return Ok(Self(None));
        }
        let wrong = |text: &str, why: &str| {
            CloudError::Settings(format!("the pattern {text:?} for redaction {why}"))
        };
        if rules.patterns.len() > PATTERNS_MAX {
            return Err(wrong("...", "is one too many; 100 are enough"));
        }
        let custom = |text: &String| {
            if text.len() > PATTERN_BYTES_MAX {
                return Err(wrong(text, "is longer than 1000 bytes"));
            }
            let pattern = Regex::new(text).map_err(|fault| wrong(text, &fault.to_string()))?;
            if pattern.is_match("") {
                return Err(wrong(text, "fits everywhere"));
            }
            Ok(pattern)
        };
        let custom: Result<_, CloudError> = rules.patterns.iter().map(custom).collect();
        Ok(Self(Some(Finder::new(&rules.hosts, &rules.users, custom?))))
    }

    /// The request without its secrets.
    #[must_use]
    pub fn request(&self, request: &Request) -> (Request, Marks) {
        let mut marks = Marks::default();
        let mut redacted = request.clone();
        let Some(finder) = &self.0 else {
            return (redacted, marks);
        };
        // A mark that stands in the text already would be restored to something that it is not.
        let whole: String = request
            .messages
            .iter()
            .map(|m| m.content.as_str())
            .collect();
        for message in &mut redacted.messages {
            message.content = marks.text(finder, &message.content, &whole);
        }
        // Rules of the form of the answer and of tools may have secrets in their descriptions.
        if let Some(schema) = &mut redacted.schema {
            marks.json(finder, schema, &whole);
        }
        for tool in &mut redacted.tools {
            marks.json(finder, &mut tool.parameters, &whole);
            tool.description = marks.text(finder, &tool.description, &whole);
        }
        (redacted, marks)
    }

    /// A text for the log or a person, in which secrets are not restored.
    #[must_use]
    pub fn scrub(&self, text: &str) -> String {
        match &self.0 {
            Some(finder) => Marks::default().text(finder, text, ""),
            None => text.to_owned(),
        }
    }
}

impl Marks {
    /// How many secrets were taken out, by kind.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Puts the secrets back into a stream of text.
    #[must_use]
    pub fn restorer(&self) -> Restorer {
        Restorer::new(self.secrets.clone(), false)
    }

    /// The same for a text that is JSON.
    #[must_use]
    pub fn json_restorer(&self) -> Restorer {
        Restorer::new(self.secrets.clone(), true)
    }

    fn text(&mut self, finder: &Finder, text: &str, whole: &str) -> String {
        let mut clean = String::with_capacity(text.len());
        let mut from = 0;
        for (range, kind) in finder.find(text) {
            clean.push_str(&text[from..range.start]);
            let mark = self.mark(kind, &text[range.clone()], whole);
            clean.push_str(&mark);
            from = range.end;
        }
        clean.push_str(&text[from..]);
        clean
    }

    /// All strings of a value. Its names stay: they are the schema's own words.
    fn json(&mut self, finder: &Finder, value: &mut Value, whole: &str) {
        match value {
            Value::String(text) => *text = self.text(finder, text, whole),
            Value::Array(values) => values.iter_mut().for_each(|v| self.json(finder, v, whole)),
            Value::Object(object) => object
                .values_mut()
                .for_each(|v| self.json(finder, v, whole)),
            _ => {}
        }
    }

    fn mark(&mut self, kind: Kind, secret: &str, whole: &str) -> String {
        let known = self.secrets.iter().find(|(_, known)| *known == secret);
        if let Some((mark, _)) = known {
            return mark.clone();
        }
        let mark = (1..)
            .map(|number| format!("[{}_{number}]", kind.word()))
            .find(|mark| !self.secrets.contains_key(mark) && !whole.contains(mark.as_str()))
            .unwrap_or_default();
        *self.counts.entry(kind).or_default() += 1;
        self.secrets.insert(mark.clone(), secret.to_owned());
        mark
    }
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Key => "KEY",
            Self::Email => "EMAIL",
            Self::Ip => "IP",
            Self::Host => "HOST",
            Self::User => "USER",
            Self::Custom => "SECRET",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Message, Role};

    fn redactor() -> Redactor {
        let rules = Rules {
            off: false,
            hosts: vec!["web01".into(), "web01.example.org".into()],
            users: vec!["anna".into()],
            patterns: vec![r"ACME-\d{4}".into()],
        };
        Redactor::new(&rules).unwrap()
    }

    fn redact(text: &str) -> (String, Marks) {
        let request = Request {
            messages: vec![Message::new(Role::User, text)],
            ..Request::default()
        };
        let (request, marks) = redactor().request(&request);
        (request.messages[0].content.clone(), marks)
    }

    #[track_caller]
    fn check(text: &str, redacted: &str) {
        let (clean, marks) = redact(text);
        assert_eq!(clean, redacted);
        let mut restorer = marks.restorer();
        let restored = restorer.push(&clean) + &restorer.finish();
        assert_eq!(restored, text);
    }

    #[test]
    fn each_kind_is_found_and_restored() {
        check("mail a.b+c@example.org now", "mail [EMAIL_1] now");
        check("from 10.1.2.3:22 to 10.1.2.3", "from [IP_1]:22 to [IP_1]");
        check("at fe80::1 and 2001:db8::7:1.", "at [IP_1] and [IP_2].");
        check(
            "anna on web01 (web01.example.org)",
            "[USER_1] on [HOST_1] ([HOST_2])",
        );
        check("see ACME-1234", "see [SECRET_1]");
        check("key sk-proj-abcdefghijklmnopqrstu!", "key [KEY_1]!");
        check("password=hunter2secret next", "password=[KEY_1] next");
        check(
            "Authorization: Bearer abcdef.0123-xyz",
            "Authorization: Bearer [KEY_1]",
        );
        check(
            "AKIAIOSFODNN7EXAMPLE and ghp_0123456789abcdef0123456789abcdef0123",
            "[KEY_1] and [KEY_2]",
        );
        check("postgres://bob:s3cret@db/x", "postgres://bob:[KEY_1]@db/x");
        check(
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n.",
            "[KEY_1]\n.",
        );
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "std::vector at 12:34:56, 127.0.0.1 and ::1",
            "version 1.2.3 of susanna's website01",
            "exit code 137, 100 % of /dev/sda1",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn a_mark_that_was_there_before_is_not_taken() {
        let (clean, marks) = redact("[EMAIL_1] is a@example.org");
        assert_eq!(clean, "[EMAIL_1] is [EMAIL_2]");
        let mut restorer = marks.restorer();
        assert_eq!(
            restorer.push("[EMAIL_1] [EMAIL_2]"),
            "[EMAIL_1] a@example.org"
        );
    }

    #[test]
    fn secrets_are_counted_once_and_not_shown() {
        let (_, marks) = redact("a@example.org a@example.org b@example.org 10.0.0.1");
        let counts: Vec<_> = marks.counts().iter().map(|(kind, n)| (*kind, *n)).collect();
        assert_eq!(counts, [(Kind::Email, 2), (Kind::Ip, 1)]);
        assert!(!format!("{marks:?}").contains("example"));
    }

    #[test]
    fn bad_patterns_are_refused_and_off_is_off() {
        for pattern in ["(", ".*", "x{9999999}"] {
            let patterns = vec![pattern.to_owned()];
            let rules = Rules {
                patterns,
                ..Rules::default()
            };
            assert!(Redactor::new(&rules).is_err(), "{pattern}");
        }
        let rules = Rules {
            off: true,
            ..Rules::default()
        };
        assert_eq!(Redactor::new(&rules).unwrap().scrub("10.1.2.3"), "10.1.2.3");
    }
}
