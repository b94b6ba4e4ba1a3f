//! `fazai plan`: what would be done, what the policy says about each step, and the steps run.

use clap::Args;
use fazai_protocol::{Operation, PlanCall, PlanParams};
use serde_json::Value;

use super::{Worker, output, runs};

/// Turn a request into steps, and run them if that is asked for
#[derive(Debug, Args)]
#[command(after_help = "\
A running worker plans, if there is one; otherwise the model is loaded for this one request.
The built-in model plans only what looks at the machine; changes need a larger one.

Examples:
  fazai plan \"list open ports\"
  fazai plan \"show memory usage\" | jq -r '.steps[].command'
  fazai plan --run \"show the load\"")]
pub(crate) struct Plan {
    /// What is to be done
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
    /// Run the steps, as far as the policy allows it
    #[arg(long)]
    run: bool,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

impl Plan {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        if self.run {
            return self.follow();
        }
        let call = PlanCall {
            stream: false,
            ..PlanCall::new(self.text.join(" "))
        };
        let done = self.worker.call(Operation::Plan(Box::new(call)))?;
        let plan = done.data.unwrap_or_default();
        output::print(self.json, &text(&plan), &plan)
    }

    fn follow(&self) -> anyhow::Result<()> {
        let call = PlanCall {
            params: PlanParams {
                run: true,
                ..PlanParams::default()
            },
            ..PlanCall::new(self.text.join(" "))
        };
        runs::follow(&self.worker, Operation::Plan(Box::new(call)), self.json)
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
            None => word(&step["problem"]),
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
