//! The words of a command, told apart as its program tells them apart: options with their values,
//! clusters of letters, shortened names, and what is left.
//!
//! `table.rs` has a row for each program that is about files and text, `admin.rs` for the others. A
//! row says all options that the program has, so that one which is not there makes the command one
//! that can't be understood. `cp --ar`, `cp -rp` and `tar -cf/tmp/x` are resolved here and nowhere
//! else.

mod admin;
mod table;

use self::admin::ADMIN_ROWS;
use self::table::ROWS;
use super::{Command, Word};

/// What a program does with the words that are no options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operands {
    /// They are no files.
    Words,
    /// It reads them, but for so many in front.
    Read(usize),
    /// It changes all of them in the same way, but for so many in front.
    Write(usize),
    /// The last one is written, the others are read.
    Copy,
    /// More than a table can say; `touch.rs` knows.
    Own,
}

/// What giving an option means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing but what the program prints, or how.
    Plain,
    /// Its value is a file that is read.
    Read,
    /// Its value is a file or directory that is written.
    Write,
    /// Its value becomes a part of a file's name.
    PartOfName,
    /// It can't be known what it makes the program do.
    Asked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    None,
    /// In the same word, or not at all.
    Optional,
    /// In the same word or the next ones.
    Next(usize),
    /// All words up to the next option or to `@`.
    List,
}

/// One option of a row, as `NAME=LETTERS` or `-LETTERS` with marks behind it: `:` and `::` as in
/// getopt, `;` for two values, `,` for a list of them; then `<`, `>`, `/` and `!` for the [`Role`];
/// `*` where directories are gone through.
#[derive(Debug, Clone, Copy)]
struct Spec {
    name: &'static str,
    letters: &'static str,
    values: Values,
    role: Role,
    trees: bool,
}

/// An option that was given.
#[derive(Debug)]
pub(super) struct Given {
    spec: Spec,
    /// The letter, where it was given by one.
    letter: Option<char>,
    pub(super) values: Vec<Word>,
}

/// The words of a command.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) kind: Operands,
    pub(super) given: Vec<Given>,
    pub(super) operands: Vec<Word>,
    /// Whether some word may be an option that the row does not have.
    pub(super) has_unknown: bool,
    /// Whether some word that only the shell knows could be an option that does more than print.
    pub(super) may_have_more: bool,
}

/// The words of a command whose program is known; none: it has no row.
pub(super) fn line(command: &Command) -> Option<Line> {
    let name = command.name();
    let verb = (name == "git").then(|| command.args.iter().position(|arg| !is_option(arg)));
    let (row, args) = match verb {
        Some(at) => {
            let at = at?;
            let name = format!("git {}", command.args[at].literal()?);
            let mut rows = ADMIN_ROWS.iter();
            (rows.find(|row| row.0 == name)?, &command.args[at + 1..])
        }
        None => {
            let named = |row: &&table::Row| row.0.split(' ').any(|it| it == name);
            let mut rows = ROWS.iter().chain(ADMIN_ROWS);
            (rows.find(named)?, command.args.as_slice())
        }
    };
    let spelled = (name == "tar").then(|| spelled_out(row, args)).flatten();
    Some(Reader::new(row).line(spelled.as_deref().unwrap_or(args)))
}

/// The options of a command as they are written in full, each in every way, for rules, which may
/// speak of any; none: the program has no row.
pub(crate) fn options_in_full(command: &Command) -> Option<Vec<String>> {
    line(command).map(|line| line.given.iter().flat_map(Given::in_full).collect())
}

/// The same, and the words that are neither options nor values of such, as far as they are known.
pub(crate) fn own_words(command: &Command) -> Option<Vec<String>> {
    let line = line(command)?;
    let options = line.given.iter().flat_map(Given::in_full);
    let operands = line.operands.iter().filter_map(Word::literal);
    Some(options.chain(operands.map(str::to_owned)).collect())
}

/// All values that a command gives to one of its options, by the option's long name.
pub(crate) fn values_of_option(command: &Command, name: &str) -> Vec<Word> {
    line(command).map_or_else(Vec::new, |line| line.values(name))
}

fn is_option(arg: &Word) -> bool {
    arg.text().starts_with('-')
}

/// `tar cgf SNAPSHOT ARCHIVE` is the old way to write `tar -c -g SNAPSHOT -f ARCHIVE`.
fn spelled_out(row: &'static table::Row, args: &[Word]) -> Option<Vec<Word>> {
    let cluster = args.first()?.literal()?;
    if cluster.starts_with('-') {
        return None;
    }
    let specs = Reader::new(row).specs;
    let takes = |letter| {
        let spec = specs.iter().find(|spec| spec.letters.contains(letter));
        spec.is_some_and(|spec| spec.values == Values::Next(1))
    };
    let mut rest = args[1..].iter().cloned();
    let mut words = Vec::new();
    for letter in cluster.chars() {
        words.push(Word::Literal(format!("-{letter}")));
        if takes(letter) {
            words.extend(rest.next());
        }
    }
    Some(words.into_iter().chain(rest).collect())
}

impl Line {
    pub(super) fn has(&self, name: &str) -> bool {
        self.given.iter().any(|given| given.is(name))
    }

    /// All values of an option.
    pub(super) fn values(&self, name: &str) -> Vec<Word> {
        let given = self.given.iter().filter(|given| given.is(name));
        given.flat_map(|given| given.values.clone()).collect()
    }

    /// The values of all options of a role.
    pub(super) fn values_of(&self, role: Role) -> impl Iterator<Item = &Word> {
        let given = self
            .given
            .iter()
            .filter(move |given| given.spec.role == role);
        given.flat_map(|given| &given.values)
    }

    /// Whether directories are gone through.
    pub(super) fn goes_through_trees(&self) -> bool {
        self.given.iter().any(|given| given.spec.trees)
    }

    /// Why it can't be known what the options do, if so.
    pub(super) fn reason(&self) -> Option<&'static str> {
        if self.has_unknown {
            return Some("an option that is not known of this program");
        }
        if self.may_have_more {
            return Some("a word that may be an option which names other files");
        }
        if self
            .given
            .iter()
            .any(|given| given.spec.role == Role::Asked)
        {
            return Some("an option with which the program does more than its name says");
        }
        let has_slash = |word: &Word| word.literal().is_none_or(|text| text.contains('/'));
        let leads_away = self.values_of(Role::PartOfName).any(has_slash);
        leads_away.then_some("a part of a name that leads to another directory")
    }
}

impl Given {
    fn in_full(&self) -> Vec<String> {
        let Spec { name, letters, .. } = self.spec;
        let long = (!name.is_empty()).then(|| format!("--{name}"));
        let letters = match self.letter {
            Some(letter) => letter.to_string(),
            None => letters.to_owned(),
        };
        let short = letters.chars().map(|letter| format!("-{letter}"));
        long.into_iter().chain(short).collect()
    }

    /// By its long name, or by its letter where it has none.
    fn is(&self, name: &str) -> bool {
        match self.letter {
            Some(letter) if self.spec.name.is_empty() => name.chars().eq([letter]),
            _ => self.spec.name == name,
        }
    }
}

/// The words that are still to be read.
type Rest<'a> = std::slice::Iter<'a, Word>;

/// Reads the words of one program.
struct Reader {
    kind: Operands,
    specs: Vec<Spec>,
    /// How many of them are options only before the first word that is none.
    in_front: usize,
    /// Whether the row has only some of the options.
    is_open: bool,
    /// Whether the letter of a value has a word to itself.
    apart: bool,
}

impl Reader {
    fn new((_, kind, options): &'static table::Row) -> Self {
        let mut reader = Self {
            kind: *kind,
            specs: Vec::new(),
            in_front: 0,
            is_open: false,
            apart: false,
        };
        for token in options.split_whitespace().chain(["help", "version"]) {
            match token {
                "..." => reader.is_open = true,
                "|" => reader.apart = true,
                "+" => reader.in_front = reader.specs.len(),
                token => reader.specs.push(Spec::new(token)),
            }
        }
        reader
    }

    fn line(&self, args: &[Word]) -> Line {
        let mut line = Line {
            kind: self.kind,
            given: Vec::new(),
            operands: Vec::new(),
            has_unknown: false,
            may_have_more: false,
        };
        let mut args = args.iter();
        let mut only_operands = false;
        while let Some(arg) = args.next() {
            let known = match arg {
                Word::Literal(text) | Word::Glob(text) => text,
                Word::Unknown { prefix, .. } => prefix,
            };
            if !only_operands && known == "--" && arg.literal().is_some() {
                only_operands = true;
                continue;
            }
            if only_operands || !known.starts_with('-') || arg.literal() == Some("-") {
                line.may_have_more |= !only_operands && self.may_be_more(arg);
                line.operands.push(arg.clone());
                continue;
            }
            let first = if line.operands.is_empty() {
                0
            } else {
                self.in_front
            };
            let specs = &self.specs[first..];
            if first > 0 && !is_among(specs, known) {
                line.operands.push(arg.clone());
                continue;
            }
            let read = match known.strip_prefix("--") {
                Some(long) => long_option(specs, arg, long, &mut args, &mut line.given),
                None => self.cluster(specs, arg, &known[1..], &mut args, &mut line.given),
            };
            line.has_unknown |= read.is_none() && !self.is_open;
        }
        line
    }

    /// Whether a word that only the shell knows may be an option that does more than print.
    fn may_be_more(&self, arg: &Word) -> bool {
        let does_more = |spec: &Spec| spec.role != Role::Plain || spec.trees;
        matches!(arg, Word::Unknown { .. })
            && arg.may_be_option()
            && self.specs.iter().any(does_more)
    }

    /// `None` if there is some letter that the program does not have.
    fn cluster<'a>(
        &self,
        specs: &[Spec],
        arg: &Word,
        letters: &str,
        args: &mut Rest<'a>,
        given: &mut Vec<Given>,
    ) -> Option<()> {
        let mut all_known = Some(());
        for (at, letter) in letters.char_indices() {
            let Some(spec) = specs.iter().find(|spec| spec.letters.contains(letter)) else {
                all_known = None;
                continue;
            };
            let rest = &letters[at + letter.len_utf8()..];
            let is_last = rest.is_empty() && arg.literal().is_some();
            let values: Vec<Word> = match spec.values {
                Values::None => Vec::new(),
                _ if !is_last => vec![part(arg, rest)],
                Values::Optional => Vec::new(),
                Values::Next(count) => args.take(count).cloned().collect(),
                Values::List => list(args),
            };
            if spec.values == Values::List && !is_last {
                // Whether the list goes on behind a value in the same word, the manual does not say.
                all_known = all_known.filter(|()| args.as_slice().first().is_none_or(is_option));
            }
            let takes_rest = spec.values != Values::None;
            given.push(Given {
                spec: *spec,
                letter: Some(letter),
                values,
            });
            if takes_rest {
                return all_known.filter(|()| !self.apart || is_last && at == 0);
            }
        }
        // What the shell adds to the letters is not known.
        all_known.filter(|()| arg.literal().is_some())
    }
}

/// `None` if there is no such option.
fn long_option<'a>(
    specs: &[Spec],
    arg: &Word,
    long: &str,
    args: &mut Rest<'a>,
    given: &mut Vec<Given>,
) -> Option<()> {
    let (name, value) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (long, None),
    };
    if value.is_none() && arg.literal().is_none() {
        return None;
    }
    let named = |spec: &&Spec| !name.is_empty() && spec.name.starts_with(name);
    let mut all = specs.iter().filter(named);
    let spec = match all.clone().find(|spec| spec.name == name) {
        Some(exact) => exact,
        None => all.next().filter(|_| all.next().is_none())?,
    };
    let mut values: Vec<Word> = value.map(|value| part(arg, value)).into_iter().collect();
    match spec.values {
        Values::Next(count) => {
            let missing = count.saturating_sub(values.len());
            values.extend(args.take(missing).cloned());
        }
        Values::List => values.extend(list(args)),
        Values::None | Values::Optional => {}
    }
    given.push(Given {
        spec: *spec,
        letter: None,
        values,
    });
    Some(())
}

/// The words up to the next option or to `@`, which is taken away as well.
fn list(args: &mut Rest<'_>) -> Vec<Word> {
    let ends = |arg: &Word| is_option(arg) || arg.text() == "@";
    let words = args.as_slice();
    let count = words.iter().position(ends).unwrap_or(words.len());
    let values = args.take(count).cloned().collect();
    if args.as_slice().first().is_some_and(|arg| arg.text() == "@") {
        args.next();
    }
    values
}

/// Whether a word begins as one of these options does.
fn is_among(specs: &[Spec], text: &str) -> bool {
    let long = text.strip_prefix("--").map(|long| {
        let name = long.split('=').next().unwrap_or_default();
        specs.iter().any(|spec| spec.name.starts_with(name))
    });
    long.unwrap_or_else(|| {
        let letter = text.chars().nth(1);
        letter.is_some_and(|letter| specs.iter().any(|spec| spec.letters.contains(letter)))
    })
}

/// The end of a word, which begins with what is known of it.
fn part(arg: &Word, known: &str) -> Word {
    match arg {
        Word::Literal(_) => Word::Literal(known.into()),
        Word::Glob(_) => Word::Glob(known.into()),
        Word::Unknown { text, .. } => Word::Unknown {
            prefix: known.into(),
            text: text.clone(),
        },
    }
}

impl Spec {
    fn new(token: &'static str) -> Self {
        let marks_at = token.find([':', ';', ',', '!', '*']).unwrap_or(token.len());
        let (head, marks) = token.split_at(marks_at);
        let (name, letters) = match head.strip_prefix('-') {
            Some(letters) => ("", letters),
            None => head.split_once('=').unwrap_or((head, "")),
        };
        let role = match marks.chars().next_back() {
            Some('<') => Role::Read,
            Some('>') => Role::Write,
            Some('/') => Role::PartOfName,
            Some('!') => Role::Asked,
            _ => Role::Plain,
        };
        let values = if marks.contains("::") {
            Values::Optional
        } else if marks.contains(':') {
            Values::Next(1)
        } else if marks.contains(';') {
            Values::Next(2)
        } else if marks.contains(',') {
            Values::List
        } else {
            Values::None
        };
        Self {
            name,
            letters,
            values,
            role,
            trees: marks.contains('*'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::Script;

    /// The options in full, each with its values, and the operands.
    #[track_caller]
    fn check(text: &str, options: &[&str], operands: &[&str]) {
        let script = Script::parse(text).expect("valid");
        let line = line(&script.commands[0]).expect("a row");
        let given = line.given.iter().map(|given| {
            let values = given
                .values
                .iter()
                .map(|value| format!(" {}", value.text()));
            let name = given.in_full().swap_remove(0);
            std::iter::once(name).chain(values).collect::<String>()
        });
        assert_eq!(given.collect::<Vec<_>>(), options, "{text}");
        let rest: Vec<&str> = line.operands.iter().map(Word::text).collect();
        assert_eq!(rest, operands, "{text}");
    }

    #[test]
    fn words_are_told_apart_as_getopt_does() {
        check("cp -rp a b", &["--recursive", "-p"], &["a", "b"]);
        check("cp --ar a b", &["--archive"], &["a", "b"]);
        check("cp a -S~S b", &["--suffix ~S"], &["a", "b"]);
        check(
            "tar -cf/tmp/aX /etc",
            &["--create", "--file /tmp/aX"],
            &["/etc"],
        );
        check(
            "tar cgf s a b",
            &["--create", "--listed-incremental s", "--file a"],
            &["b"],
        );
        check("tail -fn 5 x", &["-f", "--lines 5"], &["x"]);
        check("ls --color -l", &["--color", "-l"], &[]);
        check("rm -- -r", &[], &["-r"]);
        check("jq --arg x 1 .a f", &["--arg x 1"], &[".a", "f"]);
        check(
            "zip -x a b @ c.zip d -i e",
            &["--exclude a b", "--include e"],
            &["c.zip", "d"],
        );
        check("unzip -l x.zip -t", &["--list"], &["x.zip", "-t"]);
        check("unzip x.zip -l -d y", &["-d y"], &["x.zip", "-l"]);
    }

    #[test]
    fn what_no_row_has_is_not_known() {
        for text in [
            "cp --nonsense a b",
            "cp -y a b",
            "grep --no x",
            "xxd -ac 5 x",
            "unzip -l-l x.zip",
            "cat -\"$x\"",
        ] {
            let script = Script::parse(text).expect("valid");
            assert!(!script.opaque.is_empty(), "{text}");
        }
    }

    #[test]
    fn each_row_is_read() {
        for (names, _, options) in ROWS.iter().chain(ADMIN_ROWS) {
            let mut letters = String::new();
            for token in options
                .split_whitespace()
                .filter(|it| !matches!(*it, "..." | "|" | "+"))
            {
                for letter in Spec::new(token).letters.chars() {
                    assert!(!letters.contains(letter), "{names}: -{letter} twice");
                    letters.push(letter);
                }
            }
        }
    }
}
