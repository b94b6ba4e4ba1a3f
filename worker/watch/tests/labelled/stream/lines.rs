//! Lines as programs write them, so many seconds after the day began.

use std::fmt::Display;
use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde_json::{Value, json};

/// 2025-06-01, midnight.
const BEGIN_S: f64 = 1_748_736_000.0;

fn at(time: f64) -> Timestamp {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "microseconds of this century"
    )]
    Timestamp::from_microsecond(((BEGIN_S + time) * 1e6) as i64).unwrap()
}

/// `program` with its number, or without.
pub(super) fn syslog(time: f64, program: &str, text: impl Display) -> String {
    format!("{:.6} web1 {program}: {text}", at(time))
}

pub(super) fn sshd(time: f64, text: impl Display) -> String {
    syslog(time, "sshd[812]", text)
}

pub(super) fn get(time: f64, ip: Ipv4Addr, page: impl Display, status: u16, agent: &str) -> String {
    access(time, ip, &format!("GET {page} HTTP/1.1"), status, agent)
}

pub(super) fn access(time: f64, ip: Ipv4Addr, request: &str, status: u16, agent: &str) -> String {
    let when = at(time).strftime("%d/%b/%Y:%H:%M:%S +0000");
    format!("{ip} - - [{when}] \"{request}\" {status} 512 \"-\" \"{agent}\"")
}

pub(super) fn eve(
    time: f64,
    kind: &str,
    from: impl Display,
    to: impl Display,
    port: usize,
    more: Value,
) -> String {
    let when = at(time).strftime("%Y-%m-%dT%H:%M:%S%.6f+0000").to_string();
    let mut line = json!({
        "timestamp": when, "event_type": kind, "src_ip": from.to_string(), "src_port": 40_000,
        "dest_ip": to.to_string(), "dest_port": port, "proto": "TCP",
    });
    let (Value::Object(fields), Value::Object(more)) = (&mut line, more) else {
        unreachable!("both are objects");
    };
    fields.extend(more);
    line.to_string()
}

pub(super) fn flow(answers: u32, sent: u64, received: u64) -> Value {
    json!({ "flow": {
        "pkts_toserver": 1 + sent / 1_400, "pkts_toclient": answers, "bytes_toserver": sent, "bytes_toclient": received,
        "state": if answers == 0 { "new" } else { "closed" },
    } })
}

/// Of the highest severity.
pub(super) fn alert(signature: &str, category: &str) -> Value {
    json!({
        "alert": { "action": "allowed", "gid": 1, "signature_id": 2_000_000, "signature": signature, "category": category, "severity": 1 },
        "flow": { "pkts_toserver": 4, "pkts_toclient": 4 },
    })
}
