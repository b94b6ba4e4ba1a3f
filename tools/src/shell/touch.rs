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
    /// If it is a directory, everything below it is read.
    ReadTree,
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
    if reads_trees(command) {
        let read = touches.iter().filter(|touch| touch.access != Access::Write);
        let trees: Vec<Word> = read.map(|touch| touch.path.clone()).collect();
        add(&mut touches, Access::ReadTree, &trees);
    }
    touches
}

/// Whether the files below a directory are read if the directory is named.
fn reads_trees(command: &Command) -> bool {
    let mut clusters = command
        .args
        .iter()
        .map(Word::text)
        .filter(|text| text.starts_with('-') && !text.starts_with("--"));
    let long = command.args.iter().map(Word::text).any(|text| {
        // Long options may be shortened.
        ["--rec", "--arc", "--deref", "--dir"]
            .iter()
            .any(|start| text.starts_with(start))
    });
    match command.name() {
        "tar" | "zip" | "rsync" | "rg" => true,
        "cp" | "scp" | "grep" | "egrep" | "fgrep" | "zgrep" | "diff" => {
            long || clusters.any(|text| text.contains(['r', 'R', 'a']))
        }
        _ => false,
    }
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
        let (files, others) = split(&command.args, values, skip_for_mode(command, skip));
        add(touches, Access::Mention, others);
        add(touches, Access::Write, files);
    } else if let Some((values, skip)) = find(READERS) {
        let (files, others) = split(&command.args, values, skip_for(command, skip));
        add(touches, Access::Mention, others);
        add(touches, Access::Read, files);
        outputs(command, touches);
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

/// `chmod -w FILE` and `chown --reference=x FILE` have no mode and no owner among their words.
fn skip_for_mode(command: &Command, skip: usize) -> usize {
    let elsewhere = command.args.iter().map(Word::text).any(|text| {
        text.starts_with("--ref")
            || text.strip_prefix('-').is_some_and(|mode| {
                command.name() == "chmod" && mode.starts_with(['r', 'w', 'x', 'X', 's', 't'])
            })
    });
    if elsewhere { 0 } else { skip }
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
    // Where it is unclear which word is the target, each that may be one is taken for it.
    let mut targets = values_of(&command.args, 't', "--target-directory");
    targets.extend(files.last().map(|last| (*last).clone()));
    // What is moved is gone where it was.
    let moved = command.name() == "mv";
    let access = if moved { Access::Write } else { Access::Read };
    let all_are_sources = targets.len() > 1;
    let sources = &files[..files.len().saturating_sub(usize::from(!all_are_sources))];
    add(touches, access, sources.iter().copied());
    add(touches, Access::Write, &targets);
    for target in targets.iter().filter_map(Word::literal) {
        let inside = sources.iter().map(|source| inside(target, source));
        add(touches, Access::Write, &inside.collect::<Vec<_>>());
    }
}

/// If the target is a directory, the file in it is what is written.
fn inside(target: &str, source: &Word) -> Word {
    let target = target.trim_end_matches('/');
    match source {
        Word::Literal(text) => {
            let name = text
                .trim_end_matches('/')
                .rsplit('/')
                .next()
                .unwrap_or_default();
            Word::Literal(format!("{target}/{name}"))
        }
        Word::Glob(_) | Word::Unknown { .. } => Word::Glob(format!("{target}/*")),
    }
}

/// Every word that may be the value of an option, by its letter in a cluster or its long name,
/// which may be shortened.
fn values_of(args: &[Word], letter: char, long: &str) -> Vec<Word> {
    let values = args.iter().enumerate().filter_map(|(at, arg)| {
        let text = arg.text();
        let value = match text.strip_prefix("--") {
            Some(_) => {
                let (name, value) = text.split_once('=').unwrap_or((text, ""));
                (name.len() > 2 && long.starts_with(name)).then_some(value)?
            }
            None => text.strip_prefix('-')?.split_once(letter)?.1,
        };
        match (value, arg) {
            ("", _) => args.get(at + 1).cloned(),
            (value, Word::Literal(_)) => Some(Word::Literal(value.into())),
            (_, other) => Some(other.clone()),
        }
    });
    values.collect()
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
        "sort" | "shuf" | "curl" | "tree" => values_of(args, 'o', "--output"),
        "dd" => args
            .iter()
            .filter_map(|arg| arg.text().strip_prefix("of="))
            .map(|to| Word::Literal(to.into()))
            .collect(),
        "wget" => [
            values_of(args, 'O', "--output-document"),
            values_of(args, 'P', "--directory-prefix"),
        ]
        .concat(),
        "unzip"
            if args
                .iter()
                .any(|arg| matches!(arg.text(), "-l" | "-t" | "-v" | "-Z")) =>
        {
            Vec::new()
        }
        "unzip" => or_here(values_of(args, 'd', "-d")),
        "tar" => tar(args),
        "sed" if changes_in_place(args) => split(args, "ef", skip_for(command, 1))
            .0
            .into_iter()
            .cloned()
            .collect(),
        // Their second file is what they write.
        "uniq" | "xxd" | "split" | "csplit" => split(args, "fswlcabCn", 0)
            .0
            .into_iter()
            .skip(1)
            .cloned()
            .collect(),
        _ => Vec::new(),
    };
    add(touches, Access::Write, &words);
}

fn changes_in_place(args: &[Word]) -> bool {
    args.iter()
        .map(Word::text)
        .any(|text| match text.strip_prefix("--") {
            Some(long) => long.starts_with('i'),
            None => text.starts_with('-') && text.contains('i'),
        })
}

fn or_here(words: Vec<Word>) -> Vec<Word> {
    if words.is_empty() {
        vec![Word::Literal(".".into())]
    } else {
        words
    }
}

fn tar(args: &[Word]) -> Vec<Word> {
    let cluster = args.first().map(Word::text).unwrap_or_default();
    let short = |letter: char| {
        let clusters = args
            .iter()
            .map(Word::text)
            .filter(|text| text.starts_with('-') && !text.starts_with("--"));
        clusters.chain([cluster]).any(|text| text.contains(letter))
    };
    let long = |names: &[&str]| args.iter().any(|arg| names.contains(&arg.text()));
    // In the old way of writing, the values of a cluster follow it in its order.
    if !cluster.starts_with('-') && cluster.contains('C') {
        return vec![Word::Unknown {
            prefix: String::new(),
            text: cluster.into(),
        }];
    }
    if long(&["--extract", "--get"]) || (short('x') && !cluster.starts_with("--")) {
        return or_here(values_of(args, 'C', "--directory"));
    }
    if short('t') && !short('c') {
        return Vec::new();
    }
    let old = args
        .get(1)
        .filter(|_| !cluster.starts_with('-') && cluster.contains('f'))
        .cloned();
    let mut archives = values_of(args, 'f', "--file");
    archives.extend(old);
    or_here(archives)
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
