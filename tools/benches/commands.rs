//! How long a command takes from its permit to its end: without a sandbox, as a reader, and as a
//! reader for whom the directories that hold secrets are looked at anew each time, in turns.
//! `cargo bench -p fazai-tools`; the first number among the arguments says how often.
#![expect(clippy::expect_used, reason = "a bench fails by a panic")]

#[path = "../tests/commands/mod.rs"]
mod commands;

use std::path::PathBuf;
use std::time::Duration;

use commands::{exec, how, read_only, try_run};
use fazai_sandbox::Sockets;
use fazai_tools::{Confinement, How};

/// How often each way is tried in a row; the first of a row prepares and is not counted.
const ROW: usize = 11;
const ROWS: usize = 20;

/// A name, in what way the command runs at a time, and how long it took.
type Way = (&'static str, fn(usize) -> How, Vec<Duration>);

/// Another list of what is hidden than the time before, so that nothing is known of it.
fn anew(time: usize) -> How {
    let hidden: &[&str] = if time.is_multiple_of(2) {
        &[]
    } else {
        &["/boot"]
    };
    How {
        confinement: Confinement::ReadOnly {
            hidden: hidden.iter().map(PathBuf::from).collect(),
            sockets: Sockets::All,
        },
        ..how()
    }
}

fn main() {
    let rows = std::env::args().find_map(|arg| arg.parse().ok());
    let mut ways: [Way; 3] = [
        ("open", |_| how(), Vec::new()),
        ("reader", |_| read_only(), Vec::new()),
        ("reader, anew", anew, Vec::new()),
    ];
    for _ in 0..rows.unwrap_or(ROWS) {
        for (_, how, took) in &mut ways {
            for time in 0..ROW {
                let seen = try_run(exec(&["true"]), &how(time), None).expect("it runs");
                took.extend((time > 0).then_some(seen.took));
            }
        }
    }
    for (name, _, mut took) in ways {
        took.sort();
        let ms = |tenths: usize| took[took.len() * tenths / 10].as_secs_f64() * 1e3;
        println!(
            "{name:>12}: median {:.2} ms, from {:.2} (a tenth) to {:.2} (nine tenths)",
            ms(5),
            ms(1),
            ms(9)
        );
    }
}
