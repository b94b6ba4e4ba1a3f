//! `tools` and `toolSpec`: which tools there are, and how they are called.

use std::sync::Arc;

use fazai_protocol::{Done, ErrorCode, Phase, WireError};
use fazai_toolbox::{About, Listed, Tool, ToolError, Toolbox};
use serde_json::{Value, json};

use super::pieces::pieces;
use super::tool::{Asking, ToolHost};
use super::{Context, HEARTBEAT};

pub(super) async fn answer(context: &Context, input: &str) -> Done {
    let words: Vec<&str> = input.split_whitespace().collect();
    let answer = match words[..] {
        [] | ["list"] => list(context).await,
        ["show", name] => show(context, name.to_owned()).await,
        _ => Err(unclear(input)),
    };
    answer.unwrap_or_else(|error| context.fail(error))
}

fn unclear(input: &str) -> WireError {
    let head = &input[..input.floor_char_boundary(64)];
    let message = format!("{head:?} is not understood");
    WireError::new(ErrorCode::InvalidRequest, message)
        .with_hint("input is \"list\", or \"show\" and a tool's name")
}

/// `toolSpec`: one tool or all, in the shape that models which call functions are given.
pub(super) async fn spec(context: &Context, input: &str) -> Done {
    let answer = match input.trim() {
        "" => specs(context).await,
        name => one_spec(context, name.to_owned()).await,
    };
    answer.unwrap_or_else(|error| context.fail(error))
}

/// Asks the toolbox on a thread that may wait. Finding out what a tool is may start it, as far as
/// the policy allows that without asking.
async fn with<T: Send + 'static>(
    context: &Context,
    name: &str,
    work: impl FnOnce(&Toolbox, &ToolHost) -> Result<T, ToolError> + Send + 'static,
) -> Result<T, WireError> {
    let _quota = context.quota()?;
    let (speaker, _) = pieces();
    let host = ToolHost::new(context, None, false, Asking::Nobody, speaker)?;
    let name = name.to_owned();
    let found = tokio::task::spawn_blocking(move || {
        work(&host.toolbox(), &host).map_err(|fault| host.explain(&name, &fault))
    });
    // Scripts and servers that are asked what they are may take a while.
    tokio::pin!(found);
    let mut quiet = tokio::time::interval(HEARTBEAT);
    quiet.reset();
    loop {
        tokio::select! {
            found = &mut found => break found.map_err(|_| super::panicked("the toolbox"))?,
            _ = quiet.tick() => context.alive(Phase::Running).await,
        }
    }
}

async fn all(context: &Context) -> Result<Vec<Listed>, WireError> {
    with(context, "", |toolbox, host| Ok(toolbox.list(host))).await
}

async fn one(context: &Context, name: String) -> Result<Arc<dyn Tool>, WireError> {
    let wanted = name.clone();
    with(context, &name, move |toolbox, host| {
        toolbox.get(&wanted, host)
    })
    .await
}

async fn list(context: &Context) -> Result<Done, WireError> {
    let found = all(context).await?;
    let lines: Vec<String> = found
        .iter()
        .map(|Listed { tool, hides }| {
            let hides = match hides[..] {
                [] => "",
                _ => " (hides another of this name)",
            };
            match tool {
                Ok(tool) => {
                    let About {
                        name, description, ..
                    } = tool.about();
                    format!("{name}\t{description}{hides}")
                }
                Err(broken) => format!("{}\tbroken: {}{hides}", broken.name, broken.problem),
            }
        })
        .collect();
    let data: Vec<Value> = found.iter().map(listed).collect();
    Ok(context.done_with(lines.join("\n"), json!({ "tools": data })))
}

/// A tool in a list: without its parameters, which may be long.
fn listed(Listed { tool, hides }: &Listed) -> Value {
    let mut data = match tool {
        Ok(tool) => json!(tool.about()),
        Err(broken) => json!(broken),
    };
    if let Some(fields) = data.as_object_mut() {
        fields.remove("parameters");
        if !hides.is_empty() {
            fields.insert("hides".to_owned(), json!(hides));
        }
    }
    data
}

async fn show(context: &Context, name: String) -> Result<Done, WireError> {
    let tool = one(context, name).await?;
    let about = tool.about();
    Ok(context.done_with(about.description.clone(), json!(about)))
}

async fn specs(context: &Context) -> Result<Done, WireError> {
    let found = all(context).await?;
    let tools = found.iter().filter_map(|found| found.tool.as_ref().ok());
    let specs: Vec<Value> = tools.map(|tool| function(tool.about())).collect();
    let text = format!("{} tools", specs.len());
    Ok(context.done_with(text, json!({ "tools": specs })))
}

async fn one_spec(context: &Context, name: String) -> Result<Done, WireError> {
    let tool = one(context, name).await?;
    let spec = function(tool.about());
    Ok(context.done_with(spec.to_string(), spec))
}

/// The shape in which chat models are told of functions.
fn function(about: &About) -> Value {
    json!({
        "type": "function",
        "function": {
            "name": about.name,
            "description": about.description,
            "parameters": about.parameters,
        },
    })
}
