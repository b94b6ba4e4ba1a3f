//! The latest judgements, for those who subscribe. Nobody has a queue: who is slow finds the
//! oldest gone, and is told how many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::record::Record;

/// Judgements that are kept for those who come late.
pub(crate) const RING_MAX: usize = 1_000;

/// What is handed over at once.
const AT_ONCE_MAX: usize = 32;

/// The latest judgements.
pub(crate) struct Feed {
    ring: Mutex<VecDeque<Arc<Record>>>,
    latest: watch::Sender<u64>,
}

/// What is new for a subscriber.
pub(crate) struct News {
    /// Judgements that are gone.
    pub(crate) lost: u64,
    pub(crate) records: Vec<Arc<Record>>,
    /// Behind what to go on.
    pub(crate) after: u64,
}

impl Feed {
    pub(super) fn new(kept: impl IntoIterator<Item = Arc<Record>>, latest: u64) -> Self {
        let feed = Self {
            ring: Mutex::default(),
            latest: watch::Sender::new(latest),
        };
        feed.push(kept);
        feed
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<Arc<Record>>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds judgements, in the order of their numbers.
    pub(super) fn push(&self, records: impl IntoIterator<Item = Arc<Record>>) {
        let mut ring = self.ring();
        ring.extend(records);
        while ring.len() > RING_MAX {
            ring.pop_front();
        }
        if let Some(last) = ring.back() {
            let seq = last.seq;
            drop(ring);
            self.latest.send_replace(seq);
        }
    }

    /// The number of the latest one.
    pub(crate) fn latest(&self) -> u64 {
        *self.latest.borrow()
    }

    /// Is told when there is a new one.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// What came behind `after`, or the first of it.
    pub(crate) fn after(&self, after: u64) -> News {
        let ring = self.ring();
        let begin = ring.partition_point(|record| record.seq <= after);
        let found = ring.iter().skip(begin).take(AT_ONCE_MAX);
        let records: Vec<Arc<Record>> = found.cloned().collect();
        let first = ring.front().map_or(self.latest() + 1, |record| record.seq);
        News {
            lost: first.saturating_sub(after + 1),
            after: records.last().map_or(after.max(first - 1), |last| last.seq),
            records,
        }
    }
}
