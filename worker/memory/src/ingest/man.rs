//! Manual pages: from roff to text. Both macro packages, man and mdoc, as far as their words go;
//! what only moves ink about is left out.

mod escape;
mod mdoc;

use std::collections::HashMap;

use super::read::{Document, Section};

/// The most strings that a page may define.
const STRINGS_MAX: usize = 256;
/// The most conditions within conditions.
const DEPTH_MAX: usize = 32;

/// Whether a text is a manual page.
pub(super) fn is_man(text: &str) -> bool {
    let first = |line: &str| {
        let request = line.trim_start_matches(['.', '\'']).trim_start();
        line.starts_with(['.', '\'']) && ["TH", "Dd", "so"].contains(&name_of(request).0)
    };
    text.lines().take(500).any(first)
}

/// Renders a page.
pub(super) fn document(name: &str, text: &str) -> Document {
    let mut page = Page {
        title: name.to_owned(),
        ..Page::default()
    };
    // A backslash at its end joins a line with the next.
    let text = text.replace("\\\n", "");
    text.lines()
        .for_each(|line| page.line(line.trim_end_matches('\r')));
    page.finish()
}

/// A page that is being read.
#[derive(Default)]
struct Page {
    title: String,
    sections: Vec<Section>,
    section: Section,
    /// The line that is being filled.
    filling: String,
    /// Lines stay as they are.
    as_is: bool,
    /// What the next line of text is.
    next: Next,
    /// What is skipped: a macro's definition, or the lines of a false condition.
    skip: Option<Skip>,
    /// Whether the last `.ie` was true.
    last_if: bool,
    /// Conditions that stand in conditions.
    depth: usize,
    strings: HashMap<String, String>,
    /// What mdoc's `.Nm` says without a word.
    name: String,
}

#[derive(Default, PartialEq)]
enum Next {
    #[default]
    Text,
    Tag,
    Heading,
}

enum Skip {
    /// Until `..`, or until the macro of this name.
    Definition(String),
    /// Until as many braces are closed.
    Block(usize),
    /// Until a line of a table's format ends with a dot.
    Table,
}

impl Page {
    fn line(&mut self, line: &str) {
        if let Some(skip) = self.skip.take() {
            self.skip = skip.after(line);
            return;
        }
        match line.strip_prefix(['.', '\'']) {
            Some(request) => self.request(request.trim_start()),
            None => {
                let text = self.plain(line);
                self.text(&text, line.starts_with(' '));
            }
        }
    }

    fn request(&mut self, request: &str) {
        let (name, rest) = name_of(request);
        let rest = rest.trim_start();
        if name.starts_with("\\\"") || name.is_empty() || name.starts_with("\\}") {
            return;
        }
        match name {
            "if" | "ie" | "el" | "while" => self.condition(name, rest),
            "de" | "de1" | "am" | "am1" | "ig" => {
                let end = rest.split_whitespace().nth(usize::from(name != "ig"));
                self.skip = Some(Skip::Definition(end.unwrap_or(".").to_owned()));
            }
            "ds" | "ds1" | "as" => self.define(rest),
            "EQ" => self.skip = Some(Skip::Definition("EN".into())),
            _ => self.macro_call(name, rest),
        }
    }

    fn macro_call(&mut self, name: &str, rest: &str) {
        let words = self.words(rest);
        match name {
            "TH" | "Dt" => self.title_line(&words),
            "SH" | "SS" | "Sh" | "Ss" => self.heading(&words),
            "TP" | "TQ" => {
                self.paragraph();
                self.next = Next::Tag;
            }
            "IP" => {
                self.paragraph();
                if let Some(tag) = words.first().filter(|tag| !is_bullet(tag)) {
                    self.tag(&tag.clone());
                }
            }
            "PP" | "LP" | "P" | "HP" | "sp" | "Pp" | "Bl" | "El" | "RS" | "RE" | "Lp" => {
                self.paragraph();
            }
            "br" => self.break_line(),
            "nf" | "EX" | "Bd" => {
                self.paragraph();
                self.as_is = true;
            }
            "fi" | "EE" | "Ed" | "TE" => {
                self.paragraph();
                self.as_is = false;
            }
            "TS" => {
                self.paragraph();
                self.as_is = true;
                self.skip = Some(Skip::Table);
            }
            "B" | "I" | "SM" | "SB" | "R" | "UR" | "MT" if words.is_empty() => {}
            "B" | "I" | "SM" | "SB" | "R" | "UR" | "MT" => self.text(&words.join(" "), false),
            "BR" | "RB" | "BI" | "IB" | "IR" | "RI" => self.text(&words.concat(), false),
            "SY" => {
                self.paragraph();
                self.text(&words.join(" "), false);
            }
            "OP" => self.text(&format!("[{}]", words.join(" ")), false),
            "It" => {
                self.paragraph();
                let tag = mdoc::render(&words, &self.name);
                self.tag(&tag);
            }
            "Nm" => {
                if self.name.is_empty() {
                    self.name = words.first().cloned().unwrap_or_default();
                }
                let text = mdoc::render_macro("Nm", &words, &self.name);
                self.text(&text, false);
            }
            name if mdoc::is_inline(name) => {
                let text = mdoc::render_macro(name, &words, &self.name);
                self.text(&text, false);
            }
            // Everything else moves ink about.
            _ => {}
        }
    }

    fn condition(&mut self, name: &str, rest: &str) {
        let (holds, rest) = match name {
            "el" => (!self.last_if, rest),
            _ => {
                let (condition, rest) = escape::condition(rest);
                (holds(condition) && name != "while", rest)
            }
        };
        if name == "ie" {
            self.last_if = holds;
        }
        let opened = rest.matches("\\{").count();
        let closed = rest.matches("\\}").count();
        if holds {
            let rest = rest.trim_start().trim_start_matches("\\{").trim_start();
            let rest = rest.trim_end_matches("\\}");
            if !rest.is_empty() && rest != "\\" && self.depth < DEPTH_MAX {
                self.depth += 1;
                self.line(rest);
                self.depth -= 1;
            }
        } else if opened > closed {
            self.skip = Some(Skip::Block(opened - closed));
        }
    }

    fn define(&mut self, rest: &str) {
        let (name, value) = name_of(rest);
        if self.strings.len() < STRINGS_MAX {
            let value = value.trim_start().trim_start_matches('"');
            let value = escape::plain(value, &HashMap::new());
            self.strings.insert(name.to_owned(), value);
        }
    }

    fn title_line(&mut self, words: &[String]) {
        if let [name, section, ..] = words {
            self.title = format!("{}({section})", name.to_lowercase());
        }
    }

    fn heading(&mut self, words: &[String]) {
        self.end_section();
        self.as_is = false;
        match words.is_empty() {
            true => self.next = Next::Heading,
            false => self.section.heading = words.join(" "),
        }
    }

    fn text(&mut self, text: &str, indented: bool) {
        match std::mem::take(&mut self.next) {
            Next::Heading => text.trim().clone_into(&mut self.section.heading),
            Next::Tag => self.tag(text),
            Next::Text if text.trim().is_empty() => self.paragraph(),
            Next::Text => {
                if indented || self.as_is {
                    self.break_line();
                }
                if !self.filling.is_empty() {
                    self.filling.push(' ');
                }
                let text = if self.as_is {
                    text.trim_end()
                } else {
                    text.trim()
                };
                self.filling.push_str(text);
            }
        }
    }

    /// What stands before a paragraph, on a line of its own.
    fn tag(&mut self, tag: &str) {
        self.filling.push_str(tag.trim());
        self.break_line();
    }

    fn break_line(&mut self) {
        if !self.filling.is_empty() {
            self.section.text.push_str(&self.filling);
            self.section.text.push('\n');
            self.filling.clear();
        }
    }

    fn paragraph(&mut self) {
        self.break_line();
        self.section.text.push('\n');
        if self.next != Next::Heading {
            self.next = Next::Text;
        }
    }

    fn end_section(&mut self) {
        self.break_line();
        let section = std::mem::take(&mut self.section);
        if !section.text.trim().is_empty() {
            self.sections.push(section);
        }
    }

    /// The line that says what the page is about, which stands in its first section, is the title
    /// of all of it: so every piece says what it belongs to.
    fn finish(mut self) -> Document {
        self.end_section();
        let name = self.sections.first().map(|first| first.text.trim());
        if let Some(about) = name.filter(|name| !name.contains('\n') && name.contains('-')) {
            let about = about.split_once(" - ").map_or(about, |(_, about)| about);
            self.title = format!("{} - {about}", self.title);
        }
        Document {
            title: self.title,
            sections: self.sections,
            lossy: false,
        }
    }

    fn plain(&self, text: &str) -> String {
        escape::plain(text, &self.strings)
    }

    /// The words of a request; quotes hold some together.
    fn words(&self, rest: &str) -> Vec<String> {
        let (mut words, mut rest) = (Vec::new(), escape::without_comment(rest).trim_start());
        while !rest.is_empty() {
            let (word, others) = match rest.strip_prefix('"') {
                Some(quoted) => split_quoted(quoted),
                None => {
                    let (word, others) = split_word(rest);
                    (word.to_owned(), others)
                }
            };
            words.push(self.plain(&word));
            rest = others.trim_start();
        }
        words
    }
}

impl Skip {
    /// What is skipped after this line.
    fn after(self, line: &str) -> Option<Self> {
        match self {
            Self::Definition(end) => {
                let request = line.strip_prefix(['.', '\'']).map(str::trim);
                (request != Some(end.as_str())).then_some(Self::Definition(end))
            }
            Self::Block(depth) => {
                let depth = depth + line.matches("\\{").count();
                let left = depth.saturating_sub(line.matches("\\}").count());
                (left > 0).then_some(Self::Block(left))
            }
            Self::Table => (!line.trim_end().ends_with('.')).then_some(Self::Table),
        }
    }
}

/// Conditions of text on a terminal hold, and those that ask whether this is groff.
fn holds(condition: &str) -> bool {
    let (condition, no) = match condition.strip_prefix('!') {
        Some(condition) => (condition, true),
        None => (condition, false),
    };
    let holds = condition.starts_with('n') || condition.starts_with("\\n(.g") || condition == "1";
    holds != no
}

fn is_bullet(tag: &str) -> bool {
    !tag.contains(char::is_alphanumeric) && tag.chars().count() <= 2 && !tag.starts_with('-')
}

fn name_of(request: &str) -> (&str, &str) {
    let end = request.find(char::is_whitespace).unwrap_or(request.len());
    request.split_at(end)
}

/// A word; a space after a backslash belongs to it.
fn split_word(rest: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        if c.is_whitespace() && !escaped {
            return rest.split_at(at);
        }
        escaped = c == '\\' && !escaped;
    }
    (rest, "")
}

/// What is in quotes; two quotes are one.
fn split_quoted(quoted: &str) -> (String, &str) {
    let (mut word, mut rest) = (String::new(), quoted);
    while let Some((before, after)) = rest.split_once('"') {
        word.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                word.push('"');
                rest = more;
            }
            None => return (word, after),
        }
    }
    word.push_str(rest);
    (word, "")
}

#[cfg(test)]
mod tests;
