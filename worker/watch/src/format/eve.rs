//! Suricata's `eve.json`.

mod class;

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Deserialize;

use super::text::Text;
use crate::event::{Category, Endpoint, Event, Http, Kind, Outcome, Rule, Severity};
use crate::time::Clock;

pub(super) const KNOWN: &[&str] = &[
    "timestamp",
    "event_type",
    "flow_id",
    "src_ip",
    "src_port",
    "dest_ip",
    "dest_port",
    "proto",
    "host",
    "alert",
    "http",
    "dns",
    "tls",
    "ssh",
    "fileinfo",
    "anomaly",
    "flow",
    "verdict",
];

/// The fields that are read; all others stay in the line.
#[derive(Deserialize)]
struct Eve<'a> {
    #[serde(borrow)]
    timestamp: Text<'a>,
    #[serde(borrow)]
    event_type: Text<'a>,
    flow_id: Option<u64>,
    #[serde(borrow)]
    src_ip: Option<Text<'a>>,
    src_port: Option<u16>,
    #[serde(borrow)]
    dest_ip: Option<Text<'a>>,
    dest_port: Option<u16>,
    #[serde(borrow)]
    proto: Option<Text<'a>>,
    #[serde(borrow)]
    host: Option<Text<'a>>,
    #[serde(borrow)]
    alert: Option<Alert<'a>>,
    #[serde(borrow)]
    http: Option<EveHttp<'a>>,
    #[serde(borrow)]
    dns: Option<EveDns<'a>>,
    #[serde(borrow)]
    tls: Option<EveTls<'a>>,
    #[serde(borrow)]
    ssh: Option<EveSsh<'a>>,
    #[serde(borrow)]
    fileinfo: Option<FileInfo<'a>>,
    #[serde(borrow)]
    anomaly: Option<Anomaly<'a>>,
    #[serde(borrow)]
    flow: Option<Flow<'a>>,
    #[serde(borrow)]
    verdict: Option<Verdict<'a>>,
}

#[derive(Deserialize)]
struct Alert<'a> {
    #[serde(borrow)]
    action: Option<Text<'a>>,
    #[serde(borrow, default)]
    signature_id: Text<'a>,
    #[serde(borrow, default)]
    signature: Text<'a>,
    #[serde(borrow, default)]
    category: Text<'a>,
    severity: Option<u8>,
    #[serde(borrow)]
    source: Option<Side<'a>>,
    #[serde(borrow)]
    target: Option<Side<'a>>,
    #[serde(borrow)]
    metadata: Option<Metadata<'a>>,
}

#[derive(Deserialize)]
struct Side<'a> {
    #[serde(borrow)]
    ip: Option<Text<'a>>,
    port: Option<u16>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    signature_severity: Vec<Text<'a>>,
}

#[derive(Deserialize)]
struct EveHttp<'a> {
    #[serde(borrow)]
    hostname: Option<Text<'a>>,
    #[serde(borrow)]
    url: Option<Text<'a>>,
    #[serde(borrow)]
    http_method: Option<Text<'a>>,
    #[serde(borrow)]
    http_user_agent: Option<Text<'a>>,
    #[serde(borrow)]
    http_refer: Option<Text<'a>>,
    status: Option<u16>,
}

#[derive(Deserialize)]
struct EveDns<'a> {
    #[serde(borrow)]
    rrname: Option<Text<'a>>,
    /// Suricata 8 and later.
    #[serde(borrow, default)]
    queries: Vec<Query<'a>>,
    #[serde(borrow)]
    rcode: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Query<'a> {
    #[serde(borrow)]
    rrname: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct EveTls<'a> {
    #[serde(borrow)]
    sni: Option<Text<'a>>,
    #[serde(borrow)]
    version: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct EveSsh<'a> {
    #[serde(borrow)]
    client: Option<SshSide<'a>>,
}

#[derive(Deserialize)]
struct SshSide<'a> {
    #[serde(borrow)]
    software_version: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct FileInfo<'a> {
    #[serde(borrow)]
    filename: Option<Text<'a>>,
    #[serde(borrow)]
    magic: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Anomaly<'a> {
    #[serde(borrow)]
    event: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Flow<'a> {
    #[serde(default)]
    pkts_toclient: u64,
    #[serde(default)]
    bytes_toserver: u64,
    #[serde(borrow)]
    src_ip: Option<Text<'a>>,
    src_port: Option<u16>,
    #[serde(borrow)]
    dest_ip: Option<Text<'a>>,
    dest_port: Option<u16>,
}

#[derive(Deserialize)]
struct Verdict<'a> {
    #[serde(borrow)]
    action: Option<Text<'a>>,
}

pub(super) fn read<'a>(line: &'a str, clock: &Clock) -> Option<Event<'a>> {
    let eve: Eve<'a> = serde_json::from_str(line).ok()?;
    let mut event = Event {
        time: clock.iso(&eve.timestamp.0),
        kind: kind(&eve.event_type.0),
        source: endpoint(&eve.src_ip, eve.src_port),
        destination: endpoint(&eve.dest_ip, eve.dest_port),
        transport: cow(eve.proto),
        host: cow(eve.host),
        flow_id: eve.flow_id,
        ..Event::default()
    };
    let dropped = |action: &Option<Text<'_>>, word: &str| {
        action.as_ref().is_some_and(|action| action.0 == word)
    };
    event.stopped = event.kind == Kind::Drop
        || eve
            .verdict
            .is_some_and(|verdict| dropped(&verdict.action, "drop"));
    if let Some(flow) = eve.flow {
        event.bytes = flow.bytes_toserver;
        event.answered = flow.pkts_toclient > 0 && event.transport == "TCP";
        // Who opened the connection, whichever way the packet went that raised an alert.
        if flow.src_ip.is_some() {
            event.source = endpoint(&flow.src_ip, flow.src_port);
            event.destination = endpoint(&flow.dest_ip, flow.dest_port);
        }
    }
    if let Some(http) = eve.http {
        event.answered = true;
        event.http = Some(Http {
            method: cow(http.http_method),
            url: cow(http.url),
            host: cow(http.hostname),
            agent: cow(http.http_user_agent),
            referrer: cow(http.http_refer),
            status: http.status.unwrap_or(0),
        });
    }
    if let Some(dns) = eve.dns {
        let asked = dns.queries.into_iter().find_map(|query| query.rrname);
        event.name = cow(dns.rrname.or(asked));
        if dns.rcode.is_some_and(|code| code.0 == "NXDOMAIN") {
            event.outcome = Some(Outcome::Failure);
        }
    }
    if let Some(tls) = eve.tls {
        event.answered = true;
        event.name = cow(tls.sni);
        event.message = cow(tls.version);
    }
    if let Some(ssh) = eve.ssh {
        event.answered = true;
        event.message = cow(ssh.client.and_then(|client| client.software_version));
    }
    if let Some(file) = eve.fileinfo {
        event.file = cow(file.filename);
        event.message = cow(file.magic);
    }
    if let Some(anomaly) = eve.anomaly {
        event.message = cow(anomaly.event);
    }
    if let Some(alert) = eve.alert {
        event.stopped |= dropped(&alert.action, "blocked");
        read_alert(&mut event, alert);
    }
    Some(event)
}

fn read_alert<'a>(event: &mut Event<'a>, alert: Alert<'a>) {
    // The rule's author knows best who attacks whom.
    for (side, place) in [
        (&alert.source, &mut event.source),
        (&alert.target, &mut event.destination),
    ] {
        if let Some(side) = side
            && side.ip.is_some()
        {
            *place = endpoint(&side.ip, side.port);
        }
    }
    let class = class::of(&alert.category.0, &alert.signature.0);
    let critical = alert.metadata.is_some_and(|metadata| {
        let severity = metadata.signature_severity;
        severity.iter().any(|word| word.0 == "Critical")
    });
    let severity = match alert.severity {
        Some(1) if critical || class.critical => Severity::Critical,
        Some(1) => Severity::High,
        Some(2) => Severity::Medium,
        Some(3) => Severity::Low,
        _ => Severity::Info,
    };
    let severity = match class.category {
        Some(Category::Policy) => severity.min(Severity::Medium),
        _ => severity,
    };
    event.severity = Some(if event.stopped {
        severity.lower()
    } else {
        severity
    });
    event.category = class.category;
    event.kind = Kind::Alert;
    event.message = alert.signature.0.clone();
    event.rule = Some(Rule {
        id: alert.signature_id.0,
        name: alert.signature.0,
        category: alert.category.0,
    });
}

fn kind(event_type: &str) -> Kind {
    match event_type {
        "alert" => Kind::Alert,
        "anomaly" => Kind::Anomaly,
        "http" => Kind::Http,
        "dns" => Kind::Dns,
        "tls" => Kind::Tls,
        "flow" => Kind::Flow,
        "ssh" => Kind::Ssh,
        "fileinfo" => Kind::File,
        "drop" => Kind::Drop,
        _ => Kind::Other,
    }
}

fn cow(text: Option<Text<'_>>) -> Cow<'_, str> {
    text.unwrap_or_default().0
}

fn endpoint(ip: &Option<Text<'_>>, port: Option<u16>) -> Endpoint {
    Endpoint {
        ip: ip.as_ref().and_then(|ip| address(&ip.0)),
        port,
    }
}

/// An address; one of IPv4 in the clothes of IPv6 is one of IPv4.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}
