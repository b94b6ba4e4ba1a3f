//! What an engine has done and is doing, readable from any thread.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::backend::Capacity;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $atomic:ty => $value:ty;)+) => {
        /// Counters of one engine. Each is exact; two read together may be a turn apart.
        #[derive(Debug, Default)]
        pub struct EngineStats {
            $(pub(super) $name: $atomic,)+
        }

        impl EngineStats {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(&self) -> $value {
                self.$name.load(Ordering::Relaxed)
            })+
        }
    };
}

counters! {
    /// Slots in all.
    slots: AtomicU32 => u32;
    /// Slots with a job.
    slots_busy: AtomicU32 => u32;
    /// Jobs that wait.
    waiting: AtomicU32 => u32;
    /// Tokens that the KV cache can hold.
    cells: AtomicU32 => u32;
    /// Tokens that it holds, for jobs or in case that they are of use again.
    cells_used: AtomicU32 => u32;
    /// Tokens that it holds for jobs.
    cells_live: AtomicU32 => u32;
    /// Jobs that gave up their slot for the time being.
    paused: AtomicU32 => u32;
    /// Threads that compute, if their number changes with the machine's other work; 0: it does
    /// not.
    threads: AtomicU32 => u32;
    /// Jobs that were begun.
    jobs: AtomicU64 => u64;
    /// Jobs that ended early, because somebody cancelled them or left.
    jobs_cancelled: AtomicU64 => u64;
    /// Prompt tokens computed.
    prompt_tokens: AtomicU64 => u64;
    /// Prompt tokens that were in the cache already.
    cached_tokens: AtomicU64 => u64;
    /// How often a job was paused for a more urgent one.
    pauses: AtomicU64 => u64;
    /// Tokens written.
    output_tokens: AtomicU64 => u64;
    /// Tokens that were guessed.
    guessed_tokens: AtomicU64 => u64;
    /// Guessed tokens that were right.
    guessed_right: AtomicU64 => u64;
    /// Decodes.
    decodes: AtomicU64 => u64;
    /// Decodes that were stopped for a cancelled prompt.
    decodes_aborted: AtomicU64 => u64;
}

impl EngineStats {
    pub(super) fn new(slots: u32, capacity: Capacity) -> Self {
        Self {
            slots: AtomicU32::new(slots),
            cells: AtomicU32::new(capacity.cells),
            ..Self::default()
        }
    }
}
