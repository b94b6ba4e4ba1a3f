//! `incidents`: what was found, listed, shown, and closed by people.

use std::sync::Arc;

use fazai_memory::{Entry, Kind};
use fazai_protocol::{Call, Done, ErrorCode, IncidentsParams, WireError};
use serde_json::{Value, json};

use super::subscribe::Filter;
use super::{Context, kb};
use crate::errors;
use crate::memory;
use crate::watching::WatchFault;
use crate::watching::record::{Closed, Record};

/// Incidents of one list, if nothing else is wished.
const LIST: u64 = 100;

/// The longest list.
const LIST_MAX: u64 = 1_000;

/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 2_000;

pub(super) async fn answer(context: &Context, call: &Call<IncidentsParams>) -> Done {
    let words: Vec<&str> = call.input.split_whitespace().collect();
    let params = &call.params;
    let answer = match words[..] {
        [] | ["list"] => list(context, params).await,
        ["show", id] => show(context, id).await,
        ["close", id] => close(context, id, params).await,
        _ => {
            let error = WireError::new(ErrorCode::InvalidRequest, "that is not understood");
            Err(error.with_hint("input is list, show ID or close ID"))
        }
    };
    answer.unwrap_or_else(|error| context.fail(error))
}

async fn list(context: &Context, params: &IncidentsParams) -> Result<Done, WireError> {
    let filter = Filter::new(params.min_severity, params.category.as_deref())?;
    let limit = params.limit.unwrap_or(LIST);
    if !(1..=LIST_MAX).contains(&limit) {
        let message = format!("params.limit is 1 to {LIST_MAX}");
        return Err(WireError::new(ErrorCode::InvalidParams, message));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let all = params.all;
    let records = context.watching(move |pipeline| {
        let store = pipeline.kept.store();
        let wanted = store
            .all()
            .filter(|record| (all || record.closed.is_none()) && filter.fits(record));
        Ok(wanted.take(limit).cloned().collect::<Vec<Arc<Record>>>())
    });
    let records = records.await?;
    let lines = records.iter().map(|record| {
        let closed = record.closed.as_ref().map_or("", |closed| {
            if closed.false_positive {
                " [false positive]"
            } else {
                " [closed]"
            }
        });
        format!("{}\t{}{closed}", record.id, record.line())
    });
    let text: Vec<String> = lines.collect();
    let rows: Vec<Value> = records.iter().map(|record| record.row()).collect();
    Ok(context.done_with(text.join("\n"), json!({ "incidents": rows })))
}

/// The number of an incident.
pub(super) fn id(text: &str) -> Result<u64, WireError> {
    text.parse().map_err(|_| {
        let head = &text[..text.floor_char_boundary(64)];
        let message = format!("{head:?} is no number of an incident");
        WireError::new(ErrorCode::InvalidRequest, message)
    })
}

async fn find(context: &Context, text: &str) -> Result<Arc<Record>, WireError> {
    let id = id(text)?;
    let found = context.watching(move |pipeline| {
        let found = pipeline.kept.store().get(id);
        found.ok_or(WatchFault::NotFound(id))
    });
    found.await
}

async fn show(context: &Context, text: &str) -> Result<Done, WireError> {
    let record = find(context, text).await?;
    let data = record.data(context.user.administers());
    Ok(context.done_with(record.line(), data))
}

async fn close(context: &Context, text: &str, params: &IncidentsParams) -> Result<Done, WireError> {
    context.administers("close incidents", "use sudo")?;
    let note = params.note.clone().unwrap_or_default();
    if note.len() > NOTE_BYTES_MAX {
        let message = format!("params.note has at most {NOTE_BYTES_MAX} bytes");
        return Err(WireError::new(ErrorCode::InvalidParams, message));
    }
    let record = find(context, text).await?;
    let closed = Closed {
        by: context.user.to_string(),
        time: super::timestamp(),
        false_positive: params.false_positive,
        note,
    };
    let (kept, ending) = (Arc::clone(&record), closed.clone());
    let blocks = context.watching(move |pipeline| {
        let written = pipeline.kept.store().close(&kept, ending);
        // What can't be written down has not happened.
        written.map_err(WatchFault::not_kept)?;
        let id = kept.id.to_string();
        let blocks = pipeline.kept.blocks.list().into_iter();
        Ok(blocks.filter(|block| block.incident == id).count())
    });
    let blocks = blocks.await?;
    let remembered = if closed.false_positive {
        remember(context, &record, &closed).await
    } else {
        None
    };
    let mut result = if closed.false_positive {
        format!(
            "{} is closed as a false positive; what is like it is only told",
            record.id
        )
    } else {
        format!("{} is closed", record.id)
    };
    if blocks > 0 {
        result += &format!("; `blocks undo {}` ends {blocks} blocks of it", record.id);
    }
    let data = json!({
        "id": record.id, "closed": closed, "remembered": remembered, "blocks": blocks,
    });
    Ok(context.done_with(result, data))
}

/// Puts a false positive into the memory, if the policy allows that.
async fn remember(context: &Context, record: &Record, closed: &Closed) -> Option<Value> {
    let namespace = match memory::namespace(context.user, true) {
        Ok(namespace) => namespace,
        Err(fault) => {
            let error = errors::from_memory(&fault.into());
            context
                .warn(true, format!("it is not remembered: {error}"))
                .await;
            return None;
        }
    };
    let rules: Vec<&str> = record.signatures().collect();
    let entry = Entry {
        title: format!("false positive: {} {}", record.category, record.who()),
        problem: Some(format!("{}; {}", record.line(), rules.join(", "))),
        solution: Some(if closed.note.is_empty() {
            "A person called it a false positive.".to_owned()
        } else {
            closed.note.clone()
        }),
        tags: vec!["incident".to_owned(), "false-positive".to_owned()],
        source: format!("incident {}", record.id),
        ..Entry::new(namespace, Kind::Problem, String::new())
    };
    match kb::keep(context, entry).await {
        Ok(committed) => Some(json!(committed)),
        Err(error) => {
            context
                .warn(true, format!("it is not remembered: {error}"))
                .await;
            None
        }
    }
}
