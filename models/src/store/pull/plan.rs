//! What has to be fetched: asked before the first byte.

use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::PullError;
use super::hub::Remote;
use super::part::Summing;
use super::retries::Retries;
use super::transfer::Progress;
use super::{Pull, WantedFile, blocking};
use crate::hex::hex;
use crate::store::files::{Origin, Paths, SumFrom};

/// What has to stay free on the disk: a system without any room can't even write its log.
const ROOM_BYTES_MIN: u64 = 64 << 20;

/// One file of a model, before it is fetched.
pub(crate) struct Task {
    pub(crate) paths: Paths,
    /// What the file will be.
    pub(crate) origin: Origin,
    /// What of it is on the disk and may be kept.
    pub(crate) kept_bytes: u64,
    /// It is here already.
    pub(crate) done: bool,
}

impl Pull<'_> {
    /// Asks what each file is before the first is fetched, so that all are of one commit and
    /// what does not fit is known at once.
    pub(crate) async fn plan(&self, progress: &mut Progress<'_>) -> Result<Vec<Task>, PullError> {
        let mut tasks: Vec<Task> = Vec::new();
        for wanted in &self.files {
            let paths = self.paths(&wanted.file);
            let begun = {
                let paths = paths.clone();
                blocking(move || {
                    let folder = paths.folder();
                    fs::create_dir_all(folder).map_err(|fault| PullError::Directory {
                        path: folder.to_owned(),
                        fault,
                    })?;
                    Ok::<_, PullError>(Origin::read(&paths.part_origin()))
                })
                .await??
            };
            let begun = begun.filter(|begun| self.is_wanted(begun, &wanted.file));
            let commit = tasks.first().map(|task| task.origin.commit.clone());
            let origin = self.describe(wanted, begun.as_ref(), commit, progress);
            let origin = origin.await?;
            tasks.push(blocking(move || look(paths, origin, begun.as_ref())).await??);
        }
        self.check_room(&tasks).await?;
        Ok(tasks)
    }

    /// Where a file of the repository goes.
    fn paths(&self, file: &str) -> Paths {
        let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
        if self.is_directory {
            return Paths::plain(&self.folder.join(folder), name);
        }
        Paths::new(&self.folder, name.strip_suffix(".gguf").unwrap_or(name))
    }

    /// Whether an unfinished download is of this very file, as it was asked for.
    fn is_wanted(&self, begun: &Origin, file: &str) -> bool {
        let reference = &self.reference;
        begun.repository == self.repository()
            && begun.file == file
            && begun.requested.as_deref() == reference.revision()
    }

    fn repository(&self) -> String {
        let reference = &self.reference;
        format!("{}/{}", reference.owner(), reference.repository())
    }

    /// What the file will be: at the commit that an unfinished download of it is at, or else at
    /// the other files' commit, or else wherever the revision is now.
    async fn describe(
        &self,
        wanted: &WantedFile,
        begun: Option<&Origin>,
        commit: Option<String>,
        progress: &mut Progress<'_>,
    ) -> Result<Origin, PullError> {
        let file = wanted.file.as_str();
        let requested = self.reference.revision();
        let fresh = commit.as_deref().or(requested).unwrap_or("main");
        let pinned = begun.map(|begun| begun.commit.as_str());
        let pinned = pinned.filter(|pinned| commit.as_deref().is_none_or(|of| of == *pinned));
        let remote = match pinned {
            // A commit is gone when its branch was rewritten.
            Some(pinned) => match self.ask(pinned, file, progress).await {
                Err(PullError::NotFound { .. }) => self.ask(fresh, file, progress).await?,
                answer => answer?,
            },
            None => self.ask(fresh, file, progress).await?,
        };
        let (sha256, sum_from) = expected_sum(wanted, &remote)?;
        Ok(Origin {
            repository: self.repository(),
            file: file.to_owned(),
            requested: requested.map(str::to_owned),
            commit: remote.commit,
            bytes: remote.bytes,
            sha256,
            sum_from,
            pulled_unix_s: 0,
        })
    }

    async fn ask(
        &self,
        revision: &str,
        file: &str,
        progress: &mut Progress<'_>,
    ) -> Result<Remote, PullError> {
        let mut retries = Retries::new(self.options, 0);
        loop {
            let reference = &self.reference;
            match self.hub.describe(reference, revision, file).await {
                Ok(remote) => return Ok(remote),
                Err(trouble) => progress.pause(file, retries.wait(trouble, 0)?).await,
            }
        }
    }

    async fn check_room(&self, tasks: &[Task]) -> Result<(), PullError> {
        let missing = |task: &Task| task.origin.bytes.saturating_sub(task.kept_bytes);
        let missing = tasks.iter().filter(|task| !task.done).map(missing);
        let missing = missing.fold(0, u64::saturating_add);
        let path = self.folder.clone();
        let free = match self.options.free_bytes {
            Some(free) => free,
            None => blocking(move || free_bytes(&path)).await??,
        };
        let needed = missing.saturating_add(ROOM_BYTES_MIN);
        if missing > 0 && needed > free {
            let path = self.folder.clone();
            return Err(PullError::NoRoom { needed, free, path });
        }
        Ok(())
    }
}

/// The catalogue's sum counts more than the hub's. Where they differ, no byte is fetched.
fn expected_sum(wanted: &WantedFile, remote: &Remote) -> Result<(String, SumFrom), PullError> {
    let file = wanted.file.clone();
    match (wanted.sum, &remote.sha256) {
        (Some(known), Some(announced)) if known != announced => Err(PullError::OtherFile {
            file,
            expected: known.to_owned(),
            announced: announced.clone(),
        }),
        (Some(known), _) => Ok((known.to_owned(), SumFrom::Catalog)),
        (None, Some(announced)) => Ok((announced.clone(), SumFrom::Hub)),
        (None, None) => Err(PullError::NoSum { file }),
    }
}

/// The SHA-256 of a file.
pub(super) fn sum_of(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut fs::File::open(path)?, &mut Summing(&mut hasher))?;
    Ok(hex(&hasher.finalize()))
}

/// Looks what of a file is here.
fn look(paths: Paths, origin: Origin, begun: Option<&Origin>) -> Result<Task, PullError> {
    let part = fs::metadata(paths.part()).map(|about| about.len()).ok();
    let is_same = |begun: &Origin| begun.commit == origin.commit && begun.sha256 == origin.sha256;
    let keep = begun.is_some_and(is_same);
    let here = fs::metadata(paths.file()).ok();
    let there = Origin::read(&paths.origin());
    let done = match (&here, &there) {
        (None, _) => false,
        (Some(_), Some(there)) if !is_same_file(there, &origin) => {
            return Err(taken(&origin, format!("from {}", there.reference())));
        }
        // Somebody put just this file there.
        (Some(_), None)
            if !paths.is_gguf() && sum_of(&paths.file()).is_ok_and(|sum| sum == origin.sha256) =>
        {
            true
        }
        (Some(_), None) => {
            return Err(taken(&origin, "which was not downloaded by fazai".into()));
        }
        // A download that ended between writing the sidecar and renaming the file has left a
        // sidecar that speaks of the part, not of the file.
        (Some(about), Some(there)) => {
            part.is_none() && there.sha256 == origin.sha256 && about.len() == origin.bytes
        }
    };
    let kept_bytes = part.filter(|bytes| keep && *bytes <= origin.bytes);
    Ok(Task {
        paths,
        origin,
        kept_bytes: kept_bytes.unwrap_or(0),
        done,
    })
}

/// At whatever commit.
fn is_same_file(one: &Origin, other: &Origin) -> bool {
    one.repository == other.repository && one.file == other.file
}

fn taken(origin: &Origin, source_text: String) -> PullError {
    let name = origin.file.rsplit('/').next().unwrap_or(&origin.file);
    PullError::Taken {
        name: name.strip_suffix(".gguf").unwrap_or(name).to_owned(),
        source_text,
    }
}

fn free_bytes(path: &Path) -> Result<u64, PullError> {
    let about = rustix::fs::statvfs(path).map_err(|fault| PullError::file(path, fault.into()))?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}
