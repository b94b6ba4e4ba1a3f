//! `shell`: a command on the machine, past the gate.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use fazai_protocol::{
    Done, ErrorCode, Line, Metadata, ShellCall, ShellEvent, ShellLine, Source, Status, WireError,
};
use fazai_sandbox::{Launcher, Stop};
use fazai_tools::{Action, Ended, Exec, How, Input, Permit, RunError, Why, run};
use serde_json::json;

use super::Context;
use super::admit::{admit, touched};
use super::pieces::pieces;
use super::work::{Hear, Work};
use crate::errors;
use crate::live::User;
use crate::places::Place;

/// How long a command that may run waits for its place, and how often it looks.
const PLACE_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A line of output that is longer comes in parts.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Each line says of which command it is: of a longer one, its beginning, or a long command and many
/// short lines would be much more than both.
const COMMAND_BYTES_MAX: usize = 1 << 10;

/// What a command can be given to read.
const STDIN_BYTES_MAX: usize = 1 << 20;

pub(super) async fn answer(context: &Context, call: ShellCall) -> Done {
    match begin(context, call).await {
        Ok(done) => done,
        Err(error) if error.code == ErrorCode::Cancelled => Done {
            metadata: Status::Stopped.into(),
            ..context.done(None)
        },
        Err(error) => context.fail(error),
    }
}

/// Everything before the command runs.
async fn begin(context: &Context, call: ShellCall) -> Result<Done, WireError> {
    let command = call.input.trim().to_owned();
    let stdin = call.params.stdin.as_deref();
    let action = action(&command, call.params.cwd.as_deref().unwrap_or("/"), stdin)?;
    if call
        .params
        .stdin
        .as_ref()
        .is_some_and(|text| text.len() > STDIN_BYTES_MAX)
    {
        let message = format!("stdin has more than {STDIN_BYTES_MAX} bytes");
        return Err(WireError::new(ErrorCode::InvalidParams, message));
    }
    if call.params.dry_run {
        return dry_run(context, action).await;
    }
    let _quota = context.quota()?;
    let most = context.worker.settings().policy.commands_max;
    let places = &context.worker.shared.commands;
    // Nobody is asked about what could not run. A place is not held while they think: who asks
    // much would keep others from theirs.
    let room = places.check(&context.user, most);
    room.map_err(|_| errors::commands_busy())?;
    let permit = admit(context, call.session, action, call.stream).await?;
    let place = place(context, most).await?;
    let usual = how(context, launcher(context)?, &permit);
    let wanted = call.params.timeout_ms.map(Duration::from_millis);
    let how = How {
        timeout: wanted.map_or(usual.timeout, |wanted| wanted.min(usual.timeout)),
        stdin: call.params.stdin.map(String::into_bytes),
        ..usual
    };
    Running {
        context,
        command,
        stream: call.stream,
        output: String::new(),
        line: String::new(),
    }
    .run(permit, how, place)
    .await
}

/// A place for a command that may run. The others may have been taken while somebody thought about
/// it, and a yes is worth a short wait.
pub(super) async fn place(context: &Context, most: usize) -> Result<Place<User>, WireError> {
    let until = Instant::now() + PLACE_WITHIN;
    loop {
        let place = context.worker.shared.commands.enter(context.user, most);
        match place {
            Ok(place) => return Ok(place),
            Err(_) if Instant::now() >= until => return Err(errors::commands_busy()),
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = context.told_to_stop() => return Err(context.stop_error()),
        }
    }
}

/// How the keeper of a command is started.
pub(super) fn launcher(context: &Context) -> Result<Launcher, WireError> {
    let launcher = context.worker.shared.acting.launcher();
    launcher.ok_or_else(errors::not_prepared)
}

/// In what way a program runs that has this permit.
pub(super) fn how(context: &Context, launcher: Launcher, permit: &Permit) -> How {
    context.worker.shared.acting.how(launcher, permit)
}

/// What is judged is what runs: a single plain command is started without a shell.
fn action(command: &str, cwd: &str, stdin: Option<&str>) -> Result<Action, WireError> {
    if !Path::new(cwd).is_absolute() {
        let message = format!("cwd {cwd:?} is not absolute");
        return Err(WireError::new(ErrorCode::InvalidParams, message));
    }
    let exec = Exec::of_text(command, cwd).map_err(|fault| {
        WireError::new(ErrorCode::InvalidRequest, fault.to_string())
            .with_hint("input is the command, such as \"df -h\"")
    })?;
    Ok(Action::Exec(Exec {
        stdin: stdin.map(|text| Input::of(text.as_bytes())),
        ..exec
    }))
}

/// What would be decided, and nothing else.
async fn dry_run(context: &Context, action: Action) -> Result<Done, WireError> {
    let (worker, user) = (context.worker.clone(), context.user);
    let wanted = action.clone();
    // Where paths lead is looked up on the disk.
    let decided = context.act(move || Ok(worker.shared.acting.decide(user, &wanted)?));
    let decision = decided.await?;
    let text = format!(
        "{}: {} ({})",
        decision.verdict, decision.reason, decision.rule
    );
    let data = json!({
        "dry_run": true,
        "decision": decision,
        "wanted": action,
        "touches": touched(&action),
    });
    Ok(context.done_with(text, data))
}

/// A command that runs, and what its client is told.
struct Running<'a> {
    context: &'a Context,
    command: String,
    stream: bool,
    output: String,
    /// The line of output that has no end yet.
    line: String,
}

impl Hear for Running<'_> {
    async fn hear(&mut self, text: String) {
        self.heard(&text).await;
    }
}

impl Running<'_> {
    async fn run(
        mut self,
        permit: Permit,
        how: How,
        place: Place<User>,
    ) -> Result<Done, WireError> {
        let stop = Stop::new().map_err(|fault| errors::out_of_descriptors(&fault))?;
        self.tell(ShellEvent::Start, format!("$ {}", self.command))
            .await;
        // The command never waits for a slow client: what it writes is bounded by
        // output_bytes_max, and waits here.
        let (speaker, listener) = pieces();
        let stopping = stop.clone();
        let work = Work {
            what: "the command",
            running: tokio::task::spawn_blocking(move || {
                let _place = place;
                run(permit, &how, Some(&stopping), &mut |piece| {
                    speaker.say(&piece.text);
                    if piece.ends_line {
                        speaker.say("\n");
                    }
                    ControlFlow::Continue(())
                })
            }),
            listener,
            stop,
            stream: self.stream,
            deadline: None,
            patience: None,
        };
        let context = self.context;
        let ended = work.follow(context, &mut self).await?;
        // The last line may have no newline.
        let last = std::mem::take(&mut self.line);
        if !last.is_empty() {
            self.tell(ShellEvent::Stream, last).await;
        }
        match ended {
            Ok(ended) | Err(RunError::NotRecorded { ended, .. }) => Ok(self.finish(&ended).await),
            Err(fault) => Err(errors::from_run(&fault)),
        }
    }

    /// Passes output on, line by line; of a very long line, what there is of it.
    async fn heard(&mut self, text: &str) {
        self.output.push_str(text);
        for part in text.split_inclusive('\n') {
            self.line.push_str(part);
            if self.line.ends_with('\n') {
                self.line.pop();
            } else if self.line.len() < LINE_BYTES_MAX {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            self.tell(ShellEvent::Stream, line).await;
        }
    }

    async fn tell(&self, metadata: ShellEvent, result: String) {
        if !self.stream {
            return;
        }
        let most = match metadata {
            ShellEvent::Start => self.command.len(),
            ShellEvent::Stream | ShellEvent::End { .. } => COMMAND_BYTES_MAX,
        };
        let line = ShellLine {
            action_id: self.context.action_id.clone(),
            input: self.command[..self.command.floor_char_boundary(most)].to_owned(),
            result,
            metadata,
            timestamp: super::timestamp(),
            source: None,
            model: None,
        };
        self.context.outgoing.send(Line::Shell(line)).await;
    }

    async fn finish(self, ended: &Ended) -> Done {
        let code = code(ended);
        if ended.cut {
            let text = format!(
                "{} bytes of output; output_bytes_max are shown",
                ended.bytes
            );
            self.context.warn(self.stream, text).await;
        }
        self.tell(ShellEvent::End { code }, format!("[exit {code}]"))
            .await;
        let status = match ended.why {
            Why::Finished => Status::Done,
            Why::Stopped => Status::Stopped,
            Why::TimedOut | Why::OutputLimit | Why::MemoryLimit => Status::Error,
        };
        let data = json!({
            "exit_code": ended.exit_code,
            "signal": ended.signal,
            "bytes": ended.bytes,
            "cut": ended.cut,
            "output_sha256": ended.output_sha256,
        });
        Done {
            metadata: Metadata {
                status,
                code: Some(code),
            },
            source: Source::Shell,
            error: errors::from_why(ended.why),
            ..self.context.done_with(self.output, data)
        }
    }
}

/// The exit code as a shell would tell it.
fn code(ended: &Ended) -> i32 {
    match (ended.exit_code, ended.signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => -1,
    }
}
