//! `module`: a command of a native module, and its answer as it comes.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use fazai_modhost::{Answer, Call, Failure, Stop};
use fazai_protocol::{
    ActionId, Done, ErrorCode, Line, Metadata, ModuleCall, Phase, Progress, Source, Status,
    TextLine, Warning, WireError,
};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Context, HEARTBEAT};
use crate::errors;
use crate::live::User;
use crate::modules::{ModuleFault, Modules, SharedFault, Wanted};

/// When all places for calls are taken.
const RETRY_AFTER_MS: u64 = 100;

pub(super) async fn answer(context: &Context, call: ModuleCall) -> Done {
    let mut telling = Telling {
        context,
        stream: call.stream,
        text: String::new(),
    };
    match run(context, call, &mut telling).await {
        Ok(done) => done,
        Err(error) if error.code == ErrorCode::Cancelled => Done {
            metadata: Metadata {
                status: Status::Stopped,
            },
            source: Source::Module,
            ..context.done(Some(telling.text))
        },
        Err(error) => Done {
            result: Some(telling.text).filter(|text| !text.is_empty()),
            ..context.fail(error)
        },
    }
}

async fn run(
    context: &Context,
    call: ModuleCall,
    telling: &mut Telling<'_>,
) -> Result<Done, WireError> {
    let deadline = call.params.deadline_ms.map(Duration::from_millis);
    let wanted = Wanted::parse(call).map_err(|fault| errors::from_module(&fault.into()))?;
    let (module, command) = (wanted.module.clone(), wanted.command.clone());
    let _quota = context.quota()?;
    let place = Arc::clone(&context.worker.shared.module_calls).try_acquire_owned();
    let place = place.map_err(|_| {
        let message = "as many modules are at work as calls_max allows";
        WireError::new(ErrorCode::Overloaded, message).with_retry_after_ms(RETRY_AFTER_MS)
    })?;

    let stop = Stop::new().map_err(|fault| errors::out_of_descriptors(&fault))?;
    // The module never waits for a slow client: what it says is bounded by answer_bytes_max, and
    // waits here.
    let (sender, mut pieces) = mpsc::unbounded_channel();
    let calling = Calling {
        wanted,
        user: context.user,
        left: deadline.map(|deadline| deadline.saturating_sub(context.received.elapsed())),
        stop: stop.clone(),
        sender,
    };
    let worker = context.worker.clone();
    let mut running = tokio::task::spawn_blocking(move || {
        let _place = place;
        calling.run(&worker.shared.modules)
    });

    let mut quiet = tokio::time::interval(HEARTBEAT);
    quiet.reset();
    let ended = loop {
        tokio::select! {
            Some(piece) = pieces.recv() => {
                quiet.reset();
                telling.piece(piece).await;
            }
            ended = &mut running => break ended.map_err(|_| super::panicked("the call"))?,
            () = context.told_to_stop(), if !stop.is_stopped() => stop.stop(),
            _ = quiet.tick() => telling.alive().await,
        }
    };
    while let Ok(piece) = pieces.try_recv() {
        telling.piece(piece).await;
    }
    if stop.is_stopped() {
        return Err(context.stop_error());
    }
    let answer = ended.map_err(|fault| match (&*fault, deadline) {
        (ModuleFault::Failed(Failure::TimedOut { limit, .. }), Some(deadline))
            if *limit <= deadline =>
        {
            errors::deadline_passed(deadline)
        }
        _ => errors::from_module(&fault),
    })?;
    if answer.cut {
        telling.cut().await;
    }
    let text = std::mem::take(&mut telling.text);
    Ok(finished(context, &module, &command, &answer, text))
}

/// What the client is told on the way.
struct Telling<'a> {
    context: &'a Context,
    stream: bool,
    /// All pieces so far.
    text: String,
}

impl Telling<'_> {
    async fn piece(&mut self, piece: String) {
        self.text.push_str(&piece);
        self.line(|action_id| {
            Line::Module(TextLine {
                action_id,
                result: piece,
                logprobs: Vec::new(),
            })
        })
        .await;
    }

    async fn alive(&self) {
        self.line(|action_id| {
            Line::Progress(Progress {
                action_id,
                phase: Phase::Running,
                queue_position: None,
                done: None,
                total: None,
            })
        })
        .await;
    }

    async fn cut(&self) {
        let bytes = self.text.len();
        self.line(|action_id| {
            Line::Warning(Warning {
                action_id,
                result: format!("the answer was cut after {bytes} bytes (answer_bytes_max)"),
            })
        })
        .await;
    }

    async fn line(&self, make: impl FnOnce(ActionId) -> Line) {
        if self.stream {
            let line = make(self.context.action_id.clone());
            self.context.outgoing.send(line).await;
        }
    }
}

/// A call that is handed to a thread that may wait.
struct Calling {
    wanted: Wanted,
    user: User,
    /// What is left of the request's time.
    left: Option<Duration>,
    stop: Stop,
    sender: mpsc::UnboundedSender<String>,
}

impl Calling {
    fn run(self, modules: &Modules) -> Result<Answer, SharedFault> {
        let loaded = modules.open(&self.wanted.module)?;
        let facts = loaded.facts();
        let command = facts.command(&self.wanted, self.user)?;
        let call = Call {
            limit: self.left.map(|left| left.min(facts.call_timeout)),
            stop: Some(self.stop),
        };
        let mut reader = |piece| match self.sender.send(piece) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        };
        let answered = loaded.module.exec_stream(&command, &call, &mut reader);
        Ok(answered.map_err(ModuleFault::from)?)
    }
}

fn finished(context: &Context, module: &str, command: &str, answer: &Answer, text: String) -> Done {
    let code = answer.code;
    let data = json!({ "module": module, "command": command, "code": code, "cut": answer.cut });
    let done = Done {
        source: Source::Module,
        ..context.done_with(text, data)
    };
    if code == 0 {
        return done;
    }
    let message = format!("module `{module}` answered `{command}` with error {code}");
    let error = WireError::new(ErrorCode::ModuleError, message);
    Done {
        metadata: Metadata {
            status: Status::Error,
        },
        error: Some(error.with_hint("`result` has the module's own words")),
        ..done
    }
}
