//! Where the options of a program end and the command that it runs begins.

use super::Word;

/// The options of one program, complete enough to find what comes after them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    /// Letters without a value.
    pub(super) flags: &'static str,
    /// Letters whose value follows, in the same word or the next.
    pub(super) values: &'static str,
    /// Long names without a value, without the dashes.
    pub(super) long_flags: &'static [&'static str],
    /// Long names with a value, after `=` or in the next word.
    pub(super) long_values: &'static [&'static str],
    /// Words between the options and the command, such as the duration of `timeout`.
    pub(super) positionals: usize,
    /// Whether `NAME=value` may stand before the command.
    pub(super) assignments: bool,
}

/// No options at all.
pub(super) const NONE: Options = Options {
    flags: "",
    values: "",
    long_flags: &[],
    long_values: &[],
    positionals: 0,
    assignments: false,
};

impl Options {
    /// The index of the first word that belongs to the command; `None` if it can't be told.
    pub(super) fn end(&self, args: &[Word]) -> Option<usize> {
        let mut at = 0;
        while let Some(arg) = args.get(at) {
            let Some(text) = arg.literal() else {
                // An unknown word may be an option, and the next word its value.
                return None;
            };
            if text == "--" {
                at += 1;
                break;
            }
            match self.width(text) {
                Some(0) => break,
                Some(width) => at += width,
                None => return None,
            }
        }
        at += self.positionals;
        while self.assignments && args.get(at).is_some_and(is_assignment) {
            at += 1;
        }
        (at <= args.len()).then_some(at)
    }

    /// How many words an option takes: 0 if it is none, `None` if it is not known.
    fn width(&self, text: &str) -> Option<usize> {
        if let Some(long) = text.strip_prefix("--") {
            return self.long_width(long);
        }
        let Some(letters) = text.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            return Some(0);
        };
        for (place, letter) in letters.char_indices() {
            if self.values.contains(letter) {
                let value_is_here = place + letter.len_utf8() < letters.len();
                return Some(if value_is_here { 1 } else { 2 });
            }
            if !self.flags.contains(letter) {
                return None;
            }
        }
        Some(1)
    }

    fn long_width(&self, long: &str) -> Option<usize> {
        match long.split_once('=') {
            Some((name, _)) => self.long_values.contains(&name).then_some(1),
            None if self.long_flags.contains(&long) => Some(1),
            None => self.long_values.contains(&long).then_some(2),
        }
    }
}

/// Whether a word has the form `NAME=value`.
pub(super) fn is_assignment(word: &Word) -> bool {
    let Some((name, _)) = word.text().split_once('=') else {
        return false;
    };
    !name.is_empty() && !name.starts_with('-') && !name.contains('/')
}
