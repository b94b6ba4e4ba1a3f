//! The small model that is part of the program, for a machine without any other.

use sha2::{Digest, Sha256};

use crate::hex::hex;

/// The name under which it is asked for.
pub const NAME: &str = "builtin";

/// The name under which it answers.
pub const TITLE: &str = "fazai-builtin";

static GGUF: &[u8] = include_bytes!("../builtin/fazai-builtin.gguf");

/// What the file was when it was trained and evaluated. `models/builtin/export.py` prints it.
pub(crate) const SHA256: &str = include_str!("../builtin/fazai-builtin.gguf.sha256");

/// The bytes are not those that were evaluated.
#[derive(Debug, thiserror::Error)]
#[error(
    "the built-in model is damaged: its sha256 is {found}, not {expected}; install the program again"
)]
pub struct Damaged {
    found: String,
    expected: String,
}

/// The model's bytes, after checking that they are the ones that were evaluated.
///
/// # Errors
/// The program was built with another file, or was damaged since.
pub fn verified() -> Result<&'static [u8], Damaged> {
    check(GGUF)
}

fn check(bytes: &[u8]) -> Result<&[u8], Damaged> {
    let found = hex(&Sha256::digest(bytes));
    let expected = SHA256.split_whitespace().next().unwrap_or_default();
    if found == expected {
        Ok(bytes)
    } else {
        Err(Damaged {
            found,
            expected: expected.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_one_that_was_evaluated_and_one_bit_matters() {
        let good = verified().expect("the committed file and its sum belong together");
        let mut bad = good.to_vec();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        let error = check(&bad).expect_err("damaged").to_string();
        assert!(error.contains("is damaged"), "{error}");
    }
}
