//! A host that is far larger than what its modules may take, which starts itself as their process.
//! It has no harness: a module's process must not have its threads.

mod common;

use common::Dir;
use fazai_modhost::{Entry, Failure, Isolation, Launcher, Limits, Module, State};

/// What a host with models in it maps, most of it never touched.
const BALLAST_BYTES: usize = 512 << 20;

const MODULE: &str = "--module-process";
const WITH_THREADS: &str = "--module-process-with-threads";

fn main() {
    let ballast = vec![0_u8; BALLAST_BYTES];
    std::hint::black_box(&ballast);
    match std::env::args().nth(1).as_deref() {
        Some(MODULE) => fazai_modhost::child_main(),
        Some(WITH_THREADS) => {
            std::thread::spawn(std::thread::park);
            fazai_modhost::child_main()
        }
        // Cargo and its users may name tests or ask for a list, which there is none of.
        Some("--list") => {}
        _ => {
            memory_is_counted_beyond_the_host();
            the_sandbox_holds();
            threads_before_the_sandbox_are_refused();
            println!("a large host: ok");
        }
    }
}

fn load(dir: &Dir, arg: &str) -> Result<Module, Failure> {
    dir.compile("hostile", "hostile", &[]);
    let limits = Limits {
        memory_bytes_max: 64 << 20,
        ..Limits::default()
    };
    let launcher = Launcher::this_program([arg.into()]);
    let checked = dir.check(&Entry::unlisted("hostile"));
    Module::load(checked, Isolation::Process(launcher), limits)
}

fn memory_is_counted_beyond_the_host() {
    let dir = Dir::new();
    let module = load(&dir, MODULE).expect("loads");
    let map = |megabytes: u32| {
        let command = format!("map {megabytes}");
        module.exec(&command).expect("answers").text
    };
    assert_eq!(map(32), "done");
    assert_eq!(map(100), "ENOMEM");
    module.exec("allocate").expect_err("it ends at its limit");
    assert_eq!(module.exec("hello").expect("starts").text, "still here");
}

fn the_sandbox_holds() {
    let dir = Dir::new();
    let module = load(&dir, MODULE).expect("loads");
    let report = module.report();
    let off = |state: &State| matches!(state, State::Off(_));
    assert!(
        !report
            .layers
            .iter()
            .any(|layer| layer.name != "landlock" && off(&layer.state)),
        "{report:?}"
    );
    for (command, error) in [
        ("fork", "EPERM"),
        ("exec", "EPERM"),
        ("unix", "EPERM"),
        ("kill_parent", "EPERM"),
        ("shadow", "EACCES"),
        ("open /proc/self/exe", "EACCES"),
    ] {
        assert_eq!(
            module.exec(command).expect("answers").text,
            error,
            "{command}"
        );
    }
    assert_eq!(module.exec("thread").expect("answers").text, "done");
}

fn threads_before_the_sandbox_are_refused() {
    let dir = Dir::new();
    let failure = load(&dir, WITH_THREADS).expect_err("a thread would not be confined");
    assert!(
        failure.to_string().contains("child_main first"),
        "{failure}"
    );
}
