//! `ask`: from a request to an answer, token by token.

mod fit;
mod persona;
mod retrieve;
mod stream;
mod valid;

use fazai_models::engine::Request;
use fazai_models::job::{Generate, Keep, Priority as EnginePriority, Thinking, Work};
use fazai_models::vocabulary::Token;
use fazai_protocol::{
    Accepted, Ask, Done, ErrorCode, FinishReason, Line, Priority, Status, Think, WireError,
};

use self::stream::{Started, Streaming};
use self::valid::ValidAsk;
use super::Context;
use crate::errors;
use crate::registry::ModelLease;
use crate::sessions::Lease;

pub(super) async fn answer(context: &Context, ask: Ask) -> Done {
    match begin(context, ask).await {
        Ok(streaming) => streaming.run(context).await,
        // Cancelled while the model was being loaded: no failure, and nothing was written.
        Err(error) if error.code == ErrorCode::Cancelled => Done {
            metadata: Status::Stopped.into(),
            finish_reason: Some(FinishReason::Cancelled),
            ..context.done(Some(String::new()))
        },
        Err(error) => Done {
            finish_reason: Some(FinishReason::Error),
            ..context.fail(error)
        },
    }
}

/// Everything before the first token: whatever can be refused is refused here.
async fn begin(context: &Context, ask: Ask) -> Result<Streaming, WireError> {
    let settings = context.worker.settings();
    let mut ask = ValidAsk::new(ask, &settings)?;
    let quota = context.quota()?;
    let mut session = session(context, &ask)?;
    let personality = persona::put_on(context, &mut ask, session.as_mut()).await?;
    let model = context.lease(ask.model.clone(), ask.stream).await?;
    let turns = session
        .as_ref()
        .map(|lease| lease.turns().to_vec())
        .unwrap_or_default();
    let passages = retrieve::passages(context, &ask, &model).await;
    let prompt = fit::prompt(context, &ask, turns, &passages.text, &model).await?;
    let prompt_tokens = u32::try_from(prompt.tokens.len()).unwrap_or(u32::MAX);
    let room = model.info.context_tokens.saturating_sub(prompt_tokens);
    let choices = choices(&ask, &model, room)?;
    let max_tokens = match choices.iter().map(Vec::len).sum() {
        0 => ask.max_tokens.min(room),
        tokens => u32::try_from(tokens).unwrap_or(u32::MAX),
    };

    let generate = Generate {
        max_tokens,
        sampling: ask.sampling.clone(),
        stop: ask.stop.clone(),
        keep: keep(context, &ask, prompt.named_tokens),
        choices,
        grammar: ask.grammar.clone(),
        thinking: thinking(&ask, &model, prompt.opens_thinking),
        logprobs: ask.logprobs,
        ignore_end: ask.ignore_eos,
        prompt: prompt.tokens,
    };
    let waited = context.received.elapsed();
    let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
    let request = Request {
        priority: priority(ask.priority),
        user: context.user.id(),
        // The deadline counts from the request, of which some time has gone.
        deadline_ms: ask
            .deadline_ms
            .map(|deadline| deadline.saturating_sub(waited_ms)),
        work: Work::Generate(Box::new(generate)),
    };
    let submitted = model.engine.submit(request).await;
    let events = submitted.map_err(|fault| errors::from_submit(&fault))?;
    if ask.stream {
        let accepted = Accepted {
            action_id: context.action_id.clone(),
            model: model.title.clone(),
            prompt_tokens,
            max_tokens,
            personality,
            passages: u32::try_from(passages.count())
                .ok()
                .filter(|count| *count > 0),
        };
        context.outgoing.send(Line::Accepted(accepted)).await;
    }
    Ok(Streaming::new(Started {
        ask,
        model,
        session,
        events,
        prompt_tokens,
        passages: passages.data(),
        cut_tokens: prompt.cut_tokens,
        quota,
        waited,
    }))
}

/// The beginning of the prompt under the user's name for it: users do not share names.
fn keep(context: &Context, ask: &ValidAsk, tokens: u32) -> Option<Keep> {
    let name = ask.prompt_name.as_ref()?;
    Some(Keep {
        name: format!("{}/{name}", context.user),
        tokens,
    })
}

/// The choices as the model would write them, with the mark that ends an answer: so that one
/// which begins like another is told from it.
fn choices(ask: &ValidAsk, model: &ModelLease, room: u32) -> Result<Vec<Vec<Token>>, WireError> {
    let vocabulary = &model.vocabulary;
    let choices: Vec<Vec<Token>> = ask
        .choices
        .iter()
        .map(|choice| {
            let mut tokens = vocabulary.encode(choice, false);
            if !ask.raw {
                tokens.push(vocabulary.end());
            }
            tokens
        })
        .collect();
    let longest = choices.iter().map(Vec::len).max().unwrap_or(0);
    let total: usize = choices.iter().map(Vec::len).sum();
    if total > room as usize || choices.iter().any(Vec::is_empty) {
        let message = format!("the choices have {total} tokens, the longest {longest}; {room} fit");
        return Err(WireError::new(ErrorCode::ContextOverflow, message)
            .with_hint("give fewer or shorter choices, or a shorter prompt"));
    }
    Ok(choices)
}

fn session(context: &Context, ask: &ValidAsk) -> Result<Option<Lease>, WireError> {
    let Some(name) = &ask.session else {
        return Ok(None);
    };
    let limits = &context.worker.settings().limits;
    let lease = context
        .worker
        .shared
        .sessions
        .lease(context.user, name, limits);
    lease
        .map(Some)
        .map_err(|fault| errors::from_session(&fault))
}

fn thinking(ask: &ValidAsk, model: &ModelLease, opened: bool) -> Thinking {
    Thinking {
        // Without a template nobody knows what the tags mean.
        tags: model.template.think_tags().filter(|_| !ask.raw).cloned(),
        wanted: ask.think != Think::Off,
        opened,
        budget_tokens: match ask.think {
            Think::Budget(tokens) => Some(tokens),
            Think::Off | Think::On => None,
        },
    }
}

fn priority(priority: Priority) -> EnginePriority {
    match priority {
        Priority::Low => EnginePriority::Low,
        Priority::Normal => EnginePriority::Normal,
        Priority::High => EnginePriority::High,
    }
}
