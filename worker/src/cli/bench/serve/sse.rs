//! Server-sent events, as far as completions use them: every event is one `data:` line.

use anyhow::bail;
use fazai_protocol::{Frame, LineFramer};

/// Longer than any event: the last one of llama-server repeats the prompt.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Bytes to the data of events.
#[derive(Debug)]
pub(super) struct Sse(LineFramer);

impl Default for Sse {
    fn default() -> Self {
        Self(LineFramer::new(LINE_BYTES_MAX))
    }
}

impl Sse {
    /// Adds bytes as they came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    /// The data of the next event; `None`: more bytes are needed.
    pub(super) fn next_event(&mut self) -> anyhow::Result<Option<String>> {
        while let Some(frame) = self.0.next_frame() {
            let Frame::Line(line) = frame else {
                bail!("an event is longer than {LINE_BYTES_MAX} bytes");
            };
            let Ok(line) = String::from_utf8(line) else {
                bail!("an event is not UTF-8");
            };
            // Comments keep a connection alive; names, ids and times to retry say nothing here.
            if let Some(data) = event_data(&line) {
                return Ok(Some(data.to_owned()));
            }
        }
        Ok(None)
    }
}

/// What follows `data:`. Older servers send their errors as `error:`.
fn event_data(line: &str) -> Option<&str> {
    let data = line
        .strip_prefix("data:")
        .or_else(|| line.strip_prefix("error:"))?;
    Some(data.strip_prefix(' ').unwrap_or(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> anyhow::Result<Vec<String>> {
        let mut sse = Sse::default();
        let mut found = Vec::new();
        for piece in pieces {
            sse.push(piece);
            while let Some(event) = sse.next_event()? {
                found.push(event);
            }
        }
        Ok(found)
    }

    #[test]
    fn events_come_whole_however_the_bytes_are_cut() {
        let text = ": a comment\r\ndata: {\"a\":\"n\u{e9}\"}\r\n\r\nevent: x\nid: 1\ndata:b\n\n\
                    data:  c\n\ndata: [DONE]\n\n"
            .as_bytes();
        let expected = ["{\"a\":\"n\u{e9}\"}", "b", " c", "[DONE]"];
        assert_eq!(events(&[text]).expect("good"), expected);
        let single_bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(events(&single_bytes).expect("good"), expected);
    }

    #[test]
    fn an_event_without_its_newline_waits_for_it() {
        assert!(events(&[b"data: half"]).expect("good").is_empty());
    }

    #[test]
    fn an_endless_event_and_one_that_is_no_text_are_errors() {
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        let fault = events(&[b"data: ", &long]).expect_err("too long");
        assert!(fault.to_string().contains("longer than"), "{fault}");
        let fault = events(&[b"data: \xff\n"]).expect_err("not text");
        assert!(fault.to_string().contains("UTF-8"), "{fault}");
    }
}
