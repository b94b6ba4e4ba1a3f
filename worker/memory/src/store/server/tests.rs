use std::net::TcpListener;

use super::*;

fn options(port: u16) -> ServerOptions {
    ServerOptions {
        deadline: Duration::from_millis(200),
        ..ServerOptions::new("127.0.0.1", port)
    }
}

fn check_away(server: &Server) {
    let start = Instant::now();
    for _ in 0..20 {
        let answer = server.count(Collection::Knowledge);
        assert!(
            matches!(answer, Err(MemoryError::Unavailable { .. })),
            "{answer:?}"
        );
    }
    // Three calls wait for the deadline; the others are not made.
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_server_that_is_down_is_left_alone() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    check_away(&Server::connect(&options(port)).unwrap());
}

#[test]
fn a_server_that_is_slow_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    check_away(&Server::connect(&options(port)).unwrap());
}

#[test]
fn it_may_be_dropped_within_a_runtime() {
    let server = Server::connect(&options(1)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async { drop(server) });
}

#[test]
fn a_key_is_not_printed() {
    let mut options = ServerOptions::new("::1", 6334);
    options.api_key = Some("secret".into());
    let printed = format!("{options:?}");
    assert!(
        !printed.contains("secret") && printed.contains("[::1]:6334"),
        "{printed}"
    );
}
