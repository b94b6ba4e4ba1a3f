//! Bytes to lines, with a bound on memory and a way back after a line that is too long.

/// What the framer found next.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// One line, without its newline (and without a carriage return before it).
    Line(Vec<u8>),
    /// A line crossed the limit. Carries its first bytes, so that the request's id may
    /// still be read; the rest is dropped up to the next newline.
    TooLong {
        /// The first `line_bytes_max` bytes.
        head: Vec<u8>,
    },
}

/// Splits a byte stream into lines of at most `max` bytes.
///
/// Pure: it is fed with [`push`](Self::push) and drained with [`next_frame`](Self::next_frame).
/// It never holds more than `max` bytes plus what one `push` brought.
#[derive(Debug)]
pub struct LineFramer {
    buffer: Vec<u8>,
    /// Where the next line begins; what lies before was handed out.
    start: usize,
    /// Bytes before this index are known to hold no newline.
    scanned: usize,
    max: usize,
    /// Inside a line that was too long, waiting for its end.
    skipping: bool,
}

impl LineFramer {
    /// A framer for lines of at most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            max,
            skipping: false,
        }
    }

    /// Adds bytes as they came from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete line, or the news that one is too long. `None`: more bytes are needed.
    /// Blank lines are passed over.
    pub fn next_frame(&mut self) -> Option<Frame> {
        loop {
            let newline = memchr::memchr(b'\n', &self.buffer[self.scanned..])
                .map(|offset| self.scanned + offset);
            if self.skipping {
                self.advance(newline.map_or(self.buffer.len(), |at| at + 1));
                newline?;
                self.skipping = false;
                continue;
            }
            let end = newline.unwrap_or(self.buffer.len());
            if end - self.start > self.max {
                let head = self.buffer[self.start..self.start + self.max].to_vec();
                self.advance(self.start + self.max);
                self.skipping = true;
                return Some(Frame::TooLong { head });
            }
            if newline.is_none() {
                self.scanned = end;
                return None;
            }
            let line = &self.buffer[self.start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let blank = line.iter().all(u8::is_ascii_whitespace);
            let line = if blank { Vec::new() } else { line.to_vec() };
            self.advance(end + 1);
            if !blank {
                return Some(Frame::Line(line));
            }
        }
    }

    /// The last line of a stream that ended without a newline.
    pub fn finish(&mut self) -> Option<Frame> {
        self.push(b"\n");
        self.next_frame()
    }

    fn advance(&mut self, to: usize) {
        self.start = to;
        self.scanned = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(max: usize, pieces: &[&[u8]]) -> Vec<Frame> {
        let mut framer = LineFramer::new(max);
        let mut found = Vec::new();
        for piece in pieces {
            framer.push(piece);
            while let Some(frame) = framer.next_frame() {
                found.push(frame);
            }
        }
        found.extend(framer.finish());
        found
    }

    fn line(text: &str) -> Frame {
        Frame::Line(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_come_whole_however_the_bytes_are_cut() {
        let text = b"{\"a\":1}\r\n\n  \n{\"b\":2}\nlast";
        let expected = vec![line("{\"a\":1}"), line("{\"b\":2}"), line("last")];
        assert_eq!(frames(100, &[text]), expected);
        let single_bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(frames(100, &single_bytes), expected);
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_byte_more_does_not() {
        assert_eq!(frames(4, &[b"abcd\nxy\n"]), vec![line("abcd"), line("xy")]);
        let too_long = Frame::TooLong {
            head: b"abcd".to_vec(),
        };
        assert_eq!(frames(4, &[b"abcde\nxy\n"]), vec![too_long, line("xy")]);
    }

    #[test]
    fn an_endless_line_costs_bounded_memory_and_is_reported_once() {
        let mut framer = LineFramer::new(16);
        let mut reports = 0;
        for _ in 0..10_000 {
            framer.push(&[b'x'; 64]);
            while let Some(frame) = framer.next_frame() {
                assert!(matches!(frame, Frame::TooLong { .. }));
                reports += 1;
            }
            assert!(
                framer.buffer.capacity() <= 256,
                "{}",
                framer.buffer.capacity()
            );
        }
        assert_eq!(reports, 1);
        framer.push(b"\nok\n");
        assert_eq!(framer.next_frame(), Some(line("ok")));
    }
}
