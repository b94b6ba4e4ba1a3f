//! Incidents as text for people and as lines of JSON for pipes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use fazai_watch::action::{Action, Proposal, Rules};
use fazai_watch::incident::IncidentId;
use fazai_watch::judge::{self, Answer, JudgeError, Verdict};
use fazai_watch::{Incident, Severity};
use serde::Serialize;

use super::super::output;

/// Lines of evidence that people see.
const LINES_MAX: usize = 3;

/// How much of each, in characters.
const LINE_CHARS_MAX: usize = 160;

/// Rules that people see.
pub(super) const RULES_MAX: usize = 3;

/// Where incidents are shown.
pub(super) struct Show {
    rules: Rules,
    min: Severity,
}

/// A line of JSON.
#[derive(Serialize)]
struct Line<'i> {
    severity: Severity,
    proposal: &'i Proposal,
    dry_run: bool,
    verdict: &'i Verdict,
    incident: &'i Incident,
}

impl Show {
    pub(super) fn new(rules: Rules, min: Severity) -> Self {
        Self { rules, min }
    }

    /// Shows what is bad enough, the worst first.
    pub(super) fn all(
        &self,
        incidents: Vec<Incident>,
        answers: &mut BTreeMap<IncidentId, Result<Answer, JudgeError>>,
    ) -> anyhow::Result<()> {
        let mut judged: Vec<(Incident, Verdict)> = incidents
            .into_iter()
            .map(|incident| {
                let verdict = judge::decide(&incident, answers.remove(&incident.id));
                (incident, verdict)
            })
            .filter(|(_, verdict)| verdict.severity >= self.min)
            .collect();
        judged.sort_by(|(_, one), (_, other)| other.rank.total_cmp(&one.rank));
        let mut out = io::stdout().lock();
        for (incident, verdict) in &judged {
            let proposal = self.rules.propose(incident, verdict);
            if output::piped() {
                let line = Line {
                    severity: verdict.severity,
                    proposal: &proposal,
                    dry_run: true,
                    verdict,
                    incident,
                };
                serde_json::to_writer(&mut out, &line)?;
                out.write_all(b"\n")?;
            } else {
                out.write_all(output::clean(&text(incident, verdict, &proposal)).as_bytes())?;
            }
        }
        Ok(out.flush()?)
    }
}

/// What people see of an incident.
pub(super) struct Shown<'i> {
    pub(super) severity: &'i str,
    pub(super) category: &'i str,
    pub(super) who: String,
    pub(super) rules: String,
    /// `would block ...`
    pub(super) does: String,
    pub(super) model: Option<String>,
    pub(super) refused: Option<&'i str>,
    pub(super) instructs: bool,
    pub(super) review: bool,
    pub(super) lines: Vec<(&'i str, u64, &'i str)>,
}

fn text(incident: &Incident, verdict: &Verdict, proposal: &Proposal) -> String {
    let who = match incident.actor {
        Some(ip) => ip.to_string(),
        None if incident.actors > 0 => format!("about {} sources", incident.actors),
        None => incident.subject.clone(),
    };
    let rules = incident.rules.iter().take(RULES_MAX);
    let rules = rules.map(|rule| format!("{} ({})", rule.rule, rule.count));
    let answer = verdict.answer.as_ref();
    let model =
        answer.map(|answer| format!("{} {}: {}", answer.severity, answer.category, answer.reason));
    let evidence = incident.evidence.iter();
    let lines = evidence.map(|line| (&*line.id, line.place.at, &*line.text));
    let shown = Shown {
        severity: verdict.severity.name(),
        category: verdict.category.name(),
        who,
        rules: rules.collect::<Vec<String>>().join(", "),
        does: format!("would {}", would(proposal)),
        model,
        refused: verdict.refused.as_deref(),
        instructs: incident.instructs,
        review: verdict.review,
        lines: lines.collect(),
    };
    shown.text()
}

impl Shown<'_> {
    pub(super) fn text(&self) -> String {
        let severity = self.severity.to_uppercase();
        let mut text = format!(
            "{severity:8} {} {}: {}\n  {}\n",
            self.category, self.who, self.rules, self.does
        );
        if let Some(model) = &self.model {
            let _ = writeln!(text, "  model: {model}");
        }
        if let Some(refused) = self.refused {
            let _ = writeln!(text, "  no model: {refused}");
        }
        if self.instructs {
            text.push_str("  look yourself: the evidence tries to give orders\n");
        } else if self.review {
            text.push_str("  look yourself: rules and model differ\n");
        }
        for (id, at, line) in self.lines.iter().take(LINES_MAX) {
            let cut: String = line.chars().take(LINE_CHARS_MAX).collect();
            let _ = writeln!(text, "  {id} at {at}: {cut}");
        }
        text
    }
}

fn would(proposal: &Proposal) -> String {
    let rule = &proposal.rule;
    match &proposal.action {
        Action::Log => "keep it".to_owned(),
        Action::Alert => format!("alert (rule {rule})"),
        Action::BlockIp { net, ttl_s } => format!("block {net} for {ttl_s} s (rule {rule})"),
        Action::RateLimit {
            net,
            per_second,
            ttl_s,
        } => {
            format!("limit {net} to {per_second} packets in a second for {ttl_s} s (rule {rule})")
        }
        Action::DenyFile { net, ttl_s } => format!("deny {net} for {ttl_s} s (rule {rule})"),
    }
}
