//! `modules`: list, show, load, unload, reload and verify the native modules.

use fazai_modhost::{Command, Entry, Layer, State, User};
use fazai_protocol::{Done, ErrorCode, WireError};
use serde_json::{Value, json};

use super::Context;
use crate::errors;
use crate::modules::{Loaded, Modules, SharedFault, Standing};
use crate::toolbox::tool_name;

pub(super) async fn answer(context: &Context, input: &str) -> Done {
    let _quota = match context.quota() {
        Ok(quota) => quota,
        Err(error) => return context.fail(error),
    };
    let words: Vec<&str> = input.split_whitespace().collect();
    let (verb, name) = match words[..] {
        [] => ("list", None),
        [verb] => (verb, None),
        [verb, name] => (verb, Some(name.to_owned())),
        _ => return context.fail(unclear(input)),
    };
    let answer = match (verb, name) {
        ("list", None) => list(context).await,
        ("show", Some(name)) => show(context, name).await,
        ("verify", Some(name)) => verify(context, name).await,
        ("load", Some(name)) => load(context, name, Modules::load, "load").await,
        ("reload", Some(name)) => load(context, name, Modules::reload, "reload").await,
        ("unload", Some(name)) => unload(context, name).await,
        _ => Err(unclear(input)),
    };
    answer.unwrap_or_else(|error| context.fail(error))
}

fn unclear(input: &str) -> WireError {
    let head = &input[..input.floor_char_boundary(64)];
    let message = format!("{head:?} is not understood");
    WireError::new(ErrorCode::InvalidRequest, message).with_hint(
        "input is \"list\", or one of show, verify, load, unload and reload, with a module's name",
    )
}

/// Asks the modules on a thread that may wait.
async fn with<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce(&Modules) -> Result<T, SharedFault> + Send + 'static,
) -> Result<T, WireError> {
    // Files are read and hashed, and modules started: a few at a time, whoever asks.
    let place = tokio::select! {
        place = context.worker.shared.module_files.acquire() => place,
        () = context.told_to_stop() => return Err(context.stop_error()),
    };
    let _place = place.map_err(|_| context.stop_error())?;
    let done = context.worker.with_modules(work).await;
    let done = done.ok_or_else(|| super::panicked("the module host"))?;
    done.map_err(|fault| errors::from_module(&fault))
}

async fn list(context: &Context) -> Result<Done, WireError> {
    let modules = with(context, |modules| {
        let listed = modules.list()?;
        let brief = |(entry, standing): &(Entry, Standing)| brief(entry, standing);
        Ok(listed.iter().map(brief).collect::<Vec<Value>>())
    })
    .await?;
    let line = |module: &Value| {
        let text = |key: &str| module[key].as_str().unwrap_or_default().to_owned();
        format!(
            "{}\t{}\t{}",
            text("name"),
            text("state"),
            text("description")
        )
    };
    let lines: Vec<String> = modules.iter().map(line).collect();
    Ok(context.done_with(lines.join("\n"), json!({ "modules": modules })))
}

async fn show(context: &Context, name: String) -> Result<Done, WireError> {
    let data = with(context, move |modules| {
        let (entry, standing) = modules.show(&name)?;
        Ok(full(&entry, &standing))
    })
    .await?;
    let text = format!(
        "{} is {}",
        data["name"].as_str().unwrap_or_default(),
        data["state"].as_str().unwrap_or_default()
    );
    Ok(context.done_with(text, data))
}

async fn verify(context: &Context, name: String) -> Result<Done, WireError> {
    let wanted = name.clone();
    let found = with(context, move |modules| Ok(modules.verify(&wanted)?)).await?;
    let data = json!({
        "name": name,
        "path": found.path,
        "sha256": found.sha256,
        "signed": found.signed,
    });
    Ok(context.done_with(format!("{name} may be loaded"), data))
}

type Loading = fn(&Modules, &str) -> Result<std::sync::Arc<Loaded>, SharedFault>;

async fn load(
    context: &Context,
    name: String,
    loading: Loading,
    what: &'static str,
) -> Result<Done, WireError> {
    context.administers(&format!("{what} modules"), "use sudo")?;
    let result = format!("{name} is {what}ed");
    let data = with(context, move |modules| {
        let loaded = loading(modules, &name)?;
        Ok(full(&loaded.facts().entry, &Standing::Loaded(loaded)))
    })
    .await?;
    Ok(context.done_with(result, data))
}

async fn unload(context: &Context, name: String) -> Result<Done, WireError> {
    context.administers("unload modules", "use sudo")?;
    let data = json!({ "name": name });
    let result = format!("{name} is unloaded");
    with(context, move |modules| Ok(modules.unload(&name)?)).await?;
    Ok(context.done_with(result, data))
}

/// A module in a list.
fn brief(entry: &Entry, standing: &Standing) -> Value {
    let mut data = json!({ "name": entry.name, "state": state(standing) });
    match standing {
        Standing::Loaded(loaded) => describe(&mut data, loaded),
        Standing::Failed(fault) => data["problem"] = json!(fault.to_string()),
        Standing::Stored | Standing::Loading | Standing::Unloaded => {}
    }
    data
}

/// Everything about a module.
fn full(entry: &Entry, standing: &Standing) -> Value {
    let mut data = brief(entry, standing);
    data["file"] = json!(entry.file_name());
    data["capabilities"] = json!(entry.capabilities);
    data["users"] = users(entry);
    if let Standing::Loaded(loaded) = standing {
        let module = &loaded.module;
        data["sha256"] = json!(module.checked().sha256);
        let layers = module.report().layers;
        data["sandbox"] = layers
            .iter()
            .map(|layer| (layer.name.clone(), layer_text(layer)))
            .collect();
        data["call_timeout_ms"] = json!(loaded.facts().call_timeout.as_millis());
        data["health"] = match module.health() {
            Ok(answer) => json!({ "good": answer.code == 0, "text": answer.text }),
            Err(failure) => json!({ "good": false, "text": failure.to_string() }),
        };
    }
    data
}

/// Who may call it: numbers and names, or null for whoever may use the worker.
fn users(entry: &Entry) -> Value {
    let one = |user: &User| match user {
        User::Uid(uid) => json!(uid),
        User::Name(name) => json!(name),
    };
    match &entry.users {
        None => Value::Null,
        Some(users) => users.iter().map(one).collect(),
    }
}

fn state(standing: &Standing) -> &'static str {
    match standing {
        Standing::Stored => "stored",
        Standing::Loading => "loading",
        Standing::Loaded(loaded) if loaded.module.status().quarantined => "quarantined",
        Standing::Loaded(_) => "ready",
        Standing::Unloaded => "unloaded",
        Standing::Failed(_) => "refused",
    }
}

fn describe(data: &mut Value, loaded: &Loaded) {
    let status = loaded.module.status();
    data["pid"] = json!(status.pid);
    data["crashes"] = json!(status.crashes);
    let descriptor = loaded.module.descriptor();
    data["abi"] = json!(u32::from(descriptor.is_some()));
    if let Some(known) = descriptor {
        let name = data["name"].as_str().unwrap_or_default().to_owned();
        data["version"] = json!(known.version);
        data["description"] = json!(known.description);
        data["not_granted"] = json!(known.not_granted);
        data["commands"] = known
            .commands
            .iter()
            .map(|command| tool(&name, command))
            .collect();
    }
}

/// A command, under the name that it has among tools.
fn tool(module: &str, command: &Command) -> Value {
    json!({
        "tool": tool_name(module, &command.name),
        "name": command.name,
        "description": command.description,
        "args": command.args,
    })
}

fn layer_text(layer: &Layer) -> Value {
    match &layer.state {
        State::On => json!("on"),
        State::Partly(why) => json!(format!("partly: {why}")),
        State::Off(why) => json!(format!("off: {why}")),
    }
}
