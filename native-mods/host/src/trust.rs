//! Whose modules may load: a list of hashes, signatures by known keys, or anybody's.

use minisign_verify::{PublicKey, Signature};

/// What a file must show to be loaded, besides being in the right place.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Its sha256 is in the manifest.
    Manifest,
    /// A file `NAME.so.minisig` beside it was made by one of these keys.
    Signature(Keys),
    /// Nothing. Whoever can write to the module directory decides what the host runs.
    Any,
}

/// Public keys in the format of minisign.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<PublicKey>);

/// A text that is no minisign public key.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no minisign public key; write the line of the .pub file that begins with RW")]
pub struct BadKey(String);

impl Keys {
    /// Reads keys: each the whole text of a `.pub` file, or its line of base64.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadKey> {
        let key = |text: &'a str| {
            let line = text.trim().lines().last().unwrap_or_default();
            PublicKey::from_base64(line).map_err(|_| BadKey(line.chars().take(80).collect()))
        };
        Ok(Self(texts.into_iter().map(key).collect::<Result<_, _>>()?))
    }

    /// Whether one of the keys signed these bytes.
    pub(crate) fn signed(&self, bytes: &[u8], signature: &Signature) -> bool {
        // Signatures of the old kind, over the bytes and not over their hash, are as good.
        self.0
            .iter()
            .any(|key| key.verify(bytes, signature, true).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_key_is_refused() {
        assert!(Keys::parse(["RWnonsense"]).is_err());
        assert!(Keys::parse([""]).is_err());
    }
}
