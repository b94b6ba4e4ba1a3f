//! Eight clients on the built-in model: what one of them that never reads costs the others.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use fazai::Worker;
use fazai::config::Settings;
use fazai::server::Server;
use fazai_protocol::client::{Client, Endpoint};
use fazai_protocol::{Ask, AskParams, Call, NoParams, Operation};
use tokio::runtime::Runtime;

const TOKENS: u32 = 64;

/// It asks for more than its socket holds; the log probabilities make the lines long.
const LAZY: &str = r#"{"action":"ask","action_id":"lazy","input":"x","params":{"max_tokens":1900,"ignore_eos":true,"logprobs":20}}"#;

async fn served(socket: &Path) -> Worker {
    let mut settings = Settings::default();
    settings.server.socket = socket.to_owned();
    settings.limits.write_stall_ms_max = 3_600_000;
    settings.log.level = "off".to_owned();
    let server = Server::bind(&settings.server).await.expect("bound");
    let worker = Worker::start(settings);
    worker.warm_up().await.expect("the built-in model");
    tokio::spawn(server.run(worker.clone()));
    worker
}

async fn clients(socket: &Path, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let endpoint = Endpoint::Unix(socket.to_owned());
        clients.push(Client::connect(&endpoint).await.expect("connected"));
    }
    clients
}

/// All clients ask at once; returns when the last has its answer.
async fn ask_all(clients: &[Client]) {
    let mut replies = Vec::new();
    for client in clients {
        let ask = Ask {
            params: AskParams {
                max_tokens: Some(TOKENS),
                ignore_eos: true,
                ..AskParams::default()
            },
            ..Ask::new("What does exit code 137 mean?")
        };
        replies.push(client.ask(ask).await.expect("sent"));
    }
    for reply in replies {
        reply.done().await.expect("answered");
    }
}

async fn tokens_written(client: &Client) -> u64 {
    let status = Operation::Status(Call::<NoParams>::default());
    let done = client.call(status).await.expect("status");
    let data = done.data.unwrap_or_default();
    data["models"][0]["output_tokens"]
        .as_u64()
        .expect("a number")
}

/// Waits until the engine writes nothing any more, and checks that the lazy request is why.
async fn stalled(client: &Client) {
    loop {
        let before = tokens_written(client).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        if tokens_written(client).await == before {
            return;
        }
    }
}

fn eight_clients(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("bench.sock");
    let _worker = runtime.block_on(served(&socket));
    let eight = runtime.block_on(clients(&socket, 8));
    let mut group = criterion.benchmark_group(format!("8 clients, {TOKENS} tokens each"));
    group.sample_size(20);
    group.bench_function("all read", |bencher| {
        bencher.to_async(&runtime).iter(|| ask_all(&eight));
    });
    let mut lazy = UnixStream::connect(&socket).expect("connected");
    writeln!(lazy, "{LAZY}").expect("sent");
    runtime.block_on(stalled(&eight[0]));
    group.bench_function("one never reads, the other 7", |bencher| {
        bencher.to_async(&runtime).iter(|| ask_all(&eight[..7]));
    });
    drop(lazy);
    group.bench_function("all read, again", |bencher| {
        bencher.to_async(&runtime).iter(|| ask_all(&eight));
    });
    group.finish();
}

criterion_group!(benches, eight_clients);
criterion_main!(benches);
