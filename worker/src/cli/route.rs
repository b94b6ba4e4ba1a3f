//! `fazai route`: where a request would go, and why.

use clap::{Args, Subcommand};
use fazai_protocol::{Ask, AskParams, Label, Operation, Quality};
use serde_json::Value;

use super::{Worker, output};

/// The commands.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Nothing is sent by these.

Examples:
  fazai route explain \"why is postfix slow?\"
  fazai route explain --label private \"why is postfix slow?\"
  fazai route explain --bytes --quality high \"why is postfix slow?\"")]
pub(crate) enum Route {
    /// Say whether a question would leave the machine, for whom, and every reason
    Explain(Explain),
}

/// Say whether a question would leave the machine, for whom, and every reason
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The question
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
    /// How confidential it is
    #[arg(long, value_parser = ["private", "internal", "public"])]
    label: Option<String>,
    /// How good the answer should be
    #[arg(long, value_parser = ["normal", "high"])]
    quality: Option<String>,
    /// As if the request itself said whether it may leave
    #[arg(long, value_name = "BOOL")]
    allow_cloud: Option<bool>,
    /// Show the exact bytes as well
    #[arg(long)]
    bytes: bool,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

impl Route {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let Self::Explain(explain) = self;
        explain.run()
    }
}

impl Explain {
    fn run(&self) -> anyhow::Result<()> {
        let ask = Ask {
            stream: false,
            params: AskParams {
                dry_run: true,
                allow_cloud: self.allow_cloud,
                label: self.label.as_deref().map(label),
                quality: self.quality.as_deref().map(quality),
                ..AskParams::default()
            },
            ..Ask::new(self.text.join(" "))
        };
        let done = self.worker.call(Operation::Ask(Box::new(ask)))?;
        let data = done.data.unwrap_or_default();
        output::print(self.json, &self.shown(&data), &data)
    }

    /// The route for people.
    fn shown(&self, data: &Value) -> String {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().map(word).collect()
        };
        let route = &data["route"];
        let mut lines = vec![match route["to"].as_str() {
            Some("cloud") => {
                let providers = list(&route["providers"]).join(", then ");
                format!(
                    "it leaves for {providers}, because of {}",
                    word(&route["cause"])
                )
            }
            Some("wait") => format!("nobody can answer for {} ms", route["wait_ms"]),
            Some("refuse") => format!("nobody can answer: {}", word(&route["reason"])),
            _ => "the local model answers".to_owned(),
        }];
        let reasons = list(&route["reasons"]);
        lines.extend(reasons.into_iter().map(|reason| format!("  {reason}")));
        for run in data["would_send"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|_| self.bytes)
        {
            lines.push(format!(
                "\nto {}: POST {}",
                word(&run["provider"]),
                word(&run["url"])
            ));
            for header in run["headers"].as_array().into_iter().flatten() {
                lines.push(format!("{}: {}", word(&header[0]), word(&header[1])));
            }
            lines.push(format!("\n{}", word(&run["body"])));
        }
        lines.join("\n")
    }
}

/// The label of this name.
pub(super) fn label(text: &str) -> Label {
    match text {
        "private" => Label::Private,
        "public" => Label::Public,
        _ => Label::Internal,
    }
}

/// The quality of this name.
pub(super) fn quality(text: &str) -> Quality {
    match text {
        "high" => Quality::High,
        _ => Quality::Normal,
    }
}
