//! The pieces of a word, found in one pass.
//!
//! The parser's own reader of words tries many readings at each bracket, and its time grows
//! exponentially with them: a stranger's text of a few hundred bytes would keep it busy for years.
//! Here every byte is looked at a bounded number of times and nothing is tried twice.

/// How deep quotes and brackets in a word may be nested.
const DEPTH_MAX: usize = 2 * super::NESTING_MAX;

/// A part of a word.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// Without quotes, or between double quotes.
    Text(&'a str),
    Single(&'a str),
    /// `$'...'`, with its escapes.
    AnsiC(&'a str),
    Double(Vec<Part<'a>>),
    /// `$"..."`.
    Gettext(Vec<Part<'a>>),
    /// The name of the user, or nothing.
    Tilde(&'a str),
    /// `$name`, `${name}`.
    Variable(&'a str),
    /// Any other expansion of a parameter.
    Parameter {
        /// `${name:1:2}`, whose numbers are evaluated.
        substring: bool,
    },
    Command(&'a str),
    /// With its escapes.
    Backquoted(&'a str),
    /// The character after the backslash.
    Escape(&'a str),
    Arithmetic(&'a str),
}

/// A piece with the text that it was written as.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) piece: Piece<'a>,
    pub(super) source: &'a str,
}

/// The pieces of a word; `None` where quotes or brackets don't end, are nested too deep, or shells
/// differ.
pub(super) fn pieces(word: &str) -> Option<Vec<Part<'_>>> {
    let mut lexer = Lexer {
        text: word,
        at: 0,
        depth: 0,
    };
    let mut parts = Vec::new();
    if let Some(rest) = word.strip_prefix('~') {
        let end = rest.find(['/', ':', ';']).unwrap_or(rest.len());
        lexer.at = 1 + end;
        parts.push(Part {
            piece: Piece::Tilde(&rest[..end]),
            source: &word[..=end],
        });
    }
    lexer.parts(false, &mut parts)?;
    Some(parts)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Lexer<'a> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The text from a place up to the character before this one, which is a closing one.
    fn before_closing(&self, from: usize) -> Option<&'a str> {
        self.text.get(from..self.at.checked_sub(1)?)
    }

    /// Reads up to the end, or past the closing double quote.
    fn parts(&mut self, quoted: bool, parts: &mut Vec<Part<'a>>) -> Option<()> {
        loop {
            let from = self.at;
            let Some(byte) = self.peek(0) else {
                return (!quoted).then_some(());
            };
            if quoted && byte == b'"' {
                self.at += 1;
                return Some(());
            }
            let piece = self.piece(byte, quoted)?;
            let source = self.text.get(from..self.at)?;
            parts.push(Part { piece, source });
        }
    }

    fn piece(&mut self, byte: u8, quoted: bool) -> Option<Piece<'a>> {
        match (byte, self.peek(1)) {
            (b'"', _) => {
                self.at += 1;
                self.double().map(Piece::Double)
            }
            (b'\'', _) if !quoted => {
                self.at += 1;
                let from = self.at;
                self.past_single()?;
                self.before_closing(from).map(Piece::Single)
            }
            (b'`', _) => {
                self.at += 1;
                let from = self.at;
                self.past_unescaped(b'`')?;
                self.before_closing(from).map(Piece::Backquoted)
            }
            (b'\\', Some(next)) if !quoted || b"$`\"\\".contains(&next) => {
                self.at += 1;
                let escaped = self.rest().chars().next()?;
                let from = self.at;
                self.at += escaped.len_utf8();
                self.text.get(from..self.at).map(Piece::Escape)
            }
            (b'$', next) => self.dollar(next, quoted),
            _ => {
                let rest = self.rest();
                // What this piece begins with is text, whatever it is.
                let first = rest.chars().next()?.len_utf8();
                let ends: &[char] = match quoted {
                    true => &['"', '`', '$', '\\'],
                    false => &['"', '`', '$', '\\', '\''],
                };
                let length = rest[first..]
                    .find(ends)
                    .map_or(rest.len(), |found| first + found);
                self.at += length;
                Some(Piece::Text(&rest[..length]))
            }
        }
    }

    fn double(&mut self) -> Option<Vec<Part<'a>>> {
        let mut parts = Vec::new();
        self.parts(true, &mut parts)?;
        Some(parts)
    }

    fn dollar(&mut self, next: Option<u8>, quoted: bool) -> Option<Piece<'a>> {
        match next {
            Some(b'(') => self.command(),
            Some(b'{') => {
                self.at += 2;
                let from = self.at;
                self.past(b'}', quoted)?;
                parameter(self.before_closing(from)?)
            }
            Some(b'\'') if !quoted => {
                self.at += 2;
                let from = self.at;
                self.past_unescaped(b'\'')?;
                self.before_closing(from).map(Piece::AnsiC)
            }
            Some(b'"') if !quoted => {
                self.at += 2;
                self.double().map(Piece::Gettext)
            }
            Some(b'0'..=b'9' | b'@' | b'*' | b'#' | b'?' | b'-' | b'$' | b'!') => {
                self.at += 2;
                Some(Piece::Parameter { substring: false })
            }
            // Old arithmetic; it must not fall apart, so that it is found.
            Some(b'[') => {
                self.at += 2;
                Some(Piece::Text("$["))
            }
            _ => {
                self.at += 1;
                let rest = self.rest();
                let name = &rest[..name_length(rest)];
                if name.is_empty() {
                    return Some(Piece::Text("$"));
                }
                self.at += name.len();
                Some(Piece::Variable(name))
            }
        }
    }

    /// `$(...)`, or `$((...))` where the inner parentheses are closed right before the outer ones.
    fn command(&mut self) -> Option<Piece<'a>> {
        self.at += 2;
        let from = self.at;
        if self.peek(0) == Some(b'(') {
            self.at += 1;
            self.past(b')', false)?;
            if self.peek(0) == Some(b')') {
                let inner = self.before_closing(from + 1)?;
                self.at += 1;
                return Some(Piece::Arithmetic(inner));
            }
        }
        self.past(b')', false)?;
        self.before_closing(from).map(Piece::Command)
    }

    fn past_single(&mut self) -> Option<()> {
        self.at += self.rest().find('\'')? + 1;
        Some(())
    }

    fn past_unescaped(&mut self, end: u8) -> Option<()> {
        loop {
            let byte = self.peek(0)?;
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == end {
                return Some(());
            }
        }
    }

    /// Goes past the closing character of what was just opened.
    fn past(&mut self, close: u8, quoted: bool) -> Option<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let inside = close == b'"';
        loop {
            let byte = self.peek(0)?;
            self.at += 1;
            match byte {
                _ if byte == close => break,
                b'\\' => self.at += 1,
                // Shells differ in whether this one is a quote.
                b'\'' if quoted => return None,
                b'\'' if !inside => self.past_single()?,
                b'"' => self.past(b'"', false)?,
                b'`' => self.past_unescaped(b'`')?,
                b'(' if close == b')' => self.past(b')', false)?,
                b'$' => match self.peek(0) {
                    Some(b'(') => {
                        self.at += 1;
                        self.past(b')', false)?;
                    }
                    Some(b'{') => {
                        self.at += 1;
                        self.past(b'}', inside || quoted)?;
                    }
                    Some(b'\'') if !inside && !quoted => {
                        self.at += 1;
                        self.past_unescaped(b'\'')?;
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        self.depth -= 1;
        Some(())
    }
}

/// What stands between `${` and `}`; `None` for what no shell knows.
fn parameter(inside: &str) -> Option<Piece<'_>> {
    let name = name_length(inside);
    if name > 0 && name == inside.len() {
        return Some(Piece::Variable(inside));
    }
    let plain = Piece::Parameter { substring: false };
    // `${#name}` is a length, `${!name}` looks elsewhere, and `${#}` is a parameter itself.
    let rest = match inside.strip_prefix(['#', '!']) {
        Some("") => return Some(plain),
        Some(rest) => rest,
        None => inside,
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let special = usize::from(rest.starts_with(['@', '*', '#', '?', '-', '$', '!']));
    let length = name_length(rest).max(digits).max(special);
    if length == 0 {
        return None;
    }
    if inside.starts_with('#') && rest.len() < inside.len() && length < rest.len() {
        return None;
    }
    let mut after = rest[length..].chars();
    let substring = match (after.next(), after.next()) {
        (None, _) | (Some('-' | '=' | '?' | '+' | '%' | '#' | '/' | '^' | ',' | '@' | '['), _) => {
            false
        }
        (Some(':'), next) => !matches!(next, Some('-' | '=' | '?' | '+')),
        _ => return None,
    };
    Some(Piece::Parameter { substring })
}

/// How long the name is that a text begins with.
fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}
