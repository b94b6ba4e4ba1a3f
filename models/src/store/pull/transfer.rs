//! The bytes: from the hub to the disk, over as many connections as it takes.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::time::sleep;

use super::error::PullError;
use super::hub::Trouble;
use super::part::{Overlap, Part};
use super::plan::Task;
use super::progress::{Meter, PullListener, PullRetry, PullStep};
use super::retries::Retries;
use super::{Pull, blocking};
use crate::gguf::{Gguf, Lists};
use crate::store::files;

/// Where the progress goes. It is counted over all files of a model.
pub(crate) struct Progress<'a> {
    meter: Meter,
    /// The length of the files before this one.
    before: u64,
    listener: PullListener<'a>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(listener: PullListener<'a>) -> Self {
        Self {
            meter: Meter::new(),
            before: 0,
            listener,
        }
    }

    pub(crate) fn expect(&mut self, total_bytes: u64) {
        self.meter.expect(total_bytes);
    }

    /// Tells of a failure, and waits until it is time for another attempt.
    pub(crate) async fn pause(&mut self, file: &str, retry: PullRetry) {
        let wait = retry.wait;
        (self.listener)(&self.meter.failed(file, retry));
        sleep(wait).await;
    }

    fn begin(&mut self, task: &Task, step: PullStep, bytes: u64) {
        self.meter.begin(&task.origin.file, step);
        self.at(bytes);
    }

    fn at(&mut self, bytes: u64) {
        if let Some(event) = self.meter.at(self.before + bytes, Instant::now()) {
            (self.listener)(&event);
        }
    }

    fn done(&mut self, task: &Task) {
        self.before += task.origin.bytes;
    }
}

impl Pull<'_> {
    /// Fetches what is missing of one file, checks it, and gives it its name.
    pub(crate) async fn bring(
        &self,
        task: Task,
        progress: &mut Progress<'_>,
    ) -> Result<(), PullError> {
        if !task.done {
            let part = self.fetch(&task, progress).await?;
            let finished = blocking(move || finish(&task, part).map(|()| task)).await??;
            progress.done(&finished);
        } else {
            progress.done(&task);
        }
        Ok(())
    }

    async fn fetch(&self, task: &Task, progress: &mut Progress<'_>) -> Result<Part, PullError> {
        let mut part = self.open_part(task, progress).await?;
        progress.begin(task, PullStep::Fetching, part.bytes());
        let mut retries = Retries::new(self.options, part.bytes());
        while part.bytes() < task.origin.bytes {
            let trouble;
            (part, trouble) = self.stream(task, part, progress).await?;
            if let Some(trouble) = trouble {
                let retry = retries.wait(trouble, part.bytes())?;
                progress.pause(&task.origin.file, retry).await;
            }
        }
        Ok(part)
    }

    /// Opens what is there, and reads it for its sum.
    async fn open_part(&self, task: &Task, progress: &mut Progress<'_>) -> Result<Part, PullError> {
        let (paths, origin) = (task.paths.clone(), task.origin.clone());
        let (keep, lock) = (task.kept_bytes > 0, Arc::clone(&self.lock));
        let opened = blocking(move || {
            // In this order: bytes of another commit are gone before this one is noted down.
            let path = paths.part();
            let part = Part::open(&path, keep, origin.bytes, lock);
            let part = part.map_err(|fault| PullError::file(&path, fault))?;
            let path = paths.part_origin();
            let noted = origin.write(&path);
            noted.map_err(|fault| PullError::file(&path, fault))?;
            Ok::<_, PullError>(part)
        });
        let mut part = opened.await??;
        if part.bytes() > 0 {
            progress.begin(task, PullStep::Checking, 0);
        }
        while part.summed() < part.bytes() {
            (part, ()) = on_disk(part, Part::check_some).await?;
            progress.at(part.summed());
        }
        Ok(part)
    }

    /// What one connection brings. A failure of the network comes with the part, which can be
    /// gone on with; one of the disk, or a file of another length, ends the download.
    async fn stream(
        &self,
        task: &Task,
        mut part: Part,
        progress: &mut Progress<'_>,
    ) -> Result<(Part, Option<Trouble>), PullError> {
        let (reference, file) = (&self.reference, &task.origin.file);
        let (from, total) = (part.bytes(), task.origin.bytes);
        let commit = &task.origin.commit;
        let (announced, mut stream) =
            match self.hub.open(reference, commit, file, from..total).await {
                Ok(opened) => opened,
                Err(trouble) if trouble.is_past_the_end() => {
                    return Err(discard(task, part, from).await);
                }
                Err(trouble) => return Ok((part, Some(trouble))),
            };
        let mut overlap = match overlap(announced, from, total) {
            Ok(overlap) => overlap,
            Err(length) => return Err(discard(task, part, length).await),
        };
        loop {
            let piece = match self.hub.next(&mut stream, reference, file).await {
                Ok(Some(piece)) => piece,
                Ok(None) => {
                    let cut = Trouble::network("the connection ended early");
                    return Ok((part, Some(cut)));
                }
                Err(trouble) => return Ok((part, Some(trouble))),
            };
            let left;
            (part, left) = on_disk(part, move |part| part.add(piece.as_ref(), overlap)).await?;
            if let Some(reached) = part.excess() {
                return Err(discard(task, part, reached).await);
            }
            overlap = Overlap::Bytes(left);
            progress.at(part.bytes());
            if part.bytes() == total {
                return Ok((part, None));
            }
        }
    }
}

/// How much of an answer is on the disk already, told by the length that it announces; or the
/// length that the file has after all.
///
/// A server may ignore that only the rest was asked for, and hf-hub does not tell the status by
/// which one would know. Nor does the length tell it always: hf-hub takes `X-Linked-Size` for
/// it, which some mirrors put on every answer. Then the bytes have to tell.
fn overlap(announced: Option<u64>, from: u64, total: u64) -> Result<Overlap, u64> {
    match announced {
        Some(length) if length == total - from => Ok(Overlap::Bytes(0)),
        None if from == 0 => Ok(Overlap::Bytes(0)),
        Some(length) if length != total => Err(from.saturating_add(length)),
        Some(_) | None => Ok(Overlap::Unknown),
    }
}

/// Works on a part where it may block.
async fn on_disk<T: Send + 'static>(
    mut part: Part,
    work: impl FnOnce(&mut Part) -> io::Result<T> + Send + 'static,
) -> Result<(Part, T), PullError> {
    let worked = blocking(move || match work(&mut part) {
        Ok(value) => Ok((part, value)),
        Err(fault) => Err(PullError::file(part.path(), fault)),
    });
    worked.await?
}

/// Removes a download whose length is wrong: there is no telling which of its bytes are.
async fn discard(task: &Task, part: Part, found: u64) -> PullError {
    let (paths, expected) = (task.paths.clone(), task.origin.bytes);
    let file = task.origin.file.clone();
    let removed = blocking(move || {
        drop(part);
        remove_part(&paths)
    });
    match removed.await {
        Ok(Ok(())) => PullError::Size {
            file,
            expected,
            found,
        },
        Ok(Err(error)) | Err(error) => error,
    }
}

fn remove_part(paths: &files::Paths) -> Result<(), PullError> {
    for path in [paths.part(), paths.part_origin()] {
        files::remove(&path).map_err(|fault| PullError::file(&path, fault))?;
    }
    Ok(())
}

/// Checks a download that has all its bytes, and gives it its name.
fn finish(task: &Task, part: Part) -> Result<(), PullError> {
    let (paths, origin) = (&task.paths, &task.origin);
    let path = paths.part();
    let fault = |fault| PullError::file(&path, fault);
    let found = part.sum().map_err(fault)?;
    if found != origin.sha256 {
        remove_part(paths)?;
        return Err(PullError::Sum {
            file: origin.file.clone(),
            expected: origin.sha256.clone(),
            found,
        });
    }
    if paths.is_gguf()
        && let Err(fault) = Gguf::open(&path, Lists::Skip)
    {
        remove_part(paths)?;
        let file = origin.file.clone();
        return Err(PullError::NotAModel { file, fault });
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut origin = origin.clone();
    origin.pulled_unix_s = now.map_or(0, |since| since.as_secs());
    // The sidecar comes first: a model without one could be anybody's, and would be in the way
    // of its own download. What says of which commit the part is goes last, so that a crash
    // anywhere in between leaves a part that the next pull finishes.
    origin.write(&paths.origin()).map_err(fault)?;
    fs::rename(&path, paths.file()).map_err(fault)?;
    files::remove(&paths.part_origin()).map_err(fault)?;
    paths.sync().map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announced_length_tells_what_an_answer_holds() {
        assert_eq!(overlap(Some(100), 0, 100), Ok(Overlap::Bytes(0)));
        assert_eq!(overlap(None, 0, 100), Ok(Overlap::Bytes(0)));
        assert_eq!(overlap(Some(60), 40, 100), Ok(Overlap::Bytes(0)));
        assert_eq!(overlap(Some(50), 50, 100), Ok(Overlap::Bytes(0)));
        assert_eq!(overlap(Some(100), 40, 100), Ok(Overlap::Unknown));
        assert_eq!(overlap(None, 40, 100), Ok(Overlap::Unknown));
        assert_eq!(overlap(Some(99), 0, 100), Err(99));
        assert_eq!(overlap(Some(101), 0, 100), Err(101));
        assert_eq!(overlap(Some(59), 40, 100), Err(99));
    }
}
