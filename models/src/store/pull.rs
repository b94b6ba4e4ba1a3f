//! Downloading a model: `fazai models pull`.
//!
//! [`plan`] asks the [`hub`] what there is to fetch, [`transfer`] brings it into a [`part`].

mod error;
mod hub;
mod options;
mod part;
mod plan;
mod progress;
mod retries;
mod transfer;

use std::fs;
use std::panic;
use std::path::PathBuf;
use std::sync::Arc;

use super::catalog::{CatalogDirectory, CatalogFile};
use super::files::{Lock, LockError, Paths};
use super::{Entry, EntrySource, ModelName, Reference, Store, StoreError, Wanted};
use hub::Hub;
use transfer::Progress;

pub use error::PullError;
pub use options::{PullOptions, Token};
pub use progress::{PullEvent, PullListener, PullRetry, PullStep};

impl Store {
    /// Downloads a model: an alias of the catalogue, or `hf:OWNER/REPO/FILE.gguf@REVISION`.
    /// What is there and is what the hub has is not downloaded again.
    ///
    /// Dropping the future stops the download. The next pull of the same model goes on where it
    /// was, after reading again what is there.
    ///
    /// `listener` hears of the progress, at most ten times a second for each file and step, and of each
    /// failure after which it tries again.
    ///
    /// # Errors
    /// See [`PullError`]; each says what to do.
    pub async fn pull(
        &self,
        reference: &str,
        options: &PullOptions,
        listener: PullListener<'_>,
    ) -> Result<Entry, PullError> {
        let wanted = Wanted::parse(reference)?;
        if let Some(entry) = self.already(&wanted).await? {
            return Ok(entry);
        }
        if options.offline {
            return Err(PullError::Offline);
        }
        let name = wanted.reference.name().to_owned();
        let sum = wanted.known.map(|known| known.sha256);
        let files = wanted.reference.files().into_iter();
        let pull = Pull {
            folder: self.folder.clone(),
            hub: Hub::new(options)?,
            lock: self.lock_for_pull(&name).await?,
            options,
            files: files.map(|file| WantedFile { file, sum }).collect(),
            reference: wanted.reference,
            is_directory: false,
        };
        pull.run(listener).await?;
        let store = self.clone();
        blocking(move || store.entry_of(&name)).await?
    }

    /// Downloads a model that is a directory, into one of its name in the store; the path of that.
    /// What is there is read for its sums first: if all are right, the hub is not asked.
    ///
    /// # Errors
    /// See [`PullError`]; each says what to do.
    pub async fn pull_directory(
        &self,
        wanted: &CatalogDirectory,
        options: &PullOptions,
        listener: PullListener<'_>,
    ) -> Result<PathBuf, PullError> {
        let folder = self.folder.join(wanted.alias);
        let (place, files) = (folder.clone(), wanted.files);
        let is_right = move |file: &CatalogFile| {
            plan::sum_of(&place.join(file.path)).is_ok_and(|sum| sum == file.sha256)
        };
        if blocking(move || files.iter().all(is_right)).await? {
            return Ok(folder);
        }
        if options.offline {
            return Err(PullError::Offline);
        }
        let file = |file: &CatalogFile| WantedFile {
            file: file.path.to_owned(),
            sum: Some(file.sha256),
        };
        let pull = Pull {
            folder: folder.clone(),
            hub: Hub::new(options)?,
            lock: self.lock_for_pull(wanted.alias).await?,
            options,
            files: wanted.files.iter().map(file).collect(),
            reference: Reference::of_repository(wanted.repository, wanted.revision),
            is_directory: true,
        };
        pull.run(listener).await?;
        Ok(folder)
    }

    /// The entry of a model from the catalogue that is here. Which bytes it has to be does not
    /// depend on the hub, so the hub need not be asked.
    async fn already(&self, wanted: &Wanted) -> Result<Option<Entry>, PullError> {
        let Some(known) = wanted.known else {
            return Ok(None);
        };
        let store = self.clone();
        let entry = blocking(move || store.entry_of(known.stem())).await?;
        let is_it = |entry: &Entry| {
            let source = &entry.source;
            matches!(source, EntrySource::Hub(origin) if origin.sha256 == known.sha256)
                && entry.bytes == known.bytes
                && entry.broken.is_none()
        };
        Ok(entry.ok().filter(is_it))
    }

    fn entry_of(&self, name: &str) -> Result<Entry, PullError> {
        let name = ModelName::parse(name).map_err(StoreError::from)?;
        let files = self.find(&name)?;
        Ok(self.entry(name.as_str(), Ok(files)).0)
    }

    async fn lock_for_pull(&self, name: &str) -> Result<Arc<Lock>, PullError> {
        let folder = self.folder.clone();
        let name = name.to_owned();
        let taken = blocking(move || {
            let unusable = |fault| PullError::Directory {
                path: folder.clone(),
                fault,
            };
            fs::create_dir_all(&folder).map_err(unusable)?;
            match Lock::take(Paths::new(&folder, &name).lock()) {
                Ok(lock) => Ok(Arc::new(lock)),
                Err(LockError::Held(holder)) => Err(PullError::Locked { name, holder }),
                Err(LockError::Io(fault)) => Err(unusable(fault)),
            }
        });
        taken.await?
    }
}

/// One download, of a model in one or more files.
struct Pull<'a> {
    folder: PathBuf,
    hub: Hub,
    lock: Arc<Lock>,
    options: &'a PullOptions,
    reference: Reference,
    files: Vec<WantedFile>,
    /// The files keep their paths; otherwise each is a GGUF of its own.
    is_directory: bool,
}

/// A file of the repository, and the catalogue's sum of it.
struct WantedFile {
    file: String,
    sum: Option<&'static str>,
}

impl Pull<'_> {
    async fn run(&self, listener: PullListener<'_>) -> Result<(), PullError> {
        let mut progress = Progress::new(listener);
        let tasks = self.plan(&mut progress).await?;
        let total = tasks.iter().map(|task| task.origin.bytes);
        progress.expect(total.fold(0, u64::saturating_add));
        for task in tasks {
            self.bring(task, &mut progress).await?;
        }
        Ok(())
    }
}

/// Does what may wait for a disk, beside the tasks that must not.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PullError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => Ok(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            Err(_) => Err(PullError::Stopped),
        },
    }
}
