//! `fazai bench`: how fast and how good a model is here, measured through the worker itself.

mod machine;
mod quality;
mod series;
mod serve;
mod speed;
mod synth;
mod tune;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use fazai::Worker;
use fazai::config::Settings;
use fazai_protocol::client::Client;
use fazai_protocol::{Call, ModelsParams, Operation, TokenizeParams};
use serde_json::Value;

use self::machine::Machine;
use super::{ModelOptions, SettingsFile, output};

/// Measure a model: how fast it is, and how well it does the worker's own jobs
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Every figure is the median of the repeats, with the smallest and the largest beside it.

Examples:
  fazai bench
  fazai bench --model ./model.gguf --prompt-tokens 512 --output-tokens 128 --repeats 9
  fazai bench --format markdown
  fazai bench quality --model builtin
  fazai bench tune --model ./model.gguf
  fazai bench serve --model ./model.gguf --peer http://127.0.0.1:8080"
)]
pub(crate) struct Bench {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    speed: speed::Speed,
}

#[derive(Debug, Subcommand)]
enum Other {
    Quality(quality::Quality),
    Serve(serve::Serve),
    Synth(synth::Synth),
    Tune(tune::Tune),
}

/// What is measured, and how the result looks.
#[derive(Debug, Clone, Args)]
struct Subject {
    #[command(flatten)]
    options: ModelOptions,
    /// How the result looks [default: text on a terminal, JSON in a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    settings: SettingsFile,
}

/// How a report looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Markdown,
    Json,
}

/// A result: a line about the model, a table with a heading, and all of it as JSON.
struct Report {
    heading: String,
    table: Vec<Vec<String>>,
    json: Value,
}

impl Bench {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match &self.other {
            None => self.speed.run(),
            Some(Other::Quality(quality)) => quality.run(),
            Some(Other::Serve(serve)) => serve.run(),
            Some(Other::Synth(synth)) => synth.run(),
            Some(Other::Tune(tune)) => tune.run(),
        }
    }
}

impl Subject {
    /// A worker for this model alone, ready to answer.
    async fn worker(&self, slots: u32, output_tokens: u32) -> anyhow::Result<Worker> {
        let mut settings = self.settings()?;
        settings.model.slots = slots;
        settings.limits.output_tokens_max = settings.limits.output_tokens_max.max(output_tokens);
        let worker = Worker::start(settings);
        worker.warm_up().await?;
        Ok(worker)
    }

    /// The settings file's, with what the command line says.
    fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = self.settings.load()?;
        self.options.apply(&mut settings)?;
        Ok(settings)
    }

    fn print(&self, report: &Report) -> anyhow::Result<()> {
        let format = self.format.unwrap_or(if output::piped() {
            Format::Json
        } else {
            Format::Text
        });
        let text = match format {
            Format::Text => format!("{}\n\n{}", report.heading, output::table(&report.table)),
            Format::Markdown => format!("{}\n\n{}", report.heading, markdown(&report.table)),
            Format::Json => report.json.to_string(),
        };
        output::say(text.trim_end())
    }
}

/// The model as the worker describes it.
async fn describe(client: &Client) -> anyhow::Result<Value> {
    let call = Call::<ModelsParams> {
        input: "load".to_owned(),
        ..Call::default()
    };
    let done = client.call(Operation::Models(call)).await?;
    Ok(done.data.unwrap_or_default())
}

/// The first so many tokens of a text, which is said again if it is too short.
async fn exactly(client: &Client, tokens: u32, text: String) -> anyhow::Result<String> {
    let mut long = text.clone();
    loop {
        let call = Call {
            input: long.clone(),
            params: TokenizeParams {
                special: false,
                pieces: true,
            },
            ..Call::default()
        };
        let done = client.call(Operation::Tokenize(call)).await?;
        let data = done.data.unwrap_or_default();
        let pieces = data["pieces"].as_array().cloned().unwrap_or_default();
        anyhow::ensure!(!pieces.is_empty(), "the text has no tokens: {text:?}");
        if pieces.len() >= tokens as usize {
            let kept = pieces.iter().take(tokens as usize);
            return Ok(kept.filter_map(Value::as_str).collect());
        }
        let missing = (tokens as usize - pieces.len()).div_ceil(pieces.len());
        long.push_str(&text.repeat(missing));
    }
}

/// A table whose first column is text and whose others are figures.
fn markdown(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
        if index == 0 {
            let figures = "---:|".repeat(row.len().saturating_sub(1));
            text.push_str(&format!("|---|{figures}\n"));
        }
    }
    text
}

/// So many in such a time; 0 for no time at all.
#[expect(clippy::cast_precision_loss, reason = "counts of tokens")]
fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() {
        0.0
    } else {
        count as f64 / time.as_secs_f64()
    }
}
