//! `plan`: what would be done, as steps that are judged by the policy. Nothing is run.

use fazai_models::tasks::PLAN;
use fazai_protocol::{Ask, AskParams, Done, ErrorCode, PlanCall, Source, Status, WireError};
use fazai_tools::{Action, Decision, Risk, Verdict};
use serde_json::{Value, json};

use super::{Context, ask};
use crate::acting::Acting;
use crate::live::User;
use crate::policy::PolicyFault;

/// A plan of six steps fits.
const PLAN_TOKENS_MAX: u32 = 1_024;

pub(super) async fn answer(context: &Context, call: PlanCall) -> Done {
    let ask = match request(call) {
        Ok(ask) => ask,
        Err(error) => return context.fail(error),
    };
    let done = ask::answer(context, ask).await;
    let finished = done.error.is_none() && done.metadata.status == Status::Done;
    if !finished {
        return done;
    }
    let text = done.result.as_deref().unwrap_or_default();
    match judge(context, text).await {
        Ok(steps) => Done {
            data: Some(json!({ "type": "plan", "steps": steps })),
            ..done
        },
        Err(error) => Done {
            metadata: Status::Error.into(),
            source: Source::Error,
            error: Some(error),
            ..done
        },
    }
}

/// The question to the model: the same for every one, and constrained to the shape of a plan.
fn request(call: PlanCall) -> Result<Ask, WireError> {
    let schema = PLAN.schema.map(serde_json::from_str).transpose();
    let schema = schema.map_err(|fault| {
        WireError::new(ErrorCode::Internal, format!("the schema of plans: {fault}"))
    })?;
    Ok(Ask {
        model: call.model,
        stream: call.stream,
        params: AskParams {
            system: PLAN.prompt.map(str::to_owned),
            json_schema: schema,
            temperature: Some(0.0),
            max_tokens: Some(PLAN_TOKENS_MAX),
            prompt_name: Some("plan".to_owned()),
            priority: call.params.priority,
            deadline_ms: call.params.deadline_ms,
            ..AskParams::default()
        },
        ..Ask::new(call.input)
    })
}

/// The steps as the model wrote them, each with what the policy says about it.
async fn judge(context: &Context, text: &str) -> Result<Vec<Value>, WireError> {
    let plan: Value = serde_json::from_str(text).map_err(|_| {
        WireError::new(ErrorCode::PlanFailed, "the model wrote no whole plan")
            .with_hint("ask for less at once, or use a larger model")
    })?;
    let steps = plan["steps"].as_array().cloned().unwrap_or_default();
    let (worker, user) = (context.worker.clone(), context.user);
    // Where paths lead is looked up on the disk.
    let judged = context.act(move || {
        let acting = &worker.shared.acting;
        let judged = steps.into_iter().map(|step| judge_step(acting, user, step));
        Ok(judged.collect::<Result<Vec<Value>, PolicyFault>>()?)
    });
    judged.await
}

fn judge_step(acting: &Acting, user: User, mut step: Value) -> Result<Value, PolicyFault> {
    let Some(command) = step["command"].as_str() else {
        step["available"] = json!(false);
        return Ok(step);
    };
    let decision = acting.decide(user, &Action::shell(command, "/"))?;
    step["riskLevel"] = json!(worse(&step["riskLevel"], &decision));
    step["requiresConfirmation"] = json!(decision.verdict == Verdict::Ask);
    step["decision"] = json!(decision);
    Ok(step)
}

/// The model may think too little of a risk, and so may the policy.
fn worse(written: &Value, decision: &Decision) -> Risk {
    let written: Option<Risk> = serde_json::from_value(written.clone()).ok();
    written.map_or(decision.risk, |risk| risk.max(decision.risk))
}
