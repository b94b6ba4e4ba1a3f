//! Programs that run their arguments, and what they run.

mod shells;
mod wrappers;

use self::shells::{after_c, has_option, option_letters, shell, su};
use self::wrappers::wrapper;
use super::input::Input;
use super::options::{NONE, Options, is_assignment};
use super::{Command, Word, code};

/// What a program runs.
#[derive(Debug)]
pub(super) enum Inner {
    /// A program with arguments.
    Argv(Vec<Word>),
    /// A text for a shell.
    Text(String),
    /// Something that can't be understood.
    Opaque(&'static str),
}

/// Shells that are given a text by `-c`, or a script.
pub(super) const SHELLS: &[&str] = &[
    "sh", "bash", "rbash", "dash", "ash", "zsh", "ksh", "ksh93", "mksh", "yash", "fish", "csh",
    "tcsh",
];

/// What a command runs besides itself. Of a wrapper only its own arguments are left in `command`.
pub(super) fn inner(command: &mut Command, stdin: Option<&Input>) -> Vec<Inner> {
    if code::only_asks_about_itself(command) {
        return Vec::new();
    }
    let mut found = special(command, stdin).unwrap_or_else(|| match wrapper(command.name()) {
        Some(options) => unwrap(command, &options),
        None => Vec::new(),
    });
    if found.iter().any(|inner| matches!(inner, Inner::Text(_))) {
        // The text is judged as what it runs; as an argument it would look like a path.
        command.args.retain(|arg| arg.text().starts_with('-'));
    }
    if command.name() == "sudo" && command.args.iter().any(starts_a_shell) {
        found.push(Inner::Opaque(
            "a shell of another user, which reads the words anew, perhaps elsewhere",
        ));
    }
    found.extend(code::reason(command).map(Inner::Opaque));
    found
}

/// Programs that run another as somebody else.
pub(super) fn becomes_another(name: &str) -> bool {
    matches!(name, "sudo" | "doas" | "pkexec" | "su" | "runuser" | "run0")
}

/// Whether an option of sudo is `-i` or `-s`, alone or behind others.
fn starts_a_shell(option: &Word) -> bool {
    let text = option.text();
    match text.strip_prefix("--") {
        Some(long) => matches!(long, "login" | "shell"),
        None => text.strip_prefix('-').is_some_and(|letters| {
            let own = letters.chars().take_while(|c| !"CDgpRrTtUu".contains(*c));
            own.into_iter().any(|c| matches!(c, 'i' | 's'))
        }),
    }
}

/// Programs whose way to name what they run is all their own.
fn special(command: &mut Command, stdin: Option<&Input>) -> Option<Vec<Inner>> {
    let name = command.name().to_owned();
    Some(match name.as_str() {
        name if SHELLS.contains(&name) => {
            let mut found = shell(&command.args, stdin);
            if matches!(name, "zsh" | "fish" | "csh" | "tcsh") && !found.is_empty() {
                found.push(Inner::Opaque("a shell with a grammar of its own"));
            }
            found
        }
        "busybox" | "toybox" => unwrap(command, &NONE),
        "env" => env(command),
        // Only in front: `command rm -v` runs rm.
        "command" => {
            match option_letters(command.args.get(..1).unwrap_or_default()).contains(['v', 'V']) {
                true => Vec::new(),
                false => unwrap(command, &Options { flags: "p", ..NONE }),
            }
        }
        "find" => find(command),
        "xargs" => xargs(command, stdin),
        "watch" => watch(command),
        "eval" => joined(command, &NONE, "a text that the shell evaluates"),
        "trap" => first_text(command, "a text that the shell evaluates later"),
        "su" | "runuser" => su(command),
        "script" | "sg" | "flock" | "capsh" if has_option(&command.args, 'c') => {
            after_c(&command.args, &[])
        }
        "ssh" | "rsh" | "mosh" | "slogin" => ssh(command),
        "parallel" | "tmux" | "screen" | "expect" | "strace" | "ltrace" | "entr" => {
            tail(command, "a program that runs its arguments in its own way")
        }
        "export" | "declare" | "typeset" | "local" | "readonly" => exports(command),
        _ => return None,
    })
}

/// Cuts the command that a wrapper runs out of its arguments.
fn unwrap(command: &mut Command, options: &Options) -> Vec<Inner> {
    let Some(end) = options.end(&command.args) else {
        let mut found = guesses(&command.args);
        found.push(Inner::Opaque(
            "options that are not known, before a command that is run",
        ));
        return found;
    };
    let words = command.args.split_off(end);
    let mut found = dangerous_assignments(&command.args);
    if words.is_empty() {
        found.push(Inner::Opaque(
            "a shell, or whatever the program starts by itself",
        ));
    } else {
        found.push(Inner::Argv(words));
    }
    found
}

/// Where it is unclear which word is the program, each that could be one is looked at, so that
/// what is blocked stays blocked.
fn guesses(args: &[Word]) -> Vec<Inner> {
    let programs = args.iter().enumerate().skip(1).filter(|(_, arg)| {
        arg.literal()
            .is_some_and(|text| !text.is_empty() && !text.starts_with('-'))
    });
    programs
        .take(4)
        .map(|(at, _)| Inner::Argv(args[at..].to_vec()))
        .collect()
}

fn tail(command: &Command, reason: &'static str) -> Vec<Inner> {
    let mut found = guesses(&command.args);
    found.extend(
        command
            .args
            .first()
            .map(|_| Inner::Argv(command.args.clone())),
    );
    found.push(Inner::Opaque(reason));
    found
}

fn dangerous_assignments(args: &[Word]) -> Vec<Inner> {
    let names = args.iter().filter(|arg| is_assignment(arg));
    let mut set = names.filter_map(|arg| {
        let (name, value) = arg.text().split_once('=')?;
        Some((name, arg.literal().map(|_| value)))
    });
    match set.all(|(name, value)| code::harmless_assignment(name, value)) {
        true => Vec::new(),
        false => vec![Inner::Opaque("a variable that programs may obey")],
    }
}

fn exports(command: &Command) -> Vec<Inner> {
    let mut found = dangerous_assignments(&command.args);
    let plain = |arg: &Word| arg.literal().is_some_and(|text| !text.contains(['[', '(']));
    if !command
        .args
        .iter()
        .all(|arg| plain(arg) || is_assignment(arg))
    {
        found.push(Inner::Opaque("a variable that only the shell finds out"));
    }
    if option_letters(&command.args).contains(['i', 'n', 'a', 'A']) {
        found.push(Inner::Opaque("a variable that the shell evaluates"));
    }
    found
}

fn env(command: &mut Command) -> Vec<Inner> {
    let options = Options {
        flags: "i0v",
        values: "u",
        long_flags: &["ignore-environment", "null", "debug"],
        long_values: &["unset"],
        assignments: true,
        ..NONE
    };
    if let Some(text) = split_string(&command.args) {
        return vec![
            Inner::Text(text),
            Inner::Opaque("a text that env splits into words"),
        ];
    }
    // A lone dash is `-i`.
    let args = command.args.iter().map(|arg| match arg.text() {
        "-" => Word::Literal("-i".into()),
        _ => arg.clone(),
    });
    command.args = args.collect();
    match options.end(&command.args) {
        // Without a program it prints the environment.
        Some(end) if end == command.args.len() => dangerous_assignments(&command.args),
        _ => unwrap(command, &options),
    }
}

/// The text of `env -S`, with the words after it.
fn split_string(args: &[Word]) -> Option<String> {
    let at = args.iter().position(|arg| {
        let text = arg.text();
        text.starts_with("--split-string")
            || (text.starts_with('-') && !text.starts_with("--") && text.contains('S'))
    })?;
    let first = args[at].text();
    let here = first
        .split_once(['S', '='])
        .map_or("", |(_, text)| text)
        .to_owned();
    let rest = args[at + 1..].iter().map(|arg| arg.text().to_owned());
    Some(
        std::iter::once(here)
            .chain(rest)
            .collect::<Vec<_>>()
            .join(" "),
    )
}

fn xargs(command: &mut Command, stdin: Option<&Input>) -> Vec<Inner> {
    let prefix = match stdin {
        Some(Input::Paths(prefix)) => prefix.as_str(),
        _ => "",
    };
    let options = Options {
        flags: "0prtxo",
        values: "aEdILnPs",
        long_flags: &[
            "null",
            "no-run-if-empty",
            "verbose",
            "exit",
            "open-tty",
            "interactive",
        ],
        long_values: &[
            "arg-file",
            "delimiter",
            "max-lines",
            "max-args",
            "max-procs",
            "max-chars",
            "replace",
        ],
        ..NONE
    };
    let mut found = unwrap(command, &options);
    if !replaces_braces(&command.args) {
        found.push(Inner::Opaque(
            "a mark for input that may be anywhere in the command",
        ));
    }
    found
        .into_iter()
        .map(|inner| match inner {
            Inner::Argv(words) => Inner::Argv(with_input(words, prefix)),
            // Without a program it is `echo`.
            Inner::Opaque(_)
                if replaces_braces(&command.args)
                    && command.args.iter().all(|arg| arg.literal().is_some())
                    && options.end(&command.args).is_some() =>
            {
                Inner::Argv(vec![Word::Literal("echo".into()), unknown("...")])
            }
            other => other,
        })
        .collect()
}

/// Whether the mark for input is `{}`, or there is none.
fn replaces_braces(args: &[Word]) -> bool {
    args.iter().enumerate().all(|(at, arg)| {
        let text = arg.text();
        match text.strip_prefix("--replace").or_else(|| {
            text.split_once('I')
                .filter(|(before, _)| before.starts_with('-'))
                .map(|(_, mark)| mark)
        }) {
            None => true,
            Some("") => args.get(at + 1).is_some_and(|mark| mark.text() == "{}"),
            Some(mark) => mark.trim_start_matches('=') == "{}",
        }
    })
}

/// The words of a program that `xargs` starts: what it reads may stand anywhere. Of that it is known
/// what it begins with.
fn with_input(words: Vec<Word>, prefix: &str) -> Vec<Word> {
    let mut words: Vec<Word> = words
        .into_iter()
        .map(|word| match word.literal() {
            Some(text) if text.contains("{}") => unknown(text),
            _ => word,
        })
        .collect();
    words.push(Word::Unknown {
        prefix: prefix.into(),
        text: "...".into(),
    });
    words
}

fn unknown(text: &str) -> Word {
    let prefix = text
        .split("{}")
        .next()
        .filter(|_| text != "...")
        .unwrap_or_default();
    Word::Unknown {
        prefix: prefix.into(),
        text: text.into(),
    }
}

/// Takes `-exec ... ;` and its likes out of the arguments, and turns `-delete` into `rm`.
fn find(command: &mut Command) -> Vec<Inner> {
    let roots: Vec<Word> = find_roots(&command.args)
        .iter()
        .map(|root| below(root, find_name(&command.args)))
        .collect();
    let mut found = Vec::new();
    let mut own = Vec::new();
    let mut args = std::mem::take(&mut command.args).into_iter();
    while let Some(arg) = args.next() {
        match arg.text() {
            "-exec" | "-execdir" | "-ok" | "-okdir" => {
                if arg.text().ends_with("dir") {
                    found.push(Inner::Opaque(
                        "a command that runs in directories that are found",
                    ));
                }
                // A `+` ends it behind `{}` alone; elsewhere it is a word like others.
                let mut behind_all = false;
                let words = args.by_ref().take_while(|arg| {
                    let ends = arg.text() == ";" || behind_all && arg.text() == "+";
                    behind_all = arg.text() == "{}";
                    !ends
                });
                let words: Vec<Word> = words.flat_map(|word| found_files(word, &roots)).collect();
                found.push(Inner::Argv(words));
            }
            "-delete" => {
                let rm = ["rm", "-r"].map(|word| Word::Literal(word.into()));
                found.push(Inner::Argv(rm.into_iter().chain(roots.clone()).collect()));
            }
            _ => own.push(arg),
        }
    }
    if own
        .iter()
        .any(|arg| matches!(arg, Word::Unknown { .. }) && arg.may_be_option())
    {
        found.push(Inner::Opaque("words that may be options of find"));
    }
    command.args = own;
    found
}

fn find_roots(args: &[Word]) -> Vec<Word> {
    let roots: Vec<Word> = args
        .iter()
        .skip_while(|arg| matches!(arg.text(), "-H" | "-L" | "-P"))
        .take_while(|arg| !arg.text().starts_with(['-', '(', '!']))
        .cloned()
        .collect();
    if roots.is_empty() {
        vec![Word::Literal(".".into())]
    } else {
        roots
    }
}

/// The files that `{}` stands for.
fn found_files(word: Word, roots: &[Word]) -> Vec<Word> {
    match word.literal() {
        Some("{}") => roots.to_vec(),
        Some(text) if text.contains("{}") => vec![unknown(text)],
        _ => vec![word],
    }
}

/// The name that all found files have, if there is just one `-name` and nothing that widens it.
fn find_name(args: &[Word]) -> &str {
    let widens = |arg: &Word| matches!(arg.text(), "-o" | "-or" | "-not" | "!" | "," | "(" | ")");
    let mut names = args.windows(2).filter(|pair| pair[0].text() == "-name");
    match (names.next(), names.next()) {
        (Some([_, Word::Literal(name)]), None) if !args.iter().any(widens) => name,
        _ => "",
    }
}

/// Everything in a directory, or all that has such a name.
fn below(root: &Word, name: &str) -> Word {
    let end = if name.is_empty() {
        "**".to_owned()
    } else {
        format!("**/{name}")
    };
    match root {
        Word::Literal(root) => Word::Glob(format!("{}/{end}", root.trim_end_matches('/'))),
        other => Word::Unknown {
            prefix: other
                .text()
                .split(['*', '?', '[', '$', '`'])
                .next()
                .unwrap_or_default()
                .into(),
            text: format!("{}/{end}", other.text()),
        },
    }
}

/// What runs elsewhere is not ours to judge, but what is blocked here is blocked there as well.
fn ssh(command: &mut Command) -> Vec<Inner> {
    let options = Options {
        flags: "46AaCfGgKkMNnqsTtVvXxYy",
        values: "BbcDEeFIiJLlmOopQRSWw",
        positionals: 1,
        ..NONE
    };
    let mut found = vec![Inner::Opaque("a command that runs on another machine")];
    if let Some(end) = options.end(&command.args) {
        let text: Vec<&str> = command.args[end..].iter().map(Word::text).collect();
        if !text.is_empty() {
            found.push(Inner::Text(text.join(" ")));
        }
    }
    found
}

/// The words are joined and given to a shell.
fn joined(command: &mut Command, options: &Options, reason: &'static str) -> Vec<Inner> {
    let Some(end) = options.end(&command.args) else {
        return vec![Inner::Opaque(
            "options that are not known, before a text that is run",
        )];
    };
    let words = command.args.split_off(end);
    let mut found = Vec::new();
    if !reason.is_empty() {
        found.push(Inner::Opaque(reason));
    }
    match words.iter().map(Word::literal).collect::<Option<Vec<_>>>() {
        Some(texts) if !texts.is_empty() => found.push(Inner::Text(texts.join(" "))),
        _ => found.push(Inner::Opaque("a text that only the shell finds out")),
    }
    found
}

/// It runs a text, or with `-x` its words as they are.
fn watch(command: &mut Command) -> Vec<Inner> {
    let options = Options {
        flags: "bcdegptwxC",
        values: "n",
        long_flags: &[
            "beep",
            "color",
            "differences",
            "errexit",
            "chgexit",
            "no-title",
            "exec",
        ],
        long_values: &["interval"],
        ..NONE
    };
    let end = options.end(&command.args).unwrap_or_default();
    let own = &command.args[..end];
    let long = |arg: &Word| {
        arg.text()
            .strip_prefix("--")
            .is_some_and(|it| "exec".starts_with(it))
    };
    if has_option(own, 'x') || own.iter().any(long) {
        return unwrap(command, &options);
    }
    joined(command, &options, "")
}

fn first_text(command: &Command, reason: &'static str) -> Vec<Inner> {
    let text = command
        .args
        .iter()
        .map(Word::text)
        .find(|text| !text.starts_with('-'));
    let mut found = vec![Inner::Opaque(reason)];
    found.extend(
        text.filter(|text| !text.is_empty())
            .map(|text| Inner::Text(text.into())),
    );
    found
}
