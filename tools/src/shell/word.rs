//! A word of a command, as the program would get it.

use super::Opaque;
use super::lex::{Part, Piece, pieces};

/// An argument, as far as it can be known before the command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Exactly this text; a `~` or `$HOME` in front stays `~`.
    Literal(String),
    /// The names of files that match this pattern.
    Glob(String),
    /// Something that begins with this text; it may also be several words, or none.
    Unknown {
        /// What is known of its beginning.
        prefix: String,
        /// As it was written.
        text: String,
    },
}

impl Word {
    /// The text, with patterns and unknown parts as they were written.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Literal(text) | Self::Glob(text) | Self::Unknown { text, .. } => text,
        }
    }

    /// The text, if it is known.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Glob(_) | Self::Unknown { .. } => None,
        }
    }

    /// Whether the program may read it as an option that is not written here: `*` also means a
    /// file that is called `-rf`.
    #[must_use]
    pub fn may_be_option(&self) -> bool {
        match self {
            Self::Literal(text) => text.starts_with('-'),
            Self::Glob(pattern) => pattern.starts_with(['*', '?', '[', '-']),
            Self::Unknown { prefix, .. } => prefix.is_empty() || prefix.starts_with('-'),
        }
    }
}

/// A variable that has one of the values of a loop.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) name: String,
    pub(super) value: Word,
}

/// What came of one word of the text.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    bound: Option<Bound>,
    /// Whether that variable is a part of the word.
    pub(super) uses_bound: bool,
    known: String,
    glob: bool,
    bracket: bool,
    /// Whether the last piece was a lone `$`.
    dollar: bool,
    /// How much of `known` stood before the first unknown part.
    unknown_from: Option<usize>,
    /// Whether it has a `$'...'`.
    pub(super) ansi_c: bool,
    /// Whether it is the result of a calculation and nothing else.
    pub(super) is_number: bool,
    /// The names in calculations, and whether one may get a value there.
    pub(super) numbers: Vec<(String, bool)>,
    /// Command texts that the shell runs to make the word.
    pub(super) substitutions: Vec<String>,
    pub(super) opaque: Vec<Opaque>,
}

/// Resolves a word as it stands in the text.
pub(super) fn resolve(raw: &str, bound: Option<&Bound>) -> (Word, Resolved) {
    let mut resolved = Resolved {
        bound: bound.cloned(),
        ..Resolved::default()
    };
    match pieces(raw) {
        Some(parts) => {
            resolved.parts(raw, &parts, false);
            resolved.braces(&parts);
            resolved.is_number =
                matches!(parts.as_slice(), [only] if matches!(only.piece, Piece::Arithmetic(_)));
        }
        None => resolved.unclear("a word that can't be parsed", raw),
    }
    (resolved.word(raw), resolved)
}

impl Resolved {
    fn word(&self, raw: &str) -> Word {
        match self.unknown_from {
            Some(from) => Word::Unknown {
                prefix: self.known[..from].into(),
                text: raw.into(),
            },
            None if self.glob => Word::Glob(self.known.clone()),
            None => Word::Literal(self.known.clone()),
        }
    }

    fn unknown(&mut self) {
        self.unknown_from.get_or_insert(self.known.len());
    }

    fn unclear(&mut self, reason: &'static str, text: &str) {
        self.unknown();
        self.opaque.push(Opaque::new(reason, text));
    }

    fn parts(&mut self, raw: &str, parts: &[Part<'_>], quoted: bool) {
        for part in parts {
            if std::mem::take(&mut self.dollar) {
                self.unclear("a `$` with an unusual meaning", raw);
            }
            self.piece(raw, part.source, &part.piece, quoted);
        }
    }

    fn piece(&mut self, raw: &str, source: &str, piece: &Piece<'_>, quoted: bool) {
        match piece {
            Piece::Text(text) if quoted => self.quoted(text),
            Piece::Text(text) => self.unquoted(text),
            Piece::Single(text) => self.known += text,
            Piece::AnsiC(text) => {
                self.ansi_c = true;
                match ansi_c(text) {
                    Some(text) => self.known += &text,
                    None => {
                        self.unclear("an escape in $'...' that shells read differently", source);
                    }
                }
            }
            Piece::Double(parts) => self.parts(raw, parts, true),
            Piece::Gettext(parts) => {
                self.parts(raw, parts, true);
                self.unclear("a text that the shell translates", source);
            }
            Piece::Tilde(user) => self.tilde(user, source),
            // The one variable whose value matters to the blocked patterns.
            Piece::Variable("HOME") if self.known.is_empty() => self.known.push('~'),
            Piece::Variable(name) => self.variable(name, quoted),
            Piece::Parameter { substring } => self.parameter(*substring, source),
            Piece::Command(text) => self.substitution((*text).into(), source),
            Piece::Backquoted(text) => self.substitution(unescape_backquoted(text), source),
            // An escaped newline joins two lines and is nothing itself.
            Piece::Escape(text) => self.known += text.trim_start_matches('\n'),
            Piece::Arithmetic(expression) => {
                self.unknown();
                match arithmetic(expression) {
                    Ok(names) => self.numbers.extend(names),
                    Err(opaque) => self.opaque.push(opaque),
                }
            }
        }
    }

    fn unquoted(&mut self, text: &str) {
        // A word ends at each of these, so that one inside it means that the parser lost count.
        if text.contains(|c: char| c.is_whitespace() || "()<>|&;".contains(c)) {
            return self.unclear("a word that shells split differently", text);
        }
        self.dollar = text == "$";
        if text.trim_end_matches('$').contains('$') {
            return self.unclear("a `$` with an unusual meaning", text);
        }
        self.bracket |= text.contains('[');
        self.glob |= text.contains(['*', '?']) || (self.bracket && text.contains(']'));
        self.known += text;
    }

    fn quoted(&mut self, text: &str) {
        if text.contains("$[") {
            return self.unclear("a `$` with an unusual meaning", text);
        }
        // An escaped newline joins two lines, also between double quotes.
        self.known += &text.replace("\\\n", "");
    }

    fn tilde(&mut self, user: &str, source: &str) {
        // The parser takes everything up to a slash, quotes and substitutions included.
        let named = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if user.starts_with('-') || !user.chars().all(named) {
            return self.unclear("a directory that only the shell knows", source);
        }
        self.known.push('~');
        self.known += user;
    }

    fn substitution(&mut self, text: String, source: &str) {
        // Where these are, the end of the substitution may be found too early.
        if text.contains(['#', '\n']) || text.contains("<<") || text.contains("case") {
            self.unclear(
                "a substitution with a comment, here-document or case",
                source,
            );
        }
        self.unknown();
        self.substitutions.push(text);
    }

    fn variable(&mut self, name: &str, quoted: bool) {
        // Without quotes the shell splits a value, and takes it for a pattern.
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
        let Some(bound) = self.bound.as_ref().filter(|bound| bound.name == name) else {
            return self.unknown();
        };
        self.uses_bound = true;
        match &bound.value {
            Word::Literal(text) if quoted || text.chars().all(plain) => self.known += text,
            Word::Glob(pattern) if quoted => {
                self.known += pattern;
                self.glob = true;
            }
            _ => self.unknown(),
        }
    }

    fn parameter(&mut self, substring: bool, source: &str) {
        if substring || source.contains(['`', '(', '[', '!', '@', '=']) {
            // Subscripts, offsets, defaults and `@P` are evaluated, so they can run commands.
            self.unclear("an expansion that may run commands", source);
        } else {
            self.unknown();
        }
    }

    /// `{a,b}` and `{1..9}` are several words.
    fn braces(&mut self, parts: &[Part<'_>]) {
        let text: String = parts
            .iter()
            .filter_map(|part| match part.piece {
                Piece::Text(text) => Some(text),
                _ => None,
            })
            .collect();
        let open = text.find('{');
        let close = text.rfind('}');
        if let (Some(open), Some(close)) = (open, close)
            && open < close
            && (text[open..close].contains(',') || text[open..close].contains(".."))
        {
            self.unknown_from = Some(0);
        }
    }
}

/// The names in an arithmetic expression, and whether they may get a value in it. A name is evaluated
/// as an expression again, and a subscript in that may run commands: `x='a[$(id)]'; echo $((x))`. So
/// whoever asks must know that each is a number. What else an expression may have is unclear.
pub(super) fn arithmetic(expression: &str) -> Result<Vec<(String, bool)>, Opaque> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_ +-*/%()<>=!&|^~?:,\t\n".contains(c);
    // `$x` is the text of the value, and so what it is as a name.
    let mut text = String::new();
    let mut chars = expression.chars().peekable();
    while let Some(c) = chars.next() {
        let is_dollar = c == '$' && chars.peek().is_some_and(char::is_ascii_lowercase);
        if !is_dollar {
            text.push(c);
        }
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    let mut names = words.filter(|word| word.starts_with(|c: char| !c.is_ascii_digit()));
    // Those in capitals are the shell's.
    let small = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && !word.contains(|c: char| c.is_ascii_uppercase())
    };
    if !text.chars().all(plain) || !names.clone().all(small) {
        return Err(Opaque::new(
            "arithmetic with names in it, which the shell evaluates",
            expression,
        ));
    }
    let sets = ["=", "++", "--"].iter().any(|mark| text.contains(mark));
    Ok(names.by_ref().map(|name| (name.to_owned(), sets)).collect())
}

fn unescape_backquoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\'
            && let Some(escaped) = chars.next_if(|next| "$`\\".contains(*next))
        {
            out.push(escaped);
        } else {
            out.push(c);
        }
    }
    out
}

/// The text that `$'...'` means; `None` where shells differ or the result is no text.
fn ansi_c(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { escape(&mut chars)? } else { c });
    }
    Some(out)
}

fn escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    let code = match chars.next()? {
        'n' => return Some('\n'),
        't' => return Some('\t'),
        c @ ('\\' | '\'' | '"' | '?') => return Some(c),
        'x' => digits(chars, 16, 2, 0)?,
        'u' => digits(chars, 16, 4, 0)?,
        'U' => digits(chars, 16, 8, 0)?,
        c @ '0'..='7' => digits(chars, 8, 2, c.to_digit(8)?)?,
        _ => return None,
    };
    // Above ASCII the result depends on the locale; below a space it is a control character.
    char::from_u32(code).filter(|c| c.is_ascii() && !c.is_ascii_control())
}

fn digits(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    radix: u32,
    count_max: usize,
    first: u32,
) -> Option<u32> {
    let mut value = first;
    for _ in 0..count_max {
        let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else {
            break;
        };
        value = value.checked_mul(radix)?.checked_add(digit)?;
        chars.next();
    }
    Some(value)
}
