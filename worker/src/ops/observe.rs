//! `observe`: facts about the machine, each from the built-in tool that knows it.

use fazai_protocol::{Call, Done, ErrorCode, NoParams, WireError};
use serde_json::{Map, Value, json};

use super::pieces::pieces;
use super::tool::{Asking, ToolHost};
use super::{Context, status};

/// A part of what can be observed: its name, the tool, and what that is told.
type Part = (&'static str, &'static str, fn() -> Value);

const PARTS: &[Part] = &[
    ("load", "system_info", || json!({})),
    ("disks", "disk_usage", || json!({})),
    ("units", "services", || json!({ "action": "failed" })),
    ("ports", "ports", || json!({})),
    (
        "errors",
        "journal",
        || json!({ "priority": "err", "since": "-1h", "lines": 50 }),
    ),
];

pub(super) async fn answer(context: &Context, call: &Call<NoParams>) -> Done {
    let words: Vec<&str> = call.input.split_whitespace().collect();
    // The old dialect asks the worker how it is.
    if words.len() == 1 && words[0].eq_ignore_ascii_case("status") {
        return status::answer(context).await;
    }
    let observed = observe(context, &words).await;
    observed.unwrap_or_else(|error| context.fail(error))
}

async fn observe(context: &Context, words: &[&str]) -> Result<Done, WireError> {
    let known = |word: &&str| PARTS.iter().any(|(name, ..)| name == word);
    if let Some(unknown) = words.iter().find(|word| !known(word)) {
        let head = &unknown[..unknown.floor_char_boundary(64)];
        let message = format!("{head:?} is nothing that can be observed");
        let names: Vec<&str> = PARTS.iter().map(|(name, ..)| *name).collect();
        return Err(WireError::new(ErrorCode::InvalidRequest, message)
            .with_hint(format!("known: status, {}", names.join(", "))));
    }
    let _quota = context.quota()?;
    let (speaker, _) = pieces();
    let host = ToolHost::new(context, None, false, Asking::Nobody, speaker)?;
    let wanted = |part: &&Part| words.is_empty() || words.contains(&part.0);
    let parts: Vec<&Part> = PARTS.iter().filter(wanted).collect();
    let looked = tokio::task::spawn_blocking(move || {
        let toolbox = host.toolbox();
        let look = |(name, tool, args): &Part| {
            let found = toolbox
                .get(tool, &host)
                .and_then(|tool| fazai_toolbox::call(&*tool, &args(), &host));
            // What one can't see does not hide the rest.
            let fact = found.unwrap_or_else(|fault| json!({ "error": host.explain(tool, &fault) }));
            ((*name).to_owned(), fact)
        };
        parts.into_iter().map(look).collect::<Map<String, Value>>()
    });
    let facts = looked.await.map_err(|_| super::panicked("observe"))?;
    let facts = Value::Object(facts);
    Ok(context.done_with(facts.to_string(), facts))
}
