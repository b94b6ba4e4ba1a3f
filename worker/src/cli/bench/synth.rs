//! `fazai bench synth`: a model file to measure with, where no weights can be had.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use fazai_models::builtin;
use fazai_models::gguf::{Gguf, Lists};
use fazai_models::synth::{self, Quantization, SHAPES, Shape};
use serde_json::json;

use super::output;

/// Write a model of a real shape with random weights: as fast as the real one, of no other use
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fazai bench synth qwen3-0.6b --vocab vocab.gguf
  fazai bench synth gemma3-270m --vocab vocab.gguf --quantization q8_0 --output model.gguf")]
pub(super) struct Synth {
    /// The shape: tiny, qwen3-0.6b, qwen3-1.7b or gemma3-270m
    #[arg(value_parser = named_shape)]
    shape: Named,
    /// A GGUF file whose vocabulary the model gets [default: that of the built-in model]
    #[arg(long, value_name = "FILE")]
    vocab: Option<PathBuf>,
    /// How the weights are stored: q4_0 or q8_0
    #[arg(long, value_name = "KIND", default_value = "q4_0", value_parser = quantization)]
    quantization: Quantization,
    /// Where the model goes [default: SHAPE-KIND.gguf]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The start of the random weights
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// A shape and its name.
type Named = (&'static str, Shape);

fn named_shape(name: &str) -> Result<Named, String> {
    let found = SHAPES.iter().find(|(known, _)| *known == name).copied();
    found.ok_or_else(|| {
        let known: Vec<&str> = SHAPES.iter().map(|(known, _)| *known).collect();
        format!("known are {}", known.join(", "))
    })
}

fn quantization(name: &str) -> Result<Quantization, String> {
    Quantization::named(name).ok_or_else(|| "known are q4_0 and q8_0".to_owned())
}

impl Synth {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let (name, shape) = &self.shape;
        let kind = self.quantization.name();
        let path = self.output.clone();
        let path = path.unwrap_or_else(|| format!("{name}-{kind}.gguf").into());
        synth::write(
            &path,
            shape,
            self.quantization,
            &self.vocabulary()?,
            self.seed,
        )
        .with_context(|| path.display().to_string())?;
        let bytes = path.metadata()?.len();
        let text = format!("{}: {}", path.display(), output::bytes(bytes));
        output::print(false, &text, &json!({ "path": path, "bytes": bytes }))
    }

    fn vocabulary(&self) -> anyhow::Result<Gguf> {
        let Some(path) = &self.vocab else {
            let bytes = builtin::verified()?;
            return Ok(Gguf::read(bytes, bytes.len() as u64, Lists::Keep)?);
        };
        Gguf::open(path, Lists::Keep).with_context(|| path.display().to_string())
    }
}
