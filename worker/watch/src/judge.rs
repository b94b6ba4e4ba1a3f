//! A model's opinion on an incident. It ranks and explains; by itself it never blocks anything,
//! and it can't make less of what rules understand.

pub mod prompt;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::event::{Category, Severity};
use crate::incident::Incident;

/// Longest answer, in bytes.
pub const ANSWER_BYTES_MAX: usize = 8 << 10;

/// Longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 400;

/// Longest time that an answer may ask for, in seconds.
pub const TTL_S_MAX: u32 = 86_400;

/// What a model would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Nothing but to keep it.
    Log,
    /// Tell somebody.
    Alert,
    /// Let less of it through.
    RateLimit,
    /// Let nothing through.
    Block,
}

/// What a model answered, checked against its incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// How bad it thinks it is.
    pub severity: Severity,
    /// What it thinks it is about.
    pub category: Category,
    /// How sure it is, from 0 to 1; `None` where the model was not asked.
    pub confidence: Option<f32>,
    /// What it would do.
    pub action: Wish,
    /// Against whom.
    pub target: Option<IpAddr>,
    /// For how long.
    pub ttl_s: u32,
    /// The lines that show it.
    pub evidence: Vec<String>,
    /// Why, in one sentence.
    pub reason: String,
}

/// Why an answer does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is not the JSON that was asked for.
    #[error("the model's answer is not the JSON that was asked for: {0}; try a larger model")]
    Json(String),
    /// It is too long.
    #[error("the model's answer has {0} bytes, more than {ANSWER_BYTES_MAX}; try another model")]
    Long(usize),
    /// It names a line that it was not shown.
    #[error("the model names evidence `{0}`, which does not exist; its answer does not count")]
    Evidence(String),
    /// It shows nothing.
    #[error("the model names no evidence; its answer does not count")]
    NoEvidence,
    /// It wants something done to somebody who has nothing to do with it.
    #[error("the model's target {0} is no party to the incident; its answer does not count")]
    Target(IpAddr),
    /// It wants something done, and not to whom.
    #[error("the model wants an action without a target; its answer does not count")]
    NoTarget,
    /// A number out of its range.
    #[error("the model's `{0}` is out of range; its answer does not count")]
    Range(&'static str),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The model could not be asked.
    #[error("the model could not be asked: {0}; rules decide alone")]
    Model(String),
    /// It answered, and that does not count.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

/// Somebody who has an opinion on incidents; the worker implements it with its model.
pub trait Judge {
    /// Judges all of them at once; the answers stand in the same order.
    fn judge(&mut self, incidents: &[Incident]) -> Vec<Result<Answer, JudgeError>>;
}

/// The JSON Schema of the answer for this incident: only its own lines and parties can be named.
#[must_use]
pub fn schema(incident: &Incident) -> Value {
    let ids: Vec<&str> = incident.evidence.iter().map(|line| &*line.id).collect();
    let mut targets: Vec<Value> = parties(incident).map(|ip| json!(ip)).collect();
    targets.push(Value::Null);
    json!({
        "type": "object",
        "properties": {
            "severity": { "enum": Severity::ALL },
            "category": { "enum": Category::ALL },
            "confidence": { "type": "number", "minimum": 0, "maximum": 1 },
            "action": { "enum": [Wish::Log, Wish::Alert, Wish::RateLimit, Wish::Block] },
            "target": { "enum": targets },
            "ttl_s": { "type": "integer", "minimum": 0, "maximum": TTL_S_MAX },
            "evidence": { "type": "array", "items": { "enum": ids }, "minItems": 1, "maxItems": ids.len().max(1) },
            "reason": { "type": "string", "minLength": 1, "maxLength": 160 },
        },
        "required": ["severity", "category", "confidence", "action", "target", "ttl_s", "evidence", "reason"],
        "additionalProperties": false,
    })
}

/// Who takes part, as the fields of events say. An address in the text of a line is nobody's.
fn parties(incident: &Incident) -> impl Iterator<Item = IpAddr> {
    incident
        .actor
        .into_iter()
        .chain(incident.peers.iter().copied())
}

/// Reads an answer and checks all that it refers to.
pub fn read(incident: &Incident, text: &str) -> Result<Answer, AnswerError> {
    if text.len() > ANSWER_BYTES_MAX {
        return Err(AnswerError::Long(text.len()));
    }
    let answer: Answer =
        serde_json::from_str(text).map_err(|fault| AnswerError::Json(fault.to_string()))?;
    check(incident, answer)
}

/// Checks all that an answer refers to.
pub fn check(incident: &Incident, mut answer: Answer) -> Result<Answer, AnswerError> {
    if answer.evidence.is_empty() {
        return Err(AnswerError::NoEvidence);
    }
    let known = |id: &String| incident.evidence.iter().any(|line| line.id == *id);
    if let Some(unknown) = answer.evidence.iter().find(|id| !known(id)) {
        return Err(AnswerError::Evidence(prompt::clean(unknown, 40)));
    }
    if let Some(stranger) = answer
        .target
        .filter(|ip| !parties(incident).any(|party| party == *ip))
    {
        return Err(AnswerError::Target(stranger));
    }
    if matches!(answer.action, Wish::Block | Wish::RateLimit) && answer.target.is_none() {
        return Err(AnswerError::NoTarget);
    }
    if answer
        .confidence
        .is_some_and(|sure| !(0.0..=1.0).contains(&sure))
    {
        return Err(AnswerError::Range("confidence"));
    }
    if answer.ttl_s > TTL_S_MAX {
        return Err(AnswerError::Range("ttl_s"));
    }
    answer.reason = prompt::clean(&answer.reason, REASON_BYTES_MAX);
    Ok(answer)
}

/// Who decided how bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// Rules alone.
    Rules,
    /// Rules, and a model that was asked as well.
    RulesAndModel,
}

/// What is made of an incident.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// How bad it is. Never less than the rules say.
    pub severity: Severity,
    /// What it is about.
    pub category: Category,
    /// Who decided that.
    pub decided_by: DecidedBy,
    /// Whether a person should look: rules and model differ by two steps or more, or the evidence
    /// tries to give orders.
    pub review: bool,
    /// What comes first: higher first, from 0 to 5.
    pub rank: f32,
    /// What the model says, if it was asked and its answer counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// Why its answer does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Puts rules and model together.
///
/// What the rules understand keeps its severity and category, whatever the model says. Where they
/// do not ([`Incident::clear`]), the model may raise the severity, to high at most, and name the
/// category. An answer to evidence that gives orders is shown and counts for nothing.
#[must_use]
pub fn decide(incident: &Incident, answer: Option<Result<Answer, JudgeError>>) -> Verdict {
    let (answer, refused) = match answer {
        None => (None, None),
        Some(Ok(answer)) => (Some(answer), None),
        Some(Err(fault)) => (None, Some(fault.to_string())),
    };
    let heard = answer.as_ref().filter(|_| !incident.instructs);
    let mut severity = incident.severity;
    let mut category = incident.category;
    let mut rank = f32::from(severity as u8);
    let mut far = false;
    if let Some(answer) = heard {
        let distance = (answer.severity as u8).abs_diff(severity as u8);
        if incident.clear {
            far = distance >= 2;
        } else {
            severity = severity.max(answer.severity.min(Severity::High));
            category = answer.category;
        }
        rank = f32::from(severity as u8);
        // Within a severity, what the model fears more comes first.
        let sure = answer.confidence.unwrap_or(0.5);
        rank += 0.2 * f32::from(answer.severity as u8) * sure;
    }
    Verdict {
        severity,
        category,
        decided_by: if heard.is_some() {
            DecidedBy::RulesAndModel
        } else {
            DecidedBy::Rules
        },
        review: far || incident.instructs,
        rank,
        answer,
        refused,
    }
}
