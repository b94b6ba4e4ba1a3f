//! From text to vectors: what an embedding model has to do, and the check of what it did.
//!
//! | file | what it owns |
//! |---|---|
//! | `bert.rs` | a model in this process, by candle |
//! | `directory.rs` | what that model's directory says, checked |

#[cfg(feature = "candle")]
mod bert;
#[cfg(feature = "candle")]
mod directory;

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "candle")]
pub use self::bert::Bert;
#[cfg(feature = "candle")]
pub use self::directory::{BertOptions, OpenError, Pooling, Prompts};

use crate::error::{MemoryError, Result};

/// What a text is, for models that read questions and passages differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbedKind {
    /// What somebody looks for.
    Query,
    /// What may be found.
    Document,
}

/// An embedding model that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the embedding model `{model}` failed: {why}")]
pub struct EmbedError {
    /// Which model.
    pub model: String,
    /// What happened.
    pub why: String,
}

/// An embedding model. The worker brings it.
pub trait Embedder: Send + Sync {
    /// Its name, for people.
    fn name(&self) -> &str;
    /// How many numbers a vector has.
    fn dimensions(&self) -> usize;
    /// One vector for each text, in order.
    fn embed(&self, kind: EmbedKind, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError>;

    /// The same for somebody who waits no longer than this. A model that can't be hurried takes its
    /// time.
    fn embed_within(
        &self,
        kind: EmbedKind,
        texts: &[&str],
        within: Duration,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let _ = within;
        self.embed(kind, texts)
    }

    /// Whether it may be away for a while, as a server is: then it is asked no more for the rest.
    fn may_be_away(&self) -> bool {
        false
    }

    /// How many tokens of a text it reads; what is behind them says nothing to it. `None` if that
    /// is not known.
    fn tokens_max(&self) -> Option<usize> {
        None
    }

    /// How many tokens a text has, roughly if it is longer than what it reads.
    fn count_tokens(&self, text: &str) -> usize {
        text.chars().count().div_ceil(4)
    }
}

/// An embedding model whose vectors are checked and of unit length.
#[derive(Clone)]
pub(crate) struct Checked(Arc<dyn Embedder>);

impl Checked {
    pub(crate) fn new(embedder: Arc<dyn Embedder>) -> Result<Self> {
        check_dimensions(embedder.dimensions())?;
        Ok(Self(embedder))
    }

    pub(crate) fn name(&self) -> &str {
        self.0.name()
    }

    pub(crate) fn dimensions(&self) -> usize {
        self.0.dimensions()
    }

    /// The vectors of documents, in order, each if it can be used.
    pub(crate) fn embed(&self, texts: &[&str]) -> Result<Vec<Result<Vec<f32>>>> {
        let vectors = self.0.embed(EmbedKind::Document, texts)?;
        self.checked(vectors, texts.len())
    }

    pub(crate) fn query(&self, text: &str, within: Duration) -> Result<Vec<f32>> {
        let vectors = self.0.embed_within(EmbedKind::Query, &[text], within)?;
        self.checked(vectors, 1)?.remove(0)
    }

    /// As many as there are texts; which of them are vectors is each one's own affair.
    fn checked(&self, vectors: Vec<Vec<f32>>, texts: usize) -> Result<Vec<Result<Vec<f32>>>> {
        if vectors.len() != texts {
            let why = format!("it gave {} vectors for {texts} texts", vectors.len());
            return Err(MemoryError::Vector { why });
        }
        let checked = |mut vector: Vec<f32>| {
            unit(&mut vector, self.dimensions())?;
            Ok(vector)
        };
        Ok(vectors.into_iter().map(checked).collect())
    }

    pub(crate) fn model(&self) -> &Arc<dyn Embedder> {
        &self.0
    }
}

/// The longest vectors that are kept.
pub const DIMENSIONS_MAX: usize = 8192;

pub(crate) fn check_dimensions(dimensions: usize) -> Result<()> {
    if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
        let why = format!("{dimensions} dimensions; 1 to {DIMENSIONS_MAX} are kept");
        return Err(MemoryError::Vector { why });
    }
    Ok(())
}

/// Makes a vector unit length, or says why it can't be.
pub(crate) fn unit(vector: &mut [f32], dimensions: usize) -> Result<()> {
    let length = check(vector, dimensions)?;
    // One that is of unit length already stays as it is, to the last bit.
    if (length - 1.0).abs() > 1e-5 {
        #[expect(clippy::cast_possible_truncation, reason = "vectors are f32")]
        vector
            .iter_mut()
            .for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
    Ok(())
}

/// The length of a usable vector.
fn check(vector: &[f32], dimensions: usize) -> Result<f64> {
    let wrong = |why: String| Err(MemoryError::Vector { why });
    if vector.len() != dimensions {
        return wrong(format!(
            "it has {} dimensions instead of {dimensions}",
            vector.len()
        ));
    }
    if vector.iter().any(|x| !x.is_finite()) {
        return wrong("it holds a number that is not finite".into());
    }
    let length = vector
        .iter()
        .map(|x| f64::from(*x).powi(2))
        .sum::<f64>()
        .sqrt();
    if length < 1e-12 {
        return wrong("it is zero".into());
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_vectors_that_mean_something_pass() {
        let mut good = [3.0, 4.0];
        unit(&mut good, 2).unwrap();
        assert_eq!(good, [0.6, 0.8]);
        for bad in [
            &mut [0.0, 0.0][..],
            &mut [f32::NAN, 1.0],
            &mut [f32::INFINITY, 1.0],
            &mut [1.0],
        ] {
            assert!(
                matches!(unit(bad, 2), Err(MemoryError::Vector { .. })),
                "{bad:?}"
            );
        }
        let mut huge = [f32::MAX, f32::MAX];
        unit(&mut huge, 2).unwrap();
        assert!((huge[0] - 0.5f32.sqrt()).abs() < 1e-6, "{huge:?}");
        assert!(check_dimensions(0).is_err() && check_dimensions(10_000_000).is_err());
    }
}
