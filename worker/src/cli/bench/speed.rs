//! `fazai bench`: how fast a model is here.

mod report;

use std::time::Duration;

use clap::Args;
use fazai_protocol::client::Client;
use fazai_protocol::{Ask, AskParams, Usage};

use self::report::Measured;
use super::{Machine, Subject, describe, exactly, per_second};

#[derive(Debug, Args)]
pub(super) struct Speed {
    #[command(flatten)]
    subject: Subject,
    /// Tokens of the prompt whose processing is measured
    #[arg(long, value_name = "N", default_value_t = 512)]
    prompt_tokens: u32,
    /// Tokens to write
    #[arg(long, value_name = "N", default_value_t = 128)]
    output_tokens: u32,
    /// How often each is measured, after one round to warm up
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
}

/// The question behind the time to first token.
const SHORT_PROMPT: &str = "What does exit code 137 mean?";

/// What long prompts are made of; any text will do.
const FILLER: &str = "The service stopped because its disk was full, and the log says when. ";

impl Speed {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let measured = super::super::block_on(self.measure())?;
        self.subject.print(&measured.report())?;
        measured.machine.warn()?;
        Ok(())
    }

    async fn measure(&self) -> anyhow::Result<Measured> {
        let worker = self.subject.worker(1, self.output_tokens).await?;
        let client = worker.client();
        let filler = FILLER.repeat(self.prompt_tokens as usize / 8 + 1);
        let prompt = exactly(&client, self.prompt_tokens, filler).await?;
        let mut measured = Measured {
            model: describe(&client).await?,
            machine: Machine::here(),
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
            ..Measured::default()
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
                let reading = (prefill.ttft_ms - prefill.queue_ms).max(0.0);
                measured.prompt.push(per_second(
                    prefill.prompt_tokens.into(),
                    Duration::from_secs_f64(reading / 1e3),
                ));
                measured.generation.push(generation.tokens_per_second);
                measured.first_token.push(first.ttft_ms);
            }
        }
        bar.finish_and_clear();
        drop(client);
        worker.stop().await;
        Ok(measured)
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
