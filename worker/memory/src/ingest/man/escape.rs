//! Roff's escapes: from `\fB\-a\fR` to `-a`.

use std::collections::HashMap;
use std::iter::Peekable;
use std::str::Chars;

/// A text without its escapes.
pub(super) fn plain(text: &str, strings: &HashMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                if escape(&mut chars, strings, &mut out).is_none() {
                    break;
                }
            }
            '\t' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// The rest of a request before its comment.
pub(super) fn without_comment(rest: &str) -> &str {
    rest.split_once("\\\"")
        .map_or(rest, |(before, _)| before)
        .trim_end()
}

/// A condition, and what it decides about.
pub(super) fn condition(rest: &str) -> (&str, &str) {
    // Two texts that are compared are apart by any sign; nothing of that is ever true here.
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let end = rest.find("\\{").map_or(end, |brace| brace.min(end));
    rest.split_at(end)
}

/// One escape, after its backslash; `None` if the rest of the line is no text.
fn escape(
    chars: &mut Peekable<Chars<'_>>,
    strings: &HashMap<String, String>,
    out: &mut String,
) -> Option<()> {
    match chars.next()? {
        '"' | '#' => return None,
        'f' | 'F' | 'm' | 'M' | 'g' | 'k' | 'n' | 'V' | 'Y' => drop(name(chars)),
        's' => size(chars),
        '*' => {
            let name = name(chars);
            out.push_str(
                strings
                    .get(&name)
                    .map_or(known_string(&name), String::as_str),
            );
        }
        '(' => out.push_str(special(&chars.by_ref().take(2).collect::<String>())),
        '[' => out.push_str(special(&until(chars, ']'))),
        'C' => {
            let name = quoted(chars);
            out.push_str(special(&name));
        }
        'h' | 'v' | 'w' | 'o' | 'D' | 'l' | 'L' | 'b' | 'H' | 'S' | 'N' | 'x' | 'X' | 'A' | 'Z'
        | 'R' | 'B' => drop(quoted(chars)),
        'e' | '\\' => out.push('\\'),
        ' ' | '~' | '0' | 't' => out.push(' '),
        '&' | '|' | '^' | '%' | ':' | '/' | ',' | ')' | 'c' | 'p' | 'd' | 'u' | 'r' | 'a' | '{'
        | '}' | '!' => {}
        other => out.push(other),
    }
    Some(())
}

/// A name of one sign, of two after `(`, or of any number in brackets.
fn name(chars: &mut Peekable<Chars<'_>>) -> String {
    // A number register's may be counted up or down first.
    while chars.next_if(|c| matches!(c, '+' | '-')).is_some() {}
    match chars.next() {
        Some('(') => chars.by_ref().take(2).collect(),
        Some('[') => until(chars, ']'),
        Some(c) => c.into(),
        None => String::new(),
    }
}

fn size(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| matches!(c, '+' | '-')).is_some() {}
    match chars.next() {
        Some('(') => drop(chars.by_ref().take(2).count()),
        Some('[') => drop(until(chars, ']')),
        Some('\'') => drop(until(chars, '\'')),
        // Sizes of two digits begin with 1, 2 or 3.
        Some('1'..='3') => drop(chars.next_if(char::is_ascii_digit)),
        _ => {}
    }
}

/// What stands between two of the same sign.
fn quoted(chars: &mut Peekable<Chars<'_>>) -> String {
    chars
        .next()
        .map(|sign| until(chars, sign))
        .unwrap_or_default()
}

fn until(chars: &mut Peekable<Chars<'_>>, end: char) -> String {
    chars.by_ref().take_while(|c| *c != end).collect()
}

fn known_string(name: &str) -> &'static str {
    match name {
        "R" => "®",
        "Tm" => "™",
        "lq" | "rq" | "q" => "\"",
        "Aq" => "'",
        _ => "",
    }
}

fn special(name: &str) -> &'static str {
    match name {
        "aq" | "cq" | "oq" => "'",
        "dq" | "lq" | "rq" | "Bq" => "\"",
        "em" | "en" | "hy" | "mi" => "-",
        "bu" => "•",
        "co" => "©",
        "rg" => "®",
        "tm" => "™",
        "ti" | "ap" => "~",
        "ha" | "a^" => "^",
        "ga" => "`",
        "aa" => "´",
        "rs" => "\\",
        "sl" => "/",
        "ba" | "or" | "bv" => "|",
        "lB" => "[",
        "rB" => "]",
        "lC" => "{",
        "rC" => "}",
        "la" => "<",
        "ra" => ">",
        "<=" => "<=",
        ">=" => ">=",
        "!=" => "!=",
        "->" => "->",
        "<-" => "<-",
        "at" => "@",
        "sh" => "#",
        "Do" => "$",
        "pl" => "+",
        "mu" => "x",
        "+-" => "±",
        "de" => "°",
        "sc" => "§",
        "ss" => "ß",
        ":a" => "ä",
        ":o" => "ö",
        ":u" => "ü",
        ":A" => "Ä",
        ":O" => "Ö",
        ":U" => "Ü",
        "'e" => "é",
        "`e" => "è",
        "'a" => "á",
        ",c" => "ç",
        "~n" => "ñ",
        "~a" => "ã",
        "Eu" | "eu" => "€",
        "Po" => "£",
        _ => "",
    }
}
