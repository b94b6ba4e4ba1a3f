//! `shell`: a command on the machine, past the gate.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use fazai_protocol::{
    Approval, Done, ErrorCode, Line, Metadata, Phase, ShellCall, ShellEvent, ShellLine, Source,
    Status, Warning, WireError,
};
use fazai_sandbox::Stop;
use fazai_tools::{
    Action, Confinement, Decision, Ended, Exec, How, Input, Passage, Permit, RunError, Script,
    Waiting, Why, run, touches,
};
use serde_json::json;

use super::pieces::pieces;
use super::{Context, HEARTBEAT};
use crate::config::PolicySettings;
use crate::errors;
use crate::live::User;
use crate::places::Place;
use crate::process::command_launcher;

/// How often a question is looked at for its answer.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// From SIGTERM to SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// A line of output that is longer comes in parts.
const LINE_BYTES_MAX: usize = 64 << 10;

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
        return dry_run(context, command, action).await;
    }
    let _quota = context.quota()?;
    let permit = admit(context, call.session, action, call.stream).await?;
    let settings = context.worker.settings();
    let places = &context.worker.shared.commands;
    let place = places.enter(context.user, settings.policy.commands_max);
    let place = place.map_err(|_| errors::commands_busy())?;
    let most = settings.policy.command_timeout_ms;
    let timeout_ms = call
        .params
        .timeout_ms
        .map_or(most, |wanted| wanted.min(most));
    let how = How {
        launcher: command_launcher(settings.modules.program.as_deref())
            .ok_or_else(errors::not_prepared)?,
        confinement: confinement(&permit, &settings.policy),
        timeout: Duration::from_millis(timeout_ms),
        term_grace: TERM_GRACE,
        output_bytes_max: settings.policy.output_bytes_max,
        stdin: call.params.stdin.map(String::into_bytes),
        merge_stderr: true,
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

/// What is judged is what runs: a single plain command is started without a shell.
fn action(command: &str, cwd: &str, stdin: Option<&str>) -> Result<Action, WireError> {
    if !Path::new(cwd).is_absolute() {
        let message = format!("cwd {cwd:?} is not absolute");
        return Err(WireError::new(ErrorCode::InvalidParams, message));
    }
    let script = Script::parse(command).map_err(|fault| {
        WireError::new(ErrorCode::InvalidRequest, fault.to_string())
            .with_hint("input is the command, such as \"df -h\"")
    })?;
    let plain = script.plain_argv().filter(|argv| is_program(&argv[0]));
    let exec = plain.map_or_else(|| Exec::shell(command, cwd), |argv| Exec::plain(argv, cwd));
    Ok(Action::Exec(Exec {
        stdin: stdin.map(|text| Input::of(text.as_bytes())),
        ..exec
    }))
}

/// Whether it is more than a word of the shell.
fn is_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    name.contains('/') || std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// What would be decided, and nothing else.
async fn dry_run(context: &Context, command: String, action: Action) -> Result<Done, WireError> {
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
        "touches": touched(&command),
    });
    Ok(context.done_with(text, data))
}

/// Files that a command reads or changes, as far as one can know.
fn touched(command: &str) -> Vec<String> {
    let commands = Script::parse(command).map(|script| script.commands);
    let commands = commands.unwrap_or_default();
    let paths = commands.iter().flat_map(touches);
    paths.map(|touch| touch.path.text().to_owned()).collect()
}

/// What is to be done, for people.
pub(super) fn summary(action: &Action) -> String {
    match action {
        Action::Exec(exec) => exec.text(),
        other => json!(other).to_string(),
    }
}

/// Within what a command runs that may be run.
fn confinement(permit: &Permit, settings: &PolicySettings) -> Confinement {
    if permit.is_read_only() {
        Confinement::ReadOnly {
            hidden: vec![settings.audit_dir.clone(), settings.file.clone()],
        }
    } else {
        Confinement::Open
    }
}

/// Asks the gate, and people if the policy wants that.
async fn admit(
    context: &Context,
    session: Option<String>,
    action: Action,
    stream: bool,
) -> Result<Permit, WireError> {
    let worker = context.worker.clone();
    let user = context.user;
    let wanted = action.clone();
    // The record is flushed to the disk, which may take a while.
    let asked = context.act(move || {
        let acting = &worker.shared.acting;
        let request = acting.request(user, session, wanted);
        Ok(acting.gate()?.request(request)?)
    });
    match asked.await? {
        Passage::Granted(permit) => Ok(permit),
        Passage::Asked(waiting, decision) => {
            if stream {
                let line = question(context, &waiting, &action, &decision);
                context.outgoing.send(Line::Approval(line)).await;
            }
            approved(context, waiting, stream).await
        }
    }
}

fn question(
    context: &Context,
    waiting: &Waiting,
    action: &Action,
    decision: &Decision,
) -> Approval {
    let command = summary(action);
    let left = waiting.deadline.saturating_duration_since(Instant::now());
    let text = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Approval {
        action_id: context.action_id.clone(),
        id: waiting.id.as_str().to_owned(),
        touches: touched(&command),
        result: command,
        wanted: json!(action),
        rule: decision.rule.clone(),
        reason: decision.reason.clone(),
        risk: text(json!(decision.risk)),
        wait_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Waits for somebody's yes. A client that leaves takes its question back.
async fn approved(context: &Context, waiting: Waiting, stream: bool) -> Result<Permit, WireError> {
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut quiet = Instant::now();
    let approved = loop {
        tokio::select! {
            _ = look.tick() => {}
            () = context.told_to_stop() => return Err(context.stop_error()),
        }
        if let Some(answer) = waiting.poll(Instant::now()) {
            break answer.map_err(|fault| errors::from_approval(&fault))?;
        }
        if stream && quiet.elapsed() >= HEARTBEAT {
            quiet = Instant::now();
            context.alive(Phase::Queued).await;
        }
    };
    let worker = context.worker.clone();
    let entered = context.act(move || {
        let gate = worker.shared.acting.gate()?;
        let now = jiff::Zoned::now().datetime();
        Ok(gate.enter(approved, now)?)
    });
    entered.await
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
        let mut running = tokio::task::spawn_blocking(move || {
            let _place = place;
            run(permit, &how, Some(&stopping), &mut |piece| {
                speaker.say(&piece.text);
                if piece.ends_line {
                    speaker.say("\n");
                }
                ControlFlow::Continue(())
            })
        });
        let mut quiet = tokio::time::interval(HEARTBEAT);
        quiet.reset();
        let ended = loop {
            tokio::select! {
                text = listener.next() => {
                    quiet.reset();
                    self.heard(&text).await;
                }
                ended = &mut running => break ended.map_err(|_| super::panicked("the command"))?,
                () = self.context.told_to_stop(), if !stop.is_stopped() => stop.stop(),
                _ = quiet.tick(), if self.stream => self.context.alive(Phase::Running).await,
            }
        };
        self.heard(&listener.rest()).await;
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
        let line = ShellLine {
            action_id: self.context.action_id.clone(),
            input: self.command.clone(),
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
        if ended.cut && self.stream {
            let text = format!(
                "{} bytes of output; output_bytes_max are shown",
                ended.bytes
            );
            self.context
                .outgoing
                .send(Line::Warning(Warning {
                    action_id: self.context.action_id.clone(),
                    result: text,
                }))
                .await;
        }
        self.tell(ShellEvent::End { code }, format!("[exit {code}]"))
            .await;
        let status = match ended.why {
            Why::Finished => Status::Done,
            Why::Stopped => Status::Stopped,
            Why::TimedOut | Why::OutputLimit => Status::Error,
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
