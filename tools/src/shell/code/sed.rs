//! sed scripts that are known to run nothing and to write nothing.

use super::{Command, usage};

/// Whether a sed command only prints, deletes, adds and replaces lines.
pub(super) fn is_plain(command: &Command) -> bool {
    let Some(line) = usage::line(command) else {
        return false;
    };
    let mut scripts = line.values("expression");
    if scripts.is_empty() {
        scripts.extend(line.operands.first().cloned());
    }
    // A star in the suffix stands for the file's name, and may come after a path.
    let suffixes = line.values("in-place");
    let mut suffixes = suffixes.iter().map(|suffix| suffix.literal());
    !scripts.is_empty()
        && scripts
            .iter()
            .all(|script| script.literal().is_some_and(script_is_plain))
        && suffixes.all(|suffix| suffix.is_some_and(|it| !it.contains(['/', '*'])))
}

fn script_is_plain(script: &str) -> bool {
    let mut rest = script;
    loop {
        rest = match command(rest.trim_start_matches([' ', ';'])) {
            Some("") => return true,
            Some(after) if after.starts_with([';', '\n']) => &after[1..],
            _ => return false,
        };
    }
}

/// What stands behind one command with its addresses; none: it is not known what that does.
fn command(text: &str) -> Option<&str> {
    let mut rest = address(text)?;
    if let Some(second) = rest.strip_prefix(',') {
        rest = address(second.trim_start_matches([' ', '+', '~']))?;
    }
    rest = rest.trim_start_matches([' ', '!']);
    let name = rest.chars().next()?;
    let after = &rest[name.len_utf8()..];
    let after = match name {
        's' => {
            let delimiter = delimiter(after)?;
            let replacement = pattern(&after[1..], delimiter)?;
            let flags = part(replacement, delimiter)?.1;
            flags.trim_start_matches(|c: char| "gpIi0123456789".contains(c))
        }
        'y' => {
            let delimiter = delimiter(after)?;
            part(part(&after[1..], delimiter)?.1, delimiter)?.1
        }
        // What follows is a text, up to the end.
        'a' | 'i' | 'c' if !after.contains(['\n', '\\']) && !after.trim().is_empty() => "",
        'p' | 'd' | 'D' | 'n' | 'N' | 'g' | 'G' | 'h' | 'H' | 'x' | '=' | 'l' => after,
        'q' | 'Q' => after.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()),
        _ => return None,
    };
    Some(after.trim_start_matches(' '))
}

/// What stands behind an address, if there is one: a line, the last one, or a pattern.
fn address(text: &str) -> Option<&str> {
    if let Some(text) = text.strip_prefix('/') {
        return Some(pattern(text, '/')?.trim_start_matches('I'));
    }
    Some(text.trim_start_matches(|c: char| c.is_ascii_digit() || "$~".contains(c)))
}

fn delimiter(text: &str) -> Option<char> {
    text.chars().next().filter(|c| "/|#,:@_!%".contains(*c))
}

/// What stands behind a regular expression. It ends at the delimiter, except that some think it does
/// not end between brackets: where it may be between them, it is not known.
fn pattern(text: &str, delimiter: char) -> Option<&str> {
    let (pattern, rest) = part(text, delimiter)?;
    let mut plain = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            c => plain.push(c),
        }
    }
    let is_closed = plain.matches('[').count() == plain.matches(']').count();
    (is_closed && !plain.contains("[]") && !plain.contains("[^]")).then_some(rest)
}

/// A text up to the next delimiter without a backslash before it, and what stands behind that.
fn part(text: &str, delimiter: char) -> Option<(&str, &str)> {
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\n' => return None,
            '\\' => drop(chars.next().filter(|(_, c)| *c != '\n')?),
            c if c == delimiter => return Some((&text[..at], &text[at + c.len_utf8()..])),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::script_is_plain;

    #[test]
    fn scripts_that_only_change_the_text_are_plain() {
        for script in [
            "p",
            "1,20p",
            "$p",
            "$!d",
            "/a/,/b/p",
            "/a/,+3d",
            "0~2p",
            "/^#/d",
            "/^$/d;/^#/d",
            "s/[0-9]*/N/g",
            "s/[[:space:]]*$//",
            r"s/\[x\]/\/y/2p",
            "s|/a/b|/c|; s#x#y#",
            "5q",
            "$a a line; w x",
            "y/abc/ABC/",
            "/error/I!d",
            "$=",
        ] {
            assert!(script_is_plain(script), "{script}");
        }
    }

    #[test]
    fn scripts_that_write_or_run_are_not() {
        for script in [
            "",
            "e",
            "1e id",
            "w x",
            "/a/w x",
            "s/a/id/e",
            "s/a/b/w x",
            "s/a/b/gw x",
            "s/[/]/w x/e",
            "s/[]/]/e;s/x/y/",
            "s/[[:alpha:]/]/x/;1e id",
            "p;e id",
            "p\ne id",
            "p\n;w x",
            "a\\\ne id",
            "a x\ne id",
            "r /etc/shadow",
            "R x",
            "W x",
            "{p;e id}",
            "s/a/\\\n/;e id",
            "/a/,/b/e id",
            "1!e id",
            "s\nx\ny\ne",
            "p }",
            "F",
            "b;e id",
            "v",
        ] {
            assert!(!script_is_plain(script), "{script:?}");
        }
    }
}
