//! The network alerts that older clients send.

use serde::Deserialize;

use super::eve::address;
use super::text::Text;
use crate::event::{Category, Endpoint, Event, Kind, Rule, Severity};
use crate::time::Clock;

pub(super) const KNOWN: &[&str] = &[
    "timestamp",
    "source_ip",
    "dest_ip",
    "source_port",
    "dest_port",
    "service",
    "threat_type",
    "description",
    "risk_level",
    "action",
];

#[derive(Deserialize)]
struct Legacy<'a> {
    #[serde(borrow)]
    timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    source_ip: Option<Text<'a>>,
    source_port: Option<u16>,
    #[serde(borrow)]
    dest_ip: Option<Text<'a>>,
    dest_port: Option<u16>,
    #[serde(borrow, default)]
    service: Text<'a>,
    #[serde(borrow)]
    threat_type: Text<'a>,
    #[serde(borrow, default)]
    description: Text<'a>,
    /// 1 to 10.
    risk_level: Option<u8>,
    #[serde(borrow, default)]
    action: Text<'a>,
}

pub(super) fn read<'a>(line: &'a str, clock: &Clock) -> Option<Event<'a>> {
    let alert: Legacy<'a> = serde_json::from_str(line).ok()?;
    let side = |ip: Option<Text<'_>>, port| Endpoint {
        ip: ip.and_then(|ip| address(&ip.0)),
        port,
    };
    let time = alert.timestamp.map(|time| time.0);
    let time = time.and_then(|text| {
        let number = text.parse().ok().and_then(crate::time::epoch);
        number.or_else(|| clock.iso(&text))
    });
    let severity = match alert.risk_level.unwrap_or(5) {
        0..=2 => Severity::Info,
        3..=4 => Severity::Low,
        5..=6 => Severity::Medium,
        7..=8 => Severity::High,
        _ => Severity::Critical,
    };
    let category = match &*alert.threat_type.0 {
        "malware_signature" | "virus_detected" => Category::Malware,
        "database_attack" => Category::Exploit,
        "rbl_listed" => Category::Policy,
        other => Category::of_name(other).unwrap_or(Category::Network),
    };
    Some(Event {
        time,
        kind: Kind::Alert,
        severity: Some(severity),
        category: Some(category),
        stopped: matches!(&*alert.action.0, "block" | "blocked" | "drop" | "dropped"),
        source: side(alert.source_ip, alert.source_port),
        destination: side(alert.dest_ip, alert.dest_port),
        process: alert.service.0,
        message: alert.description.0,
        rule: Some(Rule {
            id: alert.threat_type.0.clone(),
            name: alert.threat_type.0,
            category: "".into(),
        }),
        ..Event::default()
    })
}
