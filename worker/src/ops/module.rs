//! `module`: a command of a native module, and its answer as it comes.

use std::ops::ControlFlow;
use std::time::Duration;

use fazai_modhost::{Answer, Call, Stop};
use fazai_protocol::{
    ActionId, Done, ErrorCode, Line, ModuleCall, Phase, Source, Status, TextLine, Warning,
    WireError,
};
use serde_json::json;

use super::pieces::{Speaker, pieces};
use super::{Context, HEARTBEAT};
use crate::errors;
use crate::live::User;
use crate::modules::{ModuleFault, Modules, SharedFault, Wanted};

/// How long a call that was stopped is waited for: longer than a module is given to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn answer(context: &Context, call: ModuleCall) -> Done {
    let mut telling = Telling {
        context,
        stream: call.stream,
        text: String::new(),
    };
    match run(context, call, &mut telling).await {
        Ok(done) => done,
        Err(error) if error.code == ErrorCode::Cancelled => Done {
            metadata: Status::Stopped.into(),
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
    let left = deadline.map(|deadline| deadline.saturating_sub(context.received.elapsed()));
    if left.is_some_and(|left| left.is_zero()) {
        return Err(errors::deadline_passed(deadline));
    }
    let most = context.worker.settings().modules.calls_max;
    // One module that hangs must leave places for the others.
    let place = context
        .worker
        .shared
        .module_calls
        .enter(module.clone(), most);
    let place = place.map_err(|full| errors::modules_busy(full, &module))?;

    let stop = Stop::new().map_err(|fault| errors::out_of_descriptors(&fault))?;
    let (speaker, listener) = pieces();
    let calling = Calling {
        wanted,
        user: context.user,
        stop: stop.clone(),
        speaker,
    };
    let worker = context.worker.clone();
    let mut running = tokio::task::spawn_blocking(move || {
        let _place = place;
        calling.run(&worker.shared.modules)
    });

    let late = sleep_for(left);
    let given_up = sleep_for(None);
    tokio::pin!(late, given_up);
    let mut is_late = false;
    let mut quiet = tokio::time::interval(HEARTBEAT);
    quiet.reset();
    let ended = loop {
        tokio::select! {
            text = listener.next() => {
                quiet.reset();
                telling.piece(text).await;
            }
            ended = &mut running => break ended.map_err(|_| super::panicked("the call"))?,
            () = context.told_to_stop(), if !stop.is_stopped() => {
                stop.stop();
                given_up.set(sleep_for(Some(STOP_PATIENCE)));
            }
            () = &mut late, if !is_late => {
                is_late = true;
                stop.stop();
                given_up.set(sleep_for(Some(STOP_PATIENCE)));
            }
            // It is being loaded, or waits for its turn behind a call that hangs: its thread
            // finds out in time, and nobody has to wait for that.
            () = &mut given_up => return Err(why_stopped(context, is_late, deadline)),
            _ = quiet.tick(), if telling.stream => context.alive(Phase::Running).await,
        }
    };
    telling.piece(listener.rest()).await;
    if stop.is_stopped() {
        return Err(why_stopped(context, is_late, deadline));
    }
    let answer = ended.map_err(|fault| errors::from_module(&fault))?;
    if answer.cut {
        telling.cut().await;
    }
    let text = std::mem::take(&mut telling.text);
    Ok(finished(context, &module, &command, &answer, text))
}

/// Until so much time has passed; without a time, for ever.
async fn sleep_for(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

fn why_stopped(context: &Context, is_late: bool, deadline: Option<Duration>) -> WireError {
    if is_late {
        errors::deadline_passed(deadline)
    } else {
        context.stop_error()
    }
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
        if piece.is_empty() {
            return;
        }
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
    stop: Stop,
    speaker: Speaker,
}

impl Calling {
    fn run(self, modules: &Modules) -> Result<Answer, SharedFault> {
        let loaded = modules.open(&self.wanted.module)?;
        let facts = loaded.facts();
        let command = facts.command(&self.wanted, self.user)?;
        let call = Call {
            limit: Some(facts.call_timeout),
            stop: Some(self.stop),
        };
        let mut reader = |piece: String| {
            self.speaker.say(&piece);
            ControlFlow::Continue(())
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
        metadata: Status::Error.into(),
        error: Some(error.with_hint("`result` has the module's own words")),
        ..done
    }
}
