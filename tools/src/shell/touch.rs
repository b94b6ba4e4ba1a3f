//! Which files a command opens, by what is known of its program.

use super::usage::{self, Line, Operands, Role};
use super::{Command, Script, Word};

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
    /// As [`Self::Write`], and so may be what is below it: it is moved, replaced, or its rights are.
    WriteTree,
    /// The word may be a path, and it is not known what the program does with it.
    Mention,
}

impl Access {
    /// Whether something is changed.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::WriteTree)
    }
}

/// Options whose value is written, of programs that have no row in `usage.rs`: their letters, and
/// their names. One that begins with a single dash is never shortened.
const OUTPUTS: &[(&str, &str, &[&str])] = &[
    ("7z", "o", &[]),
    ("blkid", "cw", &["--cache-file"]),
    ("coredumpctl", "o", &["--output"]),
    (
        "curl",
        "oc",
        &["--output", "--cookie-jar", "--dump-header", "--trace"],
    ),
    ("dmidecode", "", &["--dump-bin"]),
    ("docker", "o", &["--output"]),
    ("find", "", &["-fprint", "-fprint0", "-fprintf", "-fls"]),
    ("git", "", &["--separate-git-dir"]),
    ("gpg", "o", &["--output"]),
    ("iconv", "o", &["--output"]),
    ("journalctl", "", &["--cursor-file"]),
    ("lshw", "", &["-dump"]),
    ("nvidia-smi", "f", &["--filename"]),
    ("podman", "o", &["--output"]),
    ("sar", "o", &[]),
    ("shuf", "o", &["--output"]),
    ("strace", "o", &["--output"]),
    ("tcpdump", "w", &[]),
    (
        "wget",
        "OPoa",
        &[
            "--output-document",
            "--directory-prefix",
            "--output-file",
            "--append-output",
        ],
    ),
];

/// The files that a command touches.
#[must_use]
pub fn touches(command: &Command) -> Vec<Touch> {
    let mut touches = Vec::new();
    add(&mut touches, Access::Read, &command.reads);
    add(&mut touches, Access::Write, &command.writes);
    let line = usage::line(command);
    match &line {
        Some(line) => by_usage(command, line, &mut touches),
        None => {
            add(&mut touches, Access::Mention, &command.args);
            by_words(command, &mut touches);
            outputs(command, &mut touches);
        }
    }
    if reads_trees(command, line.as_ref()) {
        // Of tar it is known which words are files; what it goes to before is no tree that it reads.
        let only_files = command.name() == "tar";
        let read = touches.iter().filter(|touch| match touch.access {
            Access::Mention => !only_files,
            access => !access.writes(),
        });
        let trees: Vec<Word> = read.map(|touch| touch.path.clone()).collect();
        add(&mut touches, Access::ReadTree, &trees);
    }
    touches
}

/// The files that a script is known to open, as they were written, each once: for people, who want
/// to know what a command is about. What may or may not be a path is not among them; the policy
/// judges that as well.
#[must_use]
pub fn files_of(script: &Script) -> Vec<(Access, String)> {
    let mut touched: Vec<Touch> = script.commands.iter().flat_map(touches).collect();
    // A tree that is written is told as the file that people see.
    let trees = touched.iter_mut().filter(|touch| touch.access.writes());
    trees.for_each(|touch| touch.access = Access::Write);
    let has = |access: Access, text: &str| {
        let mut all = touched.iter();
        all.any(|touch| touch.access == access && touch.path.text() == text)
    };
    let mut files = Vec::new();
    for touch in &touched {
        let text = touch.path.text();
        let access = match touch.access {
            Access::Read if has(Access::ReadTree, text) => Access::ReadTree,
            Access::Read => Access::Read,
            Access::Write if is_in_another(text, &touch.path, |dir| has(Access::Write, dir)) => {
                continue;
            }
            Access::Write | Access::WriteTree => Access::Write,
            Access::ReadTree | Access::Mention => continue,
        };
        let names_none = matches!(text, "" | "-" | "...") || text.starts_with("<(");
        if !names_none
            && !files
                .iter()
                .any(|(old, name)| *old == access && name == text)
        {
            files.push((access, text.to_owned()));
        }
    }
    files
}

/// `cp a b` may write `b` or `b/a`, of which people are told the one that they see.
fn is_in_another(text: &str, path: &Word, is_written: impl Fn(&str) -> bool) -> bool {
    let parts = text.trim_end_matches('/').rsplit_once('/');
    let written = |directory: &str| is_written(directory) || is_written(&format!("{directory}/"));
    !matches!(path, Word::Unknown { .. }) && parts.is_some_and(|(directory, _)| written(directory))
}

/// Whether the files below a directory are read if the directory is named.
fn reads_trees(command: &Command, line: Option<&Line>) -> bool {
    match command.name() {
        "tar" | "bsdtar" | "star" | "pax" | "zip" | "7z" | "7za" | "7zr" | "rar" | "rsync"
        | "rg" | "ag" | "ack" | "ugrep" | "rclone" | "borg" | "restic" | "duplicity"
        | "mksquashfs" | "genisoimage" | "mkisofs" | "xorriso" | "unison" | "diff" => true,
        // Outside of a repository, git compares and searches whatever directory it is given.
        "git" => command.args.iter().map(Word::text).any(|text| {
            text.starts_with("--no-i")
                || text.starts_with(['/', '~'])
                || text.split('/').any(|part| part == "..")
        }),
        _ => line.is_some_and(Line::goes_through_trees),
    }
}

fn add<'a>(touches: &mut Vec<Touch>, access: Access, words: impl IntoIterator<Item = &'a Word>) {
    touches.extend(words.into_iter().map(|path| Touch {
        path: path.clone(),
        access,
    }));
}

/// By what is known of the program's words.
fn by_usage(command: &Command, line: &Line, touches: &mut Vec<Touch>) {
    let is_option = |arg: &&Word| arg.text().starts_with('-');
    add(
        touches,
        Access::Mention,
        command.args.iter().filter(is_option),
    );
    add(touches, Access::Mention, line.values_of(Role::Plain));
    add(touches, Access::Mention, line.values_of(Role::Asked));
    add(touches, Access::Read, line.values_of(Role::Read));
    let after = |count: usize| {
        let (others, files) = line.operands.split_at(count.min(line.operands.len()));
        (others, files)
    };
    match line.kind {
        Operands::Words => add(touches, Access::Mention, &line.operands),
        Operands::Read(count) => {
            let is_elsewhere = line.has("regexp") || line.has("file");
            let (others, files) = after(if is_elsewhere { 0 } else { count });
            add(touches, Access::Mention, others);
            add(touches, Access::Read, files);
            if files.is_empty() && reads_trees(command, Some(line)) {
                // Without a place to search, they search where they are.
                add(touches, Access::Read, &or_here(Vec::new()));
            }
        }
        Operands::Write(count) => {
            let (others, files) = after(if has_mode_elsewhere(command, line) {
                0
            } else {
                count
            });
            add(touches, Access::Mention, others);
            add(touches, written_by(command, line), files);
            if command.name() == "patch" {
                // Which files it changes is in what it reads.
                let places = or_here(line.values("directory"));
                add(touches, Access::WriteTree, &places);
            }
        }
        Operands::Copy => copied(command, line, touches),
        Operands::Own => own(command, line, touches),
    }
    add(touches, Access::Write, line.values_of(Role::Write));
}

/// What a program does with the files it changes: with some, a directory's files are as well.
fn written_by(command: &Command, line: &Line) -> Access {
    let has = |names: &[&str]| names.iter().any(|name| line.has(name));
    match command.name() {
        // Those that pack print what they make, or only look, and leave the file where it is.
        "gzip" | "gunzip" | "bzip2" | "bunzip2" | "xz" | "unxz" | "zstd" | "unzstd"
            if has(&["stdout", "to-stdout", "list", "test"]) && !has(&["rm"]) =>
        {
            Access::Read
        }
        "rm" | "rmdir" | "unlink" | "shred" | "srm" | "chmod" | "chown" | "chgrp" | "chattr"
        | "setfacl" | "chcon" => Access::WriteTree,
        _ if line.goes_through_trees() => Access::WriteTree,
        _ => Access::Write,
    }
}

/// `chmod -w FILE` and `chown --reference=x FILE` have no mode and no owner among their words.
fn has_mode_elsewhere(command: &Command, line: &Line) -> bool {
    let is_mode = |letter: char| line.has(letter.encode_utf8(&mut [0; 4]));
    line.has("reference")
        || command.name() == "chmod" && "rwxXstugoa+=,01234567".chars().any(is_mode)
}

fn copied(command: &Command, line: &Line, touches: &mut Vec<Touch>) {
    // Where it is unclear which word is the target, each that may be one is taken for it.
    let files = &line.operands;
    let mut targets = line.values("target-directory");
    let links_here = command.name() == "ln" && files.len() == 1 && targets.is_empty();
    let all_are_sources = !targets.is_empty() || links_here;
    if links_here {
        targets.push(Word::Literal(".".into()));
    } else {
        targets.extend(files.last().cloned());
    }
    // What is moved is gone where it was, and what has a second name can be written by that.
    let gives_away = command.name() == "mv" || makes_hard_links(command, line);
    let access = if gives_away {
        Access::WriteTree
    } else {
        Access::Read
    };
    let sources = &files[..files.len().saturating_sub(usize::from(!all_are_sources))];
    add(touches, access, sources);
    let (target, copy) = written_by_copy(command, line, sources);
    add(touches, target, &targets);
    for target in targets.iter().filter_map(Word::literal) {
        let inside = sources.iter().map(|source| inside(target, source));
        add(touches, copy, &inside.collect::<Vec<_>>());
    }
}

/// What becomes of the target of a program that copies, and of what is made in it.
fn written_by_copy(command: &Command, line: &Line, sources: &[Word]) -> (Access, Access) {
    let all_of_it = |word: &Word| match word {
        Word::Literal(text) => text == "." || text.ends_with("/.") || text.ends_with(".."),
        Word::Glob(_) => false,
        Word::Unknown { .. } => true,
    };
    let all = sources.iter().any(all_of_it);
    let whole = line.has("no-target-directory");
    let tree = |is_tree: bool| {
        if is_tree {
            Access::WriteTree
        } else {
            Access::Write
        }
    };
    match command.name() {
        "mv" => (tree(whole || line.has("exchange")), Access::WriteTree),
        "ln" => (tree(whole || line.has("no-dereference")), Access::Write),
        "install" => (tree(whole || line.has("directory")), Access::Write),
        "rsync" => (Access::WriteTree, Access::WriteTree),
        _ => {
            let trees = line.goes_through_trees();
            (tree(trees && (whole || all)), tree(trees))
        }
    }
}

fn makes_hard_links(command: &Command, line: &Line) -> bool {
    match command.name() {
        "link" => true,
        "ln" => !line.has("symbolic"),
        "cp" => line.has("link"),
        _ => false,
    }
}

/// If the target is a directory, the file in it is what is written.
fn inside(target: &str, source: &Word) -> Word {
    let target = target.trim_end_matches('/');
    let last = |text: &str| {
        let name = text.trim_end_matches('/').rsplit('/').next();
        name.unwrap_or_default().to_owned()
    };
    match source {
        // All that is in the directory, hidden files as well.
        Word::Literal(text) if matches!(last(text).as_str(), "." | "..") => {
            Word::Glob(format!("{target}/.*"))
        }
        Word::Literal(text) => Word::Literal(format!("{target}/{}", last(text))),
        Word::Glob(pattern) => Word::Glob(format!("{target}/{}", last(pattern))),
        Word::Unknown { .. } => Word::Glob(format!("{target}/*")),
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

/// What the options of a program say that it writes.
fn outputs(command: &Command, touches: &mut Vec<Touch>) {
    let Some((_, letters, names)) = OUTPUTS.iter().find(|row| row.0 == command.name()) else {
        return;
    };
    let args = &command.args;
    let exact = |name: &str| {
        let named = args.windows(2).filter(move |pair| pair[0].text() == name);
        named.map(|pair| pair[1].clone()).collect()
    };
    let by_letter = letters.chars().map(|letter| values_of(args, letter, ""));
    let by_name = names.iter().map(|name| match name.starts_with("--") {
        true => values_of(args, '\0', name),
        false => exact(name),
    });
    let words: Vec<Word> = by_letter.chain(by_name).flatten().collect();
    add(touches, Access::Write, &words);
}

/// The files of programs that have no row, by their own way to name them.
fn by_words(command: &Command, touches: &mut Vec<Touch>) {
    let args = &command.args;
    let after = |name: &str| {
        let values = args.iter().filter_map(|arg| arg.text().strip_prefix(name));
        values.map(|value| Word::Literal(value.into())).collect()
    };
    let files = |values: &'static str| without_options(args, values).cloned();
    let (reads, writes): (Vec<Word>, Vec<Word>) = match command.name() {
        "dd" => (after("if="), after("of=")),
        "find" => (start_points(args), Vec::new()),
        "git" if files("").next().is_some_and(|word| word.text() == "init") => {
            (Vec::new(), or_here(files("b").skip(1).collect()))
        }
        _ => return,
    };
    add(touches, Access::Read, &reads);
    add(touches, Access::Write, &writes);
}

/// The words of `find` before its first condition; what comes after names no start.
fn start_points(args: &[Word]) -> Vec<Word> {
    let is_flag = |arg: &&Word| {
        let text = arg.text();
        matches!(text, "-H" | "-L" | "-P") || text.starts_with("-O")
    };
    let words = args.iter().filter(|arg| !is_flag(arg));
    let starts = words.take_while(|arg| !arg.text().starts_with(['-', '(', '!']));
    starts.cloned().collect()
}

/// The words that are neither options nor, by their last letter, the values of such.
fn without_options<'a>(args: &'a [Word], values: &'static str) -> impl Iterator<Item = &'a Word> {
    let (mut only_files, mut is_value) = (false, false);
    args.iter().filter(move |arg| {
        if std::mem::take(&mut is_value) {
            return false;
        }
        match arg.literal() {
            Some("--") if !only_files => only_files = true,
            Some(text) if !only_files && text.starts_with('-') && text.len() > 1 => {
                is_value = !text.starts_with("--") && text.ends_with(|c| values.contains(c));
            }
            _ => return true,
        }
        false
    })
}

/// The files of programs whose row says only which words are options.
fn own(command: &Command, line: &Line, touches: &mut Vec<Touch>) {
    let (first, others) = line.operands.split_at(line.operands.len().min(1));
    let all_like =
        |words: &[Word], otherwise| or(words.to_vec(), otherwise).iter().map(prefix).collect();
    let mut trees = Vec::new();
    let (reads, writes): (Vec<Word>, Vec<Word>) = match command.name() {
        "tar" => tar(line, &mut trees),
        // Their second file is what they write.
        "uniq" | "xxd" => (first.to_vec(), others.to_vec()),
        "split" => (first.to_vec(), all_like(others, "x")),
        // What comes after the file says where it is split.
        "csplit" => (first.to_vec(), all_like(&line.values("prefix"), "xx")),
        "awk" | "gawk" | "mawk" | "nawk" => (others.to_vec(), Vec::new()),
        "sed" => {
            let has_script = line.has("expression");
            let files = if has_script { &line.operands } else { others };
            match line.has("in-place") {
                true => (Vec::new(), files.to_vec()),
                false => (files.to_vec(), Vec::new()),
            }
        }
        "unzip" => {
            // With the last two it prints what it unpacks.
            let only_looks = ["list", "test", "v", "z", "Z", "p", "c"];
            if !only_looks.iter().any(|name| line.has(name)) {
                trees.extend(or_here(line.values("d")));
            }
            (first.to_vec(), Vec::new())
        }
        "zip" if line.has("move") => {
            trees.extend(line.operands.iter().cloned());
            (Vec::new(), Vec::new())
        }
        "zip" => (others.to_vec(), first.to_vec()),
        _ => return,
    };
    add(touches, Access::Read, &reads);
    add(touches, Access::Write, &writes);
    add(touches, Access::WriteTree, &trees);
}

fn or_here(words: Vec<Word>) -> Vec<Word> {
    or(words, ".")
}

/// The words, or if there are none, this one.
fn or(words: Vec<Word>, otherwise: &str) -> Vec<Word> {
    if words.is_empty() {
        vec![Word::Literal(otherwise.into())]
    } else {
        words
    }
}

/// All files whose names begin with a word.
fn prefix(word: &Word) -> Word {
    match word {
        Word::Literal(text) | Word::Glob(text) => Word::Glob(format!("{text}*")),
        Word::Unknown { .. } => word.clone(),
    }
}

/// What tar reads and writes, and the trees that it writes, besides what its row says.
fn tar(line: &Line, trees: &mut Vec<Word>) -> (Vec<Word>, Vec<Word>) {
    let has = |names: &[&str]| names.iter().any(|name| line.has(name));
    let mut places = tar_places(line);
    let added = line.values("add-file");
    let in_places = |file: &Word| {
        let inside: Vec<Word> = places.iter().map(|place| below(place, file)).collect();
        std::iter::once(file.clone()).chain(inside)
    };
    let files: Vec<Word> = line
        .operands
        .iter()
        .chain(&added)
        .flat_map(in_places)
        .collect();
    let archives = line.values("file");
    if has(&["extract", "get"]) {
        places.extend(line.values("one-top-level"));
        trees.extend(or_here(places));
        return (archives, Vec::new());
    }
    let changes = has(&[
        "create",
        "append",
        "update",
        "catenate",
        "concatenate",
        "delete",
    ]);
    if !changes && has(&["list", "diff", "compare"]) {
        return (archives, Vec::new());
    }
    if line.has("remove-files") {
        trees.extend(files.iter().cloned());
    }
    (files, or_here(archives))
}

/// The directories that tar goes to: each may be meant from the one before.
fn tar_places(line: &Line) -> Vec<Word> {
    let mut places: Vec<Word> = Vec::new();
    for place in line.values("directory") {
        // The last one so far is all of those before, one after the other.
        let from_last = places.last().map(|last| below(last, &place));
        places.extend(std::iter::once(place).chain(from_last));
    }
    places
}

/// A path in a directory, if it does not begin at the root.
fn below(directory: &Word, path: &Word) -> Word {
    match (directory, path) {
        (_, Word::Literal(text) | Word::Glob(text)) if text.starts_with('/') => path.clone(),
        (Word::Literal(from), Word::Literal(text)) => Word::Literal(format!("{from}/{text}")),
        (Word::Literal(from) | Word::Glob(from), Word::Literal(text) | Word::Glob(text)) => {
            Word::Glob(format!("{from}/{text}"))
        }
        _ => Word::Unknown {
            prefix: String::new(),
            text: path.text().into(),
        },
    }
}
