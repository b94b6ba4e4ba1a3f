//! A call that its caller stops from another thread.

mod common;

use std::ops::ControlFlow;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use common::Dir;
use fazai_modhost::{Answer, Call, Entry, Failure, Limits, Module, Stop};

fn load(dir: &Dir, name: &str) -> Module {
    let limits = Limits {
        call_timeout: Duration::from_secs(30),
        stop_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    dir.load(name, &Entry::unlisted(name), limits)
        .expect("loads")
}

fn call() -> (Call, Stop) {
    let stop = Stop::new().expect("a descriptor");
    let call = Call {
        stop: Some(stop.clone()),
        ..Call::default()
    };
    (call, stop)
}

fn exec(module: &Module, command: &str, call: &Call) -> Result<Answer, Failure> {
    module.exec_stream(command, call, &mut |_| ControlFlow::Continue(()))
}

/// Stops a command a while after it began. Returns how long it went on.
fn stopped(module: &Module, command: &str) -> Duration {
    let (call, stop) = call();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let failure = exec(module, command, &call).expect_err("stopped");
            assert!(matches!(failure, Failure::Stopped { .. }), "{failure}");
            Instant::now()
        });
        std::thread::sleep(Duration::from_millis(200));
        assert!(!running.is_finished(), "{command} ended by itself");
        let begun = Instant::now();
        stop.stop();
        running.join().expect("no panic") - begun
    })
}

#[test]
fn a_stream_that_listens_keeps_its_process() {
    let dir = Dir::new();
    let module = load(&dir, "stream");
    let pid = module.status().pid;
    let after = stopped(&module, "forever");
    assert!(after < Duration::from_millis(250), "{after:?}");
    assert_eq!(module.exec("three").expect("answers").text, "one € three");
    assert_eq!(module.status().pid, pid);
    assert_eq!(module.status().crashes, 0);
}

#[test]
fn a_stream_that_does_not_listen_loses_its_process() {
    let dir = Dir::new();
    let module = load(&dir, "stream");
    let pid = module.status().pid;
    let after = stopped(&module, "deaf");
    assert!(after < Duration::from_secs(2), "{after:?}");
    assert_eq!(module.exec("three").expect("answers").text, "one € three");
    assert_ne!(module.status().pid, pid);
}

#[test]
fn silent_modules_are_ended_and_that_is_no_crash() {
    let dir = Dir::new();
    let module = load(&dir, "hostile");
    // More often than a module may crash.
    for _ in 0..6 {
        let after = stopped(&module, "loop");
        assert!(after >= Duration::from_millis(300), "{after:?}");
        assert!(after < Duration::from_secs(2), "{after:?}");
    }
    assert_eq!(module.exec("hello").expect("answers").text, "still here");
    let status = module.status();
    assert!(!status.quarantined && status.crashes == 0);
}

#[test]
fn a_call_that_ends_by_itself_after_the_stop_keeps_its_process() {
    let dir = Dir::new();
    let limits = Limits::default();
    let module = dir
        .load("full", &Entry::unlisted("full"), limits)
        .expect("loads");
    let pid = module.status().pid;
    stopped(&module, "slow_version");
    assert_eq!(module.exec("version").expect("answers").text, "1.0.0");
    assert_eq!(module.status().pid, pid);
}

#[test]
fn a_stop_that_was_raised_before_keeps_the_call_from_the_module() {
    let dir = Dir::new();
    let module = load(&dir, "full");
    let (call, stop) = call();
    assert!(!stop.is_stopped());
    exec(&module, "version", &call).expect("not stopped");
    stop.stop();
    stop.stop();
    assert!(stop.is_stopped());
    assert!(matches!(
        exec(&module, "version", &call),
        Err(Failure::Stopped { .. })
    ));
    module.exec("version").expect("others go on");
}

#[test]
fn a_stop_is_noticed_when_the_turn_comes() {
    let dir = Dir::new();
    let module = load(&dir, "full");
    let (call, stop) = call();
    let began = Barrier::new(2);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            began.wait();
            module.exec("slow_version").expect("answers")
        });
        began.wait();
        std::thread::sleep(Duration::from_millis(100));
        let second = scope.spawn(|| exec(&module, "version", &call));
        std::thread::sleep(Duration::from_millis(50));
        stop.stop();
        let second = second.join().expect("no panic");
        assert!(matches!(second, Err(Failure::Stopped { .. })), "{second:?}");
        assert_eq!(first.join().expect("no panic").text, "1.0.0");
    });
}

#[test]
fn a_stop_ends_the_wait_for_a_restart() {
    let dir = Dir::new();
    let module = load(&dir, "hostile");
    // The fourth crash is followed by a wait of 400 ms.
    for _ in 0..4 {
        module.exec("segfault").expect_err("crashes");
    }
    let (call, stop) = call();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| exec(&module, "hello", &call));
        std::thread::sleep(Duration::from_millis(100));
        stop.stop();
        let answer = waiting.join().expect("no panic");
        assert!(matches!(answer, Err(Failure::Stopped { .. })), "{answer:?}");
    });
    assert!(begun.elapsed() < Duration::from_millis(300));
    assert_eq!(module.status().crashes, 4);
    assert_eq!(module.exec("hello").expect("starts").text, "still here");
}
