//! An incident as it was judged, with what was done about it.

use std::net::IpAddr;

use fazai_protocol::{ActionId, IncidentKind, IncidentLine};
use fazai_watch::action::{Action, Kind};
use fazai_watch::judge::{DecidedBy, Verdict};
use fazai_watch::{Category, Incident, Severity};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An incident as it was judged. This is also what clients get as data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its number, which stays the same while it grows.
    pub(crate) id: u64,
    /// The number of this judgement.
    pub(crate) seq: u64,
    pub(crate) time: String,
    pub(crate) severity: Severity,
    pub(crate) category: Category,
    pub(crate) confidence: Option<f32>,
    #[serde(flatten)]
    pub(crate) did: Did,
    /// The lines that show it.
    pub(crate) evidence: Vec<String>,
    pub(crate) reason: String,
    pub(crate) actor: Option<IpAddr>,
    pub(crate) subject: String,
    /// What comes first: higher first.
    pub(crate) rank: f32,
    /// A person should look.
    pub(crate) review: bool,
    /// Whether a model was heard.
    pub(crate) by_model: bool,
    /// Whether only administrators and sources of the settings brought its lines.
    pub(crate) trusted: bool,
    /// The one like it that a person called a false positive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) like: Option<u64>,
    /// The lists that know its actor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) listed: Vec<Value>,
    pub(crate) incident: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) closed: Option<Closed>,
}

/// What is done about an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Did {
    pub(crate) action: Kind,
    /// To whom, if it is more than to tell.
    pub(crate) target: Option<IpNet>,
    /// For how long.
    pub(crate) ttl_s: u32,
    /// The rule that says so.
    pub(crate) rule: String,
    /// Whether it is only said.
    pub(crate) dry_run: bool,
    /// Why less is done than a rule says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instead: Option<String>,
}

/// How a person ended an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closed {
    pub(crate) by: String,
    pub(crate) time: String,
    pub(crate) false_positive: bool,
    pub(crate) note: String,
}

impl Did {
    /// What a rule proposes, as far as it is done.
    pub(super) fn new(action: &Action, rule: &str, dry_run: bool) -> Self {
        let (kind, ttl_s) = match action {
            Action::Log => (Kind::Log, 0),
            Action::Alert => (Kind::Alert, 0),
            Action::BlockIp { ttl_s, .. } => (Kind::BlockIp, *ttl_s),
            Action::RateLimit { ttl_s, .. } => (Kind::RateLimit, *ttl_s),
            Action::DenyFile { ttl_s, .. } => (Kind::DenyFile, *ttl_s),
        };
        Self {
            action: kind,
            target: action.net(),
            ttl_s,
            rule: rule.to_owned(),
            dry_run: dry_run && action.net().is_some(),
            instead: None,
        }
    }

    /// Somebody is told, and nothing else is done.
    pub(super) fn only_alert(rule: &str, why: String) -> Self {
        Self {
            instead: Some(why),
            ..Self::new(&Action::Alert, rule, false)
        }
    }

    fn text(&self) -> String {
        let name = json!(self.action);
        let name = name.as_str().unwrap_or_default();
        let ttl = match self.ttl_s {
            0 => String::new(),
            ttl_s => format!(" {ttl_s} s"),
        };
        match (&self.instead, self.dry_run) {
            (Some(why), _) => format!("{name} (no block: {why})"),
            (None, true) => format!("{name}{ttl} (dry run)"),
            (None, false) => format!("{name}{ttl}"),
        }
    }
}

impl Record {
    pub(super) fn new(incident: &Incident, verdict: &Verdict, did: Did, trusted: bool) -> Self {
        let by_model = verdict.decided_by == DecidedBy::RulesAndModel;
        let heard = verdict.answer.as_ref().filter(|_| by_model);
        let all = || incident.evidence.iter().map(|line| line.id.clone());
        Self {
            id: incident.id.0,
            seq: 0,
            time: crate::ops::timestamp(),
            severity: verdict.severity,
            category: verdict.category,
            confidence: heard.and_then(|answer| answer.confidence),
            did,
            evidence: heard.map_or_else(|| all().collect(), |answer| answer.evidence.clone()),
            reason: heard.map_or_else(|| by_rules(incident), |answer| answer.reason.clone()),
            actor: incident.actor,
            subject: incident.subject.clone(),
            rank: verdict.rank,
            review: verdict.review,
            by_model,
            trusted,
            like: None,
            listed: Vec::new(),
            incident: json!(incident),
            answer: verdict.answer.as_ref().map(|answer| json!(answer)),
            closed: None,
        }
    }

    /// Who or what it is about, in a word.
    pub(crate) fn who(&self) -> String {
        match self.actor {
            Some(ip) => ip.to_string(),
            None if self.subject.is_empty() => "many sources".to_owned(),
            None => self.subject.clone(),
        }
    }

    /// `high bruteforce 203.0.113.9: block_ip 600 s (dry run)`
    pub(crate) fn line(&self) -> String {
        let (severity, category) = (self.severity, self.category);
        format!("{severity} {category} {}: {}", self.who(), self.did.text())
    }

    /// The rules of sensors that matched.
    pub(crate) fn signatures(&self) -> impl Iterator<Item = &str> {
        let rules = self.incident["rules"].as_array();
        let rules = rules.map(Vec::as_slice).unwrap_or_default();
        let sensors = rules.iter().filter(|rule| rule["sensor"] == true);
        sensors.filter_map(|rule| rule["rule"].as_str())
    }

    /// As data. Lines of logs, and what quotes them, are for administrators.
    pub(crate) fn data(&self, for_administrator: bool) -> Value {
        let mut data = json!(self);
        if !for_administrator {
            data["reason"] = Value::Null;
            let Some(fields) = data.as_object_mut() else {
                return data;
            };
            fields.shift_remove("answer");
            if let Some(incident) = fields["incident"].as_object_mut() {
                incident.shift_remove("evidence");
                incident.shift_remove("users");
            }
        }
        data
    }

    /// As data of one row.
    pub(crate) fn row(&self) -> Value {
        json!({
            "id": self.id,
            "seq": self.seq,
            "time": self.time,
            "severity": self.severity,
            "category": self.category,
            "who": self.who(),
            "action": self.did.action,
            "dry_run": self.did.dry_run,
            "review": self.review,
            "rank": self.rank,
            "closed": self.closed,
        })
    }

    /// As a line for a subscriber.
    pub(crate) fn to_line(&self, action_id: ActionId, for_administrator: bool) -> IncidentLine {
        IncidentLine {
            action_id,
            input: String::new(),
            result: self.line(),
            metadata: IncidentKind {
                severity: to_wire(self.severity),
                category: self.category.name().to_owned(),
            },
            timestamp: self.time.clone(),
            source: None,
            model: None,
            seq: self.seq,
            data: self.data(for_administrator),
        }
    }
}

/// A record for tests.
#[cfg(test)]
pub(super) fn example(id: u64, actor: Option<&str>) -> Record {
    let record = json!({
        "id": id, "seq": id, "time": "", "severity": "low", "category": "auth",
        "confidence": null, "action": "alert", "target": null, "ttl_s": 0, "rule": "tell",
        "dry_run": false, "evidence": [], "reason": "", "actor": actor, "subject": "",
        "rank": 1.0, "review": false, "by_model": false, "trusted": true, "incident": {},
    });
    serde_json::from_value(record).expect("a record")
}

fn by_rules(incident: &Incident) -> String {
    let rules = incident.rules.iter().take(3);
    let rules = rules.map(|rule| format!("{} ({})", rule.rule, rule.count));
    rules.collect::<Vec<String>>().join(", ")
}

/// A severity as the wire has it.
fn to_wire(severity: Severity) -> fazai_protocol::Severity {
    use fazai_protocol::Severity as Wire;
    match severity {
        Severity::Info => Wire::Info,
        Severity::Low => Wire::Low,
        Severity::Medium => Wire::Medium,
        Severity::High => Wire::High,
        Severity::Critical => Wire::Critical,
    }
}

/// What a client calls a severity.
pub(crate) fn of_wire(severity: fazai_protocol::Severity) -> Severity {
    Severity::ALL[severity as usize]
}
