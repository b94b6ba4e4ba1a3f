//! Providers that fail, keys that rest, and who answers instead.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod server;

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fazai_cloud::budget::{Cap, Limits};
use fazai_cloud::redact::{Counts, Kind as Secret};
use fazai_cloud::route::Trouble;
use fazai_cloud::{BudgetError, CloudError, FailureKind, Gate, Label, Request, Settings, Who};
use server::*;
#[cfg(feature = "tls")]
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn each_status_is_what_it_is() {
    let key = "sk-secret-key-0001";
    for (line, kind) in [
        ("400 Bad Request", FailureKind::Rejected),
        ("401 Unauthorized", FailureKind::Unauthorized),
        ("403 Forbidden", FailureKind::Unauthorized),
        ("404 Not Found", FailureKind::NotFound),
        ("408 Request Timeout", FailureKind::Unavailable),
        ("413 Content Too Large", FailureKind::TooLong),
        ("429 Too Many Requests", FailureKind::RateLimited),
        ("500 Internal Server Error", FailureKind::Unavailable),
        ("503 Service Unavailable", FailureKind::Unavailable),
        ("204 No Content", FailureKind::Rejected),
    ] {
        let body = format!("{{\"error\":{{\"message\":\"no, {key} is bad\"}}}}");
        let server =
            Server::always(status(line, "content-type: application/json\r\n", &body)).await;
        let bench = Bench::new(vec![keyed("a", &server.url, &[key])]);
        let failure = bench.failure(&question("hello")).await;
        assert_eq!(failure.kind, kind, "{line}: {failure}");
        assert!(!format!("{failure} {failure:?}").contains(key), "{failure}");
        if !line.starts_with("204") {
            assert!(failure.message.contains("no, [KEY] is bad"), "{failure}");
        }
        assert_eq!(bench.spent(), 0, "{line}");
    }
}

#[tokio::test]
async fn an_error_page_is_not_quoted() {
    let page = "<!DOCTYPE html><title>502</title>";
    let server = Server::always(status(
        "502 Bad Gateway",
        "content-type: text/html\r\n",
        page,
    ))
    .await;
    let bench = Bench::new(vec![provider("a", &server.url)]);
    let failure = bench.failure(&question("hello")).await;
    assert!(failure.message.ends_with("an HTML page"), "{failure}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_its_target_gets_no_key() {
    for line in [
        "301 Moved Permanently",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let other = Server::always(answers("gotcha")).await;
        let headers = format!("location: {}/chat/completions\r\n", other.url);
        let server = Server::always(status(line, &headers, "")).await;
        let bench = Bench::new(vec![keyed("a", &server.url, &["sk-secret"])]);
        let failure = bench.failure(&question("hello")).await;
        assert_eq!(failure.kind, FailureKind::Redirected);
        assert_eq!(other.connections(), 0);
    }
}

#[tokio::test]
async fn with_one_provider_down_the_next_one_answers_and_the_breaker_opens() {
    let down = Server::always(status("503 Service Unavailable", "", "")).await;
    let up = Server::always(answers("Hi")).await;
    let bench = Bench::new(vec![provider("down", &down.url), provider("up", &up.url)]);
    for number in 1..=3 {
        let mut answer = bench.ask(&question("hello")).await.unwrap();
        assert_eq!(answer.provenance().provider, "up");
        let kind = answer.failures[0].kind;
        assert_eq!(kind == FailureKind::Open, number == 3, "{kind:?}");
        assert_eq!(read_all(&mut answer).await.0, "Hi");
    }
    assert_eq!(
        down.requests().len(),
        2,
        "the third request does not try it"
    );
    let candidates = bench.cloud.candidates(&question("hello"), "anna");
    assert!(matches!(candidates[0].trouble, Some(Trouble::Resting(_))));
    assert_eq!(candidates[1].trouble, None);
}

#[tokio::test]
async fn nobody_there_is_told_by_name() {
    let gone = Server::always(vec![]).await.url;
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let closed = format!("http://{free}");
    let bench = Bench::new(vec![provider("closed", &closed), provider("gone", &gone)]);
    match bench.ask(&question("hello")).await {
        Err(CloudError::Failed(failures)) => {
            assert_eq!(
                failures[0].kind,
                FailureKind::Unreachable,
                "{}",
                failures[0]
            );
            assert_eq!(
                (failures[0].provider.as_str(), failures[1].provider.as_str()),
                ("closed", "gone")
            );
        }
        _ => panic!("it answered"),
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn bad_tls_gets_no_key() {
    // Whatever comes, it is answered with what is no TLS.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut came = vec![0; 4096];
        let count = socket.read(&mut came).await.unwrap();
        socket
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        came.truncate(count);
        came
    });
    let bench = Bench::new(vec![keyed("a", &url, &["sk-secret"])]);
    let failure = bench.failure(&question("hello")).await;
    assert_eq!(failure.kind, FailureKind::Unreachable, "{failure}");
    let came = String::from_utf8_lossy(&server.await.unwrap()).into_owned();
    assert!(!came.contains("secret") && !came.contains("POST"), "{came}");
}

#[cfg(not(feature = "tls"))]
#[test]
fn without_tls_https_is_refused_at_the_start() {
    let fault = provider("a", "https://example.org/v1").check().unwrap_err();
    assert!(fault.to_string().contains("without TLS"), "{fault}");
}

#[tokio::test]
async fn a_try_that_may_help_is_made_and_paid_for_once() {
    let server = Server::new(|n| match n {
        0 => status("500 Internal Server Error", "", ""),
        1 => vec![Do::Close],
        _ => answers("Hi"),
    })
    .await;
    let mut settings = provider("a", &server.url);
    settings.retries_max = 2;
    let bench = Bench::new(vec![settings]);
    assert_eq!(bench.read(&question("hello")).await.0, "Hi");
    assert_eq!(server.requests().len(), 3);
    assert!(bench.spent() >= 12);
    // Nothing is tried again that was wrong itself.
    let server = Server::always(status("400 Bad Request", "", "")).await;
    let mut settings = provider("a", &server.url);
    settings.retries_max = 5;
    Bench::new(vec![settings]).failure(&question("hello")).await;
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn retry_after_is_waited_for_if_it_is_short() {
    let server = Server::new(|n| match n {
        0 => status("429 Too Many Requests", "retry-after: 1\r\n", ""),
        _ => answers("Hi"),
    })
    .await;
    let mut settings = keyed("a", &server.url, &["sk-one"]);
    settings.retries_max = 1;
    let bench = Bench::new(vec![settings]);
    let begun = Instant::now();
    assert_eq!(bench.read(&question("hello")).await.0, "Hi");
    assert!(begun.elapsed() >= Duration::from_millis(990));
    // Without one, and with a long one, the next provider is asked.
    for headers in ["", "retry-after: 600\r\n"] {
        let limited = Server::always(status("429 Too Many Requests", headers, "")).await;
        let up = Server::always(answers("Hi")).await;
        let mut first = keyed("limited", &limited.url, &["sk-one"]);
        first.retries_max = 3;
        let bench = Bench::new(vec![first, provider("up", &up.url)]);
        let begun = Instant::now();
        assert_eq!(bench.read(&question("hello")).await.0, "Hi");
        assert!(begun.elapsed() < Duration::from_secs(1));
        let trouble = bench
            .cloud
            .candidates(&question("hello"), "anna")
            .remove(0)
            .trouble;
        let Some(Trouble::Resting(left)) = trouble else {
            panic!("{trouble:?}")
        };
        assert_eq!(
            left > Duration::from_secs(500),
            !headers.is_empty(),
            "{left:?}"
        );
        bench.read(&question("hello")).await;
        assert_eq!(limited.requests().len(), 1, "a key that rests is not used");
    }
}

#[tokio::test]
async fn another_key_is_used_while_one_rests() {
    for line in ["429 Too Many Requests", "401 Unauthorized"] {
        let server = Server::new(move |n| {
            if n == 0 {
                status(line, "", "")
            } else {
                answers("Hi")
            }
        })
        .await;
        let mut settings = keyed("a", &server.url, &["sk-one", "sk-two"]);
        settings.retries_max = 1;
        let bench = Bench::new(vec![settings]);
        for _ in 0..2 {
            assert_eq!(bench.read(&question("hello")).await.0, "Hi");
        }
        let key = |request: &String| request.contains("Bearer sk-one");
        let first: Vec<bool> = server.requests().iter().map(key).collect();
        assert_eq!(first, [true, false, false], "{line}");
    }
}

#[tokio::test]
async fn a_slow_provider_is_overtaken_if_that_is_wanted() {
    let slow = Server::always(vec![Do::Stall]).await;
    let fast = Server::always(answers("Hi")).await;
    let providers = vec![provider("slow", &slow.url), provider("fast", &fast.url)];
    let bench = Bench::with(Settings {
        providers,
        hedge_ms: Some(50),
        ..Settings::default()
    });
    let begun = Instant::now();
    let (text, finished, _) = bench.read(&question("hello")).await;
    assert_eq!(
        (text.as_str(), finished.provenance.provider.as_str()),
        ("Hi", "fast")
    );
    assert!(begun.elapsed() < Duration::from_millis(250));
    slow.left().await;
}

#[tokio::test]
async fn secrets_do_not_leave_and_come_back() {
    let server = Server::new(|_| {
        let mut steps = vec![sse()];
        // In pieces, as a model writes it.
        steps.extend(["write to [EM", "AIL_1", "] at [IP_1", "]"].map(|text| chunk(&said(text))));
        steps.extend([chunk(STOP), chunk(USAGE), end()]);
        steps
    })
    .await;
    let bench = Bench::new(vec![provider("a", &server.url)]);
    let mut answer = bench
        .ask(&question("anna@example.org on 10.1.2.3"))
        .await
        .unwrap();
    assert_eq!(
        answer.redacted,
        Counts::from([(Secret::Email, 1), (Secret::Ip, 1)])
    );
    assert_eq!(
        read_all(&mut answer).await.0,
        "write to anna@example.org at 10.1.2.3"
    );
    let sent = &server.requests()[0];
    assert!(
        !sent.contains("anna") && !sent.contains("10.1.2.3"),
        "{sent}"
    );
    let body = sent.split_once("\r\n\r\n").unwrap().1;
    let dry = bench
        .cloud
        .dry_run("a", &question("anna@example.org on 10.1.2.3"))
        .unwrap();
    assert_eq!(dry.body, body, "the exact bytes");
    assert_eq!(server.requests().len(), 1, "a dry run sends nothing");
}

#[tokio::test]
async fn the_next_one_is_asked_if_an_answer_has_nothing() {
    let filtered = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"content_filter\"}]}\n\n";
    for (body, kind) in [
        (filtered, FailureKind::Rejected),
        (DONE, FailureKind::Malformed),
        (
            "data: {\"choices\":[]}\n\ndata: [DONE]\n\n",
            FailureKind::Malformed,
        ),
    ] {
        let empty = Server::always(vec![sse(), chunk(body), end()]).await;
        let up = Server::always(answers("Hi")).await;
        let bench = Bench::new(vec![provider("empty", &empty.url), provider("up", &up.url)]);
        let mut answer = bench.ask(&question("hello")).await.unwrap();
        assert_eq!(answer.failures[0].kind, kind, "{body}");
        assert_eq!(read_all(&mut answer).await.0, "Hi");
    }
}

struct Closed(Mutex<Vec<String>>);

impl Gate for Closed {
    fn pass<'a>(
        &'a self,
        provider: &'a str,
        _: &'a Counts,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        self.0.lock().unwrap().push(provider.to_owned());
        Box::pin(std::future::ready(Err("rule/no-cloud".to_owned())))
    }
}

#[tokio::test]
async fn nothing_is_sent_past_the_gate() {
    let server = Server::always(answers("Hi")).await;
    let bench = Bench::new(vec![provider("a", &server.url), provider("b", &server.url)]);
    let gate = Closed(Mutex::default());
    let who = Who {
        user: "anna",
        label: Label::Internal,
        gate: &gate,
    };
    let fault = bench
        .cloud
        .ask(&bench.names(), &question("hello"), who)
        .await
        .err()
        .unwrap();
    assert!(fault.to_string().contains("rule/no-cloud"), "{fault}");
    assert_eq!(*gate.0.lock().unwrap(), ["a", "b"]);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_budget_refuses_before_anything_is_sent() {
    let server = Server::always(answers("Hi")).await;
    let providers = vec![provider("a", &server.url)];
    let cap = Cap {
        tokens: Some(150),
        nanos: None,
    };
    let limits = Limits {
        day: cap,
        ..Limits::default()
    };
    let bench = Bench::with(Settings {
        providers,
        limits,
        ..Settings::default()
    });
    assert_eq!(bench.read(&question("hello")).await.0, "Hi");
    // What was set aside for the answer, 100 tokens, was given back but for the 12 that it took.
    let mut answered = 1;
    loop {
        match bench.ask(&question("hello")).await {
            Ok(mut answer) => read_all(&mut answer).await,
            Err(CloudError::Budget(BudgetError::Refused(refusal))) => {
                assert!(refusal.reset_at.is_some());
                break;
            }
            Err(other) => panic!("{other}"),
        };
        answered += 1;
    }
    assert_eq!(server.requests().len(), answered);
    assert_eq!(bench.spent(), 12 * answered as u64);
    assert!(bench.spent() <= 150);
}

#[tokio::test]
async fn a_limit_in_money_needs_a_price() {
    let server = Server::always(answers("Hi")).await;
    let directory = tempfile::tempdir().unwrap();
    let cap = Cap {
        tokens: None,
        nanos: Some(1_000_000),
    };
    let limits = Limits {
        day: cap,
        ..Limits::default()
    };
    let providers = vec![provider("a", &server.url)];
    let settings = Settings {
        providers,
        limits,
        ..Settings::default()
    };
    let bench = Bench::with(settings.clone());
    let fault = bench.ask(&question("hello")).await.err().unwrap();
    assert!(
        matches!(fault, CloudError::Budget(BudgetError::NoPrice { .. })),
        "{fault}"
    );
    let prices = directory.path().join("prices.toml");
    std::fs::write(
        &prices,
        "[[price]]\nmodel = 'big'\ninput = 1.0\noutput = 2.0\n",
    )
    .unwrap();
    let bench = Bench::with(Settings {
        prices: Some(prices),
        ..settings
    });
    let (_, finished, _) = bench.read(&question("hello")).await;
    assert_eq!(finished.nanos, Some(10 * 1_000 + 2 * 2_000));
}

#[tokio::test]
async fn the_cache_answers_identical_cold_requests() {
    let server = Server::always(answers("Hi")).await;
    let providers = vec![provider("a", &server.url)];
    let settings = Settings {
        providers,
        cache_bytes_max: 1 << 20,
        cache_age_s_max: 60,
        ..Settings::default()
    };
    let bench = Bench::with(settings);
    let cold = Request {
        temperature: Some(0.0),
        ..question("hello")
    };
    let (first, ..) = bench.read(&cold).await;
    let (second, finished, _) = bench.read(&cold).await;
    assert_eq!(first, second);
    assert!(finished.provenance.from_cache);
    assert_eq!((finished.nanos, finished.usage.output_tokens), (Some(0), 0));
    assert_eq!(server.requests().len(), 1);
    bench.read(&question("hello")).await;
    assert_eq!(server.requests().len(), 2, "only at temperature 0");
}
