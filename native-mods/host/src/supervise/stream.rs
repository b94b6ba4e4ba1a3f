//! The way of an answer's pieces to their reader.

use std::ops::ControlFlow;

use super::Answer;
use crate::text::Decoder;

/// Hands text over until nobody wants more, or until it is too long.
pub(super) struct Stream<'a> {
    reader: &'a mut dyn FnMut(String) -> ControlFlow<()>,
    decoder: Decoder,
    bytes: usize,
    bytes_max: usize,
    cut: bool,
    open: bool,
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        bytes_max: usize,
        reader: &'a mut dyn FnMut(String) -> ControlFlow<()>,
    ) -> Self {
        Self {
            reader,
            decoder: Decoder::default(),
            bytes: 0,
            bytes_max,
            cut: false,
            open: true,
        }
    }

    /// Takes a piece. Break: this was the last one that is wanted, which is said once.
    pub(super) fn push(&mut self, piece: Vec<u8>) -> ControlFlow<()> {
        if !self.open {
            return ControlFlow::Continue(());
        }
        self.bytes += piece.len();
        self.cut = self.bytes > self.bytes_max;
        let text = self.decoder.push(piece);
        let refused = !text.is_empty() && (self.reader)(text).is_break();
        if self.cut || refused {
            self.open = false;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Nothing is handed over any more.
    pub(super) fn close(&mut self) {
        self.open = false;
    }

    /// Hands over the rest, and says what the answer was.
    pub(super) fn finish(mut self, code: i32, rest: Vec<u8>) -> Answer {
        if self.open {
            let mut text = self.decoder.push(rest);
            text.push_str(&self.decoder.finish());
            if !text.is_empty() {
                // Nothing is left that a reader could refuse.
                let _ = (self.reader)(text);
            }
        }
        Answer {
            code,
            text: String::new(),
            cut: self.cut,
        }
    }
}
