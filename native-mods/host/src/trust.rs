//! Whose modules may load: a list of hashes, signatures by known keys, or anybody's.

use std::path::{Path, PathBuf};

use minisign_verify::{PublicKey, Signature};

use crate::verify::{Refused, read_in};

/// Hundreds of keys.
const KEYS_BYTES_MAX: u64 = 64 << 10;

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

/// Why a file of public keys can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Others could change it, or it can't be read.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A line is neither a key nor a comment.
    #[error("{}, line {line}: {error}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is there.
        error: BadKey,
    },
    /// There are comments only.
    #[error("{} has no key; copy the .pub files of those you trust into it", .0.display())]
    Empty(PathBuf),
}

impl Keys {
    /// Reads a file of public keys, one in a line: one `.pub` file, or several of them one after
    /// the other. Comments (`untrusted comment:` and `#`) and empty lines are passed over. Only
    /// root and the host's own user may be able to change it.
    pub fn load(path: &Path) -> Result<Self, KeysError> {
        let io = |error| {
            let path = path.into();
            Refused::Io { path, error }
        };
        // Links are followed first, so that every directory above the file itself is looked at.
        let path = path.canonicalize().map_err(io)?;
        let dir = path.parent().unwrap_or(&path);
        let (_, _, bytes) = read_in(dir, &path, KEYS_BYTES_MAX)?;
        let mut keys = Vec::new();
        for (index, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || line.starts_with("untrusted comment:") {
                continue;
            }
            keys.push(key(line).map_err(|error| KeysError::Line {
                path: path.clone(),
                line: index + 1,
                error,
            })?);
        }
        if keys.is_empty() {
            return Err(KeysError::Empty(path));
        }
        Ok(Self(keys))
    }

    /// Reads keys: each the whole text of a `.pub` file, or its line of base64.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadKey> {
        let last = |text: &'a str| text.trim().lines().last().unwrap_or_default();
        let keys = texts.into_iter().map(|text| key(last(text)));
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    /// Whether one of the keys signed these bytes.
    pub(crate) fn signed(&self, bytes: &[u8], signature: &Signature) -> bool {
        // Signatures of the old kind, over the bytes and not over their hash, are as good.
        self.0
            .iter()
            .any(|key| key.verify(bytes, signature, true).is_ok())
    }
}

fn key(line: &str) -> Result<PublicKey, BadKey> {
    PublicKey::from_base64(line).map_err(|_| BadKey(line.chars().take(80).collect()))
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
