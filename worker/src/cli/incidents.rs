//! `fazai incidents`: what the watch found, and what people say about it.

use clap::{Args, Subcommand};
use fazai_protocol::{Call, IncidentsParams, Operation};
use serde_json::Value;

use super::watch::Level;
use super::{Worker, output};

/// The commands.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
What is closed as a false positive comes later from then on, and what is like it (the same done by the
same, or the same rule of a sensor) is blocked by no rule, until one like it is closed as real.

Examples:
  fazai incidents list
  fazai incidents show 12
  fazai incidents close 12 --false-positive --note 'the backup of the mail server'")]
pub(crate) enum Incidents {
    /// List incidents, the newest first
    List(List),
    /// Show an incident with its evidence
    Show(Show),
    /// Close an incident: it was real, or a false positive
    Close(Close),
}

/// List incidents, the newest first
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Also those that were closed
    #[arg(long)]
    all: bool,
    /// The least severity
    #[arg(long, value_enum)]
    min_severity: Option<Level>,
    /// Only this category, such as bruteforce
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<u64>,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// Show an incident with its evidence
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its number, from the list
    id: u64,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// Close an incident
#[derive(Debug, Args)]
pub(crate) struct Close {
    /// Its number, from the list
    id: u64,
    /// It was none: what is like it is only told from now on
    #[arg(long)]
    false_positive: bool,
    /// Why, for those who come later
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

impl Incidents {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(),
            Self::Show(show) => show.run(),
            Self::Close(close) => close.run(),
        }
    }
}

fn operation(input: String, params: IncidentsParams) -> Operation {
    Operation::Incidents(Call {
        input,
        params,
        ..Call::default()
    })
}

impl List {
    fn run(&self) -> anyhow::Result<()> {
        let params = IncidentsParams {
            min_severity: self.min_severity.map(Level::to_wire),
            category: self.category.clone(),
            all: self.all,
            limit: self.limit,
            ..IncidentsParams::default()
        };
        let list = operation("list".to_owned(), params);
        let done = self.worker.call(list)?;
        let incidents = done.data.unwrap_or_default()["incidents"].take();
        let rows = incidents.as_array().map(Vec::as_slice).unwrap_or_default();
        let heading = ["ID", "TIME", "SEVERITY", "CATEGORY", "WHO", "ACTION", ""];
        let mut table = vec![heading.map(str::to_owned).to_vec()];
        table.extend(rows.iter().map(row));
        output::print(self.json, &output::table(&table), &incidents)
    }
}

fn row(incident: &Value) -> Vec<String> {
    let text = |name: &str| incident[name].as_str().unwrap_or_default().to_owned();
    let mut action = text("action");
    if incident["dry_run"] == true {
        action += " (dry run)";
    }
    let stands = match &incident["closed"] {
        Value::Null if incident["review"] == true => "look yourself",
        Value::Null => "",
        closed if closed["false_positive"] == true => "false positive",
        _ => "closed",
    };
    vec![
        incident["id"].to_string(),
        text("time"),
        text("severity"),
        text("category"),
        text("who"),
        action,
        stands.to_owned(),
    ]
}

impl Show {
    fn run(&self) -> anyhow::Result<()> {
        let show = operation(format!("show {}", self.id), IncidentsParams::default());
        let done = self.worker.call(show)?;
        let data = done.data.unwrap_or(Value::Null);
        let mut text = done.result.unwrap_or_default();
        text += &format!("\n{}", data["reason"].as_str().unwrap_or_default());
        let evidence = data["incident"]["evidence"].as_array();
        for line in evidence.map(Vec::as_slice).unwrap_or_default() {
            let part = |name: &str| line[name].as_str().unwrap_or_default();
            text += &format!("\n{} {}", part("id"), part("text"));
        }
        output::print(self.json, &text, &data)
    }
}

impl Close {
    fn run(&self) -> anyhow::Result<()> {
        let params = IncidentsParams {
            false_positive: self.false_positive,
            note: self.note.clone(),
            ..IncidentsParams::default()
        };
        let close = operation(format!("close {}", self.id), params);
        self.worker.print(close, self.json)
    }
}
