//! Lets a submission stop a decode that reads a less urgent prompt: such a decode may take
//! seconds, and stopping it costs what it had read.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::backend::AbortSignal;
use crate::job::Priority;

/// Flags that submitters and the engine share. 0 stands for nothing.
#[derive(Debug, Default)]
pub(super) struct Urgency {
    /// The class of the prompts that the running decode reads.
    reading: AtomicU8,
    /// The highest class that was submitted since the engine looked into its inbox.
    arrived: AtomicU8,
}

fn rank(priority: Priority) -> u8 {
    match priority {
        Priority::Low => 1,
        Priority::Normal => 2,
        Priority::High => 3,
    }
}

impl Urgency {
    /// A job of this class is in the inbox. `abort` stops a decode that should not go first.
    ///
    /// This sets `arrived` before it reads `reading`, and the engine sets `reading` before it
    /// reads `arrived`: one of the two always sees the other.
    pub(super) fn arrived(&self, priority: Priority, abort: &AbortSignal) {
        let rank = rank(priority);
        self.arrived.fetch_max(rank, Ordering::SeqCst);
        let reading = self.reading.load(Ordering::SeqCst);
        if reading != 0 && reading < rank {
            abort.raise();
        }
    }

    /// The engine is about to look into its inbox.
    pub(super) fn looked(&self) {
        self.arrived.store(0, Ordering::SeqCst);
    }

    /// A decode that reads prompts of this class begins. `false`: something more urgent came.
    pub(super) fn begin_reading(&self, priority: Priority) -> bool {
        let rank = rank(priority);
        self.reading.store(rank, Ordering::SeqCst);
        self.arrived.load(Ordering::SeqCst) <= rank
    }

    /// The decode is over.
    pub(super) fn end_reading(&self) {
        self.reading.store(0, Ordering::SeqCst);
    }
}
