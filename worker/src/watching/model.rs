//! Incidents judged by a model of this process.

use std::net::IpAddr;

use fazai_models::tasks::TRIAGE;
use fazai_protocol::client::{Client, ClientError};
use fazai_protocol::{Ask, AskParams, FinishReason, Priority, Think};
use fazai_watch::Incident;
use fazai_watch::judge::{self, Answer, AnswerError, Judge, JudgeError, Wish, prompt};
use fazai_watch::{Category, Severity};
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::runtime::Handle;

/// Incidents that are judged at one time: they share the computation of the instructions.
pub const SLOTS: u32 = 8;

/// Incidents of a batch that are judged; the worst come first, and rules decide the others.
pub const BATCH_MAX: usize = 64;

/// Tokens of an answer.
const OUTPUT_TOKENS: u32 = 200;

/// How long one incident may take.
const DEADLINE_MS: u64 = 120_000;

/// Bytes of a line that the built-in model is given: it reads 2048 tokens.
const LINE_BYTES_MAX: usize = 1_024;

/// A model, asked through the worker of this process.
#[derive(Debug)]
pub struct Model {
    client: Client,
    builtin: bool,
    runtime: Handle,
}

impl Model {
    /// Asks by this client on this runtime. The built-in model has learnt one task, and gets that.
    #[must_use]
    pub fn new(client: Client, builtin: bool, runtime: Handle) -> Self {
        Self {
            client,
            builtin,
            runtime,
        }
    }

    async fn ask(&self, incident: &Incident) -> Result<Answer, JudgeError> {
        let ask = if self.builtin {
            triage(incident)?
        } else {
            question(incident)
        };
        let failed = |fault: ClientError| JudgeError::Model(fault.to_string());
        let done = self
            .client
            .ask(ask)
            .await
            .map_err(failed)?
            .done()
            .await
            .map_err(failed)?;
        let text = done.result.unwrap_or_default();
        if done.finish_reason != Some(FinishReason::Stop) {
            return Err(AnswerError::Json("it was cut".to_owned()).into());
        }
        if self.builtin {
            Ok(of_triage(incident, &text)?)
        } else {
            Ok(judge::read(incident, &text)?)
        }
    }
}

impl Judge for Model {
    fn judge(&mut self, incidents: &[Incident]) -> Vec<Result<Answer, JudgeError>> {
        let answers = futures_util::stream::iter(incidents).map(|incident| self.ask(incident));
        self.runtime
            .block_on(answers.buffered(SLOTS as usize).collect())
    }
}

/// The whole incident, for a model that follows instructions.
fn question(incident: &Incident) -> Ask {
    let params = params(prompt::SYSTEM, judge::schema(incident));
    Ask {
        params,
        ..Ask::new(prompt::prompt(incident))
    }
}

/// The line that shows it best, as the built-in model knows events.
fn triage(incident: &Incident) -> Result<Ask, JudgeError> {
    let schema = TRIAGE.schema.unwrap_or("true");
    let schema =
        serde_json::from_str(schema).map_err(|fault| JudgeError::Model(fault.to_string()))?;
    let line = incident.evidence.first().ok_or(AnswerError::NoEvidence)?;
    let params = params(TRIAGE.prompt.unwrap_or_default().trim(), schema);
    Ok(Ask {
        params,
        ..Ask::new(prompt::clean(&line.text, LINE_BYTES_MAX))
    })
}

fn params(system: &str, schema: serde_json::Value) -> AskParams {
    AskParams {
        system: Some(system.to_owned()),
        json_schema: Some(schema),
        max_tokens: Some(OUTPUT_TOKENS),
        temperature: Some(0.0),
        think: Some(Think::Off),
        priority: Some(Priority::Low),
        deadline_ms: Some(DEADLINE_MS),
        ..AskParams::default()
    }
}

/// The built-in model's answer to one event.
#[derive(Deserialize)]
struct Triage {
    severity: Severity,
    category: Category,
    action: String,
    reason: String,
}

/// As an answer to the incident. What the model was not asked for stays empty.
fn of_triage(incident: &Incident, text: &str) -> Result<Answer, AnswerError> {
    let triage: Triage =
        serde_json::from_str(text).map_err(|fault| AnswerError::Json(fault.to_string()))?;
    let actor: Option<IpAddr> = incident.actor;
    let action = match &*triage.action {
        "observe" => Wish::Log,
        "block" if actor.is_some() => Wish::Block,
        _ => Wish::Alert,
    };
    let answer = Answer {
        severity: triage.severity,
        category: triage.category,
        confidence: None,
        action,
        target: actor.filter(|_| action == Wish::Block),
        ttl_s: 0,
        evidence: incident
            .evidence
            .first()
            .map(|line| line.id.clone())
            .into_iter()
            .collect(),
        reason: triage.reason,
    };
    judge::check(incident, answer)
}
