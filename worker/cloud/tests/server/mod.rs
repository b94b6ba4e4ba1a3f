//! A server that speaks raw bytes, so that it can do what no HTTP library would.
#![allow(dead_code, reason = "each test program uses a part")]

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fazai_cloud::provider::Kind;
use fazai_cloud::redact::Counts;
use fazai_cloud::settings::{ProviderSettings, Times};
use fazai_cloud::{
    Answer, Cloud, CloudError, Failure, Finished, Gate, KeySource, Label, Message, Piece, Request,
    Role, Settings, Who,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Do {
    Send(Vec<u8>),
    Wait(u64),
    /// Says nothing more, until the client leaves.
    Stall,
    /// Ends the connection.
    Close,
    /// Sends this for ever.
    Flood(Vec<u8>),
}

pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<String>,
    connections: usize,
    /// When clients left while it stalled or flooded.
    left: Vec<Instant>,
}

impl Server {
    /// Asks `script` what to do with each request, counted from 0.
    pub(crate) async fn new(script: impl Fn(usize) -> Vec<Do> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (shared, script) = (Arc::clone(&seen), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                tokio::spawn(serve(socket, Arc::clone(&shared), Arc::clone(&script)));
            }
        });
        Self { url, seen }
    }

    /// Always does the same.
    pub(crate) async fn always(steps: Vec<Do>) -> Self {
        Self::new(move |_| steps.clone()).await
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().requests.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// Waits until a client has left.
    pub(crate) async fn left(&self) -> Instant {
        loop {
            if let Some(left) = self.seen.lock().unwrap().left.first() {
                return *left;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn serve(
    mut socket: TcpStream,
    seen: Arc<Mutex<Seen>>,
    script: Arc<impl Fn(usize) -> Vec<Do>>,
) {
    while let Some(request) = read(&mut socket).await {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.requests.push(request);
            seen.requests.len() - 1
        };
        for step in script(number) {
            let going = match step {
                Do::Send(bytes) => socket.write_all(&bytes).await.is_ok(),
                Do::Wait(ms) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    true
                }
                Do::Stall => {
                    let _ = socket.read(&mut [0; 64]).await;
                    seen.lock().unwrap().left.push(Instant::now());
                    false
                }
                Do::Close => false,
                Do::Flood(bytes) => {
                    while socket.write_all(&bytes).await.is_ok() {}
                    seen.lock().unwrap().left.push(Instant::now());
                    false
                }
            };
            if !going {
                return;
            }
        }
    }
}

/// One request with its body.
async fn read(socket: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text.into_owned());
            }
        }
        match socket.read(&mut part).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&part[..count]),
        }
    }
}

/// The head of a stream of this type.
pub(crate) fn head(kind: &str) -> Do {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
    Do::Send(head.into_bytes())
}

pub(crate) fn sse() -> Do {
    head("text/event-stream; charset=utf-8")
}

/// A part of a body.
pub(crate) fn chunk(text: &str) -> Do {
    Do::Send(chunked(text.as_bytes()))
}

pub(crate) fn chunked(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

pub(crate) fn end() -> Do {
    Do::Send(b"0\r\n\r\n".to_vec())
}

/// An event of the OpenAI format with a piece of text.
pub(crate) fn said(text: &str) -> String {
    let frame = serde_json::json!({"model": "big-1", "choices": [{"delta": {"content": text}}]});
    format!("data: {frame}\n\n")
}

pub(crate) const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
pub(crate) const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":2}}\n\n";
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// A whole answer in the OpenAI format.
pub(crate) fn answers(text: &str) -> Vec<Do> {
    vec![
        sse(),
        chunk(&said(text)),
        chunk(STOP),
        chunk(USAGE),
        chunk(DONE),
        end(),
    ]
}

/// A status with a body.
pub(crate) fn status(line: &str, headers: &str, body: &str) -> Vec<Do> {
    let length = body.len();
    let text = format!("HTTP/1.1 {line}\r\n{headers}content-length: {length}\r\n\r\n{body}");
    vec![Do::Send(text.into_bytes())]
}

pub(crate) fn provider(name: &str, url: &str) -> ProviderSettings {
    let mut settings =
        ProviderSettings::new(name, Kind::OpenAiCompatible, "big", Some(url)).unwrap();
    settings.times = Times {
        connect_ms: 300,
        first_token_ms: 300,
        between_tokens_ms: 300,
        total_ms: 1_500,
    };
    settings.retries_max = 0;
    settings
}

pub(crate) fn keyed(name: &str, url: &str, keys: &[&str]) -> ProviderSettings {
    let mut settings = provider(name, url);
    let key = |text: &&str| KeySource::Value(fazai_cloud::Key::new(text).unwrap());
    settings.keys = keys.iter().map(key).collect();
    settings
}

/// A cloud of these providers, and where its budget is.
pub(crate) struct Bench {
    pub(crate) cloud: Cloud,
    pub(crate) directory: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(providers: Vec<ProviderSettings>) -> Self {
        Self::with(Settings {
            providers,
            ..Settings::default()
        })
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            budget_dir: directory.path().join("budget"),
            ..settings
        };
        Self {
            cloud: Cloud::open(settings).unwrap(),
            directory,
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let providers = self.cloud.settings().providers.iter();
        providers.map(|provider| provider.name.clone()).collect()
    }

    pub(crate) async fn ask(&self, request: &Request) -> Result<Answer, CloudError> {
        let who = Who {
            user: "anna",
            label: Label::Internal,
            gate: &Open,
        };
        self.cloud.ask(&self.names(), request, who).await
    }

    /// The whole text of an answer, how it ended, and what interrupted it.
    pub(crate) async fn read(&self, request: &Request) -> (String, Finished, Option<Failure>) {
        read_all(&mut self.ask(request).await.unwrap()).await
    }

    /// How the only provider failed.
    pub(crate) async fn failure(&self, request: &Request) -> Failure {
        match self.ask(request).await {
            Err(CloudError::Failed(mut failures)) => failures.remove(0),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it answered"),
        }
    }

    /// Tokens spent today, once nothing is under way.
    pub(crate) fn spent(&self) -> u64 {
        self.cloud.ledger().spent("anna", jiff::Timestamp::now())[0].tokens
    }
}

pub(crate) async fn read_all(answer: &mut Answer) -> (String, Finished, Option<Failure>) {
    let mut text = String::new();
    loop {
        match answer.next().await {
            Ok(Some(Piece::Text(piece))) => text.push_str(&piece),
            Ok(Some(_)) => {}
            Ok(None) => return (text, answer.finished(), None),
            Err(failure) => return (text, answer.finished(), Some(failure)),
        }
    }
}

/// Lets everything through.
pub(crate) struct Open;

impl Gate for Open {
    fn pass<'a>(
        &'a self,
        _: &'a str,
        _: &'a Counts,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

pub(crate) fn question(text: &str) -> Request {
    Request {
        messages: vec![Message::new(Role::User, text)],
        max_tokens: 100,
        ..Request::default()
    }
}
