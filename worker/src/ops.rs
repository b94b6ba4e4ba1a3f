//! One file for each operation: what it takes, does and answers.

mod admit;
mod agent;
mod approve;
pub(crate) mod ask;
mod blocks;
mod cancel;
mod embed;
mod event;
pub(crate) mod hello;
mod incidents;
mod kb;
mod models;
mod module;
mod modules;
mod observe;
mod passages;
mod personality;
mod pieces;
mod ping;
mod plan;
mod research;
mod runs;
mod shell;
mod status;
mod subscribe;
mod tokenize;
mod tool;
mod tools;
mod work;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fazai_memory::{Memory, MemoryError};
use fazai_protocol::{
    ActionId, Done, ErrorCode, Line, Operation, Phase, Progress, Source, Status, Warning, WireError,
};
use fazai_tools::AuditError;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::Worker;
use crate::acting::ActingFault;
use crate::episodes::{Deeds, Draft, Recording};
use crate::errors;
use crate::live::User;
use crate::lock::lock;
use crate::memory::MemoryFault;
use crate::outgoing::{Outgoing, Room};
use crate::quota::Permit;
use crate::registry::ModelLease;
use crate::watching::{Pipeline, WatchFault};

/// What every operation gets.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) worker: Worker,
    pub(crate) user: User,
    pub(crate) outgoing: Outgoing,
    /// When the request's line was complete.
    pub(crate) received: Instant,
    /// Somebody cancelled the request, or its client has left.
    pub(crate) stopped: CancellationToken,
    pub(crate) action_id: ActionId,
    /// What is done for it, for the record.
    pub(crate) deeds: Deeds,
    /// Room for its last line, if that may be long.
    pub(crate) room: Arc<Mutex<Option<Room>>>,
}

/// A sign of life is sent after this much silence; old clients give up after 30 s.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Why something was not remembered or found.
enum RememberFault {
    Memory(MemoryFault),
    /// It could not be recorded.
    Audit(AuditError),
}

impl RememberFault {
    fn into_wire(self) -> WireError {
        match self {
            Self::Memory(fault) => errors::from_memory(&fault),
            Self::Audit(fault) => errors::from_acting(&fault.into()),
        }
    }
}

impl From<MemoryFault> for RememberFault {
    fn from(fault: MemoryFault) -> Self {
        Self::Memory(fault)
    }
}

impl From<MemoryError> for RememberFault {
    fn from(fault: MemoryError) -> Self {
        Self::Memory(fault.into())
    }
}

impl From<AuditError> for RememberFault {
    fn from(fault: AuditError) -> Self {
        Self::Audit(fault)
    }
}

/// Does what is asked. Every request passes here, and every one is logged here.
pub(crate) async fn answer(context: &Context, operation: Operation) -> Done {
    let name = name(&operation);
    let shared = &context.worker.shared;
    let draft = Draft::of(name, &operation, context.user, &context.deeds);
    let done = match operation {
        Operation::Ask(ask) if ask.params.agent => agent::answer(context, *ask).await,
        Operation::Ask(ask) => ask::answer(context, *ask).await,
        Operation::Hello(_) => hello::answer(context),
        Operation::Cancel(call) => cancel::answer(context, &call),
        Operation::Ping(_) => ping::answer(context),
        Operation::Done(_) => context.done(None),
        Operation::Status(_) => status::answer(context).await,
        Operation::Observe(call) => observe::answer(context, &call).await,
        Operation::Models(call) => models::answer(context, &call).await,
        Operation::Tokenize(call) => tokenize::answer(context, call).await,
        Operation::Embed(call) => embed::answer(context, call).await,
        Operation::Plan(call) => plan::answer(context, *call).await,
        Operation::Shell(call) => shell::answer(context, *call).await,
        Operation::Approve(call) => approve::answer(context, call).await,
        Operation::Approvals(_) => approve::list(context).await,
        Operation::Module(call) => module::answer(context, *call).await,
        Operation::Modules(call) => modules::answer(context, &call.input).await,
        Operation::Tool(call) => tool::answer(context, *call).await,
        Operation::Tools(call) => tools::answer(context, &call.input).await,
        Operation::ToolSpec(call) => tools::spec(context, &call.input).await,
        Operation::Runs(call) => runs::answer(context, *call).await,
        Operation::Research(call) => research::answer(context, call).await,
        Operation::CommitKb(call) => kb::commit(context, call).await,
        Operation::Personality(call) => personality::answer(context, call).await,
        Operation::Kb(call) => kb::answer(context, *call).await,
        Operation::Event(call) => event::answer(context, *call).await,
        Operation::Subscribe(call) => subscribe::answer(context, &call).await,
        Operation::Incidents(call) => incidents::answer(context, &call).await,
        Operation::Blocks(call) => blocks::answer(context, &call.input).await,
    };
    let millis = u64::try_from(context.received.elapsed().as_millis()).unwrap_or(u64::MAX);
    log(context, name, millis, &done);
    if let Some(draft) = draft {
        Recording::record(shared, draft, &done, millis);
    }
    done
}

fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Hello(_) => "hello",
        Operation::Ask(_) => "ask",
        Operation::Cancel(_) => "cancel",
        Operation::Ping(_) => "ping",
        Operation::Status(_) => "status",
        Operation::Observe(_) => "observe",
        Operation::Models(_) => "models",
        Operation::Tokenize(_) => "tokenize",
        Operation::Embed(_) => "embed",
        Operation::Plan(_) => "plan",
        Operation::Shell(_) => "shell",
        Operation::Approve(_) => "approve",
        Operation::Approvals(_) => "approvals",
        Operation::Module(_) => "module",
        Operation::Modules(_) => "modules",
        Operation::Tool(_) => "tool",
        Operation::Tools(_) => "tools",
        Operation::ToolSpec(_) => "toolSpec",
        Operation::Runs(_) => "runs",
        Operation::Done(_) => "done",
        Operation::Research(_) => "research",
        Operation::CommitKb(_) => "commitKB",
        Operation::Personality(_) => "personality",
        Operation::Kb(_) => "kb",
        Operation::Event(_) => "event",
        Operation::Subscribe(_) => "subscribe",
        Operation::Incidents(_) => "incidents",
        Operation::Blocks(_) => "blocks",
    }
}

/// One line for each request: who, what, how long, never the text.
fn log(context: &Context, action: &str, millis: u64, done: &Done) {
    let id = &context.action_id;
    let user = context.user;
    let usage = done.usage.clone().unwrap_or_default();
    match &done.error {
        None => info!(
            action,
            %id,
            %user,
            model = done.model,
            finish = done.finish_reason.map(tracing::field::debug),
            prompt_tokens = usage.prompt_tokens,
            output_tokens = usage.output_tokens,
            millis,
            "answered"
        ),
        Some(error) => {
            let failures = &context.worker.shared.counters.failures;
            failures.fetch_add(1, Ordering::Relaxed);
            warn!(action, %id, %user, code = %error.code, error = error.message, millis, "failed");
        }
    }
}

/// A task of the operation died; its thread's message is in the log.
fn panicked(what: &str) -> WireError {
    WireError::new(ErrorCode::Internal, format!("{what} panicked"))
}

/// The last line of a request that failed.
pub(crate) fn failed(action_id: ActionId, error: WireError) -> Done {
    Done {
        metadata: Status::Error.into(),
        source: Source::Error,
        error: Some(error),
        ..empty(action_id)
    }
}

/// Now, in UTC.
pub(crate) fn timestamp() -> String {
    format!("{:.3}", Timestamp::now())
}

fn empty(action_id: ActionId) -> Done {
    Done {
        action_id,
        input: String::new(),
        result: None,
        metadata: Status::Done.into(),
        timestamp: timestamp(),
        source: Source::Worker,
        model: None,
        finish_reason: None,
        thinking: None,
        usage: None,
        seed: None,
        truncated_tokens: None,
        session: None,
        logprobs: Vec::new(),
        data: None,
        error: None,
    }
}

impl Context {
    /// The last line of a request that the worker itself answered.
    fn done(&self, result: Option<String>) -> Done {
        Done {
            result,
            ..empty(self.action_id.clone())
        }
    }

    /// The same with structured data.
    fn done_with(&self, result: impl Into<String>, data: serde_json::Value) -> Done {
        Done {
            data: Some(data),
            ..self.done(Some(result.into()))
        }
    }

    /// The last line of a request that failed.
    pub(crate) fn fail(&self, error: WireError) -> Done {
        failed(self.action_id.clone(), error)
    }

    /// Waits for a model, telling the client how far it is.
    pub(crate) async fn lease(
        &self,
        name: Option<String>,
        tell: bool,
    ) -> Result<ModelLease, WireError> {
        let mut leasing = self.worker.shared.registry.lease(name).await;
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.reset();
        loop {
            tokio::select! {
                biased;
                lease = &mut leasing.ready => return lease.unwrap_or_else(|_| Err(self.stop_error())),
                () = self.told_to_stop() => return Err(self.stop_error()),
                Ok(()) = leasing.percent.changed() => {}
                _ = heartbeat.tick() => {}
            }
            if tell {
                let percent = *leasing.percent.borrow_and_update();
                self.outgoing
                    .send(Line::Progress(Progress {
                        action_id: self.action_id.clone(),
                        phase: Phase::Loading,
                        queue_position: None,
                        done: Some(percent),
                        total: Some(100),
                    }))
                    .await;
            }
        }
    }

    /// Says something that the client should know, if it reads along.
    async fn warn(&self, reads_along: bool, text: impl Into<String>) {
        if reads_along {
            let line = Warning {
                action_id: self.action_id.clone(),
                result: text.into(),
            };
            self.outgoing.send(Line::Warning(line)).await;
        }
    }

    /// Refuses whoever is no administrator; the hint says what else they can do.
    fn administers(&self, what: &str, hint: &str) -> Result<(), WireError> {
        if self.user.administers() {
            return Ok(());
        }
        let message = format!("only root and the worker's own user may {what}");
        Err(WireError::new(ErrorCode::Forbidden, message).with_hint(hint))
    }

    /// Counts the request against what its user may have.
    fn quota(&self) -> Result<Permit, WireError> {
        let shared = &self.worker.shared;
        let permit = shared
            .quotas
            .enter(self.user, &self.worker.settings().limits);
        permit.map_err(|fault| errors::from_quota(&fault))
    }

    /// Waits until an answer of about so many bytes can wait for its client, before it is begun:
    /// who reads nothing does not get one after another computed.
    async fn room(&self, bytes: usize) -> Result<(), WireError> {
        let room = tokio::select! {
            room = self.outgoing.room(bytes) => room,
            () = self.told_to_stop() => return Err(self.stop_error()),
        };
        *lock(&self.room) = room;
        Ok(())
    }

    /// Runs work that takes long on a thread of its own, a few such at once, and of each user half
    /// of them. At cancel and deadline nobody waits for it any more, and it is told to stop.
    async fn compute<T: Send + 'static>(
        &self,
        what: &str,
        deadline: Option<Duration>,
        work: impl FnOnce(&CancellationToken) -> T + Send + 'static,
    ) -> Result<T, WireError> {
        let stop = CancellationToken::new();
        let _stops = stop.clone().drop_guard();
        let computed = async {
            let place = self.worker.shared.computing.wait(self.user).await;
            let running = tokio::task::spawn_blocking(move || {
                let _place = place;
                work(&stop)
            });
            running.await.map_err(|_| panicked(what))
        };
        tokio::select! {
            done = computed => done,
            () = self.told_to_stop() => Err(self.stop_error()),
            () = self.late(deadline) => Err(errors::deadline_passed(deadline)),
        }
    }

    /// Until the request has taken so long; for ever if it may.
    async fn late(&self, deadline: Option<Duration>) {
        match deadline.and_then(|deadline| self.received.checked_add(deadline)) {
            Some(end) => tokio::time::sleep_until(end.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Does something with the gate on a thread that may wait for the disk.
    async fn act<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ActingFault> + Send + 'static,
    ) -> Result<T, WireError> {
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.map_err(|_| panicked("the gate"))?;
        done.map_err(|fault| errors::from_acting(&fault))
    }

    /// Does something with the memory on a thread that may wait.
    async fn remember<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Memory) -> Result<T, RememberFault> + Send + 'static,
    ) -> Result<T, WireError> {
        let shared = Arc::clone(&self.worker.shared);
        let done = tokio::task::spawn_blocking(move || work(&*shared.memory.open(&shared)?)).await;
        let done = done.map_err(|_| panicked("the memory"))?;
        done.map_err(RememberFault::into_wire)
    }

    /// Does something with the watch on a thread that may wait.
    async fn watching<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Pipeline>) -> Result<T, WatchFault> + Send + 'static,
    ) -> Result<T, WireError> {
        let shared = Arc::clone(&self.worker.shared);
        let done = tokio::task::spawn_blocking(move || work(&shared.watching.pipeline(&shared)?));
        let done = done.await.map_err(|_| panicked("the watch"))?;
        done.map_err(|fault| errors::from_watch(&fault))
    }

    /// Says that something is still going on.
    async fn alive(&self, phase: Phase) {
        let progress = Progress {
            action_id: self.action_id.clone(),
            phase,
            queue_position: None,
            done: None,
            total: None,
        };
        self.outgoing.send(Line::Progress(progress)).await;
    }

    /// Until the request is cancelled, its client leaves, or the worker stops.
    async fn told_to_stop(&self) {
        tokio::select! {
            () = self.stopped.cancelled() => {}
            () = self.worker.shared.killed.cancelled() => {}
        }
    }

    /// Why a request that was told to stop ends without an answer.
    fn stop_error(&self) -> WireError {
        if self.worker.shared.killed.is_cancelled() {
            WireError::new(ErrorCode::ShuttingDown, "the worker is stopping")
        } else {
            WireError::new(ErrorCode::Cancelled, "the request was cancelled")
        }
    }
}
