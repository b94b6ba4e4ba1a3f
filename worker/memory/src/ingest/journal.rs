//! A system's journal, as `journalctl --output=json` tells it: a document for each unit and day, and
//! in it a section for each hour. What is said again and again is said once, and how often.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::intake::Intake;
use super::read::{Document, Section};
use super::{IngestOptions, IngestReport, Progress};
use crate::error::Result;
use crate::memory::Memory;

/// How many units and days are told apart; what is beyond is counted.
pub const DOCUMENTS_MAX: usize = 4096;
/// How many different messages of an hour are kept.
const MESSAGES_OF_HOUR_MAX: usize = 500;
/// How much of a message is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 1000;
/// How much of a name, in characters.
const NAME_CHARS_MAX: usize = 128;
/// What a journal said is forgotten after this long.
const KEPT_DAYS: i64 = 30;

/// The names of priorities that are worth a word.
const GRAVE: [&str; 5] = ["emerg", "alert", "crit", "error", "warning"];

const SECONDS_OF_DAY: i64 = 86_400;

/// Messages of a journal, put in order as they are read.
#[derive(Debug, Default)]
pub struct Journal {
    /// By day and unit; in each the hours.
    days: BTreeMap<(i64, String), BTreeMap<i64, Hour>>,
    /// Messages that were read.
    pub messages: usize,
    /// Lines that were none.
    pub unread: usize,
    /// Messages for which there was no room: they are of too many units and days.
    pub left_out: usize,
}

#[derive(Debug, Default)]
struct Hour {
    messages: Vec<Message>,
    /// Where a message of this shape is.
    shapes: HashMap<String, usize>,
    /// How many more there were than are kept.
    more: usize,
}

#[derive(Debug)]
struct Message {
    time: Timestamp,
    program: String,
    priority: Option<usize>,
    text: String,
    again: usize,
    last: Timestamp,
}

/// The fields that matter. What is no UTF-8 comes as a list of its bytes, and a field that is there
/// more than once as a list of its values.
#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    time: Field,
    #[serde(rename = "MESSAGE")]
    message: Field,
    #[serde(rename = "PRIORITY", default)]
    priority: Field,
    #[serde(rename = "SYSLOG_IDENTIFIER", default)]
    identifier: Field,
    #[serde(rename = "_COMM", default)]
    command: Field,
    #[serde(rename = "_TRANSPORT", default)]
    transport: Field,
    #[serde(rename = "_SYSTEMD_UNIT", default)]
    from_unit: Field,
    /// What the service manager says about a unit.
    #[serde(rename = "UNIT", default)]
    about_unit: Field,
}

#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Field {
    Text(String),
    Bytes(Vec<u8>),
    Many(Vec<Field>),
    Other(IgnoredAny),
    #[default]
    #[serde(skip)]
    None,
}

impl Field {
    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Self::Many(fields) => fields.into_iter().next()?.text(),
            Self::Other(_) | Self::None => None,
        }
    }

    fn name(self) -> Option<String> {
        let text = self.text()?;
        let name: String = text.trim().chars().take(NAME_CHARS_MAX).collect();
        (!name.is_empty() && !name.contains(char::is_control)).then_some(name)
    }
}

impl Journal {
    /// Takes a line of the journal in. One that is no message is counted.
    pub fn line(&mut self, line: &str) {
        if self.message(line).is_none() {
            self.unread += 1;
        }
    }

    fn message(&mut self, line: &str) -> Option<()> {
        let fields: Fields = serde_json::from_str(line).ok()?;
        let time = fields.time.text()?.parse().ok()?;
        let time = Timestamp::from_microsecond(time).ok()?;
        let text = plain(&fields.message.text()?);
        if text.is_empty() {
            return None;
        }
        let kernel = fields
            .transport
            .text()
            .is_some_and(|transport| transport == "kernel");
        let program = fields.identifier.name().or_else(|| fields.command.name());
        let program = program.unwrap_or_default();
        let unit = fields.about_unit.name().or_else(|| fields.from_unit.name());
        let unit = match unit {
            Some(unit) => unit,
            None if kernel => "kernel".to_owned(),
            None if program.is_empty() => "unknown".to_owned(),
            None => program.clone(),
        };
        let second = time.as_second();
        let key = (second.div_euclid(SECONDS_OF_DAY), unit);
        if self.days.len() >= DOCUMENTS_MAX && !self.days.contains_key(&key) {
            self.left_out += 1;
            return Some(());
        }
        let hour = self
            .days
            .entry(key)
            .or_default()
            .entry(second.div_euclid(3600))
            .or_default();
        hour.add(Message {
            time,
            priority: fields.priority.text().and_then(|text| text.parse().ok()),
            program,
            text,
            again: 0,
            last: time,
        });
        self.messages += 1;
        Some(())
    }

    /// Leaves the oldest day out, unless it is the only one: not all of it was read.
    pub fn drop_oldest_day(&mut self) {
        let oldest = self.days.keys().next().map(|(day, _)| *day);
        let newest = self.days.keys().next_back().map(|(day, _)| *day);
        if oldest != newest {
            self.days.retain(|(day, _), _| Some(*day) != oldest);
        }
    }

    /// A document for each unit and day, and where it is from.
    fn documents(&self) -> impl Iterator<Item = (String, Document)> {
        self.days.iter().map(|((day, unit), hours)| {
            let day = Timestamp::from_second(day * SECONDS_OF_DAY).unwrap_or_default();
            let day = day.to_zoned(TimeZone::UTC).date();
            let section = |(hour, said): (&i64, &Hour)| Section {
                heading: format!("{day} {:02}:00 UTC", hour.rem_euclid(24)),
                text: said.text(),
            };
            let document = Document {
                title: format!("journal of {unit}, {day}"),
                sections: hours.iter().map(section).collect(),
                lossy: false,
            };
            (format!("journal:{unit}/{day}"), document)
        })
    }
}

impl Hour {
    fn add(&mut self, message: Message) {
        let shape = format!("{}\0{}", message.program, shape(&message.text));
        if let Some(at) = self.shapes.get(&shape) {
            let known = &mut self.messages[*at];
            known.again += 1;
            known.last = known.last.max(message.time);
        } else if self.messages.len() < MESSAGES_OF_HOUR_MAX {
            self.shapes.insert(shape, self.messages.len());
            self.messages.push(message);
        } else {
            self.more += 1;
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a text can't fail.
        for message in &self.messages {
            let _ = write!(text, "{} {}", clock(message.time), message.program);
            if let Some(grave) = message.priority.and_then(|priority| GRAVE.get(priority)) {
                let _ = write!(text, " {grave}");
            }
            let _ = write!(text, ": {}", message.text);
            if message.again > 0 {
                let (again, last) = (message.again, clock(message.last));
                let _ = write!(text, " ({again} more like it until {last})");
            }
            text.push('\n');
        }
        if self.more > 0 {
            let _ = writeln!(text, "({} other messages)", self.more);
        }
        text
    }
}

impl Memory {
    /// Takes a journal in. What is known of the same units and days is replaced.
    pub fn ingest_journal(
        &self,
        journal: &Journal,
        options: &IngestOptions,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<IngestReport> {
        options.check()?;
        self.make_ready()?;
        let expires = Timestamp::now().checked_add((KEPT_DAYS * 24).hours());
        let options = IngestOptions {
            expires: options.expires.or(expires.ok()),
            ..options.clone()
        };
        let mut intake = Intake::new(self, &options);
        let files_total = journal.days.len();
        for (at, (source, document)) in journal.documents().enumerate() {
            let path = Path::new(&source);
            intake.add(path, &document)?;
            let now = Progress {
                files_done: at + 1,
                files_total,
                added: intake.added(),
                path,
            };
            if progress(now).is_break() {
                return intake.stopped();
            }
        }
        intake.finish()
    }
}

fn clock(time: Timestamp) -> impl std::fmt::Display {
    time.strftime("%H:%M:%S").to_string()
}

/// Messages of one shape differ in numbers, addresses and ids.
fn shape(text: &str) -> String {
    let word = |word: &str| match word.contains(|c: char| c.is_ascii_digit()) {
        true => "#".to_owned(),
        false => word.to_owned(),
    };
    let words = text.split(|c: char| !c.is_alphanumeric()).map(word);
    words.collect::<Vec<_>>().join(" ")
}

/// A message without what would steer a terminal, in a length that somebody reads.
fn plain(text: &str) -> String {
    let text: String = text.trim().chars().take(MESSAGE_CHARS_MAX).collect();
    let text = text.replace("\r\n", "\n").replace('\n', "\n    ");
    text.replace(|c: char| c.is_control() && c != '\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 1_780_272_000; // 2026-06-01

    fn said(second: i64, rest: &str) -> String {
        format!(
            r#"{{"__REALTIME_TIMESTAMP":"{}000000",{rest}}}"#,
            DAY + second
        )
    }

    #[track_caller]
    fn check(lines: &[String], expected: &[(&str, &str)]) -> Journal {
        let mut journal = Journal::default();
        lines.iter().for_each(|line| journal.line(line));
        let documents: Vec<(String, Document)> = journal.documents().collect();
        let text = |document: &Document| {
            let section = |section: &Section| format!("[{}]\n{}", section.heading, section.text);
            document.sections.iter().map(section).collect::<String>()
        };
        let found: Vec<(&str, String)> = documents
            .iter()
            .map(|(source, document)| (source.as_str(), text(document)))
            .collect();
        let expected: Vec<(&str, String)> = expected
            .iter()
            .map(|(source, text)| (*source, (*text).to_owned()))
            .collect();
        assert_eq!(found, expected);
        journal
    }

    #[test]
    fn what_is_said_again_is_said_once() {
        let failed = |second, port| {
            let text = format!("Failed password for root from 203.0.113.9 port {port} ssh2");
            said(
                second,
                &format!(
                    r#""MESSAGE":"{text}","_SYSTEMD_UNIT":"ssh.service","SYSLOG_IDENTIFIER":"sshd","PRIORITY":"4""#
                ),
            )
        };
        check(
            &[
                failed(3723, 1),
                failed(3724, 22),
                failed(3790, 333),
                failed(7300, 4),
            ],
            &[(
                "journal:ssh.service/2026-06-01",
                "[2026-06-01 01:00 UTC]\n01:02:03 sshd warning: Failed password for root from 203.0.113.9 \
                 port 1 ssh2 (2 more like it until 01:03:10)\n[2026-06-01 02:00 UTC]\n02:01:40 sshd \
                 warning: Failed password for root from 203.0.113.9 port 4 ssh2\n",
            )],
        );
    }

    #[test]
    fn units_and_days_are_apart_and_bytes_are_text() {
        let journal = check(
            &[
                said(
                    60,
                    r#""MESSAGE":[104,105,255],"_SYSTEMD_UNIT":"a.service","SYSLOG_IDENTIFIER":"a""#,
                ),
                said(
                    61,
                    r#""MESSAGE":["first","second"],"_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"kernel""#,
                ),
                said(
                    62,
                    r#""MESSAGE":"Started A.","UNIT":"a.service","_SYSTEMD_UNIT":"init.scope","SYSLOG_IDENTIFIER":"systemd""#,
                ),
                said(
                    86_400,
                    r#""MESSAGE":"one\nand two\u001b[31m","_COMM":"cron""#,
                ),
                said(5, r#""MESSAGE":null,"_COMM":"too-long""#),
                said(5, r#""_COMM":"no message""#),
                "-- no entries --".to_owned(),
                String::new(),
            ],
            &[
                (
                    "journal:a.service/2026-06-01",
                    "[2026-06-01 00:00 UTC]\n00:01:00 a: hi\u{fffd}\n00:01:02 systemd: Started A.\n",
                ),
                (
                    "journal:kernel/2026-06-01",
                    "[2026-06-01 00:00 UTC]\n00:01:01 kernel: first\n",
                ),
                (
                    "journal:cron/2026-06-02",
                    "[2026-06-02 00:00 UTC]\n00:00:00 cron: one\n    and two [31m\n",
                ),
            ],
        );
        assert_eq!((journal.messages, journal.unread), (4, 4));
    }

    #[test]
    fn there_is_an_end_to_everything() {
        let mut journal = Journal::default();
        for number in 0..1000 {
            let word: String = format!("{number:03}")
                .chars()
                .map(|c| char::from(c as u8 + 49))
                .collect();
            journal.line(&said(
                0,
                &format!(r#""MESSAGE":"{word} {}","_COMM":"a""#, "x".repeat(5000)),
            ));
        }
        let (_, document) = journal.documents().next().unwrap();
        assert!(
            document.sections[0]
                .text
                .ends_with("(500 other messages)\n")
        );
        assert!(document.sections[0].text.len() < MESSAGES_OF_HOUR_MAX * (MESSAGE_CHARS_MAX + 40));
        for number in 0..DOCUMENTS_MAX {
            journal.line(&said(
                0,
                &format!(r#""MESSAGE":"x","_COMM":"unit{number}""#),
            ));
        }
        let counts = (journal.days.len(), journal.left_out, journal.unread);
        assert_eq!(counts, (DOCUMENTS_MAX, 1, 0));
        journal.drop_oldest_day();
        assert_eq!(journal.days.len(), DOCUMENTS_MAX, "it is the only one");
        journal.line(&said(SECONDS_OF_DAY, r#""MESSAGE":"x","_COMM":"a""#));
        assert_eq!(journal.days.len(), DOCUMENTS_MAX);
    }
}
