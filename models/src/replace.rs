//! Files that are written whole: a reader sees the old one or the new one, never half of it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes a directory, with those above it, that only its owner can look into.
pub(crate) fn private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Puts a file in the place of another, if there is one. Only its owner can read it.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let replaced = (|| {
        let mut file = options.open(&part)?;
        write(&mut file)?;
        file.sync_data()?;
        fs::rename(&part, path)
    })();
    if replaced.is_err() {
        let _ = fs::remove_file(&part);
    }
    replaced
}
