//! For tests: a small HTTP server in the peer's place, and a worker whose model follows a script.

use std::path::Path;
use std::sync::Arc;

use fazai::Worker;
use fazai::config::Settings;
use fazai_models::backend::scripted::{self, Script};
use fazai_protocol::client::Client;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A worker that writes the alphabet, with a token for each byte.
pub(super) fn scripted_worker(prompt_store: Option<&Path>) -> Worker {
    let mut settings = Settings::default();
    settings.model.prompt_store = prompt_store.map(Path::to_owned).unwrap_or_default();
    Worker::with_loader(
        settings,
        Arc::new(|_, _, _| Ok(scripted::loaded(Script::default()))),
    )
}

/// A client of such a worker.
pub(super) fn scripted_client() -> Client {
    scripted_worker(None).client()
}

/// What llama-server says of itself.
pub(super) const PROPS: &str = r#"{"default_generation_settings":{"n_ctx":2048},"total_slots":8,
    "model_path":"/srv/models/m.gguf","build_info":"b1"}"#;

/// What a stand-in answers to a path: the status, the content type and the body.
pub(super) type Answer = fn(&str) -> (u16, &'static str, String);

/// A server that reads a request on each connection, answers, and closes it. Also gives
/// the requests' bodies.
pub(super) async fn stand_in(answer: Answer) -> (String, mpsc::UnboundedReceiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (bodies, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_one(stream, answer, bodies.clone()));
        }
    });
    (url, seen)
}

async fn serve_one(mut stream: TcpStream, answer: Answer, bodies: mpsc::UnboundedSender<Value>) {
    let (path, body) = read_request(&mut stream).await;
    let _ = bodies.send(body);
    let (status, kind, text) = answer(&path);
    let head = format!("HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    // In pieces, as they would be written.
    for piece in text.as_bytes().chunks(7) {
        let _ = stream.write_all(piece).await;
        let _ = stream.flush().await;
    }
}

async fn read_request(stream: &mut TcpStream) -> (String, Value) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                return (path, serde_json::from_str(body).unwrap_or_default());
            }
        }
        let read = stream.read_buf(&mut bytes).await.expect("a request");
        assert_ne!(read, 0, "the request breaks off");
    }
}
