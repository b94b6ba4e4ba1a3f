//! `fazai bench tune`: how a model runs best here, measured again.

use anyhow::Context as _;
use clap::Args;
use fazai::registry::load_options;
use fazai_models::load::{LoadOptions, Loaded, load};
use fazai_models::store::Store;
use fazai_models::tune::{Calibration, Timing, Tuning};
use serde_json::json;

use super::{Machine, Report, Subject};

/// Measure how a model runs best on this machine, and keep it for the next loads
#[derive(Debug, Args)]
#[command(after_help = "\
This happens by itself when a model is first loaded. Again it is needed when the machine was busy
then, or has changed. What is chosen: how many threads compute, whether the weights are laid out
anew for the processor (which takes memory of its own), how many prompt tokens go into one decode
alone and beside streams that are being written.

Examples:
  fazai bench tune --model ./model.gguf
  fazai bench tune --format json | jq .tuning")]
pub(super) struct Tune {
    #[command(flatten)]
    subject: Subject,
}

impl Tune {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let settings = self.subject.settings()?;
        let options = LoadOptions {
            tune_again: true,
            ..load_options(&settings)
        };
        anyhow::ensure!(
            options.tuning.is_some(),
            "the setting `tuning` is empty: there is no place to keep what is measured"
        );
        let store = Store::new(settings.model.dir.clone());
        let model = store.resolve_path_or_name(&settings.model.default)?;
        let loaded = load(&model.source, &options, &mut |_| true)?;
        let report = report(&loaded).context(
            "nothing to choose: a model below 32 MiB runs on one thread, and with candle or on a \
             GPU nothing is measured",
        )?;
        self.subject.print(&report)
    }
}

fn report(loaded: &Loaded) -> Option<Report> {
    let Calibration { tuning, timings } = loaded.calibration.as_ref()?;
    let machine = Machine::here();
    Some(Report {
        heading: format!(
            "{} on {}: {}",
            loaded.info.title,
            machine.cpu,
            in_words(tuning)
        ),
        table: table(timings),
        json: json!({
            "model": loaded.info.title,
            "cpu": machine.cpu,
            "tuning": tuning,
            "timings": timings,
        }),
    })
}

fn in_words(tuning: &Tuning) -> String {
    let layout = if tuning.repack {
        "repacked"
    } else {
        "as they are"
    };
    let batch = tuning.batch;
    format!(
        "{} threads, weights {layout}, {} tokens in a decode, {} beside streams",
        tuning.threads, batch.most, batch.chunk
    )
}

fn table(timings: &[Timing]) -> Vec<Vec<String>> {
    let heading = ["threads", "weights", "tokens", "ms", "tokens/s"];
    let rows = timings.iter().map(|timing| {
        vec![
            timing.threads.to_string(),
            if timing.repack {
                "repacked"
            } else {
                "as they are"
            }
            .to_owned(),
            timing.tokens.to_string(),
            format!("{:.1}", timing.millis()),
            format!("{:.1}", f64::from(timing.tokens) / timing.millis() * 1e3),
        ]
    });
    std::iter::once(heading.map(str::to_owned).to_vec())
        .chain(rows)
        .collect()
}
