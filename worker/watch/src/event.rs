//! One event, whoever saw it. It borrows from its line, so that a million of them cost no memory.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::format::Format;
use crate::time::Timestamp;

/// How bad something is. [`Critical`](Self::Critical) is the highest.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Routine; nobody needs to look.
    #[default]
    Info,
    /// Unusual, but harmless alone.
    Low,
    /// Somebody should look today.
    Medium,
    /// Somebody should look now.
    High,
    /// A host is compromised, data is being lost, or the system is down.
    Critical,
}

impl Severity {
    /// All of them, the lowest first.
    pub const ALL: [Self; 5] = [
        Self::Info,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["info", "low", "medium", "high", "critical"][self as usize]
    }

    /// One step less.
    #[must_use]
    pub fn lower(self) -> Self {
        Self::ALL[(self as usize).saturating_sub(1)]
    }

    /// Of syslog's 0 (emergency) to 7 (debug).
    #[must_use]
    pub fn of_syslog(priority: u8) -> Self {
        match priority {
            0..=2 => Self::Critical,
            3 => Self::High,
            4 => Self::Medium,
            5 => Self::Low,
            _ => Self::Info,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

macro_rules! categories {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What an event or an incident is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum Category { $($(#[$doc])* $variant,)* }

        impl Category {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in JSON.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

categories! {
    /// Logins, sessions, accounts, while nobody is guessing.
    Auth = "auth",
    /// Guessing of passwords or user names.
    Bruteforce = "bruteforce",
    /// Scans and probes.
    Recon = "recon",
    /// An attempt to break in through a flaw.
    Exploit = "exploit",
    /// Command and control, miners, dropped programs.
    Malware = "malware",
    /// Rights gained or used beyond what is due.
    Privilege = "privilege",
    /// Data leaving.
    Exfiltration = "exfiltration",
    /// Floods.
    Dos = "dos",
    /// Allowed by the network but unwanted.
    Policy = "policy",
    /// Files, programs or logs changed.
    Integrity = "integrity",
    /// Traffic, links, DNS, packet filters.
    Network = "network",
    /// Requests of our own servers that are no attacks.
    Web = "web",
    /// CPU, memory, disk space.
    Resource = "resource",
    /// Disks, memory errors, temperature.
    Hardware = "hardware",
    /// Units and daemons.
    Service = "service",
}

impl Category {
    /// The category of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What kind of observation it is; ECS `event.dataset` without the product.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A rule of a sensor matched.
    Alert,
    /// Packets or a protocol that are not as they should be.
    Anomaly,
    /// A request over HTTP.
    Http,
    /// A question or an answer of DNS.
    Dns,
    /// A TLS handshake.
    Tls,
    /// The summary of a connection.
    Flow,
    /// An SSH handshake.
    Ssh,
    /// A file seen on the wire.
    File,
    /// Somebody logged in, or failed to.
    Login,
    /// A decision of another guard, such as a ban.
    Decision,
    /// A packet filter dropped or rejected something.
    Drop,
    /// The kernel says something.
    Kernel,
    /// A daemon says something.
    Log,
    /// How busy or how full a machine is.
    Metric,
    /// Anything else.
    #[default]
    Other,
}

/// Whether what was tried succeeded; ECS `event.outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It did.
    Success,
    /// It did not.
    Failure,
}

/// One side of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// The rule of a sensor that matched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule<'a> {
    /// Its number or name.
    pub id: Cow<'a, str>,
    /// What it says.
    pub name: Cow<'a, str>,
    /// The sensor's own word for its kind.
    pub category: Cow<'a, str>,
}

/// A request over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Http<'a> {
    /// `GET` and the like.
    pub method: Cow<'a, str>,
    /// The path with its query, as it was sent.
    pub url: Cow<'a, str>,
    /// Which site.
    pub host: Cow<'a, str>,
    /// Who says to ask. Written by the client.
    pub agent: Cow<'a, str>,
    /// Where the client says to come from.
    pub referrer: Cow<'a, str>,
    /// The answer's status; 0 if it is not known.
    pub status: u16,
}

/// What is measured of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Measured {
    /// How busy its processors are.
    Cpu,
    /// How much of its memory is taken.
    Memory,
    /// How full a file system is.
    Disk,
    /// Processes that want to run, for each processor.
    Load,
}

impl Measured {
    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Load => "load",
        }
    }
}

/// A measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Metric {
    /// Of what.
    pub what: Measured,
    /// In percent of what there is.
    pub percent: f64,
}

/// One event. What no field stands for is in [`original`](Self::original), and
/// [`to_ecs`](Self::to_ecs) keeps it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event<'a> {
    /// When it happened; `None` where the line does not say.
    pub time: Option<Timestamp>,
    /// How the line was written.
    pub format: Format,
    /// What kind of observation it is.
    pub kind: Kind,
    /// How bad the sensor thinks it is.
    pub severity: Option<Severity>,
    /// What it is about, if the sensor or the line says so.
    pub category: Option<Category>,
    /// Whether what was tried succeeded.
    pub outcome: Option<Outcome>,
    /// Whether it was already blocked or dropped.
    pub stopped: bool,
    /// Whether both sides spoke, so that the source's address can't be made up.
    pub answered: bool,
    /// Who began.
    pub source: Endpoint,
    /// With whom.
    pub destination: Endpoint,
    /// `TCP`, `UDP`, `ICMP`, as the sensor writes it.
    pub transport: Cow<'a, str>,
    /// The rule that matched.
    pub rule: Option<Rule<'a>>,
    /// How often more than once it happened, as the line says.
    pub repeats: u32,
    /// What ties the events of one connection together.
    pub flow_id: Option<u64>,
    /// Bytes from the source to the destination.
    pub bytes: u64,
    /// Whose account.
    pub user: Cow<'a, str>,
    /// Which program.
    pub process: Cow<'a, str>,
    /// Which machine.
    pub host: Cow<'a, str>,
    /// The request.
    pub http: Option<Http<'a>>,
    /// The name that was asked of DNS, or that TLS was asked for.
    pub name: Cow<'a, str>,
    /// The name of a file.
    pub file: Cow<'a, str>,
    /// What was measured.
    pub metric: Option<Metric>,
    /// The text for people.
    pub message: Cow<'a, str>,
    /// The whole line.
    pub original: &'a str,
}

impl Event<'_> {
    /// As nested JSON with the names of the Elastic Common Schema. Top-level fields of a JSON line
    /// that no field of [`Event`] stands for are kept below `fazai.unmapped`.
    #[must_use]
    pub fn to_ecs(&self) -> Value {
        let mut out = Map::new();
        if let Some(time) = self.time {
            out.insert("@timestamp".into(), json!(time.to_string()));
        }
        let severity = self.severity.map(Severity::name);
        out.insert(
            "event".into(),
            tidy(json!({
                "dataset": self.format.name(), "kind": self.kind, "category": self.category,
                "severity": self.severity.map(|severity| severity as u8), "outcome": self.outcome,
            })),
        );
        put(&mut out, "log", json!({ "level": severity }));
        put(
            &mut out,
            "source",
            json!({ "ip": self.source.ip, "port": self.source.port, "bytes": (self.bytes > 0).then_some(self.bytes) }),
        );
        put(
            &mut out,
            "destination",
            json!({ "ip": self.destination.ip, "port": self.destination.port }),
        );
        put(
            &mut out,
            "network",
            json!({ "transport": self.transport.to_lowercase() }),
        );
        if let Some(rule) = &self.rule {
            put(
                &mut out,
                "rule",
                json!({ "id": rule.id, "name": rule.name, "category": rule.category }),
            );
        }
        put(&mut out, "user", json!({ "name": self.user }));
        put(&mut out, "process", json!({ "name": self.process }));
        put(&mut out, "host", json!({ "name": self.host }));
        put(&mut out, "file", json!({ "name": self.file }));
        if let Some(http) = &self.http {
            put(
                &mut out,
                "url",
                json!({ "original": http.url, "domain": http.host }),
            );
            put(&mut out, "user_agent", json!({ "original": http.agent }));
            let status = (http.status > 0).then_some(http.status);
            let mut request = Map::new();
            put(
                &mut request,
                "request",
                json!({ "method": http.method, "referrer": http.referrer }),
            );
            put(&mut request, "response", json!({ "status_code": status }));
            put(&mut out, "http", Value::Object(request));
        }
        match self.kind {
            Kind::Dns => put(
                &mut out,
                "dns",
                json!({ "question": tidy(json!({ "name": self.name })) }),
            ),
            Kind::Tls => put(
                &mut out,
                "tls",
                json!({ "client": tidy(json!({ "server_name": self.name })) }),
            ),
            _ => {}
        }
        if !self.message.is_empty() {
            out.insert("message".into(), json!(self.message));
        }
        let mut own = Map::new();
        own.insert("stopped".into(), json!(self.stopped));
        own.insert("answered".into(), json!(self.answered));
        if let Some(metric) = self.metric {
            own.insert("metric".into(), json!(metric));
        }
        if let Some(flow) = self.flow_id {
            own.insert("flow_id".into(), json!(flow));
        }
        let unmapped = self.unmapped();
        if !unmapped.is_empty() {
            own.insert("unmapped".into(), Value::Object(unmapped));
        }
        out.insert("fazai".into(), Value::Object(own));
        Value::Object(out)
    }

    /// The top-level fields of a JSON line that no field here stands for.
    #[must_use]
    pub fn unmapped(&self) -> Map<String, Value> {
        let fields: Map<String, Value> = serde_json::from_str(self.original).unwrap_or_default();
        let known = self.format.known_fields();
        let unknown = |(key, _): &(String, Value)| !known.contains(&key.as_str());
        fields.into_iter().filter(unknown).collect()
    }
}

/// Without what is empty.
fn tidy(value: Value) -> Value {
    let Value::Object(fields) = value else {
        return value;
    };
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    fields
        .into_iter()
        .filter(|(_, value)| !empty(value))
        .collect()
}

fn put(out: &mut Map<String, Value>, key: &str, value: Value) {
    let value = tidy(value);
    if value.as_object().is_some_and(|fields| !fields.is_empty()) {
        out.insert(key.into(), value);
    }
}
