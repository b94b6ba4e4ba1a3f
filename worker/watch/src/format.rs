//! From a line to an event: which tool wrote it, and what it says.

mod access;
mod crowdsec;
mod eve;
mod falco;
mod journal;
mod legacy;
pub mod mapping;
mod message;
mod metrics;
mod syslog;
mod text;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::mapping::Mapping;
use crate::event::{Event, Kind};
use crate::time::Clock;

/// How a line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Suricata's `eve.json`.
    Eve,
    /// Falco with `json_output: true`.
    Falco,
    /// `journalctl -o json`.
    Journal,
    /// A decision or an alert of CrowdSec.
    CrowdSec,
    /// The network alerts of older clients: `source_ip`, `threat_type`, `risk_level`.
    Legacy,
    /// Measurements of a machine with Metricbeat's names.
    Metrics,
    /// Any other object of JSON.
    Json,
    /// Access lines of nginx and Apache, common or combined.
    Access,
    /// `Nov  3 04:12:07 host sshd[811]: ...`, RFC 5424, or an ISO time in front; the kernel log too.
    Syslog,
    /// Any other text.
    #[default]
    Text,
}

impl Format {
    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Eve => "eve",
            Self::Falco => "falco",
            Self::Journal => "journal",
            Self::CrowdSec => "crowdsec",
            Self::Legacy => "legacy",
            Self::Metrics => "metrics",
            Self::Json => "json",
            Self::Access => "access",
            Self::Syslog => "syslog",
            Self::Text => "text",
        }
    }

    /// The top-level fields that an [`Event`] has a place for.
    pub(crate) fn known_fields(self) -> &'static [&'static str] {
        match self {
            Self::Eve => eve::KNOWN,
            Self::Falco => falco::KNOWN,
            Self::Journal => journal::KNOWN,
            Self::CrowdSec => crowdsec::KNOWN,
            Self::Legacy => legacy::KNOWN,
            Self::Metrics => metrics::KNOWN,
            _ => &[],
        }
    }
}

/// Why a line is no event.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It begins as JSON and is none.
    #[error("the line is no whole object of JSON: {0}; was it cut?")]
    Json(#[from] serde_json::Error),
    /// It is not what it was said to be.
    #[error("the line is not of the format `{}`; leave the format to be recognised", .0.name())]
    Format(Format),
    /// Nothing but blanks.
    #[error("the line is empty")]
    Empty,
}

/// Reads lines of one stream. It recognises each line by itself, and tries first what the last
/// line was.
#[derive(Debug)]
pub struct Parser {
    clock: Clock,
    only: Option<Format>,
    last: Format,
    mapping: Mapping,
}

impl Parser {
    /// Recognises every line.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            only: None,
            last: Format::Text,
            mapping: Mapping::usual(),
        }
    }

    /// Takes lines of this format alone.
    #[must_use]
    pub fn only(mut self, format: Format) -> Self {
        self.only = Some(format);
        self
    }

    /// Reads JSON of unknown tools by this mapping.
    #[must_use]
    pub fn mapping(mut self, mapping: Mapping) -> Self {
        self.mapping = mapping;
        self
    }

    /// Reads one line.
    pub fn parse<'a>(&mut self, line: &'a str) -> Result<Event<'a>, ParseError> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Err(ParseError::Empty);
        }
        if let Some(format) = self.only {
            let event = self.read(format, line).ok_or(ParseError::Format(format))?;
            return Ok(whole(event, format, line));
        }
        let json = line.starts_with('{');
        // What takes every line comes last.
        if json == self.last.is_json()
            && !matches!(self.last, Format::Json | Format::Text)
            && let Some(event) = self.read(self.last, line)
        {
            return Ok(whole(event, self.last, line));
        }
        let formats = if json { JSON } else { TEXT };
        for &format in formats {
            if let Some(event) = self.read(format, line) {
                self.last = format;
                return Ok(whole(event, format, line));
            }
        }
        // Only JSON gets here: every text is a text.
        Err(serde_json::from_str::<serde::de::IgnoredAny>(line)
            .map_or_else(ParseError::Json, |_| ParseError::Format(Format::Json)))
    }

    fn read<'a>(&self, format: Format, line: &'a str) -> Option<Event<'a>> {
        match format {
            Format::Eve => eve::read(line, &self.clock),
            Format::Falco => falco::read(line, &self.clock),
            Format::Journal => journal::read(line),
            Format::CrowdSec => crowdsec::read(line, &self.clock),
            Format::Legacy => legacy::read(line, &self.clock),
            Format::Metrics => metrics::read(line, &self.clock),
            Format::Json => self.mapping.read(line, &self.clock),
            Format::Access => access::read(line, &self.clock),
            Format::Syslog => syslog::read(line, &self.clock),
            Format::Text => Some(syslog::plain(line)),
        }
    }
}

/// In the order in which they are tried: what asks for more comes first.
const JSON: &[Format] = &[
    Format::Eve,
    Format::Falco,
    Format::Journal,
    Format::CrowdSec,
    Format::Legacy,
    Format::Metrics,
    Format::Json,
];
const TEXT: &[Format] = &[Format::Access, Format::Syslog, Format::Text];

impl Format {
    fn is_json(self) -> bool {
        JSON.contains(&self)
    }
}

/// The objects of a line that is a list of them: of JSON, or what CrowdSec's API streams, of which
/// `deleted` is over and needs nobody.
pub(crate) fn several(line: &str) -> Option<Vec<&RawValue>> {
    #[derive(Deserialize)]
    struct Stream<'a> {
        #[serde(borrow)]
        new: Option<Vec<&'a RawValue>>,
        #[serde(rename = "deleted", borrow)]
        _deleted: Option<&'a RawValue>,
    }
    let line = line.trim_ascii();
    if line.starts_with("[{") {
        return serde_json::from_str(line).ok();
    }
    // Others look at each of a million lines no longer than that.
    if line.starts_with("{\"new\":") || line.starts_with("{\"deleted\":") {
        let stream: Stream<'_> = serde_json::from_str(line).ok()?;
        return Some(stream.new.unwrap_or_default());
    }
    None
}

fn whole<'a>(mut event: Event<'a>, format: Format, line: &'a str) -> Event<'a> {
    event.format = format;
    event.original = line;
    if event.kind == Kind::Login {
        event.answered = true;
    }
    event
}

#[cfg(test)]
mod tests;
