//! `tool`: a call of a tool, past the gate.

use std::sync::Mutex;
use std::time::Duration;

use fazai_protocol::{
    Done, ErrorCode, Line, Source, Status, TextLine, ToolCall, ToolParams, WireError,
};
use fazai_sandbox::{Launcher, Stop};
use fazai_toolbox::{Host, ToolError, Toolbox};
use fazai_tools::{Action, ApprovalError, How, Permit};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::Context;
use super::admit::{admit, admit_by_person};
use super::pieces::{Speaker, pieces};
use super::shell::{how, launcher};
use super::work::{Hear, Work};
use crate::errors;
use crate::lock::lock;
use crate::toolbox::AutoTool;

/// How long a tool that was stopped is waited for: longer than a command is given to end.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn answer(context: &Context, call: ToolCall) -> Done {
    match run(context, call).await {
        Ok(done) => done,
        Err(error) if error.code == ErrorCode::Cancelled => Done {
            metadata: Status::Stopped.into(),
            source: Source::Tool,
            ..context.done(None)
        },
        Err(error) => context.fail(error),
    }
}

async fn run(context: &Context, call: ToolCall) -> Result<Done, WireError> {
    let deadline = call.params.deadline_ms.map(Duration::from_millis);
    let dry_run = call.params.dry_run;
    let (stream, session) = (call.stream, call.session.clone());
    let (name, args) = parse(call)?;
    let _quota = context.quota()?;
    let most = context.worker.settings().tools.calls_max;
    let places = &context.worker.shared.tool_calls;
    let place = places.enter(context.user, most);
    let place = place.map_err(|_| errors::tools_busy())?;
    let (speaker, listener) = pieces();
    let host = ToolHost::new(context, session, stream, Asking::People, speaker)?;
    let stop = host.stop.clone();
    let wanted = name.clone();
    let work = Work {
        what: "the tool",
        running: tokio::task::spawn_blocking(move || {
            let _place = place;
            let done = host.toolbox().get(&wanted, &host).and_then(|tool| {
                if dry_run {
                    let wants = fazai_toolbox::wants(&*tool, &args)?;
                    return Ok(Did::Judged(wants));
                }
                fazai_toolbox::call(&*tool, &args, &host).map(Did::Answered)
            });
            done.map_err(|fault| host.explain(&wanted, &fault))
        }),
        listener,
        stop: stop.clone(),
        stream,
        deadline,
        patience: Some(STOP_PATIENCE),
    };
    let ended = work
        .follow(context, &mut Telling { context, stream })
        .await?;
    match ended? {
        _ if stop.is_stopped() => Err(context.stop_error()),
        Did::Judged(wants) => judged(context, &name, wants).await,
        Did::Answered(answer) => Ok(Done {
            source: Source::Tool,
            ..context.done_with(text_of(&answer), json!({ "tool": name, "answer": answer }))
        }),
    }
}

/// What came of a call.
enum Did {
    Judged(Vec<Action>),
    Answered(Value),
}

/// The name and the parameters: `NAME {...}`, the old `tool:NAME param={...}`, or from `params`.
fn parse(call: ToolCall) -> Result<(String, Value), WireError> {
    let ToolParams { tool, args, .. } = call.params;
    let input = call.input.trim();
    let input = input.strip_prefix("tool:").unwrap_or(input);
    let (first, rest) = match (&tool, input.split_once(char::is_whitespace)) {
        (Some(_), _) => ("", input),
        (None, Some((first, rest))) => (first, rest.trim()),
        (None, None) => (input, ""),
    };
    let name = tool.unwrap_or_else(|| first.to_owned());
    if name.is_empty() {
        let error = WireError::new(ErrorCode::InvalidRequest, "the request names no tool");
        return Err(error.with_hint("input is \"NAME {...}\"; `tools` lists them"));
    }
    let rest = rest.strip_prefix("param=").unwrap_or(rest);
    let args = match (args, rest) {
        (Some(_), rest) if !rest.is_empty() => {
            let message = "the parameters are in params and in input; say them once";
            return Err(WireError::new(ErrorCode::InvalidParams, message));
        }
        (Some(args), _) => Value::Object(args),
        (None, "") => json!({}),
        (None, rest) => serde_json::from_str(rest).map_err(|fault| {
            WireError::new(ErrorCode::InvalidParams, "the parameters are no JSON")
                .with_hint(format!("{fault}"))
        })?,
    };
    Ok((name, args))
}

/// The answer for people: what it says if it says one thing, otherwise all of it.
pub(super) fn text_of(answer: &Value) -> String {
    let fields = answer.as_object();
    let only = |name| {
        fields
            .filter(|fields| fields.len() <= 3)?
            .get(name)?
            .as_str()
    };
    let said = ["text", "output"].into_iter().find_map(only);
    said.map_or_else(|| answer.to_string(), str::to_owned)
}

/// What the policy says about each of these.
async fn judged(context: &Context, name: &str, wants: Vec<Action>) -> Result<Done, WireError> {
    let (worker, user) = (context.worker.clone(), context.user);
    let decided = context.act(move || {
        let acting = &worker.shared.acting;
        let decide = |wanted: Action| Ok((acting.decide(user, &wanted)?, wanted));
        wants.into_iter().map(decide).collect::<Result<Vec<_>, _>>()
    });
    let decided = decided.await?;
    let line = |(decision, wanted): &(fazai_tools::Decision, Action)| {
        let what = super::admit::summary(wanted);
        format!(
            "{}: {what}: {} ({})",
            decision.verdict, decision.reason, decision.rule
        )
    };
    let lines: Vec<String> = decided.iter().map(line).collect();
    let wants = decided
        .iter()
        .map(|(decision, wanted)| json!({ "decision": decision, "wanted": wanted }));
    let data = json!({ "dry_run": true, "tool": name, "wants": wants.collect::<Vec<Value>>() });
    Ok(context.done_with(lines.join("\n"), data))
}

/// What the client is told on the way.
struct Telling<'a> {
    context: &'a Context,
    stream: bool,
}

impl Hear for Telling<'_> {
    async fn hear(&mut self, text: String) {
        if self.stream {
            let line = TextLine {
                action_id: self.context.action_id.clone(),
                result: text,
                logprobs: Vec::new(),
            };
            self.context.outgoing.send(Line::Tool(line)).await;
        }
    }
}

/// Whether people are asked for what the policy asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    People,
    /// Nobody: what would be asked is denied.
    Nobody,
}

/// The host of one call, on a thread that may wait.
pub(super) struct ToolHost {
    context: Context,
    session: Option<String>,
    stream: bool,
    asking: Asking,
    runtime: Handle,
    speaker: Speaker,
    stop: Stop,
    launcher: Launcher,
    /// Why there was no permit.
    refused: Mutex<Option<WireError>>,
}

impl ToolHost {
    pub(super) fn new(
        context: &Context,
        session: Option<String>,
        stream: bool,
        asking: Asking,
        speaker: Speaker,
    ) -> Result<Self, WireError> {
        Ok(Self {
            context: context.clone(),
            session,
            stream,
            asking,
            runtime: Handle::current(),
            speaker,
            stop: Stop::new().map_err(|fault| errors::out_of_descriptors(&fault))?,
            launcher: launcher(context)?,
            refused: Mutex::default(),
        })
    }

    /// The tools, as this host's user may call them.
    pub(super) fn toolbox(&self) -> Toolbox {
        let auto = AutoTool::new(&self.context, self.runtime.clone());
        self.context.worker.toolbox(self.context.user, auto)
    }

    /// Keeps why there was no permit.
    fn remember(&self, admitted: Result<Permit, WireError>) -> Result<Permit, ToolError> {
        admitted.map_err(|error| {
            let refusal = ToolError::Refused(error.message.clone());
            let mut refused = lock(&self.refused);
            *refused = Some(error);
            refusal
        })
    }

    fn without_asking(&self, action: Action) -> Result<Permit, WireError> {
        let acting = &self.context.worker.shared.acting;
        let permit = acting.permit_without_asking(self.context.user, action);
        permit.map_err(|fault| errors::from_acting(&fault))
    }

    /// Why a tool gave no answer, as the client is told.
    pub(super) fn explain(&self, name: &str, fault: &ToolError) -> WireError {
        let refused = lock(&self.refused);
        match (fault, &*refused) {
            (ToolError::Refused(_), Some(error)) => error.clone(),
            _ => errors::from_tool(name, fault),
        }
    }
}

impl Host for ToolHost {
    fn permit(&self, action: Action) -> Result<Permit, ToolError> {
        self.remember(match self.asking {
            Asking::People => {
                let session = self.session.clone();
                let admitted = admit(&self.context, session, action, self.stream);
                self.runtime.block_on(admitted)
            }
            Asking::Nobody => self.without_asking(action),
        })
    }

    fn permit_by_person(&self, action: Action) -> Result<Permit, ToolError> {
        self.remember(match self.asking {
            Asking::People => {
                let session = self.session.clone();
                let admitted = admit_by_person(&self.context, session, action, self.stream);
                self.runtime.block_on(admitted)
            }
            Asking::Nobody => Err(errors::from_approval(&ApprovalError::NobodyToAsk)),
        })
    }

    fn say(&self, text: &str) {
        self.speaker.say(text);
    }

    fn stop(&self) -> &Stop {
        &self.stop
    }

    fn how(&self, permit: &Permit) -> How {
        how(&self.context, self.launcher.clone(), permit)
    }
}
