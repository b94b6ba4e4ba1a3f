//! The engine's loop. One turn: take commands, deliver, admit, build one batch, compute it,
//! choose a token for each slot.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::EngineOptions;
use super::admission::Aside;
use super::gate::{Gate, Ticket};
use super::kv::KvCache;
use super::numbers::millis;
use super::outbox::{Delivery, Outbox};
use super::pace::Pace;
use super::prompts::Prompts;
use super::queue::Queue;
use super::slot::{Ending, Slot, Ticketed, cells_needed};
use super::stats::EngineStats;
use super::threads::Threads;
use super::urgency::Urgency;
use crate::backend::{AbortSignal, Backend, DecodeError};
use crate::grammar::Constraint;
use crate::job::{
    Command, Event, FinishReason, Generate, Job, JobError, JobId, Outcome, UserId, Work,
};
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
    /// What was kept of the prompt's beginning.
    pub(super) kept: Option<Vec<u8>>,
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
pub(super) struct Waiting {
    pub(super) job: Ticketed,
    pub(super) generate: Box<Generate>,
    pub(super) constraint: Option<Constraint>,
    pub(super) kept: Option<Vec<u8>>,
    /// Frees the place in the gate when the job leaves the queue.
    _ticket: Ticket,
}

/// A job that wants vectors, between two of them.
#[derive(Debug)]
struct Embedding {
    job: Ticketed,
    user: UserId,
    inputs: VecDeque<Vec<Token>>,
    vectors: Vec<Vec<f32>>,
    /// It has no slot, and waits until it is done.
    _ticket: Ticket,
}

/// What the engine's thread shares with its handles.
pub(super) struct Shared {
    pub(super) gate: Arc<Gate>,
    pub(super) stats: Arc<EngineStats>,
    pub(super) alive: Arc<AtomicBool>,
    pub(super) urgency: Arc<Urgency>,
    pub(super) prompts: Arc<Prompts>,
}

/// The state that one engine thread owns.
pub(super) struct Engine {
    /// First, so that a panic is known before the jobs' channels close.
    _alive: AliveGuard,
    pub(super) kv: KvCache,
    pub(super) abort: AbortSignal,
    pub(super) urgency: Arc<Urgency>,
    pub(super) prompts: Arc<Prompts>,
    pub(super) vocabulary: Arc<Vocabulary>,
    pub(super) options: EngineOptions,
    inbox: Receiver<Envelope>,
    pub(super) gate: Arc<Gate>,
    pub(super) stats: Arc<EngineStats>,
    pub(super) pace: Pace,
    pub(super) threads: Threads,
    pub(super) queue: Queue<Waiting>,
    /// Occupied slots, in the order of admission.
    pub(super) slots: Vec<Slot>,
    /// Jobs that had a slot and will have one again.
    pub(super) aside: Vec<Aside>,
    /// Jobs that want vectors.
    embeds: Queue<Embedding>,
    /// Of each user the one that is worked on, in turns.
    embedding: VecDeque<Embedding>,
    /// For how long the slots go first, since as much was spent on vectors.
    embed_debt: Duration,
    /// Ended jobs whose last events have not been taken.
    leaving: Vec<Outbox>,
}

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
        shared: Shared,
    ) -> Self {
        let kv = KvCache::new(backend);
        let slots = options.slots.clamp(1, kv.capacity().sequences.max(1));
        let options = EngineOptions { slots, ..options };
        Self {
            _alive: AliveGuard(shared.alive),
            abort: kv.abort_signal(),
            urgency: shared.urgency,
            prompts: shared.prompts,
            queue: Queue::default(),
            slots: Vec::new(),
            aside: Vec::new(),
            embeds: Queue::default(),
            embedding: VecDeque::new(),
            embed_debt: Duration::ZERO,
            leaving: Vec::new(),
            pace: Pace::default(),
            threads: Threads::new(kv.threads().unwrap_or(1)),
            kv,
            vocabulary,
            options,
            inbox,
            gate: shared.gate,
            stats: shared.stats,
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
            let began = Instant::now();
            self.compute();
            self.embed_debt = self.embed_debt.saturating_sub(began.elapsed());
            self.publish_stats();
        }
        debug!("engine stopped");
    }

    /// Takes every command there is, waiting for one if there is nothing else to do. `false`:
    /// nobody can send any more, and nothing is left to do.
    fn take_commands(&mut self) -> bool {
        self.urgency.looked();
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
        self.next_up().is_some()
            || self.slots.iter().any(Slot::runnable)
            || !self.embedding.is_empty()
            || !self.embeds.is_empty()
    }

    /// How long the thread may sleep while nothing can be computed; `None`: until it is told.
    fn wait_time(&self) -> Option<Duration> {
        let waits = !self.leaving.is_empty() || !self.slots.is_empty() || !self.aside.is_empty();
        (waits || !self.queue.is_empty()).then_some(GONE_CHECK)
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
        let cost = job.work.prompt_tokens() as u64;
        match job.work {
            Work::Generate(generate) => {
                let fault = self.misfit(&generate);
                let fault = fault.or_else(|| self.would_be_late(&job_parts, &generate));
                if let Some(fault) = fault {
                    job_parts.outbox.send(Event::Failed(fault));
                    self.leaving.push(job_parts.outbox);
                    return;
                }
                let cost = cost + u64::from(generate.max_tokens);
                let waiting = Waiting {
                    job: job_parts,
                    generate,
                    constraint: attachment.constraint,
                    kept: attachment.kept,
                    _ticket: attachment.ticket,
                };
                self.queue.push(job.priority, job.user, cost, waiting);
                self.announce_positions();
            }
            Work::Embed(inputs) => {
                let embedding = Embedding {
                    job: job_parts,
                    user: job.user,
                    inputs: inputs.into(),
                    vectors: Vec::new(),
                    _ticket: attachment.ticket,
                };
                self.embeds.push(job.priority, job.user, cost, embedding);
            }
        }
    }

    /// Why the work can never be done here.
    fn misfit(&self, generate: &Generate) -> Option<JobError> {
        let capacity = self.kv.capacity();
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

    pub(super) fn announce_positions(&mut self) {
        for (waiting, position) in self.queue.in_order().zip(0..) {
            waiting.job.outbox.send_news(Event::Queued { position });
        }
    }

    fn cancel(&mut self, id: JobId) {
        for waiting in self.queue.remove_if(|waiting| waiting.job.id == id) {
            self.end_waiting(waiting, FinishReason::Cancelled);
        }
        self.end_embeds(|job| job.id == id);
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
        self.end_embeds(overdue);
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

    /// Ends the jobs that want vectors and are `meant`.
    fn end_embeds(&mut self, meant: impl Fn(&Ticketed) -> bool) {
        let mut ending = self.embeds.remove_if(|embedding| meant(&embedding.job));
        for embedding in std::mem::take(&mut self.embedding) {
            match meant(&embedding.job) {
                true => ending.push(embedding),
                false => self.embedding.push_back(embedding),
            }
        }
        for mut embedding in ending {
            let cancelled = JobError::Backend("cancelled".into());
            embedding.job.outbox.send(Event::Failed(cancelled));
            self.leaving.push(embedding.job.outbox);
        }
    }

    /// Computes one vector, so that many of them do not hold up the slots: as long as these have
    /// something to compute, they get half of the time. Users take turns.
    fn embed_one(&mut self) {
        if !self.embed_debt.is_zero() && self.slots.iter().any(Slot::runnable) {
            return;
        }
        let busy: Vec<UserId> = self.embedding.iter().map(|one| one.user).collect();
        let next = self.embeds.pop_where(|one| !busy.contains(&one.user));
        self.embedding.extend(next.map(|(_, embedding)| embedding));
        let Some(mut embedding) = self.embedding.pop_front() else {
            return;
        };
        let began = Instant::now();
        let cancelled = embedding.job.outbox.link().cancelled();
        let computed = match embedding.inputs.pop_front().filter(|_| !cancelled) {
            Some(input) => self.kv.embed(&input).map(Some),
            None => Ok(None),
        };
        self.embed_debt = began.elapsed();
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

    /// Ends every job, in a slot or set aside, that is `meant`.
    fn end_where(&mut self, reason: FinishReason, mut meant: impl FnMut(&mut Slot) -> bool) {
        while let Some(index) = self.slots.iter_mut().position(&mut meant) {
            self.end_slot(index, Ok(reason));
        }
        while let Some(index) = self
            .aside
            .iter_mut()
            .position(|aside| meant(&mut aside.slot))
        {
            let aside = self.aside.remove(index);
            let slot = self.drop_aside(aside);
            self.end(slot, Ok(reason));
        }
    }

    pub(super) fn end_slot(&mut self, index: usize, ending: Ending) {
        let slot = self.slots.remove(index);
        self.gate.observe(slot.service_time());
        self.kv.retire(slot.seq);
        self.end(slot, ending);
    }

    /// Ends a job whose choices are scored.
    pub(super) fn end_scored(&mut self, index: usize) {
        let slot = self.slots.remove(index);
        self.gate.observe(slot.service_time());
        self.kv.retire(slot.seq);
        self.publish_stats();
        self.leaving.push(slot.end_scored());
    }

    fn end(&mut self, slot: Slot, ending: Ending) {
        if matches!(ending, Ok(FinishReason::Cancelled)) {
            self.stats.jobs_cancelled.fetch_add(1, Ordering::Relaxed);
        }
        // Who reads the last event and asks for the status next should not see the job.
        self.publish_stats();
        self.leaving.push(slot.end(ending));
    }

    fn publish_stats(&self) {
        let busy = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let paused = u32::try_from(self.aside.len()).unwrap_or(u32::MAX);
        let waiting = u32::try_from(self.gate.waiting()).unwrap_or(u32::MAX);
        let stats = &self.stats;
        stats
            .cells_used
            .store(self.kv.cells_used(), Ordering::Relaxed);
        stats
            .cells_live
            .store(self.kv.cells_live(), Ordering::Relaxed);
        if self.threads.vary() {
            stats.threads.store(self.threads.now(), Ordering::Relaxed);
        }
        stats.slots_busy.store(busy, Ordering::Relaxed);
        stats.paused.store(paused, Ordering::Relaxed);
        stats.waiting.store(waiting, Ordering::Relaxed);
    }
}
