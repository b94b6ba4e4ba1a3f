//! Bytes of a module to text: what is no UTF-8 becomes U+FFFD, and a character that arrives in two
//! pieces is put together.

/// Pieces to text.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The first bytes of a character that the last piece cut.
    cut: Vec<u8>,
}

impl Decoder {
    /// The text that is complete with this piece.
    pub(crate) fn push(&mut self, mut piece: Vec<u8>) -> String {
        let mut bytes = std::mem::take(&mut self.cut);
        // A large result is one piece, and not copied.
        if bytes.is_empty() {
            bytes = piece;
        } else {
            bytes.append(&mut piece);
        }
        if let Err(error) = std::str::from_utf8(&bytes[whole_from(&bytes)..])
            && error.error_len().is_none()
        {
            let at = whole_from(&bytes) + error.valid_up_to();
            self.cut = bytes.split_off(at);
        }
        text(bytes)
    }

    /// What is left at the end: a character that never was completed.
    pub(crate) fn finish(&mut self) -> String {
        text(std::mem::take(&mut self.cut))
    }
}

/// Bytes to text at once.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Where the last character begins; only it can be cut.
fn whole_from(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    let begins = |byte: &u8| *byte & 0b1100_0000 != 0b1000_0000;
    bytes[from..]
        .iter()
        .rposition(begins)
        .map_or(bytes.len(), |at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_give_the_same_text_however_they_are_cut() {
        for whole in [
            "aé€😀z".as_bytes(),
            b"\xffa\xf0\x9f\x98b",
            b"\x80\x80\x80\x80",
            b"a\xe2\x82",
        ] {
            let expected = String::from_utf8_lossy(whole);
            for size in 1..=whole.len() {
                let mut decoder = Decoder::default();
                let mut got: String = whole
                    .chunks(size)
                    .map(|piece| decoder.push(piece.to_vec()))
                    .collect();
                got.push_str(&decoder.finish());
                assert_eq!(got, expected, "in pieces of {size}");
            }
        }
    }
}
