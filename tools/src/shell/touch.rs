//! Which files a command opens, by what is known of its program.

use super::{Command, Script, Word};
use crate::path::lexical;

/// A file that a command may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// The path as it was written.
    pub path: Word,
    /// What is done with it.
    pub access: Access,
}

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is read.
    Read,
    /// It is created, changed, moved or deleted.
    Write,
    /// The word may be a path, and it is not known what the program does with it.
    Mention,
}

/// Programs that read the files they name, with the letters of their options that take a value
/// and the number of words before the files.
const READERS: &[(&str, &str, usize)] = &[
    ("cat", "", 0),
    ("tac", "s", 0),
    ("nl", "bdfhilnsvw", 0),
    ("head", "nc", 0),
    ("tail", "ncs", 0),
    ("wc", "", 0),
    ("stat", "cf", 0),
    ("file", "", 0),
    ("ls", "wIT", 0),
    ("du", "dtB", 0),
    ("df", "tBx", 0),
    ("md5sum", "", 0),
    ("sha1sum", "", 0),
    ("sha256sum", "", 0),
    ("sha512sum", "", 0),
    ("cksum", "", 0),
    ("b2sum", "", 0),
    ("strings", "n", 0),
    ("xxd", "lsc", 0),
    ("od", "tNjA", 0),
    ("hexdump", "ns", 0),
    ("cut", "dfcb", 0),
    ("paste", "d", 0),
    ("join", "t12javeo", 0),
    ("comm", "", 0),
    ("diff", "U", 0),
    ("cmp", "n", 0),
    ("sort", "kt", 0),
    ("uniq", "fsw", 0),
    ("column", "ts", 0),
    ("fold", "w", 0),
    ("rev", "", 0),
    ("base64", "w", 0),
    ("base32", "w", 0),
    ("zcat", "", 0),
    ("bzcat", "", 0),
    ("xzcat", "", 0),
    ("grep", "efmABC", 1),
    ("egrep", "efmABC", 1),
    ("fgrep", "efmABC", 1),
    ("zgrep", "efmABC", 1),
    ("rg", "efmABCgt", 1),
    ("jq", "", 1),
    ("readlink", "", 0),
    ("realpath", "", 0),
    ("tree", "LPI", 0),
    ("namei", "", 0),
    ("getfacl", "", 0),
    ("lsattr", "", 0),
    ("find", "", 0),
    ("expand", "t", 0),
];

/// Programs that change every file they name, in the same form.
const WRITERS: &[(&str, &str, usize)] = &[
    ("tee", "", 0),
    ("touch", "dtr", 0),
    ("mkdir", "m", 0),
    ("rmdir", "", 0),
    ("rm", "", 0),
    ("unlink", "", 0),
    ("truncate", "sr", 0),
    ("shred", "ns", 0),
    ("srm", "", 0),
    ("chmod", "", 1),
    ("chown", "", 1),
    ("chgrp", "", 1),
    ("chattr", "", 1),
    ("setfacl", "mxMX", 0),
    ("chcon", "ut", 1),
    ("mkfifo", "m", 0),
    ("mknod", "m", 0),
    ("gzip", "S", 0),
    ("gunzip", "S", 0),
    ("bzip2", "", 0),
    ("xz", "", 0),
    ("unxz", "", 0),
    ("zstd", "", 0),
    ("patch", "pdi", 0),
    ("dos2unix", "", 0),
    ("sponge", "", 0),
    ("mkswap", "", 0),
];

/// Programs whose last file is written and whose other files are read.
const COPIERS: &[(&str, &str, usize)] = &[
    ("cp", "S", 0),
    ("mv", "S", 0),
    ("ln", "S", 0),
    ("install", "gmoS", 0),
    ("rsync", "ef", 0),
    ("scp", "FiPSo", 0),
    ("link", "", 0),
];

/// The files that a command touches.
#[must_use]
pub fn touches(command: &Command) -> Vec<Touch> {
    let mut touches = Vec::new();
    add(&mut touches, Access::Read, &command.reads);
    add(&mut touches, Access::Write, &command.writes);
    by_program(command, &mut touches);
    touches
}

fn add<'a>(touches: &mut Vec<Touch>, access: Access, words: impl IntoIterator<Item = &'a Word>) {
    touches.extend(words.into_iter().map(|path| Touch {
        path: path.clone(),
        access,
    }));
}

fn by_program(command: &Command, touches: &mut Vec<Touch>) {
    let name = command.name();
    let find = |table: &[(&str, &'static str, usize)]| {
        table
            .iter()
            .find(|row| row.0 == name)
            .map(|row| (row.1, row.2))
    };
    if let Some((values, skip)) = find(COPIERS) {
        let (files, others) = split(&command.args, values, skip);
        add(touches, Access::Mention, others);
        copied(command, &files, touches);
    } else if let Some((values, skip)) = find(WRITERS) {
        let (files, others) = split(&command.args, values, skip);
        add(touches, Access::Mention, others);
        add(touches, Access::Write, files);
    } else if let Some((values, skip)) = find(READERS) {
        let (files, others) = split(&command.args, values, skip_for(command, skip));
        add(touches, Access::Mention, others);
        add(touches, Access::Read, files);
        let output = (name == "sort")
            .then(|| value_after(&command.args, "-o"))
            .flatten();
        add(touches, Access::Write, output.iter());
        if name == "find" {
            add(touches, Access::Write, find_outputs(&command.args));
        }
    } else {
        add(touches, Access::Mention, &command.args);
        outputs(command, touches);
    }
}

/// `grep -e PATTERN` has no pattern among its words.
fn skip_for(command: &Command, skip: usize) -> usize {
    let named = command.args.iter().any(|arg| {
        let text = arg.text();
        text.starts_with("-e")
            || text.starts_with("-f")
            || text == "--regexp"
            || text.starts_with("--regexp=")
    });
    if named { 0 } else { skip }
}

/// The words that name files, and the others.
fn split<'a>(args: &'a [Word], values: &str, skip: usize) -> (Vec<&'a Word>, Vec<&'a Word>) {
    let (mut files, mut others) = (Vec::new(), Vec::new());
    let mut only_files = false;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.literal() {
            Some("--") if !only_files => only_files = true,
            Some(text) if !only_files && text.starts_with('-') && text.len() > 1 => {
                others.push(arg);
                let last = text.chars().next_back().unwrap_or('-');
                if !text.starts_with("--") && values.contains(last) {
                    others.extend(args.next());
                }
            }
            _ => files.push(arg),
        }
    }
    let skip = skip.min(files.len());
    others.extend(files.drain(..skip));
    (files, others)
}

fn copied(command: &Command, files: &[&Word], touches: &mut Vec<Touch>) {
    let target = value_after(&command.args, "-t")
        .or_else(|| value_after(&command.args, "--target-directory"));
    let (to, from) = match (&target, files) {
        (Some(target), files) => (target, files),
        (None, [from @ .., to]) => (*to, from),
        (None, []) => return,
    };
    // What is moved is gone where it was.
    let access = if command.name() == "mv" {
        Access::Write
    } else {
        Access::Read
    };
    add(touches, access, from.iter().copied());
    add(touches, Access::Write, [to]);
    // If the target is a directory, the file in it is what is written.
    let into = from.iter().filter_map(|from| {
        let name = from.text().trim_end_matches('/').rsplit('/').next()?;
        let path = format!("{}/{name}", to.literal()?.trim_end_matches('/'));
        Some(match from {
            Word::Literal(_) => Word::Literal(path),
            Word::Glob(_) | Word::Unknown { .. } => Word::Glob(format!("{}/*", to.literal()?)),
        })
    });
    add(touches, Access::Write, &into.collect::<Vec<_>>());
}

/// The value of an option, in the next word or the same.
fn value_after(args: &[Word], option: &str) -> Option<Word> {
    args.iter().enumerate().find_map(|(at, arg)| {
        let text = arg.text();
        if text == option {
            return args.get(at + 1).cloned();
        }
        let value = text.strip_prefix(option)?;
        let value = value.strip_prefix('=').unwrap_or(value);
        Some(Word::Literal(value.into()))
    })
}

fn find_outputs(args: &[Word]) -> impl Iterator<Item = &Word> {
    let writes = |arg: &Word| matches!(arg.text(), "-fprint" | "-fprint0" | "-fprintf" | "-fls");
    args.windows(2)
        .filter(move |pair| writes(&pair[0]))
        .map(|pair| &pair[1])
}

/// The files that programs write which are in no table.
fn outputs(command: &Command, touches: &mut Vec<Touch>) {
    let args = &command.args;
    let words: Vec<Word> = match command.name() {
        "dd" => args
            .iter()
            .filter_map(|arg| arg.text().strip_prefix("of="))
            .map(|to| Word::Literal(to.into()))
            .collect(),
        "curl" => ["-o", "--output"]
            .iter()
            .filter_map(|option| value_after(args, option))
            .collect(),
        "wget" => ["-O", "--output-document", "-P"]
            .iter()
            .filter_map(|option| value_after(args, option))
            .collect(),
        "unzip"
            if args
                .iter()
                .any(|arg| matches!(arg.text(), "-l" | "-t" | "-v" | "-Z")) =>
        {
            Vec::new()
        }
        "unzip" => vec![value_after(args, "-d").unwrap_or_else(here)],
        "tar" => tar(args),
        "sed"
            if args.iter().any(|arg| {
                arg.text().starts_with("-i") || arg.text().starts_with("--in-place")
            }) =>
        {
            split(args, "ef", 1).0.into_iter().cloned().collect()
        }
        _ => Vec::new(),
    };
    add(touches, Access::Write, &words);
}

fn here() -> Word {
    Word::Literal(".".into())
}

fn tar(args: &[Word]) -> Vec<Word> {
    let cluster = args.first().map(Word::text).unwrap_or_default();
    let mode = |letter: char, long: &str| {
        (!cluster.starts_with("--") && cluster.contains(letter))
            || args.iter().any(|arg| arg.text() == long)
    };
    if mode('x', "--extract") || mode('x', "--get") {
        let directory = value_after(args, "-C").or_else(|| value_after(args, "--directory"));
        return vec![directory.unwrap_or_else(here)];
    }
    if mode('t', "--list") {
        return Vec::new();
    }
    let archive = args.get(1).filter(|_| cluster.ends_with('f')).cloned();
    let archive = archive
        .or_else(|| value_after(args, "--file"))
        .or_else(|| value_after(args, "-f"));
    vec![archive.unwrap_or_else(here)]
}

impl Word {
    /// Every path that the word may mean for a program, in each of the directories: itself, and
    /// what stands after `=`, `@`, `:` or an option's letter.
    pub(crate) fn paths(&self, directories: &[String], access: Access) -> Vec<Self> {
        let text = match self {
            Self::Literal(text) | Self::Glob(text) => text,
            Self::Unknown { .. } => return vec![self.clone()],
        };
        let mut texts = vec![text.as_str()];
        if access == Access::Mention {
            texts.extend(
                text.match_indices(['=', '@', ':'])
                    .map(|(at, _)| &text[at + 1..]),
            );
            texts.extend(
                text.find(['/', '~'])
                    .filter(|_| text.starts_with('-'))
                    .map(|at| &text[at..]),
            );
        }
        let resolved = texts
            .iter()
            .flat_map(|text| directories.iter().map(|cwd| lexical(cwd, text)));
        resolved
            .map(|path| match self {
                Self::Glob(_) => Self::Glob(path),
                Self::Literal(_) | Self::Unknown { .. } => Self::Literal(path),
            })
            .collect()
    }
}

impl Script {
    /// The directories that commands may run in: where the script starts and where it goes by
    /// `cd`. `None` if it goes somewhere unknown.
    pub(crate) fn directories(&self, cwd: &str) -> Option<Vec<String>> {
        let mut directories = vec![lexical("/", cwd)];
        let moves = self
            .commands
            .iter()
            .filter(|command| matches!(command.name(), "cd" | "pushd" | "popd"));
        for command in moves {
            let target = command
                .args
                .iter()
                .find(|arg| !matches!(arg.text(), "--" | "-P" | "-L"));
            let target = match target {
                None => "~",
                Some(target) => target.literal().filter(|text| !text.starts_with('-'))?,
            };
            let reached: Vec<String> = directories
                .iter()
                .map(|from| lexical(from, target))
                .collect();
            directories.extend(reached);
            directories.sort();
            directories.dedup();
            if directories.len() > super::NESTING_MAX {
                return None;
            }
        }
        Some(directories)
    }
}
