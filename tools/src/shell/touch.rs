//! Which files a command opens, by what is known of its program.

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
    ("sort", "ktoTS", 0),
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
    ("tree", "LPIo", 0),
    ("namei", "", 0),
    ("getfacl", "", 0),
    ("lsattr", "", 0),
    ("find", "", 0),
    ("expand", "t", 0),
];

/// Options whose value is written, a file or a directory: their letters, and their names. One that
/// begins with a single dash is never shortened.
const OUTPUTS: &[(&str, &str, &[&str])] = &[
    ("7z", "o", &[]),
    ("blkid", "cw", &["--cache-file"]),
    ("coredumpctl", "o", &["--output"]),
    ("csplit", "f", &["--prefix"]),
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
    ("mktemp", "p", &["--tmpdir"]),
    ("nvidia-smi", "f", &["--filename"]),
    ("podman", "o", &["--output"]),
    ("sar", "o", &[]),
    ("shuf", "o", &["--output"]),
    ("sort", "oT", &["--output", "--temporary-directory"]),
    ("ss", "D", &["--diag"]),
    ("strace", "o", &["--output"]),
    (
        "tar",
        "g",
        &["--listed-incremental", "--index-file", "--volno-file"],
    ),
    ("tcpdump", "w", &[]),
    ("tree", "o", &["--output"]),
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
    (
        "zip",
        "Ob",
        &[
            "-lf",
            "--out",
            "--output-file",
            "--logfile-path",
            "--temp-path",
        ],
    ),
    (
        "zstd",
        "o",
        &["--output-dir-flat", "--output-dir-mirror", "--trace"],
    ),
];

/// The letters of tar's options that take a value.
const TAR_VALUES: &str = "bCfFgHIKLNTVX";

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
    ("mktemp", "p", 0),
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
    outputs(command, &mut touches);
    if reads_trees(command) {
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
        "tar" | "bsdtar" | "star" | "pax" | "zip" | "7z" | "7za" | "7zr" | "rar" | "rsync"
        | "rg" | "ag" | "ack" | "ugrep" | "rclone" | "borg" | "restic" | "duplicity"
        | "mksquashfs" | "genisoimage" | "mkisofs" | "xorriso" | "unison" => true,
        "gzip" | "zstd" => long || clusters.any(|text| text.contains('r')),
        "cp" | "scp" | "diff" => long || clusters.any(|text| text.contains(['r', 'R', 'a'])),
        // `-d recurse` as well.
        "grep" | "egrep" | "fgrep" | "zgrep" => {
            long || clusters.any(|text| text.contains(['r', 'R', 'd']))
        }
        // Outside of a repository, git compares and searches whatever directory it is given.
        "git" => command.args.iter().map(Word::text).any(|text| {
            text.starts_with("--no-i") || text.starts_with(['/', '~']) || text.starts_with("..")
        }),
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
        add(touches, written_by(command), files);
        if name == "patch" {
            // Which files it changes is in what it reads.
            let places = or_here(values_of(&command.args, 'd', "--directory"));
            add(touches, Access::WriteTree, &places);
        }
    } else if let Some((values, skip)) = find(READERS) {
        let (files, others) = split(&command.args, values, skip_for(command, skip));
        let (files, later) = files.split_at(start_points(command).min(files.len()));
        add(
            touches,
            Access::Mention,
            others.iter().chain(later).copied(),
        );
        add(touches, Access::Read, files.iter().copied());
        if files.is_empty() && reads_trees(command) {
            // Without a place to search, they search where they are.
            add(touches, Access::Read, &or_here(Vec::new()));
        }
        by_words(command, touches);
    } else {
        add(touches, Access::Mention, &command.args);
        by_words(command, touches);
    }
}

/// What a program of [`WRITERS`] does with the files it names: some change a directory as well.
fn written_by(command: &Command) -> Access {
    let recursive = |text: &str| text.starts_with("--rec") || is_cluster_with(text, 'r');
    match command.name() {
        "rm" | "rmdir" | "unlink" | "shred" | "srm" | "chmod" | "chown" | "chgrp" | "chattr"
        | "setfacl" | "chcon" => Access::WriteTree,
        "gzip" | "gunzip" | "zstd" if command.args.iter().map(Word::text).any(recursive) => {
            Access::WriteTree
        }
        _ => Access::Write,
    }
}

/// The number of words before the first condition of `find`; what comes after names no start.
fn start_points(command: &Command) -> usize {
    if command.name() != "find" {
        return usize::MAX;
    }
    let is_flag = |text: &str| matches!(text, "-H" | "-L" | "-P") || text.starts_with("-O");
    let words = command
        .args
        .iter()
        .map(Word::text)
        .filter(|text| !is_flag(text));
    words
        .take_while(|text| !text.starts_with(['-', '(', '!']))
        .count()
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
    // What is moved is gone where it was, and what has a second name can be written by that.
    let gives_away = command.name() == "mv" || makes_hard_links(command);
    let access = if gives_away {
        Access::WriteTree
    } else {
        Access::Read
    };
    let all_are_sources = targets.len() > 1;
    let sources = &files[..files.len().saturating_sub(usize::from(!all_are_sources))];
    add(touches, access, sources.iter().copied());
    let (target, copy) = written_by_copy(command, sources);
    add(touches, target, &targets);
    // Some take a suffix for a part of the path.
    let suffixes = values_of(&command.args, 'S', "--suffix").into_iter();
    let paths = suffixes.filter(|suffix| suffix.text().contains('/'));
    add(
        touches,
        Access::Write,
        &paths.map(|path| unknown(&path)).collect::<Vec<_>>(),
    );
    for target in targets.iter().filter_map(Word::literal) {
        let inside = sources.iter().map(|source| inside(target, source));
        add(touches, copy, &inside.collect::<Vec<_>>());
    }
}

/// What becomes of the target of a program of [`COPIERS`], and of what is made in it.
fn written_by_copy(command: &Command, sources: &[&Word]) -> (Access, Access) {
    let has = |letters: &[char], long: &[&str]| {
        command.args.iter().map(Word::text).any(|text| {
            let cluster =
                text.starts_with('-') && !text.starts_with("--") && text.contains(letters);
            cluster || long.iter().any(|long| text.starts_with(long))
        })
    };
    let all_of_it = |word: &&Word| match word {
        Word::Literal(text) => text == "." || text.ends_with("/.") || text.ends_with(".."),
        Word::Glob(_) => false,
        Word::Unknown { .. } => true,
    };
    let all = sources.iter().any(all_of_it);
    let whole = has(&['T'], &["--no-t"]);
    let tree = |is_tree: bool| {
        if is_tree {
            Access::WriteTree
        } else {
            Access::Write
        }
    };
    match command.name() {
        "mv" => (tree(whole || has(&[], &["--ex"])), Access::WriteTree),
        "ln" => (tree(whole || has(&['n'], &["--no-d"])), Access::Write),
        "install" => (tree(whole || has(&['d'], &["--dir"])), Access::Write),
        "rsync" => (Access::WriteTree, Access::WriteTree),
        "cp" | "scp" => {
            let trees = has(&['r', 'R', 'a'], &["--rec", "--arc"]);
            (tree(trees && (whole || all)), tree(trees))
        }
        _ => (Access::Write, Access::Write),
    }
}

fn makes_hard_links(command: &Command) -> bool {
    let has = |letter: char, long: &str| {
        let mut texts = command.args.iter().map(Word::text);
        texts
            .any(|text| is_cluster_with(text, letter) || (text.len() > 3 && long.starts_with(text)))
    };
    match command.name() {
        "link" => true,
        "ln" => !has('s', "--symbolic"),
        "cp" => has('l', "--link"),
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

fn unknown(word: &Word) -> Word {
    Word::Unknown {
        prefix: String::new(),
        text: word.text().into(),
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
    let spelled = spelled_out(command);
    let args = spelled.as_deref().unwrap_or(&command.args);
    let exact = |name: &str| {
        let named = args.windows(2).filter(move |pair| pair[0].text() == name);
        named.map(|pair| pair[1].clone()).collect()
    };
    let by_letter = letters.chars().map(|letter| values_of(args, letter, ""));
    let by_name = names.iter().map(|name| match name.starts_with("--") {
        true => values_of(args, '\0', name),
        false => exact(name),
    });
    let mut words: Vec<Word> = by_letter.chain(by_name).flatten().collect();
    if command.name() == "csplit" {
        words = or(words, "xx").iter().map(prefix).collect();
    }
    add(touches, Access::Write, &words);
}

/// The files of programs whose words say more than a table can.
fn by_words(command: &Command, touches: &mut Vec<Touch>) {
    let args = &command.args;
    let files = |values: &str, skip: usize| split(args, values, skip).0.into_iter().cloned();
    let after = |name: &str| {
        let values = args.iter().filter_map(|arg| arg.text().strip_prefix(name));
        values.map(|value| Word::Literal(value.into())).collect()
    };
    let mut trees = Vec::new();
    let (reads, writes): (Vec<Word>, Vec<Word>) = match command.name() {
        "dd" => (after("if="), after("of=")),
        "git"
            if files("", 0)
                .next()
                .is_some_and(|word| word.text() == "init") =>
        {
            (Vec::new(), or_here(files("b", 1).collect()))
        }
        "sed" if changes_in_place(args) => {
            (Vec::new(), files("ef", skip_for(command, 1)).collect())
        }
        "sed" => (files("ef", skip_for(command, 1)).collect(), Vec::new()),
        "tar" => tar(command, &mut trees),
        // Their second file is what they write.
        "uniq" | "xxd" | "split" => {
            let files: Vec<Word> = files("fswlcabCn", 0).collect();
            let (reads, writes) = files.split_at(files.len().min(1));
            let writes = match command.name() {
                "split" => or(writes.to_vec(), "x").iter().map(prefix).collect(),
                _ => writes.to_vec(),
            };
            (reads.to_vec(), writes)
        }
        // What comes after the file says where it is split.
        "csplit" => (files("fbn", 0).take(1).collect(), Vec::new()),
        "unzip" => {
            let only_looks = |arg: &Word| matches!(arg.text(), "-l" | "-t" | "-v" | "-Z");
            if !args.iter().any(only_looks) {
                trees.extend(or_here(values_of(args, 'd', "")));
            }
            (files("dPx", 0).take(1).collect(), Vec::new())
        }
        "zip" => {
            let files: Vec<Word> = files("bntP", 0).collect();
            let moves = |text: &str| text.starts_with("--mo") || is_cluster_with(text, 'm');
            match args.iter().map(Word::text).any(moves) {
                true => {
                    trees.extend(files);
                    (Vec::new(), Vec::new())
                }
                false => {
                    let (archive, reads) = files.split_at(files.len().min(1));
                    (reads.to_vec(), archive.to_vec())
                }
            }
        }
        _ => return,
    };
    add(touches, Access::Read, &reads);
    add(touches, Access::Write, &writes);
    add(touches, Access::WriteTree, &trees);
}

fn is_cluster_with(text: &str, letter: char) -> bool {
    text.starts_with('-') && !text.starts_with("--") && text.contains(letter)
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

/// `tar cgf SNAPSHOT ARCHIVE` is the old way to write `tar -c -g SNAPSHOT -f ARCHIVE`.
fn spelled_out(command: &Command) -> Option<Vec<Word>> {
    let cluster = command.args.first()?.literal()?;
    if command.name() != "tar" || cluster.starts_with('-') {
        return None;
    }
    let mut rest = command.args[1..].iter().cloned();
    let mut words = Vec::new();
    for letter in cluster.chars() {
        words.push(Word::Literal(format!("-{letter}")));
        if TAR_VALUES.contains(letter) {
            words.extend(rest.next());
        }
    }
    Some(words.into_iter().chain(rest).collect())
}

/// What tar reads and writes, and the trees that it writes, besides what its options in [`OUTPUTS`]
/// say.
fn tar(command: &Command, trees: &mut Vec<Word>) -> (Vec<Word>, Vec<Word>) {
    let spelled = spelled_out(command);
    let args = spelled.as_deref().unwrap_or(&command.args);
    let (files, options) = split(args, TAR_VALUES, 0);
    let letters: String = options
        .iter()
        .map(|word| word.text())
        .filter(|text| text.starts_with('-') && !text.starts_with("--"))
        .map(|text| {
            let end = text.find(|c| TAR_VALUES.contains(c));
            &text[..end.unwrap_or(text.len())]
        })
        .collect();
    let long = |names: &[&str]| {
        let mut texts = options.iter().map(|word| word.text());
        texts.any(|text| text.len() > 4 && names.iter().any(|name| name.starts_with(text)))
    };
    let places = tar_places(args);
    let added = values_of(args, '\0', "--add-file");
    let files: Vec<Word> = files
        .into_iter()
        .chain(&added)
        .flat_map(|file| {
            let inside = places.iter().map(|place| below(place, file));
            std::iter::once(file.clone())
                .chain(inside)
                .collect::<Vec<_>>()
        })
        .collect();
    let archives = values_of(args, 'f', "--file");
    if letters.contains('x') || long(&["--extract", "--get"]) {
        let mut places = places;
        places.extend(values_of(args, '\0', "--one-top-level"));
        trees.extend(or_here(places));
        return (archives, Vec::new());
    }
    let changes = letters.contains(['c', 'r', 'u', 'A'])
        || long(&[
            "--create",
            "--append",
            "--update",
            "--catenate",
            "--concatenate",
            "--delete",
        ]);
    if !changes && (letters.contains(['t', 'd']) || long(&["--list", "--diff", "--compare"])) {
        return (archives, Vec::new());
    }
    if long(&["--remove-files"]) {
        trees.extend(files.iter().cloned());
    }
    (files, or_here(archives))
}

/// The directories that tar goes to: each may be meant from the one before.
fn tar_places(args: &[Word]) -> Vec<Word> {
    let mut places: Vec<Word> = Vec::new();
    for place in values_of(args, 'C', "--directory") {
        let from_last = places.last().map(|last| below(last, &place));
        places.extend(from_last.into_iter().chain([place]));
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
        _ => unknown(path),
    }
}
