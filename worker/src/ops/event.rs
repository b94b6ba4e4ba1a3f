//! `event`: what a sensor or a log says; how bad it is, and what is done about it.

use std::sync::Arc;
use std::time::Duration;

use fazai_protocol::{Call, Done, ErrorCode, EventParams, WireError};
use fazai_watch::Severity;
use serde_json::{Map, Value, json};

use super::Context;
use crate::errors;
use crate::watching::record::{Record, of_wire};
use crate::watching::{Given, Pipeline, WatchFault};

/// Lines of one request.
const LINES_MAX: usize = 10_000;

/// Incidents of one answer; the worst come first.
const INCIDENTS_MAX: usize = 64;

/// How long a model is waited for, in milliseconds.
const WAIT_MS: u64 = 10_000;

/// The longest that may be wished.
const WAIT_MS_MAX: u64 = 60_000;

pub(super) async fn answer(context: &Context, call: Call<EventParams>) -> Done {
    let asked = ask(context, call).await;
    asked.unwrap_or_else(|error| context.fail(error))
}

async fn ask(context: &Context, call: Call<EventParams>) -> Result<Done, WireError> {
    let wait = wait(&call.params)?;
    let min = call.params.min_severity.map_or(Severity::Info, of_wire);
    let lines = lines(&call.input, call.params)?;
    let count = lines.len() as u64;
    let _quota = context.quota()?;
    let pipeline = context
        .watching(|pipeline| Ok(Arc::clone(pipeline)))
        .await?;
    let place = Arc::clone(&pipeline.places).try_acquire_owned();
    let place = place.map_err(|_| errors::from_watch(&WatchFault::Full))?;
    let trusted = context.user.administers();
    let met = pipeline.ask(lines, trusted);
    let met = met.map_err(|fault| errors::from_watch(&fault))?.await;
    let met = met.map_err(|_| errors::from_watch(&WatchFault::Stopping))?;
    if met.unreadable == count {
        let message = "no line of it can be read as an event";
        return Err(WireError::new(ErrorCode::InvalidRequest, message)
            .with_hint("input is lines of a log or of JSON, params.event an object"));
    }
    let given = met.incidents.into_iter().map(|taken| Given {
        incident: taken.incident,
        trusted,
        news: taken.news,
    });
    let given: Vec<Given> = given.collect();
    let judging = {
        let (pipeline, given) = (Arc::clone(&pipeline), given.clone());
        // Judged to the end, whoever waits for it.
        tokio::spawn(async move {
            let _place = place;
            if given.is_empty() {
                return Ok(Vec::new());
            }
            pipeline.judge(given).await
        })
    };
    let (records, by_rules) = tokio::select! {
        judged = judging => {
            let judged = judged.map_err(|_| super::panicked("the judgement"))?;
            (judged.map_err(|fault| errors::from_watch(&fault))?, false)
        }
        () = tokio::time::sleep(wait) => (rules_alone(&pipeline, &given), true),
        () = context.told_to_stop() => return Err(context.stop_error()),
    };
    let mut found = Found {
        records,
        by_rules,
        lines: count,
        unreadable: met.unreadable,
        more: 0,
    };
    found.keep(min);
    Ok(context.done_with(found.text(), found.data(trusted)))
}

fn rules_alone(pipeline: &Pipeline, given: &[Given]) -> Vec<Arc<Record>> {
    given
        .iter()
        .map(|given| Arc::new(pipeline.by_rules(given)))
        .collect()
}

/// What the answer has.
struct Found {
    records: Vec<Arc<Record>>,
    /// Nobody waited for the model.
    by_rules: bool,
    lines: u64,
    unreadable: u64,
    /// Incidents that there was no room for.
    more: usize,
}

impl Found {
    fn keep(&mut self, min: Severity) {
        self.records.retain(|record| record.severity >= min);
        self.more = self.records.len().saturating_sub(INCIDENTS_MAX);
        self.records.truncate(INCIDENTS_MAX);
    }

    fn text(&self) -> String {
        if self.records.is_empty() {
            return "info: it belongs to no incident".to_owned();
        }
        let mut lines: Vec<String> = self.records.iter().map(|record| record.line()).collect();
        if self.more > 0 {
            lines.push(format!("{} more", self.more));
        }
        lines.join("\n")
    }

    fn data(&self, for_administrator: bool) -> Value {
        let worst = self.records.iter().map(|record| record.severity).max();
        let incidents = self
            .records
            .iter()
            .map(|record| record.data(for_administrator));
        json!({
            "severity": worst.unwrap_or(Severity::Info),
            "incidents": incidents.collect::<Vec<Value>>(),
            "more": self.more,
            "lines": self.lines,
            "unreadable": self.unreadable,
            "rules_alone": self.by_rules,
        })
    }
}

fn wait(params: &EventParams) -> Result<Duration, WireError> {
    let wait = params.wait_ms.unwrap_or(WAIT_MS);
    if wait > WAIT_MS_MAX {
        let message = format!("params.wait_ms is at most {WAIT_MS_MAX}");
        return Err(WireError::new(ErrorCode::InvalidParams, message));
    }
    Ok(Duration::from_millis(wait))
}

/// The lines of the input, and the event that the parameters are.
fn lines(input: &str, params: EventParams) -> Result<Vec<Vec<u8>>, WireError> {
    let text = input.lines().filter(|line| !line.trim().is_empty());
    let mut lines: Vec<Vec<u8>> = text
        .take(LINES_MAX + 1)
        .map(|line| line.as_bytes().to_vec())
        .collect();
    let alert = alert(&params);
    let objects = params.event.into_iter().chain(alert);
    lines.extend(objects.map(|object| Value::Object(object).to_string().into_bytes()));
    if lines.len() > LINES_MAX {
        let message = format!("a request has at most {LINES_MAX} lines");
        return Err(WireError::new(ErrorCode::InvalidRequest, message)
            .with_hint("send several, or let the worker follow the file: [watch] files"));
    }
    if lines.is_empty() {
        let error = WireError::new(ErrorCode::InvalidRequest, "there is no event");
        return Err(error.with_hint("input is lines of a log or of JSON, params.event an object"));
    }
    Ok(lines)
}

/// The network alert of an older client, if the parameters are one.
fn alert(params: &EventParams) -> Option<Map<String, Value>> {
    let fields = [
        ("timestamp", json!(params.timestamp)),
        ("source_ip", json!(params.source_ip)),
        ("dest_ip", json!(params.dest_ip)),
        ("source_port", json!(params.source_port)),
        ("dest_port", json!(params.dest_port)),
        ("service", json!(params.service)),
        ("threat_type", json!(params.threat_type)),
        ("description", json!(params.description)),
        ("risk_level", json!(params.risk_level)),
        ("action", json!(params.action)),
    ];
    let there = fields.into_iter().filter(|(_, value)| !value.is_null());
    let object: Map<String, Value> = there
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    (!object.is_empty()).then_some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_may_come_in_three_ways_and_has_a_limit() {
        let read = |input: &str, params| lines(input, params).map(|lines| lines.len());
        let nothing = EventParams::default;
        assert_eq!(read("one\n\ntwo\r\n", nothing()), Ok(2));
        let event = json!({ "event_type": "alert" }).as_object().cloned();
        let both = EventParams {
            event,
            threat_type: Some("rbl_listed".to_owned()),
            ..nothing()
        };
        assert_eq!(read("", both.clone()), Ok(2));
        assert_eq!(read("x", both), Ok(3));
        let code = |read: Result<usize, WireError>| read.map_err(|error| error.code);
        let wrong = Err(ErrorCode::InvalidRequest);
        assert_eq!(code(read(" \n", nothing())), wrong);
        assert_eq!(code(read(&"x\n".repeat(LINES_MAX + 1), nothing())), wrong);
        assert_eq!(read(&"x\n".repeat(LINES_MAX), nothing()), Ok(LINES_MAX));
    }
}
