//! How soon the engine is free after a cancel in the middle of a long prompt.
//!
//! `FAZAI_BENCH_SHAPE` names another shape (see `fazai_models::synth::SHAPES`).

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use fazai_benches::write_model;
use fazai_models::engine::{self, EngineHandle, EngineOptions, EventStream, GateLimits, Request};
use fazai_models::job::{Event, Generate, Priority, UserId, Work};
use fazai_models::load::{LoadOptions, ModelSource, load};
use fazai_models::synth::Quantization;
use tokio::runtime::Runtime;

const PROMPT_TOKENS: u32 = 4_000;

fn generate(prompt: Vec<u32>) -> Request {
    Request {
        priority: Priority::Normal,
        user: UserId(0),
        deadline_ms: None,
        work: Work::Generate(Box::new(Generate {
            prompt,
            max_tokens: 1,
            ignore_end: true,
            ..Generate::default()
        })),
    }
}

async fn end(mut stream: EventStream) {
    while stream.next().await.is_some() {}
}

/// Cancels a prompt after `delay` of reading; returns how long it takes until the engine says
/// that the job has ended.
async fn cancel_after(engine: &EngineHandle, delay: Duration, round: u32) -> Duration {
    let prompt = (0..PROMPT_TOKENS)
        .map(|n| (n * 7 + round) % 1_000)
        .collect();
    let mut stream = engine.submit(generate(prompt)).await.expect("taken");
    while !matches!(stream.next().await, Some(Event::Started { .. })) {}
    tokio::time::sleep(delay).await;
    let began = Instant::now();
    stream.cancel();
    end(stream).await;
    began.elapsed()
}

fn cancel(criterion: &mut Criterion) {
    let shape = std::env::var("FAZAI_BENCH_SHAPE").unwrap_or_else(|_| "qwen3-0.6b".to_owned());
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("model.gguf");
    write_model(&path, &shape, Quantization::Q4_0);
    let options = LoadOptions {
        slots: 2,
        ..LoadOptions::default()
    };
    let model = load(&ModelSource::File(path), &options, &mut |_| true).expect("loaded");
    let options = EngineOptions {
        name: shape.clone(),
        slots: 2,
        batch: model.batch,
        speculation: true,
        paused_bytes_max: 0,
        prompts: None,
        gate: GateLimits {
            waiting_requests_max: 16,
            waiting_prompt_tokens_max: 100_000,
        },
    };
    let (engine, _thread) = engine::start(model.backend, model.vocabulary, options);
    let runtime = Runtime::new().expect("a runtime");

    let mut group = criterion.benchmark_group(format!(
        "cancel in a prefill of {PROMPT_TOKENS} tokens, {shape}"
    ));
    group.sample_size(20);
    let mut round = 0;
    let mut longest = Duration::ZERO;
    group.bench_function("until the engine is free", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut total = Duration::ZERO;
            for _ in 0..iterations {
                round += 1;
                // At another place each time.
                let delay = Duration::from_millis(u64::from(50 + round * 37 % 400));
                let took = runtime.block_on(cancel_after(&engine, delay, round));
                longest = longest.max(took);
                total += took;
            }
            total
        });
    });
    group.finish();
    let stats = engine.stats();
    println!(
        "{} of {} cancels stopped a decode; the longest took {longest:?}",
        stats.decodes_aborted(),
        stats.jobs_cancelled()
    );
}

criterion_group!(benches, cancel);
criterion_main!(benches);
