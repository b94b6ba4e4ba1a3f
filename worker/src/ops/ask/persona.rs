//! The personality of an answer: the request's, else the session's, else the user's.

use fazai_memory::Personality;
use fazai_models::chat::{Speaker, Turn};
use fazai_protocol::{Line, Warning, WireError};

use super::super::Context;
use super::valid::ValidAsk;
use crate::memory;
use crate::sessions::Lease;

/// Puts the personality first into the prompt, and names that beginning, so that it is kept.
pub(super) async fn put_on(
    context: &Context,
    ask: &mut ValidAsk,
    session: Option<&mut Lease>,
) -> Result<Option<String>, WireError> {
    let Some(personality) = chosen(context, ask, session).await? else {
        return Ok(None);
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
    Ok(Some(personality.name))
}

async fn chosen(
    context: &Context,
    ask: &ValidAsk,
    session: Option<&mut Lease>,
) -> Result<Option<Personality>, WireError> {
    if let Some(name) = &ask.personality {
        let found = match name.as_str() {
            "" => None,
            name => Some(find(context, name.to_owned()).await?),
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
    match find(context, name.clone()).await {
        Ok(found) => Ok(Some(found)),
        // Nobody asked for it now.
        Err(error) => {
            let result = format!("without the personality {name:?}: {}", error.message);
            let line = Warning {
                action_id: context.action_id.clone(),
                result,
            };
            context.outgoing.send(Line::Warning(line)).await;
            Ok(None)
        }
    }
}

async fn find(context: &Context, name: String) -> Result<Personality, WireError> {
    let user = context.user;
    let found = context.remember(move |memory| {
        let own = memory::namespace(user, false)?;
        Ok(memory.personality(&own, &name)?)
    });
    found.await
}
