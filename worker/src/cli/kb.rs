//! `fazai kb` and `fazai research`: what is remembered.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use fazai_protocol::{
    Call, CommitParams, IngestLine, KbCall, KbParams, Line, Operation, ResearchParams,
};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Worker, output};

/// The longest text from standard input, as long as the largest file.
const TEXT_BYTES_MAX: u64 = 32 << 20;

/// The commands.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fazai kb add /usr/share/man/man8        files and directories: Markdown, text, man pages, HTML, PDF
  fazai kb add --watch /srv/wiki          and follow it: what changes is added, what goes is removed
  journalctl -k | fazai kb add --private -  what comes out of a pipe
  fazai kb add --journal ssh.service      what the machine wrote down about itself
  fazai kb note --title \"postfix relay\" \"set relayhost in main.cf, then postfix reload\"
  fazai research \"how do I list block devices?\"
  fazai kb stats")]
pub(crate) enum Kb {
    /// Add files, or all files of a directory; what is known already is not added again
    Add(Add),
    /// Remember a text
    Note(Note),
    /// Show a record
    Show(Named),
    /// Remove a record
    Rm(Named),
    /// Count the records
    Stats(Stats),
    /// Remove what is over, and what was of least use if there is too much
    Gc(Stats),
    /// Find passages; the same as `fazai research`
    Search(Research),
}

/// Add files, or all files of a directory
#[derive(Debug, Args)]
#[command(after_help = "\
Left out of a directory, each with the reason: links, hidden and temporary files, what is not text,
what the policy does not let you read: by the ready profile `standard` that is below /home and /root. A
file that is named and can't be added is an error; the others are added all the same.

Examples:
  fazai kb add /usr/share/man/man8
  fazai kb add --tag runbook --private /srv/notes
  fazai kb add --private --name notes.md - < ~/notes.md
  fazai kb add --watch /srv/wiki          until Ctrl-C; up to 20,000 files in 4,096 directories
  fazai kb add --journal                  of all units: yesterday and today, for yourself alone
  fazai kb add --journal nginx.service --days 7")]
pub(crate) struct Add {
    /// Files and directories; -: a text from standard input
    #[arg(required_unless_present = "journal", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What the text from standard input is called, such as notes.md: the ending says how it is read,
    /// and it takes the place of an older one of that name
    #[arg(long, visible_alias = "title", value_name = "NAME")]
    name: Option<String>,
    /// Read the systemd journal instead, of one unit or of all; repeated messages become one, and
    /// after 30 days they are forgotten
    #[arg(long, value_name = "UNIT", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["paths", "watch"])]
    journal: Option<String>,
    /// How many days of it, with today [default: 2]
    #[arg(long, value_name = "N", requires = "journal")]
    days: Option<u32>,
    /// Follow a directory until Ctrl-C: add what is new or changed, remove what its files no longer
    /// say
    #[arg(long)]
    watch: bool,
    /// A word by which they can be found
    #[arg(long = "tag", value_name = "WORD")]
    tags: Vec<String>,
    /// For yourself alone, instead of everybody who uses the worker
    #[arg(long)]
    private: bool,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// Remember a text
#[derive(Debug, Args)]
pub(crate) struct Note {
    /// What is to be remembered
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
    /// A line that says what it is about
    #[arg(long)]
    title: Option<String>,
    /// A word by which it can be found
    #[arg(long = "tag", value_name = "WORD")]
    tags: Vec<String>,
    /// For everybody who uses the worker
    #[arg(long)]
    shared: bool,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// One record
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its id, from `fazai research --json`
    id: String,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// The knowledge as a whole
#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

/// Find passages in what is remembered
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fazai research \"how do I list block devices?\"
  fazai research --answer \"which option shows sizes?\"
  fazai research postfix relay | jq -r '.passages[0].source'")]
pub(crate) struct Research {
    /// A question, or words to look for
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
    /// How many passages
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// Only those with this word
    #[arg(long = "tag", value_name = "WORD")]
    tags: Vec<String>,
    /// Have the model answer from them, if it is large enough to read
    #[arg(long)]
    answer: bool,
    /// Look it up in the documentation that the settings name, too: the question leaves the machine
    #[arg(long)]
    documentation: bool,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
}

impl Kb {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Add(add) => add.run(),
            Self::Note(note) => note.run(),
            Self::Show(named) => named.run("show"),
            Self::Rm(named) => named.run("rm"),
            Self::Stats(stats) => stats.worker.print(kb("stats"), stats.json),
            Self::Gc(gc) => gc.worker.print(kb("gc"), gc.json),
            Self::Search(search) => search.run(),
        }
    }
}

pub(super) fn kb(input: impl Into<String>) -> Operation {
    Operation::Kb(Box::new(KbCall::new(input)))
}

impl Add {
    fn run(&self) -> anyhow::Result<()> {
        if self.watch && self.paths.len() > 1 {
            anyhow::bail!("--watch follows one directory; start one command for each");
        }
        // clap forgets that one needs the other where that other excludes paths.
        if self.days.is_some() && self.journal.is_none() {
            anyhow::bail!("--days is for --journal: files have no days");
        }
        let from_pipe = self.paths.iter().any(|path| path == Path::new("-"));
        if self.name.is_some() && !from_pipe {
            anyhow::bail!("--name is for a text from standard input, which the path - stands for");
        }
        if let Some(unit) = &self.journal {
            return self.add(format!("journal {unit}").trim(), None);
        }
        let [path] = self.paths.as_slice() else {
            return self.add_each();
        };
        self.add_path(path)
    }

    /// One that fails keeps the others from nothing.
    fn add_each(&self) -> anyhow::Result<()> {
        let mut failed = false;
        for path in &self.paths {
            match self.add_path(path) {
                Err(fault) if fault.is::<super::Interrupted>() => return Err(fault),
                Err(fault) => {
                    output::complain(&fault);
                    failed = true;
                }
                Ok(()) => {}
            }
        }
        match failed {
            true => Err(super::Exit(ExitCode::FAILURE).into()),
            false => Ok(()),
        }
    }

    fn add_path(&self, path: &Path) -> anyhow::Result<()> {
        if path == Path::new("-") {
            anyhow::ensure!(!self.watch, "--watch follows a directory, and - is none");
            return self.add("add -", Some(piped_text(io::stdin().lock())?));
        }
        let verb = if self.watch { "watch" } else { "add" };
        // The worker has another directory.
        let path = std::path::absolute(path)?;
        self.add(&format!("{verb} {}", path.display()), None)
    }

    fn add(&self, wish: &str, text: Option<String>) -> anyhow::Result<()> {
        let call = KbCall {
            params: KbParams {
                tags: self.tags.clone(),
                private: self.private,
                days: self.days,
                name: self.name.clone().filter(|_| text.is_some()),
                text,
            },
            ..KbCall::new(wish)
        };
        let style = "{spinner} {pos} of {len} files";
        let bar = ProgressBar::no_length().with_style(ProgressStyle::with_template(style)?);
        let shown = bar.clone();
        let done = self.worker.follow(Operation::Kb(Box::new(call)), |line| {
            match line {
                Line::Progress(progress) => {
                    shown.set_length(progress.total.unwrap_or_default().into());
                    shown.set_position(progress.done.unwrap_or_default().into());
                }
                Line::Ingest(line) => return shown.suspend(|| self.taken_in(line)),
                _ => {}
            }
            Ok(false)
        });
        bar.finish_and_clear();
        output::answer(self.json, super::succeeded(done?)?)
    }
}

/// What comes out of a pipe, if it is a text.
fn piped_text(from: impl Read) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    from.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    anyhow::ensure!(
        bytes.len() as u64 <= TEXT_BYTES_MAX,
        "standard input has more than {TEXT_BYTES_MAX} bytes; put it into a file and add that"
    );
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| anyhow::anyhow!("standard input is no text in UTF-8"))?;
    anyhow::ensure!(!text.trim().is_empty(), "standard input is empty");
    Ok(text)
}

impl Add {
    /// Shows what a look at a directory that is followed came to.
    fn taken_in(&self, line: &IngestLine) -> anyhow::Result<bool> {
        output::print(self.json, &line.result, &line.data)?;
        Ok(true)
    }
}

impl Note {
    fn run(&self) -> anyhow::Result<()> {
        let commit = Operation::CommitKb(Call {
            input: self.text.join(" "),
            model: None,
            params: CommitParams {
                title: self.title.clone(),
                tags: self.tags.clone(),
                shared: self.shared,
                ..CommitParams::default()
            },
        });
        self.worker.print(commit, self.json)
    }
}

impl Named {
    fn run(&self, verb: &str) -> anyhow::Result<()> {
        self.worker
            .print(kb(format!("{verb} {}", self.id)), self.json)
    }
}

impl Research {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let research = Operation::Research(Call {
            input: self.text.join(" "),
            model: None,
            params: ResearchParams {
                k: self.count,
                tags: self.tags.clone(),
                answer: self.answer,
                documentation: self.documentation,
            },
        });
        self.worker.print(research, self.json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_has_a_text_of_a_files_size_or_is_refused() {
        let text = piped_text(&b"a fact\n"[..]).expect("a text");
        assert_eq!(text, "a fact\n");
        for (bytes, why) in [(&b" \n"[..], "is empty"), (&b"\xff\xfe"[..], "no text")] {
            let fault = piped_text(bytes).expect_err(why).to_string();
            assert!(fault.contains(why), "{fault}");
        }
        let fault = piped_text(io::repeat(b'x'))
            .expect_err("endless")
            .to_string();
        assert!(fault.contains("more than"), "{fault}");
    }
}
