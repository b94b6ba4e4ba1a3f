//! `ask`: from a request to an answer, token by token.

mod cloud;
mod fit;
mod persona;
mod retrieve;
mod stream;
mod valid;

use fazai_models::chat::{Speaker, Turn};
use fazai_models::engine::Request;
use fazai_models::job::{Generate, Keep, Priority as EnginePriority, Thinking, Work};
use fazai_models::vocabulary::Token;
use fazai_protocol::{
    Accepted, Ask, Done, ErrorCode, FinishReason, Line, Priority, Status, Think, WireError,
};
use serde_json::json;
use tracing::warn;

use self::stream::{Started, Streaming};
use self::valid::ValidAsk;
use super::Context;
use crate::errors;
use crate::registry::ModelLease;
use crate::sessions::{Lease, Secrecy};

pub(super) async fn answer(context: &Context, ask: Ask) -> Done {
    let answered = route(context, ask).await;
    answered.unwrap_or_else(|error| failed(context, error))
}

/// To the local model, or to others where that is better or all that is left.
async fn route(context: &Context, ask: Ask) -> Result<Done, WireError> {
    let mut ask = ValidAsk::new(ask, &context.worker.settings())?;
    // One lease for all ways that the request may go: nobody else gets in between.
    let mut session = session(context, &ask)?;
    confine(context, &mut ask, session.as_mut());
    persona::put_on(context, &mut ask, session.as_mut()).await?;
    // Before the local model is touched: it may be better to ask others.
    let way = match elsewhere(context, &ask, &mut session, None).await {
        Ok(way) => way,
        // Nobody needs the cloud for what the local model can do.
        Err(error) if !ask.dry_run => {
            warn!(%error, "the cloud can't be used");
            Way::Here
        }
        Err(error) => return Err(error),
    };
    let begun = match way {
        Way::Ended(done) => return Ok(*done),
        Way::GoesOn(begun) => return Ok(here(context, &ask, &mut session, Some(begun)).await),
        Way::Missed(missed) => {
            let why = missed.error.map(|error| error.message).unwrap_or_default();
            let text = format!("nobody in the cloud answers: {why}; the local model does");
            context.warn(ask.stream, text).await;
            return Ok(here(context, &ask, &mut session, None).await);
        }
        Way::Here => None,
    };
    let done = here(context, &ask, &mut session, begun).await;
    let helps = |error: &&WireError| crate::cloud::cause_of(error.code).is_some();
    let failure = done.error.as_ref().filter(|_| done.result.is_none());
    let Some(failure) = failure.filter(helps) else {
        return Ok(done);
    };
    match elsewhere(context, &ask, &mut session, Some(failure)).await? {
        Way::Ended(done) => Ok(*done),
        Way::GoesOn(begun) => Ok(here(context, &ask, &mut session, Some(begun)).await),
        // Each provider's failure says more than that the local model can't answer either.
        Way::Missed(missed) if is_upstream(&missed) => Ok(*missed),
        Way::Missed(_) | Way::Here => Ok(done),
    }
}

fn is_upstream(done: &Done) -> bool {
    let code = done.error.as_ref().map(|error| error.code);
    code == Some(ErrorCode::UpstreamFailed)
}

/// What was said in a session before is sent again, and so is as confidential as it was then.
fn confine(context: &Context, ask: &mut ValidAsk, session: Option<&mut Lease>) {
    let secrecy = Secrecy {
        label: ask.label,
        stays: ask.allow_cloud == Some(false),
    };
    let secrecy = session.map_or(secrecy, |session| session.add_secrecy(secrecy));
    context.deeds.are(secrecy);
    ask.label = secrecy.label;
    if secrecy.stays {
        ask.allow_cloud = Some(false);
    }
}

/// An answer for an operation that needs one on the way. What it is asked about was read on this
/// machine, of which nobody said that it may leave.
pub(crate) async fn answer_here(context: &Context, mut ask: Ask) -> Done {
    ask.params.allow_cloud = Some(false);
    answer(context, ask).await
}

/// What another's answer left to be gone on with.
struct Begun {
    text: String,
    /// Who wrote it, and what it cost.
    interrupted: serde_json::Value,
}

/// Which way a request went.
enum Way {
    /// It is over.
    Ended(Box<Done>),
    /// The local model answers.
    Here,
    /// The local model goes on.
    GoesOn(Begun),
    /// Others were asked, and nobody could answer.
    Missed(Box<Done>),
}

/// The way to the cloud, if the request may go it and something speaks for it.
async fn elsewhere(
    context: &Context,
    ask: &ValidAsk,
    session: &mut Option<Lease>,
    failed: Option<&WireError>,
) -> Result<Way, WireError> {
    if !context.worker.shared.cloud.is_configured() {
        if ask.dry_run {
            let error = WireError::new(ErrorCode::CloudUnavailable, "no provider is configured");
            return Err(error.with_hint("add a section [cloud.NAME] to the settings"));
        }
        return Ok(Way::Here);
    }
    let turns = session.as_ref().map_or(&[][..], Lease::turns);
    let leaving = cloud::route(context, ask, turns, failed).await?;
    let Some(leaving) = leaving else {
        let message = "raw, choices, regex, lark, logprobs and ignore_eos need the local model";
        return match ask.dry_run {
            true => Err(WireError::new(ErrorCode::InvalidParams, message)),
            false => Ok(Way::Here),
        };
    };
    if ask.dry_run {
        return Ok(Way::Ended(Box::new(leaving.dry_run(context))));
    }
    if leaving.providers().is_none() {
        // The local model's failure stands, with the time after which others could answer.
        return match failed {
            Some(error) => Err(leaving.explain(error.clone())),
            None => Ok(Way::Here),
        };
    }
    let quota = context.quota()?;
    if ask.retrieve == Some(true) {
        let why = "what is remembered does not leave the machine: the answer comes without it";
        context.warn(ask.stream, why).await;
    }
    match leaving.run(context, ask, session).await {
        cloud::Ended::GoesOn { text, interrupted } => {
            let tokens = |key: &str| interrupted["usage"][key].as_u64().unwrap_or(0);
            let used = tokens("prompt_tokens").saturating_add(tokens("output_tokens"));
            quota.charge(u32::try_from(used).unwrap_or(u32::MAX));
            Ok(Way::GoesOn(Begun { text, interrupted }))
        }
        cloud::Ended::Done(done) => {
            if let Some(usage) = &done.usage {
                quota.charge(usage.prompt_tokens.saturating_add(usage.output_tokens));
            }
            match &done.error {
                Some(error) if done.result.is_none() && cloud::is_nobody(error.code) => {
                    warn!(%error, "nobody in the cloud answers");
                    Ok(Way::Missed(done))
                }
                _ => Ok(Way::Ended(done)),
            }
        }
    }
}

/// The answer of the local model.
async fn here(
    context: &Context,
    ask: &ValidAsk,
    session: &mut Option<Lease>,
    begun: Option<Begun>,
) -> Done {
    let (text, interrupted) = begun.map(|begun| (begun.text, begun.interrupted)).unzip();
    let so_far = text.clone().unwrap_or_default();
    let beginning = begin(context, ask.clone(), session, so_far);
    let mut done = match beginning.await {
        Ok(streaming) => streaming.run(context).await,
        // Cancelled while the model was being loaded: no failure, and nothing was written.
        Err(error) if error.code == ErrorCode::Cancelled => Done {
            metadata: Status::Stopped.into(),
            finish_reason: Some(FinishReason::Cancelled),
            ..context.done(Some(String::new()))
        },
        Err(error) => failed(context, error),
    };
    if let Some(interrupted) = interrupted {
        // What was sent is told again, also where nothing could be added.
        done.result = done.result.filter(|result| !result.is_empty()).or(text);
        done.data = Some(json!({ "interrupted": interrupted }));
    }
    done
}

fn failed(context: &Context, error: WireError) -> Done {
    Done {
        finish_reason: Some(FinishReason::Error),
        ..context.fail(error)
    }
}

/// Everything before the first token: whatever can be refused is refused here. The answer goes on
/// from `so_far`, which was sent already.
async fn begin<'a>(
    context: &Context,
    ask: ValidAsk,
    session: &'a mut Option<Lease>,
    so_far: String,
) -> Result<Streaming<'a>, WireError> {
    let quota = context.quota()?;
    let model = context.lease(ask.model.clone(), ask.stream).await?;
    let turns = session
        .as_ref()
        .map(|lease| lease.turns().to_vec())
        .unwrap_or_default();
    let passages = retrieve::passages(context, &ask, &model).await;
    let mut prompt = fit::prompt(context, &ask, turns, &passages.text, &model).await?;
    if !so_far.is_empty() {
        prompt.go_on(&so_far, &model)?;
    }
    let prompt_tokens = u32::try_from(prompt.tokens.len()).unwrap_or(u32::MAX);
    let room = model.info.context_tokens.saturating_sub(prompt_tokens);
    let choices = choices(&ask, &model, room)?;
    let choice_tokens: usize = choices.iter().map(Vec::len).sum();
    let choice_tokens = u32::try_from(choice_tokens).unwrap_or(u32::MAX);
    let max_tokens = match choice_tokens {
        0 => ask.max_tokens.min(room),
        tokens => tokens,
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
            personality: ask.personality.clone(),
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
        choice_tokens,
        passages: passages.data(),
        cut_tokens: prompt.cut_tokens,
        so_far,
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

/// Adds the exchange to the session, if it came to an end of its own; the session's name.
fn remember_turns(
    session: Option<&mut Lease>,
    ask: &ValidAsk,
    answer: &str,
    reason: FinishReason,
) -> Option<String> {
    let lease = session?;
    if matches!(reason, FinishReason::Stop | FinishReason::Length) {
        let said = ask.turns.iter().filter(|turn| turn.role != Speaker::System);
        let answer = Turn {
            role: Speaker::Assistant,
            content: answer.to_owned(),
        };
        lease.append(said.cloned().chain([answer]));
    }
    Some(lease.name().to_owned())
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
