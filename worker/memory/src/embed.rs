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
#[error("the embedding model `{model}` failed: {why}; search goes on by words alone")]
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

    /// Whether it may be away for a while, as a server is: then records are kept without vectors.
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

    pub(crate) fn embed(&self, kind: EmbedKind, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let mut vectors = self.0.embed(kind, texts)?;
        if vectors.len() != texts.len() {
            let why = format!(
                "it gave {} vectors for {} texts",
                vectors.len(),
                texts.len()
            );
            return Err(MemoryError::Vector { why });
        }
        for vector in &mut vectors {
            unit(vector, self.dimensions())?;
        }
        Ok(vectors)
    }

    pub(crate) fn model(&self) -> &Arc<dyn Embedder> {
        &self.0
    }

    pub(crate) fn query(&self, text: &str) -> Result<Vec<f32>> {
        let mut vectors = self.embed(EmbedKind::Query, &[text])?;
        vectors.pop().ok_or_else(|| MemoryError::Vector {
            why: "there is none".into(),
        })
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
