//! Providers, limits and times, as plain data.

use std::path::PathBuf;

use url::{Host, Url};

use crate::budget::Limits;
use crate::error::CloudError;
use crate::keys::KeySource;
use crate::prices::Prices;
use crate::provider::Kind;
use crate::redact::{Redactor, Rules as RedactRules};
use crate::request::Label;
use crate::route::Causes;

/// Everything that a worker says about clouds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// Whether requests may leave that don't say so themselves.
    pub allow: bool,
    /// Why requests may leave.
    pub causes: Causes,
    /// The providers, in the order in which they are asked.
    pub providers: Vec<ProviderSettings>,
    /// What may be spent.
    pub limits: Limits,
    /// Where it is kept what was spent.
    pub budget_dir: PathBuf,
    /// What tokens cost; none: unknown.
    pub prices: Option<PathBuf>,
    /// What is taken out of a request.
    pub redact: RedactRules,
    /// Ask the next provider as well after so long without a token; none: never.
    pub hedge_ms: Option<u64>,
    /// Answers that are kept, in bytes together; 0: none.
    pub cache_bytes_max: usize,
    /// For how long.
    pub cache_age_s_max: u64,
}

impl Settings {
    /// What of it would keep requests from being answered: providers, rules, and the files of prices
    /// and keys. Blocks.
    #[must_use]
    pub fn problems(&self) -> Vec<CloudError> {
        let providers = self.providers.iter();
        let checked = providers.clone().filter_map(|one| one.check().err());
        // Of other sources only the worker itself knows what it will find.
        let files = providers
            .flat_map(|one| &one.keys)
            .filter(|source| matches!(source, KeySource::File(_)))
            .filter_map(|source| source.read().err());
        let prices = self.prices.iter();
        let prices = prices.filter_map(|path| Prices::load(path).err());
        let rules = Redactor::new(&self.redact).err();
        checked.chain(files).chain(prices).chain(rules).collect()
    }
}

/// Somebody who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSettings {
    /// Its name, as provenance has it.
    pub name: String,
    /// What it speaks.
    pub kind: Kind,
    /// Where it is.
    pub base_url: Url,
    /// The model that is asked for.
    pub model: String,
    /// Where its keys are; none: it wants none.
    pub keys: Vec<KeySource>,
    /// The most confidential requests that may go there; never [`Label::Private`].
    pub label_max: Label,
    /// Its times and limits.
    pub times: Times,
    /// How often a request is tried again there, if nothing was shown yet.
    pub retries_max: u32,
    /// The longest answer, in bytes on the wire.
    pub answer_bytes_max: usize,
    /// Its longest conversation in tokens; none: unknown.
    pub context_tokens: Option<u32>,
    /// Whether temperature, `top_p` and seed are sent; some models refuse them.
    pub sampling: bool,
    /// Whether text and keys may cross a network without TLS.
    pub allow_plain: bool,
}

/// How long things may take, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The connection, TLS included.
    pub connect_ms: u64,
    /// From sending to the first token.
    pub first_token_ms: u64,
    /// From one token to the next.
    pub between_tokens_ms: u64,
    /// All of it.
    pub total_ms: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            connect_ms: 5_000,
            first_token_ms: 30_000,
            between_tokens_ms: 20_000,
            total_ms: 300_000,
        }
    }
}

impl ProviderSettings {
    /// A provider with the usual times and the place that its kind is known for.
    ///
    /// # Errors
    /// [`CloudError::Settings`] if the kind is known for no place and `base_url` is none, or it is
    /// no URL that can be used.
    pub fn new(
        name: &str,
        kind: Kind,
        model: &str,
        base_url: Option<&str>,
    ) -> Result<Self, CloudError> {
        let wrong = |why: &str| CloudError::Settings(format!("[cloud.{name}] {why}"));
        let base_url = base_url
            .or(kind.base_url())
            .ok_or_else(|| wrong("needs a base_url"))?;
        // Old settings name the whole address of the service.
        let base_url = base_url.trim_end_matches('/');
        let base_url = base_url
            .strip_suffix("/chat/completions")
            .unwrap_or(base_url);
        let url = Url::parse(base_url).map_err(|_| wrong("base_url is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("base_url must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong(
                "base_url has a password or a query; keys have settings of their own",
            ));
        }
        let bad =
            |text: &str| text.is_empty() || text.len() > 200 || text.chars().any(char::is_control);
        if bad(model) {
            return Err(wrong("model must have 1 to 200 characters"));
        }
        Ok(Self {
            name: name.to_owned(),
            kind,
            base_url: url,
            model: model.to_owned(),
            keys: Vec::new(),
            label_max: Label::Internal,
            times: Times::default(),
            retries_max: 2,
            answer_bytes_max: 8 << 20,
            context_tokens: None,
            sampling: true,
            allow_plain: false,
        })
    }

    /// Whether the URL leads to this machine itself.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.base_url)
    }

    /// Checks what no single value can be checked for.
    ///
    /// # Errors
    /// [`CloudError::Settings`] with what to do.
    pub fn check(&self) -> Result<(), CloudError> {
        let wrong = |why: &str| Err(CloudError::Settings(format!("[cloud.{}] {why}", self.name)));
        if self.label_max == Label::Private {
            return wrong("label_max can't be private: what is private never leaves");
        }
        match self.base_url.scheme() {
            "https" if !cfg!(feature = "tls") => {
                wrong("needs https, and this program was built without TLS (feature `tls`)")
            }
            "http" if !self.is_loopback() && !self.allow_plain => wrong(
                "base_url would send text and keys unencrypted; use https, or set allow_plain = on",
            ),
            _ => Ok(()),
        }
    }
}

/// Whether a URL leads to this machine itself.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.to_canonical().is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Result<ProviderSettings, CloudError> {
        ProviderSettings::new("p", Kind::OpenAiCompatible, "m", Some(url))
    }

    #[test]
    fn urls_that_would_leak_are_refused() {
        for url in [
            "ftp://x",
            "x",
            "http://",
            "http://a:b@host",
            "http://host?key=1",
        ] {
            assert!(at(url).is_err(), "{url}");
        }
        assert!(at("http://10.0.0.1/v1").unwrap().check().is_err());
        assert!(at("http://127.0.0.1:1/v1").unwrap().check().is_ok());
        assert!(at("http://[::1]:1/v1").unwrap().check().is_ok());
        assert!(
            at("http://127.0.0.1.example.org/v1")
                .unwrap()
                .check()
                .is_err()
        );
        let whole = at("http://localhost/v1/chat/completions").unwrap();
        assert_eq!(whole.base_url.as_str(), "http://localhost/v1");
    }

    #[test]
    fn what_is_private_has_no_provider() {
        let mut settings = at("http://127.0.0.1/v1").unwrap();
        settings.label_max = Label::Private;
        assert!(settings.check().is_err());
    }
}
