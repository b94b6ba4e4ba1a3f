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
            ".." if parts.pop().is_none() && !root.is_empty() => {
                // Above a home that isn't known: its parent may be any directory.
                return "/".into();
            }
            "" | "." | ".." => {}
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return if root.is_empty() { "/".into() } else { root };
    }
    format!("{root}/{}", parts.join("/"))
}

/// Whether a path goes up from a `~` in front: where that is, its text doesn't say.
#[must_use]
pub(crate) fn leaves_home(path: &str) -> bool {
    let mut depth = 0_usize;
    let mut names = path.split('/').skip(1);
    path.starts_with('~')
        && names.any(|name| {
            let leaves = name == ".." && depth == 0;
            match name {
                ".." => depth = depth.saturating_sub(1),
                "" | "." => {}
                _ => depth += 1,
            }
            leaves
        })
}

/// Whether some path that a shell finds by the first pattern also matches the second, which is one
/// of a policy. Too often yes rather than no: a class such as `[a-z]` counts as any letter.
#[must_use]
pub(crate) fn overlap(shell: &str, policy: &str) -> bool {
    let shell: Vec<&str> = shell.split('/').collect();
    let policy: Vec<&str> = policy.split('/').collect();
    // `reached[j]`: the names so far can be matched by the first j names of the policy's pattern.
    let mut reached = vec![false; policy.len() + 1];
    reached[0] = true;
    skip_empty(&mut reached, &policy, |name| name == "**");
    for name in shell {
        let any = |name: &str| name == "**";
        reached = step(&reached, name, &policy, any, |one, two| {
            names_overlap(one, two)
        });
    }
    reached[policy.len()]
}

/// The same for one name.
#[must_use]
pub(crate) fn names_overlap(shell: &str, policy: &str) -> bool {
    // What a shell calls `*` has no dot in front.
    if shell.starts_with(['*', '?', '[']) && policy.starts_with('.') {
        return false;
    }
    let policy = tokens(policy);
    let mut reached = vec![false; policy.len() + 1];
    reached[0] = true;
    skip_empty(&mut reached, &policy, |token| token == Token::Star);
    for token in tokens(shell) {
        let any = |token: Token| token == Token::Star;
        reached = step(&reached, token, &policy, any, |one, two| match (one, two) {
            (Token::Char(one), Token::Char(two)) => one == two,
            _ => true,
        });
    }
    reached[policy.len()]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    /// One letter of a name.
    Any,
    /// Any text within a name.
    Star,
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '[' => match class_length(chars.clone()) {
                Some(length) => {
                    chars.nth(length - 1);
                    Token::Any
                }
                None => Token::Char('['),
            },
            '{' if chars.clone().any(|c| c == '}') => {
                let _ = chars.by_ref().take_while(|c| *c != '}').count();
                Token::Star
            }
            c => Token::Char(c),
        });
    }
    out
}

/// How many characters of a class follow its `[`, the last `]` included; none: it is no class.
fn class_length(mut chars: impl Iterator<Item = char>) -> Option<usize> {
    let (mut length, mut first) = (0, true);
    // Of what stands between `[:` and `:]` no bracket ends the class.
    let mut named = None;
    let mut before = '\0';
    loop {
        let c = chars.next()?;
        length += 1;
        match (named, c) {
            (Some(kind), ']') if before == kind && length > 3 => named = None,
            (None, ']') if !first => return Some(length),
            (None, ':' | '=' | '.') if before == '[' && length > 1 => named = Some(c),
            _ => {}
        }
        // The first letter of a class may itself be a bracket, also behind `!`.
        first = first && length == 1 && matches!(c, '!' | '^');
        before = c;
    }
}

/// What may stand for nothing is passed over.
fn skip_empty<T: Copy>(reached: &mut [bool], items: &[T], any: impl Fn(T) -> bool) {
    for (at, item) in items.iter().enumerate() {
        if reached[at] && any(*item) {
            reached[at + 1] = true;
        }
    }
}

/// What is reached in the second pattern after one more item of the first.
fn step<T: Copy>(
    before: &[bool],
    item: T,
    second: &[T],
    any: impl Fn(T) -> bool,
    share: impl Fn(T, T) -> bool,
) -> Vec<bool> {
    let mut after = if any(item) {
        before.to_vec()
    } else {
        vec![false; before.len()]
    };
    for (at, other) in second.iter().enumerate() {
        let from = before[at] || (any(item) && after[at]);
        if !from {
            continue;
        }
        // The item takes one letter of `other`, which then goes on if it can stand for more.
        after[at] |= any(*other);
        after[at + 1] |= any(item) || any(*other) || share(item, *other);
    }
    skip_empty(&mut after, second, any);
    after
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
    fn going_up_from_a_home_is_found() {
        for (path, expected) in [
            ("~/..", true),
            ("~root/x/../../etc", true),
            ("~/x/..", false),
            ("~/.//x/../y", false),
            ("/a/../..", false),
        ] {
            assert_eq!(leaves_home(path), expected, "{path}");
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
            ("/work/*", "**/.*_history", false),
            ("/work/**", "**/.*_history", true),
            ("/work/.*", "**/.*_history", true),
            ("/", "/**", true),
            ("/etc/a/b", "/etc/**", true),
            ("/etc", "/etc/**", true),
            ("/etcx/a", "/etc/**", false),
            ("/a/x/b", "/a/**/b", true),
            ("/a/b", "/a/**/b", true),
            ("x*y", "xay", true),
            ("x*y", "xaz", false),
            ("*", "a/b", false),
        ] {
            assert_eq!(overlap(one, two), expected, "{one} {two}");
        }
    }
}
