//! Variables that a script calculates with. The shell evaluates what they hold, so that each must be
//! known to be a number: `i=$((i+1))` is harmless where nothing gives `i` a text.

use super::{Command, Word};

/// Builtins that give a variable what they read, by names that may be anywhere in their words.
const READING: &[&str] = &["read", "wait", "getopts", "mapfile", "readarray", "select"];

#[derive(Debug, Default)]
pub(super) struct Numbers {
    used: Vec<String>,
    /// Variables that hold a text somewhere.
    texts: Vec<String>,
    /// Words in which any variable may be named.
    reading: Vec<String>,
}

impl Numbers {
    pub(super) fn uses(&mut self, name: &str) {
        self.used.push(name.into());
    }

    pub(super) fn is_text(&mut self, name: &str) {
        self.texts.push(name.into());
    }

    /// A variable that has one of these values.
    pub(super) fn has_values(&mut self, name: &str, values: &[Word]) {
        if !values.iter().all(|value| is_number(value.literal())) {
            self.is_text(name);
        }
    }

    /// What a command does with variables: any may hand `NAME=value` on to a shell.
    pub(super) fn command(&mut self, command: &Command) {
        let words = command.args.iter().map(Word::text);
        let prints_into =
            command.name() == "printf" && words.clone().any(|it| it.starts_with("-v"));
        if READING.contains(&command.name()) || prints_into {
            self.reading.extend(words.map(str::to_owned));
            return;
        }
        for arg in &command.args {
            if let Some((name, value)) = arg.text().split_once('=')
                && !is_number(arg.literal().map(|_| value))
            {
                self.is_text(name.trim_end_matches('+'));
            }
        }
    }

    /// The first that may hold something else than a number.
    pub(super) fn unclear(&self) -> Option<&str> {
        let may_be_text = |name: &&String| {
            self.texts.contains(name) || self.reading.iter().any(|word| word.contains(*name))
        };
        self.used.iter().find(may_be_text).map(String::as_str)
    }

    pub(super) fn used(self) -> Vec<String> {
        self.used
    }
}

/// Whether a value that is known is a whole number.
pub(crate) fn is_number(value: Option<&str>) -> bool {
    value.is_some_and(|text| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
    })
}
