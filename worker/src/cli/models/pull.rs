//! `fazai models pull`: a download with a progress bar.

use clap::Args;
use fazai_models::store::{
    PullError, PullEvent, PullListener, PullOptions, PullRetry, PullStep, catalog,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::super::{Interrupted, block_on, output};
use super::{Place, describe};

/// Download a model, or the rest of one
#[derive(Debug, Args)]
#[command(after_help = "\
A download that was interrupted goes on where it was. Environment: HF_ENDPOINT names another hub,
HF_TOKEN opens models that need an account, HF_HUB_OFFLINE=1 forbids any connection.

Examples:
  fazai models pull qwen3:0.6b
  fazai models pull minilm
  fazai models pull hf:OWNER/REPO/FILE.gguf
  fazai models pull hf:OWNER/REPO/FILE.gguf@REVISION")]
pub(crate) struct Pull {
    /// A name from `fazai models catalog`, or hf:OWNER/REPO/FILE.gguf[@REVISION]
    model: String,
    /// Make no connection; succeed only if it is here already
    #[arg(long)]
    offline: bool,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Pull {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let store = self.place.store()?;
        let mut options = PullOptions::from_env();
        options.offline |= self.offline;
        if let Some(wanted) = catalog::find_directory(&self.model) {
            let pulled =
                shown(async |listener| store.pull_directory(wanted, &options, listener).await);
            let path = pulled?;
            let text = format!(
                "{} is here: records are found by its meaning now (`fazai memory embed` for those \
                 that are there already)",
                path.display()
            );
            return output::print(self.json, &text, &json!({ "path": path }));
        }
        let entry = shown(async |listener| store.pull(&self.model, &options, listener).await)?;
        let name = entry.alias.unwrap_or(&entry.name);
        let text = format!(
            "{name} is here ({})\n  fazai ask --model {name} \"...\"",
            output::bytes(entry.bytes)
        );
        output::print(self.json, &text, &describe(&entry))
    }
}

/// Downloads with a bar, until that is done or the user interrupts it.
fn shown<T>(pull: impl AsyncFnOnce(PullListener<'_>) -> Result<T, PullError>) -> anyhow::Result<T> {
    let bar = Bar::new();
    let pulled = block_on(async {
        let mut listener = |event: &PullEvent| bar.show(event);
        tokio::select! {
            pulled = pull(&mut listener) => Ok(pulled?),
            // What is on the disk stays, and the next pull goes on from there.
            _ = tokio::signal::ctrl_c() => Err(Interrupted.into()),
        }
    });
    bar.0.finish_and_clear();
    pulled
}

/// Drawn on standard error, and only on a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new(0);
        let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        let style = ProgressStyle::with_template(style).expect("the template is good");
        bar.set_style(style);
        bar.set_message("asking the hub");
        bar.tick();
        Self(bar)
    }

    fn show(&self, event: &PullEvent) {
        if let Some(PullRetry { why, wait }) = &event.retry {
            let text = format!("{why}; trying again in {:.1} s", wait.as_secs_f32());
            // Nobody who downloads minds that nobody reads this.
            let _ = self.0.suspend(|| output::warn(&text));
            return;
        }
        let step = match event.step {
            PullStep::Checking => "checking",
            PullStep::Fetching => "fetching",
        };
        self.0.set_length(event.total_bytes);
        self.0.set_message(format!("{step} {}", event.file));
        self.0.set_position(event.done_bytes);
    }
}
