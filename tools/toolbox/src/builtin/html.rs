//! HTML as text that can be read: what a page says, without its scripts, in lines.
//!
//! Read token by token and never as a tree: a page is a stranger's, and trees of thousands of
//! levels take most renderers forever.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

/// Elements whose text is not for readers; it is not HTML either.
const HIDDEN: &[&str] = &[
    "script", "style", "noscript", "iframe", "noembed", "noframes",
];

/// Elements that go on in the same line.
const IN_LINE: &[&str] = &[
    "a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img",
    "input", "ins", "kbd", "label", "mark", "q", "s", "samp", "small", "span", "strong", "sub",
    "sup", "time", "tt", "u", "var", "wbr",
];

/// The text of a page, or of the beginning of one.
pub(super) fn readable(html: &str) -> String {
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(html));
    let tokenizer = Tokenizer::new(Reader::default(), TokenizerOpts::default());
    // It stops after each script.
    while !input.is_empty() {
        let _ = tokenizer.feed(&input);
    }
    tokenizer.end();
    tokenizer.sink.0.into_inner().text.trim().to_owned()
}

#[derive(Default)]
struct Reader(RefCell<Read>);

#[derive(Default)]
struct Read {
    text: String,
    /// The element of [`HIDDEN`] that goes on.
    hidden: Option<String>,
    /// How many elements go on in which spaces count.
    preformatted: usize,
}

impl TokenSink for Reader {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut read = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) => return read.tag(&tag),
            Token::CharacterTokens(text) if read.hidden.is_none() => read.add(&text),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

impl Read {
    fn tag(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name = &*tag.name;
        let opens = tag.kind == TagKind::StartTag;
        if self.hidden.is_some() {
            if !opens && self.hidden.as_deref() == Some(name) {
                self.hidden = None;
            }
            return TokenSinkResult::Continue;
        }
        match name {
            "li" if opens => {
                self.end_line();
                self.text.push_str("* ");
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "p" if opens => {
                self.end_line();
                if !self.text.is_empty() && !self.text.ends_with("\n\n") {
                    self.text.push('\n');
                }
            }
            "td" | "th" if opens && !self.starts_line() => self.text.push_str(" | "),
            "td" | "th" => {}
            "pre" => {
                self.end_line();
                self.preformatted = match opens {
                    true => self.preformatted + 1,
                    false => self.preformatted.saturating_sub(1),
                };
            }
            "br" => self.text.push('\n'),
            name if IN_LINE.contains(&name) => {}
            _ => self.end_line(),
        }
        if opens && HIDDEN.contains(&name) {
            self.hidden = Some(name.to_owned());
            let kind = match name {
                "script" => RawKind::ScriptData,
                _ => RawKind::Rawtext,
            };
            return TokenSinkResult::RawData(kind);
        }
        TokenSinkResult::Continue
    }

    fn starts_line(&self) -> bool {
        self.text.is_empty() || self.text.ends_with('\n')
    }

    fn end_line(&mut self) {
        let length = self.text.trim_end_matches(' ').len();
        self.text.truncate(length);
        if !self.starts_line() {
            self.text.push('\n');
        }
    }

    fn add(&mut self, text: &str) {
        if self.preformatted > 0 {
            self.text.push_str(text);
            return;
        }
        for c in text.chars() {
            let spaced = self.starts_line() || self.text.ends_with(' ');
            match c.is_whitespace() {
                true if spaced => {}
                true => self.text.push(' '),
                false => self.text.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[track_caller]
    fn check(html: &str, expected: &str) {
        assert_eq!(readable(html), expected, "{html}");
    }

    #[test]
    fn a_page_is_read() {
        check(
            "<h1>A  title</h1>\n<p>One <b>bold</b>\n word.<p>Two &amp; &lt;three&gt;",
            "A title\n\nOne bold word.\n\nTwo & <three>",
        );
        check("<ul><li>a<li>b</ul>c", "* a\n* b\nc");
        check("<table><tr><td>a<td>b<tr><td>c</table>", "a | b\nc");
        check("<pre>a\n  b</pre>c", "a\n  b\nc");
        check(
            "a<br>b<!-- no --><script>if (a < b) '</p>'</script>c<style>p{}</style>d",
            "a\nb\nc\nd",
        );
        check("a<script>x<script>y</script>z", "a\nz");
        check("plain &#x1f600; text", "plain \u{1f600} text");
        check("", "");
        check("<p", "");
        check("a<script>b", "a");
    }

    /// A page is a stranger's: reading it must neither overflow the stack nor take forever.
    #[test]
    fn a_page_that_is_nested_deep_is_read() {
        for tag in [
            "<div>",
            "<table><tr><td>",
            "<ul><li>",
            "<b>",
            "<pre>",
            "<script></script>",
            "<a ",
            "&amp",
            "<!--",
            "<p x=\"",
        ] {
            let html = format!("x{}", tag.repeat((256 << 10) / tag.len()));
            let begun = Instant::now();
            assert!(readable(&html).starts_with('x'), "{tag}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{tag}");
        }
    }
}
