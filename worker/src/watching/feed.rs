//! The latest judgements, for those who subscribe. Nobody has a queue: who is slow finds the
//! oldest gone, and is told how many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::record::Record;
use crate::lock::lock;

/// Judgements that are kept for those who come late.
pub(crate) const RING_MAX: usize = 1_000;

/// What is handed over at once.
const AT_ONCE_MAX: usize = 32;

/// The latest judgements.
pub(crate) struct Feed {
    ring: Mutex<VecDeque<Arc<Record>>>,
    latest: watch::Sender<u64>,
    ended: CancellationToken,
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
            ended: CancellationToken::new(),
        };
        feed.push(kept);
        feed
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<Arc<Record>>> {
        lock(&self.ring)
    }

    /// Adds judgements, in the order of their numbers.
    pub(super) fn push(&self, records: impl IntoIterator<Item = Arc<Record>>) {
        let mut ring = self.ring();
        ring.extend(records);
        while ring.len() > RING_MAX {
            // What strangers bring pushes out what strangers brought.
            let strangers = ring.iter().filter(|record| !record.trusted).count();
            let first = ring.iter().position(|record| !record.trusted);
            ring.remove(first.filter(|_| strangers > RING_MAX / 4).unwrap_or(0));
        }
        if let Some(last) = ring.back() {
            let seq = last.seq;
            drop(ring);
            self.latest.send_replace(seq);
        }
    }

    /// Nothing comes any more.
    pub(super) fn end(&self) {
        self.ended.cancel();
    }

    /// Waits for that.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
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

#[cfg(test)]
mod tests {
    use super::super::record::example;
    use super::*;

    fn record(seq: u64) -> Arc<Record> {
        Arc::new(example(seq, None))
    }

    #[test]
    fn whoever_is_late_is_told_what_is_gone() {
        let feed = Feed::new([], 0);
        let news = feed.after(0);
        assert_eq!((news.lost, news.records.len(), news.after), (0, 0, 0));
        let last = RING_MAX as u64 + 10;
        feed.push((1..=last).map(record));
        assert_eq!(feed.latest(), last);
        let news = feed.after(0);
        assert_eq!((news.lost, news.records[0].seq), (10, 11));
        assert_eq!(news.records.len(), AT_ONCE_MAX);
        assert_eq!(news.after, 10 + AT_ONCE_MAX as u64);
        let news = feed.after(last - 1);
        assert_eq!((news.lost, news.records.len(), news.after), (0, 1, last));
        assert_eq!(feed.after(last).records.len(), 0);
    }

    /// After a restart only the latest judgement of each incident is there.
    #[test]
    fn gaps_between_what_is_kept_are_no_loss() {
        let feed = Feed::new([record(1), record(5)], 5);
        let news = feed.after(1);
        assert_eq!((news.lost, news.records.len(), news.after), (0, 1, 5));
    }
}
