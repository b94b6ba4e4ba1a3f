//! Small files of text: settings, tables, schemas, whatever somebody names. What is named may be
//! anything, /dev/zero too.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// No such file has a reason to be larger.
pub const BYTES_MAX: u64 = 1 << 20;

/// Reads a file, or a pipe.
///
/// # Errors
/// It can't be read, is no text in UTF-8, or has more than [`BYTES_MAX`].
pub fn read(path: &Path) -> io::Result<String> {
    read_from(File::open(path)?)
}

/// Reads what is open already.
///
/// # Errors
/// As [`read`].
pub fn read_from(from: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is no text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_refused() {
        let text = read_from(&b"a text"[..]).expect("a text");
        assert_eq!(text, "a text");
        let fault = read(Path::new("/dev/zero")).expect_err("endless");
        assert!(fault.to_string().contains("larger"), "{fault}");
        let fault = read_from(&b"\xff"[..]).expect_err("no text");
        assert!(fault.to_string().contains("UTF-8"), "{fault}");
    }
}
