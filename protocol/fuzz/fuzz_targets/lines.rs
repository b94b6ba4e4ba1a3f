//! Any bytes, cut anywhere: lines come out, none is longer than the limit, and each is a
//! request or an error.
#![no_main]

use fazai_protocol::{Frame, LineFramer, parse_request};
use libfuzzer_sys::fuzz_target;

const LINE_BYTES_MAX: usize = 256;
const ID_BYTES_MAX: usize = 16;

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let mut framer = LineFramer::new(LINE_BYTES_MAX);
    let check = |frame: Frame| {
        let (Frame::Line(line) | Frame::TooLong { head: line }) = frame;
        assert!(line.len() <= LINE_BYTES_MAX);
        let id = match parse_request(&line, ID_BYTES_MAX) {
            Ok(request) => request.action_id,
            Err(failure) => failure.action_id,
        };
        assert!(id.0.len() <= ID_BYTES_MAX);
    };
    for piece in &pieces {
        framer.push(piece);
        while let Some(frame) = framer.next_frame() {
            check(frame);
        }
    }
    if let Some(frame) = framer.finish() {
        check(frame);
    }
});
