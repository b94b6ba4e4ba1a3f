//! The parts on the token path, each by itself: framing, parsing, choosing, detokenizing,
//! serializing.
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fazai_models::sampler::{Sampler, Sampling};
use fazai_models::text::{Channel, TextStream};
use fazai_protocol::{ActionId, Frame, Line, LineFramer, TextLine, parse_request};
use rand::{Rng, SeedableRng};

const REQUEST: &str = r#"{"action":"ask","action_id":"9b1c","input":"What does exit code 137 mean?","params":{"temperature":0.2,"max_tokens":256}}"#;

fn framing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("framing");
    let lines: Vec<u8> = format!("{REQUEST}\n").into_bytes().repeat(1_000);
    group.throughput(Throughput::Bytes(lines.len() as u64));
    group.bench_function("split 1000 lines, 4 KiB reads", |bencher| {
        bencher.iter(|| {
            let mut framer = LineFramer::new(1 << 20);
            let mut count = 0;
            for chunk in lines.chunks(4 << 10) {
                framer.push(chunk);
                while let Some(Frame::Line(line)) = framer.next_frame() {
                    count += black_box(line).len();
                }
            }
            count
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse one request", |bencher| {
        bencher.iter(|| parse_request(black_box(REQUEST.as_bytes()), 128).is_ok());
    });
    let token = Line::Token(TextLine {
        action_id: ActionId::from("9b1c"),
        result: " code".to_owned(),
        logprobs: Vec::new(),
    });
    group.bench_function("serialize one token line", |bencher| {
        bencher.iter(|| serde_json::to_vec(black_box(&token)).map(|line| line.len()));
    });
    group.finish();
}

fn sampling(criterion: &mut Criterion) {
    let mut rng = rand::rngs::StdRng::seed_from_u64(1);
    let logits: Vec<f32> = (0..151_936)
        .map(|_| rng.random_range(-12.0..12.0))
        .collect();
    let mut group = criterion.benchmark_group("sampling, 151936 tokens");
    for (name, sampling) in [
        ("greedy", Sampling::default()),
        (
            "top-k 40, top-p 0.95, min-p 0.05",
            Sampling {
                temperature: 0.7,
                ..Sampling::default()
            },
        ),
        (
            "no top-k",
            Sampling {
                temperature: 0.7,
                top_k: 0,
                ..Sampling::default()
            },
        ),
        (
            "greedy with a repeat penalty",
            Sampling {
                repeat_penalty: 1.1,
                ..Sampling::default()
            },
        ),
    ] {
        let mut sampler = Sampler::new(sampling);
        sampler.accept(1);
        group.bench_function(name, |bencher| {
            bencher.iter(|| sampler.choose(black_box(&logits), None));
        });
    }
    group.finish();
}

fn detokenizing(criterion: &mut Criterion) {
    let text =
        "The service stopped because its disk was full. Überprüfen Sie das Journal. ".repeat(20);
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(4).collect();
    let mut group = criterion.benchmark_group("detokenizing");
    group.throughput(Throughput::Elements(pieces.len() as u64));
    for (name, stops) in [
        ("no stop strings", vec![]),
        ("four stop strings", vec!["END", "\n\n", "###", "User:"]),
    ] {
        let stops: Vec<String> = stops.into_iter().map(str::to_owned).collect();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut stream = TextStream::new(Channel::Answer, None, stops.clone());
                let mut shown = Vec::new();
                for piece in &pieces {
                    stream.push(piece, &mut shown);
                }
                stream.finish(&mut shown);
                shown.len()
            });
        });
    }
    group.finish();
}

criterion_group!(parts, framing, sampling, detokenizing);
criterion_main!(parts);
