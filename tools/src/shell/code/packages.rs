//! Names of packages that the package manager takes for patterns.

use super::{Command, Word, usage};

const MANAGERS: &[&str] = &[
    "apt", "apt-get", "aptitude", "dnf", "dnf5", "yum", "zypper", "apk",
];

/// Verbs that take patterns for what they search; the others change what is installed.
const SEARCHING: &[&str] = &[
    "search",
    "list",
    "show",
    "info",
    "policy",
    "depends",
    "rdepends",
    "provides",
    "whatprovides",
    "repoquery",
    "se",
    "if",
    "madison",
    "history",
    "what-provides",
];

/// Names with a dot between letters, of which apt would make a pattern if there were no such package.
const WITH_DOTS: &[&str] = &["docker.io", "node.js"];

/// Whether a command may install or remove packages that it does not name.
pub(super) fn names_many(command: &Command) -> bool {
    if !MANAGERS.contains(&command.name()) {
        return false;
    }
    let operands = match usage::line(command) {
        Some(line) => line.operands,
        None => command.args.clone(),
    };
    let Some((verb, names)) = operands.split_first() else {
        return false;
    };
    let searches = verb.literal().is_some_and(|verb| SEARCHING.contains(&verb));
    !searches && !names.iter().all(|name| is_plain(name, command.name()))
}

/// apt takes what no package is called for a regular expression, the others take stars; `task^` and
/// `@group` are many packages, `name-` removes one.
fn is_plain(name: &Word, manager: &str) -> bool {
    let Some(text) = name.literal() else {
        return false;
    };
    // What comes behind is a version, a release or a machine.
    let end = text.find(['=', ':']).unwrap_or(text.len());
    let (name, version) = text.split_at(end);
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-._@".contains(c);
    let plain_version = |c: char| c.is_ascii_alphanumeric() || "+-._:~=".contains(c);
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '@');
    let is_apt = manager.starts_with("apt");
    starts_well
        && name.chars().all(plain)
        && version.chars().all(plain_version)
        && (!is_apt || !name.ends_with('-') && !may_be_expression(name))
}

/// Whether a name would be a regular expression if it were no name: dots are usual between the digits
/// of a version, and pluses come in pairs.
fn may_be_expression(name: &str) -> bool {
    if WITH_DOTS.contains(&name) {
        return false;
    }
    let bytes = name.as_bytes();
    let is_digit = |at: Option<usize>| {
        let byte = at.and_then(|at| bytes.get(at));
        byte.is_some_and(u8::is_ascii_digit)
    };
    let odd_dot = |at: usize| {
        let between_digits = is_digit(at.checked_sub(1)) && is_digit(Some(at + 1));
        bytes[at] == b'.' && !between_digits
    };
    let letters = name.chars().take_while(char::is_ascii_lowercase).count();
    (0..bytes.len()).any(odd_dot)
        || name.contains('.') && letters < 2
        || name.replace("++", "").contains('+')
}
