//! An embedding model in this process: BERT and what is built like it, on the CPU.
//!
//! Texts are sorted by length and cut into batches, so that hardly anything is filled up to the
//! length of a longer one, and each thread computes a batch of its own.

use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::BertModel;
use rayon::prelude::*;
use tokenizers::{Tokenizer, TruncationParams};

use super::directory::{self, BertOptions, OpenError, Pooling, Prompts, Settings, damaged};
use super::{EmbedError, EmbedKind, Embedder};
use crate::record::TEXT_BYTES_MAX;

/// How many tokens a thread takes at once, with those that only fill up: enough that the weights
/// are not read for a few tokens only, few enough that what is computed stays in the cache.
const BATCH_TOKENS: usize = 512;
/// More of a text than this has no model read.
const READ_BYTES_MAX: usize = 2 * TEXT_BYTES_MAX;
/// The largest files, in bytes.
const WEIGHTS_BYTES_MAX: u64 = 4 << 30;
const TOKENIZER_BYTES_MAX: u64 = 64 << 20;

/// An embedding model as sentence-transformers keeps one: a BERT encoder, one vector for each text.
pub struct Bert {
    name: String,
    model: BertModel,
    tokenizer: Tokenizer,
    pooling: Pooling,
    prompts: Prompts,
    dimensions: usize,
    tokens_max: usize,
}

/// The numbers of one text's tokens.
type Tokens = Vec<u32>;
/// Vectors, each with the number of its text.
type Numbered = Vec<(usize, Vec<f32>)>;

impl Bert {
    /// Loads the model of a directory: `config.json`, `tokenizer.json` and `model.safetensors`,
    /// and of what else is there `modules.json`, `1_Pooling/config.json`,
    /// `sentence_bert_config.json` and `config_sentence_transformers.json`. Before it returns it
    /// has embedded a text, so that a model that can't is known now.
    pub fn open(directory: &Path, options: &BertOptions) -> Result<Self, OpenError> {
        let settings = Settings::read(directory, options)?;
        let tokenizer = tokenizer(directory, &settings)?;
        let path = directory.join("model.safetensors");
        let weights = directory::read(&path, WEIGHTS_BYTES_MAX)?;
        let weights = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu);
        let model = weights
            .and_then(|weights| BertModel::load(weights, &settings.config))
            .map_err(|error| damaged(&path, &error))?;
        let full = fs::canonicalize(directory).unwrap_or_else(|_| directory.into());
        let bert = Self {
            name: full
                .file_name()
                .map_or_else(|| "bert".into(), |name| name.to_string_lossy().into_owned()),
            model,
            tokenizer,
            pooling: settings.pooling,
            prompts: settings.prompts,
            dimensions: settings.config.hidden_size,
            tokens_max: settings.tokens_max,
        };
        bert.embed(EmbedKind::Query, &["a text to try it"])
            .map_err(|error| damaged(&path, &error.why))?;
        Ok(bert)
    }

    fn tokens_of(&self, prompt: &str, text: &str) -> candle_core::Result<Tokens> {
        let text = &text[..text.floor_char_boundary(READ_BYTES_MAX)];
        let encoding = match prompt.is_empty() {
            true => self.tokenizer.encode_fast(text, true),
            false => self.tokenizer.encode_fast(format!("{prompt}{text}"), true),
        };
        let encoding = encoding.map_err(|error| candle_core::Error::Msg(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The vectors of texts of about one length.
    fn run(&self, texts: &[&Tokens]) -> candle_core::Result<Vec<Vec<f32>>> {
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let shape = (texts.len(), longest);
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for text in texts {
            let fill = longest - text.len();
            ids.extend(text.iter().copied().chain(std::iter::repeat_n(0, fill)));
            mask.extend(text.iter().map(|_| 1_u32));
            mask.extend(std::iter::repeat_n(0, fill));
        }
        let ids = Tensor::from_vec(ids, shape, &Device::Cpu)?;
        let mask = Tensor::from_vec(mask, shape, &Device::Cpu)?;
        let states = self.model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
        let states = states.flatten_all()?.to_vec1::<f32>()?;
        let states = states.chunks_exact(longest * self.dimensions);
        Ok(texts
            .iter()
            .zip(states)
            .map(|(text, states)| self.pool(&states[..text.len() * self.dimensions]))
            .collect())
    }

    /// One vector of those of a text's own tokens.
    fn pool(&self, states: &[f32]) -> Vec<f32> {
        match self.pooling {
            Pooling::First => states[..self.dimensions].to_vec(),
            Pooling::Mean => {
                let mut sum = vec![0.0; self.dimensions];
                for state in states.chunks_exact(self.dimensions) {
                    sum.iter_mut().zip(state).for_each(|(sum, x)| *sum += x);
                }
                let tokens = (states.len() / self.dimensions).max(1) as f32;
                sum.iter_mut().for_each(|x| *x /= tokens);
                sum
            }
        }
    }

    fn try_embed(&self, kind: EmbedKind, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        let prompt = self.prompts.of(kind);
        let tokens: candle_core::Result<Vec<Tokens>> = texts
            .par_iter()
            .map(|text| self.tokens_of(prompt, text))
            .collect();
        let tokens = tokens.map_err(|error| error.to_string())?;
        let vectors: Result<Vec<Numbered>, String> = batches(&tokens)
            .into_par_iter()
            .map(|batch| {
                let texts: Vec<&Tokens> = batch.iter().map(|at| &tokens[*at]).collect();
                let mut vectors = self.run(&texts).map_err(|error| error.to_string())?;
                for vector in &mut vectors {
                    super::unit(vector, self.dimensions).map_err(|error| error.to_string())?;
                }
                Ok(batch.into_iter().zip(vectors).collect())
            })
            .collect();
        let mut vectors: Numbered = vectors?.into_iter().flatten().collect();
        vectors.sort_unstable_by_key(|(at, _)| *at);
        Ok(vectors.into_iter().map(|(_, vector)| vector).collect())
    }
}

impl Embedder for Bert {
    fn name(&self) -> &str {
        &self.name
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn embed(&self, kind: EmbedKind, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.try_embed(kind, texts).map_err(|why| EmbedError {
            model: self.name.clone(),
            why,
        })
    }

    fn tokens_max(&self) -> Option<usize> {
        Some(self.tokens_max)
    }

    fn count_tokens(&self, text: &str) -> usize {
        // Its own cutting would hide how long a text is.
        let cut = self.tokens_of("", text).map_or(0, |tokens| tokens.len());
        match cut < self.tokens_max {
            true => cut,
            false => cut.max(text.chars().count().div_ceil(4)),
        }
    }
}

impl std::fmt::Debug for Bert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bert")
            .field("name", &self.name)
            .field("dimensions", &self.dimensions)
            .field("tokens_max", &self.tokens_max)
            .field("pooling", &self.pooling)
            .field("prompts", &self.prompts)
            .finish_non_exhaustive()
    }
}

/// The numbers of the texts that are computed together; the longest texts first, since whoever
/// waits for the last batch should wait for a short one.
fn batches(tokens: &[Tokens]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(tokens[*at].len()));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for at in order {
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1) * tokens[batch[0]].len() <= BATCH_TOKENS => {
                batch.push(at);
            }
            _ => batches.push(vec![at]),
        }
    }
    batches
}

fn tokenizer(directory: &Path, settings: &Settings) -> Result<Tokenizer, OpenError> {
    let path = directory.join("tokenizer.json");
    let bytes = directory::read(&path, TOKENIZER_BYTES_MAX)?;
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| damaged(&path, &error))?;
    let (has, knows) = (tokenizer.get_vocab_size(true), settings.config.vocab_size);
    if has > knows {
        let why = format!("it has {has} tokens and the model knows {knows}");
        return Err(damaged(&path, &why));
    }
    let truncation = TruncationParams {
        max_length: settings.tokens_max,
        ..TruncationParams::default()
    };
    tokenizer
        .with_truncation(Some(truncation))
        .map_err(|error| damaged(&path, &error))?
        .with_padding(None);
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_of_one_length_and_lose_nothing() {
        let lengths = [3, 256, 4, 100, 256, 3, 90, 512, 1];
        let tokens: Vec<Tokens> = lengths.iter().map(|length| vec![1; *length]).collect();
        let batches = batches(&tokens);
        assert_eq!(batches, [vec![7], vec![1, 4], vec![3, 6, 2, 0, 5], vec![8]]);
    }
}
