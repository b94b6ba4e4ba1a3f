//! `runs`: the runs of plans, listed, paused, resumed and cancelled.

use fazai_protocol::{Done, ErrorCode, RunsCall, WireError};
use serde_json::{Value, json};

use super::Context;
use super::agent::{self, journaling};
use crate::runs::{Entry, Kept, Order, Stand};

pub(super) async fn answer(context: &Context, call: RunsCall) -> Done {
    let words: Vec<&str> = call.input.split_whitespace().collect();
    let answer = match words[..] {
        [] | ["list"] => list(context).await,
        ["show", id] => show(context, id).await,
        ["pause", id] => order(context, id, Order::Pause).await,
        ["resume", id] => return resume(context, id, call.stream).await,
        ["cancel", id] => cancel(context, id).await,
        _ => Err(unclear(&call.input)),
    };
    answer.unwrap_or_else(|error| context.fail(error))
}

fn unclear(input: &str) -> WireError {
    let head = &input[..input.floor_char_boundary(64)];
    let message = format!("{head:?} is not understood");
    WireError::new(ErrorCode::InvalidRequest, message)
        .with_hint("input is \"list\", or one of show, pause, resume and cancel, with a run's id")
}

/// A run, if it is the user's own, or the user may see all.
async fn find(context: &Context, id: &str) -> Result<Kept, WireError> {
    let (worker, wanted) = (context.worker.clone(), id.to_owned());
    let kept = journaling(move || worker.shared.runs.show(&wanted)).await?;
    if is_theirs(context, &kept) {
        Ok(kept)
    } else {
        let message = format!("there is no run {id:?}");
        Err(WireError::new(ErrorCode::RunNotFound, message))
    }
}

fn is_theirs(context: &Context, kept: &Kept) -> bool {
    context.user.administers() || kept.user == context.user.to_string()
}

async fn list(context: &Context) -> Result<Done, WireError> {
    let worker = context.worker.clone();
    let kept = journaling(move || Ok(worker.shared.runs.list())).await?;
    let theirs = kept.iter().filter(|kept| is_theirs(context, kept));
    let (lines, data): (Vec<String>, Vec<Value>) = theirs
        .map(|kept| {
            let stand = stand(context, kept);
            let line = format!("{}\t{stand}\t{}\t{}", kept.id, kept.time, head(&kept.wish));
            let data = json!({
                "run": kept.id, "stand": stand, "time": kept.time, "user": kept.user,
                "wish": head(&kept.wish), "steps": kept.steps.len(), "left": kept.left.len(),
            });
            (line, data)
        })
        .unzip();
    Ok(context.done_with(lines.join("\n"), json!({ "runs": data })))
}

/// What a list shows of a wish.
fn head(wish: &str) -> String {
    let plain = wish.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(200).collect()
}

/// How it stands, by what is known now.
fn stand(context: &Context, kept: &Kept) -> &'static str {
    match kept.stand {
        _ if let Some(order) = context.worker.shared.runs.ordered(&kept.id) => match order {
            Order::GoOn => "running",
            Order::Pause => "paused",
            Order::Cancel => "ending",
        },
        // Its worker ended.
        Stand::Running => "interrupted",
        Stand::Stopped => "stopped",
        Stand::Done => "done",
        Stand::Limited => "limited",
        Stand::Cancelled => "cancelled",
    }
}

async fn show(context: &Context, id: &str) -> Result<Done, WireError> {
    let mut kept = find(context, id).await?;
    let stand = stand(context, &kept);
    if context.worker.shared.runs.ordered(id).is_none() {
        kept.interrupted();
    }
    let mut data = json!(kept);
    data["stand"] = json!(stand);
    let steps = kept
        .steps
        .iter()
        .map(|step| format!("{:?}\t{}", step.state, step.what));
    let text: Vec<String> = std::iter::once(format!("{}\t{stand}", kept.wish))
        .chain(steps)
        .collect();
    Ok(context.done_with(text.join("\n"), data))
}

async fn order(context: &Context, id: &str, order: Order) -> Result<Done, WireError> {
    find(context, id).await?;
    if !context.worker.shared.runs.order(id, order) {
        let message = format!("run {id} is not going on");
        return Err(WireError::new(ErrorCode::InvalidRequest, message)
            .with_hint("`runs` with input \"list\" shows how each stands"));
    }
    Ok(context.done(Some("told".to_owned())))
}

/// One that is paused goes on where it is; one that was stopped goes on here.
async fn resume(context: &Context, id: &str, stream: bool) -> Done {
    let kept = match find(context, id).await {
        Ok(kept) => kept,
        Err(error) => return context.fail(error),
    };
    if context.worker.shared.runs.order(id, Order::GoOn) {
        return context.done(Some("told".to_owned()));
    }
    if kept.stand.is_over() {
        return context.fail(is_over(id));
    }
    // Its steps are done in the name of whoever resumes it.
    agent::resume(context, id, stream).await
}

async fn cancel(context: &Context, id: &str) -> Result<Done, WireError> {
    find(context, id).await?;
    if context.worker.shared.runs.order(id, Order::Cancel) {
        return Ok(context.done(Some("told".to_owned())));
    }
    let (worker, name) = (context.worker.clone(), id.to_owned());
    let stood = journaling(move || {
        // What it is now: it may have ended since somebody looked.
        let stood = worker.shared.runs.show(&name)?.stand;
        if !stood.is_over() {
            let (mut journal, _live) = worker.shared.runs.resume(&name)?;
            journal.add(Entry::Stand {
                stand: Stand::Cancelled,
            })?;
        }
        Ok(stood)
    });
    match stood.await? {
        Stand::Done | Stand::Limited => Err(is_over(id)),
        Stand::Running | Stand::Stopped | Stand::Cancelled => {
            Ok(context.done(Some("cancelled".to_owned())))
        }
    }
}

fn is_over(id: &str) -> WireError {
    WireError::new(ErrorCode::InvalidRequest, format!("run {id} is over"))
}
