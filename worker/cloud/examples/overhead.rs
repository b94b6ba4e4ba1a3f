//! How much later the first token comes through this crate than over a bare connection to the same
//! server on this machine: in turns, medians and quartiles.
#![expect(clippy::unwrap_used, reason = "an example ends by a panic")]

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use fazai_cloud::provider::{Kind, prepare};
use fazai_cloud::redact::Counts;
use fazai_cloud::settings::ProviderSettings;
use fazai_cloud::{Cloud, Gate, Label, Message, Request, Role, Settings, Who};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ROUNDS: usize = 1000;
const TOKEN: &[u8] = b"61\r\ndata: {\"model\":\"big-1\",\"choices\":[{\"delta\":{\"content\":\"Hi, this is the first of the tokens\"}}]}\n\n\r\n";
const REST: &[u8] = b"47\r\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n\r\n0\r\n\r\n";
const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

struct Open;

impl Gate for Open {
    fn pass<'a>(
        &'a self,
        _: &'a str,
        _: &'a Counts,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

async fn serve(mut socket: TcpStream) {
    let mut bytes = [0; 64 << 10];
    // Each request comes in one piece here.
    while socket.read(&mut bytes).await.is_ok_and(|count| count > 0) {
        for part in [HEAD, TOKEN, REST] {
            socket.write_all(part).await.unwrap();
        }
    }
}

/// The same bytes over a connection that stays open, until the first token was there.
async fn bare(socket: &mut TcpStream, request: &[u8]) -> Duration {
    let begun = Instant::now();
    socket.write_all(request).await.unwrap();
    let (mut bytes, mut first) = (Vec::new(), None);
    let mut part = [0; 4096];
    while !bytes.ends_with(b"0\r\n\r\n") {
        let count = socket.read(&mut part).await.unwrap();
        bytes.extend_from_slice(&part[..count]);
        if first.is_none() && String::from_utf8_lossy(&bytes).contains("content") {
            first = Some(begun.elapsed());
        }
    }
    first.unwrap()
}

fn quartiles(mut times: Vec<Duration>) -> [u128; 3] {
    times.sort_unstable();
    [1, 2, 3].map(|quarter| times[times.len() * quarter / 4].as_micros())
}

#[tokio::main]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.set_nodelay(true).unwrap();
            tokio::spawn(serve(socket));
        }
    });
    let url = format!("http://{address}/v1");
    let provider = ProviderSettings::new("a", Kind::OpenAiCompatible, "big", Some(&url)).unwrap();
    let text = "What does exit code 137 mean on web01, asked anna@example.org? ".repeat(16);
    let request = Request {
        messages: vec![Message::new(Role::User, text)],
        max_tokens: 100,
        ..Request::default()
    };
    let body = prepare(&provider, &request).body;
    let length = body.len();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    let bytes = [head.as_bytes(), &body].concat();
    let directory = tempfile::tempdir().unwrap();
    let budget_dir = directory.path().to_owned();
    let cloud = Cloud::open(Settings {
        providers: vec![provider],
        budget_dir,
        ..Settings::default()
    })
    .unwrap();
    let who = Who {
        user: "u",
        label: Label::Internal,
        gate: &Open,
    };
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS + 50 {
        let one = bare(&mut socket, &bytes).await;
        let begun = Instant::now();
        let mut answer = cloud.ask(&["a".to_owned()], &request, who).await.unwrap();
        answer.next().await.unwrap().unwrap();
        let other = begun.elapsed();
        while answer.next().await.unwrap().is_some() {}
        // The first ones open connections and fill caches.
        if round >= 50 {
            direct.push(one);
            through.push(other);
        }
    }
    println!("{ROUNDS} rounds, a prompt of {length} bytes; first token, quartiles in microseconds");
    println!("bare connection: {:?}", quartiles(direct));
    println!("this crate:      {:?}", quartiles(through));
}
