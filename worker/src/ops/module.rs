//! `module`: a command of a native module, and its answer as it comes.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use fazai_modhost::{Answer, Call, Stop};
use fazai_protocol::{
    ActionId, Done, ErrorCode, Line, ModuleCall, Source, Status, TextLine, WireError,
};
use fazai_tools::{Action, Permit, Verdict};
use serde_json::json;
use tokio::runtime::Handle;

use super::Context;
use super::admit::admit;
use super::pieces::{Speaker, pieces};
use super::work::{Hear, Work};
use crate::errors;
use crate::modules::{Facts, Loaded, Wanted};

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
        context: context.clone(),
        runtime: Handle::current(),
        stream: telling.stream,
        wanted,
        stop: stop.clone(),
        speaker,
    };
    let work = Work {
        what: "the call",
        running: tokio::task::spawn_blocking(move || {
            let _place = place;
            calling.run()
        }),
        listener,
        stop: stop.clone(),
        stream: telling.stream,
        deadline,
        // It may be being loaded, or wait for its turn behind a call that hangs.
        patience: Some(STOP_PATIENCE),
    };
    let ended = work.follow(context, telling).await?;
    if stop.is_stopped() {
        return Err(context.stop_error());
    }
    let answer = ended?;
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

    async fn cut(&self) {
        let bytes = self.text.len();
        let text = format!("the answer was cut after {bytes} bytes (answer_bytes_max)");
        self.context.warn(self.stream, text).await;
    }

    async fn line(&self, make: impl FnOnce(ActionId) -> Line) {
        if self.stream {
            let line = make(self.context.action_id.clone());
            self.context.outgoing.send(line).await;
        }
    }
}

impl Hear for Telling<'_> {
    async fn hear(&mut self, text: String) {
        self.piece(text).await;
    }
}

/// A call that is handed to a thread that may wait.
struct Calling {
    context: Context,
    runtime: Handle,
    stream: bool,
    wanted: Wanted,
    stop: Stop,
    speaker: Speaker,
}

impl Calling {
    fn run(self) -> Result<Answer, WireError> {
        let (loaded, command) = self.loaded()?;
        let permit = self.permit(&loaded.facts())?;
        let call = Call {
            limit: Some(loaded.facts().call_timeout),
            stop: Some(self.stop.clone()),
        };
        let mut reader = |piece: String| {
            self.speaker.say(&piece);
            ControlFlow::Continue(())
        };
        let answered = loaded.call(permit, &command, &call, &mut reader);
        answered.map_err(|fault| errors::from_module(&fault))
    }

    /// The module, and the text that it is given.
    fn loaded(&self) -> Result<(Arc<Loaded>, String), WireError> {
        let modules = &self.context.worker.shared.modules;
        let opened = modules.open(&self.wanted.module);
        let loaded = opened.map_err(|fault| errors::from_module(&fault))?;
        let command = loaded.facts().command(&self.wanted, self.context.user);
        let command = command.map_err(|fault| errors::from_module(&fault))?;
        Ok((loaded, command))
    }

    /// A module that can only compute has no side effects, and needs no record of a call that the
    /// policy allows by itself: to write one takes far longer than the call.
    fn permit(&self, facts: &Facts) -> Result<Option<Permit>, WireError> {
        let action = Action::CallModule {
            name: self.wanted.module.clone(),
            command: self.wanted.command.clone(),
        };
        let Context { worker, user, .. } = &self.context;
        if facts.only_computes() {
            let decided = worker.shared.acting.decide(*user, &action);
            let decided = decided.map_err(|fault| errors::from_acting(&fault.into()))?;
            if decided.verdict == Verdict::Allow {
                return Ok(None);
            }
        }
        let admitted = admit(&self.context, None, action, self.stream);
        self.runtime.block_on(admitted).map(Some)
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
