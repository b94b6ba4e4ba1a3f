//! From text to words that can be compared, in any language: by Unicode's word boundaries, in
//! lower case, without diacritics.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

/// Longer words are keys and pictures; nobody looks for them.
const WORD_BYTES_MAX: usize = 64;

/// Calls back with every word. One with a dot or the like in it, such as `nginx.conf`, comes whole
/// and in its parts.
pub(crate) fn words(text: &str, mut each: impl FnMut(&str)) {
    let mut folded = String::new();
    for word in text.unicode_words() {
        if word.len() > WORD_BYTES_MAX {
            continue;
        }
        fold(word, &mut folded);
        each(&folded);
        if folded.contains(is_joint) {
            folded
                .split(is_joint)
                .filter(|part| !part.is_empty())
                .for_each(&mut each);
        }
    }
}

/// How alike two texts are: the words that both have, of all that either has.
pub(crate) fn likeness(one: &str, other: &str) -> f64 {
    let set = |text: &str| {
        let mut set = BTreeSet::new();
        words(text, |word| {
            set.insert(word.to_owned());
        });
        set
    };
    let (one, other) = (set(one), set(other));
    let both = one.intersection(&other).count();
    let all = one.len() + other.len() - both;
    both as f64 / all.max(1) as f64
}

/// Whether two texts differ in case, punctuation, white space and articles alone. The order of words
/// counts, and so does every sign of what may be a command, a path or a number.
pub(crate) fn says_the_same(one: &str, other: &str) -> bool {
    said(one).eq(said(other))
}

/// English articles and courtesies; what else may be left out of a sentence may mean something.
const EMPTY_WORDS: [&str; 4] = ["a", "an", "the", "please"];

/// What a text says, word by word.
fn said(text: &str) -> impl Iterator<Item = String> + '_ {
    let said = |word| {
        // Marks around a word, of which none means anything to a shell on its own.
        let bare = word_of(word).unwrap_or(word);
        match bare.chars().all(char::is_alphabetic) {
            true => bare.to_lowercase(),
            false => bare.to_owned(),
        }
    };
    text.split_whitespace()
        .map(said)
        .filter(|word| !EMPTY_WORDS.contains(&word.as_str()))
}

/// A word without the marks of its sentence; `None` if there is nothing else.
fn word_of(word: &str) -> Option<&str> {
    let opening: &[char] = &['(', '"', '\'', '`', '“', '„', '«', '‘'];
    let closing: &[char] = &[
        '.', ',', ';', ':', '!', ')', '"', '\'', '`', '”', '“', '»', '’',
    ];
    let bare = word.trim_start_matches(opening).trim_end_matches(closing);
    (!bare.is_empty()).then_some(bare)
}

fn is_joint(c: char) -> bool {
    !c.is_alphanumeric()
}

fn fold(word: &str, folded: &mut String) {
    folded.clear();
    if word.is_ascii() {
        folded.push_str(word);
        folded.make_ascii_lowercase();
    } else {
        let plain = word.nfkd().filter(|c| !is_combining_mark(*c));
        folded.extend(plain.flat_map(char::to_lowercase));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let mut found = Vec::new();
        words(text, |word| found.push(word.to_owned()));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn words_are_folded_in_any_language() {
        check("List BLOCK devices!", &["list", "block", "devices"]);
        check("Não há espaço", &["nao", "ha", "espaco"]);
        check("Größe Ελλάδα Привет", &["große", "ελλαδα", "привет"]);
        check("edit nginx.conf", &["edit", "nginx.conf", "nginx", "conf"]);
        check("exit_code=137", &["exit_code", "exit", "code", "137"]);
        check("", &[]);
        check(&"x".repeat(100), &[]);
    }

    #[test]
    fn what_differs_in_no_word_says_the_same() {
        for (one, other) in [
            ("The disk is full.", "the  DISK is full!"),
            ("Restart the relay, then wait.", "restart relay then wait"),
            ("Set `relayhost` in main.cf", "set relayhost in main.cf."),
            ("(see man 8 lsblk)", "see man 8 lsblk"),
            ("É só isso", "é SÓ isso."),
        ] {
            assert!(says_the_same(one, other), "{one} / {other}");
        }
    }

    #[test]
    fn one_word_can_make_another_text() {
        for (one, other) in [
            ("the port is 8080", "the port is 8081"),
            ("do restart it", "do not restart it"),
            ("it can be removed", "it can't be removed"),
            ("copy old to new", "copy new to old"),
            ("run ls -r", "run ls -R"),
            ("run rm -f x", "run rm -f x y"),
            ("edit /etc/Hosts", "edit /etc/hosts"),
            ("cp x .", "cp x"),
            ("cp x .", "cp x .."),
            ("take 1.5 of it", "take 15 of it"),
            ("use it before noon", "use it after noon"),
            ("sudo -u a", "sudo -u b"),
            ("set x=1", "set x=-1"),
            ("rm file?", "rm file"),
        ] {
            assert!(!says_the_same(one, other), "{one} / {other}");
        }
    }

    #[test]
    fn likeness_is_of_words() {
        assert!(likeness("The disk is full.", "the disk IS full") > 0.99);
        assert!(likeness("the disk is full", "the network is down") < 0.5);
        assert!(likeness("", "") < 0.1);
    }
}
