//! Text of strangers, as far as it is passed on.

/// As much of a text as fits, without what could fool a terminal or a reader: control characters
/// are spaces, and what is invisible or turns text around is left out.
pub(super) fn clean(text: &str, bytes_max: usize) -> String {
    let mut cleaned = String::with_capacity(text.len().min(bytes_max));
    for char in text.chars() {
        let char = if char.is_control() { ' ' } else { char };
        if is_hidden(char) {
            continue;
        }
        if cleaned.len() + char.len_utf8() > bytes_max {
            break;
        }
        cleaned.push(char);
    }
    cleaned
}

fn is_hidden(char: char) -> bool {
    matches!(
        char,
        '\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_and_shows_all_that_it_says() {
        assert_eq!(clean("a\x1b[31m\nb\u{202e}\u{e0041}c", 100), "a [31m bc");
        assert_eq!(clean("ééé", 5), "éé");
    }
}
