//! Whether a file may be loaded. Every refusal names the rule that was broken and what to do.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use minisign_verify::Signature;
use sha2::{Digest, Sha256};

use crate::image::Image;
use crate::manifest::{Entry, valid_name};
use crate::trust::Trust;

/// The largest module that is loaded.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// A minisign signature has four short lines.
const SIGNATURE_BYTES_MAX: u64 = 16 << 10;

/// A module that may be loaded: its bytes, and the entry that says with which rights.
#[derive(Debug, Clone)]
pub struct Checked {
    /// What the manifest says about it.
    pub entry: Entry,
    /// Where it was found, links resolved.
    pub path: PathBuf,
    /// What its bytes hash to.
    pub sha256: String,
    /// Whether a trusted key's signature vouched for it, and not a hash or nothing.
    pub signed: bool,
    /// The bytes.
    pub image: Image,
}

/// The rule that a file broke.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No name that a module can have.
    #[error("`{0}` is no module's name; use 1 to 64 characters of a-z, 0-9, _ and -")]
    Name(String),
    /// The file's name is a path that leaves the module directory.
    #[error("the module file `{}` must lie in the module directory; write its name only", .0.display())]
    FileName(PathBuf),
    /// Links lead out of the module directory.
    #[error(
        "{} is outside of the module directory {}; copy the file there instead of linking it",
        path.display(), dir.display()
    )]
    Outside {
        /// Where the file really is.
        path: PathBuf,
        /// Where it should be.
        dir: PathBuf,
    },
    /// Somebody else owns it and could change it at any time.
    #[error(
        "{} belongs to uid {owner}, and only root and the host's own user (uid {own}) are trusted; \
         `chown root` it", path.display()
    )]
    Owner {
        /// The file or directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// The host's user.
        own: u32,
    },
    /// Others than its owner can change it.
    #[error("{} can be written by others (mode {mode:04o}); `chmod go-w` it", path.display())]
    Writable {
        /// The file or directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A directory, a pipe, a device.
    #[error("{} is no regular file; put a shared library there", .0.display())]
    NotAFile(PathBuf),
    /// Larger than any file of its kind.
    #[error(
        "{} has {bytes} bytes, at most {bytes_max} are read; make it smaller (a library: strip it)",
        path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest that is read.
        bytes_max: u64,
    },
    /// Trust goes by the manifest, which has no hash for it.
    #[error(
        "module `{name}` has no sha256 in modules.toml; if you trust this file, add \
         sha256 = \"{found}\""
    )]
    Unlisted {
        /// The module.
        name: String,
        /// What its file hashes to.
        found: String,
    },
    /// It is not the file that was trusted.
    #[error(
        "module `{name}` is not the file that modules.toml lists: its sha256 is {found}, listed is \
         {listed}; put the listed file back, or change the entry if you trust this one"
    )]
    Hash {
        /// The module.
        name: String,
        /// What its file hashes to.
        found: String,
        /// What the manifest says.
        listed: String,
    },
    /// Trust goes by signatures, and there is none.
    #[error("there is no signature {}; sign the module with a trusted key", .0.display())]
    Unsigned(PathBuf),
    /// The signature can't be read.
    #[error("{} is no minisign signature; sign the module again", .0.display())]
    BadSignature(PathBuf),
    /// The signature is by an unknown key, or of other bytes.
    #[error(
        "{} was not made of this file by a trusted key; sign the file as it is now, or add the \
         key to the trusted ones if you trust its owner", .0.display()
    )]
    Untrusted(PathBuf),
    /// The file or a directory above it can't be read.
    #[error("{} can't be read; check that it exists and its permissions: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What was found out about a file that may be loaded.
#[derive(Debug, Clone)]
pub struct Vouched {
    /// Where it is, links resolved.
    pub path: PathBuf,
    /// What its bytes hash to.
    pub sha256: String,
    /// Whether a trusted key signed it.
    pub signed: bool,
}

/// Decides whether a module's file may be loaded, and takes its bytes.
pub fn check(dir: &Path, entry: &Entry, trust: &Trust) -> Result<Checked, Refused> {
    let (vouched, bytes) = look(dir, entry, trust)?;
    let Vouched {
        path,
        sha256,
        signed,
    } = vouched;
    if matches!(trust, Trust::Any) {
        tracing::warn!(
            module = entry.name, sha256, path = %path.display(),
            "LOADING A MODULE THAT NOTHING VOUCHES FOR, because trust is `any`: set it to \
             `manifest` or `signature`",
        );
    }
    let image = Image::seal(&entry.name, &bytes).map_err(|error| Refused::Io {
        path: path.clone(),
        error: error.into(),
    })?;
    Ok(Checked {
        entry: entry.clone(),
        path,
        sha256,
        signed,
        image,
    })
}

/// Decides whether a module's file may be loaded, for who only wants to know.
pub fn verify(dir: &Path, entry: &Entry, trust: &Trust) -> Result<Vouched, Refused> {
    look(dir, entry, trust).map(|(vouched, _)| vouched)
}

fn look(dir: &Path, entry: &Entry, trust: &Trust) -> Result<(Vouched, Vec<u8>), Refused> {
    if !valid_name(&entry.name) {
        return Err(Refused::Name(entry.name.chars().take(64).collect()));
    }
    let file = entry.file_name();
    if !file
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return Err(Refused::FileName(file));
    }
    let (dir, path, bytes) = read_in(dir, &file, FILE_BYTES_MAX)?;
    let sha256 = fingerprint(&bytes);
    let signed = vouched(&dir, &path, entry, trust, &bytes, &sha256)?;
    let vouched = Vouched {
        path,
        sha256,
        signed,
    };
    Ok((vouched, bytes))
}

/// The sha256 of a module's bytes, as `modules.toml` has it.
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Whether a signature vouches for the file; an error where nothing does that must.
fn vouched(
    dir: &Path,
    path: &Path,
    entry: &Entry,
    trust: &Trust,
    bytes: &[u8],
    found: &str,
) -> Result<bool, Refused> {
    // A hash that was written down counts whatever else vouches for the file.
    if let Some(listed) = &entry.sha256
        && !listed.eq_ignore_ascii_case(found)
    {
        let (name, found) = (entry.name.clone(), found.into());
        return Err(Refused::Hash {
            name,
            found,
            listed: listed.clone(),
        });
    }
    match trust {
        Trust::Manifest if entry.sha256.is_none() => Err(Refused::Unlisted {
            name: entry.name.clone(),
            found: found.into(),
        }),
        Trust::Manifest | Trust::Any => Ok(false),
        Trust::Signature(keys) => {
            let mut name = path.as_os_str().to_owned();
            name.push(".minisig");
            let beside = PathBuf::from(name);
            let text = match read(dir, &beside, SIGNATURE_BYTES_MAX) {
                Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
                Err(Refused::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(Refused::Unsigned(beside));
                }
                Err(other) => return Err(other),
            };
            let signature =
                Signature::decode(&text).map_err(|_| Refused::BadSignature(beside.clone()))?;
            if !keys.signed(bytes, &signature) {
                return Err(Refused::Untrusted(beside));
            }
            Ok(true)
        }
    }
}

/// Reads a file of a directory, which links do not lead out of. Returns where both really are.
pub(crate) fn read_in(
    dir: &Path,
    file: &Path,
    bytes_max: u64,
) -> Result<(PathBuf, PathBuf, Vec<u8>), Refused> {
    let dir = resolve(dir)?;
    let path = resolve(&dir.join(file))?;
    if !path.starts_with(&dir) {
        return Err(Refused::Outside { path, dir });
    }
    let bytes = read(&dir, &path, bytes_max)?;
    Ok((dir, path, bytes))
}

/// Opens a file once, checks what was opened and everything above it, and reads it.
///
/// The directories are looked at after the file was opened: when nobody else can write to any of
/// them, nobody else can have put the file there.
fn read(dir: &Path, path: &Path, bytes_max: u64) -> Result<Vec<u8>, Refused> {
    let io = |error| Refused::Io {
        path: path.into(),
        error,
    };
    // Not waiting: a pipe would keep the host until somebody writes to it.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(Refused::NotAFile(path.into()));
    }
    owned(path, &metadata, false)?;
    for above in path.ancestors().skip(1) {
        let metadata = std::fs::symlink_metadata(above).map_err(|error| Refused::Io {
            path: above.into(),
            error,
        })?;
        // In a sticky directory others can add entries and not replace ours. That will do above
        // the module directory, such as for /tmp, and not within.
        let sticky_will_do = !above.starts_with(dir);
        owned(above, &metadata, sticky_will_do)?;
    }
    let too_large = |bytes| Refused::TooLarge {
        path: path.into(),
        bytes,
        bytes_max,
    };
    if metadata.len() > bytes_max {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Whether only root and the host's own user can change it. The entries of an ACL can't give more
/// than its mask, which the mode shows in place of the group's rights.
fn owned(path: &Path, metadata: &Metadata, sticky_will_do: bool) -> Result<(), Refused> {
    let own = rustix::process::geteuid().as_raw();
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if owner != 0 && owner != own {
        return Err(Refused::Owner {
            path: path.into(),
            owner,
            own,
        });
    }
    let sticky = mode & 0o1000 != 0;
    if mode & 0o022 != 0 && !(sticky && sticky_will_do) {
        return Err(Refused::Writable {
            path: path.into(),
            mode,
        });
    }
    Ok(())
}

fn resolve(path: &Path) -> Result<PathBuf, Refused> {
    path.canonicalize().map_err(|error| Refused::Io {
        path: path.into(),
        error,
    })
}
