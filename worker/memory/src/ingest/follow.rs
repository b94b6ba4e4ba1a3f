//! A directory that is followed: what is new or changed is taken in, and what is gone is forgotten.
//!
//! Events say only when to look. What is there then is compared with what was there before, so that
//! a burst, a rename, an editor that writes a file anew and events that the kernel dropped are all
//! the same.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, mem};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::intake::{self, Intake};
use super::root::Root;
use super::walk::{self, Found, Skipped, Stamp};
use super::{IngestOptions, IngestReport, Progress, nothing};
use crate::error::Result;
use crate::memory::Memory;
use crate::store::Collection;

/// How many directories are watched. Those beyond are seen when it is looked for another reason.
const DIRECTORIES_MAX: usize = 4096;

/// A file that was written this short a time before it was looked at may be written once more
/// without its time telling.
const YOUNG_NS: i128 = 100_000_000;

/// A directory that is followed.
pub struct Following {
    root: PathBuf,
    /// The device and the inode of the directory.
    identity: (u64, u64),
    options: IngestOptions,
    watcher: RecommendedWatcher,
    watched: HashSet<PathBuf>,
    /// What was taken in, as it was then.
    seen: HashMap<PathBuf, Stamp>,
    /// What was left out, as it was told.
    told: Vec<Skipped>,
    looked: bool,
}

/// What is otherwise than it was.
#[derive(Debug, Default)]
pub struct Changes {
    files: Vec<Found>,
    /// Sources that are no longer there.
    gone: Vec<String>,
    /// What is left out now and was not before.
    skipped: Vec<Skipped>,
    /// Directories whose events nobody tells, and why.
    pub unwatched: Option<(usize, String)>,
}

impl Changes {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.gone.is_empty() && self.skipped.is_empty()
    }
}

impl Following {
    /// Follows a directory. `wake` is called from another thread whenever it is time to look, many
    /// times in a burst: whoever looks waits for the end of that.
    pub fn new(
        path: &Path,
        options: IngestOptions,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Self> {
        options.check()?;
        let root = fs::canonicalize(path).map_err(|error| nothing(path, error.to_string()))?;
        let metadata = fs::metadata(&root).map_err(|error| nothing(path, error.to_string()))?;
        if !metadata.is_dir() {
            let why = "only a directory is followed; name the one that it is in";
            return Err(nothing(path, why));
        }
        let handler = move |event: notify::Result<Event>| {
            // What was only read, by us for instance, is as it was.
            let says_something = match event.map(|event| event.kind) {
                Ok(EventKind::Access(AccessKind::Close(AccessMode::Write))) => true,
                Ok(EventKind::Access(_)) => false,
                // Where events were lost, it is looked all the more.
                Ok(_) | Err(_) => true,
            };
            if says_something {
                wake();
            }
        };
        let watcher = notify::recommended_watcher(handler).map_err(|fault| {
            let why = format!(
                "it can't be followed: {fault}; raise fs.inotify.max_user_instances by sysctl"
            );
            nothing(path, why)
        })?;
        Ok(Self {
            identity: (metadata.dev(), metadata.ino()),
            root,
            options,
            watcher,
            watched: HashSet::new(),
            seen: HashMap::new(),
            told: Vec::new(),
            looked: false,
        })
    }

    /// Where it looks.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is otherwise than at the last time. A directory that is no longer there, or that
    /// is another one by now, or on which another file system is mounted, is an error: nothing is
    /// forgotten for that.
    pub fn look(&mut self, memory: &Memory) -> Result<Changes> {
        memory.make_ready()?;
        let fault = |error: std::io::Error| nothing(&self.root, error.to_string());
        let root = Arc::new(Root::open(&self.root).map_err(fault)?);
        let metadata = root.metadata().map_err(fault)?;
        let (device, inode) = self.identity;
        let other = match (metadata.dev() == device, metadata.ino() == inode) {
            (true, true) => None,
            (true, false) => Some("another directory"),
            (false, _) => Some("another file system"),
        };
        if let Some(what) = other {
            let why = format!("{what} is there than in the beginning; follow it anew");
            return Err(nothing(&self.root, why));
        }
        let now_ns = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let (mut entered, mut unwatched) = (HashSet::new(), None);
        let watcher = &mut self.watcher;
        // Before it is read, so that nothing is missed between the two. Again each time, since a
        // directory may be another one of the same name.
        let mut entering = |path: &Path| {
            let why = if entered.len() < DIRECTORIES_MAX {
                entered.insert(path.to_owned());
                match watcher.watch(path, RecursiveMode::NonRecursive) {
                    Ok(()) => return,
                    Err(fault) if is_away(&fault) => return,
                    Err(fault) => format!("{fault}; raise fs.inotify.max_user_watches by sysctl"),
                }
            } else {
                format!("the limit is {DIRECTORIES_MAX} directories")
            };
            let (count, _) = unwatched.get_or_insert((0, why));
            *count += 1;
        };
        let (files, skipped) = walk::walk(&root, &self.options, &mut entering);
        for path in mem::replace(&mut self.watched, entered).difference(&self.watched) {
            // Mostly it is not there any more, and neither is its watch.
            let _ = self.watcher.unwatch(path);
        }
        let gone = self.gone(memory, &files, &skipped);
        let present: HashSet<&Path> = files.iter().map(|file| file.path.as_path()).collect();
        self.seen.retain(|path, _| present.contains(path.as_path()));
        let told = mem::replace(&mut self.told, skipped.clone());
        let is_young = |stamp: &Stamp| {
            stamp.changed_ns + YOUNG_NS > i128::try_from(now_ns).unwrap_or(i128::MAX)
        };
        let is_new = |file: &Found| self.seen.get(&file.path) != Some(&file.stamp);
        let files: Vec<Found> = files.iter().filter(|file| is_new(file)).cloned().collect();
        for file in &files {
            if is_young(&file.stamp) {
                self.seen.remove(&file.path);
            } else {
                self.seen.insert(file.path.clone(), file.stamp);
            }
        }
        self.looked = true;
        Ok(Changes {
            files,
            gone,
            skipped: skipped
                .into_iter()
                .filter(|skipped| !told.contains(skipped))
                .collect(),
            unwatched,
        })
    }

    /// Takes in what was found. If that fails, everything is looked at anew the next time.
    pub fn take_in(
        &mut self,
        memory: &Memory,
        changes: Changes,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<IngestReport> {
        let mut intake = Intake::new(memory, &self.options);
        changes.gone.iter().for_each(|source| intake.forget(source));
        let report = intake.all(&changes.files, changes.skipped, progress);
        if !report.as_ref().is_ok_and(|report| !report.stopped) {
            self.seen.clear();
            self.told.clear();
        }
        report
    }

    /// What is remembered of files below the directory that are no longer there.
    fn gone(&self, memory: &Memory, files: &[Found], skipped: &[Skipped]) -> Vec<String> {
        // An empty directory in the beginning is one that is not mounted yet, more likely than not.
        if !self.looked && files.is_empty() && skipped.is_empty() {
            return Vec::new();
        }
        let index = memory.index(Collection::Knowledge);
        let known = index.documents(&self.options.namespace);
        intake::gone(known.keys(), &self.root, files)
    }
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following")
            .field("root", &self.root)
            .field("watched", &self.watched.len())
            .field("files", &self.seen.len())
            .finish_non_exhaustive()
    }
}

/// It went between two looks.
fn is_away(fault: &notify::Error) -> bool {
    match &fault.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == ErrorKind::NotFound,
        _ => false,
    }
}
