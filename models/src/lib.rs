//! Models for FazAI worker.
//!
//! [`engine`] runs one loaded model on its own thread and serves many requests together.
//! Below it are the [`backend`]s that compute, beside it what turns conversations into tokens
//! ([`chat`], [`vocabulary`]) and logits into text ([`sampler`], [`grammar`], [`text`]).
//! [`job`] is the engine's whole API as plain data.
//!
//! Nothing here knows the wire protocol.

pub mod backend;
pub mod builtin;
pub mod chat;
pub mod cpu;
pub mod engine;
pub mod gguf;
pub mod grammar;
mod hex;
pub mod job;
pub mod load;
pub mod memory;
pub mod prompts;
mod replace;
pub mod sampler;
pub mod store;
pub mod synth;
pub mod tasks;
pub mod text;
pub mod tune;
pub mod vocabulary;
