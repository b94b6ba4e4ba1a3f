//! From the bytes that a command writes to pieces of text.

use std::ops::ControlFlow;

use sha2::{Digest, Sha256};

use super::Why;
use crate::audit::Hash;

/// What a line is cut into if it is longer, in bytes.
pub const PIECE_BYTES_MAX: usize = 64 << 10;

/// How much is read and dropped beyond [`How::output_bytes_max`](super::How::output_bytes_max)
/// before the command is ended, in bytes.
pub const OUTPUT_DROPPED_BYTES_MAX: u64 = 1 << 30;

/// Output of a command: a line, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it wrote that.
    pub from: Source,
    /// The text, without the newline. What is no UTF-8 is U+FFFD.
    pub text: String,
    /// Whether the line ends here. A long line, and one at the end of the output that has no
    /// newline, do not.
    pub ends_line: bool,
}

/// Where a command writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Standard output, and standard error if the two are merged.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Both streams, on their way to the reader.
pub(super) struct Output<'a> {
    reader: &'a mut dyn FnMut(Piece) -> ControlFlow<()>,
    /// Whether the reader wants more.
    open: bool,
    hash: Sha256,
    bytes: u64,
    bytes_max: u64,
}

impl<'a> Output<'a> {
    pub(super) fn new(bytes_max: u64, reader: &'a mut dyn FnMut(Piece) -> ControlFlow<()>) -> Self {
        Self {
            reader,
            open: true,
            hash: Sha256::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Takes bytes of a stream. A break means that the command is to be ended.
    pub(super) fn push(&mut self, lines: &mut Lines, bytes: &[u8]) -> ControlFlow<Why> {
        self.hash.update(bytes);
        let room = self.bytes_max.saturating_sub(self.bytes);
        let kept = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
        self.bytes += bytes.len() as u64;
        lines.push(&bytes[..kept], &mut |piece| self.give(piece));
        if !self.open {
            ControlFlow::Break(Why::Stopped)
        } else if self.bytes.saturating_sub(self.bytes_max) > OUTPUT_DROPPED_BYTES_MAX {
            ControlFlow::Break(Why::OutputLimit)
        } else {
            ControlFlow::Continue(())
        }
    }

    /// The stream ends here.
    pub(super) fn finish(&mut self, lines: &mut Lines) {
        lines.finish(&mut |piece| self.give(piece));
    }

    /// How many bytes came, whether some were dropped, and the hash of all.
    pub(super) fn sum(self) -> (u64, bool, Hash) {
        let cut = self.bytes > self.bytes_max;
        (self.bytes, cut, Hash(self.hash.finalize().into()))
    }

    fn give(&mut self, piece: Piece) {
        if self.open {
            self.open = (self.reader)(piece).is_continue();
        }
    }
}

/// The line of one stream that has not ended yet.
pub(super) struct Lines {
    from: Source,
    begun: Vec<u8>,
}

impl Lines {
    pub(super) fn new(from: Source) -> Self {
        Self {
            from,
            begun: Vec::new(),
        }
    }

    fn push(&mut self, mut bytes: &[u8], give: &mut dyn FnMut(Piece)) {
        while !bytes.is_empty() {
            let room = bytes.len().min(PIECE_BYTES_MAX - self.begun.len());
            let newline = bytes[..room].iter().position(|byte| *byte == b'\n');
            let (line, rest) = bytes.split_at(newline.unwrap_or(room));
            self.begun.extend_from_slice(line);
            bytes = &rest[usize::from(newline.is_some())..];
            if newline.is_some() {
                give(self.take(self.begun.len(), true));
            } else if self.begun.len() == PIECE_BYTES_MAX {
                give(self.take(whole_characters(&self.begun), false));
            }
        }
    }

    fn finish(&mut self, give: &mut dyn FnMut(Piece)) {
        if !self.begun.is_empty() {
            give(self.take(self.begun.len(), false));
        }
    }

    fn take(&mut self, length: usize, ends_line: bool) -> Piece {
        let rest = self.begun.split_off(length);
        let bytes = std::mem::replace(&mut self.begun, rest);
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Piece {
            from: self.from,
            text,
            ends_line,
        }
    }
}

/// The length without a character at the end that is not complete.
fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    for at in (tail..bytes.len()).rev() {
        let width = match bytes[at] {
            0b1000_0000..=0b1011_1111 => continue,
            0b1100_0000..=0b1101_1111 => 2,
            0b1110_0000..=0b1110_1111 => 3,
            0b1111_0000..=0b1111_0111 => 4,
            _ => 1,
        };
        return if at + width > bytes.len() {
            at
        } else {
            bytes.len()
        };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(max: u64, chunks: &[&[u8]]) -> (Vec<(String, bool)>, (u64, bool, Hash)) {
        let mut found = Vec::new();
        let mut reader = |piece: Piece| {
            found.push((piece.text, piece.ends_line));
            ControlFlow::Continue(())
        };
        let mut output = Output::new(max, &mut reader);
        let mut lines = Lines::new(Source::Stdout);
        for chunk in chunks {
            assert!(output.push(&mut lines, chunk).is_continue());
        }
        output.finish(&mut lines);
        let sum = output.sum();
        (found, sum)
    }

    #[track_caller]
    fn check(chunks: &[&[u8]], expected: &[(&str, bool)]) {
        let (found, (bytes, cut, hash)) = pieces(1 << 20, chunks);
        let found: Vec<_> = found.iter().map(|(t, e)| (t.as_str(), *e)).collect();
        assert_eq!(found, expected);
        assert_eq!(bytes, chunks.concat().len() as u64);
        assert_eq!((cut, hash), (false, Hash::of(&chunks.concat())));
    }

    #[test]
    fn lines_are_put_together() {
        check(
            &[b"on", b"e\n\ntw", b"o\n"],
            &[("one", true), ("", true), ("two", true)],
        );
        check(&[b"a\nno newline"], &[("a", true), ("no newline", false)]);
        check(
            &[b"\xc3", b"\xa9\n\xff\n"],
            &[("é", true), ("\u{fffd}", true)],
        );
        check(&[], &[]);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let long = "é".repeat(PIECE_BYTES_MAX / 2);
        let odd = format!("x{long}\n");
        let (first, last) = odd.trim_end().split_at(PIECE_BYTES_MAX - 1);
        check(&[odd.as_bytes()], &[(first, false), (last, true)]);
        check(&[long.as_bytes(), b"\n"], &[(&long, false), ("", true)]);
        // What is no text is cut somewhere, and goes on.
        let (found, _) = pieces(1 << 20, &[&[0x80; PIECE_BYTES_MAX + 5]]);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn what_is_too_much_is_counted_and_dropped() {
        let (found, (bytes, cut, hash)) = pieces(5, &[b"one\ntwo\n", b"three"]);
        assert_eq!(found, [("one".into(), true), ("t".into(), false)]);
        assert_eq!((bytes, cut, hash), (13, true, Hash::of(b"one\ntwo\nthree")));
    }

    #[test]
    fn a_reader_that_wants_no_more_gets_no_more() {
        let mut calls = 0;
        let mut reader = |_| {
            calls += 1;
            ControlFlow::Break(())
        };
        let mut output = Output::new(100, &mut reader);
        let mut lines = Lines::new(Source::Stdout);
        let flow = output.push(&mut lines, b"a\nb\n");
        assert_eq!(flow, ControlFlow::Break(Why::Stopped));
        assert_eq!(calls, 1);
    }
}
