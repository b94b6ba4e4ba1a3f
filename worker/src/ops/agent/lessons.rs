//! What a run leaves behind in the memory: what was wanted, what worked, what did not; and whether
//! what its plans had been made with helped.

use fazai_memory::{Collection, Entry, Id, Kind, Memory, MemoryError};
use fazai_protocol::StepState;
use fazai_tools::Outcome;
use serde_json::Value;
use tracing::debug;

use super::super::Context;
use crate::memory;
use crate::runs::Kept;

/// What is kept of a wish as the title of a record, in bytes.
const TITLE_BYTES_MAX: usize = 200;

/// The records among the passages that a plan was made with.
pub(super) fn ids(planned: Option<&Value>) -> Vec<Id> {
    let passages = planned.and_then(|data| data["passages"].as_array());
    let passages = passages.into_iter().flatten();
    passages
        .filter_map(|passage| passage["id"].as_str()?.parse().ok())
        .collect()
}

/// Writes it down as far as the policy allows without asking: the answer does not depend on it.
pub(super) async fn learn(context: &Context, kept: &Kept, read: &[Id]) {
    let settings = context.worker.settings();
    if !settings.memory.learn || kept.steps.is_empty() {
        return;
    }
    let Ok(namespace) = memory::namespace(context.user, false) else {
        return;
    };
    let (success, text, solution) = lesson(kept);
    let end = kept.wish.floor_char_boundary(TITLE_BYTES_MAX);
    let entry = Entry {
        title: kept.wish[..end].to_owned(),
        problem: Some(kept.wish.clone()),
        solution,
        tags: vec!["run".to_owned()],
        source: format!("run {}", kept.id),
        action: "run".to_owned(),
        ..Entry::new(namespace, Kind::Problem, text)
    };
    let write = memory::write(Collection::Knowledge);
    let (worker, user, read) = (context.worker.clone(), context.user, read.to_vec());
    let learned = context.remember(move |memory| {
        let permit = match worker.shared.acting.permit_without_asking(user, write) {
            Ok(permit) => permit,
            Err(fault) => {
                debug!(%fault, "nothing is learned from a run");
                return Ok(());
            }
        };
        let done = commit(memory, entry, &memory::filter(user)?, &read, success);
        permit.finish(Outcome::of(&done))?;
        Ok(done?)
    });
    if let Err(error) = learned.await {
        debug!(%error, "nothing is learned from a run");
    }
}

fn commit(
    memory: &Memory,
    entry: Entry,
    filter: &fazai_memory::Filter,
    read: &[Id],
    success: bool,
) -> Result<(), MemoryError> {
    memory.commit(entry)?;
    for id in read {
        match memory.mark(filter, *id, success) {
            // Somebody removed it meanwhile, or it is everybody's.
            Ok(_) | Err(MemoryError::NotFound(_)) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

/// Whether all went well, what happened in words, and the commands that worked.
fn lesson(kept: &Kept) -> (bool, String, Option<String>) {
    let worked: Vec<&str> = kept
        .steps
        .iter()
        .filter(|step| step.state == StepState::Done)
        .map(|step| step.what.as_str())
        .collect();
    let failed: Vec<String> = kept
        .steps
        .iter()
        .filter(|step| step.state != StepState::Done)
        .map(|step| format!("{} ({})", step.what, state(step.state)))
        .collect();
    let mut text = format!("Wanted: {}", kept.wish);
    if !worked.is_empty() {
        text.push_str("\nWorked:\n");
        text.push_str(&worked.join("\n"));
    }
    if !failed.is_empty() {
        text.push_str("\nDid not work:\n");
        text.push_str(&failed.join("\n"));
    }
    let solution = (!worked.is_empty()).then(|| worked.join("\n"));
    (failed.is_empty(), text, solution)
}

fn state(state: StepState) -> &'static str {
    match state {
        StepState::Running | StepState::Unknown => "interrupted",
        StepState::Done => "done",
        StepState::Failed => "failed",
        StepState::Denied => "not allowed",
        StepState::Unavailable => "no such tool",
    }
}
