//! Token bytes become text that can be shown: whole characters, thinking apart from the answer,
//! and nothing of a stop string.

use serde::{Deserialize, Serialize};

/// Which part of the output a text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channel {
    /// What the model thinks before it answers.
    Thinking,
    /// The answer.
    Answer,
}

/// How a family of models marks its thinking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThinkTags {
    /// Begins the thinking, at the start of the output.
    pub open: String,
    /// Ends it.
    pub close: String,
}

/// A text that can be shown now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it belongs.
    pub channel: Channel,
    /// Never empty, always whole characters.
    pub text: String,
}

/// The output of one request, from bytes to pieces.
#[derive(Debug, Clone)]
pub struct TextStream {
    /// The first bytes of a character whose rest has not come yet.
    carry: Vec<u8>,
    /// Text that may turn out to be the start of a stop string or a tag.
    held: String,
    channel: Channel,
    /// White space is skipped until something else comes.
    skip_space: bool,
    /// Whether anything of the answer was shown: an opening tag counts only before.
    answered: bool,
    tags: Option<ThinkTags>,
    stops: Vec<String>,
    stopped: bool,
}

/// A text that changes the state when it comes.
enum Marker {
    Open,
    Close,
    Stop,
}

impl TextStream {
    /// A stream that starts in `channel`.
    #[must_use]
    pub fn new(channel: Channel, tags: Option<ThinkTags>, stops: Vec<String>) -> Self {
        Self {
            carry: Vec::new(),
            held: String::new(),
            channel,
            skip_space: channel == Channel::Thinking,
            answered: false,
            tags,
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            stopped: false,
        }
    }

    /// Which part of the output comes next.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// Whether a stop string came; nothing more is shown.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes a token's bytes and appends what can be shown to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Piece>) {
        self.carry.extend_from_slice(bytes);
        let complete = complete_prefix(&self.carry);
        let text = String::from_utf8_lossy(&self.carry[..complete]);
        self.held.push_str(&text);
        self.carry.drain(..complete);
        self.advance(out);
    }

    /// Shows what was held back: the output ends here.
    pub fn finish(&mut self, out: &mut Vec<Piece>) {
        let rest = std::mem::take(&mut self.carry);
        self.held.push_str(&String::from_utf8_lossy(&rest));
        self.advance(out);
        let held = std::mem::take(&mut self.held);
        self.show(&held, out);
    }

    fn advance(&mut self, out: &mut Vec<Piece>) {
        while !self.stopped {
            let Some((at, length, marker)) = self.first_marker() else {
                let shown = self.held.len() - self.possible_marker_start();
                let text: String = self.held.drain(..shown).collect();
                self.show(&text, out);
                return;
            };
            let before: String = self.held.drain(..at).collect();
            self.show(&before, out);
            if self.answered && matches!(marker, Marker::Open) {
                // Text before the tag means that the tag is part of the answer after all.
                continue;
            }
            self.held.drain(..length);
            match marker {
                Marker::Open => {
                    self.channel = Channel::Thinking;
                    self.skip_space = true;
                }
                Marker::Close => {
                    self.channel = Channel::Answer;
                    self.skip_space = true;
                }
                Marker::Stop => {
                    self.held.clear();
                    self.carry.clear();
                    self.stopped = true;
                }
            }
        }
    }

    fn show(&mut self, text: &str, out: &mut Vec<Piece>) {
        let text = if self.skip_space {
            text.trim_start()
        } else {
            text
        };
        if text.is_empty() || self.stopped {
            return;
        }
        self.skip_space = false;
        if self.channel == Channel::Answer && !text.trim().is_empty() {
            self.answered = true;
        }
        out.push(Piece {
            channel: self.channel,
            text: text.to_owned(),
        });
    }

    /// The texts that matter in the present state.
    fn markers(&self) -> impl Iterator<Item = (&str, Marker)> {
        let thinking = self.channel == Channel::Thinking;
        let tag = self.tags.as_ref().and_then(|tags| match self.channel {
            Channel::Thinking => Some((tags.close.as_str(), Marker::Close)),
            Channel::Answer if self.answered => None,
            Channel::Answer => Some((tags.open.as_str(), Marker::Open)),
        });
        let stops = self.stops.iter().filter(move |_| !thinking);
        tag.into_iter()
            .chain(stops.map(|stop| (stop.as_str(), Marker::Stop)))
    }

    /// The marker that is complete first, so that overlapping ones do not depend on how the text
    /// was cut into tokens.
    fn first_marker(&self) -> Option<(usize, usize, Marker)> {
        self.markers()
            .filter_map(|(text, marker)| Some((self.held.find(text)?, text.len(), marker)))
            .min_by_key(|&(at, length, _)| (at + length, at))
    }

    /// Length of the longest end of `held` that could be the beginning of a marker.
    fn possible_marker_start(&self) -> usize {
        let overlap = |marker: &str| {
            let longest = marker.len().saturating_sub(1).min(self.held.len());
            (1..=longest)
                .rev()
                .find(|&length| {
                    marker.is_char_boundary(length) && self.held.ends_with(&marker[..length])
                })
                .unwrap_or(0)
        };
        self.markers()
            .map(|(text, _)| overlap(text))
            .max()
            .unwrap_or(0)
    }
}

/// How many of the bytes are whole characters. Bytes that can never become one count as whole,
/// so that they turn into U+FFFD instead of blocking the stream.
fn complete_prefix(bytes: &[u8]) -> usize {
    let mut start = 0;
    loop {
        match std::str::from_utf8(&bytes[start..]) {
            Ok(_) => return bytes.len(),
            Err(fault) => match fault.error_len() {
                Some(length) => start += fault.valid_up_to() + length,
                None => return start + fault.valid_up_to(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn think_tags() -> Option<ThinkTags> {
        Some(ThinkTags {
            open: "<think>".into(),
            close: "</think>".into(),
        })
    }

    #[test]
    fn overlapping_markers_do_not_depend_on_where_the_text_is_cut() {
        for (stops, text, shown) in [
            (&["\tcc", "c"][..], "a\tccc", "a\t"),
            (&[">"][..], "a<think>b", "a<think"),
        ] {
            let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
            let stream = || TextStream::new(Channel::Answer, think_tags(), stops.clone());
            let whole = run(stream(), &[text.as_bytes()]);
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(whole, run(stream(), &bytes), "{text:?}");
            assert_eq!(whole.1, shown);
        }
    }

    /// Runs the pieces through a stream; returns (thinking, answer, stopped).
    fn run(stream: TextStream, chunks: &[&[u8]]) -> (String, String, bool) {
        let mut stream = stream;
        let mut pieces = Vec::new();
        for chunk in chunks {
            stream.push(chunk, &mut pieces);
        }
        stream.finish(&mut pieces);
        let join = |wanted| {
            let parts = pieces.iter().filter(|piece| piece.channel == wanted);
            parts.map(|piece| piece.text.as_str()).collect::<String>()
        };
        (
            join(Channel::Thinking),
            join(Channel::Answer),
            stream.stopped,
        )
    }

    fn stops(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    /// Whatever the cut, the result is the same.
    #[track_caller]
    fn check(stream: &TextStream, text: &str, thinking: &str, answer: &str, stopped: bool) {
        let expected = (thinking.to_owned(), answer.to_owned(), stopped);
        assert_eq!(run(stream.clone(), &[text.as_bytes()]), expected);
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(run(stream.clone(), &single), expected);
    }

    #[test]
    fn a_character_is_never_split() {
        let mut stream = TextStream::new(Channel::Answer, None, Vec::new());
        let mut pieces = Vec::new();
        for byte in "né🦀".bytes() {
            stream.push(&[byte], &mut pieces);
        }
        let texts: Vec<_> = pieces.iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(texts, ["n", "é", "🦀"]);
    }

    #[test]
    fn bytes_that_are_no_text_do_not_block_the_stream() {
        let stream = TextStream::new(Channel::Answer, None, Vec::new());
        let (_, answer, _) = run(stream, &[b"a\xff", b"b\xf0\x9f", b"c\xe2\x82"]);
        assert_eq!(answer, "a\u{fffd}b\u{fffd}c\u{fffd}");
    }

    #[test]
    fn stop_strings_work_across_borders_and_leave_nothing_behind() {
        let stream = TextStream::new(Channel::Answer, None, stops(&["END", "\n\n"]));
        check(&stream, "one two ENDthree", "", "one two ", true);
        check(&stream, "a\n\nb", "", "a", true);
        check(&stream, "EN and E", "", "EN and E", false);
        check(&stream, "EENDx", "", "E", true);
    }

    #[test]
    fn thinking_is_apart_from_the_answer() {
        let stream = TextStream::new(Channel::Answer, think_tags(), stops(&["stop"]));
        check(
            &stream,
            "<think>\nhm stop\n</think>\n\nyes",
            "hm stop\n",
            "yes",
            false,
        );
        check(&stream, "no <think> here", "", "no <think> here", false);
        check(&stream, "\n<think>a</think>b stop", "a", "\nb ", true);
        let inside = TextStream::new(Channel::Thinking, think_tags(), Vec::new());
        check(
            &inside,
            "\nhm</think>\n\nyes</think>",
            "hm",
            "yes</think>",
            false,
        );
        check(&inside, "never ends </thi", "never ends </thi", "", false);
    }

    proptest! {
        #[test]
        fn without_markers_the_text_comes_through_unchanged(
            text in "\\PC{0,60}", cuts in prop::collection::vec(0usize..200, 0..8),
        ) {
            let stream = TextStream::new(Channel::Answer, None, stops(&["\u{1}never"]));
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut start = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                chunks.push(&bytes[start..cut]);
                start = cut;
            }
            prop_assert_eq!(run(stream, &chunks).1, text);
        }

        #[test]
        fn a_stop_string_is_never_shown(text in "[abc]{0,40}", stop in "[abc]{1,4}") {
            let stream = TextStream::new(Channel::Answer, None, vec![stop.clone()]);
            let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            let (_, answer, stopped) = run(stream, &single);
            let expected = text.split(&stop).next().unwrap_or("");
            prop_assert_eq!(answer, expected);
            prop_assert_eq!(stopped, text.contains(&stop));
        }
    }
}
