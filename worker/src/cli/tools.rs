//! `fazai tools`: what tools there are, and calls of them past the policy.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use fazai_protocol::{Call, Line, NoParams, Operation, ToolCall, ToolParams};
use serde_json::Value;

use super::{Worker, output};

/// The commands.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A tool is part of this program, a file in the directory of tools (NAME.js, NAME.py, or a program
with NAME.toml beside it), a command of a native module, or belongs to an MCP server.

Examples:
  fazai tools list
  fazai tools show disk_usage
  fazai tools call ports
  fazai tools call read_file '{\"path\": \"/etc/hostname\"}'
  fazai tools call --dry-run packages '{\"action\": \"install\", \"name\": \"nginx\"}'")]
pub(crate) enum Tools {
    /// List the tools, and those that are broken with what is wrong
    List(List),
    /// Show everything about a tool: what it does, its parameters, its rights
    Show(Named),
    /// Call a tool, if the policy allows it, and record that
    Call(CallCommand),
    /// Print tools as models that call functions are told of them
    Spec(Spec),
}

/// List the tools, and those that are broken with what is wrong
#[derive(Debug, Args)]
pub(crate) struct List {
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// One tool
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its name
    name: String,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// Print tools as models that call functions are told of them
#[derive(Debug, Args)]
pub(crate) struct Spec {
    /// A tool's name [default: all]
    name: Option<String>,
    #[command(flatten)]
    worker: Worker,
}

/// Call a tool, if the policy allows it, and record that
#[derive(Debug, Args)]
pub(crate) struct CallCommand {
    /// The tool
    name: String,
    /// Its parameters, a JSON object
    #[arg(value_name = "JSON")]
    args: Option<String>,
    /// Say what it would ask the policy for, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Give up after so many milliseconds
    #[arg(long, value_name = "MS")]
    deadline_ms: Option<u64>,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

impl Tools {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(),
            Self::Show(named) => named.run(),
            Self::Call(call) => call.run(),
            Self::Spec(spec) => spec.run(),
        }
    }
}

fn input(text: impl Into<String>) -> Call<NoParams> {
    Call {
        input: text.into(),
        ..Call::default()
    }
}

impl List {
    fn run(&self) -> anyhow::Result<()> {
        let done = self.worker.call(Operation::Tools(input("list")))?;
        let tools = done.data.unwrap_or_default()["tools"].take();
        let rows = tools.as_array().map(Vec::as_slice).unwrap_or_default();
        let heading = ["NAME", "FROM", "RISK", "DESCRIPTION"].map(str::to_owned);
        let mut table = vec![heading.to_vec()];
        table.extend(rows.iter().map(|tool| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let about = match tool["problem"].as_str() {
                Some(problem) => format!("broken: {problem}"),
                None => text(&tool["description"]),
            };
            vec![
                text(&tool["name"]),
                text(&tool["origin"]["kind"]),
                text(&tool["risk"]),
                about,
            ]
        }));
        output::print(self.json, &output::table(&table), &tools)
    }
}

impl Named {
    fn run(&self) -> anyhow::Result<()> {
        let show = Operation::Tools(input(format!("show {}", self.name)));
        let about = self.worker.call(show)?.data.unwrap_or_default();
        output::print(self.json, &output::plain(&about), &about)
    }
}

impl Spec {
    fn run(&self) -> anyhow::Result<()> {
        let name = self.name.clone().unwrap_or_default();
        let spec = self.worker.call(Operation::ToolSpec(input(name)))?.data;
        output::print(true, "", &spec.unwrap_or_default())
    }
}

impl CallCommand {
    fn run(&self) -> anyhow::Result<()> {
        let args = self.args.as_deref().map(serde_json::from_str).transpose();
        let args =
            args.map_err(|fault| anyhow::anyhow!("the parameters are no object: {fault}"))?;
        let call = ToolCall {
            params: ToolParams {
                tool: Some(self.name.clone()),
                args,
                deadline_ms: self.deadline_ms,
                dry_run: self.dry_run,
            },
            ..ToolCall::new("")
        };
        let done = self
            .worker
            .follow(Operation::Tool(Box::new(call)), |line| {
                // Its answer comes at the end; this is what it says meanwhile.
                if let Line::Tool(piece) = line {
                    write!(io::stderr(), "{}", output::clean(&piece.result))?;
                }
                Ok(false)
            })?;
        let done = super::succeeded(done)?;
        let data = done.data.unwrap_or_default();
        let answer = if self.dry_run { &data } else { &data["answer"] };
        let result = done.result.unwrap_or_default();
        // As text: what a tool says of its answer may be JSON of something else.
        let written = answer.to_string();
        let bare = answer.is_object() && !self.dry_run && result == written;
        let text = if bare { output::plain(answer) } else { result };
        output::print(self.json, &text, answer)
    }
}
