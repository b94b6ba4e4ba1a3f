//! Asking what the worker is compared with: llama-server, or another HTTP server that has
//! OpenAI's completions.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use super::side::{Counts, Piece, Question};
use super::sse::Sse;

/// The dialects of completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Api {
    /// llama.cpp's server: `/completion`
    LlamaServer,
    /// Others: `/v1/completions`
    Openai,
}

/// A server on the same machine answers at once.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// A request may wait for many others, each of which reads a long prompt.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// What is read of an answer that is no stream.
const BODY_BYTES_MAX: usize = 256 << 10;

/// What is shown of an answer that can't be read.
const EXCERPT_CHARS: usize = 200;

/// A server that answers completions.
#[derive(Debug)]
pub(super) struct Peer {
    http: Client,
    url: String,
    api: Api,
    /// The name that other servers want in each request.
    model: Option<String>,
    /// What it says of itself.
    pub(super) about: Value,
}

impl Peer {
    /// Finds out what the server is, unless it was said.
    pub(super) async fn connect(
        url: &str,
        api: Option<Api>,
        model: Option<String>,
    ) -> anyhow::Result<Self> {
        let url = url.trim_end_matches('/').trim_end_matches("/v1").to_owned();
        let http = Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIME)
            .read_timeout(SILENCE_MAX)
            // An idle connection may hold one of the server's threads.
            .pool_max_idle_per_host(0)
            .build()?;
        let mut peer = Self {
            http,
            url,
            api: api.unwrap_or(Api::LlamaServer),
            model,
            about: Value::Null,
        };
        let props = match api {
            Some(Api::Openai) => None,
            Some(Api::LlamaServer) | None => peer.props().await?,
        };
        match (props, api) {
            (Some(props), _) => peer.about = peer.llama_server(&props),
            (None, Some(Api::LlamaServer)) => {
                bail!("{} has no /props, so it is not llama-server", peer.url)
            }
            (None, _) => {
                peer.api = Api::Openai;
                peer.about = peer.openai().await?;
            }
        }
        Ok(peer)
    }

    /// Its longest conversation, if it says so.
    pub(super) fn context_tokens(&self) -> Option<u64> {
        self.about["context_tokens"].as_u64()
    }

    /// A line about it.
    pub(super) fn heading(&self) -> String {
        let known = |key: &str, what: &str| match &self.about[key] {
            Value::Null => String::new(),
            Value::String(text) => format!(", {what}{text}"),
            number => format!(", {number} {what}"),
        };
        let name = match self.api {
            Api::LlamaServer => "llama-server",
            Api::Openai => "completions",
        };
        format!(
            "against {name} at {}{}{}{}{}",
            self.url,
            known("build", "build "),
            known("model", "model "),
            known("slots", "slots"),
            known("context_tokens", "tokens of context"),
        )
    }

    /// llama-server's settings; `None` from another server.
    async fn props(&self) -> anyhow::Result<Option<Value>> {
        let response = self.send(self.http.get(self.at("/props"))).await?;
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return Ok(None),
            status if !status.is_success() => return Err(refused(response).await),
            _ => {}
        }
        let text = body(response).await?;
        let props: Option<Value> = serde_json::from_str(&text).ok();
        Ok(props.filter(|props| props["default_generation_settings"].is_object()))
    }

    fn llama_server(&self, props: &Value) -> Value {
        let path = props["model_path"].as_str().unwrap_or_default();
        // Where the file lies is nobody's business.
        let model = path.rsplit(['/', '\\']).next();
        json!({
            "url": self.url,
            "api": "llama-server",
            "build": props["build_info"],
            "model": model,
            "slots": props["total_slots"],
            "context_tokens": props["default_generation_settings"]["n_ctx"],
        })
    }

    async fn openai(&mut self) -> anyhow::Result<Value> {
        let response = self.send(self.http.get(self.at("/v1/models"))).await?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        let text = body(response).await?;
        let models: Value = serde_json::from_str(&text)
            .with_context(|| format!("/v1/models is not JSON: {}", excerpt(&text)))?;
        let first = &models["data"][0];
        if self.model.is_none() {
            self.model = first["id"].as_str().map(str::to_owned);
        }
        Ok(json!({
            "url": self.url,
            "api": "openai",
            "model": self.model,
            "context_tokens": first["max_model_len"],
        }))
    }

    /// Sends a question; its answer comes as events.
    pub(super) async fn ask(&self, question: &Question) -> anyhow::Result<Events> {
        let (path, body) = match self.api {
            Api::LlamaServer => ("/completion", llama_request(question)),
            Api::Openai => (
                "/v1/completions",
                openai_request(question, self.model.as_deref()),
            ),
        };
        let request = self.http.post(self.at(path));
        let request = request.header(CONTENT_TYPE, "application/json");
        let response = self.send(request.body(body.to_string())).await?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("?");
        ensure!(
            kind.starts_with("text/event-stream"),
            "the peer does not stream: its answer is {kind}"
        );
        Ok(Events {
            response,
            sse: Sse::default(),
            api: self.api,
            counts: None,
        })
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let sent = request.send().await;
        sent.with_context(|| format!("the peer at {} does not answer", self.url))
    }
}

fn llama_request(question: &Question) -> Value {
    let mut body = json!({
        "prompt": question.text,
        "n_predict": question.max_tokens,
        "temperature": question.temperature(),
        "cache_prompt": true,
        "stream": true,
        "ignore_eos": question.ignores_end(),
    });
    if let Some(seed) = question.chance {
        body["seed"] = json!(seed);
    }
    if let Some(schema) = &question.schema {
        body["json_schema"] = schema.clone();
    }
    body
}

fn openai_request(question: &Question, model: Option<&str>) -> Value {
    let mut body = json!({
        "prompt": question.text,
        "max_tokens": question.max_tokens,
        "temperature": question.temperature(),
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    if let Some(model) = model {
        body["model"] = json!(model);
    }
    if question.ignores_end() {
        body["ignore_eos"] = json!(true);
    }
    if let Some(seed) = question.chance {
        body["seed"] = json!(seed);
    }
    if let Some(schema) = &question.schema {
        body["response_format"] = json!({
            "type": "json_schema",
            "json_schema": { "name": "answer", "strict": true, "schema": schema },
        });
    }
    body
}

/// A refusal as an error, with what the server says about it.
async fn refused(response: Response) -> anyhow::Error {
    let status = response.status();
    let text = body(response).await.unwrap_or_default();
    let parsed: Option<Value> = serde_json::from_str(&text).ok();
    let said = parsed.as_ref().and_then(complaint);
    let said = said.unwrap_or_else(|| excerpt(&text));
    anyhow::anyhow!("the peer answered {}: {said}", status.as_u16())
}

/// The server's own words, where servers put them.
fn complaint(event: &Value) -> Option<String> {
    let error = event.get("error").filter(|error| !error.is_null())?;
    let message = error["message"].as_str().or(error.as_str());
    let text = message.map_or_else(|| error.to_string(), str::to_owned);
    Some(excerpt(&text))
}

fn excerpt(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "nothing more".to_owned();
    }
    let line = text.chars().take(EXCERPT_CHARS);
    line.map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

/// The text of an answer that is no stream.
async fn body(mut response: Response) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        ensure!(
            bytes.len() <= BODY_BYTES_MAX,
            "the peer's answer is longer than {BODY_BYTES_MAX} bytes"
        );
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An answer as it is written. Dropping it closes its connection.
#[derive(Debug)]
pub(super) struct Events {
    response: Response,
    sse: Sse,
    api: Api,
    /// OpenAI's counts, which come before the end.
    counts: Option<Counts>,
}

impl Events {
    /// What came next.
    pub(super) async fn next(&mut self) -> anyhow::Result<Piece> {
        loop {
            if let Some(data) = self.sse.next_event()? {
                return self.piece(&data);
            }
            let chunk = self.response.chunk().await;
            match chunk.context("the peer broke off its answer")? {
                Some(bytes) => self.sse.push(&bytes),
                None => bail!("the peer closed the connection before the answer was complete"),
            }
        }
    }

    fn piece(&mut self, data: &str) -> anyhow::Result<Piece> {
        if self.api == Api::Openai && data == "[DONE]" {
            let counts = self.counts.take();
            let counts = counts.context("the peer reports no usage, so nothing can be counted")?;
            return Ok(Piece {
                text: String::new(),
                end: Some(counts),
            });
        }
        let event: Value = serde_json::from_str(data).with_context(|| {
            format!("the peer sent an event that is not JSON: {}", excerpt(data))
        })?;
        if let Some(said) = complaint(&event) {
            bail!("the peer failed: {said}");
        }
        match self.api {
            Api::LlamaServer => llama_piece(&event),
            Api::Openai => {
                if event["usage"].is_object() {
                    self.counts = Some(openai_counts(&event["usage"])?);
                }
                Ok(Piece {
                    text: text(&event["choices"][0]["text"]),
                    end: None,
                })
            }
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn llama_piece(event: &Value) -> anyhow::Result<Piece> {
    let end = if event["stop"] == true {
        Some(Counts {
            prompt_tokens: count(event, "tokens_evaluated")?,
            cached_tokens: event["timings"]["cache_n"].as_u64().unwrap_or(0),
            output_tokens: count(event, "tokens_predicted")?,
        })
    } else {
        None
    };
    Ok(Piece {
        text: text(&event["content"]),
        end,
    })
}

fn openai_counts(usage: &Value) -> anyhow::Result<Counts> {
    let cached = &usage["prompt_tokens_details"]["cached_tokens"];
    Ok(Counts {
        prompt_tokens: count(usage, "prompt_tokens")?,
        cached_tokens: cached.as_u64().unwrap_or(0),
        output_tokens: count(usage, "completion_tokens")?,
    })
}

fn count(of: &Value, key: &str) -> anyhow::Result<u64> {
    let count = of[key].as_u64();
    count.with_context(|| format!("the peer's answer ends without {key}"))
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::super::side::Side;
    use super::super::stand_in::{Answer, PROPS, stand_in};
    use super::*;

    fn events(lines: &[&str]) -> (u16, &'static str, String) {
        let text = lines.iter().map(|line| format!("data: {line}\n\n"));
        (200, "text/event-stream", text.collect())
    }

    fn missing() -> (u16, &'static str, String) {
        (404, "text/plain", "no such page".to_owned())
    }

    fn llama(path: &str) -> (u16, &'static str, String) {
        match path {
            "/props" => (200, "application/json", PROPS.to_owned()),
            "/completion" => events(&[
                r#"{"content":"n","stop":false}"#,
                r#"{"content":"é!","stop":false}"#,
                r#"{"content":"","stop":true,"tokens_evaluated":12,"tokens_predicted":3,"timings":{"cache_n":5}}"#,
            ]),
            _ => missing(),
        }
    }

    fn openai(path: &str) -> (u16, &'static str, String) {
        match path {
            "/v1/models" => (
                200,
                "application/json",
                r#"{"data":[{"id":"m","max_model_len":4096}]}"#.to_owned(),
            ),
            "/v1/completions" => events(&[
                r#"{"choices":[{"text":"a"}],"usage":null}"#,
                r#"{"choices":[{"text":"b"}]}"#,
                r#"{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2}}"#,
                "[DONE]",
            ]),
            _ => missing(),
        }
    }

    fn question() -> Question {
        Question {
            schema: Some(json!({ "type": "object" })),
            ..Question::new("hello".to_owned(), 3)
        }
    }

    async fn peer(answer: Answer) -> (Peer, mpsc::UnboundedReceiver<Value>) {
        let (url, mut bodies) = stand_in(answer).await;
        let peer = Peer::connect(&url, None, None).await.expect("a peer");
        while bodies.try_recv().is_ok() {}
        (peer, bodies)
    }

    /// What a peer that is llama-server but for one answer makes of a question.
    async fn failure(answer: Answer) -> String {
        let (peer, _bodies) = peer(answer).await;
        let answered = Side::Theirs(peer).answer(&question()).await;
        format!("{:#}", answered.expect_err("no answer"))
    }

    #[tokio::test]
    async fn llama_server_is_recognised_and_asked_in_its_own_words() {
        let (peer, mut bodies) = peer(llama).await;
        assert_eq!(peer.context_tokens(), Some(2048));
        assert_eq!(peer.about["model"], "m.gguf", "and not where it lies");
        let heading = peer.heading();
        assert!(
            heading.contains("8 slots, 2048 tokens of context"),
            "{heading}"
        );
        let answer = Side::Theirs(peer)
            .answer(&question())
            .await
            .expect("an answer");
        assert_eq!(answer.text, "né!");
        let counts = Counts {
            prompt_tokens: 12,
            cached_tokens: 5,
            output_tokens: 3,
        };
        assert_eq!(answer.counts, counts);
        assert!(answer.first <= answer.whole);
        let body = bodies.recv().await.expect("a request");
        assert_eq!(
            (&body["n_predict"], &body["cache_prompt"]),
            (&json!(3), &json!(true))
        );
        assert_eq!(body["ignore_eos"], false, "an object ends where it ends");
        assert_eq!(body["json_schema"]["type"], "object");
        assert_eq!(body["temperature"], 0.0);
        assert!(body["seed"].is_null(), "{body}");
    }

    #[tokio::test]
    async fn another_server_is_asked_for_openai_completions() {
        let (peer, mut bodies) = peer(openai).await;
        assert_eq!(peer.context_tokens(), Some(4096));
        let plain = Question {
            chance: Some(7),
            ..Question::new("hello".to_owned(), 2)
        };
        let answer = Side::Theirs(peer).answer(&plain).await.expect("an answer");
        assert_eq!(
            (answer.text.as_str(), answer.counts.output_tokens),
            ("ab", 2)
        );
        let body = bodies.recv().await.expect("a request");
        assert_eq!(
            (&body["model"], &body["ignore_eos"]),
            (&json!("m"), &json!(true))
        );
        assert_eq!(
            (&body["temperature"], &body["seed"]),
            (&json!(1.0), &json!(7))
        );
    }

    #[tokio::test]
    async fn what_is_no_peer_is_told_at_once() {
        let fault = Peer::connect("http://127.0.0.1:9", None, None).await;
        let fault = format!("{:#}", fault.expect_err("nobody there"));
        assert!(fault.contains("does not answer"), "{fault}");
        let (url, _bodies) = stand_in(|_| missing()).await;
        let fault = Peer::connect(&url, Some(Api::LlamaServer), None).await;
        let fault = fault.expect_err("another server").to_string();
        assert!(fault.contains("not llama-server"), "{fault}");
        let (url, _bodies) = stand_in(|_| {
            let body = r#"{"error":{"message":"Loading model"}}"#;
            (503, "application/json", body.to_owned())
        })
        .await;
        let fault = Peer::connect(&url, None, None).await;
        let fault = fault.expect_err("not ready").to_string();
        assert!(fault.contains("503: Loading model"), "{fault}");
    }

    #[tokio::test]
    async fn bad_answers_are_errors_that_say_what_came() {
        let junk = failure(|path| match path {
            "/props" => llama(path),
            _ => events(&["{oops"]),
        });
        assert!(junk.await.contains("not JSON: {oops"));
        let broken_off = failure(|path| match path {
            "/props" => llama(path),
            _ => events(&[r#"{"content":"n","stop":false}"#]),
        });
        assert!(broken_off.await.contains("before the answer was complete"));
        let failed = failure(|path| match path {
            "/props" => llama(path),
            _ => events(&[r#"{"error":{"message":"out of cells"}}"#]),
        });
        assert!(failed.await.contains("out of cells"));
        let uncounted = failure(|path| match path {
            "/props" => llama(path),
            _ => events(&[r#"{"content":"","stop":true}"#]),
        });
        assert!(uncounted.await.contains("tokens_evaluated"));
        let whole = failure(|path| match path {
            "/props" => llama(path),
            _ => (200, "application/json", "{}".to_owned()),
        });
        assert!(whole.await.contains("does not stream"));
        let refused = failure(|path| match path {
            "/props" => llama(path),
            _ => (400, "text/html", format!("<p>\n{}", "x".repeat(100_000))),
        });
        let refused = refused.await;
        assert!(
            refused.contains("400: <p> x") && refused.len() < 400,
            "{refused}"
        );
    }

    #[tokio::test]
    async fn an_endless_answer_is_given_up() {
        let endless = failure(|path| match path {
            "/props" => llama(path),
            _ => (200, "text/event-stream", "x".repeat(2 << 20)),
        });
        assert!(endless.await.contains("longer than"));
    }
}
