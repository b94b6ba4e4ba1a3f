//! From bytes to lines.

/// Cuts bytes into lines. One that is too long comes cut, and the rest of it is skipped.
#[derive(Debug)]
pub struct Lines {
    bytes_max: usize,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    skipping: bool,
    /// Bytes of the line that has begun, with what was skipped.
    pending: u64,
}

impl Lines {
    /// Lines have at most so many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max: bytes_max.max(1),
            begun: Vec::new(),
            skipping: false,
            pending: 0,
        }
    }

    /// Takes the next bytes; `each` gets the lines that end in them, and how many bytes each took
    /// with its end.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(u64, &[u8])) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            let took = self.pending + end as u64 + 1;
            if self.begun.is_empty() && !self.skipping {
                each(took, strip(&line[..line.len().min(self.bytes_max)]));
            } else {
                self.keep(line);
                each(took, strip(&self.begun));
            }
            self.begun.clear();
            self.skipping = false;
            self.pending = 0;
            bytes = rest;
        }
        self.keep(bytes);
        self.pending += bytes.len() as u64;
    }

    /// There will be no more: the last line may lack its end.
    pub fn end(&mut self, mut each: impl FnMut(u64, &[u8])) {
        if self.pending > 0 {
            each(self.pending, strip(&self.begun));
        }
        *self = Self::new(self.bytes_max);
    }

    /// Bytes of the line that has begun.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.pending
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.bytes_max.saturating_sub(self.begun.len());
        self.begun
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.skipping |= bytes.len() > room;
    }
}

fn strip(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_the_bytes_come() {
        let text = b"one\r\n\ntoo long for this\nlast\nhalf";
        for step in 1..text.len() {
            let mut lines = Lines::new(8);
            let mut found = Vec::new();
            let mut each =
                |took, line: &[u8]| found.push((took, String::from_utf8_lossy(line).into_owned()));
            for bytes in text.chunks(step) {
                lines.push(bytes, &mut each);
            }
            lines.end(&mut each);
            let expected = [
                (5, "one"),
                (1, ""),
                (18, "too long"),
                (5, "last"),
                (4, "half"),
            ];
            assert_eq!(
                found,
                expected.map(|(took, line)| (took, line.to_owned())),
                "{step}"
            );
            assert_eq!(lines.pending(), 0);
        }
    }
}
