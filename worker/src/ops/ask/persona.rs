//! The personality of an answer: the request's, else the session's, else the user's.

use fazai_memory::Personality;
use fazai_models::chat::{Speaker, Turn};
use fazai_protocol::WireError;

use super::super::{Context, personality};
use super::valid::ValidAsk;
use crate::sessions::Lease;

/// Puts the personality first into the prompt, and names that beginning, so that it is kept.
pub(super) async fn put_on(
    context: &Context,
    ask: &mut ValidAsk,
    session: Option<&mut Lease>,
) -> Result<(), WireError> {
    let Some(personality) = chosen(context, ask, session).await? else {
        ask.personality = None;
        return Ok(());
    };
    let text = personality.render();
    match ask.turns.first_mut() {
        Some(first) if first.role == Speaker::System => {
            first.content = format!("{text}\n\n{}", first.content);
        }
        _ => {
            ask.turns.insert(
                0,
                Turn {
                    role: Speaker::System,
                    content: text,
                },
            );
            // With instructions of each request's own, or a conversation, the beginning would be
            // another one each time.
            if ask.prompt_name.is_none() && ask.session.is_none() && ask.turns.len() == 2 {
                ask.prompt_name = Some(format!("personality-{}", personality.name));
            }
        }
    }
    ask.personality = Some(personality.name);
    Ok(())
}

async fn chosen(
    context: &Context,
    ask: &ValidAsk,
    session: Option<&mut Lease>,
) -> Result<Option<Personality>, WireError> {
    if let Some(name) = &ask.personality {
        let found = match name.as_str() {
            "" => None,
            name => Some(personality::find(context, name).await?),
        };
        if let Some(session) = session {
            session.set_personality(name.clone());
        }
        return Ok(found);
    }
    // Whoever gives instructions or wants a form has said how the answer is to be.
    let has_system = ask.turns[0].role == Speaker::System;
    if ask.raw || has_system || ask.grammar.is_some() || !ask.choices.is_empty() {
        return Ok(None);
    }
    let of_session = session.and_then(|session| session.personality().map(str::to_owned));
    let uses = &context.worker.shared.uses;
    let Some(name) = of_session.or_else(|| uses.of(context.user)) else {
        return Ok(None);
    };
    if name.is_empty() {
        return Ok(None);
    }
    match personality::find(context, &name).await {
        Ok(found) => Ok(Some(found)),
        // Nobody asked for it now.
        Err(error) => {
            let why = format!("without the personality {name:?}: {}", error.message);
            context.warn(ask.stream, why).await;
            Ok(None)
        }
    }
}
