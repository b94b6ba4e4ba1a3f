//! Signed heads: how long the record was at some time, by a key that its files don't hold.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
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
        match File::open(&path) {
            Ok(file) => Self::read(file, &path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::make(directory),
            Err(error) => Err(unavailable(&path)(error)),
        }
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

    fn make(directory: &Path) -> Result<Self, AuditError> {
        let path = directory.join(KEY_FILE);
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| unavailable(&path)(error.into()))?;
        let key = SigningKey::from_bytes(&secret);
        write_new(&path, &hex::encode(secret))?;
        write_new(
            &directory.join(PUBLIC_KEY_FILE),
            &hex::encode(key.verifying_key().to_bytes()),
        )?;
        Ok(Self(key))
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
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(NO_LINKS)
            .open(&path)
            .map_err(unavailable(&path))?;
        file.write_all(line.as_bytes())
            .and_then(|()| file.sync_data())
            .map_err(unavailable(&path))?;
        Ok(head)
    }
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
