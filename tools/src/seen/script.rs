//! Which words of a command are code that it runs, and what of it nobody can look at before.

use crate::action::Exec;
use crate::shell::{Command, Script, Word, is_shell, only_asks_about_itself, runs_its_files};

/// Where the code of an interpreter comes from.
#[derive(Debug, PartialEq)]
pub(super) enum Code<'a> {
    /// It is in the file of the last of these words; the others may be files as well, and are not
    /// there.
    Files(Vec<&'a Word>),
    /// It is written in the command, or it is not run at all.
    Written,
    /// Nobody knows it before it runs: this is where it comes from.
    Unknown(String),
}

/// Why a part of a script is opaque, where that is code which only the shell finds out.
const ONLY_THE_SHELL_KNOWS: &[&str] = &[
    "a program that only the shell finds out",
    "a shell whose text only the shell finds out",
    "a shell whose text is not known",
    "a text that only the shell finds out",
    "options that are not known, before a text that is run",
];

/// Options of interpreters whose value is no script.
const VALUES: &[&str] = &[
    "-W",
    "-X",
    "-o",
    "-O",
    "+o",
    "+O",
    "-I",
    "-v",
    "-F",
    "--rcfile",
    "--init-file",
    "--assign",
];

impl Code<'_> {
    /// Whether this word names a script.
    pub(super) fn is_script(&self, word: &Word) -> bool {
        matches!(self, Self::Files(words) if words.contains(&word))
    }
}

/// Code that is not known, whichever program runs it.
pub(super) fn unseen(exec: &Exec, script: &Script) -> Vec<String> {
    let is_code = |reason: &str| ONLY_THE_SHELL_KNOWS.contains(&reason);
    let opaque = script.opaque.iter().filter(|it| is_code(it.reason));
    let mut found: Vec<String> = opaque
        .map(|it| format!("{} ({})", it.text, it.reason))
        .collect();
    let reading = script.commands.iter().enumerate();
    let reading = reading.filter(|(at, command)| {
        let before = script.commands[..*at].iter();
        let mut before = before.filter(|it| command.piped && it.pipeline == command.pipeline);
        reads_code(command, &script.commands)
            // What is piped by these is written in the command.
            && !before.next().is_some_and(|it| matches!(it.name(), "echo" | "printf"))
            && exec.stdin.is_none()
    });
    found.extend(reading.map(|(_, command)| format!("{} reads it", command.display())));
    found
}

/// Whether a command runs what stands on its standard input, which is no file that is named.
fn reads_code(command: &Command, all: &[Command]) -> bool {
    let runs = is_shell(command.name()) || command.piped;
    let mut reads = all
        .iter()
        .filter(|it| given_by(it, command))
        .flat_map(|it| &it.reads);
    let is_known = !command.piped && reads.next().is_some_and(|word| word.literal().is_some());
    runs && runs_its_files(command)
        && !edits(command.name())
        && !matches!(command.name(), "." | "source")
        && !is_known
        && !only_asks_about_itself(command)
        && code_of(command, |_| true) == Code::Written
        && !command.args.iter().any(|arg| has_code(command, arg.text()))
}

/// Whether the redirections of one command are those of the other as well: `sudo sh < FILE`.
pub(super) fn given_by(wrapper: &Command, command: &Command) -> bool {
    std::ptr::eq(wrapper, command) || !command.piped && wrapper.pipeline == command.pipeline
}

/// `exists`: whether there is a file of this name.
pub(super) fn code_of(command: &Command, exists: impl Fn(&Word) -> bool) -> Code<'_> {
    if edits(command.name()) {
        return code_of_editor(command);
    }
    let mut files = Vec::new();
    let mut args = command.args.iter();
    while let Some(arg) = args.next() {
        let Some(text) = arg.literal() else {
            return Code::Unknown(command.display());
        };
        if has_code(command, text) || reads_input(command, text) {
            return Code::Written;
        }
        if VALUES.contains(&text) {
            args.next();
        } else if !text.starts_with(['-', '+']) {
            let there = exists(arg);
            if there || is_plausible(command, text) {
                files.push(arg);
            }
            if there {
                break;
            }
        }
    }
    match files.is_empty() {
        true => Code::Written,
        false => Code::Files(files),
    }
}

/// `sed` and `awk` have their code in their first argument, or in the file after `-f`.
fn code_of_editor(command: &Command) -> Code<'_> {
    let mut files = Vec::new();
    let mut is_file = false;
    for arg in &command.args {
        let text = arg.text();
        if std::mem::replace(&mut is_file, matches!(text, "-f" | "--file")) {
            if arg.literal().is_none() {
                return Code::Unknown(command.display());
            }
            files.push(arg);
        }
    }
    match files.is_empty() {
        true => Code::Written,
        false => Code::Files(files),
    }
}

fn edits(name: &str) -> bool {
    matches!(name, "sed" | "awk" | "gawk" | "mawk" | "nawk")
}

/// Whether an option says that the code is in the command itself, or in a module by its name.
fn has_code(command: &Command, text: &str) -> bool {
    if let Some(long) = text.strip_prefix("--") {
        return matches!(long, "eval" | "execute" | "print" | "command");
    }
    let Some(letters) = text.strip_prefix('-') else {
        return false;
    };
    match language(command) {
        _ if is_shell(command.name()) => letters.contains('c'),
        "python" | "pypy" => letters.contains(['c', 'm']),
        "php" => letters.starts_with('r'),
        "node" | "nodejs" => letters.starts_with(['e', 'p']),
        _ => letters.starts_with(['c', 'e', 'E']) || letters.ends_with(['e', 'E']),
    }
}

/// Whether an option says that the code is on the standard input.
fn reads_input(command: &Command, text: &str) -> bool {
    let letters = text.strip_prefix('-').filter(|it| !it.starts_with('-'));
    letters.is_some_and(|it| it.is_empty() || is_shell(command.name()) && it.contains('s'))
}

fn language(command: &Command) -> &str {
    let version = |c: char| c.is_ascii_digit() || c == '.';
    command.name().trim_end_matches(version)
}

/// Whether a word that names no file looks like a script that somebody may put there: `cargo build`
/// has none.
fn is_plausible(command: &Command, text: &str) -> bool {
    let runs_files = [
        "python", "perl", "ruby", "node", "php", "lua", ".", "", "source",
    ];
    let no_url = !text.contains("://") && !text.contains(char::is_control);
    no_url
        && (is_shell(command.name())
            || runs_files.contains(&language(command))
            || text.contains(['/', '.']))
}
