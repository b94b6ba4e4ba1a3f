//! A file gets new content, whole or not at all: never half of it, never through a link, and what
//! was there before is kept.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, fchown};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fazai_tools::{Action, Input};
use rustix::fs::{FileType, Mode, OFlags, XattrFlags, fgetxattr, flistxattr, fsetxattr, open};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::define::{Call, perform};
use super::file::{Found, check, failed, find};
use crate::diff::diff;
use crate::error::ToolError;

/// Up to how many bytes of an old file are compared.
const COMPARED_BYTES_MAX: u64 = 1 << 20;

/// What a new file may be read and written by.
const NEW_MODE: u32 = 0o644;

/// The largest value of an extended attribute.
const XATTR_BYTES_MAX: usize = 64 << 10;

/// One at a time, so that each sees what the other wrote.
static WRITING: Mutex<()> = Mutex::new(());

impl Old {
    fn read(found: Found) -> Result<Self, ToolError> {
        let mut file = found.open(FileType::RegularFile)?;
        let text = (found.bytes() <= COMPARED_BYTES_MAX).then(|| whole(&mut file));
        let text = text
            .transpose()
            .map_err(|error| failed("can't be read", &found.path, &error))?;
        Ok(Self {
            text: text.flatten(),
            found,
            file,
        })
    }
}

/// What a file is to hold.
pub(super) struct Replacement<'a> {
    pub(super) path: &'a Path,
    pub(super) content: &'a str,
    pub(super) mode: Option<u32>,
    pub(super) backup_dir: Option<&'a Path>,
}

/// What was there before.
struct Old {
    found: Found,
    file: File,
    /// Its text, if it is one and not too long.
    text: Option<String>,
}

/// Permissions as people write them.
pub(super) fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

impl Replacement<'_> {
    /// Takes the permits to write it and, for the difference, to read what is there. The copy of
    /// what was there is part of the same act.
    pub(super) fn make(&self, call: &Call) -> Result<Value, ToolError> {
        check(self.path)?;
        let Some(Component::Normal(name)) = self.path.components().next_back() else {
            return Err(ToolError::BadParams(format!(
                "{} names no file",
                self.path.display()
            )));
        };
        let name = Path::new(name);
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        let content = Input::of(self.content.as_bytes());
        let (permit, directory) = find(parent, call, |parent| Action::WriteFile {
            path: parent.join(name),
            content: Some(content.clone()),
            mode: self.mode.map(octal),
        })?;
        perform(permit, || {
            // A person may be asked for it, and others go on writing meanwhile.
            let reading = self
                .found(&directory, name)?
                .map(|found| call.permit(Action::ReadFile { path: found.path }));
            let reading = reading.transpose()?;
            let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
            let old = match (self.found(&directory, name)?, reading) {
                (None, _) => None,
                (Some(found), Some(reading)) => Some(perform(reading, || Old::read(found))?),
                (Some(_), None) => {
                    return Err(ToolError::Failed(format!(
                        "{} was made by somebody else meanwhile; look at it first",
                        self.path.display()
                    )));
                }
            };
            self.replace(&directory, name, old)
        })
    }

    /// The file, if it is there and can be replaced.
    fn found(&self, directory: &Found, name: &Path) -> Result<Option<Found>, ToolError> {
        let found = match directory.in_directory(name) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("can't be looked at", self.path, &error)),
        };
        if found.kind() == FileType::Symlink {
            return Err(ToolError::Failed(format!(
                "{} is a link, and nothing is written through one; name the file that it leads to",
                self.path.display()
            )));
        }
        Ok(Some(found))
    }

    fn replace(
        &self,
        directory: &Found,
        name: &Path,
        old: Option<Old>,
    ) -> Result<Value, ToolError> {
        let was = old.as_ref().map_or(Some(""), |old| old.text.as_deref());
        let diff = was.map(|was| diff(&self.path.display().to_string(), was, self.content));
        let keeps_mode = |old: &Old| {
            self.mode
                .is_none_or(|mode| mode == old.found.stat.st_mode & 0o7777)
        };
        let is_same = old
            .as_ref()
            .is_some_and(|old| was == Some(self.content) && keeps_mode(old));
        let mut backup = None;
        if !is_same {
            let cant =
                |error: io::Error| failed("can't be written, and is as it was", self.path, &error);
            let new = self.written(directory, old.as_ref()).map_err(cant)?;
            if let Some(old) = old {
                backup = Some(self.keep(directory, name, old).map_err(cant)?);
            }
            let place = directory.handle_path().join(name);
            new.persist(place).map_err(|fault| cant(fault.error))?;
            sync(directory)
                .map_err(|error| failed("was written, perhaps not for good", self.path, &error))?;
        }
        Ok(json!({
            "path": directory.path.join(name),
            "bytes": self.content.len(),
            "changed": !is_same,
            "diff": diff,
            "backup": backup,
        }))
    }

    /// The new content, on the disk, by a name that will be its own no longer.
    fn written(&self, directory: &Found, old: Option<&Old>) -> io::Result<NamedTempFile> {
        let mut new = beside(directory)?;
        new.write_all(self.content.as_bytes())?;
        let mode = match old {
            None => NEW_MODE,
            Some(old) => {
                alike(&old.file, &old.found, new.as_file())?;
                // Who may take another's rights with it was not asked about new content.
                old.found.stat.st_mode & 0o777
            }
        };
        let mode = Permissions::from_mode(self.mode.unwrap_or(mode));
        new.as_file().set_permissions(mode)?;
        new.as_file().sync_all()?;
        Ok(new)
    }

    /// Keeps a copy of what was there.
    fn keep(&self, directory: &Found, name: &Path, mut old: Old) -> io::Result<PathBuf> {
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%.6fZ");
        let kept = format!("{}.fazai-{now}.bak", name.display());
        let (place, shown, mut copy) = match self.backup_dir {
            None => {
                let place = directory.handle_path().join(&kept);
                (place, directory.path.join(&kept), beside(directory)?)
            }
            Some(backups) => {
                let inside = directory.path.strip_prefix("/").unwrap_or(&directory.path);
                let inside = backups.join(inside);
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&inside)?;
                let copy = NamedTempFile::new_in(&inside)?;
                (inside.join(&kept), inside.join(&kept), copy)
            }
        };
        old.file.rewind()?;
        io::copy(&mut old.file, &mut copy)?;
        alike(&old.file, &old.found, copy.as_file())?;
        let mode = Permissions::from_mode(old.found.stat.st_mode & 0o777);
        copy.as_file().set_permissions(mode)?;
        copy.as_file().sync_all()?;
        copy.persist_noclobber(place)?;
        Ok(shown)
    }
}

fn beside(directory: &Found) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".fazai-")
        .suffix(".tmp")
        .tempfile_in(directory.handle_path())
}

/// Its text, if it is one.
fn whole(file: &mut File) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    file.take(COMPARED_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).ok())
}

/// Gives a new file the owner and the extended attributes, such as access lists, of an old one.
fn alike(old: &File, found: &Found, new: &File) -> io::Result<()> {
    fchown(new, Some(found.stat.st_uid), Some(found.stat.st_gid))?;
    let mut names = vec![0; XATTR_BYTES_MAX];
    // Not every file system has any.
    let length = flistxattr(old, &mut names[..]).unwrap_or(0);
    for name in names[..length].split(|byte| *byte == 0) {
        // Powers of a program are not those of its new content.
        if name.is_empty() || name == b"security.capability" {
            continue;
        }
        let mut value = vec![0; XATTR_BYTES_MAX];
        let bytes = fgetxattr(old, name, &mut value[..])?;
        let mut has = vec![0; XATTR_BYTES_MAX];
        let is_so = fgetxattr(new, name, &mut has[..])
            .is_ok_and(|has_bytes| has[..has_bytes] == value[..bytes]);
        if is_so {
            continue;
        }
        fsetxattr(new, name, &value[..bytes], XattrFlags::empty())?;
    }
    Ok(())
}

fn sync(directory: &Found) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(directory.handle_path(), flags, Mode::empty())?;
    Ok(rustix::fs::fsync(directory)?)
}
