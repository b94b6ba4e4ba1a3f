//! Anomalies: events, incidents, subscriptions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_false;

/// How bad something is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Routine; nobody needs to look.
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

/// Named arguments of `event`. The keys of the network alerts of older clients stand for an event
/// with these fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventParams {
    /// The event as an object, beside or instead of the lines in `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<serde_json::Map<String, serde_json::Value>>,
    /// Only incidents from this severity on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
    /// How long a model is waited for, at most 60,000; otherwise 10,000. 0: rules alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// When it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<serde_json::Value>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    /// To whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_ip: Option<String>,
    /// From which port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// To which port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_port: Option<u16>,
    /// The program that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What it is, such as `database_attack`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threat_type: Option<String>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How bad it is, from 1 to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_level: Option<u8>,
    /// What was done about it, such as `blocked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// Named arguments of `subscribe`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SubscribeParams {
    /// Only incidents from this severity on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
    /// Only those of this category, such as `bruteforce`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Begin behind the line with this `seq`; otherwise with what comes from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// Named arguments of `incidents`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IncidentsParams {
    /// For "list": only those from this severity on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
    /// For "list": only those of this category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// For "list": also those that were closed.
    #[serde(skip_serializing_if = "is_false")]
    pub all: bool,
    /// For "list": at most so many, the newest; otherwise 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// For "close ID": it was none.
    #[serde(skip_serializing_if = "is_false")]
    pub false_positive: bool,
    /// For "close ID": why, for those who come later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
