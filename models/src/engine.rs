//! One thread for each loaded model owns its backend, its slots and its queue; everybody else
//! holds an [`EngineHandle`].
//!
//! ```text
//! submit -> gate (full? overloaded at once) -> inbox -> queue -> slot -> events
//! ```

mod admission;
mod batch;
mod draft;
mod gate;
mod kv;
mod numbers;
mod outbox;
mod pace;
mod prefix;
mod prompts;
mod queue;
mod score;
mod slot;
mod stats;
#[cfg(test)]
mod tests;
mod threads;
mod turn;
mod urgency;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc as events};

pub use self::gate::GateLimits;
pub use self::stats::EngineStats;

use self::gate::Gate;
use self::outbox::{JobLink, Outbox};
use self::prompts::Prompts;
use self::turn::{Attachment, Engine, Envelope, Shared};
use self::urgency::Urgency;
use crate::backend::{AbortSignal, Backend, Capacity};
use crate::grammar::{GrammarCompiler, GrammarError};
use crate::job::{Command, Event, Job, JobError, JobId, Priority, UserId, Work};
use crate::prompts::PromptStore;
use crate::tune::BatchSizes;
use crate::vocabulary::Vocabulary;

/// Events of one job that may wait for their reader before its slot pauses.
const EVENTS_WAITING_MAX: usize = 64;

/// How an engine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Name for the thread and the logs.
    pub name: String,
    /// Requests that are worked on at once.
    pub slots: u32,
    /// How large decodes are.
    pub batch: BatchSizes,
    /// Whether to guess at tokens that were there before and check several at once.
    pub speculation: bool,
    /// Memory for the cells of paused jobs, when the KV cache has no room for them.
    pub paused_bytes_max: usize,
    /// Where named prompts are kept across restarts.
    pub prompts: Option<PromptStore>,
    /// What may wait.
    pub gate: GateLimits,
}

/// What a caller wants done; the engine adds the number.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Who goes first.
    pub priority: Priority,
    /// Whose it is.
    pub user: UserId,
    /// Give up this long from now, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// What to do.
    pub work: Work,
}

/// Why a job was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full.
    #[error("{waiting_requests} requests with {waiting_tokens} prompt tokens are waiting")]
    Overloaded {
        /// Requests that wait.
        waiting_requests: usize,
        /// Their prompt tokens.
        waiting_tokens: usize,
        /// When a place may be free, in milliseconds.
        retry_after_ms: u64,
    },
    /// The grammar can't be used.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// The engine thread is gone.
    #[error("the engine stopped")]
    EngineGone,
}

/// A running engine. Cloning shares it; the thread ends when the last handle is dropped and its
/// jobs are done.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    inbox: mpsc::Sender<Envelope>,
    gate: Arc<Gate>,
    next_job: Arc<AtomicU64>,
    grammars: Arc<GrammarCompiler>,
    /// Places for those that compile one.
    compiling: Arc<Semaphore>,
    stats: Arc<EngineStats>,
    alive: Arc<AtomicBool>,
    urgency: Arc<Urgency>,
    prompts: Arc<Prompts>,
    abort: AbortSignal,
    capacity: Capacity,
}

/// The engine thread. Joining it waits until its jobs are done.
#[derive(Debug)]
pub struct EngineThread(JoinHandle<()>);

impl EngineThread {
    /// Waits for the thread. `false`: it panicked.
    #[must_use]
    pub fn join(self) -> bool {
        self.0.join().is_ok()
    }
}

/// Grammars that are compiled at one time: the engine needs the processors, too.
const COMPILING_MAX: usize = 2;

/// Of the engine's thread, which steps through grammars whose rules lead to each other in long
/// chains. Only what is used is taken.
pub(crate) const STACK_BYTES: usize = 256 << 20;

/// Starts an engine on its own named thread.
///
/// # Panics
/// If the operating system has no thread left.
#[must_use]
pub fn start(
    backend: Box<dyn Backend>,
    vocabulary: Arc<Vocabulary>,
    options: EngineOptions,
) -> (EngineHandle, EngineThread) {
    let (inbox, commands) = mpsc::channel();
    let gate = Arc::new(Gate::new(options.gate, options.slots));
    let stats = Arc::new(EngineStats::new(options.slots, backend.capacity()));
    let alive = Arc::new(AtomicBool::new(true));
    let urgency = Arc::new(Urgency::default());
    let prompts = Arc::new(Prompts::new(options.prompts.clone()));
    let handle = EngineHandle {
        inbox,
        gate: Arc::clone(&gate),
        next_job: Arc::default(),
        grammars: Arc::new(GrammarCompiler::new(Arc::clone(&vocabulary))),
        compiling: Arc::new(Semaphore::new(COMPILING_MAX)),
        stats: Arc::clone(&stats),
        alive: Arc::clone(&alive),
        urgency: Arc::clone(&urgency),
        prompts: Arc::clone(&prompts),
        abort: backend.abort_signal(),
        capacity: backend.capacity(),
    };
    let name = format!("engine {}", options.name);
    let shared = Shared {
        gate,
        stats,
        alive,
        urgency,
        prompts,
    };
    let engine = Engine::new(backend, vocabulary, options, commands, shared);
    let thread = thread::Builder::new()
        .name(name)
        .stack_size(STACK_BYTES)
        .spawn(move || engine.run())
        .expect("the operating system gives a thread");
    (handle, EngineThread(thread))
}

impl EngineHandle {
    /// What the engine's backend can hold.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Whether the engine's thread works. One that died stays dead: start another.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    /// What the engine has done and is doing.
    #[must_use]
    pub fn stats(&self) -> &EngineStats {
        &self.stats
    }

    /// Hands a job to the engine. Its grammar is compiled here, off the engine thread.
    ///
    /// # Errors
    /// The queue is full, the grammar is bad, or the engine is gone.
    pub async fn submit(&self, request: Request) -> Result<EventStream, SubmitError> {
        let submitted = Instant::now();
        // Before the grammar: an overloaded engine should not cost a compilation.
        let ticket = self.gate.enter(request.work.prompt_tokens())?;
        let constraint = match &request.work {
            Work::Generate(generate) => match generate.grammar.clone() {
                Some(source) => {
                    let grammars = Arc::clone(&self.grammars);
                    let place = self.compiling.acquire().await;
                    let _place = place.map_err(|_| SubmitError::EngineGone)?;
                    let compiling = tokio::task::spawn_blocking(move || grammars.compile(&source));
                    let compiled = compiling.await.map_err(|_| SubmitError::EngineGone)?;
                    Some(compiled?)
                }
                None => None,
            },
            Work::Embed(_) => None,
        };
        let kept = match &request.work {
            Work::Generate(generate) => Prompts::recall(&self.prompts, generate).await,
            Work::Embed(_) => None,
        };
        let id = JobId(self.next_job.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = events::channel(EVENTS_WAITING_MAX);
        let link = Arc::new(JobLink::default());
        let job = Box::new(Job {
            id,
            priority: request.priority,
            user: request.user,
            deadline_ms: request.deadline_ms,
            work: request.work,
        });
        let attachment = Attachment {
            outbox: Outbox::new(sender, Arc::clone(&link)),
            constraint,
            kept,
            ticket,
            submitted,
        };
        let envelope = Envelope::submission(job, attachment);
        let sent = self.inbox.send(envelope);
        sent.map_err(|_| SubmitError::EngineGone)?;
        self.urgency.arrived(request.priority, &self.abort);
        Ok(EventStream {
            id,
            events: receiver,
            link,
            inbox: self.inbox.clone(),
            abort: self.abort.clone(),
            ended: false,
        })
    }
}

/// The events of one job. Dropping it before the last one cancels the job.
#[derive(Debug)]
pub struct EventStream {
    id: JobId,
    events: events::Receiver<Event>,
    link: Arc<JobLink>,
    inbox: mpsc::Sender<Envelope>,
    abort: AbortSignal,
    ended: bool,
}

impl EventStream {
    /// The next event; `None` after the last one.
    pub async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.events.recv().await;
        if self.link.take_stalled() {
            // The engine set this slot aside because the channel was full.
            let _ = self.inbox.send(Envelope::plain(Command::Wake));
        }
        let event = event.unwrap_or(Event::Failed(JobError::EngineGone));
        self.ended = matches!(
            event,
            Event::Finished(_) | Event::Scored { .. } | Event::Embedded(_) | Event::Failed(_)
        );
        Some(event)
    }

    /// Ends the job: in the queue, in the middle of a prefill, or within one decode step. The
    /// last event still comes.
    pub fn cancel(&self) {
        self.link.cancel(&self.abort);
        // An engine that is gone has nothing to cancel.
        let _ = self.inbox.send(Envelope::plain(Command::Cancel(self.id)));
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        if !self.ended {
            self.cancel();
        }
    }
}
