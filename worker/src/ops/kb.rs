//! `commitKB` and `kb`: what is added to the knowledge, shown, removed and counted.

mod add;
mod follow;
mod journal;
mod keep;

use std::path::{Path, PathBuf};

use fazai_memory::{Collection, Commit, Committed, Entry, Id, Kind};
use fazai_protocol::{Call, CommitParams, Done, ErrorCode, KbCall, WireError};
use fazai_tools::Outcome;
use serde_json::json;

use super::Context;
use super::admit::admit;
use crate::errors;
use crate::memory;

/// `commitKB`: one text, or a problem and what solved it.
pub(super) async fn commit(context: &Context, call: Call<CommitParams>) -> Done {
    let committed = add(context, call).await;
    committed.unwrap_or_else(|error| context.fail(error))
}

async fn add(context: &Context, call: Call<CommitParams>) -> Result<Done, WireError> {
    let params = call.params;
    check_shared(context, params.shared)?;
    let _quota = context.quota()?;
    let kind = if params.problem.is_some() {
        Kind::Problem
    } else {
        Kind::Note
    };
    let namespace = memory::namespace(context.user, params.shared);
    let namespace = namespace.map_err(|fault| errors::from_memory(&fault.into()))?;
    let entry = Entry {
        title: params.title.unwrap_or_default(),
        problem: params.problem,
        solution: params.solution,
        tags: params.tags,
        source: params.source.unwrap_or_default(),
        distro: params.distro,
        ..Entry::new(namespace, kind, call.input)
    };
    let commit = keep(context, entry).await?;
    let (word, id) = match commit.committed {
        Committed::Added(id) => ("remembered", id),
        Committed::Same(id) => ("known already", id),
        Committed::Near(id) => ("something that says the same is known", id),
    };
    let mut text = format!("{word}: {id}");
    if let Some(near) = commit.near {
        text += &format!("\nsomething almost the same is kept as well: {near}");
    }
    if let Some(warning) = &commit.warning {
        context.warn(true, warning.to_string()).await;
    }
    let data = json!({ "id": id, "result": commit });
    Ok(context.done_with(text, data))
}

/// Puts something into the knowledge, past the gate.
pub(super) async fn keep(context: &Context, entry: Entry) -> Result<Commit, WireError> {
    let permit = admit(context, None, memory::write(Collection::Knowledge), true).await?;
    let committed = context.remember(move |memory| {
        let committed = memory.commit(entry);
        permit.finish(Outcome::of(&committed))?;
        Ok(committed?)
    });
    committed.await
}

/// What everybody finds is for administrators to add.
fn check_shared(context: &Context, shared: bool) -> Result<(), WireError> {
    if !shared {
        return Ok(());
    }
    let what = "add to what everybody finds";
    context.administers(what, "leave `shared` out, or use sudo")
}

/// `kb`: files are added, records shown, removed and counted.
pub(super) async fn answer(context: &Context, call: KbCall) -> Done {
    let words: Vec<&str> = call.input.splitn(2, char::is_whitespace).collect();
    if call.params.days.is_some() && words.first() != Some(&"journal") {
        let message = "params.days is for `journal`: files have no days";
        return context.fail(WireError::new(ErrorCode::InvalidParams, message));
    }
    let answer = match words[..] {
        ["stats"] | [""] => stats(context).await,
        ["add", "-"] => add::text(context, &call).await,
        ["add", path] => add::files(context, path, &call).await,
        ["journal"] => journal::read(context, None, &call).await,
        ["journal", unit] => journal::read(context, Some(unit), &call).await,
        ["watch", path] => follow::follow(context, path, &call).await,
        ["show", id] => show(context, id).await,
        ["rm", id] => remove(context, id).await,
        ["episodes"] => keep::episodes(context).await,
        ["episodes", day] => keep::episode(context, day).await,
        ["gc"] => keep::gc(context).await,
        ["embed"] => keep::embed(context).await,
        ["export"] => keep::export(context, None).await,
        ["export", path] => keep::export(context, Some(path)).await,
        ["import", path] => keep::import(context, path).await,
        ["migrate", "to server"] => keep::migrate(context, true).await,
        ["migrate", "to directory"] => keep::migrate(context, false).await,
        _ => {
            let head = &call.input[..call.input.floor_char_boundary(64)];
            let message = format!("{head:?} is not understood");
            let error = WireError::new(ErrorCode::InvalidRequest, message);
            Err(error.with_hint(
                "input is stats, add PATH, add -, watch PATH, journal [UNIT], show ID, rm ID, episodes [DAY], gc, embed, export, export PATH, import PATH, \
                 migrate to server or migrate to directory",
            ))
        }
    };
    answer.unwrap_or_else(|error| context.fail(error))
}

async fn stats(context: &Context) -> Result<Done, WireError> {
    let user = context.user;
    let stats = context.remember(move |memory| {
        let seen = memory::filter(user)?.namespaces;
        let all = match user.administers() {
            true => Some(memory.stats(Collection::Knowledge)?),
            false => None,
        };
        Ok((memory.stats_of(Collection::Knowledge, &seen)?, all))
    });
    let (stats, all) = stats.await?;
    let mut text = format!("{} records, {} bytes", stats.records, stats.bytes);
    let mut data = json!(stats);
    // Whoever cleans up has to know how much there is of others.
    if let Some(all) = all {
        text += &format!(
            "; of all users {} records, {} bytes",
            all.records, all.bytes
        );
        data["all"] = json!(all);
    }
    Ok(context.done_with(text, data))
}

fn id(text: &str) -> Result<Id, WireError> {
    let parsed = text.trim().parse::<Id>();
    parsed.map_err(|fault| errors::from_memory(&fault.into()))
}

async fn show(context: &Context, text: &str) -> Result<Done, WireError> {
    let (id, user) = (id(text)?, context.user);
    let record = context.remember(move |memory| Ok(memory.get(&memory::filter(user)?, id)?));
    let record = record.await?;
    let text = record.payload.text.clone();
    Ok(context.done_with(text, json!(record)))
}

async fn remove(context: &Context, text: &str) -> Result<Done, WireError> {
    let (id, user) = (id(text)?, context.user);
    let permit = admit(context, None, memory::write(Collection::Knowledge), true).await?;
    context
        .remember(move |memory| {
            let mut filter = memory::filter(user)?;
            if !user.administers() {
                // What is everybody's stays.
                filter.namespaces.truncate(1);
            }
            let removed = memory.remove(&filter, id);
            permit.finish(Outcome::of(&removed))?;
            Ok(removed?)
        })
        .await?;
    Ok(context.done(Some("removed".to_owned())))
}

fn absolute(path: &str) -> Result<PathBuf, WireError> {
    let path = Path::new(path);
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let message = format!("{} is not absolute", path.display());
    Err(WireError::new(ErrorCode::InvalidParams, message))
}
