//! Vectors of texts, from a server: OpenAI's `/embeddings`, which many others speak, and Ollama's
//! `/api/embed`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::endpoint::Provider;
use crate::error::{CloudError, Failure, FailureKind};
use crate::keys::{Key, KeySource};
use crate::provider::{Kind, join};
use crate::redact::{Redactor, Rules};
use crate::settings::ProviderSettings;

/// Its name in the policy, the audit and failures.
pub const NAME: &str = "embeddings";

/// An answer that takes longer is none.
const TIME_MAX: Duration = Duration::from_secs(30);
/// A number of a vector has no more characters than this in JSON.
const NUMBER_BYTES_MAX: usize = 32;
/// What of an answer is no vector.
const REST_BYTES_MAX: usize = 64 << 10;

/// A server that turns texts into vectors.
pub struct Embeddings {
    server: Provider,
    redactor: Redactor,
    dimensions: usize,
}

impl Embeddings {
    /// A model at a server, whose vectors have so many numbers.
    ///
    /// # Errors
    /// [`CloudError`] if the address or a rule can't be used, or the kind has no embeddings here.
    pub fn new(
        kind: Kind,
        base_url: Option<&str>,
        model: &str,
        dimensions: usize,
        keys: Vec<KeySource>,
        redact: &Rules,
    ) -> Result<Self, CloudError> {
        if matches!(kind, Kind::Anthropic | Kind::Gemini) {
            let why = "embeddings are spoken to as openai, ollama or openai_compatible";
            return Err(CloudError::Settings(why.to_owned()));
        }
        let mut settings = ProviderSettings::new(NAME, kind, model, base_url)?;
        settings.keys = keys;
        settings.check()?;
        Ok(Self {
            server: Provider::new(&settings)?,
            redactor: Redactor::new(redact)?,
            dimensions,
        })
    }

    /// Whether the server is on this machine, so that nothing leaves it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.server.settings.is_loopback()
    }

    /// The model's name.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.server.settings.model
    }

    /// How many numbers a vector has.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// One vector for each text, in order, within this time if it is a short one. Secrets are taken
    /// out first if the text leaves.
    ///
    /// # Errors
    /// [`Failure`] if the server can't be asked or its answer is not what was asked for. After one
    /// that did not come in time it is left alone for a while.
    pub async fn embed(&self, texts: &[&str], within: Duration) -> Result<Vec<Vec<f32>>, Failure> {
        let time_max = within.min(TIME_MAX);
        let asked = self.server.once(time_max, |key| self.post(texts, key));
        asked.await
    }

    async fn post(&self, texts: &[&str], key: Option<Key>) -> Result<Vec<Vec<f32>>, Failure> {
        let settings = &self.server.settings;
        let clean = |text: &&str| match self.is_loopback() {
            true => (*text).to_owned(),
            false => self.redactor.scrub(text),
        };
        let input: Vec<String> = texts.iter().map(clean).collect();
        let body = json!({ "model": settings.model, "input": input });
        let path: &[&str] = match settings.kind {
            Kind::Ollama => &["api", "embed"],
            _ => &["embeddings"],
        };
        let url = join(&settings.base_url, path.iter().copied());
        let bytes_max = REST_BYTES_MAX + texts.len() * self.dimensions * NUMBER_BYTES_MAX;
        let http = &self.server.http;
        let posted = http.post_json(settings, url, &body, key.as_ref(), bytes_max);
        vectors(&posted.await?, texts.len(), self.dimensions)
            .map_err(|why| Failure::new(NAME, FailureKind::Malformed, why))
    }
}

/// The vectors of an answer in either form.
fn vectors(answer: &[u8], texts: usize, dimensions: usize) -> Result<Vec<Vec<f32>>, String> {
    let answer: Value = serde_json::from_slice(answer)
        .map_err(|fault| format!("its answer is no JSON: {fault}"))?;
    let mut found: Vec<Vec<f32>> = vec![Vec::new(); texts];
    let list = answer["embeddings"]
        .as_array()
        .or(answer["data"].as_array());
    let list = list.ok_or("its answer has no vectors")?;
    if list.len() != texts {
        return Err(format!("it gave {} vectors for {texts} texts", list.len()));
    }
    for (place, one) in list.iter().enumerate() {
        let numbers = one.as_array().or(one["embedding"].as_array());
        let numbers = numbers.ok_or("a vector is no list of numbers")?;
        if numbers.len() != dimensions {
            let length = numbers.len();
            return Err(format!(
                "its vectors have {length} numbers, and embedding_server_dimensions is {dimensions}"
            ));
        }
        // Without an index they come in order.
        let place = one["index"]
            .as_u64()
            .map_or(place, |at| usize::try_from(at).unwrap_or(texts));
        let slot = found.get_mut(place).filter(|slot| slot.is_empty());
        let slot = slot.ok_or("its indices are not those of the texts")?;
        #[expect(clippy::cast_possible_truncation, reason = "vectors are f32")]
        let numbers = numbers.iter().map(|n| n.as_f64().map(|n| n as f32));
        *slot = numbers
            .collect::<Option<_>>()
            .ok_or("a vector is no list of numbers")?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let openai = br#"{"data":[{"index":1,"embedding":[3,4]},{"index":0,"embedding":[1,2]}]}"#;
        let ollama = br#"{"model":"m","embeddings":[[1,2],[3.0,4e0]]}"#;
        for answer in [&openai[..], &ollama[..]] {
            assert_eq!(vectors(answer, 2, 2).unwrap(), [[1.0, 2.0], [3.0, 4.0]]);
        }
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        for answer in [
            "",
            "[]",
            r#"{"data":[]}"#,
            r#"{"embeddings":[[1]]}"#,
            r#"{"embeddings":[[1,2,3]]}"#,
            r#"{"embeddings":[["1","2"]]}"#,
            r#"{"embeddings":[null]}"#,
            r#"{"embeddings":[[1,2],[3,4]]}"#,
            r#"{"data":[{"index":7,"embedding":[1,2]}]}"#,
            r#"{"data":[{"index":-1,"embedding":"AAAA"}]}"#,
        ] {
            assert!(vectors(answer.as_bytes(), 1, 2).is_err(), "{answer}");
        }
    }
}
