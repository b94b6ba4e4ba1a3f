//! Past the gate: the policy is asked, and people if it wants that.

use std::time::{Duration, Instant};

use fazai_protocol::{Approval, Line, Phase, WireError};
use fazai_tools::{
    Access, Action, Decision, Gate, GateError, Input, Passage, Permit, Request, Script, Waiting,
    files_of,
};
use serde_json::json;

use super::{Context, HEARTBEAT};
use crate::errors;

/// How often a question is looked at for its answer.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Files that an action is known to read or change: `reads PATH`, `writes PATH`.
pub(super) fn touched(action: &Action) -> Vec<String> {
    match action {
        Action::Exec(exec) => {
            let script = Script::from_argv(&exec.argv).unwrap_or_default();
            let line = |(access, path): (Access, String)| match access {
                Access::Write => format!("writes {path}"),
                _ => format!("reads {path}"),
            };
            files_of(&script).into_iter().map(line).collect()
        }
        Action::ReadFile { path } => vec![format!("reads {}", path.display())],
        Action::WriteFile {
            path,
            content,
            mode,
        } => {
            let path = format!("writes {}", path.display());
            let mode = mode.as_ref().map(|mode| format!("sets the mode {mode}"));
            let content = content.as_ref().map(|content| {
                let Input {
                    bytes,
                    sha256,
                    head,
                } = content;
                format!("writes {bytes} bytes, sha256 {sha256}, which begin with {head:?}")
            });
            std::iter::once(path).chain(mode).chain(content).collect()
        }
        _ => Vec::new(),
    }
}

/// What is to be done, for people.
pub(super) fn summary(action: &Action) -> String {
    match action {
        Action::Exec(exec) => exec.text(),
        Action::ReadFile { path } => format!("read {}", path.display()),
        Action::WriteFile { path, .. } => format!("write {}", path.display()),
        Action::Network { host, port } => format!("connect to {host}, port {port}"),
        Action::SendToCloud {
            provider, label, ..
        } => format!("send a text that is {label} to {provider}"),
        Action::CallTool(call) => format!("tool {} {}", call.name, call.input.head),
        Action::InstallPackage { name, exec } => {
            let command = exec.as_ref().map(|exec| format!(": {}", exec.text()));
            format!("install the package {name}{}", command.unwrap_or_default())
        }
        Action::ServiceControl { unit, verb } => format!("{verb} the service {unit}"),
        Action::BlockAddress {
            address,
            prefix,
            ttl_s,
        } => {
            let prefix = prefix.map_or(String::new(), |prefix| format!("/{prefix}"));
            match ttl_s {
                0 => format!("end the block of {address}{prefix}"),
                ttl_s => format!("block {address}{prefix} for {ttl_s} s"),
            }
        }
        other => json!(other).to_string(),
    }
}

/// Asks the gate, and people if the policy wants that.
pub(super) async fn admit(
    context: &Context,
    session: Option<String>,
    action: Action,
    stream: bool,
) -> Result<Permit, WireError> {
    enter(context, session, action, stream, Gate::request).await
}

/// Asks people, whatever the policy allows by itself.
pub(super) async fn admit_by_person(
    context: &Context,
    session: Option<String>,
    action: Action,
    stream: bool,
) -> Result<Permit, WireError> {
    enter(context, session, action, stream, Gate::request_by_person).await
}

async fn enter(
    context: &Context,
    session: Option<String>,
    action: Action,
    stream: bool,
    asking: fn(&Gate, Request) -> Result<Passage, GateError>,
) -> Result<Permit, WireError> {
    let deed = context.deeds.are_wanted().then(|| summary(&action));
    let permit = pass(context, session, action, stream, asking).await?;
    if let Some(deed) = deed {
        context.deeds.did(deed);
    }
    Ok(permit)
}

async fn pass(
    context: &Context,
    session: Option<String>,
    action: Action,
    stream: bool,
    asking: fn(&Gate, Request) -> Result<Passage, GateError>,
) -> Result<Permit, WireError> {
    let worker = context.worker.clone();
    let user = context.user;
    let wanted = action.clone();
    // The record is flushed to the disk, which may take a while.
    let asked = context.act(move || {
        let acting = &worker.shared.acting;
        let request = acting.request(user, session, wanted);
        Ok(asking(&*acting.gate()?, request)?)
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
    let left = waiting.deadline.saturating_duration_since(Instant::now());
    let text = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Approval {
        action_id: context.action_id.clone(),
        id: waiting.id.as_str().to_owned(),
        // What it finds there has to be so as well when it is started.
        touches: touched(action)
            .into_iter()
            .chain(waiting.seen.lines())
            .collect(),
        result: summary(action),
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
