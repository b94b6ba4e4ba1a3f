//! The candle backend against llama.cpp: the same tokens for every text, the same logits for
//! every family of models, the same answers from the built-in model.
#![cfg(all(feature = "llama", feature = "candle"))]

mod answers;
mod families;
mod gguf;
mod tokens;

use fazai_models::backend::{Backend, Run};
use fazai_models::load::{BackendKind, LoadError, LoadOptions, Loaded, ModelSource, load};
use fazai_models::vocabulary::Token;

/// Loads a model with one of the two backends.
fn load_with(backend: BackendKind, source: &ModelSource) -> Result<Loaded, LoadError> {
    let options = LoadOptions {
        backend,
        slots: 4,
        context_tokens: 1_024,
        ..LoadOptions::default()
    };
    load(source, &options, &mut |_| true)
}

/// Computes tokens of one sequence; the logits behind the last one.
fn decode(backend: &mut dyn Backend, seq: u32, start: u32, tokens: &[Token]) -> Vec<f32> {
    let run = Run {
        seq,
        start,
        tokens,
        outputs: 1,
    };
    backend.decode(&[run]).expect("decoded");
    backend.logits(0, 0).to_vec()
}

/// The likeliest token.
fn best(logits: &[f32]) -> Token {
    let numbered = (0..).zip(logits);
    let best = numbered.max_by(|left, right| left.1.total_cmp(right.1));
    best.expect("a vocabulary").0
}
