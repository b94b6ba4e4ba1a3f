//! The other way of an `ask`: to a provider in the cloud, if it may.

mod passed;
mod stream;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fazai_cloud::redact::Counts;
use fazai_cloud::route::{self, Against, Asked, Cause, Decision, Route, Rules, Trouble};
use fazai_cloud::{Cloud, Label, Message, Request, Who};
use fazai_models::chat::{Speaker, Turn};
use fazai_models::grammar::GrammarSource;
use fazai_protocol::{
    self as protocol, Done, ErrorCode, FinishReason, Line, Phase, Status, WireError,
};
use fazai_tools::{Action, Verdict};
use serde_json::{Value, json};

use self::passed::Passed;
use self::stream::Streaming;
use super::super::{Context, HEARTBEAT};
use super::valid::ValidAsk;
use crate::acting::Acting;
use crate::cloud::{CloudFault, low_memory, send};
use crate::errors;
use crate::live::User;
use crate::registry::ModelState;
use crate::sessions::Lease;

/// A request that may leave: what would be sent, and where it goes.
pub(super) struct Leaving {
    cloud: Arc<Cloud>,
    request: Request,
    label: Label,
    pub(super) route: Route,
}

/// How an answer from the cloud ended.
pub(super) enum Ended {
    /// With a `done` line.
    Done(Box<Done>),
    /// It was cut, and the request wants the local model to go on from this text.
    GoesOn { text: String, interrupted: Value },
}

/// Whether the failure says that nobody could be asked, so that the local model may as well answer.
pub(super) fn is_nobody(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UpstreamFailed
            | ErrorCode::BudgetExceeded
            | ErrorCode::CloudUnavailable
            | ErrorCode::Denied
    )
}

/// The route of a request, if there is a cloud at all and the request is of a kind that can leave.
pub(super) async fn route(
    context: &Context,
    ask: &ValidAsk,
    turns: &[Turn],
    failed: Option<&WireError>,
) -> Result<Option<Leaving>, WireError> {
    let clouds = &context.worker.shared.cloud;
    if !clouds.is_configured() {
        return Ok(None);
    }
    let Some(request) = request(ask, turns) else {
        return Ok(None);
    };
    let shared = Arc::clone(&context.worker.shared);
    let (user, label) = (context.user, ask.label);
    let looked = tokio::task::spawn_blocking(move || {
        let cloud = shared.cloud.open()?;
        let mut candidates = cloud.candidates(&request, &user.to_string());
        for candidate in candidates.iter_mut().filter(|c| c.trouble.is_none()) {
            let action = send(&candidate.name, label, &Counts::new());
            candidate.trouble = forbidden(&shared.acting, user, &action);
        }
        Ok::<_, CloudFault>((cloud, request, candidates))
    });
    let looked = looked
        .await
        .map_err(|_| super::super::panicked("the cloud"))?;
    let (cloud, request, candidates) = looked.map_err(|fault| errors::from_cloud_fault(&fault))?;
    let asked = Asked {
        // Whoever names a model wants that one.
        allow: ask
            .allow_cloud
            .or_else(|| ask.model.as_ref().map(|_| false)),
        label: ask.label,
        better: ask.better,
        tokens: request.input_estimate() + u64::from(request.max_tokens),
    };
    let rules = Rules {
        // Settings with a mistake leave the old providers; that nothing leaves counts at once.
        allow: cloud.settings().allow && context.worker.settings().cloud.allow != Some(false),
        causes: cloud.settings().causes,
    };
    let local = local(context, ask, failed).await;
    let route = route::decide(&asked, &local, &candidates, &rules);
    Ok(Some(Leaving {
        cloud,
        request,
        label: ask.label,
        route,
    }))
}

/// What the policy has against an action, without recording that it was looked at.
fn forbidden(acting: &Acting, user: User, action: &Action) -> Option<Trouble> {
    match acting.decide(user, action) {
        Ok(decision) if decision.verdict == Verdict::Deny => {
            let why = format!("denied by {}: {}", decision.rule, decision.reason);
            Some(Trouble::Policy(why))
        }
        Ok(_) => None,
        Err(fault) => Some(Trouble::Policy(fault.to_string())),
    }
}

/// How the local model stands.
async fn local(context: &Context, ask: &ValidAsk, failed: Option<&WireError>) -> route::Local {
    if let Some(error) = failed {
        let cause = crate::cloud::cause_of(error.code).unwrap_or(Cause::LocalFailed);
        let detail = error.message.clone();
        let troubles = vec![Against {
            cause,
            detail,
            fatal: true,
        }];
        return route::Local { troubles };
    }
    let settings = context.worker.settings();
    let name = ask.model.as_ref().unwrap_or(&settings.model.default);
    let loaded = context.worker.shared.registry.list().await;
    let is_there = |state: &ModelState| match state {
        ModelState::Ready(model) => ask.model.is_none() || model.name == *name,
        ModelState::Loading(..) => true,
    };
    // Who started a worker for one question waits for it to load its model, and for nothing else.
    let serves = context.worker.shared.serves.load(Ordering::Relaxed);
    let absent = (serves && !loaded.iter().any(is_there)).then(|| Against {
        cause: Cause::NotLoaded,
        detail: format!("{name} is not loaded"),
        fatal: false,
    });
    let probe = &context.worker.shared.cloud.probe;
    let busy = probe.gpu_busy(&settings.cloud.gpu_probe).await;
    let troubles = absent.into_iter().chain(low_memory(&settings.cloud));
    route::Local {
        troubles: troubles.chain(busy).collect(),
    }
}

/// The request in the cloud's words; none if only a local model can do what is asked.
fn request(ask: &ValidAsk, turns: &[Turn]) -> Option<Request> {
    let schema = match &ask.grammar {
        None => None,
        Some(GrammarSource::JsonSchema(schema)) => Some(schema.clone()),
        Some(_) => return None,
    };
    let local_only = ask.raw || ask.ignore_eos || ask.logprobs.is_some() || !ask.choices.is_empty();
    if local_only {
        return None;
    }
    let (system, said): (Vec<&Turn>, Vec<&Turn>) = ask
        .turns
        .iter()
        .partition(|turn| turn.role == Speaker::System);
    let all = system.into_iter().chain(turns).chain(said);
    let message = |turn: &Turn| {
        let role = match turn.role {
            Speaker::System => fazai_cloud::Role::System,
            Speaker::User => fazai_cloud::Role::User,
            Speaker::Assistant => fazai_cloud::Role::Assistant,
        };
        Message::new(role, turn.content.clone())
    };
    Some(Request {
        messages: all.map(message).collect(),
        max_tokens: ask.max_tokens,
        temperature: Some(ask.sampling.temperature),
        top_p: Some(ask.sampling.top_p),
        stop: ask.stop.clone(),
        // Most providers take 32 bits.
        seed: u32::try_from(ask.sampling.seed & 0x7fff_ffff)
            .ok()
            .filter(|_| ask.seed_given),
        schema,
        tools: Vec::new(),
    })
}

impl Leaving {
    /// Whether it goes to the cloud.
    pub(super) fn providers(&self) -> Option<(&[String], Cause)> {
        match &self.route.decision {
            Decision::Cloud { providers, cause } => Some((providers, *cause)),
            _ => None,
        }
    }

    /// Why nobody else answers what the local model can't, for the error that says so.
    pub(super) fn explain(&self, error: WireError) -> WireError {
        match &self.route.decision {
            Decision::Wait { wait_ms } => error.with_retry_after_ms(*wait_ms),
            _ => error,
        }
    }

    /// Where it would go, and the bytes that would be sent.
    pub(super) fn dry_run(&self, context: &Context) -> Done {
        let names = self
            .providers()
            .map(|(providers, _)| providers.to_vec())
            .unwrap_or_default();
        let runs = names
            .iter()
            .filter_map(|name| self.cloud.dry_run(name, &self.request));
        let runs: Vec<_> = runs.collect();
        let body = runs
            .first()
            .map_or_else(String::new, |run| run.body.clone());
        context.done_with(body, json!({ "route": self.route, "would_send": runs }))
    }

    /// Asks the providers and passes the answer on.
    pub(super) async fn run(
        self,
        context: &Context,
        ask: &ValidAsk,
        session: &mut Option<Lease>,
    ) -> Ended {
        let Some((providers, cause)) = self.providers() else {
            let error = WireError::new(ErrorCode::Internal, "no provider was chosen");
            return Ended::failed(context, error);
        };
        let route = ask.stream.then(|| {
            Line::Route(protocol::Route {
                action_id: context.action_id.clone(),
                result: format!(
                    "it leaves for {}, because of {}",
                    providers.join(", "),
                    cause.as_str()
                ),
                providers: providers.to_vec(),
                cause: cause.as_str().to_owned(),
                reasons: self.route.reasons.clone(),
            })
        });
        let passed = Passed {
            context,
            session: ask.session.clone(),
            label: self.label,
            stream: ask.stream,
            route: Mutex::new(route),
            permits: Mutex::default(),
        };
        let user = context.user.to_string();
        let who = Who {
            user: &user,
            label: self.label,
            gate: &passed,
        };
        let mut asking = Box::pin(self.cloud.ask(providers, &self.request, who));
        let deadline = ask
            .deadline_ms
            .map(|ms| context.received + Duration::from_millis(ms));
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.reset();
        let begun = loop {
            tokio::select! {
                biased;
                begun = &mut asking => break begun.map_err(|fault| errors::from_cloud(&fault)),
                () = context.told_to_stop() => break Err(context.stop_error()),
                () = until(deadline) => break Err(late()),
                _ = heartbeat.tick(), if ask.stream => context.alive(Phase::Queued).await,
            }
        };
        // What is dropped here closes its connections.
        drop(asking);
        let ended = match begun {
            Ok(answer) => {
                Streaming::new(context, ask, deadline)
                    .run(answer, session)
                    .await
            }
            Err(error) if error.code == ErrorCode::Cancelled => Ended::Done(Box::new(Done {
                metadata: Status::Stopped.into(),
                finish_reason: Some(FinishReason::Cancelled),
                ..context.done(Some(String::new()))
            })),
            Err(error) => Ended::failed(context, error),
        };
        passed.finish(ended.error()).await;
        ended
    }
}

impl Ended {
    fn failed(context: &Context, error: WireError) -> Self {
        Self::Done(Box::new(Done {
            finish_reason: Some(FinishReason::Error),
            ..context.fail(error)
        }))
    }

    fn error(&self) -> Option<String> {
        match self {
            Self::Done(done) => done.error.as_ref().map(ToString::to_string),
            Self::GoesOn { .. } => Some("interrupted; the local model goes on".to_owned()),
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn late() -> WireError {
    WireError::new(
        ErrorCode::DeadlineExceeded,
        "the deadline passed before the first token",
    )
}
