//! Modules inside this process: trusted ones only, and they answer as in one of their own.

mod common;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use common::{Dir, outlives_a_reader_that_panics};
use fazai_modhost::{
    Answer, Call, Checked, Failure, Isolation, Limits, Module, Refused, State, Stop, Trust, check,
};

fn load(checked: Checked) -> Result<Module, Failure> {
    Module::load(checked, Isolation::InProcess, Limits::default())
}

fn answer(code: i32, text: &str) -> Answer {
    Answer {
        code,
        text: text.into(),
        cut: false,
    }
}

#[test]
fn only_what_is_signed_and_called_trusted_comes_in() {
    let dir = Dir::new();
    let good = dir.trusted("full", &[]);
    assert!(good.signed);
    let mut uncalled = good.clone();
    uncalled.entry.trusted = false;
    let Err(Refused::Unlisted { found, .. }) = check(dir.path(), &good.entry, &Trust::Manifest)
    else {
        panic!("it has no hash");
    };
    let mut listed = good.entry.clone();
    listed.sha256 = Some(found);
    let listed = check(dir.path(), &listed, &Trust::Manifest).expect("listed");
    let any = check(dir.path(), &good.entry, &Trust::Any).expect("any will do");
    let module = load(good).expect("signed and trusted");
    for other in [uncalled, listed, any] {
        let failure = module.reload(other.clone()).expect_err("not trusted");
        assert!(matches!(failure, Failure::NotTrusted { .. }), "{failure}");
        let failure = load(other).expect_err("not trusted");
        assert!(matches!(failure, Failure::NotTrusted { .. }), "{failure}");
    }
    assert_eq!(module.exec("version").expect("still there").text, "1.0.0");
    let report = module.report();
    assert!(
        matches!(&report.layers[..], [layer] if matches!(layer.state, State::Off(_))),
        "{report:?}"
    );
    assert_eq!(module.status().pid, None);
}

#[test]
fn results_are_those_of_a_process_of_its_own() {
    let dir = Dir::new();
    let here = dir.load_here("full", &[], Limits::default());
    let own =
        Module::load(here.checked(), common::own_process(), Limits::default()).expect("loads");
    for command in [
        "fill 0",
        "fill 100",
        "fill 8188",
        "fill 8189",
        "fill 8190",
        "fill 8191",
        "fill 8192",
        "fill 65537",
        "fill 1048576",
        "fill 9000000",
        "short_no_nul",
        "no_nul",
        "not_utf8",
        "minimum",
        "unknown",
    ] {
        let (here, own) = (here.exec(command), own.exec(command));
        assert_eq!(here.expect(command), own.expect(command), "{command}");
    }
    assert_eq!(here.descriptor(), own.descriptor());
    assert_eq!(here.health().expect("answers"), answer(3, "asked 1 times"));
    assert!(matches!(
        here.exec("a\0b"),
        Err(Failure::CommandHasNul { at: 1 })
    ));
    let bare = dir.load_here("bare", &[], Limits::default());
    assert!(bare.descriptor().is_none());
    assert_eq!(bare.exec("echo hi é").expect("answers").text, "hi é");
    assert_eq!(bare.exec("length").expect("answers").text, "8192");
    assert_eq!(bare.health().expect("it is there"), answer(0, ""));
}

#[test]
fn streams_come_in_pieces_and_stop() {
    let dir = Dir::new();
    let limits = Limits {
        stream_bytes_max: 3_000_000,
        ..Limits::default()
    };
    let module = dir.load_here("stream", &[], limits);
    assert_eq!(
        module.exec("three").expect("answers"),
        answer(4, "one € three")
    );
    assert_eq!(
        module.exec("bytes 2500000").expect("answers").text.len(),
        2_500_000
    );
    let cut = module.exec("bytes 5000000").expect("answers");
    assert!(cut.cut && cut.text.len() < 3_200_000, "{}", cut.text.len());
    let mut pieces = 0;
    let reader = &mut |_| {
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
    assert_eq!(pieces, 3);
}

#[test]
fn a_stop_ends_a_stream() {
    let dir = Dir::new();
    let module = dir.load_here("stream", &[], Limits::default());
    let stop = Stop::new().expect("a descriptor");
    let call = Call {
        stop: Some(stop.clone()),
        ..Call::default()
    };
    let mut last = Instant::now();
    let failure = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            stop.stop();
        });
        module.exec_stream("forever", &call, &mut |_| {
            last = Instant::now();
            ControlFlow::Continue(())
        })
    });
    assert!(
        matches!(failure, Err(Failure::Stopped { .. })),
        "{failure:?}"
    );
    assert!(last.elapsed() < Duration::from_millis(100));
    assert_eq!(module.exec("three").expect("answers").text, "one € three");
}

#[test]
fn a_reader_that_panics_takes_nobody_with_it() {
    let dir = Dir::new();
    let module = dir.load_here("stream", &[], Limits::default());
    outlives_a_reader_that_panics(&module);
}

#[test]
fn a_reload_is_the_new_version_each_time() {
    let dir = Dir::new();
    let module = dir.load_here("full", &["VERSION=\"0\""], Limits::default());
    // The loader must not know the descriptor of one version as that of another.
    for version in 1..8 {
        let define = format!("VERSION=\"{version}\"");
        module
            .reload(dir.trusted("full", &[&define]))
            .expect("reloads");
        let said = module.exec("version").expect("answers").text;
        assert_eq!(said, version.to_string());
    }
    // One that is refused leaves the one that is there, and was not even begun with.
    let mut wrong = dir.trusted("broken", &["INIT=abort()", "NAME=\"other\""]);
    wrong.entry.name = "full".into();
    let failure = module.reload(wrong).expect_err("its name is another");
    assert!(
        failure.to_string().contains("calls it `other`"),
        "{failure}"
    );
    assert_eq!(module.exec("version").expect("answers").text, "7");
}

#[test]
fn what_must_not_load_says_why() {
    let dir = Dir::new();
    for (define, said) in [
        ("INIT=return 5", "returned 5"),
        ("NO_EXEC", "fazai_mod_exec"),
        ("ABI=2", "ABI 2"),
    ] {
        let failure = load(dir.trusted("broken", &[define])).expect_err(said);
        assert!(matches!(failure, Failure::NotLoaded { .. }), "{failure}");
        assert!(failure.to_string().contains(said), "{failure}");
    }
}

#[test]
fn each_load_has_state_of_its_own() {
    let dir = Dir::new();
    let checked = dir.trusted("full", &[]);
    for _ in 0..2 {
        let module = load(checked.clone()).expect("loads");
        assert_eq!(module.health().expect("answers").text, "asked 1 times");
        module.unload();
        assert!(matches!(
            module.exec("version"),
            Err(Failure::Unloaded { .. })
        ));
    }
}

/// What two calls at once say.
fn two(module: &Module) -> [String; 2] {
    std::thread::scope(|scope| {
        let calls = [(); 2].map(|()| scope.spawn(|| module.exec("").expect("answers").text));
        calls.map(|call| call.join().expect("no panic"))
    })
}

#[test]
fn calls_take_turns_unless_the_module_takes_them_at_once() {
    let dir = Dir::new();
    let module = dir.load_here("threads", &[], Limits::default());
    assert_eq!(two(&module), ["alone", "alone"]);
    let module = dir.load_here("threads", &["FLAGS=FAZAI_MOD_THREADS"], Limits::default());
    assert_eq!(two(&module), ["met", "met"]);
}

#[test]
fn a_turn_is_waited_for_within_the_limit() {
    let dir = Dir::new();
    let module = dir.load_here("threads", &[], Limits::default());
    std::thread::scope(|scope| {
        scope.spawn(|| module.exec("").expect("answers"));
        std::thread::sleep(Duration::from_millis(100));
        let soon = Call {
            limit: Some(Duration::from_millis(100)),
            stop: None,
        };
        let failure = module
            .exec_stream("", &soon, &mut |_| ControlFlow::Continue(()))
            .expect_err("another has the module");
        assert!(matches!(failure, Failure::Busy { .. }), "{failure}");
    });
}

#[test]
fn nothing_runs_beside_health_and_cleanup() {
    let dir = Dir::new();
    let mark = dir.path().join("mark");
    let define = format!("MARK=\"{}\"", mark.display());
    let flags = ["FLAGS=FAZAI_MOD_THREADS", &define];
    let module = dir.load_here("threads", &flags, Limits::default());
    std::thread::scope(|scope| {
        let calls = [(); 2].map(|()| scope.spawn(|| module.exec("").expect("answers").text));
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(module.health().expect("answers").text, "0 inside");
        let late = scope.spawn(|| module.exec("").expect("answers").text);
        std::thread::sleep(Duration::from_millis(100));
        module.unload();
        let mark = std::fs::read_to_string(&mark).expect("cleanup ran");
        assert_eq!(mark, "0 inside");
        assert_eq!(
            calls.map(|call| call.join().expect("no panic")),
            ["met", "met"]
        );
        assert_eq!(late.join().expect("no panic"), "alone");
    });
}
