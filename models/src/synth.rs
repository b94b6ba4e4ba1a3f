//! Model files with random weights of a real shape: as fast as the real ones, and of no other
//! use. For measuring where no weights can be had.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::gguf::{Gguf, Value};

/// The outline of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Such as `qwen3`.
    pub architecture: &'static str,
    /// Layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub width: u32,
    /// Attention heads.
    pub heads: u32,
    /// Heads of keys and values.
    pub kv_heads: u32,
    /// Width of a head.
    pub head_width: u32,
    /// Width of the inner layer.
    pub hidden: u32,
    /// Longest conversation.
    pub context: u32,
    /// How far back most layers look; 0: all the way.
    pub window: u32,
}

/// The shapes that have a name.
pub const SHAPES: &[(&str, Shape)] = &[
    (
        "tiny",
        Shape {
            architecture: "qwen3",
            layers: 4,
            width: 256,
            heads: 4,
            kv_heads: 2,
            head_width: 64,
            hidden: 768,
            context: 8_192,
            window: 0,
        },
    ),
    (
        "qwen3-0.6b",
        Shape {
            architecture: "qwen3",
            layers: 28,
            width: 1_024,
            heads: 16,
            kv_heads: 8,
            head_width: 128,
            hidden: 3_072,
            context: 40_960,
            window: 0,
        },
    ),
    (
        "qwen3-1.7b",
        Shape {
            architecture: "qwen3",
            layers: 28,
            width: 2_048,
            heads: 16,
            kv_heads: 8,
            head_width: 128,
            hidden: 6_144,
            context: 40_960,
            window: 0,
        },
    ),
    (
        "gemma3-270m",
        Shape {
            architecture: "gemma3",
            layers: 18,
            width: 640,
            heads: 4,
            kv_heads: 1,
            head_width: 256,
            hidden: 2_048,
            context: 32_768,
            window: 512,
        },
    ),
];

/// A named shape.
#[must_use]
pub fn shape(name: &str) -> Option<Shape> {
    SHAPES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, shape)| *shape)
}

/// How the weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// 8 bits and a scale for each 32.
    Q8_0,
    /// 4 bits and a scale for each 32.
    Q4_0,
}

impl Quantization {
    /// The kind by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "q8_0" => Some(Self::Q8_0),
            "q4_0" => Some(Self::Q4_0),
            _ => None,
        }
    }

    /// The name that people write in file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
        }
    }

    /// ggml's number of the type.
    fn kind(self) -> u32 {
        match self {
            Self::Q8_0 => 8,
            Self::Q4_0 => 2,
        }
    }

    /// Bytes of a block of 32 weights.
    fn block_bytes(self) -> u64 {
        match self {
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
        }
    }

    /// The scale (a 16-bit float) that gives weights of about the usual spread, 0.02.
    fn scale(self) -> [u8; 2] {
        match self {
            Self::Q8_0 => 0x0c7b_u16.to_le_bytes(),
            Self::Q4_0 => 0x1c68_u16.to_le_bytes(),
        }
    }
}

const BLOCK: u64 = 32;
const ALIGNMENT: usize = 32;
const F32: u32 = 0;

struct Tensor {
    name: String,
    /// Rows and columns; a vector has one row.
    rows: u64,
    columns: u64,
    /// Weights, or a vector of ones.
    quantized: bool,
}

impl Tensor {
    fn bytes(&self, quantization: Quantization) -> u64 {
        let count = self.rows * self.columns;
        if self.quantized {
            count / BLOCK * quantization.block_bytes()
        } else {
            count * 4
        }
    }
}

/// Writes a model of the shape with the vocabulary of another GGUF file.
///
/// # Errors
/// The vocabulary has no tokens, or the file can't be written.
pub fn write(
    path: &Path,
    shape: &Shape,
    quantization: Quantization,
    vocabulary: &Gguf,
    seed: u64,
) -> io::Result<()> {
    let tokens = vocabulary
        .get("tokenizer.ggml.tokens")
        .and_then(Value::as_list);
    let tokens = tokens.ok_or_else(|| io::Error::other("the file has no vocabulary"))?;
    let tensors = tensors(shape, tokens.len() as u64);
    let mut out = Writer(BufWriter::new(File::create(path)?));
    out.header(&metadata(shape, vocabulary), &tensors, quantization)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for tensor in &tensors {
        out.data(tensor, quantization, &mut rng)?;
    }
    out.0.flush()
}

fn metadata(shape: &Shape, vocabulary: &Gguf) -> BTreeMap<String, Value> {
    let prefix = shape.architecture;
    let text = |text: &str| Value::Text(text.to_owned());
    let number = |number: u32| Value::Uint(number.into());
    let mut metadata: BTreeMap<String, Value> = vocabulary
        .metadata
        .iter()
        .filter(|(key, _)| key.starts_with("tokenizer."))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    metadata.insert("general.architecture".into(), text(prefix));
    metadata.insert("general.name".into(), text("random weights"));
    for (key, value) in [
        ("block_count", number(shape.layers)),
        ("context_length", number(shape.context)),
        ("embedding_length", number(shape.width)),
        ("feed_forward_length", number(shape.hidden)),
        ("attention.head_count", number(shape.heads)),
        ("attention.head_count_kv", number(shape.kv_heads)),
        ("attention.key_length", number(shape.head_width)),
        ("attention.value_length", number(shape.head_width)),
        ("attention.layer_norm_rms_epsilon", Value::Float(1e-6)),
        ("rope.freq_base", Value::Float(1e6)),
    ] {
        metadata.insert(format!("{prefix}.{key}"), value);
    }
    if shape.window > 0 {
        metadata.insert(
            format!("{prefix}.attention.sliding_window"),
            number(shape.window),
        );
    }
    metadata
}

fn tensors(shape: &Shape, vocabulary: u64) -> Vec<Tensor> {
    let (width, hidden) = (u64::from(shape.width), u64::from(shape.hidden));
    let head = u64::from(shape.head_width);
    let query = u64::from(shape.heads) * head;
    let key = u64::from(shape.kv_heads) * head;
    let matrix = |name: String, rows, columns| Tensor {
        name,
        rows,
        columns,
        quantized: true,
    };
    let vector = |name: String, columns| Tensor {
        name,
        rows: 1,
        columns,
        quantized: false,
    };
    let mut tensors = vec![
        matrix("token_embd.weight".into(), vocabulary, width),
        vector("output_norm.weight".into(), width),
    ];
    for layer in 0..shape.layers {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        tensors.extend([
            vector(name("attn_norm"), width),
            matrix(name("attn_q"), query, width),
            matrix(name("attn_k"), key, width),
            matrix(name("attn_v"), key, width),
            matrix(name("attn_output"), width, query),
            vector(name("attn_q_norm"), head),
            vector(name("attn_k_norm"), head),
            vector(name("ffn_norm"), width),
            matrix(name("ffn_gate"), hidden, width),
            matrix(name("ffn_up"), hidden, width),
            matrix(name("ffn_down"), width, hidden),
        ]);
        if shape.architecture == "gemma3" {
            tensors.push(vector(name("post_attention_norm"), width));
            tensors.push(vector(name("post_ffw_norm"), width));
        }
    }
    tensors
}

struct Writer(BufWriter<File>);

impl Writer {
    fn header(
        &mut self,
        metadata: &BTreeMap<String, Value>,
        tensors: &[Tensor],
        quantization: Quantization,
    ) -> io::Result<()> {
        let mut header = b"GGUF".to_vec();
        header.extend(3u32.to_le_bytes());
        header.extend((tensors.len() as u64).to_le_bytes());
        header.extend((metadata.len() as u64).to_le_bytes());
        for (key, value) in metadata {
            put_text(&mut header, key);
            header.extend(kind(value).to_le_bytes());
            put_value(&mut header, value);
        }
        let mut offset = 0u64;
        for tensor in tensors {
            put_text(&mut header, &tensor.name);
            let dimensions: &[u64] = match tensor.rows {
                1 => &[tensor.columns],
                rows => &[tensor.columns, rows],
            };
            header.extend(u32::try_from(dimensions.len()).unwrap_or(0).to_le_bytes());
            dimensions
                .iter()
                .for_each(|length| header.extend(length.to_le_bytes()));
            let kind = if tensor.quantized {
                quantization.kind()
            } else {
                F32
            };
            header.extend(kind.to_le_bytes());
            header.extend(offset.to_le_bytes());
            offset = (offset + tensor.bytes(quantization)).next_multiple_of(ALIGNMENT as u64);
        }
        let length = header.len().next_multiple_of(ALIGNMENT);
        header.resize(length, 0);
        self.0.write_all(&header)
    }

    fn data(
        &mut self,
        tensor: &Tensor,
        quantization: Quantization,
        rng: &mut ChaCha8Rng,
    ) -> io::Result<()> {
        let count = tensor.rows * tensor.columns;
        if tensor.quantized {
            let mut block = vec![0; usize::try_from(quantization.block_bytes()).unwrap_or(0)];
            for _ in 0..count / BLOCK {
                rng.fill_bytes(&mut block);
                block[..2].copy_from_slice(&quantization.scale());
                self.0.write_all(&block)?;
            }
        } else {
            for _ in 0..count {
                self.0.write_all(&1f32.to_le_bytes())?;
            }
        }
        let bytes = tensor.bytes(quantization);
        let padding = bytes.next_multiple_of(ALIGNMENT as u64) - bytes;
        self.0
            .write_all(&vec![0; usize::try_from(padding).unwrap_or(0)])
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// GGUF's number of the type under which a value is written.
fn kind(value: &Value) -> u32 {
    match value {
        Value::Uint(_) => 4,
        Value::Int(_) => 5,
        Value::Float(_) => 6,
        Value::Bool(_) => 7,
        Value::Text(_) => 8,
        Value::List(_) | Value::Skipped(_) => 9,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "vocabularies hold 32-bit numbers"
)]
fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Uint(value) => out.extend((*value as u32).to_le_bytes()),
        Value::Int(value) => out.extend((*value as i32).to_le_bytes()),
        Value::Float(value) => out.extend((*value as f32).to_le_bytes()),
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Text(text) => put_text(out, text),
        Value::Skipped(_) => {
            out.extend(4u32.to_le_bytes());
            out.extend(0u64.to_le_bytes());
        }
        Value::List(values) => {
            out.extend(values.first().map_or(4, kind).to_le_bytes());
            out.extend((values.len() as u64).to_le_bytes());
            values.iter().for_each(|value| put_value(out, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;
    use crate::gguf::Lists;

    #[test]
    fn what_is_written_can_be_read() {
        let bytes = builtin::verified().expect("good");
        let vocabulary = Gguf::read(bytes, bytes.len() as u64, Lists::Keep).expect("good");
        let path = std::env::temp_dir().join(format!("fazai-synth-{}.gguf", std::process::id()));
        let tiny = shape("tiny").expect("it has a name");
        write(&path, &tiny, Quantization::Q4_0, &vocabulary, 1).expect("written");
        let read = Gguf::open(&path, Lists::Keep).expect("good");
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(read.architecture(), "qwen3");
        assert_eq!(read.shape("block_count"), Some(4));
        assert_eq!(read.quantization(), "Q4_0");
        assert_eq!(
            read.get("tokenizer.ggml.tokens"),
            vocabulary.get("tokenizer.ggml.tokens")
        );
        assert_eq!(read.tensors.len(), 2 + 4 * 11);
    }
}
