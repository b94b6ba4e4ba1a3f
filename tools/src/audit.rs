//! The record of everything that was decided and done, which can't be changed unnoticed.
//!
//! | file | what it owns |
//! |---|---|
//! | `entry.rs` | one line: its fields, its hash |
//! | `log.rs` | the files: appending, rotation, what a crash left behind |
//! | `head.rs` | signed heads, by which a cut end is found |
//! | `verify.rs` | the whole chain, read back |
//!
//! A directory holds `audit-000001.ndjson`, `audit-000002.ndjson`, ..., of which the last one grows;
//! `heads.ndjson`, to which a signed head is appended from time to time; `audit.key`, the secret
//! key (0600), and `audit.pub`. Every line is one JSON object and holds the hash of the line before
//! it; the first line of a file holds that of the last line of the file before.
//!
//! Who can write to the directory *and* read the key can write another history. Keep a copy of the
//! heads on another machine to find that out as well.

mod entry;
mod head;
mod log;
mod verify;

use std::path::{Path, PathBuf};

pub use self::entry::{ENTRY_BYTES_MAX, Entry, Event, Hash};
pub use self::head::Head;
pub use self::log::{AuditLog, AuditOptions};
pub use self::verify::{Finding, Problem, Report, verify};

/// Why something can't be recorded, so that it must not be done.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file system refuses to keep the record.
    #[error(
        "the audit log at {path} can't be written ({source}); free space there or repair it, until then nothing is run"
    )]
    AuditUnavailable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process writes to it.
    #[error("the audit log at {path} is in use by another process; stop that one first")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// What is there is no record that can be continued.
    #[error(
        "the audit log at {path}, line {line}, is damaged: {what}; run `fazai audit verify`, keep a copy, and move it away"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// What is appended would be lost.
    #[error(
        "the audit log at {path} was moved, removed or replaced while the worker writes to it; put it back, or start the worker again to begin another; until then nothing is run"
    )]
    Moved {
        /// The file.
        path: PathBuf,
    },
    /// One entry is larger than [`ENTRY_BYTES_MAX`].
    #[error(
        "an audit entry has {bytes} bytes and {ENTRY_BYTES_MAX} are allowed; shorten the command"
    )]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
}

fn unavailable(path: &Path) -> impl FnOnce(std::io::Error) -> AuditError + use<'_> {
    move |source| AuditError::AuditUnavailable {
        path: path.into(),
        source,
    }
}

#[cfg(test)]
mod tests;
