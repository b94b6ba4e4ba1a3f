//! The header of a GGUF file: what a model is, read without loading it.
//!
//! The reader trusts nothing: every length is checked against the bytes that are left in the
//! file before anything is allocated for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Why a file is not a usable GGUF.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file can't be opened or read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A directory, a socket, a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// Something else than GGUF; holds what the first bytes look like.
    #[error("it is not a GGUF file (it begins with {0})")]
    NotGguf(String),
    /// A version that nobody here can read.
    #[error("GGUF version {0} is not supported (2 and 3 are)")]
    Version(u32),
    /// The file ends early.
    #[error("the file is truncated: {needed} bytes needed, {len} there")]
    Truncated {
        /// Where the data should end.
        needed: u64,
        /// The file's length.
        len: u64,
    },
    /// A value that makes no sense.
    #[error("the header is damaged: {0}")]
    Damaged(String),
}

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any unsigned integer.
    Uint(u64),
    /// Any signed integer.
    Int(i64),
    /// Any floating-point number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(String),
    /// A list that was read.
    List(Vec<Value>),
    /// A list that was passed over, and how long it is.
    Skipped(u64),
}

impl Value {
    /// The value as a non-negative integer.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Uint(value) => Some(*value),
            Self::Int(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The value as text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as a number.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "scores and small counts")]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Uint(value) => Some(*value as f64),
            Self::Int(value) => Some(*value as f64),
            _ => None,
        }
    }

    /// The value as a truth value.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The value as a list; `None` also when it was passed over.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }
}

/// One tensor's name and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// How many numbers it holds.
    pub elements: u64,
    /// ggml's number of its element type.
    pub kind: u32,
}

/// The header of a GGUF file.
#[derive(Debug, Clone, PartialEq)]
pub struct Gguf {
    /// The key-value pairs.
    pub metadata: BTreeMap<String, Value>,
    /// The tensors.
    pub tensors: Vec<Tensor>,
    /// The file's length in bytes.
    pub file_bytes: u64,
}

/// Which lists to keep in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// All of them: a vocabulary is needed.
    Keep,
    /// Only short ones.
    Skip,
}

const KEYS_MAX: u64 = 65_536;
const TENSORS_MAX: u64 = 1 << 20;
const SHORT_LIST: u64 = 64;
const LIST_DEPTH_MAX: u32 = 3;

impl Gguf {
    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    /// Every [`GgufError`], each telling what is wrong with the file.
    pub fn open(path: &Path, lists: Lists) -> Result<Self, GgufError> {
        // Asked before opening: to open a pipe would wait for its writer.
        let about = std::fs::metadata(path)?;
        if !about.is_file() {
            return Err(GgufError::NotAFile);
        }
        let file = File::open(path)?;
        Self::read(BufReader::with_capacity(1 << 16, file), about.len(), lists)
    }

    /// Reads the header from the beginning of a file of `file_bytes` bytes.
    ///
    /// # Errors
    /// Every [`GgufError`] but `NotAFile`.
    pub fn read(source: impl Read, file_bytes: u64, lists: Lists) -> Result<Self, GgufError> {
        let mut reader = Reader {
            source,
            position: 0,
            file_bytes,
            lists,
        };
        let magic = reader.bytes(4.min(file_bytes))?;
        if magic != b"GGUF" {
            return Err(GgufError::NotGguf(magic.escape_ascii().to_string()));
        }
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version(version));
        }
        let tensor_count = reader.count("tensors", TENSORS_MAX)?;
        let key_count = reader.count("keys", KEYS_MAX)?;
        let mut metadata = BTreeMap::new();
        for _ in 0..key_count {
            let key = reader.text()?;
            let kind = reader.u32()?;
            let value = reader.value(kind, 0)?;
            metadata.insert(key, value);
        }
        let mut tensors = Vec::new();
        let mut data_bytes = 0;
        for _ in 0..tensor_count {
            let (tensor, end) = reader.tensor()?;
            data_bytes = data_bytes.max(end);
            tensors.push(tensor);
        }
        // The exact end needs each type's block size; the last offset already finds a file
        // that was cut, without a table that has to follow every new type.
        let needed = reader.position.saturating_add(data_bytes);
        if needed > file_bytes {
            return Err(GgufError::Truncated {
                needed,
                len: file_bytes,
            });
        }
        Ok(Self {
            metadata,
            tensors,
            file_bytes,
        })
    }

    /// A value by its whole key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// A text by its whole key.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    /// The architecture's name, such as `qwen3`.
    #[must_use]
    pub fn architecture(&self) -> &str {
        self.text("general.architecture").unwrap_or("unknown")
    }

    /// An integer under the architecture's prefix, such as `block_count`. Models whose layers
    /// differ give a list; then the largest counts.
    #[must_use]
    pub fn shape(&self, key: &str) -> Option<u64> {
        let value = self.get(&format!("{}.{key}", self.architecture()))?;
        match value {
            Value::List(values) => values.iter().filter_map(Value::as_u64).max(),
            value => value.as_u64(),
        }
    }

    /// Refuses what would end the process of a backend that trusts its file.
    ///
    /// # Errors
    /// A key of the shape makes no sense.
    pub fn check_shape(&self) -> Result<(), GgufError> {
        let key = |name: &str| format!("{}.{name}", self.architecture());
        if self.shape("block_count") == Some(0) {
            let damage = format!("{} is 0", key("block_count"));
            return Err(GgufError::Damaged(damage));
        }
        let names = ["layer_norm_rms_epsilon", "layer_norm_epsilon"];
        let epsilons = names.map(|name| key(&format!("attention.{name}")));
        for name in epsilons {
            let epsilon = self.get(&name).and_then(Value::as_f64);
            if let Some(epsilon) = epsilon.filter(|epsilon| !(0.0..1.0).contains(epsilon)) {
                return Err(GgufError::Damaged(format!("{name} is {epsilon}")));
            }
        }
        Ok(())
    }

    /// How many parameters the model has.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.elements).sum()
    }

    /// The type that holds most of the parameters, such as `Q4_K`.
    #[must_use]
    pub fn quantization(&self) -> &'static str {
        let mut elements: BTreeMap<u32, u64> = BTreeMap::new();
        for tensor in &self.tensors {
            *elements.entry(tensor.kind).or_default() += tensor.elements;
        }
        let main = elements.into_iter().max_by_key(|(_, count)| *count);
        main.map_or("none", |(kind, _)| type_name(kind))
    }

    /// Numbers that a KV cache has for one token. Layers with sliding windows need fewer in
    /// truth; this is the upper bound.
    #[must_use]
    pub fn kv_numbers_per_token(&self) -> u64 {
        let heads = self.shape("attention.head_count").unwrap_or(1).max(1);
        let kv_heads = self.shape("attention.head_count_kv").unwrap_or(heads);
        let width = self.shape("embedding_length").unwrap_or(0);
        let key = self.shape("attention.key_length").unwrap_or(width / heads);
        let value = self.shape("attention.value_length").unwrap_or(key);
        let layers = self.shape("block_count").unwrap_or(0);
        layers.saturating_mul(kv_heads).saturating_mul(key + value)
    }
}

/// ggml's name of an element type.
pub(crate) fn type_name(kind: u32) -> &'static str {
    match kind {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        6 => "Q5_0",
        7 => "Q5_1",
        8 => "Q8_0",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        29 => "IQ1_M",
        30 => "BF16",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => "another type",
    }
}

struct Reader<R> {
    source: R,
    position: u64,
    file_bytes: u64,
    lists: Lists,
}

impl<R: Read> Reader<R> {
    /// Fails before anything is allocated if `length` bytes are not there.
    fn reserve(&mut self, length: u64) -> Result<usize, GgufError> {
        let needed = self.position.saturating_add(length);
        let len = self.file_bytes;
        if needed > len {
            return Err(GgufError::Truncated { needed, len });
        }
        self.position = needed;
        usize::try_from(length).map_err(|_| GgufError::Damaged("a length over 4 GiB".into()))
    }

    fn bytes(&mut self, length: u64) -> Result<Vec<u8>, GgufError> {
        let mut bytes = vec![0; self.reserve(length)?];
        self.source.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        self.reserve(N as u64)?;
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn skip(&mut self, length: u64) -> Result<(), GgufError> {
        self.reserve(length)?;
        let skipped = io::copy(&mut self.source.by_ref().take(length), &mut io::sink())?;
        if skipped == length {
            Ok(())
        } else {
            Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
        }
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        self.array().map(u64::from_le_bytes)
    }

    fn count(&mut self, what: &str, max: u64) -> Result<u64, GgufError> {
        match self.u64()? {
            count if count <= max => Ok(count),
            count => Err(GgufError::Damaged(format!("{count} {what}"))),
        }
    }

    fn text(&mut self) -> Result<String, GgufError> {
        let length = self.u64()?;
        let bytes = self.bytes(length)?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|fault| String::from_utf8_lossy(fault.as_bytes()).into_owned()))
    }

    fn value(&mut self, kind: u32, depth: u32) -> Result<Value, GgufError> {
        Ok(match kind {
            0 => Value::Uint(u64::from(self.array::<1>()?[0])),
            1 => Value::Int(i64::from(i8::from_le_bytes(self.array()?))),
            2 => Value::Uint(u64::from(u16::from_le_bytes(self.array()?))),
            3 => Value::Int(i64::from(i16::from_le_bytes(self.array()?))),
            4 => Value::Uint(u64::from(self.u32()?)),
            5 => Value::Int(i64::from(i32::from_le_bytes(self.array()?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.array()?))),
            7 => Value::Bool(self.array::<1>()?[0] != 0),
            8 => Value::Text(self.text()?),
            9 => self.list(depth)?,
            10 => Value::Uint(self.u64()?),
            11 => Value::Int(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            kind => return Err(GgufError::Damaged(format!("value type {kind}"))),
        })
    }

    fn list(&mut self, depth: u32) -> Result<Value, GgufError> {
        if depth >= LIST_DEPTH_MAX {
            return Err(GgufError::Damaged("lists nested too deeply".into()));
        }
        let kind = self.u32()?;
        let length = self.u64()?;
        // Each element takes at least a byte, so this bounds the loops below.
        let needed = self.position.saturating_add(length);
        if needed > self.file_bytes {
            let len = self.file_bytes;
            return Err(GgufError::Truncated { needed, len });
        }
        if self.lists == Lists::Skip && length > SHORT_LIST {
            for _ in 0..length {
                self.skip_value(kind, depth)?;
            }
            return Ok(Value::Skipped(length));
        }
        let mut values = Vec::new();
        for _ in 0..length {
            values.push(self.value(kind, depth + 1)?);
        }
        Ok(Value::List(values))
    }

    fn skip_value(&mut self, kind: u32, depth: u32) -> Result<(), GgufError> {
        match kind {
            0 | 1 | 7 => self.skip(1),
            2 | 3 => self.skip(2),
            4..=6 => self.skip(4),
            8 => {
                let length = self.u64()?;
                self.skip(length)
            }
            10..=12 => self.skip(8),
            kind => self.value(kind, depth + 1).map(drop),
        }
    }

    /// One tensor's description, and where its data begins, counted from the data section.
    fn tensor(&mut self) -> Result<(Tensor, u64), GgufError> {
        let name = self.text()?;
        let dimensions = self.u32()?;
        if dimensions > 8 {
            return Err(GgufError::Damaged(format!("{dimensions} dimensions")));
        }
        let mut elements: u64 = 1;
        for _ in 0..dimensions {
            elements = elements.saturating_mul(self.u64()?);
        }
        let kind = self.u32()?;
        let offset = self.u64()?;
        let tensor = Tensor {
            name,
            elements,
            kind,
        };
        Ok((tensor, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with two keys, a list and a tensor.
    fn sample() -> Vec<u8> {
        sample_with(6, 1e-6)
    }

    fn sample_with(blocks: u32, epsilon: f32) -> Vec<u8> {
        let text = |out: &mut Vec<u8>, text: &str| {
            out.extend((text.len() as u64).to_le_bytes());
            out.extend(text.as_bytes());
        };
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend(1u64.to_le_bytes());
        out.extend(4u64.to_le_bytes());
        text(&mut out, "general.architecture");
        out.extend(8u32.to_le_bytes());
        text(&mut out, "qwen3");
        text(&mut out, "qwen3.block_count");
        out.extend(4u32.to_le_bytes());
        out.extend(blocks.to_le_bytes());
        text(&mut out, "qwen3.attention.layer_norm_rms_epsilon");
        out.extend(6u32.to_le_bytes());
        out.extend(epsilon.to_le_bytes());
        text(&mut out, "tokenizer.ggml.tokens");
        out.extend(9u32.to_le_bytes());
        out.extend(8u32.to_le_bytes());
        out.extend(100u64.to_le_bytes());
        for number in 0..100 {
            text(&mut out, &format!("token{number}"));
        }
        text(&mut out, "blk.0.weight");
        out.extend(2u32.to_le_bytes());
        out.extend(32u64.to_le_bytes());
        out.extend(4u64.to_le_bytes());
        out.extend(8u32.to_le_bytes());
        out.extend(0u64.to_le_bytes());
        out.extend([0; 200]);
        out
    }

    fn read(bytes: &[u8], lists: Lists) -> Result<Gguf, GgufError> {
        Gguf::read(bytes, bytes.len() as u64, lists)
    }

    #[test]
    fn a_header_is_read_with_and_without_its_lists() {
        let kept = read(&sample(), Lists::Keep).expect("a good file");
        assert_eq!(kept.architecture(), "qwen3");
        assert_eq!(kept.shape("block_count"), Some(6));
        assert_eq!(kept.parameters(), 128);
        assert_eq!(kept.quantization(), "Q8_0");
        let tokens = kept.get("tokenizer.ggml.tokens").and_then(Value::as_list);
        assert_eq!(tokens.map(<[_]>::len), Some(100));
        let skipped = read(&sample(), Lists::Skip).expect("a good file");
        let tokens = skipped.get("tokenizer.ggml.tokens");
        assert_eq!(tokens, Some(&Value::Skipped(100)));
        assert_eq!(skipped.tensors, kept.tensors);
    }

    #[test]
    fn a_shape_that_no_backend_survives_is_refused() {
        let check = |blocks, epsilon| {
            let header = read(&sample_with(blocks, epsilon), Lists::Skip).expect("a header");
            header.check_shape()
        };
        assert!(check(6, 1e-6).is_ok());
        for (blocks, epsilon) in [(0, 1e-6), (6, -1.0), (6, f32::NAN), (6, f32::INFINITY)] {
            let refused = check(blocks, epsilon);
            assert!(
                matches!(refused, Err(GgufError::Damaged(_))),
                "{blocks} {epsilon}"
            );
        }
    }

    #[test]
    fn every_cut_is_an_error_and_no_damage_panics() {
        let good = sample();
        for cut in 0..good.len() - 200 {
            assert!(read(&good[..cut], Lists::Keep).is_err(), "cut at {cut}");
        }
        // A length of 2^64-1 anywhere must neither allocate nor overflow.
        for at in 0..good.len() - 8 {
            let mut bad = good.clone();
            bad[at..at + 8].fill(0xff);
            let _ = read(&bad, Lists::Keep);
            let _ = read(&bad, Lists::Skip);
        }
    }

    #[test]
    fn the_error_says_what_the_file_is() {
        let says = |bytes: &[u8]| match read(bytes, Lists::Skip) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("not a model"),
        };
        assert!(says(b"#!/bin/sh\n").contains("begins with #!/b"));
        assert!(says(b"").contains("not a GGUF"));
        assert!(says(b"GGUF\x01\0\0\0").contains("version 1"));
        let directory = Gguf::open(Path::new("/"), Lists::Skip);
        assert!(matches!(directory, Err(GgufError::NotAFile)));
    }
}
