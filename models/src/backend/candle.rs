//! A backend in pure Rust: quantized matrices and their kernels come from `candle-core`, the
//! graph around them is here.
//!
//! The graph is not `candle-transformers`' because that one can't serve. As of 0.11 its
//! quantized Gemma 3 uses the wrong activation function, ignores the sliding window while it
//! writes, hides the earlier part of a prompt from its later chunks, and takes 128 MiB of
//! rotary tables for each layer; its Qwen3-MoE needs a GPU; its Qwen3 keeps two caches of which
//! one goes stale; and none of them computes several sequences in one batch, stops in the
//! middle, or takes tokens back. One graph with one cache does all of that for every family
//! in [`shape`].

mod attention;
mod batch;
mod cache;
mod context;
mod experts;
mod gated;
mod load;
mod model;
mod parallel;
mod shape;
mod tokenizer;
mod unfit;
mod vocabulary;
mod weights;

pub(crate) use self::load::{load, load_vocabulary};
