//! What the benchmarks share.

use std::path::Path;
use std::sync::Arc;

use fazai::Worker;
use fazai::config::Settings;
use fazai_models::backend::scripted::{self, Script};
use fazai_models::builtin;
use fazai_models::gguf::{Gguf, Lists};
use fazai_models::synth::{self, Quantization};

/// A worker whose model answers at once, so that only the worker itself is measured.
#[must_use]
pub fn instant_worker(mut settings: Settings, answer: &'static str) -> Worker {
    settings.defaults.temperature = 0.0;
    settings.log.level = "off".to_owned();
    Worker::with_loader(
        settings,
        Arc::new(move |_, _, _| {
            Ok(scripted::loaded(Script::answering(move |_| {
                answer.to_owned()
            })))
        }),
    )
}

/// Writes a model with random weights and the built-in vocabulary.
///
/// # Panics
/// If the shape has no name here, or the disk is full.
pub fn write_model(path: &Path, shape: &str, quantization: Quantization) {
    let bytes = builtin::verified().expect("the built-in model is good");
    let vocabulary = Gguf::read(bytes, bytes.len() as u64, Lists::Keep).expect("it is a GGUF");
    let shape = synth::shape(shape).expect("a known shape");
    synth::write(path, &shape, quantization, &vocabulary, 0).expect("the file is written");
}
