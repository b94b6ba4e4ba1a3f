//! The memory as a whole: cleaned up, written to a file, read from one, moved between stores.
//! It holds what is everybody's, so that these are for administrators.

use std::fs::OpenOptions;
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use fazai_memory::episodes::{EpisodeDay, Episodes};
use fazai_memory::portable::Vectors;
use fazai_memory::{Collection, Memory, MemoryError};
use fazai_protocol::{Done, ErrorCode, WireError};
use fazai_tools::{Action, Outcome};
use jiff::civil::Date;
use rustix::fs::OFlags;
use serde_json::{Value, json};

use super::super::Context;
use super::super::admit::admit;
use super::absolute;
use super::add::{instead, rule_for};
use crate::episodes::EpisodeFault;
use crate::errors;
use crate::memory::{self, MemoryFault};
use crate::worker::Shared;

/// How much of a day is told, from its end.
const DAY_TOLD_BYTES_MAX: usize = 1 << 20;

/// Removes what is over, and what was of least use if there is too much.
pub(super) async fn gc(context: &Context) -> Result<Done, WireError> {
    check(context)?;
    let settings = context.worker.settings();
    let (high, low) = (settings.memory.bytes_high, settings.memory.bytes_low);
    let report = work(
        context,
        [memory::write(Collection::Knowledge)],
        move |memory| Ok(memory.gc(high, low)?),
    )
    .await?;
    let mut text = format!(
        "{} were over, {} of least use removed, {} bytes are left",
        report.expired, report.evicted, report.bytes
    );
    let mut data = json!(report);
    let recorded = record(context, |shared| shared.episodes.gc(shared)).await?;
    if let Some(days) = recorded {
        text += &format!(
            "; of the episodes {} days were over, {} were too many, {} bytes are left",
            days.expired, days.evicted, days.bytes
        );
        data["episodes"] = json!(days);
    }
    Ok(context.done_with(text, data))
}

/// Does something with the record of days, on a thread that may wait.
async fn record<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce(&Shared) -> Result<T, EpisodeFault> + Send + 'static,
) -> Result<T, WireError> {
    let shared = Arc::clone(&context.worker.shared);
    let done = tokio::task::spawn_blocking(move || work(&shared)).await;
    let done = done.map_err(|_| super::super::panicked("the record of days"))?;
    done.map_err(|fault| errors::from_episodes(&fault))
}

/// Which days there is a record of. It says what all users asked.
pub(super) async fn episodes(context: &Context) -> Result<Done, WireError> {
    check(context)?;
    let days = record(context, |shared| shared.episodes.with(Episodes::days)).await?;
    let line = |day: &EpisodeDay| format!("{}  {} bytes\n", day.day, day.bytes);
    let text: String = days.iter().map(line).collect();
    Ok(context.done_with(text, json!({ "days": days })))
}

/// The last lines of a day.
pub(super) async fn episode(context: &Context, day: &str) -> Result<Done, WireError> {
    check(context)?;
    let day = day.trim();
    let date: Date = day.parse().map_err(|_| {
        let head = &day[..day.floor_char_boundary(64)];
        let message = format!("{head:?} is no day; one is written 2026-06-01");
        WireError::new(ErrorCode::InvalidParams, message)
    })?;
    let text = record(context, move |shared| {
        shared.episodes.with(|kept| kept.read(date))
    })
    .await?;
    let text = text.ok_or_else(|| {
        let message = format!("there is no record of {date}");
        WireError::new(ErrorCode::MemoryNotFound, message)
            .with_hint("`fazai memory episodes` shows which days there are")
    })?;
    let from = text.ceil_char_boundary(text.len().saturating_sub(DAY_TOLD_BYTES_MAX));
    // From the beginning of a line on.
    let from = match from {
        0 => 0,
        from => text[from..]
            .find('\n')
            .map_or(text.len(), |end| from + end + 1),
    };
    let lines = text[from..].lines();
    let lines: Vec<Value> = lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let data = json!({ "day": date, "cut": from > 0, "episodes": lines });
    Ok(context.done_with(&text[from..], data))
}

/// Vectors for the records that have none: what was added without an embedding model.
pub(super) async fn embed(context: &Context) -> Result<Done, WireError> {
    check(context)?;
    let stopped = context.stopped.clone();
    let embedded = work(
        context,
        [memory::write(Collection::Knowledge)],
        move |memory| {
            if memory.embedder_name().is_none() {
                let why = "there is no embedding model: see embedding_model in the settings";
                return Err(MemoryFault::Settings(why.to_owned()));
            }
            Ok(memory.embed_missing(&|_| !stopped.is_cancelled())?)
        },
    );
    let embedded = embedded.await?;
    let text = format!("{embedded} records are found by meaning now too");
    Ok(context.done_with(text, json!({ "records": embedded })))
}

/// Everything as lines of JSON, into a file that is not there yet: one beside the memory, or one
/// elsewhere, if the policy allows to write that.
pub(super) async fn export(context: &Context, path: Option<&str>) -> Result<Done, WireError> {
    check(context)?;
    let own = context.worker.settings().memory.dir.join(own_name());
    let path = path.map_or(Ok(own), absolute)?;
    let data = json!({ "path": path });
    let (action, hint) = (write_file(context, &path), export_hint(&path));
    let records = work(context, action, move |memory| {
        let dir = path.parent().unwrap_or(Path::new("/"));
        // Under its name it is whole. If it is not finished, it goes.
        let file = tempfile::NamedTempFile::new_in(dir).map_err(at(dir))?;
        let mut out = BufWriter::new(file);
        let records = memory.export(&mut out)?;
        let synced = out
            .flush()
            .and_then(|()| out.get_ref().as_file().sync_all());
        synced.map_err(at(&path))?;
        let file = out
            .into_inner()
            .map_err(|fault| at(&path)(fault.into_error()))?;
        let named = file.persist_noclobber(&path);
        named.map_err(|fault| at(&path)(fault.error))?;
        Ok(records)
    });
    let records = records.await.map_err(|error| instead(error, hint))?;
    let text = format!(
        "{records} records in {}",
        data["path"].as_str().unwrap_or_default()
    );
    Ok(context.done_with(text, json!({ "records": records, "path": data["path"] })))
}

fn own_name() -> String {
    format!(
        "export-{}.ndjson",
        jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ")
    )
}

/// What is beside the memory is the worker's own.
fn is_own(context: &Context, path: &Path) -> bool {
    let dir = &context.worker.settings().memory.dir;
    path.parent() == Some(dir)
        && path
            .extension()
            .is_some_and(|extension| extension == "ndjson")
}

fn write_file(context: &Context, path: &Path) -> Vec<Action> {
    let action = Action::write_file(path);
    Some(action)
        .filter(|_| !is_own(context, path))
        .into_iter()
        .collect()
}

/// An export, added to what is there. Its vectors are computed anew if an embedding model is in
/// use, which may be another one than theirs.
pub(super) async fn import(context: &Context, path: &str) -> Result<Done, WireError> {
    check(context)?;
    let path = absolute(path)?;
    let read = Action::ReadFile { path: path.clone() };
    let read = Some(read).filter(|_| !is_own(context, &path));
    let actions = read
        .into_iter()
        .chain([memory::write(Collection::Knowledge)]);
    let hint = import_hint(context, &path);
    let records = work(context, actions, move |memory| {
        let unreadable = |why: String| MemoryError::Ingest {
            path: path.clone(),
            why,
        };
        // A pipe would be waited for, and is none.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(&path)
            .map_err(|fault| unreadable(fault.to_string()))?;
        if !file.metadata().map_err(at(&path))?.is_file() {
            let why = "it is no file; an export is one, NAME.ndjson";
            return Err(unreadable(why.to_owned()).into());
        }
        let vectors = match memory.embedder_name() {
            Some(_) => Vectors::Recompute,
            None => Vectors::Keep,
        };
        Ok(memory.import(&mut BufReader::new(file), vectors)?)
    });
    let records = records.await.map_err(|error| instead(error, hint))?;
    Ok(context.done_with(format!("{records} records"), json!({ "records": records })))
}

fn export_hint(path: &Path) -> String {
    let path = path.display().to_string();
    let rule = rule_for("write_file", &path);
    format!(
        "`fazai memory export` alone writes beside the memory and says where: copy it from there; or {rule}"
    )
}

fn import_hint(context: &Context, path: &Path) -> String {
    let dir = &context.worker.settings().memory.dir;
    let rule = rule_for("read_file", &path.display().to_string());
    format!(
        "copy it beside the memory, `cp {} {}/import.ndjson`, and import that; or {rule}",
        path.display(),
        dir.display()
    )
}

/// Copies all records from the directory to the server that the settings name, or back.
pub(super) async fn migrate(context: &Context, to_server: bool) -> Result<Done, WireError> {
    check(context)?;
    let worker = context.worker.clone();
    let stores = move || worker.shared.memory.stores();
    let copied = work(
        context,
        [memory::write(Collection::Knowledge)],
        move |memory| {
            let [directory, server] = stores()?;
            let (from, to) = if to_server {
                (directory, server)
            } else {
                (server, directory)
            };
            let copied = fazai_memory::portable::migrate(&*from, &*to)?;
            memory.refresh()?;
            Ok(copied)
        },
    );
    let copied = copied.await?;
    Ok(context.done_with(format!("{copied} records"), json!({ "records": copied })))
}

/// Something with the whole memory, past the gate.
async fn work<T: Send + 'static>(
    context: &Context,
    actions: impl IntoIterator<Item = Action>,
    work: impl FnOnce(&Memory) -> Result<T, MemoryFault> + Send + 'static,
) -> Result<T, WireError> {
    let _quota = context.quota()?;
    let mut permits = Vec::new();
    for action in actions {
        permits.push(admit(context, None, action, true).await?);
    }
    let done = context.remember(move |memory| {
        let done = work(memory);
        for permit in permits {
            permit.finish(Outcome::of(&done))?;
        }
        Ok(done?)
    });
    done.await
}

fn check(context: &Context) -> Result<(), WireError> {
    context.administers("do this to the whole memory", "use sudo")
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> MemoryError + use<'_> {
    move |source| MemoryError::Io {
        path: path.to_owned(),
        source,
    }
}
