//! Commands that need only a few lines each.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use fazai::config::{Settings, example};
use fazai_protocol::{Call, Operation, reply_schema, request_schema};
use serde_json::json;

use super::{Arguments, Connect, SettingsFile, doctor, output};

/// Show what a running worker is doing
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

impl Status {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let status = Operation::Status(Call::default());
        output::answer(self.json, self.connect.call(status)?)
    }
}

/// Print the JSON Schemas of the protocol
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// Only this direction: request or reply
    direction: Option<String>,
}

impl Schema {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let schema = match self.direction.as_deref() {
            None => json!({ "request": request_schema(), "reply": reply_schema() }),
            Some("request") => json!(request_schema()),
            Some("reply") => json!(reply_schema()),
            Some(other) => return Err(anyhow::anyhow!("request or reply, not {other:?}")),
        };
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &schema)?;
        writeln!(out)?;
        Ok(())
    }
}

/// Check a settings file, or print one with every key
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fazai config                       is /etc/fazai/fazai.conf good?
  fazai config --config my.conf      is this one?
  fazai config --example > my.conf   every key with its help and default")]
pub(crate) struct Config {
    /// Print a file with every key, its help and its default
    #[arg(long)]
    example: bool,
    #[command(flatten)]
    settings: SettingsFile,
}

impl Config {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if self.example {
            out.write_all(example().as_bytes())?;
            return Ok(());
        }
        let settings: Settings = self.settings.load()?;
        for note in settings.notes.iter().chain(&doctor::missing(&settings)) {
            writeln!(out, "note: {}", output::clean(note))?;
        }
        let cloud = settings.cloud.settings().map_err(anyhow::Error::msg)?;
        if let [problem, ..] = cloud.problems().as_slice() {
            anyhow::bail!("[cloud] {problem}");
        }
        writeln!(
            out,
            "good: socket {}, model {}",
            settings.server.socket.display(),
            settings.model.default
        )?;
        Ok(())
    }
}

/// Print a shell's completion script
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  fazai completions bash > /etc/bash_completion.d/fazai")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "fazai", &mut script);
        io::stdout().lock().write_all(&script)?;
        Ok(())
    }
}

/// Print the manual pages into a directory
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  fazai man /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Where the pages go
    directory: PathBuf,
}

impl Man {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        clap_mangen::generate_to(Arguments::command(), &self.directory)?;
        Ok(())
    }
}
