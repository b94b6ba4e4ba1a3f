//! Texts that somebody chose, for people.

/// As one line: a name must not look like another one, or move a cursor.
pub(crate) fn one_line(text: impl Iterator<Item = char>) -> String {
    let plain = |c: char| match c.is_control() {
        true => char::REPLACEMENT_CHARACTER,
        false => c,
    };
    text.map(plain).collect()
}
