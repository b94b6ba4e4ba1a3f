//! Why this backend refuses a file.

use super::shape::FAMILIES;
use crate::load::LoadError;

/// Why this backend can't use a file that is a good GGUF.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("the candle backend computes {FAMILIES}, not {0}; use the llama backend")]
    Architecture(String),
    #[error("the candle backend does not know {0}; use the llama backend")]
    Feature(String),
    #[error("the header has no usable value for {0}")]
    Key(String),
    #[error("the file has no tensor {0}")]
    NoTensor(String),
    #[error("the candle backend does not know what the tensor {0} is for; use the llama backend")]
    UnknownTensor(String),
    #[error("the tensor {name} has the shape {found:?} instead of {expected:?}")]
    TensorShape {
        name: String,
        found: Vec<usize>,
        expected: Vec<usize>,
    },
    #[error("the vocabulary is damaged: {0}")]
    Vocabulary(String),
    #[error("candle can't read the file: {0}")]
    Candle(#[from] candle_core::Error),
}

impl From<Unfit> for LoadError {
    fn from(unfit: Unfit) -> Self {
        Self::Backend(unfit.to_string())
    }
}
