//! The memory as a whole: cleaned up, written to a file, read from one, moved between stores.
//! It holds what is everybody's, so that these are for administrators.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use fazai_memory::portable::Vectors;
use fazai_memory::{Collection, Memory, MemoryError};
use fazai_protocol::{Done, WireError};
use fazai_tools::{Action, Outcome};
use serde_json::json;

use super::super::Context;
use super::super::admit::admit;
use super::absolute;
use crate::memory::{self, MemoryFault};

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
    let text = format!(
        "{} were over, {} of least use removed, {} bytes are left",
        report.expired, report.evicted, report.bytes
    );
    Ok(context.done_with(text, json!(report)))
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
    let records = work(context, write_file(context, &path), move |memory| {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let file = file.map_err(at(&path))?;
        let mut out = BufWriter::new(file);
        let records = memory.export(&mut out)?;
        let synced = out.flush().and_then(|()| out.get_ref().sync_all());
        synced.map_err(at(&path))?;
        Ok(records)
    });
    let records = records.await?;
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
    let action = Action::WriteFile { path: path.into() };
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
    let records = work(context, actions, move |memory| {
        let file = File::open(&path).map_err(at(&path))?;
        let vectors = match memory.embedder_name() {
            Some(_) => Vectors::Recompute,
            None => Vectors::Keep,
        };
        Ok(memory.import(&mut BufReader::new(file), vectors)?)
    });
    let records = records.await?;
    Ok(context.done_with(format!("{records} records"), json!({ "records": records })))
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
