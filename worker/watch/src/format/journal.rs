//! `journalctl -o json`: numbers are text, and text that is not UTF-8 is a list of bytes.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::message;
use super::text::Text;
use crate::event::{Event, Kind, Severity};
use crate::time::epoch;

pub(super) const KNOWN: &[&str] = &[
    "__REALTIME_TIMESTAMP",
    "MESSAGE",
    "SYSLOG_IDENTIFIER",
    "_COMM",
    "_UID",
    "_HOSTNAME",
    "PRIORITY",
];

#[derive(Deserialize)]
struct Journal<'a> {
    #[serde(rename = "__REALTIME_TIMESTAMP", borrow)]
    time: Option<Text<'a>>,
    #[serde(rename = "MESSAGE", borrow)]
    message: Field<'a>,
    #[serde(rename = "SYSLOG_IDENTIFIER", borrow)]
    identifier: Option<Field<'a>>,
    #[serde(rename = "_COMM", borrow)]
    comm: Option<Field<'a>>,
    #[serde(rename = "_UID", borrow)]
    uid: Option<Field<'a>>,
    #[serde(rename = "_TRANSPORT", borrow)]
    transport: Option<Field<'a>>,
    #[serde(rename = "_HOSTNAME", borrow)]
    host: Option<Field<'a>>,
    #[serde(rename = "PRIORITY", borrow)]
    priority: Option<Field<'a>>,
}

/// Text, bytes, a list of either where the field came more than once, or null where it was too
/// long.
#[derive(Deserialize)]
#[serde(transparent)]
struct Field<'a>(#[serde(borrow)] &'a RawValue);

impl<'a> Field<'a> {
    fn text(&self) -> Cow<'a, str> {
        let first = || {
            let many: Vec<Field<'a>> = serde_json::from_str(self.0.get()).ok()?;
            many.first()?.one()
        };
        self.one().or_else(first).unwrap_or_default()
    }

    /// Text or bytes; lists within lists are nothing that the journal writes.
    fn one(&self) -> Option<Cow<'a, str>> {
        let raw = self.0.get();
        if let Ok(Text(text)) = serde_json::from_str(raw) {
            return Some(text);
        }
        let bytes: Vec<u8> = serde_json::from_str(raw).ok()?;
        Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

pub(super) fn read(line: &str) -> Option<Event<'_>> {
    let journal: Journal<'_> = serde_json::from_str(line).ok()?;
    let text = |field: Option<Field<'_>>| field.map(|field| field.text().into_owned());
    // A program calls itself what it likes; who it is, the journal knows.
    let vouched = text(journal.uid).is_none_or(|uid| uid == "0");
    let time = journal.time.and_then(|time| epoch(time.0.parse().ok()?));
    let kernel = text(journal.transport).is_some_and(|transport| transport == "kernel");
    let program = match journal.identifier.or(journal.comm) {
        _ if kernel => Cow::Borrowed("kernel"),
        field => field.map(|field| field.text()).unwrap_or_default(),
    };
    let priority = text(journal.priority).and_then(|text| text.parse().ok());
    let mut event = Event {
        time,
        kind: Kind::Log,
        severity: priority.map(Severity::of_syslog),
        host: journal.host.map(|field| field.text()).unwrap_or_default(),
        process: program,
        message: journal.message.text(),
        ..Event::default()
    };
    if vouched || kernel {
        message::read(&mut event);
    } else {
        message::unvouched(&mut event);
    }
    Some(event)
}
