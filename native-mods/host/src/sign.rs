//! Making keys and signatures, in the format of minisign's own files.

use minisign::{ErrorKind, KeyPair, PError, PublicKey, SecretKey, SecretKeyBox};

/// How the base64 of an encrypted key begins: Ed25519, scrypt, BLAKE2b.
const ENCRYPTED: &str = "RWRTY0Iy";

/// A new pair of keys, each as the text of a file.
#[derive(Clone)]
pub struct Generated {
    /// The file that stays with whoever signs, for their eyes only.
    pub secret_key: String,
    /// The `.pub` file: what hosts are given to trust, see [`Keys::load`](crate::Keys::load).
    pub public_key: String,
}

/// Why nothing was signed, or no key was made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key is encrypted.
    #[error("the secret key is encrypted; give its password")]
    NoPassword,
    /// A damaged key looks the same.
    #[error(
        "the password does not open the secret key; try again, and if you are sure of it, restore \
         the key file from a copy"
    )]
    WrongPassword,
    /// It is no secret key, or was changed since it was written.
    #[error(
        "this is no minisign secret key, or it is damaged; give the whole file that was made \
         together with the .pub file"
    )]
    BadKey,
    /// The system did not do its part, such as giving random numbers.
    #[error("the keys can't be used: {0}; try again")]
    Other(#[from] PError),
}

impl std::fmt::Debug for Generated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the secret: debugging output ends up in logs.
        f.debug_struct("Generated")
            .field("public_key", &self.public_key)
            .finish_non_exhaustive()
    }
}

/// Makes a pair of keys. With a password, which should be there unless a machine signs, the secret
/// one is encrypted.
pub fn generate(password: Option<String>) -> Result<Generated, SignError> {
    let (pair, kind) = match password {
        Some(password) => (
            KeyPair::generate_encrypted_keypair(Some(password)),
            "encrypted",
        ),
        None => (KeyPair::generate_unencrypted_keypair(), "unencrypted"),
    };
    let pair = pair?;
    let comment = format!("minisign {kind} secret key");
    let secret_key = pair.sk.to_box(Some(&comment))?;
    let public_key = pair.pk.to_box()?;
    Ok(Generated {
        secret_key: secret_key.into_string(),
        public_key: public_key.into_string(),
    })
}

/// Signs a module's bytes: the text of the file `NAME.so.minisig` beside it. The name of the file
/// becomes part of what is signed, for people to read.
pub fn sign(
    bytes: &[u8],
    secret_key: &str,
    password: Option<String>,
    file_name: &str,
) -> Result<String, SignError> {
    let key = open(secret_key, password)?;
    // What was signed is verified with it, before anybody has to find out.
    let public = PublicKey::from_secret_key(&key).map_err(|_| SignError::BadKey)?;
    let seconds = std::time::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .as_secs();
    // A line has one end.
    let file: String = file_name.chars().filter(|c| !c.is_control()).collect();
    let comment = format!("timestamp:{seconds}\tfile:{file}\thashed");
    let untrusted = Some("signature from minisign secret key");
    minisign::sign(Some(&public), &key, bytes, Some(&comment), untrusted)
        .map(minisign::SignatureBox::into_string)
        .map_err(SignError::from)
}

/// Reads a secret key, and never asks for a password on a terminal, as the crate would.
fn open(text: &str, password: Option<String>) -> Result<SecretKey, SignError> {
    let key = SecretKeyBox::from_string(text).map_err(|_| SignError::BadKey)?;
    let second_line = text.lines().nth(1).unwrap_or_default();
    if !second_line.starts_with(ENCRYPTED) {
        return key
            .into_unencrypted_secret_key()
            .map_err(|_| SignError::BadKey);
    }
    let password = password.ok_or(SignError::NoPassword)?;
    key.into_secret_key(Some(password))
        .map_err(|error| match error.kind() {
            ErrorKind::Verify => SignError::WrongPassword,
            _ => SignError::BadKey,
        })
}
