//! What comes over a connection, however it comes.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod server;

use std::time::{Duration, Instant};

use fazai_cloud::provider::Kind;
use fazai_cloud::settings::ProviderSettings;
use fazai_cloud::{FailureKind, Finish, Piece, Request};
use serde_json::json;
use server::*;

#[tokio::test]
async fn an_answer_streams_and_says_who_gave_it() {
    let server = Server::always(answers("Hi né")).await;
    let bench = Bench::new(vec![provider("a", &server.url)]);
    let (text, finished, failure) = bench.read(&question("hello")).await;
    assert_eq!((text.as_str(), failure), ("Hi né", None));
    assert_eq!(finished.provenance.provider, "a");
    assert_eq!(finished.provenance.model, "big-1");
    assert_eq!(finished.finish, Some(Finish::Stop));
    assert_eq!(
        (finished.usage.input_tokens, finished.usage.output_tokens),
        (10, 2)
    );
    assert!(!finished.usage.estimated);
    assert_eq!(bench.spent(), 12);
    let sent = &server.requests()[0];
    assert!(
        sent.starts_with("POST /chat/completions HTTP/1.1\r\n"),
        "{sent}"
    );
    assert!(!sent.to_lowercase().contains("authorization"), "{sent}");
    // The end of the first one is read beside us.
    tokio::time::sleep(Duration::from_millis(50)).await;
    bench.read(&question("again")).await;
    assert_eq!(server.connections(), 1, "the connection is used again");
}

/// Each of the other formats, whole, through a socket.
#[tokio::test]
async fn every_format_streams() {
    let anthropic = [
        json!({"type": "message_start", "message": {"model": "c-1", "usage": {"input_tokens": 7, "output_tokens": 1}}}),
        json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}),
        json!({"type": "message_stop"}),
    ];
    let gemini = [
        json!({"candidates": [{"content": {"parts": [{"text": "Hi"}]}}], "modelVersion": "c-1"}),
        json!({"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3}}),
    ];
    let ollama = [
        json!({"model": "c-1", "message": {"content": "Hi"}, "done": false}),
        json!({"model": "c-1", "done": true, "prompt_eval_count": 7, "eval_count": 3}),
    ];
    for (kind, frames, header) in [
        (Kind::Anthropic, &anthropic[..], "x-api-key: sk-mine\r\n"),
        (Kind::Gemini, &gemini[..], "x-goog-api-key: sk-mine\r\n"),
        (
            Kind::Ollama,
            &ollama[..],
            "authorization: Bearer sk-mine\r\n",
        ),
        (Kind::Groq, &[][..], "authorization: Bearer sk-mine\r\n"),
    ] {
        let mut steps = vec![if kind == Kind::Ollama {
            head("application/x-ndjson")
        } else {
            sse()
        }];
        steps.extend(frames.iter().map(|frame| {
            let name = frame["type"]
                .as_str()
                .map_or_else(String::new, |name| format!("event: {name}\n"));
            let text = format!("{name}data: {frame}\n\n");
            chunk(&if kind == Kind::Ollama {
                format!("{frame}\n")
            } else {
                text
            })
        }));
        steps.push(end());
        let steps = if kind == Kind::Groq {
            answers("Hi")
        } else {
            steps
        };
        let server = Server::always(steps).await;
        let mut settings = ProviderSettings::new("x", kind, "m", Some(&server.url)).unwrap();
        settings.keys = keyed("x", &server.url, &["sk-mine"]).keys;
        let bench = Bench::new(vec![settings]);
        let (text, finished, failure) = bench.read(&question("hello")).await;
        assert_eq!((text.as_str(), failure), ("Hi", None), "{kind:?}");
        assert_eq!(finished.finish, Some(Finish::Stop), "{kind:?}");
        if kind != Kind::Groq {
            assert_eq!(finished.provenance.model, "c-1");
            assert_eq!(
                (finished.usage.input_tokens, finished.usage.output_tokens),
                (7, 3)
            );
        }
        assert!(
            server.requests()[0].contains(header),
            "{kind:?}: {}",
            server.requests()[0]
        );
    }
}

#[tokio::test]
async fn borders_of_chunks_and_comments_do_not_matter() {
    let body = format!(
        ": PROCESSING\n\n{}:keep-alive\n\nevent: ping\n\n{}{STOP}{USAGE}{DONE}",
        said("né "),
        said("日本 [IP_"),
    );
    let server = Server::new(move |_| {
        // One byte at a time: within characters, fields and line ends.
        let mut steps = vec![sse()];
        steps.extend(
            body.as_bytes()
                .chunks(1)
                .map(|byte| Do::Send(chunked(byte))),
        );
        steps.push(end());
        steps
    })
    .await;
    let bench = Bench::new(vec![provider("a", &server.url)]);
    let (text, finished, failure) = bench.read(&question("from 10.1.2.3")).await;
    assert_eq!((text.as_str(), failure), ("né 日本 [IP_", None));
    assert_eq!(finished.usage.output_tokens, 2);
}

#[tokio::test]
async fn a_missing_done_is_no_failure_and_a_missing_end_is_one() {
    let without_done = vec![sse(), chunk(&said("Hi")), chunk(STOP), end()];
    let server = Server::always(without_done).await;
    let bench = Bench::new(vec![provider("a", &server.url)]);
    let (text, finished, failure) = bench.read(&question("hello")).await;
    assert_eq!((text.as_str(), failure), ("Hi", None));
    assert!(finished.usage.estimated, "no numbers came");
    for cut in [
        vec![end()],
        vec![Do::Close],
        vec![chunk("data: {\"choi"), Do::Close],
    ] {
        let mut steps = vec![sse(), chunk(&said("Hi"))];
        steps.extend(cut);
        let server = Server::always(steps).await;
        let bench = Bench::new(vec![provider("a", &server.url)]);
        let (text, finished, failure) = bench.read(&question("hello")).await;
        assert_eq!(text, "Hi");
        assert_eq!(failure.unwrap().kind, FailureKind::Cut);
        assert_eq!(finished.finish, None);
        assert!(finished.usage.estimated && finished.usage.output_tokens > 0);
        let usage = finished.usage;
        assert_eq!(
            bench.spent(),
            usage.input_tokens + usage.output_tokens,
            "what came is paid for"
        );
    }
}

#[tokio::test]
async fn each_time_has_an_end() {
    for (steps, kind, shown) in [
        (vec![Do::Stall], FailureKind::SlowFirstToken, false),
        (vec![sse(), Do::Stall], FailureKind::SlowFirstToken, false),
        (
            vec![sse(), chunk(": wait\n\n"), Do::Stall],
            FailureKind::SlowFirstToken,
            false,
        ),
        (
            vec![sse(), chunk(&said("Hi")), Do::Stall],
            FailureKind::Stalled,
            true,
        ),
    ] {
        let server = Server::always(steps).await;
        let bench = Bench::new(vec![provider("a", &server.url)]);
        let begun = Instant::now();
        let failure = if shown {
            bench.read(&question("hello")).await.2.unwrap()
        } else {
            bench.failure(&question("hello")).await
        };
        assert_eq!(failure.kind, kind);
        assert!(begun.elapsed() >= Duration::from_millis(290));
        server.left().await;
    }
    // One token after the other, for longer than all of it may take.
    let mut steps = vec![sse()];
    for _ in 0..30 {
        steps.extend([chunk(&said("x")), Do::Wait(100)]);
    }
    let server = Server::always(steps).await;
    let bench = Bench::new(vec![provider("a", &server.url)]);
    let failure = bench.read(&question("hello")).await.2.unwrap();
    assert_eq!(failure.kind, FailureKind::SlowTotal);
}

#[tokio::test]
async fn an_endless_answer_is_ended() {
    for flood in [
        chunked(said("again and again").as_bytes()),
        chunked(&[b'x'; 4096]),
    ] {
        let server = Server::always(vec![sse(), chunk(&said("Hi")), Do::Flood(flood)]).await;
        let mut settings = provider("a", &server.url);
        settings.answer_bytes_max = 100_000;
        settings.times.total_ms = 60_000;
        settings.times.between_tokens_ms = 60_000;
        let bench = Bench::new(vec![settings]);
        let request = Request {
            max_tokens: 100_000,
            ..question("hello")
        };
        let (text, _, failure) = bench.read(&request).await;
        assert!(text.len() < 100_000);
        assert_eq!(failure.unwrap().kind, FailureKind::TooLarge);
        server.left().await;
    }
}

#[tokio::test]
async fn what_is_no_stream_is_not_shown() {
    let html = status(
        "200 OK",
        "content-type: text/html\r\n",
        "<html>Please log in</html>",
    );
    let whole = status(
        "200 OK",
        "content-type: application/json\r\n",
        "{\"choices\":[]}",
    );
    let bad_frame = vec![sse(), chunk("data: not json\n\n"), end()];
    let reported = vec![
        sse(),
        chunk("data: {\"error\":{\"message\":\"overloaded\"}}\n\n"),
        end(),
    ];
    for (steps, kind, words) in [
        (html, FailureKind::Malformed, "text/html"),
        (whole, FailureKind::Malformed, "application/json"),
        (bad_frame, FailureKind::Malformed, "no JSON object"),
        (reported, FailureKind::Reported, "overloaded"),
        (
            vec![Do::Send(b"SSH-2.0-OpenSSH\r\n".to_vec()), Do::Close],
            FailureKind::Cut,
            "",
        ),
    ] {
        let server = Server::always(steps).await;
        let bench = Bench::new(vec![provider("a", &server.url)]);
        let failure = bench.failure(&question("hello")).await;
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
    }
}

#[tokio::test]
async fn numbers_that_lie_are_replaced_by_an_estimate() {
    for usage in [
        "{\"prompt_tokens\":999999999,\"completion_tokens\":2}",
        "{\"prompt_tokens\":10,\"completion_tokens\":0}",
        "{\"prompt_tokens\":10,\"completion_tokens\":18446744073709551615}",
        "{\"prompt_tokens\":-5,\"completion_tokens\":2}",
    ] {
        let lie = format!("data: {{\"choices\":[],\"usage\":{usage}}}\n\n");
        let server = Server::always(vec![
            sse(),
            chunk(&said("Hi there")),
            chunk(STOP),
            chunk(&lie),
            end(),
        ])
        .await;
        let bench = Bench::new(vec![provider("a", &server.url)]);
        let (_, finished, _) = bench.read(&question("hello")).await;
        assert!(finished.usage.estimated, "{usage}");
        assert!(
            (1..200).contains(&bench.spent()),
            "{usage}: {}",
            bench.spent()
        );
    }
}

#[tokio::test]
async fn leaving_closes_the_connection_at_once() {
    let server = Server::always(vec![sse(), chunk(&said("Hi")), Do::Stall]).await;
    let bench = Bench::new(vec![provider("a", &server.url)]);
    let mut answer = bench.ask(&question("hello")).await.unwrap();
    assert_eq!(answer.next().await, Ok(Some(Piece::Text("Hi".into()))));
    let begun = Instant::now();
    drop(answer);
    let left = server.left().await;
    assert!(left.duration_since(begun) < Duration::from_millis(100));
    assert!(bench.spent() > 0, "what came is paid for");
    // Also before there was a token.
    let server = Server::always(vec![Do::Stall]).await;
    let bench = Bench::new(vec![provider("a", &server.url)]);
    let request = question("hello");
    let asking = bench.ask(&request);
    let waited = tokio::time::timeout(Duration::from_millis(100), asking).await;
    assert!(waited.is_err(), "it was dropped while it waited");
    server.left().await;
    let prompt = bench.spent();
    assert!((1..100).contains(&prompt), "{prompt}: it was sent");
}

#[tokio::test]
async fn an_answer_that_never_ends_is_ended() {
    let flood = Do::Flood(chunked(said(&"word ".repeat(20)).as_bytes()));
    let server = Server::always(vec![sse(), flood]).await;
    let bench = Bench::new(vec![provider("a", &server.url)]);
    let request = Request {
        max_tokens: 50,
        ..question("hello")
    };
    let (text, finished, failure) = bench.read(&request).await;
    assert_eq!(failure, None);
    assert_eq!(finished.finish, Some(Finish::Length));
    assert!((300..1_000).contains(&text.len()), "{}", text.len());
    assert!(bench.spent() < 200, "{}", bench.spent());
    server.left().await;
    // One piece that is longer than all that was asked for.
    let steps = vec![sse(), chunk(&said(&"x".repeat(500_000))), Do::Stall];
    let server = Server::always(steps).await;
    let bench = Bench::new(vec![provider("a", &server.url)]);
    bench.read(&request).await;
    assert!(bench.spent() < 200, "{}", bench.spent());
}

#[tokio::test]
async fn the_name_of_a_model_is_one_short_line_without_a_key() {
    let name = format!("m\n\u{1b}[31msk-mine {}", "x".repeat(5_000));
    let frame = json!({"model": name, "choices": [{"delta": {"content": "Hi"}}]});
    let steps = vec![
        sse(),
        chunk(&format!("data: {frame}\n\n")),
        chunk(STOP),
        chunk(DONE),
        end(),
    ];
    let server = Server::always(steps).await;
    let bench = Bench::new(vec![keyed("a", &server.url, &["sk-mine"])]);
    let model = bench.read(&question("hello")).await.1.provenance.model;
    assert!(model.starts_with("m [31m[KEY] xxx"), "{model}");
    assert_eq!(model.len(), 200);
}

#[tokio::test]
async fn a_schema_is_checked_and_repaired_once() {
    let schema =
        json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let request = Request {
        schema: Some(schema),
        ..question("a number")
    };
    let server = Server::new(|n| {
        answers(if n == 0 {
            "{\"n\":\"one\"}"
        } else {
            "```json\n{\"n\":1}\n```"
        })
    })
    .await;
    let bench = Bench::new(vec![provider("a", &server.url)]);
    let (text, finished, _) = bench.read(&request).await;
    assert_eq!(text, "{\"n\":1}");
    assert_eq!(finished.usage.input_tokens, 20, "both tries are counted");
    assert_eq!(bench.spent(), 24);
    assert!(server.requests()[1].contains("does not fit the schema"));
    let server = Server::always(answers("no")).await;
    let bench = Bench::new(vec![provider("a", &server.url)]);
    assert_eq!(bench.failure(&request).await.kind, FailureKind::BadAnswer);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_repair_sends_no_secret_that_was_restored() {
    let schema = json!({"type": "object", "properties": {"pw": {"type": "string"},
        "n": {"type": "integer"}}, "required": ["n"]});
    let request = Request {
        schema: Some(schema),
        stop: vec!["hunter2secret".to_owned()],
        ..question("password=hunter2secret; say hunter2secret")
    };
    let server = Server::new(|n| {
        answers(match n {
            0 => r#"{"pw":"[KEY_1]","n":"[KEY_1]"}"#,
            _ => r#"{"pw":"[KEY_1]","n":1}"#,
        })
    })
    .await;
    let bench = Bench::new(vec![provider("a", &server.url)]);
    let mut answer = bench.ask(&request).await.unwrap();
    assert!(!answer.failures[0].message.contains("hunter2"));
    assert_eq!(
        read_all(&mut answer).await.0,
        r#"{"pw":"hunter2secret","n":1}"#
    );
    let sent = server.requests();
    assert_eq!(sent.len(), 2);
    assert!(sent[1].contains("does not fit the schema"), "{}", sent[1]);
    for sent in sent {
        assert!(!sent.contains("hunter2"), "{sent}");
    }
}

/// A real server, where there is one.
#[tokio::test]
async fn a_real_server_answers() {
    let Ok(url) = std::env::var("FAZAI_TEST_OPENAI_URL") else {
        return;
    };
    let model = std::env::var("FAZAI_TEST_OPENAI_MODEL").unwrap_or_else(|_| "default".into());
    let mut settings =
        ProviderSettings::new("real", Kind::OpenAiCompatible, &model, Some(&url)).unwrap();
    if std::env::var("FAZAI_TEST_OPENAI_KEY").is_ok() {
        settings.keys = vec![fazai_cloud::KeySource::Env("FAZAI_TEST_OPENAI_KEY".into())];
    }
    let bench = Bench::new(vec![settings]);
    let (text, finished, failure) = bench.read(&question("Say hello.")).await;
    assert_eq!(failure, None);
    assert!(!text.is_empty() && finished.usage.output_tokens > 0);
}
