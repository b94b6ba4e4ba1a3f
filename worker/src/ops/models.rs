//! `models`: list what is there, load and unload.

use fazai_models::store::Store;
use fazai_protocol::{Call, Done, ErrorCode, ModelsParams, WireError};
use serde_json::json;

use super::Context;
use super::status::describe_model;
use crate::errors;
use crate::registry::ModelState;

pub(super) async fn answer(context: &Context, call: &Call<ModelsParams>) -> Done {
    let mut words = call.input.split_whitespace();
    let verb = words.next().unwrap_or("list");
    let named = words
        .next()
        .map(str::to_owned)
        .or_else(|| call.model.clone());
    if words.next().is_some() {
        return context.fail(unclear(&call.input));
    }
    let answer = match verb {
        "list" => list(context).await,
        "load" => load(context, named).await,
        "unload" => unload(context, named).await,
        _ => Err(unclear(&call.input)),
    };
    answer.unwrap_or_else(|error| context.fail(error))
}

fn unclear(input: &str) -> WireError {
    let head = &input[..input.floor_char_boundary(64)];
    WireError::new(
        ErrorCode::InvalidRequest,
        format!("{head:?} is not understood"),
    )
    .with_hint("input is \"list\", \"load NAME\" or \"unload NAME\"")
}

async fn list(context: &Context) -> Result<Done, WireError> {
    let dir = context.worker.settings().model.dir.clone();
    let stored = tokio::task::spawn_blocking(move || Store::new(dir).list()).await;
    let stored = stored.map_err(|_| super::panicked("the list"))?;
    let stored = stored.map_err(|fault| errors::from_store(&fault))?;
    let loaded = context.worker.shared.registry.list().await;
    let state = |name: &str| {
        let found = loaded.iter().find(|state| match state {
            ModelState::Loading(loading, _) => loading == name,
            ModelState::Ready(model) => model.name == name,
        });
        match found {
            Some(ModelState::Ready(_)) => "ready",
            Some(ModelState::Loading(..)) => "loading",
            None => "stored",
        }
    };
    let mut models = Vec::new();
    let mut lines = Vec::new();
    for entry in &stored {
        let state = if entry.broken.is_some() {
            "broken"
        } else {
            state(&entry.name)
        };
        lines.push(format!("{}\t{state}", entry.name));
        models.push(json!({
            "name": entry.name,
            "state": state,
            "bytes": entry.bytes,
            "architecture": entry.architecture,
            "parameters": entry.parameters,
            "quantization": entry.quantization,
            "trained_tokens": entry.trained_tokens,
            "problem": entry.broken,
        }));
    }
    // One that was configured by its path is not in the store.
    for state in &loaded {
        if let ModelState::Ready(model) = state
            && stored.iter().all(|entry| entry.name != model.name)
        {
            lines.push(format!("{}\tready", model.name));
            models.push(describe_model(model));
        }
    }
    Ok(context.done_with(lines.join("\n"), json!({ "models": models })))
}

async fn load(context: &Context, name: Option<String>) -> Result<Done, WireError> {
    let model = context.lease(name, true).await?;
    let result = format!("{} is loaded", model.name);
    Ok(context.done_with(result, describe_model(&model)))
}

/// Others may be waiting for it to answer.
async fn unload(context: &Context, name: Option<String>) -> Result<Done, WireError> {
    context.administers("unload models", "use sudo")?;
    let name = context.worker.shared.registry.unload(name).await?;
    let result = format!("{name} is unloaded");
    Ok(context.done_with(result, json!({ "name": name })))
}
