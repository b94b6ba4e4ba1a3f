//! The built-in tools for the network, against servers of the test on this machine.
#![expect(clippy::expect_used, reason = "a test fails by a panic")]

mod builtins;
mod host;

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fazai_toolbox::{Settings, ToolError};
use serde_json::{Value, json};

use self::builtins::Place;

/// What each connection was told; a server that ends with the test program.
struct Server {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(
        answer: impl Fn(&str, TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (answer, hears) = (Arc::new(answer), Arc::clone(&heard));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, hears) = (Arc::clone(&answer), Arc::clone(&hears));
                thread::spawn(move || {
                    let head = head(&stream);
                    hears.lock().expect("no panic").push(head.clone());
                    // A client that leaves is no fault of the server.
                    let _ = answer(&head, stream);
                });
            }
        });
        Self { port, heard }
    }

    /// One that always answers the same.
    fn says(answer: String) -> Self {
        Self::new(move |_, mut stream| stream.write_all(answer.as_bytes()))
    }

    fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/", self.port)
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no panic").clone()
    }
}

fn head(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    lines.join("\n")
}

fn ok(kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn to(target: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

/// All names lead to this machine.
fn home(_: &str) -> std::io::Result<Vec<IpAddr>> {
    Ok(vec![Ipv4Addr::LOCALHOST.into()])
}

/// A place where names that end in `.test` may be spoken to and, at these ports, this machine.
fn place(ports: &[u16]) -> Place {
    place_for(ports, Duration::from_secs(60))
}

/// The same, where a page may take so long.
fn place_for(ports: &[u16], time: Duration) -> Place {
    let mut policy = "default_profile = \"p\"\n[profiles.p]\nopaque = \"deny\"\notherwise = \"deny\"\n\
        [[profiles.p.rules]]\nname = \"names\"\ndecision = \"allow\"\nactions = [\"network\"]\nhosts = [\"*.test\"]\n"
        .to_owned();
    if !ports.is_empty() {
        policy.push_str(&format!(
            "[[profiles.p.rules]]\nname = \"home\"\ndecision = \"allow\"\nactions = [\"network\"]\nnetworks = [\"127.0.0.0/8\"]\nports = {ports:?}\n"
        ));
    }
    let settings = Settings {
        resolve: home,
        fetch_time_max: time,
        ..Settings::default()
    };
    Place::with(&policy, false, settings)
}

#[test]
fn a_page_is_fetched_and_read() {
    let server = Server::says(ok(
        "text/html; charset=utf-8",
        "<title>t</title><p>Hello <b>you</b></p><script>x()</script>",
    ));
    let place = place(&[server.port]);
    let page = place.done(
        "http_fetch",
        json!({ "url": server.url("a.test"), "headers": { "Accept": "text/html" } }),
    );
    let text = page["text"].as_str().expect("a text");
    assert!(
        text.contains("Hello") && text.contains("you") && !text.contains("x()"),
        "{text}"
    );
    assert_eq!(
        (&page["status"], &page["truncated"]),
        (&json!(200), &json!(false))
    );
    assert!(
        page["headers"]["content-type"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("text/html"))
    );
    let heard = server.heard().concat().to_lowercase();
    assert!(
        heard.contains("accept: text/html") && heard.contains("host: a.test"),
        "{heard}"
    );

    let plain = Server::says(ok("text/plain", "<p>raw\u{0}"));
    let place = self::place(&[plain.port]);
    assert_eq!(
        place.done("http_fetch", json!({ "url": plain.url("127.0.0.1") }))["text"],
        "<p>raw\u{fffd}"
    );
    let entries = place.entries();
    let finished = entries.iter().filter(|entry| entry["event"] == "finished");
    assert_eq!(finished.count(), 1, "{entries:?}");
}

#[test]
fn only_the_head_is_fetched() {
    let server = Server::new(|head, mut stream| {
        assert!(head.starts_with("HEAD / "), "{head}");
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 99\r\n\r\n")
    });
    let page = place(&[server.port]).done(
        "http_fetch",
        json!({ "url": server.url("a.test"), "method": "HEAD" }),
    );
    assert_eq!((&page["status"], &page["bytes"]), (&json!(404), &json!(0)));
}

/// A name that may be spoken to leads to an address that may not: nothing is sent there.
#[test]
fn a_name_is_no_way_to_an_address_that_is_not_public() {
    let server = Server::says(ok("text/plain", "secret"));
    let place = place(&[]);
    for host in [
        "rebind.test",
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0x7f.1",
        "2130706433",
    ] {
        place.refused("http_fetch", json!({ "url": server.url(host) }));
    }
    for url in [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://192.168.0.1/",
    ] {
        place.refused("http_fetch", json!({ "url": url }));
    }
    assert_eq!(server.heard(), [""; 0]);
}

#[test]
fn each_redirect_is_judged_anew() {
    let secret = Server::says(ok("text/plain", "secret"));
    for target in [
        secret.url("127.0.0.1"),
        secret.url("b.test"),
        format!("//127.0.0.1:{}/", secret.port),
        "http://169.254.169.254/".into(),
        "http://example.org/".into(),
    ] {
        let server = Server::says(to(&target));
        let place = place(&[server.port]);
        place.refused("http_fetch", json!({ "url": server.url("a.test") }));
    }
    for target in [
        "ftp://a.test/",
        "file:///etc/passwd",
        "http://u:p@a.test/",
        "http://",
    ] {
        let server = Server::says(to(target));
        place(&[server.port]).fault("http_fetch", json!({ "url": server.url("a.test") }));
    }
    assert_eq!(secret.heard(), [""; 0]);

    let last = Server::says(ok("text/plain", "there"));
    let server = Server::says(to(&last.url("b.test")));
    let place = place(&[server.port, last.port]);
    let params =
        json!({ "url": server.url("a.test"), "headers": { "Authorization": "Bearer key" } });
    let page = place.done("http_fetch", params);
    assert_eq!(
        (&page["text"], &page["url"]),
        (&json!("there"), &json!(last.url("b.test")))
    );
    assert!(server.heard().concat().contains("Bearer key"));
    assert!(!last.heard().concat().contains("Bearer key"));

    let around = Server::says(to("/"));
    let fault =
        self::place(&[around.port]).fault("http_fetch", json!({ "url": around.url("a.test") }));
    assert!(fault.contains("more than 5"), "{fault}");
    assert_eq!(around.heard().len(), 6);
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let endless = Server::new(|_, mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")?;
        let block = vec![b'x'; 64 << 10];
        loop {
            stream.write_all(&block)?;
        }
    });
    let page = place(&[endless.port]).done(
        "http_fetch",
        json!({ "url": endless.url("a.test"), "max_bytes": 1000 }),
    );
    assert_eq!(
        (&page["bytes"], &page["truncated"]),
        (&json!(1000), &json!(true))
    );

    let slow = Server::new(|_, mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")?;
        loop {
            stream.write_all(b"x")?;
            thread::sleep(Duration::from_millis(100));
        }
    });
    let begun = Instant::now();
    let late = place_for(&[slow.port], Duration::from_secs(3))
        .call("http_fetch", json!({ "url": slow.url("a.test") }));
    assert!(matches!(late, Err(ToolError::TimedOut)), "{late:?}");
    assert!(begun.elapsed() < Duration::from_secs(20));

    let silent = Server::new(|_, stream| {
        thread::sleep(Duration::from_secs(300));
        drop(stream);
        Ok(())
    });
    let late = place_for(&[silent.port], Duration::from_secs(3))
        .call("http_fetch", json!({ "url": silent.url("a.test") }));
    assert!(matches!(late, Err(ToolError::TimedOut)), "{late:?}");
}

#[test]
fn headers_without_end_are_refused() {
    let many = Server::new(|_, mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        for number in 0_u64.. {
            stream.write_all(format!("X-{number}: x\r\n").as_bytes())?;
        }
        Ok(())
    });
    let long = Server::new(|_, mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nX: ")?;
        loop {
            stream.write_all(&[b'x'; 4096])?;
        }
    });
    for server in [many, long] {
        let fault =
            place(&[server.port]).call("http_fetch", json!({ "url": server.url("a.test") }));
        assert!(matches!(fault, Err(ToolError::Failed(_))), "{fault:?}");
    }
}

#[test]
fn nobody_waits_who_was_told_to_stop() {
    let silent = Server::new(|_, stream| {
        thread::sleep(Duration::from_secs(300));
        drop(stream);
        Ok(())
    });
    let place = place(&[silent.port]);
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(300));
            fazai_toolbox::Host::stop(&place.host).stop();
        });
        let stopped = place.call("http_fetch", json!({ "url": silent.url("a.test") }));
        assert!(matches!(stopped, Err(ToolError::Stopped)), "{stopped:?}");
    });
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[cfg(not(feature = "tls"))]
#[test]
fn without_tls_it_says_so() {
    let fault = place(&[]).call("http_fetch", json!({ "url": "https://a.test/" }));
    assert!(matches!(fault, Err(ToolError::Unavailable(_))), "{fault:?}");
}

/// A name server that knows a few names.
fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&answer(&buffer[..length]), from);
        }
    });
    address
}

/// The answer to one question, in the format of DNS.
fn answer(question: &[u8]) -> Vec<u8> {
    let mut name = String::new();
    let mut at = 12;
    while question[at] != 0 {
        let length = usize::from(question[at]);
        let part = String::from_utf8_lossy(&question[at + 1..=at + length]);
        name = format!("{name}{part}.").to_lowercase();
        at += length + 1;
    }
    let asked = &question[12..at + 5];
    let kind = question[at + 2];
    let data: Option<Vec<u8>> = match (name.as_str(), kind) {
        ("www.example.test.", 1) => Some(vec![192, 0, 2, 7]),
        ("www.example.test.", 16) => Some(b"\x05hello\x06 world".to_vec()),
        ("7.2.0.192.in-addr.arpa.", 12) => Some(b"\x03www\x07example\x04test\x00".to_vec()),
        ("4.3.2.1.bad.test.", 1) => Some(vec![127, 0, 0, 2]),
        ("4.3.2.1.bad.test.", 16) => Some(b"\x04spam".to_vec()),
        ("4.3.2.1.shut.test.", 1) => Some(vec![127, 255, 255, 254]),
        _ => None,
    };
    // An answer that was wanted recursively and is given so; 3: there is no such name.
    let code = if data.is_some() { 0x80 } else { 0x83 };
    let mut answer = [
        &question[..2],
        &[0x81, code, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0],
        asked,
    ]
    .concat();
    if let Some(data) = data {
        let length = u8::try_from(data.len()).expect("short");
        answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, length]);
        answer.extend(data);
    }
    answer
}

fn asking() -> Place {
    let server = name_server();
    let policy = format!(
        "default_profile = \"p\"\n[profiles.p]\nopaque = \"deny\"\notherwise = \"deny\"\n\
        [[profiles.p.rules]]\nname = \"names\"\ndecision = \"allow\"\nactions = [\"network\"]\nnetworks = [\"127.0.0.1/32\"]\nports = [{}]\n",
        server.port()
    );
    let settings = Settings {
        dns: Some(server),
        blacklists: ["bad.test", "good.test", "shut.test"]
            .map(str::to_owned)
            .into(),
        ..Settings::default()
    };
    Place::with(&policy, false, settings)
}

#[test]
fn names_are_asked_for() {
    let place = asking();
    for (params, exists, value) in [
        (
            json!({ "name": "www.example.test" }),
            true,
            json!("192.0.2.7"),
        ),
        (
            json!({ "name": "WWW.example.test.", "type": "TXT" }),
            true,
            json!("hello world"),
        ),
        (
            json!({ "name": "192.0.2.7", "type": "PTR" }),
            true,
            json!("www.example.test."),
        ),
        (json!({ "name": "no.example.test" }), false, Value::Null),
    ] {
        let found = place.done("dns_lookup", params.clone());
        assert_eq!(
            (&found["exists"], &found["records"][0]["value"]),
            (&json!(exists), &value),
            "{params}: {found}"
        );
    }
    for params in [
        json!({ "name": "192.0.2.7" }),
        json!({ "name": "a..b" }),
        json!({ "name": "a".repeat(70) }),
        json!({ "name": "x", "type": "ANY" }),
    ] {
        let fault = place.call("dns_lookup", params.clone());
        assert!(
            matches!(fault, Err(ToolError::BadParams(_))),
            "{params}: {fault:?}"
        );
    }
    let other = Settings {
        dns: Some(([127, 0, 0, 1], 9).into()),
        ..Settings::default()
    };
    let restricted = Place::with("default_profile = \"restricted\"", false, other);
    restricted.refused("dns_lookup", json!({ "name": "www.example.test" }));
}

#[test]
fn addresses_are_looked_for_on_lists() {
    let place = asking();
    let found = place.done("blacklist_check", json!({ "ip": "1.2.3.4" }));
    let lists = &found["lists"];
    assert_eq!(
        (
            &found["listed_count"],
            &lists[0]["listed"],
            &lists[1]["listed"]
        ),
        (&json!(1), &json!(true), &json!(false))
    );
    assert_eq!(lists[0]["reason"], "spam");
    assert!(
        lists[2]["error"].is_string() && lists[2]["listed"].is_null(),
        "{found}"
    );
    for ip in ["10.0.0.1", "127.0.0.1", "x"] {
        let fault = place.call("blacklist_check", json!({ "ip": ip }));
        assert!(
            matches!(fault, Err(ToolError::BadParams(_))),
            "{ip}: {fault:?}"
        );
    }
}
