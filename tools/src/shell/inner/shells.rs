//! Shells, and the text that they are given.

use super::super::input::Input;
use super::super::options::{NONE, Options};
use super::super::{Command, Word};
use super::{Inner, unwrap};

pub(super) fn shell(args: &[Word], stdin: Option<&Input>) -> Vec<Inner> {
    if let [only] = args
        && matches!(only.text(), "--version" | "--help")
    {
        return Vec::new();
    }
    if has_option(args, 'c') {
        return after_c(args, &[]);
    }
    let script = args.iter().any(|arg| !arg.text().starts_with(['-', '+']));
    let mut found: Vec<Inner> = match stdin {
        Some(Input::Text(text)) => vec![Inner::Text(text.clone())],
        _ => Vec::new(),
    };
    found.push(Inner::Opaque(match script {
        true => "a script whose text is not known",
        false => "a shell that runs what it reads",
    }));
    found
}

/// The text after an option cluster with `c`, as `sh -c` and `su -c` take it. Other words before it
/// are files that a shell runs; `names` are those that are none.
pub(super) fn after_c(args: &[Word], names: &[&str]) -> Vec<Inner> {
    let Some(at) = args.iter().position(|arg| is_cluster_with(arg, 'c')) else {
        return vec![Inner::Opaque("a shell whose text is not known")];
    };
    // With `bash -c -e TEXT` the text is the first word that is no option.
    let is_option = |arg: &&Word| arg.text().starts_with(['-', '+']);
    let behind = &args[at + 1..];
    let count = behind.iter().take_while(is_option).count();
    let (options, words) = (&args[at..=at + count], &behind[count..]);
    let mut found = Vec::new();
    // dash runs the text, and then what it reads.
    if options.iter().any(|arg| is_cluster_with(arg, 's')) {
        found.push(Inner::Opaque("a shell that runs what it reads"));
    }
    let mut before = args[..at].iter();
    if options
        .iter()
        .chain(&args[..at])
        .any(|arg| is_login(arg) && !names.contains(&arg.text()))
    {
        found.push(Inner::Opaque(LOGIN));
    }
    let known_before = before.all(|arg| is_plain(arg) || names.contains(&arg.text()));
    if !known_before || !options.iter().all(is_plain) {
        found.push(Inner::Opaque("options of a shell that may run other files"));
        // One may take the next word, and then another one is the text.
        let others = words.iter().skip(1).filter_map(Word::literal);
        found.extend(others.take(4).map(|text| Inner::Text(text.into())));
    }
    found.push(match words.first().and_then(Word::literal) {
        Some(text) => Inner::Text(text.into()),
        None => Inner::Opaque("a shell whose text only the shell finds out"),
    });
    found
}

const LOGIN: &str = "a login or interactive shell, which runs the user's files";

/// Whether an option makes a shell read the files of its user first, and `su` go to their home.
fn is_login(option: &Word) -> bool {
    let text = option.text();
    let cluster = text.starts_with('-') && !text.starts_with("--");
    text == "-" || text.starts_with("--l") || cluster && text.contains(['i', 'l'])
}

/// Whether an option of a shell changes nothing but how it runs its text.
fn is_plain(option: &Word) -> bool {
    let text = option.text();
    let letters = text.strip_prefix(['-', '+']);
    matches!(text, "--" | "--command")
        || letters.is_some_and(|letters| letters.chars().all(|c| "ceuxvfaC".contains(c)))
}

pub(super) fn has_option(args: &[Word], letter: char) -> bool {
    args.iter().any(|arg| is_cluster_with(arg, letter))
}

fn is_cluster_with(arg: &Word, letter: char) -> bool {
    let text = arg.text();
    text == "--command" && letter == 'c'
        || (text.starts_with('-') && !text.starts_with("--") && text.contains(letter))
}

/// All letters of the words that look like clusters of options.
pub(super) fn option_letters(args: &[Word]) -> String {
    let clusters = args
        .iter()
        .map(Word::text)
        .filter(|text| text.starts_with('-') && !text.starts_with("--"));
    clusters.flat_map(|text| text.chars().skip(1)).collect()
}

pub(super) fn su(command: &mut Command) -> Vec<Inner> {
    if let Some(text) = command
        .args
        .iter()
        .find_map(|arg| arg.text().strip_prefix("--command="))
    {
        return vec![Inner::Text(text.into())];
    }
    if has_option(&command.args, 'c') || command.args.iter().any(|arg| arg.text() == "--command") {
        let mut found = after_c(&command.args, &["-", "root"]);
        if command.args.iter().any(is_login) {
            found.push(Inner::Opaque(LOGIN));
        }
        return found;
    }
    let options = Options {
        flags: "lm",
        values: "ugG",
        long_values: &["user", "group"],
        ..NONE
    };
    if has_option(&command.args, 'u') {
        return unwrap(command, &options);
    }
    vec![Inner::Opaque("a shell that runs what it reads")]
}
