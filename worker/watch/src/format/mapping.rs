//! JSON of tools that nobody told us about: which field is where.

use std::collections::BTreeMap;

use serde_json::Value;

use super::eve::address;
use crate::event::{Category, Event, Http, Kind, Outcome, Rule, Severity};
use crate::time::{Clock, Timestamp, epoch};

/// Most fields of a mapping.
const FIELDS_MAX: usize = 64;

/// From a field's ECS name to the JSON Pointers where it may be; the first that leads to a value
/// counts.
///
/// ```
/// use fazai_watch::format::mapping::Mapping;
/// Mapping::of_toml(r#"
/// "source.ip" = "/client/addr"
/// "message" = ["/msg", "/log/text"]
/// "#).unwrap();
/// assert!(Mapping::of_toml(r#""sourceip" = "/client""#).is_err());
/// ```
#[derive(Debug, Clone)]
pub struct Mapping(Vec<(Field, Vec<Steps>)>);

/// A JSON Pointer, taken apart once and not for every line.
type Steps = Vec<String>;

/// Why a mapping can't be used.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// It is no TOML of names and pointers.
    #[error("the mapping is no table of names and JSON Pointers: {0}")]
    Toml(#[from] toml::de::Error),
    /// There is no such field.
    #[error("no field is called `{0}`; there are {names}", names = names())]
    Field(String),
    /// It is no JSON Pointer.
    #[error("`{0}` is no JSON Pointer; one begins with `/`")]
    Pointer(String),
    /// It is too long.
    #[error("a mapping has at most {FIELDS_MAX} fields")]
    Long,
}

macro_rules! fields {
    ($($variant:ident = $name:literal: $($pointer:literal),*;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Field { $($variant,)* }

        const FIELDS: &[(Field, &str, &[&str])] =
            &[$((Field::$variant, $name, &[$($pointer),*]),)*];
    };
}

fields! {
    Time = "@timestamp": "/@timestamp", "/timestamp", "/time", "/ts", "/datetime", "/date";
    Message = "message": "/message", "/msg", "/log", "/text", "/event/original";
    Level = "log.level": "/log/level", "/level", "/severity", "/priority";
    Category = "event.category": "/event/category/0", "/event/category", "/category";
    Outcome = "event.outcome": "/event/outcome", "/outcome";
    SourceIp = "source.ip": "/source/ip", "/src_ip", "/source_ip", "/srcip", "/client_ip", "/clientip", "/remote_addr", "/remote_ip", "/id.orig_h";
    SourcePort = "source.port": "/source/port", "/src_port", "/source_port", "/srcport", "/id.orig_p";
    DestinationIp = "destination.ip": "/destination/ip", "/dest_ip", "/dst_ip", "/dstip", "/id.resp_h";
    DestinationPort = "destination.port": "/destination/port", "/dest_port", "/dst_port", "/dstport", "/id.resp_p";
    User = "user.name": "/user/name", "/user", "/username", "/account";
    Process = "process.name": "/process/name", "/process", "/program", "/service", "/app", "/logger";
    Host = "host.name": "/host/name", "/hostname", "/host";
    RuleId = "rule.id": "/rule/id", "/rule_id", "/signature_id";
    RuleName = "rule.name": "/rule/name", "/rule", "/signature";
    Method = "http.request.method": "/http/request/method", "/request_method", "/method";
    Url = "url.original": "/url/original", "/request_uri", "/uri", "/url", "/path";
    Site = "url.domain": "/url/domain", "/server_name", "/vhost";
    Agent = "user_agent.original": "/user_agent/original", "/http_user_agent", "/user_agent", "/agent";
    Status = "http.response.status_code": "/http/response/status_code", "/status_code", "/status";
}

fn names() -> String {
    let names: Vec<&str> = FIELDS.iter().map(|(_, name, _)| *name).collect();
    names.join(", ")
}

impl Mapping {
    /// The names that ECS and most tools use.
    #[must_use]
    pub fn usual() -> Self {
        let own = |pointers: &[&str]| pointers.iter().map(|pointer| steps(pointer)).collect();
        Self(
            FIELDS
                .iter()
                .map(|(field, _, pointers)| (*field, own(pointers)))
                .collect(),
        )
    }

    /// Reads a table of TOML: ECS names and, for each, a JSON Pointer or a list of them. Fields
    /// that it does not name are where they usually are.
    pub fn of_toml(text: &str) -> Result<Self, MappingError> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Pointers {
            One(String),
            Many(Vec<String>),
        }
        let table: BTreeMap<String, Pointers> = toml::from_str(text)?;
        if table.len() > FIELDS_MAX {
            return Err(MappingError::Long);
        }
        let mut mapping = Self::usual();
        for (name, pointers) in table {
            let at = FIELDS.iter().position(|(_, known, _)| *known == name);
            let at = at.ok_or(MappingError::Field(name))?;
            let pointers = match pointers {
                Pointers::One(pointer) => vec![pointer],
                Pointers::Many(pointers) => pointers,
            };
            if let Some(wrong) = pointers.iter().find(|pointer| !pointer.starts_with('/')) {
                return Err(MappingError::Pointer(wrong.clone()));
            }
            mapping.0[at].1 = pointers.iter().map(|pointer| steps(pointer)).collect();
        }
        Ok(mapping)
    }

    pub(super) fn read<'a>(&self, line: &'a str, clock: &Clock) -> Option<Event<'a>> {
        let value: Value = serde_json::from_str(line).ok()?;
        let mut event = Event {
            kind: Kind::Other,
            ..Event::default()
        };
        for (field, pointers) in &self.0 {
            let found = pointers.iter().find_map(|steps| scalar(&value, steps));
            if let Some(found) = found {
                set(&mut event, *field, found, clock);
            }
        }
        if event.rule.is_some() {
            event.kind = Kind::Alert;
        } else if event.http.is_some() {
            event.kind = Kind::Http;
            event.answered = true;
        }
        Some(event)
    }
}

/// `/a~1b/0`: `a/b`, and of that the first.
fn steps(pointer: &str) -> Steps {
    let steps = pointer.split('/').skip(1);
    steps
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect()
}

/// A pointer's value; a pointer of one step finds keys with dots or slashes in them too.
fn scalar<'v>(value: &'v Value, steps: &[String]) -> Option<&'v Value> {
    let found = steps.iter().try_fold(value, |value, step| match value {
        Value::Object(fields) => fields.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })?;
    (!found.is_null() && !found.is_object() && !found.is_array()).then_some(found)
}

fn set(event: &mut Event<'_>, field: Field, value: &Value, clock: &Clock) {
    let text = || match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let number = || match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    let port = || number().and_then(|port| u16::try_from(port).ok());
    match field {
        Field::Time => event.time = time(value, clock),
        Field::Message => event.message = text().into(),
        Field::Level => event.severity = level(value),
        Field::Category => event.category = Category::of_name(&text()),
        Field::Outcome => {
            event.outcome = match &*text().to_ascii_lowercase() {
                "success" | "succeeded" | "ok" => Some(Outcome::Success),
                "failure" | "failed" | "error" => Some(Outcome::Failure),
                _ => None,
            }
        }
        Field::SourceIp => event.source.ip = address(&text()),
        Field::SourcePort => event.source.port = port(),
        Field::DestinationIp => event.destination.ip = address(&text()),
        Field::DestinationPort => event.destination.port = port(),
        Field::User => event.user = text().into(),
        Field::Process => event.process = text().into(),
        Field::Host => event.host = text().into(),
        Field::RuleId => rule(event).id = text().into(),
        Field::RuleName => rule(event).name = text().into(),
        Field::Method => http(event).method = text().into(),
        Field::Url => http(event).url = text().into(),
        Field::Site => {
            if let Some(http) = &mut event.http {
                http.host = text().into();
            }
        }
        Field::Agent => {
            if let Some(http) = &mut event.http {
                http.agent = text().into();
            }
        }
        Field::Status => {
            if let Some(http) = &mut event.http {
                http.status = port().unwrap_or(0);
            }
        }
    }
}

fn rule<'e, 'a>(event: &'e mut Event<'a>) -> &'e mut Rule<'a> {
    event.rule.get_or_insert_default()
}

fn http<'e, 'a>(event: &'e mut Event<'a>) -> &'e mut Http<'a> {
    event.http.get_or_insert_default()
}

fn time(value: &Value, clock: &Clock) -> Option<Timestamp> {
    match value {
        Value::String(text) => {
            let number = text.parse().ok().and_then(epoch);
            number
                .or_else(|| clock.iso(text))
                .or_else(|| clock.access(text))
        }
        other => other.as_f64().and_then(epoch),
    }
}

fn level(value: &Value) -> Option<Severity> {
    if let Some(number) = value.as_u64() {
        return u8::try_from(number).ok().map(Severity::of_syslog);
    }
    Some(match &*value.as_str()?.to_ascii_lowercase() {
        "emergency" | "emerg" | "alert" | "critical" | "crit" | "fatal" | "panic" => {
            Severity::Critical
        }
        "error" | "err" | "high" => Severity::High,
        "warning" | "warn" | "medium" => Severity::Medium,
        "notice" | "low" => Severity::Low,
        "info" | "informational" | "debug" | "trace" => Severity::Info,
        _ => return None,
    })
}
