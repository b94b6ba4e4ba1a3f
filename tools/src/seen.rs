//! What a person was shown of an action besides its text: what stood in its programs and scripts,
//! which of them were not there, and where its paths led. What runs has to be that.
//!
//! | file | what it owns |
//! |---|---|
//! | `places.rs` | where each path leads, which programs a name means, and which scripts there are |
//! | `script.rs` | which words of a command are code, and what of it can't be looked at |

mod places;
mod script;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::places::Places;
use crate::action::Action;
use crate::audit::Hash;
use crate::text::one_line;

/// How much of a file is looked at. What is longer has a length that is looked at as well.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// How many files of one command are looked at, and how much of all of them.
const FILES_MAX: usize = 64;
const ALL_BYTES_MAX: u64 = 256 << 20;

/// An action as it was when somebody was asked about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What stood in its programs and scripts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<SeenFile>,
    /// Scripts that were not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<PathBuf>,
    /// Paths that led elsewhere than they say; the first ones, if there are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leads: Vec<Lead>,
    /// Code that would run and that nobody could look at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
    /// A hash over where each of its paths led and which scripts there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub places_sha256: Option<Hash>,
}

/// A file as it was when somebody was asked about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenFile {
    /// Where it is.
    pub path: PathBuf,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// The hash of its first 64 MiB.
    pub sha256: Hash,
}

/// A path that leads elsewhere than it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lead {
    /// What is done there.
    pub does: Does,
    /// The path, from the root.
    pub path: PathBuf,
    /// Where it leads; of a pattern, each place.
    pub to: Vec<PathBuf>,
}

/// What an action does with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Does {
    /// It begins in this directory.
    StartsIn,
    /// It is read.
    Reads,
    /// It is created, changed, moved or deleted.
    Writes,
}

/// An action is not what somebody said yes to any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} {became} after somebody was asked about it, and nothing was run; look at it, and ask again", .path.display()
)]
pub struct Changed {
    /// Which file.
    pub path: PathBuf,
    /// What became of it.
    pub became: Became,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It holds something else, or is gone.
    Content,
    /// It was not there.
    Appeared,
    /// It leads elsewhere.
    Leads,
}

impl Seen {
    /// Looks at what an action names.
    pub(crate) fn of(action: &Action) -> Self {
        let places = Places::of(action);
        let mut unseen = places.unseen;
        let mut files: Vec<SeenFile> = Vec::new();
        let mut left = ALL_BYTES_MAX;
        for path in places.files {
            if files.iter().any(|file| file.path == path) {
                continue;
            }
            if files.len() >= FILES_MAX || left == 0 {
                unseen.push("the files after these, which are too many or too long".into());
                break;
            }
            if let Ok(file) = SeenFile::of(&path) {
                left = left.saturating_sub(file.bytes.min(FILE_BYTES_MAX));
                files.push(file);
            }
        }
        Self {
            files,
            missing: places.missing,
            leads: places.leads,
            unseen,
            places_sha256: places.sha256,
        }
    }

    /// Finds what has changed since.
    pub(crate) fn check(&self, action: &Action) -> Result<(), Changed> {
        let changed = |file: &&SeenFile| {
            let now = SeenFile::of(&file.path);
            !now.is_ok_and(|now| now == **file)
        };
        if let Some(SeenFile { path, .. }) = self.files.iter().find(changed) {
            return Err(Changed {
                path: path.clone(),
                became: Became::Content,
            });
        }
        self.check_places(action)
    }

    /// Finds a path that leads elsewhere by now, and a script that has appeared. It opens no file.
    pub(crate) fn check_places(&self, action: &Action) -> Result<(), Changed> {
        // What was not asked about has nothing to compare with.
        let Some(then) = self.places_sha256 else {
            return Ok(());
        };
        let now = Places::of(action);
        if now.sha256 == Some(then) {
            return Ok(());
        }
        if let Some(path) = self.missing.iter().find(|path| !now.missing.contains(path)) {
            return Err(Changed {
                path: path.clone(),
                became: Became::Appeared,
            });
        }
        let new = now.leads.iter().find(|lead| !self.leads.contains(lead));
        let old = self.leads.iter().find(|lead| !now.leads.contains(lead));
        let path = new.or(old).map(|lead| lead.path.clone());
        Err(Changed {
            path: path.unwrap_or_else(|| now.named(action)),
            became: Became::Leads,
        })
    }

    /// What a person is shown of it, a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let leads = self.leads.iter().map(Lead::line);
        let files = self.files.iter().map(|file| {
            let SeenFile { path, sha256, .. } = file;
            format!("runs {}, sha256 {sha256}", path.display())
        });
        let missing = self.missing.iter();
        let missing = missing.map(|path| format!("runs {}, which is not there", path.display()));
        let unseen = self.unseen.iter();
        let unseen = unseen.map(|what| format!("runs code that was not looked at: {what}"));
        let lines = leads.chain(files).chain(missing).chain(unseen);
        lines.map(|line| one_line(line.chars())).collect()
    }
}

impl Lead {
    fn line(&self) -> String {
        let does = match self.does {
            Does::StartsIn => "starts in",
            Does::Reads => "reads",
            Does::Writes => "writes",
        };
        let to: Vec<String> = self.to.iter().map(|to| to.display().to_string()).collect();
        format!("{does} {}, which is {}", self.path.display(), to.join(", "))
    }
}

impl std::fmt::Display for Became {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Content => "was changed",
            Self::Appeared => "was made",
            Self::Leads => "was made to lead elsewhere",
        })
    }
}

impl SeenFile {
    /// Only a plain file is: a pipe would keep the reader waiting, and says something else next time.
    fn of(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self {
            path: path.to_owned(),
            bytes: about.len(),
            sha256: hash(file)?,
        })
    }
}

fn hash(file: File) -> io::Result<Hash> {
    let mut hasher = Sha256::new();
    io::copy(&mut file.take(FILE_BYTES_MAX), &mut hasher)?;
    Ok(Hash(hasher.finalize().into()))
}

#[cfg(test)]
mod tests;
