//! `fazai bench`: how fast a model is here, measured through the worker itself.

mod report;

use clap::{Args, ValueEnum};
use fazai::Worker;
use fazai_models::cpu;
use fazai_protocol::client::Client;
use fazai_protocol::{Ask, AskParams, Call, ModelsParams, Operation, TokenizeParams, Usage};

use self::report::Report;
use super::{SettingsFile, output};

/// Measure a model: prompt processing, generation, time to first token
#[derive(Debug, Args)]
#[command(after_help = "\
Every figure is the median of the repeats, with the smallest and the largest beside it.

Examples:
  fazai bench
  fazai bench --model ./model.gguf --prompt-tokens 512 --output-tokens 128 --repeats 9
  fazai bench --format markdown")]
pub(crate) struct Bench {
    /// The model: a name or a path [default: the configured one]
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Tokens of the prompt whose processing is measured
    #[arg(long, value_name = "N", default_value_t = 512)]
    prompt_tokens: u32,
    /// Tokens to write
    #[arg(long, value_name = "N", default_value_t = 128)]
    output_tokens: u32,
    /// How often each is measured, after one round to warm up
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Threads that compute [default: as many as the process may use]
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// llama or candle
    #[arg(long, value_name = "BACKEND")]
    backend: Option<String>,
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

/// The question behind the time to first token.
const SHORT_PROMPT: &str = "What does exit code 137 mean?";

/// What long prompts are made of; any text will do.
const FILLER: &str = "The service stopped because its disk was full, and the log says when. ";

impl Bench {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let report = super::block_on(self.measure())?;
        let format = self.format.unwrap_or(if output::piped() {
            Format::Json
        } else {
            Format::Text
        });
        match format {
            Format::Text => print!("{}", report.text()),
            Format::Markdown => print!("{}", report.markdown()),
            Format::Json => println!("{}", report.json()),
        }
        if !report.comparable() {
            eprintln!("fazai: {}", report.warning());
        }
        Ok(())
    }

    async fn measure(&self) -> anyhow::Result<Report> {
        let mut settings = self.settings.load()?;
        settings.model.slots = 1;
        let options = [
            ("default", self.model.clone()),
            ("threads", self.threads.map(|threads| threads.to_string())),
            ("backend", self.backend.clone()),
        ];
        for (key, value) in options {
            if let Some(value) = value {
                let set = settings.set("model", key, &value);
                set.map_err(|wanted| anyhow::anyhow!("{key} {value:?}: {wanted}"))?;
            }
        }
        settings.limits.output_tokens_max =
            settings.limits.output_tokens_max.max(self.output_tokens);
        let worker = Worker::start(settings);
        worker.warm_up().await?;
        let client = worker.client();
        let prompt = long_prompt(&client, self.prompt_tokens).await?;
        let mut report = Report {
            model: describe(&client).await?,
            cpu: cpu::model_name(),
            unused_features: cpu::unused_features(),
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
            ..Report::default()
        };

        let bar = indicatif::ProgressBar::new(u64::from(self.repeats + 1) * 3);
        for round in 0..=self.repeats {
            // Each round reads another text: what was read before may be in the cache.
            let prefill = self
                .run_once(&client, &format!("{round}{prompt}"), 1)
                .await?;
            bar.inc(1);
            let generation = self
                .run_once(&client, SHORT_PROMPT, self.output_tokens)
                .await?;
            bar.inc(1);
            let first = self.run_once(&client, SHORT_PROMPT, 1).await?;
            bar.inc(1);
            // The first round only warms up.
            if round > 0 {
                report.prompt.push(per_second(
                    prefill.prompt_tokens,
                    prefill.ttft_ms - prefill.queue_ms,
                ));
                report.generation.push(generation.tokens_per_second);
                report.first_token.push(first.ttft_ms);
            }
        }
        bar.finish_and_clear();
        drop(client);
        worker.stop().await;
        Ok(report)
    }

    async fn run_once(
        &self,
        client: &Client,
        text: &str,
        output_tokens: u32,
    ) -> anyhow::Result<Usage> {
        let ask = Ask {
            params: AskParams {
                max_tokens: Some(output_tokens),
                temperature: Some(0.0),
                raw: true,
                ignore_eos: true,
                ..AskParams::default()
            },
            ..Ask::new(text)
        };
        let done = client.ask(ask).await?.done().await?;
        done.usage
            .ok_or_else(|| anyhow::anyhow!("the answer has no usage"))
    }
}

/// The model as the worker describes it.
async fn describe(client: &Client) -> anyhow::Result<serde_json::Value> {
    let call = Call::<ModelsParams> {
        input: "load".to_owned(),
        ..Call::default()
    };
    let done = client.call(Operation::Models(call)).await?;
    Ok(done.data.unwrap_or_default())
}

/// Text of exactly so many tokens, as far as the tokenizer allows.
async fn long_prompt(client: &Client, tokens: u32) -> anyhow::Result<String> {
    let mut text = String::new();
    loop {
        text.push_str(FILLER);
        let call = Call {
            input: text.clone(),
            params: TokenizeParams {
                special: false,
                pieces: true,
            },
            ..Call::default()
        };
        let done = client.call(Operation::Tokenize(call)).await?;
        let data = done.data.unwrap_or_default();
        let count = data["count"].as_u64().unwrap_or(0);
        if count < u64::from(tokens) {
            // Close the gap in one or two steps.
            let missing = u64::from(tokens) - count;
            let each = count / (text.len() / FILLER.len()).max(1) as u64;
            for _ in 0..(missing / each.max(1)) {
                text.push_str(FILLER);
            }
            continue;
        }
        let pieces = data["pieces"].as_array().cloned().unwrap_or_default();
        let kept = pieces
            .iter()
            .take(tokens as usize)
            .filter_map(|piece| piece.as_str());
        return Ok(kept.collect());
    }
}

fn per_second(count: u32, millis: f64) -> f64 {
    if millis > 0.0 {
        f64::from(count) / millis * 1e3
    } else {
        0.0
    }
}
