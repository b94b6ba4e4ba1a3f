//! `approve` and `approvals`: questions to people, and their answers.

use std::time::Instant;

use fazai_protocol::{ApprovalDecision, ApproveParams, Call, Done, ErrorCode, WireError};
use fazai_tools::{ApprovalId, Choice, Pending};
use serde_json::{Value, json};

use super::Context;
use super::shell::summary;
use crate::{acting, errors};

pub(super) fn answer(context: &Context, call: Call<ApproveParams>) -> Done {
    decide(context, call).unwrap_or_else(|error| context.fail(error))
}

fn decide(context: &Context, call: Call<ApproveParams>) -> Result<Done, WireError> {
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
    let by = acting::caller(context.user);
    let reason = call.params.reason.unwrap_or_default();
    let Some(gate) = context.worker.shared.acting.open_gate() else {
        let message = format!("no question has the id {:?}", id.as_str());
        return Err(WireError::new(ErrorCode::ApprovalNotFound, message));
    };
    let answered = gate
        .approvals()
        .answer(&id, &by, choice, &reason, Instant::now());
    answered.map_err(|fault| errors::from_approval(&fault))?;
    let result = match choice {
        Choice::Deny => "denied",
        Choice::Once | Choice::Session => "approved",
    };
    Ok(context.done(Some(result.to_owned())))
}

/// The questions that this user may answer, or asked.
pub(super) fn list(context: &Context) -> Done {
    let now = Instant::now();
    let gate = context.worker.shared.acting.open_gate();
    let pending = gate.map_or_else(Vec::new, |gate| gate.approvals().pending(now));
    let caller = acting::caller(context.user);
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
        "decision": question.decision,
        "wait_ms": u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
    })
}
