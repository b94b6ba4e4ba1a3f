//! Signed heads: how long the record was at some time, by a key that its files don't hold.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::log::NO_LINKS;
use super::{AuditError, Hash, unavailable};

/// The file of the secret key, in hexadecimal digits.
pub(super) const KEY_FILE: &str = "audit.key";
/// The file of the public key.
pub(super) const PUBLIC_KEY_FILE: &str = "audit.pub";
/// The file that heads are appended to.
pub(super) const HEADS_FILE: &str = "heads.ndjson";

/// How much of the heads is read at once to find the end of the last one; a head has some 250 bytes.
const LOOK_BACK_BYTES: u64 = 512;

/// The end of the record at some time, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The last entry.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
    /// When it was signed.
    pub time: jiff::Timestamp,
    /// An Ed25519 signature, in hexadecimal digits, over `seq hash time`.
    pub signature: String,
}

/// The secret key. It is wiped from memory when it is dropped.
pub(super) struct Key(SigningKey);

impl Key {
    /// Reads the key of a directory, or makes one.
    pub(super) fn open(directory: &Path) -> Result<Self, AuditError> {
        let path = directory.join(KEY_FILE);
        let key = match File::open(&path) {
            Ok(file) => Self::read(file, &path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(&path)?,
            Err(error) => return Err(unavailable(&path)(error)),
        };
        let public = directory.join(PUBLIC_KEY_FILE);
        // Who made the key may have been killed before this, or the disk was full.
        if !public.try_exists().map_err(unavailable(&public))? {
            write_new(&public, &hex::encode(key.0.verifying_key().to_bytes()))?;
        }
        Ok(key)
    }

    fn read(file: File, path: &Path) -> Result<Self, AuditError> {
        let mut text = String::new();
        file.take(1024)
            .read_to_string(&mut text)
            .map_err(unavailable(path))?;
        let mut secret = [0; 32];
        hex::decode_to_slice(text.trim(), &mut secret).map_err(|_| AuditError::Damaged {
            path: path.into(),
            line: 1,
            what: "it is no key of 64 hexadecimal digits".into(),
        })?;
        Ok(Self(SigningKey::from_bytes(&secret)))
    }

    fn make(path: &Path) -> Result<Self, AuditError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| unavailable(path)(error.into()))?;
        write_new(path, &hex::encode(secret))?;
        Ok(Self(SigningKey::from_bytes(&secret)))
    }

    /// Appends a head.
    pub(super) fn sign(&self, directory: &Path, seq: u64, hash: Hash) -> Result<Head, AuditError> {
        let time = jiff::Timestamp::now();
        let signature = hex::encode(self.0.sign(message(seq, hash, time).as_bytes()).to_bytes());
        let head = Head {
            seq,
            hash,
            time,
            signature,
        };
        let path = directory.join(HEADS_FILE);
        let line = serde_json::to_string(&head).unwrap_or_default() + "\n";
        let mut heads = open_heads(&path, true).map_err(unavailable(&path))?;
        append_whole(&mut heads, line.as_bytes()).map_err(unavailable(&path))?;
        Ok(head)
    }
}

/// Cuts off half a head that a crash or a full disk left behind.
pub(super) fn cut_half_head(directory: &Path) -> Result<(), AuditError> {
    let path = directory.join(HEADS_FILE);
    match open_heads(&path, false).and_then(|mut file| cut_half_line(&mut file)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unavailable(&path)(error)),
    }
}

fn open_heads(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(create)
        .mode(0o600)
        .custom_flags(NO_LINKS)
        .open(path)
}

/// Appends a line to what is whole; of one that can't be written nothing stays.
fn append_whole(file: &mut File, line: &[u8]) -> io::Result<()> {
    let before = cut_half_line(file)?;
    let written = file.write_all(line).and_then(|()| file.sync_data());
    if written.is_err() {
        // If that fails as well, the next one cuts it off.
        let _ = file.set_len(before);
    }
    written
}

/// Cuts off what stands after the last newline. Answers how long the file is then.
fn cut_half_line(file: &mut File) -> io::Result<u64> {
    let bytes = file.metadata()?.len();
    let mut end = bytes;
    let mut piece = Vec::new();
    while end > 0 {
        let from = end.saturating_sub(LOOK_BACK_BYTES);
        piece.clear();
        file.seek(SeekFrom::Start(from))?;
        Read::by_ref(file)
            .take(end - from)
            .read_to_end(&mut piece)?;
        match piece.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => {
                end = from + at as u64 + 1;
                break;
            }
            None => end = from,
        }
    }
    if end < bytes {
        file.set_len(end)?;
        file.sync_all()?;
    }
    Ok(end)
}

/// A key is written whole or not at all: half a key would be one that signs nothing of before.
fn write_new(path: &Path, text: &str) -> Result<(), AuditError> {
    let partial = path.with_extension("partial");
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().map_err(unavailable(path))
}

impl Head {
    /// Whether the key signed it.
    pub(super) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        let mut bytes = [0; 64];
        hex::decode_to_slice(&self.signature, &mut bytes).is_ok()
            && key
                .verify(
                    message(self.seq, self.hash, self.time).as_bytes(),
                    &Signature::from_bytes(&bytes),
                )
                .is_ok()
    }
}

/// The public key of a directory.
pub(super) fn public_key(directory: &Path) -> Option<VerifyingKey> {
    let text = fs::read_to_string(directory.join(PUBLIC_KEY_FILE)).ok()?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim(), &mut bytes).ok()?;
    VerifyingKey::from_bytes(&bytes).ok()
}

fn message(seq: u64, hash: Hash, time: jiff::Timestamp) -> String {
    format!("fazai audit head {seq} {hash} {time}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_is_cut_off_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(HEADS_FILE);
        let half = "x".repeat(2000);
        let cases = [
            (String::new(), 0),
            ("a\nb\n".into(), 4),
            ("a\nb".into(), 2),
            (half.clone(), 0),
            (format!("a\n{half}"), 2),
        ];
        for (text, whole) in cases {
            fs::write(&path, &text).expect("written");
            cut_half_head(directory.path()).expect("cut");
            let left = fs::read_to_string(&path).expect("text");
            assert_eq!(left, text[..whole]);
        }
        fs::remove_file(&path).expect("removed");
        cut_half_head(directory.path()).expect("there is none");
    }

    #[test]
    fn a_head_that_does_not_fit_leaves_nothing() {
        let mut full = File::options()
            .read(true)
            .append(true)
            .open("/dev/full")
            .expect("/dev/full");
        assert!(append_whole(&mut full, b"a\n").is_err());
    }
}
