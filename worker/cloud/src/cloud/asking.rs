//! Providers are asked in their order, until one answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;

use super::{Cloud, Who};
use crate::answer::{Answer, Finished, Live, Piece, Seen};
use crate::attempt::Attempt;
use crate::budget::{Amount, BudgetError};
use crate::cache::CacheKey;
use crate::endpoint::Provider;
use crate::error::{CloudError, Failure, FailureKind};
use crate::keys::Picked;
use crate::redact::Marks;
use crate::request::{Event, Finish, Request, Usage};
use crate::schema::{Schema, mistakes, repair};

/// Why one provider gave no answer.
enum Missed {
    Failed(Failure),
    Budget(BudgetError),
}

/// Whoever would have to wait longer goes to the next provider.
const PAUSES_MAX: Duration = Duration::from_secs(5);

impl Cloud {
    /// An answer that fits a schema. It is shown when it is whole, since it may have to be repaired.
    pub(super) async fn fitting(
        &self,
        providers: &[String],
        request: &Request,
        who: Who<'_>,
        schema: &Schema,
    ) -> Result<Answer, CloudError> {
        let (clean, marks) = self.redacted(request).await;
        let mut asked = clean.clone();
        let mut before: Option<Finished> = None;
        let mut failures = Vec::new();
        for _ in 0..2 {
            let mut answer = self.first(providers, &asked, &marks, who, None).await?;
            let (mut text, mut others) = (String::new(), VecDeque::new());
            loop {
                match answer.next().await {
                    Ok(Some(Piece::Text(piece))) => text.push_str(&piece),
                    Ok(Some(piece)) => others.push_back(piece),
                    Ok(None) => break,
                    Err(failure) => {
                        failures.append(&mut answer.failures);
                        failures.push(failure);
                        return Err(CloudError::Failed(failures));
                    }
                }
            }
            let mut finished = answer.finished();
            failures.append(&mut answer.failures);
            if let Some(before) = before.take() {
                finished.usage = finished.usage.plus(before.usage);
                finished.nanos = finished
                    .nanos
                    .zip(before.nanos)
                    .map(|(a, b)| a.saturating_add(b));
            }
            let restored = marks.json_restorer().whole_json(&text);
            match schema.check(&restored) {
                Ok(json) => {
                    others.push_back(Piece::Text(json.to_owned()));
                    let mut whole = Answer::whole(others, finished);
                    whole.failures = failures;
                    whole.redacted = answer.redacted;
                    whole.warnings = answer.warnings;
                    return Ok(whole);
                }
                Err(_) => {
                    let mistakes = mistakes(&clean, &text);
                    let name = &finished.provenance.provider;
                    let why = format!("the answer does not fit the schema: {mistakes}");
                    failures.push(Failure::new(name, FailureKind::BadAnswer, why));
                    asked = repair(&clean, &text, &mistakes);
                    before = Some(finished);
                }
            }
        }
        Err(CloudError::Failed(failures))
    }

    /// The answer of the first provider that begins one.
    pub(super) async fn first(
        &self,
        names: &[String],
        clean: &Request,
        marks: &Marks,
        who: Who<'_>,
        key: Option<CacheKey>,
    ) -> Result<Answer, CloudError> {
        let mut left = names.iter().filter_map(|name| self.find(name));
        let mut next = left.next();
        let mut running = FuturesUnordered::new();
        let (mut failures, mut refused) = (Vec::new(), None);
        let hedge = self.settings.hedge_ms.map(Duration::from_millis);
        loop {
            if running.is_empty() {
                match next.take() {
                    Some(provider) => running.push(self.begin(provider, clean, marks, who)),
                    None if failures.is_empty() => {
                        return Err(refused.map_or(CloudError::NoProvider, CloudError::Budget));
                    }
                    None => return Err(CloudError::Failed(failures)),
                }
                next = left.next();
            }
            let patience = async {
                match hedge.filter(|_| next.is_some()) {
                    Some(hedge) => tokio::time::sleep(hedge).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(begun) = running.next() => match begun {
                    Ok(mut live) => {
                        live.keep = key.map(|key| (Arc::clone(&self.cache), key, String::new()));
                        if let Some((.., whole)) = &mut live.keep {
                            whole.extend(live.waiting.iter().filter_map(|piece| match piece {
                                Piece::Text(text) => Some(text.as_str()),
                                _ => None,
                            }));
                        }
                        return Ok(Answer::live(*live, marks.counts().clone(), failures));
                    }
                    Err(Missed::Failed(failure)) => failures.push(failure),
                    Err(Missed::Budget(fault)) => refused = Some(fault),
                },
                () = patience => {
                    if let Some(provider) = next.take() {
                        running.push(self.begin(provider, clean, marks, who));
                        next = left.next();
                    }
                }
            }
        }
    }

    /// Asks one provider until it begins to answer, several times if that may help.
    async fn begin(
        &self,
        provider: &Arc<Provider>,
        request: &Request,
        marks: &Marks,
        who: Who<'_>,
    ) -> Result<Box<Live>, Missed> {
        let name = &provider.settings.name;
        let worst = self
            .worst(provider, request.input_estimate(), request)
            .map_err(Missed::Budget)?;
        let mut entered = provider.enter().map_err(Missed::Failed)?;
        if let Err(why) = who.gate.pass(name, marks.counts()).await {
            return Err(Missed::Failed(Failure::new(name, FailureKind::Denied, why)));
        }
        let mut pauses = Duration::ZERO;
        let mut tries = 0;
        let mut nanos: u64 = 0;
        loop {
            let picked = provider.pick().await.map_err(Missed::Failed)?;
            let mut failure = match self
                .once(provider, request, marks, who, worst, picked.as_ref())
                .await?
            {
                Ok(mut live) => {
                    live.entered = entered.1;
                    live.nanos_before = nanos;
                    entered.succeeded();
                    return Ok(live);
                }
                Err(failure) => failure,
            };
            tries += 1;
            nanos = nanos.saturating_add(failure.nanos);
            failure.nanos = nanos;
            let pause = provider.pause(&failure, picked.as_ref(), tries);
            match pause.filter(|pause| pauses + *pause <= PAUSES_MAX) {
                Some(pause) if tries <= provider.settings.retries_max => {
                    pauses += pause;
                    tokio::time::sleep(pause).await;
                }
                _ => {
                    entered.failed(&failure);
                    return Err(Missed::Failed(failure));
                }
            }
        }
    }

    /// Asks one provider once.
    async fn once(
        &self,
        provider: &Arc<Provider>,
        request: &Request,
        marks: &Marks,
        who: Who<'_>,
        worst: Amount,
        picked: Option<&Picked>,
    ) -> Result<Result<Box<Live>, Failure>, Missed> {
        let limits = &self.settings.limits;
        let reservation = self
            .ledger
            .reserve(who.user, worst, limits, Timestamp::now());
        let mut reservation = reservation.map_err(Missed::Budget)?;
        let prompt = Usage {
            input_tokens: request.input_estimate(),
            estimated: true,
            ..Usage::default()
        };
        // Whoever leaves while it is being sent does not know what of it was read.
        let read = self.cost(provider, prompt);
        reservation.so_far(read);
        // The disk gets it while the request is on its way.
        let ledger = Arc::clone(&self.ledger);
        tokio::task::spawn_blocking(move || ledger.sync());
        let key = picked.map(|picked| picked.key.clone());
        let beginning = Attempt::begin(&provider.http, &provider.settings, request, key);
        let mut live = match beginning.await {
            Ok(attempt) => Box::new(Live {
                provider: Arc::clone(provider),
                attempt,
                entered: Instant::now(),
                reservation,
                // What has to fit a schema is restored when it is whole: it may be sent again.
                restorer: match request.schema {
                    Some(_) => Marks::default().restorer(),
                    None => marks.restorer(),
                },
                arguments: marks.json_restorer(),
                price: self.price(provider).cloned(),
                input_estimate: request.input_estimate(),
                max_tokens: request.max_tokens,
                seen: Seen::default(),
                waiting: VecDeque::new(),
                keep: None,
                nanos_before: 0,
                over: false,
                failed: None,
            }),
            Err(failure) if failure.kind.may_cost() => {
                let nanos = read.nanos;
                return Ok(Err(Failure { nanos, ..failure }));
            }
            Err(failure) => {
                reservation.so_far(Amount::default());
                return Ok(Err(failure));
            }
        };
        // From here on the prompt is being read, and paid for.
        live.take(Event::Usage(crate::request::Reported::default()));
        loop {
            match live.attempt.next().await {
                Ok(Some(event)) => live.take(event),
                Ok(None) => return Ok(whole(live)),
                Err(failure) => {
                    let nanos = live.amount().nanos;
                    return Ok(Err(Failure { nanos, ..failure }));
                }
            }
            if !live.waiting.is_empty() {
                return Ok(Ok(live));
            }
        }
    }
}

/// An answer that ended before there was anything of it. It may be empty, if the model says so.
fn whole(live: Box<Live>) -> Result<Box<Live>, Failure> {
    let name = &live.provider.settings.name;
    let (kind, why) = match live.seen.finish {
        Some(Finish::Filtered) => (FailureKind::Rejected, "its filter let nothing through"),
        None => (FailureKind::Malformed, "it ended without an answer"),
        Some(_) => return Ok(live),
    };
    let failure = Failure::new(name, kind, why);
    let nanos = live.amount().nanos;
    Err(Failure { nanos, ..failure })
}
