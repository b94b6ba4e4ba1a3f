//! Falco's alerts, with `json_output: true`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::eve::address;
use super::text::Text;
use crate::event::{Category, Endpoint, Event, Kind, Rule, Severity};
use crate::time::Clock;

pub(super) const KNOWN: &[&str] = &["time", "rule", "priority", "source", "hostname", "output"];

#[derive(Deserialize)]
struct Falco<'a> {
    #[serde(borrow)]
    time: Text<'a>,
    #[serde(borrow)]
    rule: Text<'a>,
    #[serde(borrow)]
    priority: Text<'a>,
    #[serde(borrow, default)]
    source: Text<'a>,
    #[serde(borrow, default)]
    hostname: Text<'a>,
    #[serde(borrow, default)]
    output: Text<'a>,
    #[serde(default)]
    output_fields: Map<String, Value>,
}

pub(super) fn read<'a>(line: &'a str, clock: &Clock) -> Option<Event<'a>> {
    let falco: Falco<'a> = serde_json::from_str(line).ok()?;
    let severity = match &*falco.priority.0.to_ascii_lowercase() {
        "emergency" | "alert" | "critical" => Severity::Critical,
        "error" => Severity::High,
        "warning" => Severity::Medium,
        "notice" => Severity::Low,
        "informational" | "info" | "debug" => Severity::Info,
        _ => return None,
    };
    let field = |name: &str| falco.output_fields.get(name);
    let text = |name: &str| {
        field(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let port = |name: &str| {
        field(name)?
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
    };
    let side = |ip: &str, name: &str| Endpoint {
        ip: address(&text(ip)),
        port: port(name),
    };
    Some(Event {
        time: clock.iso(&falco.time.0),
        kind: Kind::Alert,
        severity: Some(severity),
        category: Some(category(&falco.rule.0)),
        source: side("fd.cip", "fd.cport"),
        destination: side("fd.sip", "fd.sport"),
        user: text("user.name").into(),
        process: text("proc.name").into(),
        host: falco.hostname.0,
        file: text("fd.name").into(),
        message: falco.output.0,
        rule: Some(Rule {
            id: falco.rule.0.clone(),
            name: falco.rule.0,
            category: falco.source.0,
        }),
        ..Event::default()
    })
}

/// What a rule is about, by the words of its name; the first that fits.
fn category(rule: &str) -> Category {
    const WORDS: &[(&str, Category)] = &[
        ("reverse shell", Category::Malware),
        ("redirect std", Category::Malware),
        ("remote code execution", Category::Malware),
        ("dropped", Category::Malware),
        ("drop and execute", Category::Malware),
        ("fileless", Category::Malware),
        ("/dev/shm", Category::Malware),
        ("from /tmp", Category::Malware),
        ("miner", Category::Malware),
        ("mining", Category::Malware),
        ("c2 ", Category::Malware),
        ("exfiltrat", Category::Exfiltration),
        ("remote file copy", Category::Exfiltration),
        ("packet socket", Category::Recon),
        ("network tool", Category::Recon),
        ("search private", Category::Recon),
        ("find aws", Category::Recon),
        ("below", Category::Integrity),
        ("rpm database", Category::Integrity),
        ("modif", Category::Integrity),
        ("clear log", Category::Integrity),
        ("history", Category::Integrity),
        ("package management", Category::Integrity),
        ("kernel module", Category::Integrity),
        ("cron", Category::Integrity),
        ("configmap", Category::Integrity),
        ("connection", Category::Network),
        ("contact", Category::Network),
        ("outbound", Category::Network),
        ("inbound", Category::Network),
        ("unexpected udp", Category::Network),
        ("falco internal", Category::Service),
        ("container started", Category::Service),
    ];
    let rule = rule.to_ascii_lowercase();
    let found = WORDS.iter().find(|(word, _)| rule.contains(word));
    found.map_or(Category::Privilege, |(_, category)| *category)
}
