//! A day's record, where the settings want one: what was asked, what was done for it, what came of
//! it. Secrets are taken out by what takes them out of requests to clouds, and what is private is
//! not written down at all.

mod draft;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

#[cfg(feature = "s3")]
use fazai_cloud::KeySource;
use fazai_cloud::Label;
use fazai_cloud::redact::{Counts, Redactor, Rules};
use fazai_memory::MemoryError;
#[cfg(feature = "s3")]
use fazai_memory::episodes::S3Options;
use fazai_memory::episodes::{EpisodeGc, EpisodeOptions, EpisodePlace, Episodes};
use fazai_protocol::Done;
use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{info, warn};

pub(crate) use self::draft::{Deeds, Draft};
use crate::acting::ActingFault;
use crate::cloud;
use crate::config::{EpisodeSettings, Settings};
use crate::lock::lock;
use crate::memory::MemoryFault;
use crate::trouble::Trouble;
use crate::worker::Shared;

/// How often what is new goes to the store.
const FLUSH_EVERY: Duration = Duration::from_secs(60);

/// After how many of these times old days are looked for.
const GC_EVERY: u32 = 60;

/// By which name the policy knows a bucket elsewhere.
const NAME: &str = "episodes";

/// The record, opened when it is first needed.
pub(crate) struct Recording {
    settings: watch::Receiver<Arc<Settings>>,
    opened: Mutex<Option<Arc<Opened>>>,
    tended: AtomicBool,
    trouble: Trouble,
}

struct Opened {
    settings: EpisodeSettings,
    episodes: Episodes,
    redactor: Redactor,
    /// To whom it goes, if that is not this machine.
    remote: Option<String>,
}

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EpisodeFault {
    #[error(transparent)]
    Memory(#[from] MemoryFault),
    #[error(transparent)]
    Acting(#[from] ActingFault),
}

impl From<MemoryError> for EpisodeFault {
    fn from(fault: MemoryError) -> Self {
        Self::Memory(fault.into())
    }
}

impl Recording {
    pub(crate) fn new(settings: watch::Receiver<Arc<Settings>>) -> Self {
        Self {
            settings,
            opened: Mutex::default(),
            tended: AtomicBool::new(false),
            trouble: Trouble::default(),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.settings.borrow().memory.episodes.on
    }

    /// The record, if it is on. Blocks.
    fn open(&self) -> Result<Option<Arc<Opened>>, EpisodeFault> {
        let settings = Arc::clone(&self.settings.borrow());
        let wanted = &settings.memory.episodes;
        let mut opened = lock(&self.opened);
        if let Some(open) = opened.as_ref().filter(|open| open.settings == *wanted) {
            return Ok(Some(Arc::clone(open)));
        }
        // Other settings: the old ones let go of the directory first.
        if let Some(open) = opened.take()
            && let Err(fault) = open.flush(None)
        {
            warn!(%fault, "episodes wait on this machine");
        }
        if !wanted.on {
            return Ok(None);
        }
        let options = options(&settings)?;
        let open = Arc::new(Opened {
            settings: wanted.clone(),
            remote: options.place.remote(),
            episodes: Episodes::open(options)?,
            redactor: redactor(&settings)?,
        });
        info!(place = open.episodes.place_name(), "episodes are recorded");
        *opened = Some(Arc::clone(&open));
        Ok(Some(open))
    }

    /// Writes a request down that is over. Nobody waits for that.
    pub(crate) fn record(shared: &Arc<Shared>, draft: Draft, done: &Done, millis: u64) {
        let done = draft::Came::of(done, millis);
        let owner = Arc::clone(shared);
        Self::tend(shared);
        shared.tasks.spawn_blocking(move || {
            let recording = &owner.episodes;
            let wrote = recording.open().and_then(|open| {
                let Some(open) = open else { return Ok(true) };
                let episode = draft.episode(&done, open.remote.is_some(), &|text| {
                    open.redactor.scrub(text)
                });
                match episode {
                    Some(episode) => Ok(open.episodes.append(Timestamp::now(), &episode)?),
                    None => Ok(true),
                }
            });
            match wrote {
                Ok(true) => {
                    recording.trouble.is_over();
                }
                Ok(false) => recording.complain("the day has as much as one may have"),
                Err(fault) => recording.complain(&fault.to_string()),
            }
        });
    }

    /// Says once that something is not recorded; requests go on.
    fn complain(&self, why: &str) {
        if self.trouble.is_news(why) {
            warn!(why, "episodes are not recorded");
        }
    }

    /// Begins to bring what is new to the store, now and then, unless that was begun before.
    pub(crate) fn tend(shared: &Arc<Shared>) {
        if !shared.episodes.is_on() || shared.episodes.tended.swap(true, Ordering::Relaxed) {
            return;
        }
        let (stopping, weak) = (shared.draining.clone(), Arc::downgrade(shared));
        shared.tasks.spawn(async move {
            let mut tick = tokio::time::interval(FLUSH_EVERY);
            for turn in 0_u32.. {
                tokio::select! {
                    _ = tick.tick() => {}
                    () = stopping.cancelled() => return,
                }
                let weak = Weak::clone(&weak);
                let tended = tokio::task::spawn_blocking(move || {
                    let Some(shared) = weak.upgrade() else {
                        return Ok(());
                    };
                    shared.episodes.bring(&shared)?;
                    if turn % GC_EVERY == 0 {
                        shared.episodes.gc(&shared)?;
                    }
                    Ok::<_, EpisodeFault>(())
                });
                if let Ok(Err(fault)) = tended.await {
                    warn!(%fault, "episodes wait on this machine");
                }
            }
        });
    }

    /// Brings what is new to the store. Blocks.
    fn bring(&self, shared: &Shared) -> Result<(), EpisodeFault> {
        match self.open()? {
            Some(open) if open.episodes.is_behind()? => open.flush(Some(shared)),
            _ => Ok(()),
        }
    }

    /// Removes old days. Blocks.
    pub(crate) fn gc(&self, shared: &Shared) -> Result<Option<EpisodeGc>, EpisodeFault> {
        let Some(open) = self.open()? else {
            return Ok(None);
        };
        let gc = || open.episodes.gc(Timestamp::now());
        Ok(Some(open.past_gate(shared, gc)?))
    }

    /// Does something with the record. Blocks.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&Episodes) -> Result<T, MemoryError>,
    ) -> Result<T, EpisodeFault> {
        match self.open()? {
            Some(open) => Ok(work(&open.episodes)?),
            None => {
                let why = "episodes is off, so that nothing is recorded: set it to on";
                Err(MemoryFault::Settings(why.to_owned()).into())
            }
        }
    }

    /// Brings what is new to the store, and lets go of it. Blocks.
    pub(crate) fn close(&self, shared: &Shared) {
        let open = lock(&self.opened).take();
        let Some(open) = open else { return };
        let behind = open.episodes.is_behind();
        if behind.unwrap_or(true)
            && let Err(fault) = open.flush(Some(shared))
        {
            warn!(%fault, "episodes wait on this machine for the next start");
        }
    }
}

impl Opened {
    /// What goes to another machine passes the gate, with the worker's own rights.
    fn past_gate<T>(
        &self,
        shared: &Shared,
        work: impl FnOnce() -> Result<T, MemoryError>,
    ) -> Result<T, EpisodeFault> {
        if self.remote.is_none() {
            return Ok(work()?);
        }
        let action = cloud::send(NAME, Label::Internal, &Counts::new());
        Ok(shared.acting.do_own(action, work)??)
    }

    /// Without the gate only to this machine.
    fn flush(&self, shared: Option<&Shared>) -> Result<(), EpisodeFault> {
        let flush = || self.episodes.flush(Timestamp::now());
        match shared {
            Some(shared) => drop(self.past_gate(shared, flush)?),
            None if self.remote.is_none() => drop(flush()?),
            None => {}
        }
        Ok(())
    }
}

/// What is taken out of what is written down; what leaves for clouds unredacted is redacted here.
fn redactor(settings: &Settings) -> Result<Redactor, MemoryFault> {
    let rules = cloud::completed(&settings.cloud).map(|cloud| cloud.redact);
    let rules = Rules {
        off: false,
        ..rules.unwrap_or_default()
    };
    Redactor::new(&rules).map_err(|fault| MemoryFault::Settings(fault.to_string()))
}

fn options(settings: &Settings) -> Result<EpisodeOptions, MemoryFault> {
    let (dir, wanted) = (&settings.memory.dir, &settings.memory.episodes);
    Ok(EpisodeOptions {
        spool: dir.join("episodes.open"),
        place: place(settings)?,
        days: wanted.days,
        bytes_high: wanted.bytes_high,
        bytes_low: wanted.bytes_low,
    })
}

fn place(settings: &Settings) -> Result<EpisodePlace, MemoryFault> {
    let wanted = &settings.memory.episodes;
    match &wanted.s3 {
        Some(url) => bucket(url, wanted),
        None if wanted.dir.as_os_str().is_empty() => Ok(EpisodePlace::Directory(
            settings.memory.dir.join("episodes"),
        )),
        None => Ok(EpisodePlace::Directory(wanted.dir.clone())),
    }
}

#[cfg(feature = "s3")]
fn bucket(url: &str, wanted: &EpisodeSettings) -> Result<EpisodePlace, MemoryFault> {
    let wrong = |why: String| MemoryFault::Settings(format!("episodes_s3_key_file: {why}"));
    let Some(path) = &wanted.s3_key_file else {
        return Err(wrong("is not set".to_owned()));
    };
    let keys = KeySource::File(path.clone()).read();
    let keys = keys.map_err(|fault| wrong(fault.to_string()))?;
    let [key_id, secret] = keys.as_slice() else {
        return Err(wrong(
            "has the id of a key and its secret, each in a line".to_owned(),
        ));
    };
    let options = S3Options {
        url: url.to_owned(),
        region: wanted.s3_region.clone(),
        key_id: key_id.expose().to_owned(),
        secret: secret.expose().to_owned(),
    };
    options.check()?;
    Ok(EpisodePlace::S3(options))
}

#[cfg(not(feature = "s3"))]
fn bucket(_: &str, _: &EpisodeSettings) -> Result<EpisodePlace, MemoryFault> {
    let fault = "episodes_s3 needs a build with the feature `s3`";
    Err(MemoryFault::Settings(fault.to_owned()))
}
