//! The graph: from a batch of tokens to rows of logits.

use std::io::{Read, Seek};

use candle_core::{Device, Tensor};

use super::attention::{self, Rotation};
use super::batch::Batch;
use super::cache::Sequence;
use super::experts::Experts;
use super::gated::{Gated, numbers, rows};
use super::parallel;
use super::shape::Shape;
use super::unfit::Unfit;
use super::weights::{Linear, Tensors};
use crate::backend::{AbortSignal, DecodeError};
use crate::load::LoadError;

type Fit<T> = Result<T, Unfit>;

/// The matrix of all tokens.
const EMBEDDINGS: &str = "token_embd.weight";

/// A model's weights.
pub(super) struct Model {
    shape: Shape,
    embeddings: Linear,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// `None`: the embeddings serve for the output too.
    output: Option<Linear>,
    vocabulary_size: usize,
}

struct Layer {
    attention_norm: Vec<f32>,
    queries: Linear,
    keys: Linear,
    values: Linear,
    query_norm: Option<Vec<f32>>,
    key_norm: Option<Vec<f32>>,
    attention_output: Linear,
    attention_output_norm: Option<Vec<f32>>,
    feed_forward_norm: Vec<f32>,
    feed_forward: FeedForward,
    feed_forward_output_norm: Option<Vec<f32>>,
}

enum FeedForward {
    Dense(Gated),
    Experts(Experts),
}

impl Model {
    /// Reads all weights. `progress` is told the share that is done; `false` stops.
    pub(super) fn load<R: Read + Seek>(
        shape: Shape,
        tensors: &mut Tensors<R>,
        progress: &mut dyn FnMut(f32) -> bool,
    ) -> Result<Self, LoadError> {
        let vocabulary_size = tensors
            .rows(EMBEDDINGS)
            .ok_or_else(|| Unfit::NoTensor(EMBEDDINGS.into()))?;
        let embeddings = tensors.matrix(EMBEDDINGS, vocabulary_size, shape.width)?;
        let output = if tensors.has("output.weight") {
            Some(tensors.biased("output", vocabulary_size, shape.width)?)
        } else {
            None
        };
        let norm = tensors.vector("output_norm.weight", shape.width)?;
        let mut layers = Vec::with_capacity(shape.layers);
        for layer in 0..shape.layers {
            layers.push(Layer::load(layer, &shape, tensors)?);
            if !progress((layer + 1) as f32 / shape.layers as f32) {
                return Err(LoadError::Cancelled);
            }
        }
        if let Some(name) = tensors.unread() {
            return Err(Unfit::UnknownTensor(name.to_owned()).into());
        }
        Ok(Self {
            shape,
            embeddings,
            layers,
            norm,
            output,
            vocabulary_size,
        })
    }

    pub(super) fn vocabulary_size(&self) -> usize {
        self.vocabulary_size
    }

    pub(super) fn sequence(&self) -> Sequence {
        Sequence::new(
            self.shape.layers,
            self.shape.kv_heads,
            self.shape.head_width,
        )
    }

    /// Computes a batch, adds it to its sequences and returns the wanted logits, row after row.
    pub(super) fn forward(
        &self,
        batch: &Batch,
        sequences: &mut [Sequence],
        abort: &AbortSignal,
    ) -> Result<Vec<f32>, DecodeError> {
        let state = self.states(batch, sequences, abort)?;
        let logits = match state {
            Some(state) => {
                let state = normalized(&state, &self.norm, self.shape.epsilon)?;
                let output = self.output.as_ref().unwrap_or(&self.embeddings);
                numbers(&output.forward(&state, abort)?)?
            }
            None => Vec::new(),
        };
        for span in &batch.spans {
            sequences[span.sequence].advance(span.rows.len());
        }
        Ok(logits)
    }

    /// What the layers make of the rows whose logits are wanted.
    fn states(
        &self,
        batch: &Batch,
        sequences: &mut [Sequence],
        abort: &AbortSignal,
    ) -> Result<Option<Tensor>, DecodeError> {
        let shape = &self.shape;
        let rotate = |rope| Rotation::new(&batch.positions, rope, shape.head_width);
        let rotation = rotate(shape.rope);
        let sliding_rotation = shape.sliding_rope().map(rotate);
        let mut state = self.embeddings.rows(&batch.tokens)?;
        if shape.embedding_scale != 1.0 {
            state = (state * f64::from(shape.embedding_scale))?;
        }
        let last = self.layers.len() - 1;
        for (index, layer) in self.layers.iter().enumerate() {
            let sliding = sliding_rotation
                .as_ref()
                .filter(|_| shape.window(index).is_some());
            let context = Context {
                shape,
                layer: index,
                batch,
                rotation: sliding.unwrap_or(&rotation),
                abort,
            };
            let mut gathered = layer.gather(&state, &context, sequences)?;
            if index == last {
                // After the last attention no row looks at another one.
                if batch.outputs.is_empty() {
                    return Ok(None);
                }
                let rows = Tensor::new(batch.outputs.as_slice(), &Device::Cpu)?;
                gathered = gathered.index_select(&rows, 0)?;
                state = state.index_select(&rows, 0)?;
            }
            state = layer.finish(&state, &gathered, &context)?;
        }
        Ok(Some(state))
    }
}

/// What all parts of a layer need to know.
struct Context<'a> {
    shape: &'a Shape,
    layer: usize,
    batch: &'a Batch,
    rotation: &'a Rotation,
    abort: &'a AbortSignal,
}

impl Layer {
    fn load<R: Read + Seek>(index: usize, shape: &Shape, tensors: &mut Tensors<R>) -> Fit<Self> {
        let named = |part: &str| format!("blk.{index}.{part}");
        let width = shape.width;
        let query_width = shape.heads * shape.head_width;
        let key_width = shape.kv_heads * shape.head_width;
        let mut norm = |wanted: bool, part: &str, length: usize| {
            let norm = wanted.then(|| tensors.vector(&named(part), length));
            norm.transpose()
        };
        let heads = shape.family.normalizes_heads();
        let outputs = shape.family.normalizes_outputs();
        Ok(Self {
            query_norm: norm(heads, "attn_q_norm.weight", shape.head_width)?,
            key_norm: norm(heads, "attn_k_norm.weight", shape.head_width)?,
            attention_output_norm: norm(outputs, "post_attention_norm.weight", width)?,
            feed_forward_output_norm: norm(outputs, "post_ffw_norm.weight", width)?,
            attention_norm: tensors.vector(&named("attn_norm.weight"), width)?,
            queries: tensors.biased(&named("attn_q"), query_width, width)?,
            keys: tensors.biased(&named("attn_k"), key_width, width)?,
            values: tensors.biased(&named("attn_v"), key_width, width)?,
            attention_output: tensors.matrix(&named("attn_output.weight"), width, query_width)?,
            feed_forward_norm: tensors.vector(&named("ffn_norm.weight"), width)?,
            feed_forward: FeedForward::load(index, shape, tensors)?,
        })
    }

    /// Attention: what each row gathers from the rows before it.
    fn gather(
        &self,
        state: &Tensor,
        context: &Context<'_>,
        sequences: &mut [Sequence],
    ) -> Result<Tensor, DecodeError> {
        let shape = context.shape;
        let state = normalized(state, &self.attention_norm, shape.epsilon)?;
        let product = |linear: &Linear| -> Result<Vec<f32>, DecodeError> {
            Ok(numbers(&linear.forward(&state, context.abort)?)?)
        };
        let mut queries = product(&self.queries)?;
        let mut keys = product(&self.keys)?;
        let values = product(&self.values)?;
        self.place(
            &mut queries,
            self.query_norm.as_deref(),
            shape.heads,
            context,
        );
        self.place(&mut keys, self.key_norm.as_deref(), shape.kv_heads, context);
        let key_width = shape.kv_heads * shape.head_width;
        for span in &context.batch.spans {
            let part = span.rows.start * key_width..span.rows.end * key_width;
            let sequence = &mut sequences[span.sequence];
            sequence.append(context.layer, &keys[part.clone()], &values[part]);
        }
        let gathered = attention::attend(
            &queries,
            context.batch,
            sequences,
            context.layer,
            shape,
            context.abort,
        );
        if context.abort.raised() {
            return Err(DecodeError::Aborted);
        }
        let gathered = rows(gathered, shape.heads * shape.head_width)?;
        self.attention_output.forward(&gathered, context.abort)
    }

    /// Normalizes each head, if the family does so, and turns it by its row's position.
    fn place(&self, rows: &mut [f32], norm: Option<&[f32]>, heads: usize, context: &Context<'_>) {
        let shape = context.shape;
        parallel::for_each_row(rows, heads * shape.head_width, |index, row| {
            for head in row.chunks_exact_mut(shape.head_width) {
                if let Some(norm) = norm {
                    normalize(head, norm, shape.epsilon);
                }
                context.rotation.turn(index, head);
            }
        });
    }

    /// Adds what was gathered to the rows, and what the feed-forward makes of that.
    fn finish(
        &self,
        state: &Tensor,
        gathered: &Tensor,
        context: &Context<'_>,
    ) -> Result<Tensor, DecodeError> {
        let epsilon = context.shape.epsilon;
        let optionally = |rows: Tensor, norm: &Option<Vec<f32>>| match norm {
            Some(norm) => normalized(&rows, norm, epsilon),
            None => Ok(rows),
        };
        let state = (state + optionally(gathered.clone(), &self.attention_output_norm)?)?;
        let inner = normalized(&state, &self.feed_forward_norm, epsilon)?;
        let inner = self.feed_forward.forward(&inner, context.abort)?;
        Ok((state + optionally(inner, &self.feed_forward_output_norm)?)?)
    }
}

impl FeedForward {
    fn load<R: Read + Seek>(layer: usize, shape: &Shape, tensors: &mut Tensors<R>) -> Fit<Self> {
        let named = |part: &str| format!("blk.{layer}.{part}.weight");
        if let Some(experts) = shape.experts {
            return Experts::load(layer, shape, experts, tensors).map(Self::Experts);
        }
        Ok(Self::Dense(Gated {
            gate: tensors.matrix(&named("ffn_gate"), shape.hidden, shape.width)?,
            up: tensors.matrix(&named("ffn_up"), shape.hidden, shape.width)?,
            down: tensors.matrix(&named("ffn_down"), shape.width, shape.hidden)?,
            activation: shape.activation,
        }))
    }

    fn forward(&self, state: &Tensor, abort: &AbortSignal) -> Result<Tensor, DecodeError> {
        match self {
            Self::Dense(gated) => gated.forward(state, abort),
            Self::Experts(experts) => experts.forward(state, abort),
        }
    }
}

/// Each row with its length divided out, and scaled.
fn normalized(state: &Tensor, scale: &[f32], epsilon: f32) -> candle_core::Result<Tensor> {
    let mut numbers = numbers(state)?;
    let width = scale.len();
    parallel::for_each_row(&mut numbers, width, |_, row| normalize(row, scale, epsilon));
    rows(numbers, width)
}

fn normalize(row: &mut [f32], scale: &[f32], epsilon: f32) {
    let mean = attention::dot(row, row) / row.len() as f32;
    let factor = 1.0 / (mean + epsilon).sqrt();
    for (number, scale) in row.iter_mut().zip(scale) {
        *number *= factor * scale;
    }
}
