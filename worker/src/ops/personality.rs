//! `personality`: who the answers sound like; listed, shown, chosen, written and removed.

use fazai_memory::{Collection, Personality};
use fazai_protocol::{Call, Done, ErrorCode, PersonalityParams, WireError};
use fazai_tools::Outcome;
use serde_json::{Value, json};

use super::Context;
use super::admit::admit;
use crate::errors;
use crate::memory;

pub(super) async fn answer(context: &Context, call: Call<PersonalityParams>) -> Done {
    let words: Vec<&str> = call.input.split_whitespace().collect();
    let answer = match (&words[..], call.params.toml) {
        ([] | ["list"], None) => list(context).await,
        (["show", name], None) => show(context, name).await,
        (["use", name], None) => choose(context, Some(name)).await,
        (["use"], None) => choose(context, None).await,
        (["write", name], Some(toml)) => write(context, name, &toml).await,
        (["rm", name], None) => remove(context, name).await,
        _ => {
            let message = "that is not understood";
            let error = WireError::new(ErrorCode::InvalidRequest, message);
            Err(error.with_hint(
                "input is \"list\", or one of show, use and rm with a name, or \"write NAME\" \
                 with params.toml",
            ))
        }
    };
    answer.unwrap_or_else(|error| context.fail(error))
}

async fn list(context: &Context) -> Result<Done, WireError> {
    let user = context.user;
    let all = context.remember(move |memory| {
        let own = memory::namespace(user, false)?;
        Ok(memory.personalities(&own)?)
    });
    let all = all.await?;
    let used = context.worker.shared.uses.of(user);
    let is_used = |one: &Personality| used.as_deref() == Some(one.name.as_str());
    let line = |one: &Personality| {
        let mark = if is_used(one) { "*" } else { " " };
        let about = one.system.lines().next().unwrap_or_default();
        format!("{mark} {}\t{about}", one.name)
    };
    let text: Vec<String> = all.iter().map(line).collect();
    let data: Vec<Value> = all
        .iter()
        .map(|one| json!({ "name": one.name, "system": one.system, "used": is_used(one) }))
        .collect();
    Ok(context.done_with(text.join("\n"), json!({ "personalities": data })))
}

/// The personality of this name that the client sees.
pub(super) async fn find(context: &Context, name: &str) -> Result<Personality, WireError> {
    let (user, name) = (context.user, name.to_owned());
    let found = context.remember(move |memory| {
        let own = memory::namespace(user, false)?;
        Ok(memory.personality(&own, &name)?)
    });
    found.await
}

async fn show(context: &Context, name: &str) -> Result<Done, WireError> {
    let found = find(context, name).await?;
    let toml = found.to_toml();
    let toml = toml.map_err(|fault| errors::from_memory(&fault.into()))?;
    let data = json!({ "personality": found, "prompt": found.render(), "toml": toml });
    Ok(context.done_with(toml, data))
}

/// For all questions of this user that do not say otherwise.
async fn choose(context: &Context, name: Option<&str>) -> Result<Done, WireError> {
    let name = match name {
        Some(name) => Some(find(context, name).await?.name),
        None => None,
    };
    let text = match &name {
        Some(name) => format!("answers sound like {name} now"),
        None => "answers have no personality now".to_owned(),
    };
    let data = json!({ "used": name });
    let (worker, user) = (context.worker.clone(), context.user);
    let chosen = tokio::task::spawn_blocking(move || worker.shared.uses.choose(user, name)).await;
    let chosen = chosen.map_err(|_| super::panicked("the choice"))?;
    chosen.map_err(|fault| {
        let message = format!("the choice can't be kept: {fault}");
        WireError::new(ErrorCode::MemoryUnavailable, message)
    })?;
    Ok(context.done_with(text, data))
}

async fn write(context: &Context, name: &str, toml: &str) -> Result<Done, WireError> {
    let personality = Personality::from_toml(name, toml);
    let personality = personality.map_err(|fault| errors::from_memory(&fault.into()))?;
    let user = context.user;
    change(context, move |memory| {
        memory.put_personality(memory::namespace(user, false)?, &personality)
    })
    .await?;
    let data = json!({ "written": name });
    Ok(context.done_with(format!("{name} is remembered"), data))
}

async fn remove(context: &Context, name: &str) -> Result<Done, WireError> {
    let (user, own) = (context.user, name.to_owned());
    change(context, move |memory| {
        memory.remove_personality(&memory::namespace(user, false)?, &own)
    })
    .await?;
    Ok(context.done_with(format!("{name} is removed"), json!({ "removed": name })))
}

/// Writes to the memory, past the gate.
async fn change(
    context: &Context,
    work: impl FnOnce(&fazai_memory::Memory) -> fazai_memory::error::Result<()> + Send + 'static,
) -> Result<(), WireError> {
    let permit = admit(context, None, memory::write(Collection::Memory), true).await?;
    let done = context.remember(move |memory| {
        let done = work(memory);
        permit.finish(Outcome::of(&done))?;
        Ok(done?)
    });
    done.await
}
