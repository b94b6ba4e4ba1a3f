//! What loads, what does not, and how answers of every kind come back.

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Dir, outlives_a_reader_that_panics, own_process};
use fazai_modhost::{Answer, Call, Entry, Failure, Limits, Module};

fn answer(code: i32, text: &str) -> Answer {
    Answer {
        code,
        text: text.into(),
        cut: false,
    }
}

#[test]
fn a_module_of_the_three_old_functions_loads_and_answers() {
    let dir = Dir::new();
    let module = dir
        .load("bare", &Entry::unlisted("bare"), Limits::default())
        .expect("loads");
    assert!(module.descriptor().is_none());
    assert_eq!(
        module.exec("echo hi é").expect("answers"),
        answer(0, "hi é")
    );
    assert_eq!(module.exec("length").expect("answers"), answer(0, "8192"));
    assert_eq!(
        module.exec("what").expect("answers"),
        answer(-7, "unknown command")
    );
    assert_eq!(module.health().expect("it runs").code, 0);
    let long = format!("echo {}", "x".repeat(500_000));
    assert_eq!(module.exec(&long).expect("answers").text.len(), 8191);
    assert!(matches!(
        module.exec("a\0b"),
        Err(Failure::CommandHasNul { at: 1 })
    ));
    let long = "x".repeat((1 << 20) + 1);
    assert!(matches!(
        module.exec(&long),
        Err(Failure::CommandTooLong { .. })
    ));
    assert_eq!(module.status().crashes, 0);
}

#[test]
fn results_of_every_shape_come_back() {
    let dir = Dir::new();
    let module = dir
        .load("full", &Entry::unlisted("full"), Limits::default())
        .expect("loads");
    let text = |command: &str| module.exec(command).expect(command).text;
    assert_eq!(text("fill 100"), "x".repeat(100));
    assert_eq!(text("fill 8190"), "x".repeat(8190));
    // From here on it is asked again with a larger buffer.
    for bytes in [8191, 8192, 65_536, 65_537, 1 << 20, (2 << 20) - 1] {
        assert_eq!(text(&format!("fill {bytes}")), "x".repeat(bytes));
    }
    // Larger than the largest buffer.
    assert_eq!(text("fill 9000000").len(), (2 << 20) - 1);
    assert_eq!(
        text("short_no_nul"),
        "abc",
        "nothing of the answer before is left"
    );
    assert_eq!(text("no_nul"), "n".repeat(2 << 20));
    assert_eq!(text("not_utf8"), "a\u{fffd}b");
    assert_eq!(
        module.exec("minimum").expect("answers"),
        answer(i32::MIN, "the smallest")
    );

    let descriptor = module.descriptor().expect("it has one");
    assert_eq!(descriptor.version, "1.0.0");
    assert_eq!(descriptor.not_granted, ["network"]);
    assert_eq!(descriptor.commands[0].name, "fill");
    assert_eq!(
        module.health().expect("answers"),
        answer(3, "asked 1 times")
    );
    assert_eq!(
        module.health().expect("answers").text,
        "asked 1 times",
        "not twice a second"
    );
}

#[test]
fn streams_come_in_pieces_and_stop() {
    let dir = Dir::new();
    let limits = Limits {
        stream_bytes_max: 3_000_000,
        ..Limits::default()
    };
    let module = dir
        .load("stream", &Entry::unlisted("stream"), limits)
        .expect("loads");
    assert_eq!(
        module.exec("three").expect("answers"),
        answer(4, "one € three")
    );
    assert_eq!(
        module.exec("bytes 2500000").expect("answers").text.len(),
        2_500_000
    );

    let mut pieces = 0;
    let reader = &mut |piece: String| {
        assert_eq!(piece, "more ");
        pieces += 1;
        if pieces == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    module
        .exec_stream("forever", &Call::default(), reader)
        .expect("stops");
    assert_eq!(pieces, 3, "nothing comes after the stop");
    let emitted: u32 = module
        .exec("emitted")
        .expect("answers")
        .text
        .parse()
        .expect("a number");
    assert!(emitted < 500, "it went on for {emitted} pieces");

    // One that does not listen is ended, soon.
    let begun = Instant::now();
    let failure = module
        .exec_stream("deaf", &Call::default(), &mut |_| ControlFlow::Break(()))
        .expect_err("it never ends");
    assert!(matches!(failure, Failure::TimedOut { .. }), "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(4));
    let cut = module.exec("bytes 5000000").expect("answers");
    assert!(cut.cut && cut.text.len() < 3_200_000, "{}", cut.text.len());
}

#[test]
fn a_reader_that_panics_takes_nobody_with_it() {
    let dir = Dir::new();
    let module = dir
        .load("stream", &Entry::unlisted("stream"), Limits::default())
        .expect("loads");
    outlives_a_reader_that_panics(&module);
}

#[test]
fn what_must_not_load_says_why() {
    let dir = Dir::new();
    for (defines, said) in [
        (&["MAGIC=7"][..], "FAZAI_MOD_MAGIC"),
        (&["ABI=2"], "ABI 2"),
        (&["SIZE=8"], "struct_size"),
        (&["NAME=\"Bad Name\""], "Bad Name"),
        (&["NAME=0"], "1 to 64 characters"),
        (&["NAME=\"other\""], "calls it `other`"),
        (&["COMMANDS=\"{}\""], "no JSON list"),
        (&["NO_EXEC"], "fazai_mod_exec"),
        (&["INIT=return 5"], "returned 5"),
        (&["INIT=exit(4)"], "status 4"),
        (&["INIT=abort()"], "SIGABRT"),
        (&["INIT=for(;;)pause()"], "its init within 300 ms"),
        (
            &[
                "MODULE_VERSION=\"0123456789012345678901234567890123456789012345678901234567890123456789\"",
            ],
            "version has over 64",
        ),
    ] {
        dir.compile("broken", "broken", defines);
        let limits = Limits {
            init_timeout: Duration::from_millis(300),
            ..Limits::default()
        };
        let checked = dir.check(&Entry::unlisted("broken"));
        let failure = Module::load(checked, own_process(), limits)
            .expect_err(said)
            .to_string();
        assert!(failure.contains(said), "{defines:?}: {failure}");
    }
    std::fs::write(dir.path().join("text.so"), "no library").expect("written");
    let checked = dir.check(&Entry::unlisted("text"));
    let failure = Module::load(checked, own_process(), Limits::default()).expect_err("no library");
    assert!(failure.to_string().contains("can't be loaded"), "{failure}");
}

#[test]
fn reload_swaps_versions_and_drops_no_call() {
    let dir = Dir::new();
    let entry = Entry::unlisted("full");
    let module = Arc::new(dir.load("full", &entry, Limits::default()).expect("loads"));
    let slow: Vec<_> = (0..3)
        .map(|_| {
            let module = Arc::clone(&module);
            std::thread::spawn(move || module.exec("slow_version").expect("answers").text)
        })
        .collect();
    std::thread::sleep(Duration::from_millis(150));
    dir.compile("full", "full", &["VERSION=\"2.0.0\""]);
    module.reload(dir.check(&entry)).expect("reloads");
    assert_eq!(module.exec("version").expect("answers").text, "2.0.0");
    let mut versions: Vec<String> = slow
        .into_iter()
        .map(|call| call.join().expect("no panic"))
        .collect();
    versions.sort();
    assert!(
        versions[0] == "1.0.0",
        "the call that ran went on in its version: {versions:?}"
    );
    assert_eq!(module.status().crashes, 0);

    // A version that does not load leaves the one that runs.
    dir.compile("broken", "full", &[]);
    module
        .reload(dir.check(&entry))
        .expect_err("its name is another");
    assert_eq!(module.exec("version").expect("answers").text, "2.0.0");
}

#[test]
fn unload_cleans_up() {
    let dir = Dir::new();
    let place = Dir::new();
    std::fs::set_permissions(
        place.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .expect("permissions");
    let mark = place.path().join("mark");
    dir.compile("full", "full", &[&format!("MARK=\"{}\"", mark.display())]);
    let mut entry = Entry::unlisted("full");
    entry.capabilities.files_writable = vec![place.path().into()];
    let module = Module::load(dir.check(&entry), own_process(), Limits::default()).expect("loads");
    let pid = module.status().pid.expect("it runs");
    module.unload();
    assert_eq!(
        std::fs::read_to_string(&mark).expect("cleanup ran"),
        "clean"
    );
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(matches!(
        module.exec("version"),
        Err(Failure::Unloaded { .. })
    ));
}
