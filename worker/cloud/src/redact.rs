//! What is taken out of a request before it leaves, and put back into the answer.
//!
//! Each secret becomes a mark such as `[EMAIL_1]`, the same one wherever it stands, so that the
//! model can speak of it. [`restore`] puts the secrets back. What is no secret by its looks is found
//! only if its pattern is in the settings: this makes mistakes rarer, it does not make a text public.
//!
//! | file | what it owns |
//! |---|---|
//! | `find.rs` | where in a text secrets are |
//! | `numbers.rs` | which numbers are cards and accounts |
//! | `spoken.rs` | passwords in commands and in sentences |
//! | `marks.rs` | the mark for each secret, also where it stands again |
//! | `restore.rs` | the way back, also where a mark comes in two pieces |

mod find;
mod marks;
mod numbers;
mod restore;
mod spoken;

use std::collections::BTreeMap;

use regex::Regex;
use serde::Serialize;

use self::find::Finder;
pub use self::marks::Marks;
use self::marks::each_string;
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
    /// The number of a card.
    Card,
    /// The number of an account: an IBAN.
    Iban,
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
        each_text(&mut redacted, &mut |text| {
            marks.avoid(text);
            text.to_owned()
        });
        each_text(&mut redacted, &mut |text| marks.found(finder, text));
        // What is known to be a secret by now is one everywhere.
        each_text(&mut redacted, &mut |text| marks.again(text));
        (redacted, marks)
    }

    /// A text for the log or a person, in which secrets are not restored.
    #[must_use]
    pub fn scrub(&self, text: &str) -> String {
        match &self.0 {
            Some(finder) => {
                let mut marks = Marks::default();
                let found = marks.found(finder, text);
                marks.again(&found)
            }
            None => text.to_owned(),
        }
    }
}

/// Changes every text of a request that may have a secret.
fn each_text(request: &mut Request, change: &mut impl FnMut(&str) -> String) {
    for message in &mut request.messages {
        message.content = change(&message.content);
    }
    for stop in &mut request.stop {
        *stop = change(stop);
    }
    if let Some(schema) = &mut request.schema {
        each_string(schema, change);
    }
    for tool in &mut request.tools {
        each_string(&mut tool.parameters, change);
        tool.description = change(&tool.description);
    }
}

impl Kind {
    /// Its name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Email => "email",
            Self::Ip => "ip",
            Self::Host => "host",
            Self::User => "user",
            Self::Custom => "custom",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Key => "KEY",
            Self::Card => "CARD",
            Self::Iban => "IBAN",
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
    fn addresses_are_found_between_colons() {
        check("8080:10.44.0.5:80", "8080:[IP_1]:80");
        check("host:10.44.0.8:22", "host:[IP_1]:22");
        check("nfs:10.44.0.7:/x", "nfs:[IP_1]:/x");
        check("addr:2001:db8::5", "addr:[IP_1]");
        check("127.0.0.1:10.0.0.1:80", "127.0.0.1:[IP_1]:80");
    }

    #[test]
    fn keys_of_many_forms_are_found() {
        for (text, redacted) in [
            (
                r#"{\"password\": \"x y\"}"#,
                r#"{\"password\": \"[KEY_1]\"}"#,
            ),
            (r#"{"password": "a\"b c"}"#, r#"{"password": "[KEY_1]"}"#),
            ("SECRET_KEY=abcd1", "SECRET_KEY=[KEY_1]"),
            ("GITLAB_TOKEN=abcd1", "GITLAB_TOKEN=[KEY_1]"),
            ("token: abcd1", "token: [KEY_1]"),
            ("DB_PASS=abcd1", "DB_PASS=[KEY_1]"),
            ("pwd=abcd1;", "pwd=[KEY_1];"),
            ("passphrase: abcd1", "passphrase: [KEY_1]"),
            ("private_key=abcd1", "private_key=[KEY_1]"),
            ("AccountKey=abcd+/1==;", "AccountKey=[KEY_1];"),
            ("Authorization: token x1", "Authorization: token [KEY_1]"),
            ("curl -s -u a:b http://x", "curl -s -u a:[KEY_1] http://x"),
            ("npm_0123456789abcdef", "[KEY_1]"),
            ("hvs.0123456789abcdef", "[KEY_1]"),
            ("SG.0123456789ab.0123456789ab", "[KEY_1]"),
            ("AGE-SECRET-KEY-1QQQQQQQQQQQQ", "[KEY_1]"),
            (
                "https://hooks.slack.com/services/T0/B0/xyz",
                "https://hooks.slack.com/services/[KEY_1]",
            ),
            ("Cookie: a=b; sid=cd\nnext", "Cookie: [KEY_1]\nnext"),
            ("root:$6$salt$0123456789abcdef:1", "root:[KEY_1]:1"),
            (r#"password="a b" next"#, r#"password="[KEY_1]" next"#),
            ("password='a b' next", "password='[KEY_1]' next"),
            (
                "-----BEGIN PGP PRIVATE KEY BLOCK-----\nx\n-----END PGP PRIVATE KEY BLOCK-----.",
                "[KEY_1].",
            ),
        ] {
            check(text, redacted);
        }
    }

    #[test]
    fn passwords_of_commands_and_sentences_are_found() {
        for (text, redacted) in [
            (
                "deploy --token abc123 --port 80",
                "deploy --token [KEY_1] --port 80",
            ),
            ("x --password 'a b' y", "x --password '[KEY_1]' y"),
            ("x --db-password hunter2", "x --db-password [KEY_1]"),
            ("x --api-key=abcd1", "x --api-key=[KEY_1]"),
            (
                "sshpass -p hunter2 ssh -p 22 h",
                "sshpass -p [KEY_1] ssh -p 22 h",
            ),
            (
                "sshpass -v -p'a b' scp x h:",
                "sshpass -v -p'[KEY_1]' scp x h:",
            ),
            (
                "mysql -uroot -phunter2 -P3306 db",
                "mysql -uroot -p[KEY_1] -P3306 db",
            ),
            (
                "mysqldump --all -p'h 2' > x",
                "mysqldump --all -p'[KEY_1]' > x",
            ),
            ("mariadb-admin -ph2 ping", "mariadb-admin -p[KEY_1] ping"),
            (
                "redis-cli -h h -a s3cr ping",
                "redis-cli -h h -a [KEY_1] ping",
            ),
            (
                "echo hunter2 | sudo -S apt update",
                "echo [KEY_1] | sudo -S apt update",
            ),
            (
                "echo -n \"a b\" |sudo -kS id",
                "echo -n \"[KEY_1]\" |sudo -kS id",
            ),
            (
                "echo 'u:p4' | sudo chpasswd",
                "echo '[KEY_1]' | sudo chpasswd",
            ),
            (
                "echo tok | docker login --password-stdin",
                "echo [KEY_1] | docker login --password-stdin",
            ),
            ("sudo -S id <<< hunter2", "sudo -S id <<< [KEY_1]"),
            (
                "openssl rsa -passin pass:abc",
                "openssl rsa -passin pass:[KEY_1]",
            ),
            ("my password is hunter2.", "my password is [KEY_1]."),
            (
                "The Password is swordfish, ok?",
                "The Password is [KEY_1], ok?",
            ),
            (
                "the passphrase is \"two words\"",
                "the passphrase is \"[KEY_1]\"",
            ),
            ("use passphrase correct-horse-7", "use passphrase [KEY_1]"),
            ("with token abc123def456", "with token [KEY_1]"),
            ("a senha é segredo1", "a senha é [KEY_1]"),
            (
                "Authorization: Bearer x1y2",
                "Authorization: Bearer [KEY_1]",
            ),
            ("card 4111 1111 1111 1111.", "card [CARD_1]."),
            ("pay DE89 3704 0044 0532 0130 00", "pay [IBAN_1]"),
        ] {
            check(text, redacted);
        }
    }

    #[test]
    fn what_only_looks_like_a_secret_stays() {
        for text in [
            "ssh -p 22 h; ssh -p2222 h; mkdir -p dir; cp -p a b; docker run -p 8080:80 x",
            "nc -l -p 8080; nmap -p1-1024 h; mysql -u root -p db; mysql -P 3306 -h h",
            "mysql -e 'select 1' | ssh -p22 h",
            "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "md5 d41d8cd98f00b204e9800998ecf8427e of 550e8400-e29b-41d4-a716-446655440000",
            "nginx 1.26.2-1~deb12u1 on port 8443 since 2026-11-22T17:08:39Z, pid 4242",
            "1764000000123 and 4503599627370496 bytes",
            "the password is wrong; the password is not set; a token is required",
            "passphrase for key '/root/key'; password requisite pam_unix.so; password auto",
            "the token is expired, and the secret is stored in a file",
            "echo hello | sudo tee /etc/motd; echo x | grep -S y",
            "--token-file /etc/token --max-tokens 500 --password-stdin",
            "--token $TOKEN --password \"$PW\"",
            "--password --verbose",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "std::vector at 12:34:56, 127.0.0.1 and ::1",
            "version 1.2.3 of susanna's website01",
            "max_tokens: 50000, bypass: true, x::dead::beef, authorization: required",
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
    fn a_known_secret_is_taken_out_wherever_it_stands() {
        let request = Request {
            messages: vec![
                Message::new(Role::User, "is hunter2secret good? xhunter2secretx"),
                Message::new(Role::User, "password=hunter2secret pin: DB_PASSWORD=open"),
                Message::new(Role::User, "open it, opened; [KEY_1]"),
            ],
            stop: vec!["hunter2secret".into(), "a@example.org".into()],
            schema: Some(serde_json::json!({
                "type": "object",
                "properties": {
                    "hunter2secret": {"type": "string", "enum": ["b@example.org"]},
                },
                "required": ["hunter2secret"],
                "description": "[EMAIL_1]",
            })),
            ..Request::default()
        };
        let (clean, marks) = redactor().request(&request);
        let sent = format!("{clean:?}");
        assert!(!sent.contains("hunter2") && !sent.contains("@"), "{sent}");
        assert_eq!(clean.messages[2].content, "[KEY_3] it, opened; [KEY_1]");
        assert_eq!(clean.stop, ["[KEY_2]", "[EMAIL_2]"]);
        let schema = clean.schema.unwrap();
        assert_eq!(schema["required"][0], "[KEY_2]");
        assert_eq!(schema["properties"]["[KEY_2]"]["enum"][0], "[EMAIL_3]");
        assert_eq!(schema["properties"]["[KEY_2]"]["type"], "string");
        let restored = marks.json_restorer().whole_json(&schema.to_string());
        assert_eq!(restored, request.schema.unwrap().to_string());
    }

    #[test]
    fn many_secrets_come_back() {
        // So many that looking for each among all the others would take minutes.
        let address = |n: u32| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
        let text: Vec<String> = (1..=20_000).map(address).collect();
        let keys: Vec<String> = (0..5_000).map(|n| format!("password=hunter{n}")).collect();
        let text = text.join("\n") + "\n" + &keys.join(" ") + " [KEY_2]";
        let (clean, marks) = redact(&text);
        let mut restorer = marks.restorer();
        let restored = restorer.push(&clean) + &restorer.finish();
        assert!(restored == text && marks.counts()[&Kind::Ip] == 20_000);
        assert!(!clean.contains("10.0.7.") && !clean.contains("hunter"));
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
