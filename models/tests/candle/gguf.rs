//! Writes small GGUF files.

use std::fs;
use std::path::{Path, PathBuf};

/// A metadata value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
}

/// A file that is being put together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writer {
    keys: Vec<(String, Value)>,
    tensors: Vec<Tensor>,
}

#[derive(Debug, Clone)]
struct Tensor {
    name: String,
    /// As GGUF has them: the length of a row first.
    dimensions: Vec<u64>,
    kind: u32,
    bytes: Vec<u8>,
}

const ALIGNMENT: usize = 32;

impl Writer {
    pub(crate) fn set(&mut self, key: &str, value: Value) {
        self.keys.retain(|(existing, _)| existing != key);
        self.keys.push((key.to_owned(), value));
    }

    pub(crate) fn f32(&mut self, name: &str, dimensions: &[u64], numbers: &[f32]) {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
        self.push(name, dimensions, 0, bytes.collect());
    }

    /// Blocks of 32 numbers with one scale, here always 2^-10.
    pub(crate) fn q8_0(&mut self, name: &str, dimensions: &[u64], numbers: &[i8]) {
        const SCALE: u16 = 5 << 10;
        let mut bytes = Vec::new();
        for block in numbers.chunks_exact(32) {
            bytes.extend(SCALE.to_le_bytes());
            bytes.extend(block.iter().map(|number| number.cast_unsigned()));
        }
        self.push(name, dimensions, 8, bytes);
    }

    fn push(&mut self, name: &str, dimensions: &[u64], kind: u32, bytes: Vec<u8>) {
        self.tensors.push(Tensor {
            name: name.to_owned(),
            dimensions: dimensions.to_vec(),
            kind,
            bytes,
        });
    }

    pub(crate) fn drop_tensor(&mut self, name: &str) {
        self.tensors.retain(|tensor| tensor.name != name);
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            text(&mut out, key);
            value.write(&mut out);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            text(&mut out, &tensor.name);
            out.extend(
                u32::try_from(tensor.dimensions.len())
                    .expect("few")
                    .to_le_bytes(),
            );
            out.extend(
                tensor
                    .dimensions
                    .iter()
                    .flat_map(|length| length.to_le_bytes()),
            );
            out.extend(tensor.kind.to_le_bytes());
            out.extend((data.len() as u64).to_le_bytes());
            data.extend(&tensor.bytes);
            data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        out.extend(data);
        out
    }

    /// Writes the file to a place that is cleaned up.
    pub(crate) fn save(&self, name: &str) -> Saved {
        save(name, &self.bytes())
    }
}

/// A file that goes away.
pub(crate) struct Saved(PathBuf);

impl Saved {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        // Left behind in the temporary directory if this fails; nothing depends on it.
        let _ = fs::remove_file(&self.0);
    }
}

pub(crate) fn save(name: &str, bytes: &[u8]) -> Saved {
    let name = format!("fazai-candle-{}-{name}.gguf", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::write(&path, bytes).expect("the temporary directory can be written");
    Saved(path)
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::U32(value) => kind(out, 4).extend(value.to_le_bytes()),
            Self::F32(value) => kind(out, 6).extend(value.to_le_bytes()),
            Self::Bool(value) => kind(out, 7).push(u8::from(*value)),
            Self::Text(value) => text(kind(out, 8), value),
            Self::Texts(values) => {
                list(out, 8, values.len());
                values.iter().for_each(|value| text(out, value));
            }
            Self::I32s(values) => {
                list(out, 5, values.len());
                out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
            Self::F32s(values) => {
                list(out, 6, values.len());
                out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
        }
    }
}

fn kind(out: &mut Vec<u8>, kind: u32) -> &mut Vec<u8> {
    out.extend(kind.to_le_bytes());
    out
}

fn list(out: &mut Vec<u8>, of: u32, length: usize) {
    kind(out, 9).extend(of.to_le_bytes());
    out.extend((length as u64).to_le_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
