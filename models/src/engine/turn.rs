//! The engine's loop. One turn: take commands, admit, deliver, build one batch, compute it,
//! choose a token for each slot.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use tracing::{debug, warn};

use super::EngineOptions;
use super::gate::{Gate, Ticket};
use super::outbox::{Delivery, Outbox};
use super::queue::Queue;
use super::slot::{Ending, Slot, Ticketed, cells_needed, millis};
use super::stats::EngineStats;
use crate::backend::{AbortSignal, Backend, DecodeError, Run, SeqId};
use crate::grammar::Constraint;
use crate::job::{Command, Event, FinishReason, Generate, Job, JobError, JobId, Outcome, Work};
use crate::vocabulary::{Token, Vocabulary};

/// A command with what can't be plain data.
#[derive(Debug)]
pub(super) struct Envelope {
    command: Command,
    attachment: Option<Attachment>,
}

/// What belongs to a submitted job inside this process.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) outbox: Outbox,
    pub(super) constraint: Option<Constraint>,
    pub(super) ticket: Ticket,
    pub(super) submitted: Instant,
}

impl Envelope {
    pub(super) fn submission(job: Box<Job>, attachment: Attachment) -> Self {
        Self {
            command: Command::Submit(job),
            attachment: Some(attachment),
        }
    }

    pub(super) fn plain(command: Command) -> Self {
        Self {
            command,
            attachment: None,
        }
    }
}

/// A job that waits for a slot.
#[derive(Debug)]
struct Waiting {
    job: Ticketed,
    work: Work,
    constraint: Option<Constraint>,
    /// Frees the place in the gate when the job leaves the queue.
    _ticket: Ticket,
}

/// A job that wants vectors, between two of them.
#[derive(Debug)]
struct Embedding {
    job: Ticketed,
    inputs: VecDeque<Vec<Token>>,
    vectors: Vec<Vec<f32>>,
}

/// The state that one engine thread owns.
pub(super) struct Engine {
    /// First, so that a panic is known before the jobs' channels close.
    _alive: AliveGuard,
    backend: Box<dyn Backend>,
    abort: AbortSignal,
    vocabulary: Arc<Vocabulary>,
    options: EngineOptions,
    inbox: Receiver<Envelope>,
    gate: Arc<Gate>,
    stats: Arc<EngineStats>,
    queue: Queue<Waiting>,
    /// Occupied slots, in the order of admission.
    slots: Vec<Slot>,
    free_sequences: Vec<SeqId>,
    /// Jobs whose readers stopped reading and whose slots others needed. Their cells were given
    /// up; they are computed again when the reader goes on.
    parked: Vec<Slot>,
    embedding: VecDeque<Embedding>,
    /// Ended jobs whose last events have not been taken.
    leaving: Vec<Outbox>,
}

/// One slot's part of a batch.
struct Share {
    slot: usize,
    tokens: usize,
    prefilling: bool,
}

/// Below this much work, waking other threads costs more than it saves.
const PARALLEL_LOGITS_MIN: usize = 65_536;

/// A reader that took nothing for so long gives its slot up if others wait.
const PARK_AFTER: Duration = Duration::from_millis(500);

/// Parked jobs for each slot: beyond that, stalled ones keep their slots.
const PARKED_PER_SLOT_MAX: u32 = 4;

/// Tells the handles when the thread ends, also by a panic.
struct AliveGuard(Arc<AtomicBool>);

impl Drop for AliveGuard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// How often a thread that waits for its readers looks whether one has left.
const GONE_CHECK: Duration = Duration::from_millis(100);

impl Engine {
    pub(super) fn new(
        backend: Box<dyn Backend>,
        vocabulary: Arc<Vocabulary>,
        options: EngineOptions,
        inbox: Receiver<Envelope>,
        gate: Arc<Gate>,
        stats: Arc<EngineStats>,
        alive: Arc<AtomicBool>,
    ) -> Self {
        let slots = options.slots.min(backend.capacity().sequences);
        Self {
            _alive: AliveGuard(alive),
            abort: backend.abort_signal(),
            free_sequences: (0..slots).rev().collect(),
            queue: Queue::default(),
            slots: Vec::new(),
            parked: Vec::new(),
            embedding: VecDeque::new(),
            leaving: Vec::new(),
            backend,
            vocabulary,
            options,
            inbox,
            gate,
            stats,
        }
    }

    /// Works until every handle is gone and every job is done.
    pub(super) fn run(mut self) {
        debug!("engine started");
        while self.take_commands() {
            self.drop_overdue();
            self.deliver();
            self.admit();
            // A decode may take seconds: what it works on shows before it and after it.
            self.publish_stats();
            self.embed_one();
            self.compute();
            self.publish_stats();
        }
        debug!("engine stopped");
    }

    /// Takes every command there is, waiting for one if there is nothing else to do. `false`:
    /// nobody can send any more, and nothing is left to do.
    fn take_commands(&mut self) -> bool {
        if !self.has_work() {
            match self.wait_time() {
                None => match self.inbox.recv() {
                    Ok(envelope) => self.obey(envelope),
                    Err(_) => return false,
                },
                Some(time) => match self.inbox.recv_timeout(time) {
                    Ok(envelope) => self.obey(envelope),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => std::thread::sleep(time),
                },
            }
        }
        loop {
            match self.inbox.try_recv() {
                Ok(envelope) => self.obey(envelope),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => {
                    return self.has_work() || self.wait_time().is_some();
                }
            }
        }
    }

    /// Whether there is something to compute now.
    fn has_work(&self) -> bool {
        self.can_admit()
            || self.can_resume().is_some()
            || self.slots.iter().any(Slot::runnable)
            || !self.embedding.is_empty()
    }

    /// Whether the first job of the queue could begin now. A job reserves the cells that it may
    /// come to need, so that one that has begun can always end.
    fn can_admit(&self) -> bool {
        match self.queue.iter().next().map(|waiting| &waiting.work) {
            None => false,
            Some(Work::Embed(_)) => true,
            Some(Work::Generate(generate)) => {
                self.has_room(cells_needed(generate, generate.prompt.len()))
            }
        }
    }

    /// Whether a sequence and so many cells are free.
    fn has_room(&self, cells: u32) -> bool {
        let reserved: u32 = self.slots.iter().map(Slot::cells_reserved).sum();
        !self.free_sequences.is_empty()
            && reserved.saturating_add(cells) <= self.backend.capacity().cells
    }

    /// The first parked job whose reader goes on and for which there is room.
    fn can_resume(&self) -> Option<usize> {
        let ready = |slot: &Slot| slot.runnable() && self.has_room(slot.cells_reserved());
        self.parked.iter().position(ready)
    }

    /// How long the thread may sleep while nothing can be computed; `None`: until it is told.
    fn wait_time(&self) -> Option<Duration> {
        let waits = !self.leaving.is_empty() || !self.slots.is_empty() || !self.parked.is_empty();
        (waits || self.queue.iter().next().is_some()).then_some(GONE_CHECK)
    }

    fn obey(&mut self, envelope: Envelope) {
        match (envelope.command, envelope.attachment) {
            (Command::Submit(job), Some(attachment)) => self.enqueue(*job, attachment),
            (Command::Submit(job), None) => warn!(id = job.id.0, "a job without its channel"),
            (Command::Cancel(id), _) => self.cancel(id),
            (Command::Wake, _) => {}
        }
    }

    fn enqueue(&mut self, job: Job, attachment: Attachment) {
        let deadline = job.deadline_ms.map(Duration::from_millis);
        let mut job_parts = Ticketed {
            id: job.id,
            priority: job.priority,
            submitted: attachment.submitted,
            deadline: deadline.and_then(|after| attachment.submitted.checked_add(after)),
            outbox: attachment.outbox,
        };
        if let Some(fault) = self.misfit(&job.work) {
            job_parts.outbox.send(Event::Failed(fault));
            self.leaving.push(job_parts.outbox);
            return;
        }
        let waiting = Waiting {
            job: job_parts,
            work: job.work,
            constraint: attachment.constraint,
            _ticket: attachment.ticket,
        };
        self.queue.push(job.priority, waiting);
        self.announce_positions();
    }

    /// Why the work can never be done here.
    fn misfit(&self, work: &Work) -> Option<JobError> {
        let Work::Generate(generate) = work else {
            return None;
        };
        let capacity = self.backend.capacity();
        let needed = cells_needed(generate, generate.prompt.len());
        if generate.prompt.is_empty() || generate.max_tokens == 0 {
            return Some(JobError::Backend("an empty prompt or answer".into()));
        }
        (needed > capacity.context_tokens.min(capacity.cells)).then(|| {
            JobError::Backend(format!(
                "{needed} tokens do not fit the context of {}",
                capacity.context_tokens
            ))
        })
    }

    fn announce_positions(&mut self) {
        for (waiting, position) in self.queue.iter_mut().zip(0..) {
            waiting.job.outbox.send_news(Event::Queued { position });
        }
    }

    fn cancel(&mut self, id: JobId) {
        for waiting in self.queue.remove_if(|waiting| waiting.job.id == id) {
            self.end_waiting(waiting, FinishReason::Cancelled);
        }
        self.end_where(FinishReason::Cancelled, |slot| slot.job.id == id);
    }

    /// Ends a job that never had a slot.
    fn end_waiting(&mut self, mut waiting: Waiting, reason: FinishReason) {
        if reason == FinishReason::Cancelled {
            self.stats.jobs_cancelled.fetch_add(1, Ordering::Relaxed);
        }
        waiting.job.outbox.send(Event::Finished(Outcome {
            reason,
            cached_tokens: 0,
            output_tokens: 0,
            thinking_tokens: 0,
            queue_ms: millis(waiting.job.submitted.elapsed()),
            prefill_ms: 0.0,
            decode_ms: 0.0,
        }));
        self.leaving.push(waiting.job.outbox);
    }

    /// Ends the jobs whose deadline has passed.
    fn drop_overdue(&mut self) {
        let now = Instant::now();
        let overdue = |job: &Ticketed| job.deadline.is_some_and(|deadline| deadline <= now);
        for waiting in self.queue.remove_if(|waiting| overdue(&waiting.job)) {
            self.end_waiting(waiting, FinishReason::Deadline);
        }
        self.end_where(FinishReason::Deadline, |slot| overdue(&slot.job));
    }

    /// Tries again what readers had no room for, and lets go of those that left.
    fn deliver(&mut self) {
        self.leaving
            .retain_mut(|outbox| outbox.flush() == Delivery::Stalled);
        self.end_where(FinishReason::Cancelled, |slot| {
            slot.deliver() == Delivery::Gone
        });
    }

    /// Gives free slots to the first jobs of the queue.
    fn admit(&mut self) {
        self.park_stalled();
        while let Some(index) = self.can_resume() {
            let mut slot = self.parked.remove(index);
            slot.seq = self.free_sequences.pop().expect("there is room");
            self.slots.push(slot);
        }
        let mut admitted = false;
        while self.can_admit()
            && let Some(waiting) = self.queue.pop()
        {
            admitted = true;
            self.stats.jobs.fetch_add(1, Ordering::Relaxed);
            match waiting.work {
                Work::Generate(generate) => self.begin(waiting.job, generate, waiting.constraint),
                Work::Embed(inputs) => self.embedding.push_back(Embedding {
                    job: waiting.job,
                    inputs: inputs.into(),
                    vectors: Vec::new(),
                }),
            }
        }
        if admitted {
            self.announce_positions();
        }
    }

    /// While jobs wait for room, takes slots from readers that have not read for a while.
    fn park_stalled(&mut self) {
        while self.queue.iter().next().is_some()
            && !self.can_admit()
            && self.parked.len() < (self.options.slots * PARKED_PER_SLOT_MAX) as usize
            && let Some(index) = self
                .slots
                .iter()
                .position(|slot| slot.stalled_for() >= PARK_AFTER)
        {
            let mut slot = self.slots.remove(index);
            self.backend.clear(slot.seq);
            self.free_sequences.push(slot.seq);
            slot.cache_lost();
            self.parked.push(slot);
        }
    }

    fn begin(&mut self, mut job: Ticketed, generate: Generate, constraint: Option<Constraint>) {
        let seq = self.free_sequences.pop().expect("there is room");
        job.outbox.send_news(Event::Started {
            cached_tokens: 0,
            queue_ms: millis(job.submitted.elapsed()),
        });
        self.backend.clear(seq);
        let slot = Slot::new(job, seq, generate, constraint, &self.vocabulary);
        self.slots.push(slot);
    }

    /// Computes one vector, so that many of them do not hold up the slots.
    fn embed_one(&mut self) {
        let Some(mut embedding) = self.embedding.pop_front() else {
            return;
        };
        let cancelled = embedding.job.outbox.link().cancelled();
        let computed = match embedding.inputs.pop_front().filter(|_| !cancelled) {
            Some(input) => self.backend.embed(&input).map(Some),
            None => Ok(None),
        };
        let event = match computed {
            Ok(Some(vector)) => {
                embedding.vectors.push(vector);
                if !embedding.inputs.is_empty() {
                    self.embedding.push_back(embedding);
                    return;
                }
                Event::Embedded(embedding.vectors)
            }
            Ok(None) => Event::Failed(JobError::Backend("cancelled".into())),
            Err(DecodeError::Failed(reason)) => Event::Failed(JobError::Unsupported(reason)),
            Err(fault) => Event::Failed(JobError::Backend(fault.to_string())),
        };
        embedding.job.outbox.send(event);
        self.leaving.push(embedding.job.outbox);
    }

    /// Builds one batch, computes it and takes each slot one step further.
    fn compute(&mut self) {
        let shares = self.plan();
        if shares.is_empty() {
            return;
        }
        let computed = self.decode(&shares);
        match computed {
            Ok(()) => self.step(&shares),
            Err(fault) => self.recover(&shares, &fault),
        }
    }

    /// Who takes part in the next batch: first the slots that write, each with all it has to
    /// compute, then prompts in the order of priority and age, up to the chunk's size.
    fn plan(&self) -> Vec<Share> {
        let mut room = self.backend.capacity().batch_tokens as usize;
        let mut shares = Vec::new();
        let mut reading: Vec<usize> = Vec::new();
        for (index, slot) in self.slots.iter().enumerate() {
            if !slot.runnable() || slot.job.outbox.link().cancelled() {
                continue;
            }
            let tokens = slot.pending().len();
            if slot.prefilling() || tokens > room {
                reading.push(index);
            } else {
                room -= tokens;
                shares.push(Share {
                    slot: index,
                    tokens,
                    prefilling: false,
                });
            }
        }
        if !shares.is_empty() {
            room = room.min(self.options.prefill_chunk_tokens as usize);
        }
        // Stable: within a priority the order of admission stays.
        reading.sort_by_key(|&index| std::cmp::Reverse(self.slots[index].job.priority));
        for index in reading {
            let tokens = self.slots[index].pending().len().min(room);
            if tokens > 0 {
                room -= tokens;
                shares.push(Share {
                    slot: index,
                    tokens,
                    prefilling: true,
                });
            }
        }
        shares
    }

    fn decode(&mut self, shares: &[Share]) -> Result<(), DecodeError> {
        let runs: Vec<Run<'_>> = shares
            .iter()
            .map(|share| {
                let slot = &self.slots[share.slot];
                let pending = slot.pending();
                Run {
                    seq: slot.seq,
                    start: slot.position(),
                    tokens: &pending[..share.tokens],
                    logits: share.tokens == pending.len(),
                }
            })
            .collect();
        let reading = || {
            let prefilling = shares.iter().filter(|share| share.prefilling);
            prefilling.map(|share| self.slots[share.slot].job.outbox.link())
        };
        // See JobLink::cancel for the order.
        self.abort.clear();
        reading().for_each(|link| link.set_prefilling(true));
        let computed = if reading().any(|link| link.cancelled()) {
            Err(DecodeError::Aborted)
        } else {
            self.backend.decode(&runs)
        };
        reading().for_each(|link| link.set_prefilling(false));
        self.stats.decodes.fetch_add(1, Ordering::Relaxed);
        computed
    }

    fn step(&mut self, shares: &[Share]) {
        let mut prompt_tokens = 0;
        for share in shares {
            if share.prefilling {
                prompt_tokens += share.tokens as u64;
            }
            self.slots[share.slot].computed(share.tokens);
        }
        let stats = &self.stats;
        stats
            .prompt_tokens
            .fetch_add(prompt_tokens, Ordering::Relaxed);

        // What was computed up to its end has logits now.
        let vocabulary = &*self.vocabulary;
        let backend = &*self.backend;
        let mut rows: Vec<Option<&[f32]>> = vec![None; self.slots.len()];
        for (run, share) in shares.iter().enumerate() {
            if self.slots[share.slot].pending().is_empty() {
                rows[share.slot] = Some(backend.logits(run));
            }
        }
        let ready = rows.iter().flatten().count();
        let choose = |(slot, row): (&mut Slot, &Option<&[f32]>)| {
            row.and_then(|logits| slot.step(logits, vocabulary))
        };
        let endings: Vec<Option<Ending>> =
            if ready > 1 && ready * vocabulary.size() >= PARALLEL_LOGITS_MIN {
                let slots = self.slots.par_iter_mut().zip(&rows);
                slots.map(choose).collect()
            } else {
                self.slots.iter_mut().zip(&rows).map(choose).collect()
            };
        stats
            .output_tokens
            .fetch_add(ready as u64, Ordering::Relaxed);
        for (index, ending) in endings.into_iter().enumerate().rev() {
            if let Some(ending) = ending {
                self.end_slot(index, ending);
            }
        }
    }

    /// After a failed decode nobody knows what the backend kept: the sequences go back to where
    /// they were, or to nothing if the model can't go back.
    fn recover(&mut self, shares: &[Share], fault: &DecodeError) {
        for share in shares {
            let slot = &mut self.slots[share.slot];
            if !self.backend.truncate(slot.seq, slot.position()) {
                self.backend.clear(slot.seq);
                slot.cache_lost();
            }
        }
        match fault {
            DecodeError::Aborted => {
                self.stats.decodes_aborted.fetch_add(1, Ordering::Relaxed);
            }
            DecodeError::CacheFull => {
                // The reservations make this a defect; the youngest job pays for it.
                warn!("the KV cache is full in spite of the reservations");
                if let Some(share) = shares.iter().max_by_key(|share| share.slot) {
                    let fault = JobError::Backend(fault.to_string());
                    self.end_slot(share.slot, Err(fault));
                }
            }
            DecodeError::Failed(reason) => {
                warn!(reason, jobs = shares.len(), "a decode failed");
                let mut failed: Vec<usize> = shares.iter().map(|share| share.slot).collect();
                failed.sort_unstable();
                for index in failed.into_iter().rev() {
                    self.end_slot(index, Err(JobError::Backend(reason.clone())));
                }
            }
        }
    }

    /// Ends every job, in a slot or parked, that is `meant`.
    fn end_where(&mut self, reason: FinishReason, mut meant: impl FnMut(&mut Slot) -> bool) {
        while let Some(index) = self.slots.iter_mut().position(&mut meant) {
            self.end_slot(index, Ok(reason));
        }
        while let Some(index) = self.parked.iter_mut().position(&mut meant) {
            let slot = self.parked.remove(index);
            self.end(slot, Ok(reason));
        }
    }

    fn end_slot(&mut self, index: usize, ending: Ending) {
        let slot = self.slots.remove(index);
        self.gate.observe(slot.service_time());
        self.backend.clear(slot.seq);
        self.free_sequences.push(slot.seq);
        self.end(slot, ending);
    }

    fn end(&mut self, slot: Slot, ending: Ending) {
        if matches!(ending, Ok(FinishReason::Cancelled)) {
            self.stats.jobs_cancelled.fetch_add(1, Ordering::Relaxed);
        }
        self.leaving.push(slot.end(ending));
    }

    fn publish_stats(&self) {
        let used: u32 = self.slots.iter().map(Slot::position).sum();
        let busy = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let waiting = u32::try_from(self.gate.waiting()).unwrap_or(u32::MAX);
        self.stats.cells_used.store(used, Ordering::Relaxed);
        self.stats.slots_busy.store(busy, Ordering::Relaxed);
        self.stats.waiting.store(waiting, Ordering::Relaxed);
    }
}
