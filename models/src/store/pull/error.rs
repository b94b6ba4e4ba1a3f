//! Why a download failed, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::gguf::GgufError;
use crate::store::{BadReference, Holder, StoreError};

/// Why a model could not be downloaded. What a network brought so far stays on the disk; a sum
/// or a size that does not fit means that it was wrong, and removes it.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Neither an alias nor a reference.
    #[error(transparent)]
    Reference(#[from] BadReference),
    /// The store can't show what was downloaded.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Downloads are switched off.
    #[error("downloads are switched off (offline, or HF_HUB_OFFLINE is set)")]
    Offline,
    /// Another process downloads or removes the same model.
    #[error("{holder} is changing the model {name}; wait for it, or stop it")]
    Locked {
        /// The model.
        name: String,
        /// Who.
        holder: Holder,
    },
    /// A file of that name is there and came from somewhere else.
    #[error(
        "there is a model {name} already, {source_text}; `fazai models rm {name}` or rename it \
         before you download another of that name"
    )]
    Taken {
        /// The model.
        name: String,
        /// Where it came from.
        source_text: String,
    },
    /// The store's directory can't be used.
    #[error(
        "the models' directory {} can't be used: {fault}; choose another one or change its \
         permissions", .path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        fault: io::Error,
    },
    /// It would not fit.
    #[error(
        "the download needs {} MiB and {} MiB are free in {}; make room, or choose a smaller model",
        mib(*needed), free >> 20, .path.display()
    )]
    NoRoom {
        /// What is still to be fetched, and what has to stay free.
        needed: u64,
        /// What is free.
        free: u64,
        /// Where.
        path: PathBuf,
    },
    /// The disk was full before the end.
    #[error(
        "the disk is full: {}; make room and run the same command again, it goes on from there",
        .0.display()
    )]
    DiskFull(PathBuf),
    /// A file in the store can't be read or written.
    #[error("{}: {fault}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        fault: io::Error,
    },
    /// The options or the environment name no usable hub.
    #[error("{endpoint} is not the address of a hub: {why}; set HF_ENDPOINT to https://HOST")]
    Endpoint {
        /// What they name.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// The hub has no such repository, revision or file.
    #[error("the hub has no {what}{}", said(message))]
    NotFound {
        /// What it does not have.
        what: String,
        /// What the hub says.
        message: Option<String>,
    },
    /// The model's owner wants its licence accepted first.
    #[error(
        "{repository} is gated: accept its licence on the hub's page of it, then set HF_TOKEN to a \
         token of the account that did{}",
        said(message)
    )]
    Gated {
        /// `OWNER/REPO`.
        repository: String,
        /// What the hub says.
        message: Option<String>,
    },
    /// The hub wants to know who asks, or does not let them.
    #[error(
        "the hub refuses {repository} ({status}): {}{}",
        if *token { "the account of HF_TOKEN has no access to it, or it does not exist" }
        else { "it is private or does not exist; check its name, or set HF_TOKEN" },
        said(message)
    )]
    Denied {
        /// `OWNER/REPO`.
        repository: String,
        /// 401 or 403.
        status: u16,
        /// Whether a token was sent.
        token: bool,
        /// What the hub says.
        message: Option<String>,
    },
    /// Too many requests.
    #[error(
        "the hub says that this is too much at once (429); try again {}, or set HF_TOKEN for \
         higher limits", wait(*retry_after)
    )]
    RateLimited {
        /// When the hub wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The hub answered with another error.
    #[error(
        "the hub failed with status {status}; try again later{}",
        said(message)
    )]
    Hub {
        /// The HTTP status.
        status: u16,
        /// What the hub says.
        message: Option<String>,
    },
    /// The connection failed, again and again.
    #[error(
        "the connection failed: {why}; run the same command again, it goes on from where it was"
    )]
    Network {
        /// The last failure.
        why: String,
    },
    /// The answer is not what a hub answers.
    #[error("{endpoint} does not answer like a model hub: {what}")]
    Malformed {
        /// Who.
        endpoint: String,
        /// What is wrong.
        what: String,
    },
    /// Nobody knows what the file should be.
    #[error(
        "the hub states no SHA-256 for {file}, so it can't be checked; download it by hand and put \
         it into the models' directory if you trust it"
    )]
    NoSum {
        /// The file.
        file: String,
    },
    /// The hub's file is not the one in the catalogue.
    #[error(
        "the hub has another {file} than the catalogue knows: its sha256 is {announced}, not \
         {expected}; nothing was downloaded"
    )]
    OtherFile {
        /// The file.
        file: String,
        /// The catalogue's sum.
        expected: String,
        /// The hub's sum.
        announced: String,
    },
    /// The bytes are not those that were promised.
    #[error(
        "{file} arrived damaged: its sha256 is {found}, not {expected}; it was removed, so run the \
         same command again"
    )]
    Sum {
        /// The file.
        file: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The file is not as long as was promised.
    #[error(
        "{file} should have {expected} bytes and has {found}; what arrived was removed, so run the \
         same command again"
    )]
    Size {
        /// The file.
        file: String,
        /// What was promised.
        expected: u64,
        /// What came, or what the later answer promised.
        found: u64,
    },
    /// The file is something else.
    #[error("{file} is not a usable model: {fault}; it was removed")]
    NotAModel {
        /// The file.
        file: String,
        /// What is wrong with it.
        fault: GgufError,
    },
    /// The program ends.
    #[error("the download was stopped; run the same command again, it goes on from where it was")]
    Stopped,
}

impl PullError {
    /// A fault of a file in the store, told apart by what a person would do about it.
    pub(crate) fn file(path: &Path, fault: io::Error) -> Self {
        let path = path.to_owned();
        match fault.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(path),
            _ => Self::File { path, fault },
        }
    }
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

fn said(message: &Option<String>) -> String {
    match message {
        Some(message) => format!(" (it says: {message})"),
        None => String::new(),
    }
}

fn wait(retry_after: Option<Duration>) -> String {
    match retry_after {
        Some(wait) => format!("in {} s", wait.as_secs().max(1)),
        None => "later".into(),
    }
}

/// Longest text of a hub in an error message, in characters.
const MESSAGE_CHARS_MAX: usize = 200;

/// A hub's text as it may be shown on a terminal; none if there is nothing in it.
pub(crate) fn clean(text: &str) -> Option<String> {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let text: String = plain.take(MESSAGE_CHARS_MAX).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hubs_text_is_short_and_moves_no_cursor() {
        assert_eq!(clean("\u{1b}[31mno\r\n").as_deref(), Some("[31mno"));
        assert_eq!(clean(" \n"), None);
        assert_eq!(
            clean(&"x".repeat(100_000)).map(|text| text.len()),
            Some(200)
        );
    }

    #[test]
    fn a_full_disk_is_told_from_other_faults() {
        let fault = |kind: io::ErrorKind| PullError::file(Path::new("/x"), kind.into());
        assert!(matches!(
            fault(io::ErrorKind::StorageFull),
            PullError::DiskFull(_)
        ));
        assert!(matches!(
            fault(io::ErrorKind::QuotaExceeded),
            PullError::DiskFull(_)
        ));
        assert!(matches!(
            fault(io::ErrorKind::ReadOnlyFilesystem),
            PullError::File { .. }
        ));
    }
}
