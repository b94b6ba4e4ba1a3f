//! `approve` and `approvals`: questions to people, and their answers.

use std::time::Instant;

use fazai_protocol::{ApprovalDecision, ApproveParams, Call, Done, ErrorCode, WireError};
use fazai_tools::{ApprovalError, ApprovalId, Choice, GateError, Pending};
use serde_json::{Value, json};

use super::Context;
use super::admit::summary;
use crate::acting;

pub(super) async fn answer(context: &Context, call: Call<ApproveParams>) -> Done {
    let decided = decide(context, call).await;
    decided.unwrap_or_else(|error| context.fail(error))
}

async fn decide(context: &Context, call: Call<ApproveParams>) -> Result<Done, WireError> {
    let choice = match call.params.decision {
        Some(ApprovalDecision::Once) => Choice::Once,
        Some(ApprovalDecision::Session) => Choice::Session,
        Some(ApprovalDecision::Deny) => Choice::Deny,
        None => {
            let error = WireError::new(ErrorCode::InvalidParams, "params.decision is missing");
            return Err(error.with_hint("it is once, session or deny"));
        }
    };
    let id = ApprovalId::from_text(call.input.trim());
    let (worker, user) = (context.worker.clone(), context.user);
    let reason = call.params.reason.unwrap_or_default();
    context
        .act(move || {
            // Without a gate nothing was ever asked.
            let Some(gate) = worker.shared.acting.open_gate() else {
                let unknown = ApprovalError::UnknownId(id.as_str().to_owned());
                return Err(GateError::from(unknown).into());
            };
            Ok(gate.answer(&id, &acting::caller(user), choice, &reason)?)
        })
        .await?;
    let result = match choice {
        Choice::Deny => "denied",
        Choice::Once | Choice::Session => "approved",
    };
    Ok(context.done(Some(result.to_owned())))
}

/// The questions that this user may answer, or asked.
pub(super) async fn list(context: &Context) -> Done {
    let now = Instant::now();
    let (worker, user) = (context.worker.clone(), context.user);
    let asked = context.act(move || {
        let gate = worker.shared.acting.open_gate();
        let pending = gate.map_or_else(Vec::new, |gate| gate.approvals().pending(now));
        Ok((pending, acting::caller(user)))
    });
    let (pending, caller) = match asked.await {
        Ok(found) => found,
        Err(error) => return context.fail(error),
    };
    let mine = pending
        .iter()
        .filter(|one| context.user.administers() || one.question.caller.is_same(&caller));
    let (lines, data): (Vec<String>, Vec<Value>) =
        mine.map(|one| (line(one), describe(one, now))).unzip();
    context.done_with(lines.join("\n"), json!({ "approvals": data }))
}

fn line(pending: &Pending) -> String {
    let question = &pending.question;
    format!(
        "{}\t{}\t{}",
        pending.id.as_str(),
        question.caller,
        summary(&question.action)
    )
}

fn describe(pending: &Pending, now: Instant) -> Value {
    let question = &pending.question;
    let left = pending.deadline.saturating_duration_since(now);
    json!({
        "id": pending.id.as_str(),
        "caller": question.caller.to_string(),
        "wanted": question.action,
        "files": question.seen.files,
        "seen": question.seen.lines(),
        "decision": question.decision,
        "wait_ms": u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
    })
}
