//! `[cloud]` and `[cloud.NAME]`: providers are put together when the whole file was read, since
//! their keys come in any order.

use std::path::{Path, PathBuf};

use fazai_cloud::budget::Limits;
use fazai_cloud::provider::Kind;
use fazai_cloud::redact::Rules;
use fazai_cloud::route::Causes;
use fazai_cloud::settings::Times;
use fazai_cloud::{Key, KeySource, Label, ProviderSettings};

use super::values::{number, on_off, parts, path};
use crate::text_file;

/// Whether requests may go to others, to whom, and for how much.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudSettings {
    /// Whether requests may leave that don't say so themselves; none: if there is a provider.
    pub allow: Option<bool>,
    /// The providers in the order in which they are asked; empty: as the file has them.
    pub order: Vec<String>,
    /// Why requests may leave.
    pub causes: Causes,
    /// What tokens cost.
    pub prices: Option<PathBuf>,
    /// Where it is kept what was spent.
    pub budget_dir: PathBuf,
    /// What may be spent.
    pub limits: Limits,
    /// What is taken out of a request, besides what looks like a secret.
    pub redact: Rules,
    /// Ask the next provider as well after so long without a token; 0: never.
    pub hedge_ms: u64,
    /// Answers that are kept; 0: none.
    pub cache_bytes_max: u64,
    /// For how long.
    pub cache_age_s_max: u64,
    /// With less memory free than this, requests leave; 0: never for that.
    pub low_memory_bytes: u64,
    /// Where documentation is looked up; none: nowhere.
    pub documentation_url: Option<String>,
    /// The key for that.
    pub documentation_key_file: Option<PathBuf>,
    /// A program that says whether others have the GPU, by its words; empty: none.
    pub gpu_probe: Vec<String>,
    /// The sections `[cloud.NAME]`.
    pub providers: Vec<ProviderSection>,
    /// What v2's `[openai]` and `[openrouter]` say; without a key they are no providers.
    pub(super) v2: Vec<ProviderSection>,
    /// The order of v2, which may name some that are none.
    pub(super) order_v2: Vec<String>,
}

/// One section `[cloud.NAME]`, as it was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProviderSection {
    name: String,
    kind: Option<Kind>,
    base_url: Option<String>,
    model: Option<String>,
    keys: Vec<KeySource>,
    label_max: Option<Label>,
    times: Times,
    retries_max: Option<u32>,
    answer_bytes_max: Option<usize>,
    context_tokens: Option<u32>,
    sampling: Option<bool>,
    allow_plain: bool,
}

/// The keys of `[cloud.NAME]`.
pub(super) const PROVIDER_KEYS: &[&str] = &[
    "kind",
    "base_url",
    "model",
    "api_key",
    "api_key_file",
    "api_key_env",
    "api_key_credential",
    "api_key_command",
    "label_max",
    "connect_ms",
    "first_token_ms",
    "between_tokens_ms",
    "total_ms",
    "retries_max",
    "answer_bytes_max",
    "context_tokens",
    "sampling",
    "allow_plain",
];

/// No time is longer, in milliseconds.
const TIME_MAX: u64 = 3_600_000;
/// A file of patterns has no reason to be longer.
const PATTERNS_BYTES_MAX: usize = 64 << 10;

impl CloudSettings {
    /// Takes one key of `[cloud.NAME]`.
    pub(super) fn set(&mut self, name: &str, key: &str, value: &str) -> Result<(), String> {
        section(&mut self.providers, name).set(key, value)
    }

    /// Takes one key of v2's `[openai]` or `[openrouter]`.
    pub(super) fn set_v2(&mut self, name: &str, key: &str, value: &str) -> Result<(), String> {
        section(&mut self.v2, name).set(key, value)
    }

    /// Begins a section, so that an empty one is a provider that lacks everything.
    pub(super) fn begin(&mut self, name: &str) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(format!(
                "[cloud.{name}]: a name has letters, digits, - and _"
            ));
        }
        section(&mut self.providers, name);
        Ok(())
    }

    /// The files with the providers' keys.
    pub(crate) fn key_files(&self) -> impl Iterator<Item = &PathBuf> {
        let sources = self.providers.iter().flat_map(|section| &section.keys);
        sources.filter_map(|source| match source {
            KeySource::File(path) => Some(path),
            _ => None,
        })
    }

    /// What of v2's sections can't be used here.
    pub(super) fn v2_notes(&self) -> Vec<String> {
        let with_key = self.v2.iter().filter(|section| !section.keys.is_empty());
        with_key
            .filter_map(|section| section.provider().err())
            .collect()
    }

    /// What the crate takes: every provider checked, in the order in which they are asked.
    ///
    /// # Errors
    /// What is wrong, and in which section.
    pub fn settings(&self) -> Result<fazai_cloud::Settings, String> {
        let named = |name: &str| self.providers.iter().any(|section| section.name == name);
        let mut v2: Vec<&ProviderSection> = self.v2.iter().collect();
        v2.retain(|section| !section.keys.is_empty() && !named(&section.name));
        let place = |name: &str| self.order_v2.iter().position(|other| other == name);
        v2.sort_by_key(|section| place(&section.name).unwrap_or(usize::MAX));
        let all = self.providers.iter().map(ProviderSection::provider);
        let mut all: Vec<ProviderSettings> = all.collect::<Result<_, _>>()?;
        // An old file stays good where it is no good for a cloud; `v2_notes` says so.
        all.extend(v2.into_iter().filter_map(|section| section.provider().ok()));
        let providers = if self.order.is_empty() {
            all
        } else {
            let find = |name: &String| {
                let found = all.iter().find(|provider| provider.name == *name).cloned();
                found.ok_or_else(|| {
                    format!("fallback_order names {name}, and there is no [cloud.{name}]")
                })
            };
            self.order.iter().map(find).collect::<Result<_, _>>()?
        };
        Ok(fazai_cloud::Settings {
            allow: self.allow.unwrap_or(!providers.is_empty()),
            causes: self.causes,
            providers,
            limits: self.limits,
            budget_dir: self.budget_dir.clone(),
            prices: self.prices.clone(),
            redact: self.redact.clone(),
            hedge_ms: Some(self.hedge_ms).filter(|ms| *ms > 0),
            cache_bytes_max: usize::try_from(self.cache_bytes_max).unwrap_or(usize::MAX),
            cache_age_s_max: self.cache_age_s_max,
        })
    }
}

/// The section of this provider, new or known.
fn section<'a>(sections: &'a mut Vec<ProviderSection>, name: &str) -> &'a mut ProviderSection {
    let known = sections.iter().position(|section| section.name == name);
    let at = known.unwrap_or_else(|| {
        sections.push(ProviderSection {
            name: name.to_owned(),
            ..ProviderSection::default()
        });
        sections.len() - 1
    });
    &mut sections[at]
}

impl ProviderSection {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let millis = || number(value, 1, TIME_MAX);
        match key {
            "kind" => self.kind = Some(Kind::parse(value)?),
            "base_url" => self.base_url = Some(value.to_owned()),
            "model" => self.model = Some(value.to_owned()),
            // Old files have the key without a value.
            "api_key" if value.is_empty() => {}
            "api_key" => {
                for key in value.split(',').map(str::trim) {
                    let key = Key::new(key).map_err(|fault| fault.to_string())?;
                    self.keys.push(KeySource::Value(key));
                }
            }
            "api_key_file" => self.keys.push(KeySource::File(path(value)?)),
            "api_key_env" => self.keys.push(KeySource::Env(value.to_owned())),
            "api_key_credential" => self.keys.push(KeySource::Credential(value.to_owned())),
            "api_key_command" => {
                self.keys.push(KeySource::Command(words(value)?));
            }
            "label_max" => {
                self.label_max = Some(match value {
                    "public" => Label::Public,
                    "internal" => Label::Internal,
                    _ => return Err("public or internal is needed".to_owned()),
                });
            }
            "connect_ms" => self.times.connect_ms = millis()?,
            "first_token_ms" => self.times.first_token_ms = millis()?,
            "between_tokens_ms" => self.times.between_tokens_ms = millis()?,
            "total_ms" => self.times.total_ms = millis()?,
            "retries_max" => self.retries_max = Some(number(value, 0, 10)?),
            "answer_bytes_max" => self.answer_bytes_max = Some(number(value, 1 << 10, 1 << 30)?),
            "context_tokens" => self.context_tokens = Some(number(value, 1, u32::MAX)?),
            "sampling" => self.sampling = Some(on_off(value)?),
            "allow_plain" => self.allow_plain = on_off(value)?,
            _ => {
                let known = PROVIDER_KEYS.iter().copied();
                let hint = super::file::nearest(key, known);
                return Err(format!("[cloud.{}] has no key {key:?}{hint}", self.name));
            }
        }
        Ok(())
    }

    fn provider(&self) -> Result<ProviderSettings, String> {
        let missing = |key: &str| format!("[cloud.{}] needs {key}", self.name);
        // A section that is called like a kind is of that kind.
        let kind = self.kind.or_else(|| Kind::parse(&self.name).ok());
        let kind = kind.ok_or_else(|| missing("kind"))?;
        // What v2 took where its file said nothing.
        let model = self.model.as_deref().or(match self.name.as_str() {
            "openai" => Some("gpt-4"),
            "openrouter" => Some("openai/gpt-4o"),
            _ => None,
        });
        let model = model.ok_or_else(|| missing("model"))?;
        let provider = ProviderSettings::new(&self.name, kind, model, self.base_url.as_deref());
        let mut provider = provider.map_err(|fault| fault.to_string())?;
        provider.keys.clone_from(&self.keys);
        provider.times = self.times;
        provider.context_tokens = self.context_tokens;
        provider.allow_plain = self.allow_plain;
        provider.label_max = self.label_max.unwrap_or(provider.label_max);
        provider.retries_max = self.retries_max.unwrap_or(provider.retries_max);
        provider.sampling = self.sampling.unwrap_or(provider.sampling);
        let most = provider.answer_bytes_max;
        provider.answer_bytes_max = self.answer_bytes_max.unwrap_or(most);
        provider.check().map_err(|fault| fault.to_string())?;
        Ok(provider)
    }
}

/// A command by its words.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    shlex::split(text).ok_or_else(|| "a command is needed, quoted as in a shell".to_owned())
}

/// Names with commas between them.
pub(super) fn names(text: &str) -> Vec<String> {
    parts(text).map(str::to_owned).collect()
}

/// Patterns from a file, one for each line.
pub(super) fn patterns(path: &Path) -> Result<Vec<String>, String> {
    let text = text_file::read(path).map_err(|fault| format!("a file is needed: {fault}"))?;
    if text.len() > PATTERNS_BYTES_MAX {
        return Err("a file of 64 KiB at most is needed".to_owned());
    }
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// A number of tokens; 0: no limit.
pub(super) fn tokens(text: &str) -> Result<Option<u64>, String> {
    Ok(Some(number(text, 0, 1 << 50)?).filter(|tokens| *tokens > 0))
}

/// An amount in dollars; 0: no limit.
pub(super) fn dollars(text: &str) -> Result<Option<u64>, String> {
    Ok(Some(fazai_cloud::prices::nanos(text)?).filter(|nanos| *nanos > 0))
}
