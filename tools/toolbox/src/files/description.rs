//! What strangers wrote about a tool, made fit to be read: one line, not too long, and nothing
//! that is not seen.

/// The longest description, in characters.
const DESCRIPTION_CHARS_MAX: usize = 1_000;

/// One line of visible text.
pub(super) fn clean(text: &str) -> String {
    let visible = text.chars().filter(|c| !is_hidden(*c));
    let spaced: String = visible
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(4 * DESCRIPTION_CHARS_MAX)
        .collect();
    let line = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(DESCRIPTION_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Characters that change how others are shown, or that only programs see.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_one_visible_line() {
        assert_eq!(
            clean(" a\n\tb\u{1b}[31m\0c\u{202e}d\u{e0041} "),
            "a b [31m cd"
        );
        let long = clean(&"é".repeat(1 << 20));
        assert_eq!(long.chars().count(), DESCRIPTION_CHARS_MAX + 1);
    }
}
