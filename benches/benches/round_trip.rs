//! The worker without a model: what a request costs before and after the computing.

use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fazai::config::Settings;
use fazai::server::Server;
use fazai_benches::instant_worker;
use fazai_protocol::client::{Client, Endpoint};
use fazai_protocol::{Ask, Call, NoParams, Operation};
use tokio::runtime::Runtime;

/// 64 tokens of the byte vocabulary.
const ANSWER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A worker on a socket in `dir`, and a client of it.
async fn connected(dir: &Path) -> Client {
    let mut settings = Settings::default();
    settings.server.socket = dir.join("bench.sock");
    let server = Server::bind(&settings.server).await.expect("bound");
    let socket = settings.server.socket.clone();
    let worker = instant_worker(settings, ANSWER);
    tokio::spawn(server.run(worker));
    Client::connect(&Endpoint::Unix(socket))
        .await
        .expect("connected")
}

fn round_trip(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let client = runtime.block_on(connected(dir.path()));
    let mut group = criterion.benchmark_group("round trip over a Unix socket");
    group.bench_function("ping", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let ping = Operation::Ping(Call::<NoParams>::default());
            client.call(ping).await.expect("pong").result
        });
    });
    group.bench_function("ask, one line of answer", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let ask = Ask {
                stream: false,
                ..Ask::new("x")
            };
            client
                .ask(ask)
                .await
                .expect("sent")
                .done()
                .await
                .expect("answered")
                .result
        });
    });
    group.throughput(Throughput::Elements(ANSWER.len() as u64));
    group.bench_function("ask, 64 streamed tokens", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let mut reply = client.ask(Ask::new("x")).await.expect("sent");
            let mut lines = 0;
            while reply.next().await.expect("a line").is_some() {
                lines += 1;
            }
            lines
        });
    });
    group.finish();
}

fn admission(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let worker = runtime.block_on(async { instant_worker(Settings::default(), "x") });
    let client = runtime.block_on(async { worker.client() });
    let mut group = criterion.benchmark_group("admission");
    group.throughput(Throughput::Elements(64));
    group.bench_function("64 requests at once, 8 slots, one token each", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let mut replies = Vec::new();
            for _ in 0..64 {
                let ask = Ask {
                    stream: false,
                    ..Ask::new("x")
                };
                replies.push(client.ask(ask).await.expect("sent"));
            }
            for reply in replies {
                reply.done().await.expect("answered");
            }
        });
    });
    group.finish();
}

criterion_group!(benches, round_trip, admission);
criterion_main!(benches);
