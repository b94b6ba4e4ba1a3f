//! Variables that the shell or programs obey, and the builtins that set them.

use super::{Command, Word};

/// Builtins that take the name of a variable, where a subscript may run commands.
pub(super) const NAMING_BUILTINS: &[&str] = &["test", "[", "printf", "read", "unset", "wait"];

/// Builtins that give the variables that they are told another value, or none.
pub(super) const SETTING_BUILTINS: &[&str] = &["local", "read", "unset", "wait"];

/// Variables of which programs make the name of a file, in a directory of theirs.
const NAMES_OF_FILES: &[&str] = &[
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_TIME",
    "LC_NUMERIC",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_MESSAGES",
    "TERM",
];

/// Variables that are known to be harmless, besides those in small letters.
const VARIABLES: &[&str] = &[
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "SYSTEMD_COLORS",
    "RUST_LOG",
    "RUST_BACKTRACE",
];

/// Small letters that shells or programs obey.
const VARIABLES_OBEYED: &[&str] = &["path", "cdpath", "fpath", "histchars", "module_path"];

/// Whether it is a name that a variable can have.
pub(crate) fn is_variable(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether giving the variable this value can't make a program run or read something else; none:
/// nobody knows the value.
pub(crate) fn harmless_assignment(name: &str, value: Option<&str>) -> bool {
    match name {
        // debconf evaluates what it does not know.
        "DEBIAN_FRONTEND" => matches!(value, Some("noninteractive" | "readline" | "teletype")),
        // The C library makes the name of a file of it.
        "TZ" => value.is_some_and(|it| !it.starts_with(['/', ':']) && !it.contains("..")),
        _ if NAMES_OF_FILES.contains(&name) => value.is_some_and(|it| !it.contains('/')),
        _ => is_harmless(name),
    }
}

/// Whether setting the variable, to whatever value, can't make a program run something else.
pub(crate) fn harmless_variable(name: &str) -> bool {
    harmless_assignment(name, None)
}

fn is_harmless(name: &str) -> bool {
    let small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    VARIABLES.contains(&name)
        || (name.chars().all(small)
            && !name.ends_with("_proxy")
            && !VARIABLES_OBEYED.contains(&name))
}

/// Whether a builtin may be given the name of a variable that is not plainly written.
pub(super) fn names_a_variable(command: &Command) -> bool {
    let args = &command.args;
    let unknown = |arg: &Word| matches!(arg, Word::Unknown { .. });
    args.iter().any(subscript)
        || match command.program.as_str() {
            "printf" => {
                args.first().is_some_and(|arg| {
                    arg.text().starts_with("-v") || (unknown(arg) && arg.may_be_option())
                }) || args.iter().map(Word::text).any(stores_a_count)
            }
            "test" | "[" => {
                args.iter().any(|arg| arg.text() == "-v")
                    || args.first().is_some_and(unknown) && args.len() <= 3
            }
            // What the shell knows by that name may itself have a subscript in it.
            _ => args
                .iter()
                .any(|arg| unknown(arg) || arg.text().contains('[')),
        }
}

/// Whether a format has `%n`, which sets a variable.
fn stores_a_count(format: &str) -> bool {
    let marks = |c: char| c.is_ascii_digit() || "#+- .'*hlLjzt".contains(c);
    let conversions = format.split('%').skip(1);
    conversions
        .map(|rest| rest.trim_start_matches(marks))
        .any(|rest| rest.starts_with('n'))
}

/// Whether one of the variables that a builtin sets or forgets, named by itself or right behind its
/// option, is obeyed by programs or the shell.
pub(super) fn sets_what_is_obeyed(command: &Command) -> bool {
    command.args.iter().map(Word::text).any(|text| {
        let name = match text.strip_prefix('-') {
            Some(option) => option.get(1..).unwrap_or_default(),
            None => text,
        };
        is_variable(name) && !harmless_variable(name) && name != "REPLY"
    })
}

/// `set -k` or `set -H`, alone or with other letters, or by their names: with the latter quoted words
/// become commands.
pub(super) fn takes_words_as_variables(word: &Word) -> bool {
    match word.literal() {
        Some("keyword" | "histexpand" | "history") => true,
        Some(text) => text
            .strip_prefix('-')
            .is_some_and(|it| it.contains(['k', 'H'])),
        None => word.may_be_option(),
    }
}

fn subscript(word: &Word) -> bool {
    let text = word.text();
    text.contains('[') && text.len() > 1 && text.contains(['$', '`', '('])
}
