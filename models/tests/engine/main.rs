//! The engine on llama.cpp: however a request is served, it says what it would have said alone.
//!
//! Kernels round differently by the size of a batch. So two ways of serving may part where two
//! tokens are nearly as likely; each test bounds how near they are.
#![cfg(feature = "llama")]

mod same;
mod soak;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use fazai_models::builtin;
use fazai_models::chat::{Speaker, Turn};
use fazai_models::engine::{self, EngineHandle, EngineOptions, EventStream, GateLimits, Request};
use fazai_models::gguf::{Gguf, Lists};
use fazai_models::job::{ChosenToken, Event, Generate, JobError, Outcome, Priority, UserId, Work};
use fazai_models::load::{LoadOptions, Loaded, ModelSource, load};
use fazai_models::prompts::PromptStore;
use fazai_models::synth::{self, Quantization, Shape};
use fazai_models::tune::BatchSizes;
use fazai_models::vocabulary::Token;

/// A file with random weights that goes when it is dropped.
struct Synthetic(PathBuf);

impl Synthetic {
    fn new(name: &str, shape: &Shape) -> Self {
        // Tests run side by side: a file that is mapped must not be written again.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = format!("fazai-engine-{name}-{}-{number}.gguf", std::process::id());
        let path = std::env::temp_dir().join(file);
        let bytes = builtin::verified().expect("the built-in model is good");
        let vocabulary = Gguf::read(bytes, bytes.len() as u64, Lists::Keep).expect("a GGUF");
        synth::write(&path, shape, Quantization::Q8_0, &vocabulary, 7).expect("written");
        Self(path)
    }

    fn source(&self) -> ModelSource {
        ModelSource::File(self.0.clone())
    }
}

impl Drop for Synthetic {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// How an engine is started.
#[derive(Clone)]
struct Setup {
    slots: u32,
    speculation: bool,
    kv_cache_bytes: u64,
    context_tokens: u32,
    prompts: Option<PathBuf>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            slots: 4,
            speculation: false,
            kv_cache_bytes: 0,
            context_tokens: 1_024,
            prompts: None,
        }
    }
}

impl Setup {
    fn start(self, source: &ModelSource) -> Running {
        let options = LoadOptions {
            slots: self.slots,
            context_tokens: self.context_tokens,
            kv_cache_bytes: self.kv_cache_bytes,
            ..LoadOptions::default()
        };
        let model = load(source, &options, &mut |_| true).expect("loaded");
        let options = EngineOptions {
            name: "test".into(),
            slots: self.slots,
            batch: BatchSizes {
                most: 512,
                chunk: 64,
            },
            speculation: self.speculation,
            paused_bytes_max: 256 << 20,
            prompts: self
                .prompts
                .map(|dir| PromptStore::new(dir, model.fingerprint, 1 << 30)),
            gate: GateLimits {
                waiting_requests_max: 256,
                waiting_prompt_tokens_max: 1_000_000,
            },
        };
        let Loaded {
            vocabulary,
            backend,
            template,
            ..
        } = model;
        let (handle, _thread) = engine::start(backend, vocabulary.clone(), options);
        let prompt = Box::new(move |text: &str| {
            let turn = Turn {
                role: Speaker::User,
                content: text.to_owned(),
            };
            let prompt = template.prompt(&[turn], false, &vocabulary);
            prompt.expect("a plain turn renders").tokens
        });
        Running { handle, prompt }
    }
}

/// Puts a question into the model's chat template.
type PromptMaker = Box<dyn Fn(&str) -> Vec<Token>>;

/// An engine with what makes its prompts.
struct Running {
    handle: EngineHandle,
    prompt: PromptMaker,
}

impl Running {
    fn request(&self, text: &str, max_tokens: u32) -> Request {
        Request {
            priority: Priority::Normal,
            user: UserId(0),
            deadline_ms: None,
            work: Work::Generate(Box::new(Generate {
                prompt: (self.prompt)(text),
                max_tokens,
                // The runner-up shows how near a tie was.
                logprobs: Some(2),
                ignore_end: true,
                ..Generate::default()
            })),
        }
    }

    async fn submit(&self, request: Request) -> EventStream {
        self.handle.submit(request).await.expect("taken")
    }

    async fn run(&self, request: Request) -> (Vec<ChosenToken>, Outcome) {
        collect(self.submit(request).await).await
    }
}

/// Reads to the end.
async fn try_collect(mut stream: EventStream) -> (Vec<ChosenToken>, Result<Outcome, JobError>) {
    let mut chosen = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Event::Text { tokens, .. } => chosen.extend(tokens),
            Event::Finished(outcome) => return (chosen, Ok(outcome)),
            Event::Failed(fault) => return (chosen, Err(fault)),
            _ => {}
        }
    }
    panic!("the stream ended without a last event");
}

async fn collect(stream: EventStream) -> (Vec<ChosenToken>, Outcome) {
    let (chosen, outcome) = try_collect(stream).await;
    (chosen, outcome.expect("answered"))
}
