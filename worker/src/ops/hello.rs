//! `hello`: who the worker is, what it can do and what it takes.

use fazai_protocol::{ACTIONS, Done, Secret, VERSION};
use serde_json::json;
use subtle::ConstantTimeEq;

use super::Context;

pub(super) fn answer(context: &Context) -> Done {
    let settings = context.worker.settings();
    let data = json!({
        "protocol": VERSION,
        "version": env!("CARGO_PKG_VERSION"),
        "actions": ACTIONS,
        "backends": backends(),
        "features": {
            "streaming": true,
            "cancel": true,
            "sessions": true,
            "json_schema": true,
            "regex": true,
            "lark": true,
            "logprobs": true,
            "thinking": true,
            "modules": true,
            "shell": true,
            "approvals": true,
            "plan": true,
            "agent": true,
        },
        "limits": settings.limits,
    });
    context.done_with(VERSION, data)
}

fn backends() -> Vec<&'static str> {
    let built = [
        ("llama", cfg!(feature = "llama")),
        ("candle", cfg!(feature = "candle")),
    ];
    built
        .into_iter()
        .filter_map(|(name, on)| on.then_some(name))
        .collect()
}

/// Whether the shown token is the wanted one, in a time that tells nothing about either.
pub(crate) fn token_matches(wanted: Option<&Secret>, shown: Option<&Secret>) -> bool {
    match (wanted, shown) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wanted), Some(shown)) => {
            let equal = wanted.0.as_bytes().ct_eq(shown.0.as_bytes());
            equal.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_token_opens() {
        let secret = |text: &str| Some(Secret(text.to_owned()));
        for (wanted, shown, opens) in [
            (None, None, true),
            (secret("a"), None, false),
            (secret("a"), secret("b"), false),
            (secret("a"), secret("ab"), false),
            (secret("abc"), secret("abc"), true),
        ] {
            assert_eq!(token_matches(wanted.as_ref(), shown.as_ref()), opens);
        }
    }
}
