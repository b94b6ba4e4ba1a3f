//! The last lines that a program wrote: mostly they say why it failed.

use std::collections::VecDeque;

use fazai_tools::Piece;

const LINES_MAX: usize = 5;
const LINE_CHARS_MAX: usize = 300;

/// The last lines, each cut.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<String>);

impl Tail {
    pub(super) fn push(&mut self, piece: &Piece) {
        let line = piece.text.trim_end();
        if line.is_empty() {
            return;
        }
        if self.0.len() == LINES_MAX {
            self.0.pop_front();
        }
        let chars = line.chars().filter(|c| !c.is_control() || *c == '\t');
        self.0.push_back(chars.take(LINE_CHARS_MAX).collect());
    }

    /// All of them after a word, or nothing.
    pub(super) fn after(self, word: &str) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        format!("{word}{}", Vec::from(self.0).join("\n"))
    }
}
