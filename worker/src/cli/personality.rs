//! `fazai personality`: whose voice the answers have.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use fazai::text_file;
use fazai_protocol::{Call, ErrorCode, Operation, PersonalityParams};

use super::{Worker, output};

/// The commands.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A personality is yours alone, unless the operator put it into a file. `fazai ask --personality NAME`
takes one for a single question.

Examples:
  fazai personality edit ada
  fazai personality use ada
  fazai personality use               none any more
  printf 'system = \"You are Ada.\"\\nstyle = \"short\"\\n' | fazai personality edit ada")]
pub(crate) enum Personality {
    /// List those that there are; a star marks the one in use
    List(List),
    /// Show one
    Show(Named),
    /// Answer in this voice from now on; without a name: in none
    Use(Use),
    /// Write one in $EDITOR, or take it from a file or a pipe
    Edit(Edit),
    /// Remove one of your own
    Rm(Named),
}

/// List those that there are
#[derive(Debug, Args)]
pub(crate) struct List {
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// One personality
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its name
    name: String,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// Answer in this voice from now on
#[derive(Debug, Args)]
pub(crate) struct Use {
    /// Its name; none: no personality
    name: Option<String>,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// Write one
#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// Its name: letters, digits, `-` and `_`
    name: String,
    /// Take it from this file instead
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// What an editor shows of a personality that is new.
const NEW: &str = "\
# Who answers. This stands first in the prompt of every question.
system = \"You are a helpful administrator.\"
# How it writes.
#style = \"short and plain\"
# The language that it answers in.
#language = \"Portuguese\"
# What it holds to.
#rules = [\"Name the command first.\"]
";

fn operation(input: String, toml: Option<String>) -> Operation {
    Operation::Personality(Call {
        input,
        model: None,
        params: PersonalityParams { toml },
    })
}

impl Personality {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(),
            Self::Show(named) => named.run("show"),
            Self::Rm(named) => named.run("rm"),
            Self::Use(chosen) => {
                let name = chosen.name.as_deref().unwrap_or_default();
                let wish = operation(format!("use {name}").trim().to_owned(), None);
                chosen.worker.print(wish, chosen.json)
            }
            Self::Edit(edit) => edit.run(),
        }
    }
}

impl List {
    fn run(&self) -> anyhow::Result<()> {
        let done = self.worker.call(operation("list".into(), None))?;
        let text = output::or_none(done.result);
        output::print(self.json, &text, &done.data.unwrap_or_default())
    }
}

impl Named {
    fn run(&self, verb: &str) -> anyhow::Result<()> {
        let wish = operation(format!("{verb} {}", self.name), None);
        self.worker.print(wish, self.json)
    }
}

impl Edit {
    fn run(&self) -> anyhow::Result<()> {
        let toml = self.text()?;
        let wish = operation(format!("write {}", self.name), Some(toml));
        self.worker.print(wish, self.json)
    }

    fn text(&self) -> anyhow::Result<String> {
        if let Some(path) = &self.file {
            return output::read(path);
        }
        if !std::io::stdin().is_terminal() {
            return text_file::read_from(std::io::stdin()).context("standard input");
        }
        edited(&self.present()?)
    }

    /// What it is now.
    fn present(&self) -> anyhow::Result<String> {
        let wish = operation(format!("show {}", self.name), None);
        match self.worker.call(wish) {
            Ok(done) => Ok(done.result.unwrap_or_default()),
            Err(fault) => match fault.downcast_ref::<fazai_protocol::WireError>() {
                Some(error) if error.code == ErrorCode::MemoryNotFound => Ok(NEW.to_owned()),
                _ => Err(fault),
            },
        }
    }
}

/// What somebody makes of a text in the editor.
fn edited(text: &str) -> anyhow::Result<String> {
    let wanted = ["VISUAL", "EDITOR"].iter().find_map(std::env::var_os);
    let wanted = wanted.unwrap_or_else(|| "vi".into());
    let wanted = wanted.to_str().and_then(shlex::split).unwrap_or_default();
    let Some((editor, args)) = wanted.split_first() else {
        bail!("$EDITOR names no program");
    };
    let file = tempfile::Builder::new().suffix(".toml").tempfile()?;
    std::fs::write(file.path(), text)?;
    let ended = Command::new(editor).args(args).arg(file.path()).status();
    let ended = ended.with_context(|| format!("the editor {editor}"))?;
    if !ended.success() {
        return Err(anyhow!(
            "the editor ended with a failure: nothing is changed"
        ));
    }
    output::read(file.path())
}
