//! A body cut into frames: server-sent events, or lines.
//!
//! A frame without its end is none: what a cut connection left of one is not shown.

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sse_stream::SseByteStream;

use crate::provider::Framing;

type Body = Pin<Box<dyn Stream<Item = Result<Bytes, FrameFault>> + Send>>;

/// Why there is no further frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameFault {
    /// The connection failed.
    #[error("{0}")]
    Cut(String),
    /// More bytes came than may.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// A frame is not UTF-8.
    #[error("the answer is not UTF-8")]
    NotUtf8,
}

/// The frames of one answer.
pub(crate) enum Frames {
    Sse(SseByteStream<Body>),
    Lines {
        body: Body,
        /// The beginning of a line.
        part: Vec<u8>,
        lines: VecDeque<Vec<u8>>,
    },
}

impl Frames {
    /// Cuts a body of at most so many bytes.
    pub(crate) fn new<E: std::fmt::Display + 'static>(
        body: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
        framing: Framing,
        bytes_max: usize,
    ) -> Self {
        let mut left = bytes_max;
        let body: Body = Box::pin(body.map(move |chunk| {
            let chunk = chunk.map_err(|fault| FrameFault::Cut(fault.to_string()))?;
            left = left
                .checked_sub(chunk.len())
                .ok_or(FrameFault::TooLarge(bytes_max))?;
            Ok(chunk)
        }));
        match framing {
            Framing::Sse => Self::Sse(SseByteStream::new(body)),
            Framing::Lines => Self::Lines {
                body,
                part: Vec::new(),
                lines: VecDeque::new(),
            },
        }
    }

    /// The data of the next frame that has some.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, FrameFault> {
        match self {
            Self::Sse(events) => loop {
                match events.next().await {
                    None => return Ok(None),
                    Some(Ok(event)) => {
                        if let Some(data) = event.data.filter(|data| !data.is_empty()) {
                            return Ok(Some(data));
                        }
                    }
                    Some(Err(sse_stream::Error::Body(fault))) => {
                        let fault = fault.downcast::<FrameFault>();
                        return Err(fault.map_or_else(|f| FrameFault::Cut(f.to_string()), |f| *f));
                    }
                    Some(Err(_)) => return Err(FrameFault::NotUtf8),
                }
            },
            Self::Lines { body, part, lines } => loop {
                if let Some(line) = lines.pop_front() {
                    let line = String::from_utf8(line).map_err(|_| FrameFault::NotUtf8)?;
                    if line.trim().is_empty() {
                        continue;
                    }
                    return Ok(Some(line));
                }
                let Some(chunk) = body.next().await.transpose()? else {
                    return Ok(None);
                };
                for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
                    part.extend_from_slice(piece);
                    if part.ends_with(b"\n") {
                        lines.push_back(std::mem::take(part));
                    }
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    /// The frames of these bytes, handed over in pieces of this size.
    async fn cut(bytes: &[u8], size: usize, framing: Framing) -> Result<Vec<String>, String> {
        let chunks: Vec<_> = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
        let body = stream::iter(chunks.into_iter().map(Ok::<_, Infallible>));
        let mut frames = Frames::new(body, framing, 1000);
        let mut all = Vec::new();
        while let Some(frame) = frames.next().await.map_err(|fault| fault.to_string())? {
            all.push(frame);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn borders_of_chunks_do_not_matter() {
        let text = ": hello\n\nevent: x\ndata: né 日本\r\n\r\n:keep-alive\ndata: two\ndata: lines\nid: 7\n\ndata:\n\ndata: half";
        for size in 1..text.len() {
            let frames = cut(text.as_bytes(), size, Framing::Sse).await;
            assert_eq!(frames.unwrap(), ["né 日本", "two\nlines"], "{size}");
        }
        let text = "{\"a\":\"né\"}\r\n\n{\"b\":1}\n{\"half";
        for size in 1..text.len() {
            let frames = cut(text.as_bytes(), size, Framing::Lines).await;
            assert_eq!(
                frames.unwrap(),
                ["{\"a\":\"né\"}\r\n", "{\"b\":1}\n"],
                "{size}"
            );
        }
    }

    #[tokio::test]
    async fn too_much_and_no_text_are_faults() {
        for framing in [Framing::Sse, Framing::Lines] {
            let endless = "data: x".repeat(200);
            let fault = cut(endless.as_bytes(), 50, framing).await.unwrap_err();
            assert!(fault.contains("longer than 1000 bytes"), "{fault}");
            let fault = cut(b"data: \xff\n\n", 5, framing).await.unwrap_err();
            assert!(fault.contains("not UTF-8"), "{fault}");
        }
    }
}
