//! The incidents of the running worker, as they come.

use std::io::{self, Write as _};

use fazai_protocol::{Call, IncidentLine, Line, Operation, SubscribeParams};
use serde_json::Value;

use super::super::{Interrupted, Worker, block_on, output};
use super::Level;
use super::show::{RULES_MAX, Shown};

/// Shows incidents until it is interrupted or the worker ends.
pub(super) fn follow(worker: &Worker, min: Level) -> anyhow::Result<()> {
    block_on(async {
        let settings = worker.settings.load()?;
        let client = worker.connect.running_at(&settings).await?;
        let params = SubscribeParams {
            min_severity: Some(min.to_wire()),
            ..SubscribeParams::default()
        };
        let call = Call {
            params,
            ..Call::default()
        };
        let mut reply = client.send(Operation::Subscribe(call)).await?;
        loop {
            let line = tokio::select! {
                line = reply.next() => line?,
                _ = tokio::signal::ctrl_c() => return Err(Interrupted.into()),
            };
            match line {
                Some(Line::Incident(incident)) => show(&incident)?,
                Some(Line::Warning(warning)) => output::warn(&warning.result)?,
                Some(Line::Done(done)) => {
                    return done.error.map_or(Ok(()), |error| Err(error.into()));
                }
                Some(_) => {}
                None => return Ok(()),
            }
        }
    })
}

fn show(line: &IncidentLine) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if output::piped() {
        serde_json::to_writer(&mut out, &line.data)?;
        out.write_all(b"\n")?;
    } else {
        out.write_all(output::clean(&text(line)).as_bytes())?;
    }
    Ok(out.flush()?)
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value[name]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
}

fn word<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

fn text(line: &IncidentLine) -> String {
    let data = &line.data;
    let incident = &data["incident"];
    let rules = list(incident, "rules").take(RULES_MAX);
    let rules = rules.map(|rule| format!("{} ({})", word(rule, "rule"), rule["count"]));
    let answer = data.get("answer");
    let model = answer.map(|answer| {
        let [severity, category, reason] =
            ["severity", "category", "reason"].map(|name| word(answer, name));
        format!("{severity} {category}: {reason}")
    });
    let (who, does) = of_result(&line.result);
    let lines = list(incident, "evidence").map(|line| {
        let at = line["place"]["at"].as_u64().unwrap_or_default();
        (word(line, "id"), at, word(line, "text"))
    });
    let shown = Shown {
        severity: word(data, "severity"),
        category: word(data, "category"),
        who: who.to_owned(),
        rules: rules.collect::<Vec<String>>().join(", "),
        does: does.to_owned(),
        model,
        refused: None,
        instructs: incident["instructs"] == true,
        review: data["review"] == true,
        lines: lines.collect(),
    };
    shown.text()
}

/// `SEVERITY CATEGORY WHO: WHAT`
fn of_result(result: &str) -> (&str, &str) {
    let rest = result.splitn(3, ' ').nth(2).unwrap_or(result);
    rest.split_once(": ").unwrap_or((rest, ""))
}
