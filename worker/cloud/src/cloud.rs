//! [`Cloud`], what a worker opens: providers in their order, until one answers.

mod asking;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use crate::answer::{Answer, Piece};
use crate::budget::{Amount, BudgetError, Ledger};
use crate::cache::{Cache, CacheKey};
use crate::endpoint::{Provider, lock};
use crate::error::CloudError;
use crate::prices::{Price, Prices};
use crate::provider::{Auth, prepare};
use crate::redact::{Counts, Marks, Redactor};
use crate::request::{Label, Request, Usage};
use crate::route::{Candidate, Trouble};
use crate::schema::Schema;
use crate::settings::{ProviderSettings, Settings};

/// All providers, and what was spent on them.
pub struct Cloud {
    settings: Settings,
    redactor: Arc<Redactor>,
    ledger: Arc<Ledger>,
    prices: Prices,
    cache: Arc<Mutex<Cache>>,
    providers: Vec<Arc<Provider>>,
}

/// Whom a request is from.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    /// Who pays.
    pub user: &'a str,
    /// How confidential it is.
    pub label: Label,
    /// Who has to agree before anything is sent.
    pub gate: &'a dyn Gate,
}

/// Asked before a request is sent to a provider.
pub trait Gate: Send + Sync {
    /// Answers with `Ok` if the request may go there; otherwise why not.
    fn pass<'a>(
        &'a self,
        provider: &'a str,
        redacted: &'a Counts,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;
}

/// What would be sent, to the byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DryRun {
    /// To whom.
    pub provider: String,
    /// Where to.
    pub url: String,
    /// With which headers; a key is shown as `[KEY]`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// What was taken out, by kind.
    pub redacted: Counts,
    /// About how many tokens that are, rather too many.
    pub input_tokens_estimate: u64,
    /// What it can cost at most, in billionths of a dollar; none: there is no price.
    pub nanos_max: Option<u64>,
}

/// Longer requests are redacted by another thread.
const REDACT_HERE_BYTES_MAX: usize = 32 << 10;

impl Cloud {
    /// Opens the budget and reads the prices. Blocks.
    ///
    /// # Errors
    /// [`CloudError`] if a file or a setting can't be used.
    pub fn open(settings: Settings) -> Result<Self, CloudError> {
        let ledger = Ledger::open(&settings.budget_dir, Timestamp::now())?;
        Self::with_ledger(settings, ledger)
    }

    /// The same with other settings, and the budget as it stands.
    ///
    /// # Errors
    /// [`CloudError`] if a file or a setting can't be used.
    pub fn reopened(&self, settings: Settings) -> Result<Self, CloudError> {
        if settings.budget_dir == self.settings.budget_dir {
            Self::with_ledger(settings, Arc::clone(&self.ledger))
        } else {
            Self::open(settings)
        }
    }

    fn with_ledger(settings: Settings, ledger: Arc<Ledger>) -> Result<Self, CloudError> {
        let prices = settings.prices.as_deref().map(Prices::load).transpose()?;
        let provider = |provider: &ProviderSettings| {
            provider.check()?;
            Ok(Arc::new(Provider::new(provider)?))
        };
        let providers: Result<_, CloudError> = settings.providers.iter().map(provider).collect();
        let age_max = Duration::from_secs(settings.cache_age_s_max);
        Ok(Self {
            redactor: Arc::new(Redactor::new(&settings.redact)?),
            ledger,
            prices: prices.unwrap_or_default(),
            cache: Arc::new(Mutex::new(Cache::new(settings.cache_bytes_max, age_max))),
            providers: providers?,
            settings,
        })
    }

    /// What it was opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What was spent.
    #[must_use]
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// How each provider stands for this request of this user, in order.
    #[must_use]
    pub fn candidates(&self, request: &Request, user: &str) -> Vec<Candidate> {
        let (now, input) = (Instant::now(), request.input_estimate());
        let candidate = |provider: &Arc<Provider>| Candidate {
            name: provider.settings.name.clone(),
            label_max: provider.settings.label_max,
            context_tokens: provider.settings.context_tokens,
            trouble: provider.trouble(now).or_else(|| {
                let fits = self.worst(provider, input, request).and_then(|worst| {
                    let limits = &self.settings.limits;
                    Ok(self.ledger.check(user, worst, limits, Timestamp::now())?)
                });
                fits.err().map(|fault| Trouble::Budget(fault.to_string()))
            }),
        };
        self.providers.iter().map(candidate).collect()
    }

    /// What would be sent to this provider; none: there is no such provider.
    #[must_use]
    pub fn dry_run(&self, provider: &str, request: &Request) -> Option<DryRun> {
        let provider = self.find(provider)?;
        let (clean, marks) = self.redactor.request(request);
        let prepared = prepare(&provider.settings, &clean);
        let mut headers: Vec<(String, String)> = prepared
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        if !provider.settings.keys.is_empty() {
            headers.push(match prepared.auth {
                Auth::Bearer => ("authorization".to_owned(), "Bearer [KEY]".to_owned()),
                Auth::Header(name) => (name.to_owned(), "[KEY]".to_owned()),
            });
        }
        let input = clean.input_estimate();
        Some(DryRun {
            provider: provider.settings.name.clone(),
            url: prepared.url.to_string(),
            headers,
            body: String::from_utf8_lossy(&prepared.body).into_owned(),
            redacted: marks.counts().clone(),
            input_tokens_estimate: input,
            nanos_max: self
                .price(provider)
                .map(|price| price.nanos(&most(input, request))),
        })
    }

    /// Asks these providers in their order, until one begins to answer. Dropping the future, or
    /// later the answer, closes every connection at once.
    ///
    /// # Errors
    /// [`CloudError::Failed`] with every failure, or the budget's refusal if that was the only one.
    pub async fn ask(
        &self,
        providers: &[String],
        request: &Request,
        who: Who<'_>,
    ) -> Result<Answer, CloudError> {
        let key = (self.settings.cache_bytes_max > 0)
            .then(|| CacheKey::of(providers, request, who.user, who.label))
            .flatten();
        if let Some(key) = &key
            && let Some((text, mut finished)) = lock(&self.cache).get(key, Instant::now())
        {
            finished.provenance.from_cache = true;
            finished.usage = Usage::default();
            finished.nanos = Some(0);
            return Ok(Answer::whole(VecDeque::from([Piece::Text(text)]), finished));
        }
        match &request.schema {
            None => {
                let (clean, marks) = self.redacted(request).await;
                self.first(providers, &clean, &marks, who, key).await
            }
            Some(schema) => {
                let schema = Schema::new(schema)?;
                self.fitting(providers, request, who, &schema).await
            }
        }
    }

    /// The request without its secrets. A long one does not keep others from this thread.
    async fn redacted(&self, request: &Request) -> (Request, Marks) {
        let bytes: usize = request.messages.iter().map(|m| m.content.len()).sum();
        if bytes > REDACT_HERE_BYTES_MAX {
            let (redactor, long) = (Arc::clone(&self.redactor), request.clone());
            let redacting = tokio::task::spawn_blocking(move || redactor.request(&long));
            if let Ok(redacted) = redacting.await {
                return redacted;
            }
        }
        self.redactor.request(request)
    }

    fn find(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers
            .iter()
            .find(|provider| provider.settings.name == name)
    }

    fn price(&self, provider: &Provider) -> Option<&Price> {
        self.prices
            .find(&provider.settings.name, &provider.settings.model)
    }

    fn cost(&self, provider: &Provider, usage: Usage) -> Amount {
        Amount {
            tokens: usage.input_tokens.saturating_add(usage.output_tokens),
            nanos: self.price(provider).map_or(0, |price| price.nanos(&usage)),
        }
    }

    /// The most that a request can take.
    fn worst(
        &self,
        provider: &Provider,
        input: u64,
        request: &Request,
    ) -> Result<Amount, BudgetError> {
        if self.settings.limits.in_money() && self.price(provider).is_none() {
            return Err(BudgetError::NoPrice {
                provider: provider.settings.name.clone(),
                model: provider.settings.model.clone(),
            });
        }
        Ok(self.cost(provider, most(input, request)))
    }
}

fn most(input_tokens: u64, request: &Request) -> Usage {
    Usage {
        input_tokens,
        output_tokens: u64::from(request.max_tokens),
        cached_tokens: 0,
        estimated: true,
    }
}
