//! The `fazai` command.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Before anything else: this may be the process of a module or of a command.
    fazai::child_process();
    cli::run(cli::Arguments::parse())
}
