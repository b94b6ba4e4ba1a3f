//! Any token bytes through the text stream: what is shown is the same however the bytes are cut.
#![no_main]

use fazai_models::text::{Channel, TextStream, ThinkTags};
use libfuzzer_sys::fuzz_target;

/// The shown text of each channel.
fn shown<'a>(pieces: impl Iterator<Item = &'a [u8]>, stops: &[String]) -> (String, String) {
    let tags = ThinkTags {
        open: "<t>".to_owned(),
        close: "</t>".to_owned(),
    };
    let mut stream = TextStream::new(Channel::Answer, Some(tags), stops.to_vec());
    let mut out = Vec::new();
    for piece in pieces {
        stream.push(piece, &mut out);
    }
    stream.finish(&mut out);
    let join = |channel| {
        let parts = out.iter().filter(|piece| piece.channel == channel);
        parts.map(|piece| piece.text.as_str()).collect()
    };
    (join(Channel::Thinking), join(Channel::Answer))
}

fuzz_target!(|input: (Vec<Vec<u8>>, Vec<String>)| {
    let (pieces, stops) = input;
    let stops: Vec<String> = stops.into_iter().filter(|stop| !stop.is_empty()).take(4).collect();
    let whole: Vec<u8> = pieces.concat();
    let cut = shown(pieces.iter().map(Vec::as_slice), &stops);
    let bytes = shown(whole.chunks(1), &stops);
    assert_eq!(cut, bytes);
    for stop in &stops {
        assert!(!cut.1.contains(stop.as_str()) || stop.contains('\u{fffd}'));
    }
});
