//! `a{b,c}` and `f{1..3}`: several words that are written as one.

/// Into how many words one may turn.
const WORDS_MAX: usize = 64;

/// The words that bash makes of this one; none: it has no braces, or some that are not plain.
pub(super) fn expand(text: &str) -> Option<Vec<String>> {
    // With quotes and variables in it the braces may be part of something else.
    let plain =
        |c: char| c.is_ascii_graphic() && !"'\"\\$`<>()|&;".contains(c) || c.is_alphanumeric();
    if !text.contains('{') || !text.chars().all(plain) {
        return None;
    }
    let mut words = all(text, super::NESTING_MAX)?;
    words.retain(|word| !word.is_empty());
    Some(words)
}

fn all(text: &str, depth_left: usize) -> Option<Vec<String>> {
    let Some(open) = text.find('{') else {
        return (!text.contains('}')).then(|| vec![text.into()]);
    };
    let (before, rest) = (&text[..open], &text[open + 1..]);
    let (parts, after) = parts(rest)?;
    let depth_left = depth_left.checked_sub(1)?;
    let inside: Vec<String> = match parts.as_slice() {
        [only] => sequence(only)?,
        parts => {
            let each = parts.iter().map(|part| all(part, depth_left));
            each.collect::<Option<Vec<_>>>()?.concat()
        }
    };
    let behind = all(after, depth_left)?;
    if before.contains('}') || inside.len() * behind.len() > WORDS_MAX {
        return None;
    }
    let words = inside.iter().flat_map(|inside| {
        let behind = behind.iter();
        behind.map(move |behind| format!("{before}{inside}{behind}"))
    });
    Some(words.collect())
}

/// What stands between the commas up to the closing brace, and what stands behind that.
fn parts(text: &str) -> Option<(Vec<&str>, &str)> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&text[from..at]);
                return Some((parts, &text[at + 1..]));
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    None
}

/// `1..5` and `a..e`.
fn sequence(text: &str) -> Option<Vec<String>> {
    let (first, last) = text.split_once("..")?;
    let letter = |text: &str| {
        text.bytes()
            .next()
            .filter(|it| text.len() == 1 && it.is_ascii_lowercase())
    };
    if let (Some(first), Some(last)) = (letter(first), letter(last)) {
        let letters = (first.min(last)..=first.max(last)).map(|it| char::from(it).to_string());
        return Some(letters.collect());
    }
    // With zeros in front all of them are as long.
    let number = |text: &str| {
        let plain = text == "0" || !text.starts_with(['0', '-', '+']);
        text.parse::<i32>().ok().filter(|_| plain)
    };
    let (first, last) = (number(first)?, number(last)?);
    let numbers = first.min(last)..=first.max(last);
    let count = usize::try_from(numbers.end() - numbers.start()).ok()?;
    (count < WORDS_MAX).then(|| numbers.map(|it| it.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn words_are_those_of_bash() {
        for (text, words) in [
            ("a{,.bak}", "a a.bak"),
            ("a/{b,c}", "a/b a/c"),
            ("{a,{b,c}}d", "ad bd cd"),
            ("{a,b}{c,d}", "ac ad bc bd"),
            ("f{1..3}", "f1 f2 f3"),
            ("{c..a}", "a b c"),
            ("{,a}", "a"),
            ("*.{log,txt}", "*.log *.txt"),
            ("~/{a,b}/c", "~/a/c ~/b/c"),
        ] {
            let expanded = expand(text).map(|words| words.join(" "));
            assert_eq!(expanded.as_deref(), Some(words), "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_is_left_alone() {
        for text in [
            "a",
            "{}",
            "{a}",
            "{a",
            "a}",
            "{a,b}}",
            "}{a,b}",
            "{a,$b}",
            "\"{a,b}\"",
            "{a\\,b}",
            "{01..10}",
            "{1..9999}",
            "{1..9..2}",
            "{a..Z}",
            "{a,{b}",
        ] {
            assert_eq!(expand(text), None, "{text}");
        }
    }
}
