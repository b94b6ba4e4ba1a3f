//! Who has a slot: jobs get one, give one up for something more urgent, and get one again.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::kv::KvCache;
use super::numbers::{millis, to_f64, to_millis};
use super::queue::risen;
use super::slot::{Slot, Ticketed, adoptable, cells_needed};
use super::stats::EngineStats;
use super::turn::{Engine, Waiting};
use crate::grammar::Constraint;
use crate::job::{Event, Generate, JobError, Priority};

/// A job that had a slot and will have one again.
pub(super) struct Aside {
    pub(super) slot: Slot,
    why: Why,
    since: Instant,
}

impl Aside {
    fn new(slot: Slot, why: Why) -> Self {
        let since = Instant::now();
        Self { slot, why, since }
    }

    /// Its class, which is a higher one if it waits long.
    fn class(&self) -> Priority {
        risen(self.slot.job.priority, self.since.elapsed())
    }

    /// Whether it could go on at once.
    fn is_ready(&self) -> bool {
        self.slot.runnable() || !matches!(self.why, Why::Stalled)
    }
}

/// Why a job has no slot any more.
enum Why {
    /// Its reader does not read. Its sequence is idle, and may be lost: it is computed again.
    Stalled,
    /// Something more urgent had no slot. Its cells are where they were.
    Paused,
    /// The same, and its cells are in this process's memory.
    MovedOut(Vec<u8>),
}

/// Whose turn it is for a free slot.
pub(super) enum NextUp {
    /// The one with this index among those set aside.
    Aside(usize),
    /// The first one in the queue.
    Waiting,
}

/// A reader that took nothing for so long gives its slot up if others wait.
const STALLED_AFTER: Duration = Duration::from_millis(500);

/// Jobs set aside for each slot: beyond that, stalled ones keep their slots and nobody is paused.
const ASIDE_PER_SLOT_MAX: usize = 4;

/// Sooner than this nothing will have changed.
const RETRY_MS_MIN: u64 = 50;

impl Engine {
    /// Gives free slots to those whose turn it is, and takes some from others.
    pub(super) fn admit(&mut self) {
        self.set_stalled_aside();
        let mut admitted = false;
        loop {
            match self.next_up() {
                Some(NextUp::Aside(index)) => self.resume(index),
                Some(NextUp::Waiting) => {
                    admitted = true;
                    self.take_waiting();
                }
                None if self.pause_for_urgent() => {}
                None => break,
            }
        }
        if admitted {
            self.announce_positions();
        }
    }

    /// Whose turn it is, if there is room: jobs that had a slot before those of their class that
    /// had none.
    pub(super) fn next_up(&self) -> Option<NextUp> {
        let waiting = self.queue.peek();
        let aside = self.aside.iter().enumerate();
        let aside = aside.filter(|(_, aside)| aside.is_ready());
        // The first of the highest class: `max_by_key` takes the last of equals.
        let aside = aside.rev().max_by_key(|(_, aside)| aside.class());
        match (aside, waiting) {
            (Some((index, aside)), waiting)
                if waiting.is_none_or(|(class, _)| class <= aside.class()) =>
            {
                let fits = match &aside.why {
                    // Its cells are reserved.
                    Why::Paused => self.has_slot(),
                    Why::Stalled | Why::MovedOut(_) => self.has_room(aside.slot.cells_reserved()),
                };
                fits.then_some(NextUp::Aside(index))
            }
            (_, Some((_, waiting))) => {
                let fits = self.has_room(self.new_cells(&waiting.generate));
                fits.then_some(NextUp::Waiting)
            }
            (_, None) => None,
        }
    }

    /// Whether there is a slot with a sequence and so many cells.
    fn has_room(&self, cells: u32) -> bool {
        self.has_slot() && self.kv.has_sequence() && self.has_cells(cells)
    }

    fn has_slot(&self) -> bool {
        self.slots.len() < self.options.slots as usize
    }

    /// Whether so many cells are free or idle. A job reserves the cells that it may come to need,
    /// so that one that has begun can always end.
    fn has_cells(&self, cells: u32) -> bool {
        let paused = self
            .aside
            .iter()
            .filter(|aside| matches!(aside.why, Why::Paused));
        let holders = self.slots.iter().chain(paused.map(|aside| &aside.slot));
        let to_come: u32 = holders.map(Slot::cells_to_come).sum();
        let taken = self.kv.cells_live().saturating_add(to_come);
        taken.saturating_add(cells) <= self.kv.capacity().cells
    }

    /// Cells that a request needs beyond those which live sequences share with it.
    fn new_cells(&self, generate: &Generate) -> u32 {
        let needed = cells_needed(generate, generate.prompt.len());
        let found = self.kv.find(adoptable(&generate.prompt));
        let shared = found.map_or(0, |found| found.live_len);
        needed - shared
    }

    /// Why the job would only waste its time: by the measured speed its first token comes after
    /// its deadline.
    pub(super) fn would_be_late(&self, job: &Ticketed, generate: &Generate) -> Option<JobError> {
        let deadline = job.deadline?;
        let millis_left = millis(deadline.saturating_duration_since(Instant::now()));
        let per_token = 1e3 / self.pace.prompt_tokens_per_second()?;
        let found = self.kv.find(adoptable(&generate.prompt));
        let cached = found.map_or(0, |found| found.len as usize);
        let own = to_f64(generate.prompt.len() - cached) * per_token;

        // Prompts that are read first, and a slot.
        let not_below = |priority: Priority| priority >= job.priority;
        let reading = self.slots.iter().filter(|slot| slot.prefilling());
        let reading = reading.filter(|slot| not_below(slot.job.priority));
        let reading: usize = reading.map(|slot| slot.pending().len()).sum();
        let ahead = || {
            self.queue
                .iter()
                .filter(|waiting| not_below(waiting.job.priority))
        };
        let queued: usize = ahead().map(|waiting| waiting.generate.prompt.len()).sum();
        let holders = self
            .slots
            .iter()
            .filter(|slot| not_below(slot.job.priority))
            .count();
        let slots = self.options.slots as usize;
        // Those ahead take the free slots first; then whole rounds have to end.
        let rounds = (holders + ahead().count()) / slots;
        let wait = to_f64(reading + queued) * per_token
            + to_f64(rounds) * millis(self.gate.service_time());
        let expected = wait + own;
        (expected > millis_left).then(|| JobError::WouldMissDeadline {
            expected_ms: to_millis(expected),
            late_ms: to_millis(expected - millis_left),
            retry_after_ms: (own < millis_left).then(|| to_millis(wait).max(RETRY_MS_MIN)),
        })
    }

    fn take_waiting(&mut self) {
        let Some((class, waiting)) = self.queue.pop() else {
            return;
        };
        self.stats.jobs.fetch_add(1, Ordering::Relaxed);
        let Waiting {
            mut job,
            generate,
            constraint,
            kept,
            ..
        } = waiting;
        // Who has risen is not paused at once for others of the class that it was in.
        job.priority = class;
        self.put_back(&generate, kept.as_deref());
        self.begin(job, *generate, constraint);
    }

    fn begin(&mut self, job: Ticketed, generate: Generate, constraint: Option<Constraint>) {
        let seq = self.kv.begin().expect("there is a sequence");
        let mut slot = Slot::new(job, seq, generate, constraint, &self.vocabulary);
        Self::adopt(&mut self.kv, &self.stats, &mut slot);
        let queue_ms = millis(slot.job.submitted.elapsed());
        slot.job.outbox.send_news(Event::Started {
            cached_tokens: slot.cached_tokens(),
            queue_ms,
        });
        self.slots.push(slot);
    }

    /// Takes over what others have computed of the slot's tokens.
    pub(super) fn adopt(kv: &mut KvCache, stats: &EngineStats, slot: &mut Slot) {
        let before = slot.position();
        let held = kv.adopt(slot.seq, slot.adoptable());
        if held > before {
            slot.holds(held);
            let gained = u64::from(held - before);
            stats.cached_tokens.fetch_add(gained, Ordering::Relaxed);
        }
    }

    /// While others wait for room, takes slots from readers that have not read for a while.
    fn set_stalled_aside(&mut self) {
        let others_wait =
            |engine: &Self| !engine.queue.is_empty() || engine.aside.iter().any(Aside::is_ready);
        while others_wait(self)
            && self.next_up().is_none()
            && self.may_set_aside()
            && let Some(index) = self
                .slots
                .iter()
                .position(|slot| slot.stalled_for() >= STALLED_AFTER)
        {
            let mut slot = self.slots.remove(index);
            self.kv.retire(slot.seq);
            slot.holds(0);
            self.aside.push(Aside::new(slot, Why::Stalled));
        }
    }

    fn may_set_aside(&self) -> bool {
        self.aside.len() < self.options.slots as usize * ASIDE_PER_SLOT_MAX
    }

    /// Pauses the least urgent job if the first one in the queue is more urgent and has no room.
    /// `false`: nobody was paused.
    fn pause_for_urgent(&mut self) -> bool {
        let Some((class, waiting)) = self.queue.peek() else {
            return false;
        };
        if !self.may_set_aside() {
            return false;
        }
        let cells = self.new_cells(&waiting.generate);
        let Some(index) = self.least_urgent(class) else {
            return false;
        };
        if self.has_cells(cells) {
            // In place: it keeps its cells and gives up its slot.
            if self.has_slot() || !self.kv.has_sequence() {
                return false;
            }
            let slot = self.slots.remove(index);
            self.set_paused_aside(slot, Why::Paused);
            return true;
        }
        let frees = self.slots[index].cells_reserved();
        if !self.has_cells(cells.saturating_sub(frees)) {
            return false;
        }
        let bytes_max = self
            .options
            .paused_bytes_max
            .saturating_sub(self.paused_bytes());
        let Some(state) = self.kv.move_out(self.slots[index].seq, bytes_max) else {
            return false;
        };
        let slot = self.slots.remove(index);
        self.set_paused_aside(slot, Why::MovedOut(state));
        true
    }

    fn set_paused_aside(&mut self, slot: Slot, why: Why) {
        self.stats.pauses.fetch_add(1, Ordering::Relaxed);
        self.aside.push(Aside::new(slot, why));
    }

    /// Of the jobs below `class`, the one of the lowest class that began last.
    fn least_urgent(&self, class: Priority) -> Option<usize> {
        let below = self.slots.iter().enumerate();
        let below = below.filter(|(_, slot)| slot.job.priority < class);
        // Slots are in the order of admission, and `min_by_key` takes the first of equals.
        let lowest = below.rev().min_by_key(|(_, slot)| slot.job.priority);
        lowest.map(|(index, _)| index)
    }

    /// Memory that moved cells take.
    fn paused_bytes(&self) -> usize {
        let moved = self.aside.iter().map(|aside| match &aside.why {
            Why::MovedOut(state) => state.len(),
            Why::Stalled | Why::Paused => 0,
        });
        moved.sum()
    }

    /// Gives a job that was set aside a slot again.
    fn resume(&mut self, index: usize) {
        let aside = self.aside.remove(index);
        let class = aside.class();
        let Aside { mut slot, why, .. } = aside;
        slot.job.priority = class;
        match why {
            Why::Paused => {}
            Why::Stalled => self.begin_again(&mut slot),
            Why::MovedOut(state) => match self.kv.move_in(&state, slot.held()) {
                Some(seq) => slot.seq = seq,
                None => self.begin_again(&mut slot),
            },
        }
        self.slots.push(slot);
    }

    /// A new sequence for a job that lost its own.
    fn begin_again(&mut self, slot: &mut Slot) {
        slot.seq = self.kv.begin().expect("there is a sequence");
        slot.holds(0);
        Self::adopt(&mut self.kv, &self.stats, slot);
    }

    /// A job that was set aside ends; gives its sequence back.
    pub(super) fn drop_aside(&mut self, aside: Aside) -> Slot {
        if matches!(aside.why, Why::Paused) {
            self.kv.retire(aside.slot.seq);
        }
        aside.slot
    }
}
