//! One decision or one alert of CrowdSec on a line.

use serde::Deserialize;

use super::eve::address;
use super::text::Text;
use crate::event::{Category, Endpoint, Event, Kind, Rule, Severity};
use crate::time::Clock;

pub(super) const KNOWN: &[&str] = &[
    "origin",
    "type",
    "scope",
    "value",
    "scenario",
    "message",
    "source",
    "start_at",
    "simulated",
];

#[derive(Deserialize)]
struct CrowdSec<'a> {
    #[serde(borrow)]
    scenario: Text<'a>,
    #[serde(borrow, default)]
    message: Text<'a>,
    /// Of a decision.
    #[serde(borrow)]
    origin: Option<Text<'a>>,
    #[serde(borrow)]
    scope: Option<Text<'a>>,
    #[serde(borrow)]
    value: Option<Text<'a>>,
    #[serde(rename = "type", borrow)]
    kind: Option<Text<'a>>,
    /// Of an alert.
    #[serde(borrow)]
    source: Option<Source<'a>>,
    #[serde(borrow)]
    start_at: Option<Text<'a>>,
    #[serde(default)]
    simulated: Option<bool>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow)]
    scope: Option<Text<'a>>,
    #[serde(borrow)]
    value: Option<Text<'a>>,
}

pub(super) fn read<'a>(line: &'a str, clock: &Clock) -> Option<Event<'a>> {
    let crowdsec: CrowdSec<'a> = serde_json::from_str(line).ok()?;
    let decision = crowdsec.origin.is_some();
    let (scope, value) = match crowdsec.source {
        Some(source) => (source.scope?, source.value?),
        None => (crowdsec.scope?, crowdsec.value?),
    };
    let ip = scope
        .0
        .eq_ignore_ascii_case("ip")
        .then(|| address(&value.0))
        .flatten();
    let category = category(&crowdsec.scenario.0);
    let banned = crowdsec.kind.is_some_and(|kind| kind.0 == "ban");
    Some(Event {
        time: crowdsec.start_at.and_then(|time| clock.iso(&time.0)),
        kind: Kind::Decision,
        // What is decided needs nobody any more.
        severity: Some(if decision {
            Severity::Low
        } else {
            Severity::Medium
        }),
        category: Some(category),
        stopped: banned && !crowdsec.simulated.unwrap_or(false),
        source: Endpoint { ip, port: None },
        message: if crowdsec.message.0.is_empty() {
            format!("{} {}", scope.0, value.0).into()
        } else {
            crowdsec.message.0
        },
        rule: Some(Rule {
            id: crowdsec.scenario.0.clone(),
            name: crowdsec.scenario.0,
            category: "".into(),
        }),
        ..Event::default()
    })
}

fn category(scenario: &str) -> Category {
    let has = |words: &[&str]| words.iter().any(|word| scenario.contains(word));
    if has(&["-bf", "bruteforce", "enum"]) {
        Category::Bruteforce
    } else if has(&[
        "CVE",
        "cve",
        "sqli",
        "xss",
        "traversal",
        "backdoor",
        "rce",
        "log4j",
    ]) {
        Category::Exploit
    } else if has(&["dos", "flood"]) {
        Category::Dos
    } else {
        Category::Recon
    }
}
