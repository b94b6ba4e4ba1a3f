//! `fazai audit`: the record of everything that was decided and done.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use fazai_tools::verify;
use serde_json::{Value, json};

use super::{SettingsFile, output};

/// The commands.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fazai audit verify
  fazai audit show -n 20
  fazai audit follow | jq -r 'select(.event == \"decided\").action.argv'")]
pub(crate) enum Audit {
    /// Read the whole record and say whether anything was deleted, changed, moved or cut off
    Verify(Place),
    /// Print the last entries
    Show(Show),
    /// Print entries as they are written, until interrupted
    Follow(Place),
}

/// Where the record is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The audit log's directory [default: the configured one]
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingsFile,
}

/// Print the last entries
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// How many
    #[arg(short = 'n', long, default_value_t = 50)]
    entries: usize,
    #[command(flatten)]
    place: Place,
}

/// How much of a file is looked at for its last entries: a whole one, before it is rotated.
const TAIL_BYTES_MAX: u64 = 64 << 20;

/// A pause between two looks at a file that grows.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Audit {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Verify(place) => place.verify(),
            Self::Show(show) => show.run(),
            Self::Follow(place) => place.follow(),
        }
    }
}

impl Place {
    fn dir(&self) -> anyhow::Result<PathBuf> {
        match &self.dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(self.settings.load()?.policy.audit_dir),
        }
    }

    /// The files of the record, the oldest first.
    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let dir = self.dir()?;
        let entries = std::fs::read_dir(&dir).with_context(|| dir.display().to_string())?;
        let mut files: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| is_record(path))
            .collect();
        files.sort();
        Ok(files)
    }

    fn verify(&self) -> anyhow::Result<()> {
        let dir = self.dir()?;
        let report = verify(&dir).with_context(|| dir.display().to_string())?;
        let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        let data = json!({
            "dir": dir,
            "entries": report.entries,
            "heads": report.heads,
            "repairs": report.repairs,
            "findings": findings,
        });
        let summary = format!(
            "{} is {}: {} entries, {} signed heads, {} repairs after a crash",
            dir.display(),
            if report.is_whole() {
                "whole"
            } else {
                "DAMAGED"
            },
            report.entries,
            report.heads,
            report.repairs
        );
        let text = [findings, vec![summary]].concat().join("\n");
        output::print(false, &text, &data)?;
        if report.is_whole() {
            Ok(())
        } else {
            Err(anyhow!("the record is not whole"))
        }
    }

    fn follow(&self) -> anyhow::Result<()> {
        let mut known = self.files()?;
        let mut at = 0;
        if let Some(last) = known.last() {
            at = std::fs::metadata(last)?.len();
        }
        loop {
            // Before the last one is read: if there is a newer one, it is whole by then.
            let now = self.files()?;
            let last = known.last();
            if let Some(last) = last {
                at = print_from(last, at)?;
            }
            for newer in now.iter().filter(|file| Some(*file) > last) {
                at = print_from(newer, 0)?;
            }
            known = now;
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

fn is_record(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("audit-") && name.ends_with(".ndjson"))
}

/// Prints the whole lines after a place in a file, and says where the next one begins.
fn print_from(path: &Path, from: u64) -> anyhow::Result<u64> {
    let mut file = BufReader::new(File::open(path)?);
    file.seek(SeekFrom::Start(from))?;
    let mut at = from;
    let mut line = Vec::new();
    loop {
        line.clear();
        let bytes = file.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Ok(at);
        }
        at += bytes as u64;
        // What is damaged is shown as it is; `verify` says that it is.
        output::say(String::from_utf8_lossy(&line).trim_end())?;
    }
}

/// The end of a file, as far as it is looked at.
fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(TAIL_BYTES_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Show {
    fn run(&self) -> anyhow::Result<()> {
        let mut lines = Vec::new();
        let dir = self.place.dir()?;
        let files = self.place.files()?;
        if files.is_empty() {
            output::warn(&format!("there is no record in {}", dir.display()))?;
        } else if !output::piped() {
            output::warn(&format!("the record in {}", dir.display()))?;
        }
        for file in files.iter().rev() {
            let text = tail(file).with_context(|| file.display().to_string())?;
            lines.extend(
                text.lines()
                    .rev()
                    .take(self.entries - lines.len())
                    .map(str::to_owned),
            );
            if lines.len() >= self.entries {
                break;
            }
        }
        for line in lines.iter().rev() {
            output::say(&if output::piped() {
                line.clone()
            } else {
                brief(line)
            })?;
        }
        Ok(())
    }
}

/// An entry for people: when, what, and how it was decided.
fn brief(line: &str) -> String {
    let entry: Value = serde_json::from_str(line).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let what = match entry["event"].as_str() {
        Some("decided") => format!(
            "{} {} {} ({})",
            text(&entry["decision"]["verdict"]),
            entry["action"],
            text(&entry["decision"]["rule"]),
            entry["caller"]
        ),
        Some("finished") => format!(
            "permit {} ended with {}",
            entry["permit"], entry["exit_code"]
        ),
        Some("denied_more") => format!(
            "deny {} more times ({})",
            entry["count"],
            entry
                .get("caller")
                .unwrap_or(&Value::from("several callers"))
        ),
        other => other.unwrap_or("?").to_owned(),
    };
    format!("{} {} {what}", entry["seq"], text(&entry["time"]))
}
