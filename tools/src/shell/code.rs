//! Programs that run code which is no shell text, and options that make harmless programs do so.
//!
//! Everything that is found here is asked for. The lists follow the public collections of such
//! programs (GTFOBins); a program that is in none of them is as harmless as the policy says.

mod awk;
mod clouds;
mod interpreters;
mod loads;
mod packages;
mod sed;
mod variables;

use self::interpreters::{is_interpreter, unversioned};
use self::loads::option_that_runs;
use self::variables::{
    NAMING_BUILTINS, SETTING_BUILTINS, names_a_variable, sets_what_is_obeyed,
    takes_words_as_variables,
};
pub(crate) use self::variables::{harmless_assignment, harmless_variable, is_variable};
use super::inner::SHELLS;
use super::{Command, Word, usage};

/// Builtins of the shell that change what later words mean.
const BUILTINS: &[&str] = &[
    "source",
    ".",
    "alias",
    "unalias",
    "shopt",
    "enable",
    "hash",
    "bind",
    "complete",
    "compgen",
    "compopt",
    "mapfile",
    "readarray",
    "fc",
    "let",
    "coproc",
    "select",
    "function",
    "caller",
    "dirs",
    "pushd",
    "popd",
    "getopts",
];

/// `python3 --version` runs no code.
pub(crate) fn only_asks_about_itself(command: &Command) -> bool {
    let [only] = command.args.as_slice() else {
        return false;
    };
    let asks = matches!(only.literal(), Some("--version" | "--help"));
    asks && !command.program.contains('/')
}

/// Whether a command runs what stands in the files that it is given.
pub(crate) fn runs_its_files(command: &Command) -> bool {
    let name = command.name();
    is_interpreter(name) || is_shell(name) || matches!(name, "." | "source" | "sed")
}

/// Whether a program is a shell.
pub(crate) fn is_shell(name: &str) -> bool {
    SHELLS.contains(&name) || SHELLS.contains(&unversioned(name))
}

/// Why it can't be known what a command does, if so.
pub(super) fn reason(command: &Command) -> Option<&'static str> {
    let name = unversioned(command.name());
    let program = command.program.as_str();
    if clouds::asks_the_provider(command) {
        return Some("an address where the cloud's provider gives the machine's keys, perhaps");
    }
    if is_elsewhere(program) {
        return Some("a program outside of the system's directories");
    }
    if is_interpreter(command.name()) && !only_computes(command) {
        return Some("a program that runs code which is not understood");
    }
    if BUILTINS.contains(&program) {
        return Some("a builtin that changes what later commands mean");
    }
    if name.starts_with("ld-linux") || name.starts_with("ld-") || name.starts_with("ld.so") {
        return Some("the dynamic loader, which starts any file");
    }
    if NAMING_BUILTINS.contains(&program) && names_a_variable(command) {
        return Some("a subscript that the shell evaluates");
    }
    if SETTING_BUILTINS.contains(&program) && sets_what_is_obeyed(command) {
        return Some("a variable that programs may obey");
    }
    if program == "set" && command.args.iter().any(takes_words_as_variables) {
        return Some("a mode in which words are variables for the program that follows");
    }
    if matches!(name, "docker" | "podman") && gives_words_to_ps(command) {
        return Some("words for ps, which may show the environment of processes");
    }
    if name == "ps" && shows_environments(command) {
        return Some("the environment of other processes, where secrets are");
    }
    if name == "jq" && command.args.iter().any(imports) {
        return Some("a jq program that may read files which are not named");
    }
    if name == "sed" && !sed::is_plain(command) {
        return Some("a sed script that may write files or run commands");
    }
    if let Some(reason) = usage::line(command).and_then(|line| line.reason()) {
        return Some(reason);
    }
    if name == "tar" && command.args.iter().map(Word::text).any(names_a_machine) {
        return Some("an archive on another machine");
    }
    if packages::names_many(command) {
        return Some("a name that the package manager may take for many packages");
    }
    if name == "date" && sets_the_clock(command) {
        return Some("a word with which date sets the clock");
    }
    if sets_gid(command) {
        return Some("the set-group-ID bit, with which a program has the rights of its group");
    }
    if name == "tar" && unpacks_rights(command) {
        return Some("an archive that is unpacked with the set-user-ID bits in it");
    }
    if matches!(name, "docker" | "podman" | "docker-compose") && runs_containers(command) {
        return Some("a verb of containers that is not known to only show");
    }
    if names_are_in_a_file(command) {
        return Some("files whose names are in another file");
    }
    if name == "ip" && !ip_only_shows(command) {
        return Some("a verb of ip that is not known to only show");
    }
    if name == "kill" && signals_a_group(command) {
        return Some("a group of processes, whichever they are");
    }
    if name == "service" && !is_known_verb(command) {
        return Some("a verb that the service's own script defines");
    }
    if name == "git" && command.args.first().is_some_and(paginates) {
        return Some("a pager, which git starts");
    }
    if name == "git" && goes_elsewhere(command) {
        return Some("a repository that has no name here");
    }
    option_that_runs(command)
}

/// `kill -15 -2` ends all processes of group 2; the first word with a dash is the signal.
fn signals_a_group(command: &Command) -> bool {
    let mut later = command.args.iter().skip(1).map(Word::text);
    later.any(|text| text.starts_with('-') && text != "--")
}

/// `service NAME VERB`: scripts of System V have verbs of their own.
fn is_known_verb(command: &Command) -> bool {
    let mut operands = command
        .args
        .iter()
        .filter(|arg| !arg.text().starts_with('-'));
    operands.nth(1).is_none_or(|verb| {
        let known = [
            "start",
            "stop",
            "restart",
            "reload",
            "force-reload",
            "status",
        ];
        verb.literal().is_some_and(|verb| known.contains(&verb))
    })
}

/// `git -p log`; behind the verb it means a patch.
fn paginates(word: &Word) -> bool {
    let text = word.text();
    text == "-p" || text.len() > 2 && "--paginate".starts_with(text)
}

/// Whether git speaks to a repository that is named by its address: it may be anybody's.
fn goes_elsewhere(command: &Command) -> bool {
    let mut words = command
        .args
        .iter()
        .filter(|arg| !arg.text().starts_with('-'));
    let verb = words.next().map(Word::text);
    let repository = match usage::line(command) {
        Some(line) => line.operands.first().cloned(),
        None => words.next().cloned(),
    };
    let Some(text) = repository.as_ref().map(Word::text) else {
        return false;
    };
    let is_address = text.contains([':', '/']) || text.starts_with(['.', '~']);
    match verb {
        Some("push" | "fetch" | "pull") => is_address,
        Some("remote") => words.any(|word| word.text().contains(':')),
        _ => false,
    }
}

/// Whether it is awk with a program that only computes, or a crontab that is only shown.
fn only_computes(command: &Command) -> bool {
    match command.name() {
        "awk" | "gawk" | "mawk" | "nawk" => awk::is_plain(command),
        "crontab" => matches!(command.args.as_slice(), [only] if only.literal() == Some("-l")),
        _ => false,
    }
}

/// `date 01010000` sets the clock; what is shown begins with a plus.
fn sets_the_clock(command: &Command) -> bool {
    let operands = usage::line(command).map_or_else(Vec::new, |line| line.operands);
    operands.iter().any(|word| !word.text().starts_with('+'))
}

/// Whether a mode has the set-group-ID bit, as it is usual for directories of a group.
fn sets_gid(command: &Command) -> bool {
    let modes = match command.name() {
        "chmod" => command.args.clone(),
        _ => usage::line(command).map_or_else(Vec::new, |line| line.values("mode")),
    };
    let modes = modes.iter().map(Word::text);
    modes
        .filter(|mode| !mode.contains('/'))
        .any(|mode| special_bits(mode).1)
}

/// Whether a mode of `chmod` sets the bit of the user, and that of the group.
pub(crate) fn special_bits(mode: &str) -> (bool, bool) {
    let of_part = |part: &str| {
        // `=4755` and `+4000` are octal as well.
        let octal = part.trim_start_matches(['+', '=']).trim_start_matches('0');
        if !octal.is_empty() && octal.chars().all(|c| c.is_digit(8)) {
            let first = octal.chars().next().and_then(|c| c.to_digit(8));
            let bits = first.filter(|_| octal.len() == 4).unwrap_or_default();
            return (bits & 4 != 0, bits & 2 != 0);
        }
        let Some((who, rights)) = part.split_once(['+', '=']) else {
            return (false, false);
        };
        // `u-x+s` has more before the plus than who it is for.
        let is_mode = who.chars().all(|c| "ugoarwxXst-".contains(c));
        let sets = rights.contains('s') && is_mode;
        let is_for = |letter: char| who.is_empty() || who.contains([letter, 'a', '-']);
        (sets && is_for('u'), sets && is_for('g'))
    };
    let parts = mode.split(',').map(of_part);
    parts.fold((false, false), |(user, group), (its_user, its_group)| {
        (user | its_user, group | its_group)
    })
}

/// Whether tar gives what it unpacks the rights that the archive has: root does, and others with `-p`.
fn unpacks_rights(command: &Command) -> bool {
    usage::line(command).is_some_and(|line| {
        let has = |names: &[&str]| names.iter().any(|name| line.has(name));
        // It would write through a link that is there.
        let follows = has(&["overwrite"]) && has(&["dereference"]);
        let keeps = has(&[
            "preserve-permissions",
            "same-permissions",
            "same-owner",
            "acls",
            "xattrs",
        ]) || command.as_another && !has(&["no-same-permissions"]);
        has(&["extract", "get"]) && !has(&["to-stdout"]) && (keeps || follows)
    })
}

/// Whether a verb of containers does more than show them, where a word before it says of what.
fn runs_containers(command: &Command) -> bool {
    const SHOWING: &[(&str, &[&str])] = &[
        (
            "compose",
            &["ps", "logs", "ls", "images", "version", "port", "top"],
        ),
        (
            "container",
            &[
                "ls", "list", "ps", "logs", "inspect", "stats", "port", "diff",
            ],
        ),
        ("image", &["ls", "list", "inspect", "history"]),
        ("network", &["ls", "list", "inspect"]),
        ("volume", &["ls", "list", "inspect"]),
        ("system", &["df", "info"]),
    ];
    let mut words = command.args.iter().map(Word::text);
    let group = match command.name() {
        "docker-compose" => "compose",
        _ => words.next().unwrap_or_default(),
    };
    let named = |text: &str| SHOWING.iter().find(|(name, _)| *name == text);
    match named(group) {
        // It starts another program for that.
        Some(("compose", _)) if command.name() == "podman" => true,
        Some((_, verbs)) => words.next().is_none_or(|verb| !verbs.contains(&verb)),
        // An option may stand before it.
        None => group.starts_with('-') && words.any(|word| named(word).is_some()),
    }
}

/// Those of binutils open the files of a list in a file, and complain about each word of it;
/// so does `find`.
fn names_are_in_a_file(command: &Command) -> bool {
    let start = match command.name() {
        "strings" | "nm" | "objdump" | "readelf" | "size" | "ar" => "@",
        "find" => "-files0",
        _ => return false,
    };
    command.args.iter().any(|arg| arg.text().starts_with(start))
}

/// tar reaches `machine:path` by a program that it starts.
fn names_a_machine(text: &str) -> bool {
    text.split_once(':')
        .is_some_and(|(machine, _)| !machine.contains('/'))
}

/// `ip a a ADDRESS` adds one: all words may be shortened, so that only some verbs are clear.
fn ip_only_shows(command: &Command) -> bool {
    let mut words = command.args.iter().map(Word::text);
    let mut words = words.by_ref().skip_while(|text| text.starts_with('-'));
    let (_, verb) = (words.next(), words.next());
    verb.is_none_or(|verb| matches!(verb, "show" | "sh" | "list" | "lst" | "ls" | "get" | "help"))
}

/// A path of a program that no package manager put there.
fn is_elsewhere(program: &str) -> bool {
    const SYSTEM: &[&str] = &[
        "bin",
        "sbin",
        "usr/bin",
        "usr/sbin",
        "usr/local/bin",
        "usr/local/sbin",
    ];
    let Some((directory, _)) = program.rsplit_once('/') else {
        return false;
    };
    let Some(absolute) = directory.strip_prefix('/') else {
        return true;
    };
    let parts = absolute
        .split('/')
        .filter(|part| !matches!(*part, "" | "."));
    !SYSTEM.contains(&parts.collect::<Vec<_>>().join("/").as_str())
}

/// Whether `ps` shows what processes were told in their variables: `ps auxe`, `ps E`, `-o environ`.
/// Words without a dash are its old options, if they are no lists and no values of others.
fn shows_environments(command: &Command) -> bool {
    let mut is_value = false;
    command.args.iter().any(|arg| {
        let Some(text) = arg.literal() else {
            return true;
        };
        let was_value = std::mem::replace(&mut is_value, has_value_after(text));
        let old = !was_value && !text.starts_with('-') && !text.contains(',');
        text.contains("env") || (old && text.contains(['e', 'E']))
    })
}

/// `docker top CONTAINER` hands all that follows to ps.
fn gives_words_to_ps(command: &Command) -> bool {
    let mut words = command.args.iter().skip_while(|arg| arg.text() != "top");
    words.nth(2).is_some()
}

/// Whether the value of an option of `ps` is the next word.
fn has_value_after(text: &str) -> bool {
    const LONG: &[&str] = &[
        "cols",
        "columns",
        "format",
        "lines",
        "pid",
        "ppid",
        "quick-pid",
        "rows",
        "sort",
        "tty",
        "user",
        "group",
        "User",
        "Group",
        "sid",
        "width",
    ];
    let (options, values) = match text.strip_prefix("--") {
        Some(name) => return LONG.contains(&name),
        None => match text.strip_prefix('-') {
            Some(options) => (options, "opuUgGCtksOq"),
            None => (text, "oOpUtkq"),
        },
    };
    options
        .find(|c| values.contains(c))
        .is_some_and(|at| at + 1 == options.len())
}

/// Words of a jq program that read a file beside those of the command.
fn imports(word: &Word) -> bool {
    word.literal().is_none_or(|text| {
        let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|word| matches!(word, "import" | "include"))
    })
}
