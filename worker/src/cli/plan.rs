//! `fazai plan`: what would be done, and what the policy says about each step.

use clap::Args;
use fazai_protocol::{Operation, PlanCall};
use serde_json::Value;

use super::{Worker, output};

/// Turn a request into steps; nothing is run
#[derive(Debug, Args)]
#[command(after_help = "\
A running worker plans, if there is one; otherwise the model is loaded for this one request.

Examples:
  fazai plan \"list open ports\"
  fazai plan \"install nginx\" | jq -r '.steps[].command'")]
pub(crate) struct Plan {
    /// What is to be done
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

impl Plan {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let call = PlanCall {
            stream: false,
            ..PlanCall::new(self.text.join(" "))
        };
        let done = self.worker.with(|client| async move {
            Ok(client.call(Operation::Plan(Box::new(call))).await?)
        })?;
        let plan = done.data.unwrap_or_default();
        output::print(self.json, &text(&plan), &plan)
    }
}

/// The steps for people.
fn text(plan: &Value) -> String {
    let steps = plan["steps"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let rows = steps.iter().enumerate().flat_map(|(index, step)| {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let what = match step["command"].as_str() {
            Some(command) => command.to_owned(),
            None => format!("tool {} {}", word(&step["name"]), step["args"]),
        };
        let verdict = match step["decision"]["verdict"].as_str() {
            Some(verdict) => format!("{verdict}: {}", word(&step["decision"]["reason"])),
            None => "this version has no such tool".to_owned(),
        };
        [
            format!("{}. {what}", index + 1),
            format!(
                "   {} (risk: {})",
                word(&step["explain"]),
                word(&step["riskLevel"])
            ),
            format!("   {verdict}"),
        ]
    });
    rows.collect::<Vec<String>>().join("\n")
}
