//! A module that does its worst harms the call that asked for it, and nothing else.

mod common;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Dir, launcher};
use fazai_modhost::{Call, Entry, Failure, Isolation, Limits, Module, State};

fn limits() -> Limits {
    let call_timeout = Duration::from_millis(1500);
    Limits {
        call_timeout,
        memory_bytes_max: 64 << 20,
        ..Limits::default()
    }
}

fn load(dir: &Dir, change: impl FnOnce(&mut Entry)) -> Module {
    let mut entry = Entry::unlisted("hostile");
    change(&mut entry);
    dir.load("hostile", &entry, limits()).expect("loads")
}

/// What a command that ends the process does to the next call: nothing.
fn ends(command: &str, said: &[&str]) {
    let dir = Dir::new();
    let module = load(&dir, |_| {});
    let begun = Instant::now();
    let failure = module.exec(command).expect_err(command).to_string();
    assert!(
        said.iter().all(|said| failure.contains(said)),
        "{command}: {failure}"
    );
    assert!(begun.elapsed() < Duration::from_secs(5), "{command}");
    assert_eq!(module.status().crashes, 1);
    assert_eq!(
        module.exec("hello").expect("starts again").text,
        "still here"
    );
}

/// What a command that is forbidden answers, in a process that goes on.
fn fails(module: &Module, command: &str, errors: &[&str]) {
    let answer = module.exec(command).expect(command);
    assert!(
        answer.code != 0 && errors.contains(&answer.text.as_str()),
        "{command}: {answer:?}"
    );
    assert_eq!(module.status().crashes, 0, "{command}");
}

#[test]
fn crashes_are_errors_of_their_call() {
    ends("segfault", &["SIGSEGV"]);
    ends("raise", &["SIGSEGV"]);
    ends("abort", &["SIGABRT"]);
    ends("stack", &["SIGSEGV", "stack"]);
    ends(
        "overflow",
        &["SIGSEGV", "past the end of its result buffer"],
    );
    ends("exit", &["status 3"]);
    ends("exit_zero", &["status 0"]);
}

#[test]
fn hangs_are_ended() {
    ends("loop", &["1500 ms"]);
}

#[test]
fn memory_ends_at_its_limit() {
    let begun = Instant::now();
    ends("allocate", &["SIG"]);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_connection_that_is_closed_or_scribbled_on_is_given_up() {
    ends("close_all", &["disturbed its connection"]);
    ends("scribble", &["disturbed its connection"]);
}

#[test]
fn the_sandbox_has_all_its_layers_here() {
    let dir = Dir::new();
    let module = load(&dir, |_| {});
    let report = module.report();
    assert_eq!(
        fazai_modhost::probe(&launcher()).expect("a sandbox"),
        report
    );
    let names: Vec<_> = report
        .layers
        .iter()
        .map(|layer| layer.name.as_str())
        .collect();
    let all = [
        "no_new_privs",
        "landlock",
        "user",
        "parent_death_signal",
        "rlimits",
        "seccomp",
    ];
    assert_eq!(names, all);
    for layer in report.weak() {
        let excused = matches!(layer.name.as_str(), "user" | "rlimits" | "landlock");
        assert!(
            excused && !matches!(&layer.state, State::Partly(why) if why.is_empty()),
            "{layer:?}"
        );
    }
}

#[test]
fn what_was_not_granted_is_refused() {
    let dir = Dir::new();
    let module = load(&dir, |_| {});
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    for command in [
        "fork",
        "vfork_by_number",
        "exec",
        "unix",
        "uring",
        "setsid",
        "ptrace",
        "outlive",
    ] {
        fails(&module, command, &["EPERM"]);
    }
    fails(&module, "kill_parent", &["EPERM"]);
    fails(&module, &format!("connect {port}"), &["EPERM"]);
    for file in [
        "/etc/shadow",
        "/etc/passwd",
        "/root",
        "/proc/self/maps",
        "/dev/mem",
        "/",
    ] {
        fails(&module, &format!("open {file}"), &["EACCES", "ENOENT"]);
    }
    fails(&module, "shadow", &["EACCES"]);
    fails(&module, "write /tmp/fazai-hostile-was-here", &["EACCES"]);
    let said = |command: &str| module.exec(command).expect(command).text;
    assert_eq!(said("environment"), "empty");
    assert_eq!(
        said("descriptors"),
        "4",
        "the standard ones and the connection"
    );
    assert_eq!(said("thread"), "done", "threads are no processes");
    if rustix::process::geteuid().is_root() {
        assert_eq!(said("user"), "65534");
    }
}

#[test]
fn what_was_granted_works_and_no_more() {
    let dir = Dir::new();
    let place = Dir::new();
    let file = place.path().join("data");
    std::fs::write(&file, "x").expect("written");
    std::fs::set_permissions(
        place.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("permissions");
    let module = load(&dir, |entry| {
        entry.capabilities.network = true;
        entry.capabilities.files = vec![place.path().into()];
    });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    assert_eq!(
        module
            .exec(&format!("connect {port}"))
            .expect("answers")
            .text,
        "done"
    );
    fails(&module, "unix", &["EPERM"]);
    assert_eq!(
        module
            .exec(&format!("open {}", file.display()))
            .expect("answers")
            .text,
        "done"
    );
    fails(&module, &format!("write {}", file.display()), &["EACCES"]);
    fails(&module, "shadow", &["EACCES"]);
    fails(&module, "fork", &["EPERM"]);
    assert_ne!(module.exec("system").expect("answers").text, "7");
}

#[test]
fn what_a_module_starts_ends_with_it() {
    let dir = Dir::new();
    let module = load(&dir, |entry| entry.capabilities.exec = true);
    fails(&module, "setsid", &["EPERM"]);
    assert_eq!(module.exec("system").expect("may start programs").text, "7");
    let pid = module.exec("child").expect("may fork").text;
    assert!(alive(&pid));
    module.exec("segfault").expect_err("crashes");
    assert!(ends_soon(&pid));
}

#[test]
fn five_crashes_in_a_minute_are_the_last() {
    let dir = Dir::new();
    let module = load(&dir, |_| {});
    for _ in 0..5 {
        let failure = module.exec("segfault").expect_err("crashes");
        assert!(matches!(failure, Failure::Crashed { .. }), "{failure}");
    }
    assert!(module.status().quarantined);
    assert!(matches!(
        module.exec("hello"),
        Err(Failure::Quarantined { .. })
    ));
    module.release();
    assert_eq!(module.exec("hello").expect("released").text, "still here");
}

#[test]
fn a_call_that_gets_no_turn_is_told_so() {
    let dir = Dir::new();
    let module = load(&dir, |_| {});
    std::thread::scope(|scope| {
        scope.spawn(|| module.exec("loop"));
        std::thread::sleep(Duration::from_millis(300));
        let soon = Call {
            limit: Some(Duration::from_millis(100)),
            stop: None,
        };
        let failure = module
            .exec_stream("hello", &soon, &mut |_| ControlFlow::Continue(()))
            .expect_err("another has the module");
        assert!(matches!(failure, Failure::Busy { .. }), "{failure}");
    });
}

#[test]
fn other_modules_do_not_notice() {
    let dir = Dir::new();
    let hostile = load(&dir, |_| {});
    let good = dir
        .load("bare", &Entry::unlisted("bare"), limits())
        .expect("loads");
    let pid = good.status().pid;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for command in ["segfault", "overflow", "loop"] {
                hostile.exec(command).expect_err(command);
            }
        });
        for _ in 0..1000 {
            assert_eq!(good.exec("echo hi").expect("answers").text, "hi");
        }
    });
    assert_eq!(good.status().pid, pid);
}

/// A host for the test below, which kills it.
#[test]
#[ignore = "runs until it is killed"]
fn a_host_that_is_killed() {
    let dir = Dir::new();
    let module = load(&dir, |_| {});
    println!("\npid {}", module.status().pid.expect("it runs"));
    let long = Call {
        limit: Some(Duration::from_secs(60)),
        stop: None,
    };
    let _ = module.exec_stream("loop", &long, &mut |_| ControlFlow::Continue(()));
}

#[test]
fn a_module_ends_with_its_host_also_when_it_hangs() {
    let mut host = Command::new(std::env::current_exe().expect("a path"))
        .args([
            "--exact",
            "a_host_that_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(host.stdout.take().expect("a pipe")).lines();
    let pid = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("pid ").map(str::to_owned))
        .expect("it has loaded");
    // By now the call has likely begun; if not, the end of the connection ends the process.
    std::thread::sleep(Duration::from_millis(300));
    assert!(alive(&pid));
    host.kill().expect("killed");
    host.wait().expect("ended");
    assert!(ends_soon(&pid));
}

/// Whether a process runs; one that has ended and was not waited for does not.
fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn ends_soon(pid: &str) -> bool {
    let until = Instant::now() + Duration::from_secs(5);
    while alive(pid) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    !alive(pid)
}

#[test]
fn a_program_that_is_no_host_is_an_error() {
    let dir = Dir::new();
    dir.compile("bare", "bare", &[]);
    let checked = dir.check(&Entry::unlisted("bare"));
    let wrong = fazai_modhost::Launcher {
        program: "/bin/true".into(),
        ..launcher()
    };
    Module::load(checked.clone(), Isolation::Process(wrong), limits())
        .expect_err("it says nothing");
    let missing = fazai_modhost::Launcher {
        program: "/nowhere".into(),
        ..launcher()
    };
    let failure =
        Module::load(checked, Isolation::Process(missing), limits()).expect_err("there is none");
    assert!(matches!(failure, Failure::Spawn { .. }), "{failure}");
}
