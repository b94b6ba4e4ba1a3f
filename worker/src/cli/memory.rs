//! `fazai memory`: all that is remembered, moved.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Worker;
use super::kb::kb;

/// The commands.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fazai memory export                 beside the memory; it says where
  fazai memory import /var/lib/fazai/memory/export-20260601T120000Z.ndjson
  fazai memory episodes 2026-06-01 | jq -r '.episodes[] | [.time, .user, .asked] | @tsv'
  fazai memory migrate --to server    from the directory to the server of [memory] server")]
pub(crate) enum Memory {
    /// Write all that is remembered into a new file, a line of JSON for each record
    Export(Export),
    /// Add the records of such a file; with an embedding model their vectors are made anew
    Import(File),
    /// Make vectors for the records that have none, with the embedding model
    Embed(Embed),
    /// Copy all records from the directory to the server, or back
    Migrate(Migrate),
    /// Show which days there is a record of, or what one says; `episodes` in [memory] turns it on
    Episodes(Episodes),
}

/// Show which days there is a record of, or what one says
#[derive(Debug, Args)]
pub(crate) struct Episodes {
    /// A day in UTC, such as 2026-06-01; of a long one its end is shown
    day: Option<String>,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// Write all that is remembered into a new file
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Its path on the worker's machine, if the policy allows to write it; otherwise one beside
    /// the memory
    path: Option<PathBuf>,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// A file on the worker's machine
#[derive(Debug, Args)]
pub(crate) struct File {
    /// Its path: beside the memory, or where the policy allows to read
    path: PathBuf,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// Copy all records from the directory to the server, or back
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Where to
    #[arg(long, value_name = "PLACE")]
    to: Place,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// Make vectors for the records that have none
#[derive(Debug, Args)]
pub(crate) struct Embed {
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// Where records are.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Place {
    Server,
    Directory,
}

impl Memory {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Export(export) => {
                let path = export.path.as_ref().map(std::path::absolute).transpose()?;
                let path = path.unwrap_or_default();
                let wish = format!("export {}", path.display());
                export.worker.print(kb(wish.trim()), export.json)
            }
            Self::Import(file) => file.run(),
            Self::Embed(embed) => embed.worker.print(kb("embed"), embed.json),
            Self::Episodes(episodes) => {
                let day = episodes.day.as_deref().unwrap_or_default();
                let wish = format!("episodes {day}");
                episodes.worker.print(kb(wish.trim()), episodes.json)
            }
            Self::Migrate(migrate) => {
                let to = match migrate.to {
                    Place::Server => "server",
                    Place::Directory => "directory",
                };
                let wish = kb(format!("migrate to {to}"));
                migrate.worker.print(wish, migrate.json)
            }
        }
    }
}

impl File {
    fn run(&self) -> anyhow::Result<()> {
        // The worker has another directory.
        let path = std::path::absolute(&self.path)?;
        let wish = kb(format!("import {}", path.display()));
        self.worker.print(wish, self.json)
    }
}
