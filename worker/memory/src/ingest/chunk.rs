//! Pieces of the size that a model reads: cut where the document has its joints, and only inside
//! a paragraph where that alone is too long.

use super::IngestOptions;
use super::read::{Document, Section};
use crate::record::TEXT_BYTES_MAX;

/// A piece, with the document's title and its own heading above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) title: String,
    pub(super) text: String,
}

/// The longest title; what is longer is cut.
const TITLE_BYTES_MAX: usize = 256;

struct Chunker<'a> {
    options: &'a IngestOptions,
    title: &'a str,
    heading: String,
    text: String,
    tokens: usize,
    /// How much of the text is only repeated from the piece before.
    repeated: usize,
    chunks: Vec<Chunk>,
}

/// Cuts a document.
pub(super) fn chunks(document: &Document, options: &IngestOptions) -> Vec<Chunk> {
    let mut chunker = Chunker {
        options,
        title: &document.title,
        heading: String::new(),
        text: String::new(),
        tokens: 0,
        repeated: 0,
        chunks: Vec::new(),
    };
    for section in &document.sections {
        chunker.begin_section(section);
        for paragraph in paragraphs(&section.text) {
            chunker.paragraph(&paragraph);
        }
    }
    chunker.end_piece(false);
    chunker.chunks
}

impl Chunker<'_> {
    /// A section begins a piece, unless what is there is hardly one yet.
    fn begin_section(&mut self, section: &Section) {
        let heading = &section.heading;
        if self.tokens >= self.options.chunk_tokens / 4 {
            self.end_piece(false);
        }
        if self.text.is_empty() {
            heading.clone_into(&mut self.heading);
        } else if !heading.is_empty() && !begins_a_line(&section.text, heading) {
            self.push(heading);
        }
    }

    fn paragraph(&mut self, paragraph: &str) {
        let tokens = (self.options.tokens)(paragraph);
        if tokens <= self.options.chunk_tokens && paragraph.len() <= TEXT_BYTES_MAX / 2 {
            self.push(paragraph);
            return;
        }
        for part in self.parts(paragraph, tokens) {
            self.push(part);
        }
    }

    fn push(&mut self, part: &str) {
        let tokens = (self.options.tokens)(part);
        let long = self.text.len() + part.len() > TEXT_BYTES_MAX - 2;
        if self.tokens + tokens > self.options.chunk_tokens || long {
            self.end_piece(true);
        }
        if !self.text.is_empty() {
            self.text.push_str("\n\n");
        }
        self.text.push_str(part);
        self.tokens += tokens;
    }

    fn end_piece(&mut self, repeat: bool) {
        let text = std::mem::take(&mut self.text);
        let only_repeated = text.len() <= self.repeated;
        (self.tokens, self.repeated) = (0, 0);
        if text.trim().is_empty() || only_repeated {
            return;
        }
        let title = match self.heading.is_empty() || self.heading == self.title {
            true => self.title.to_owned(),
            false => format!("{}: {}", self.title, self.heading),
        };
        let title = title[..title.floor_char_boundary(TITLE_BYTES_MAX)].to_owned();
        if repeat {
            self.repeat(&text);
        }
        self.chunks.push(Chunk { title, text });
    }

    /// Begins the next piece with the last words of this one.
    fn repeat(&mut self, text: &str) {
        let tokens = (self.options.tokens)(text).max(1);
        let bytes = text.len() * self.options.overlap_tokens / tokens;
        let from = text.ceil_char_boundary(text.len().saturating_sub(bytes));
        let tail = &text[from..];
        let words = tail
            .find(char::is_whitespace)
            .map_or("", |space| tail[space..].trim());
        self.tokens = (self.options.tokens)(words);
        self.repeated = words.len();
        words.clone_into(&mut self.text);
    }

    /// A long paragraph in parts that fit: at line ends, else at spaces, else anywhere.
    fn parts<'p>(&self, paragraph: &'p str, tokens: usize) -> Vec<&'p str> {
        // What is repeated before a part counts, too.
        let room = self
            .options
            .chunk_tokens
            .saturating_sub(self.options.overlap_tokens)
            .max(1);
        let bytes = (paragraph.len() / tokens.max(1)).max(1) * room;
        let bytes = bytes.clamp(16, TEXT_BYTES_MAX / 2);
        let (mut parts, mut rest) = (Vec::new(), paragraph);
        while rest.len() > bytes {
            let window = &rest[..rest.floor_char_boundary(bytes)];
            let late = |at: &usize| *at > window.len() / 2;
            let at = window.rfind('\n').filter(late);
            let at = at.or_else(|| window.rfind(". ").map(|at| at + 1).filter(late));
            let at = at.or_else(|| window.rfind(char::is_whitespace).filter(late));
            let (part, others) = rest.split_at(at.unwrap_or(window.len()));
            parts.push(part.trim_end());
            // How far in the next line is says something in a program.
            let line = others.trim_start_matches(['\n', '\r']);
            rest = if line.len() < others.len() {
                line
            } else {
                others.trim_start()
            };
        }
        parts.push(rest);
        parts.retain(|part| !part.trim().is_empty());
        parts
    }
}

/// A function's heading is its own first line.
fn begins_a_line(text: &str, heading: &str) -> bool {
    text.lines()
        .any(|line| line.trim_start().starts_with(heading))
}

/// What is apart by empty lines.
fn paragraphs(text: &str) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    for line in text.lines() {
        let last = paragraphs.len() - 1;
        match line.trim().is_empty() {
            true if !paragraphs[last].is_empty() => paragraphs.push(String::new()),
            true => {}
            false => {
                if !paragraphs[last].is_empty() {
                    paragraphs[last].push('\n');
                }
                paragraphs[last].push_str(line.trim_end());
            }
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Namespace;

    fn options(chunk_tokens: usize) -> IngestOptions {
        let mut options = IngestOptions::new(Namespace::new("test").unwrap());
        (options.chunk_tokens, options.overlap_tokens) = (chunk_tokens, chunk_tokens / 8);
        options
    }

    fn document(sections: &[(&str, &str)]) -> Document {
        let section = |(heading, text): &(&str, &str)| Section {
            heading: (*heading).into(),
            text: (*text).into(),
        };
        Document {
            title: "T".into(),
            sections: sections.iter().map(section).collect(),
            lossy: false,
        }
    }

    #[test]
    fn pieces_fit_and_lose_nothing() {
        let words: Vec<String> = (0..2000).map(|n| format!("word{n}")).collect();
        let long = words.join(" ");
        let lines = words.join("\n");
        let glued = "x".repeat(9000) + &"ß".repeat(3000);
        for text in [&long, &lines, &words.join("\n\n"), &glued] {
            let options = options(100);
            let chunks = chunks(&document(&[("H", text)]), &options);
            assert!(chunks.len() > 10);
            for chunk in &chunks {
                let tokens = (options.tokens)(&chunk.text);
                assert!(tokens <= 125, "{tokens}: {}", chunk.text);
            }
            let all: String = chunks
                .iter()
                .map(|chunk| chunk.text.as_str())
                .collect::<Vec<_>>()
                .join(" ");
            assert!(
                words
                    .iter()
                    .all(|word| !text.contains(word) || all.contains(word))
            );
        }
    }

    #[test]
    fn pieces_overlap_and_have_titles() {
        let words: Vec<String> = (0..400).map(|n| format!("w{n}")).collect();
        let chunks = chunks(&document(&[("H", &words.join(" "))]), &options(100));
        assert_eq!(chunks[0].title, "T: H");
        let last = chunks[0].text.rsplit(' ').next().unwrap();
        assert!(
            chunks[1].text.split_whitespace().any(|word| word == last),
            "{last}"
        );
    }

    #[test]
    fn small_sections_stay_together() {
        let chunks = chunks(&document(&[("A", "one"), ("B", "two")]), &options(100));
        assert_eq!(chunks.len(), 1);
        assert_eq!(chunks[0].text, "one\n\nB\n\ntwo");
        let none = super::chunks(&document(&[("A", " \n\n ")]), &options(100));
        assert_eq!(none, []);
    }
}
