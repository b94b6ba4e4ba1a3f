//! Paths as text: resolved without looking at the disk, and compared as patterns.

/// Resolves `.`, `..`, `//` and the directory it starts in. A `~` in front stays, since whose home
/// it is depends on who runs the command.
#[must_use]
pub(crate) fn lexical(cwd: &str, path: &str) -> String {
    let absolute = path.starts_with(['/', '~']);
    let whole = if absolute {
        path.to_owned()
    } else {
        format!("{cwd}/{path}")
    };
    let (root, rest) = match whole.strip_prefix('~') {
        Some(rest) => {
            let (user, rest) = rest.split_once('/').unwrap_or((rest, ""));
            (format!("~{user}"), rest.to_owned())
        }
        None => (String::new(), whole),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() && !root.is_empty() => {
                // Above a home that isn't known: its parent may be any directory.
                return "/".into();
            }
            ".." => {}
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return if root.is_empty() { "/".into() } else { root };
    }
    format!("{root}/{}", parts.join("/"))
}

/// Whether some path matches both patterns. Too often yes rather than no: a class such as `[a-z]`
/// counts as any letter.
#[must_use]
pub(crate) fn overlap(one: &str, two: &str) -> bool {
    let (one, two) = (tokens(one), tokens(two));
    // `reached[j]`: the first i tokens of `one` and the first j of `two` can match the same text.
    let mut reached = vec![false; two.len() + 1];
    reached[0] = true;
    skip_empty(&mut reached, &two);
    for token in &one {
        reached = step(&reached, *token, &two);
    }
    reached[two.len()]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    /// One letter of a name.
    Any,
    /// Any text within a name.
    Star,
    /// Any text.
    Tree,
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(match c {
            '*' if chars.next_if_eq(&'*').is_some() => Token::Tree,
            '*' => Token::Star,
            '?' => Token::Any,
            '[' if chars.clone().any(|c| c == ']') => {
                // The first letter of a class may itself be a bracket.
                chars.next();
                let _ = chars.by_ref().take_while(|c| *c != ']').count();
                Token::Any
            }
            '{' => {
                let _ = chars.by_ref().take_while(|c| *c != '}').count();
                Token::Star
            }
            c => Token::Char(c),
        });
    }
    out
}

/// A star may stand for nothing.
fn skip_empty(reached: &mut [bool], tokens: &[Token]) {
    for (at, token) in tokens.iter().enumerate() {
        if reached[at] && matches!(token, Token::Star | Token::Tree) {
            reached[at + 1] = true;
        }
    }
}

/// What is reached after one more token of the first pattern.
fn step(before: &[bool], token: Token, two: &[Token]) -> Vec<bool> {
    let star = matches!(token, Token::Star | Token::Tree);
    let mut after = if star {
        before.to_vec()
    } else {
        vec![false; before.len()]
    };
    for (at, other) in two.iter().enumerate() {
        let from = before[at] || (star && after[at]);
        if from && share(token, *other) {
            after[at + 1] = true;
            if matches!(other, Token::Star | Token::Tree) {
                after[at] = true;
            }
        }
    }
    skip_empty(&mut after, two);
    after
}

/// Whether one letter can be in both.
fn share(one: Token, two: Token) -> bool {
    match (one, two) {
        (Token::Char(a), Token::Char(b)) => a == b,
        (Token::Char('/'), other) | (other, Token::Char('/')) => other == Token::Tree,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved() {
        for (path, expected) in [
            ("//etc/./passwd", "/etc/passwd"),
            ("/a/../..", "/"),
            ("x/../y", "/work/y"),
            ("../etc", "/etc"),
            ("~/x/..", "~"),
            ("~/..", "/"),
            ("~root/a", "~root/a"),
            (".", "/work"),
        ] {
            assert_eq!(lexical("/work", path), expected, "{path}");
        }
    }

    #[test]
    fn patterns_overlap() {
        for (one, two, expected) in [
            ("/etc/*", "/etc/shadow", true),
            ("/etc/s*", "/etc/shadow", true),
            ("/etc/p*", "/etc/shadow", false),
            ("/home/*", "**/.ssh/id_*", false),
            ("/home/u/.ssh/*", "**/.ssh/id_*", true),
            ("/home/**", "**/.ssh/id_*", true),
            ("/etc/[a-z]hadow", "/etc/shadow", true),
            ("/var/log/*.log", "/etc/**", false),
            ("/e*/sh?dow", "/etc/shadow", true),
            ("", "", true),
            ("*", "a/b", false),
        ] {
            assert_eq!(overlap(one, two), expected, "{one} {two}");
            assert_eq!(overlap(two, one), expected, "{two} {one}");
        }
    }
}
