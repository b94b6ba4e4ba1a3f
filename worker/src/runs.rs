//! Runs of plans: each has a journal, so that it is known after a crash what was done, and goes on
//! after the last step that is over.
//!
//! A journal is a file of JSON lines, to which is only added. A step is written down before it
//! begins and after it has ended; one that began and has no end may or may not have happened, and
//! is never done again.

mod journal;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

pub(crate) use self::journal::{Entry, Journal, JournalFault, Kept, KeptStep, Stand};
use crate::config::Settings;
use crate::lock::lock;

/// All runs.
pub(crate) struct Runs {
    settings: watch::Receiver<Arc<Settings>>,
    live: Arc<Mutex<HashMap<String, watch::Sender<Order>>>>,
}

/// What somebody wants of a run that is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    GoOn,
    Pause,
    Cancel,
}

/// A run that is going on. While it is there nobody else can resume it.
pub(crate) struct Live {
    id: String,
    live: Arc<Mutex<HashMap<String, watch::Sender<Order>>>>,
    pub(crate) order: watch::Receiver<Order>,
}

impl Runs {
    pub(crate) fn new(settings: watch::Receiver<Arc<Settings>>) -> Self {
        Self {
            settings,
            live: Arc::default(),
        }
    }

    fn dir(&self) -> PathBuf {
        self.settings.borrow().tools.runs_dir.clone()
    }

    /// Begins a journal, and forgets the oldest that are over if there are too many.
    pub(crate) fn begin(&self, begun: &Entry) -> Result<(Journal, Live), JournalFault> {
        let dir = self.dir();
        let most = self.settings.borrow().tools.runs_max;
        journal::forget_oldest(&dir, most, |id| self.is_live(id))?;
        let journal = Journal::create(&dir, begun)?;
        let live = self.enter(&journal.kept.id).ok_or(JournalFault::Busy)?;
        Ok((journal, live))
    }

    /// Opens the journal of a run that is not going on.
    pub(crate) fn resume(&self, id: &str) -> Result<(Journal, Live), JournalFault> {
        let live = self.enter(id).ok_or(JournalFault::Busy)?;
        Ok((Journal::open(&self.dir(), id)?, live))
    }

    /// What is known of a run.
    pub(crate) fn show(&self, id: &str) -> Result<Kept, JournalFault> {
        journal::read(&self.dir(), id)
    }

    /// All that are kept, the newest first.
    pub(crate) fn list(&self) -> Vec<Kept> {
        journal::list(&self.dir())
    }

    fn is_live(&self, id: &str) -> bool {
        lock(&self.live).contains_key(id)
    }

    /// What a run that is going on was told last; none: it is not going on.
    pub(crate) fn ordered(&self, id: &str) -> Option<Order> {
        lock(&self.live).get(id).map(|sender| *sender.borrow())
    }

    /// Tells a run that is going on what to do; false: it is not.
    pub(crate) fn order(&self, id: &str, order: Order) -> bool {
        let live = lock(&self.live);
        let Some(sender) = live.get(id) else {
            return false;
        };
        // Who is told to end does not go on.
        sender.send_if_modified(|now| {
            let changes = *now != Order::Cancel && *now != order;
            if changes {
                *now = order;
            }
            changes
        });
        true
    }

    fn enter(&self, id: &str) -> Option<Live> {
        let mut live = lock(&self.live);
        if live.contains_key(id) {
            return None;
        }
        let (sender, order) = watch::channel(Order::GoOn);
        live.insert(id.to_owned(), sender);
        Some(Live {
            id: id.to_owned(),
            live: Arc::clone(&self.live),
            order,
        })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        lock(&self.live).remove(&self.id);
    }
}
