//! Tensors from a GGUF file, each checked against the shape that the graph expects.

use std::borrow::Cow;
use std::io::{Read, Seek};
use std::sync::Arc;

use candle_core::quantized::gguf_file::{Content, TensorInfo};
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor, QuantizedType};
use candle_core::{DType, Device, Module, Result, Tensor};

use super::unfit::Unfit;
use crate::backend::{AbortSignal, DecodeError};

/// The tensors of a file that were not read yet.
pub(super) struct Tensors<R> {
    content: Content,
    reader: R,
    kernels: Kernels,
}

/// How matrices of 8-bit numbers are multiplied.
///
/// Candle's fast kernels round the other factor to 8 bits in blocks of 256 numbers, where
/// llama.cpp takes blocks of 32, as that type is meant. It is no worse than what both do for
/// 4-bit matrices, and up to six times as fast, but answers part from llama.cpp's sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernels {
    /// Like llama.cpp's.
    Close,
    Fast,
}

/// Up to this size a model is quick enough with any kernel.
const CLOSE_BYTES_MAX: u64 = 32 << 20;

impl Kernels {
    /// What suits a file of so many bytes.
    pub(super) fn for_size(file_bytes: u64) -> Self {
        if file_bytes <= CLOSE_BYTES_MAX {
            Self::Close
        } else {
            Self::Fast
        }
    }
}

impl<R: Read + Seek> Tensors<R> {
    pub(super) fn open(mut reader: R, kernels: Kernels) -> Result<Self> {
        let content = Content::read(&mut reader)?;
        Ok(Self {
            content,
            reader,
            kernels,
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// A tensor that nobody asked for: then the graph is not this model's.
    pub(super) fn unread(&self) -> Option<&str> {
        self.content.tensor_infos.keys().min().map(String::as_str)
    }

    /// The length of the first dimension, which only the file knows for a vocabulary.
    pub(super) fn rows(&self, name: &str) -> Option<usize> {
        self.content
            .tensor_infos
            .get(name)?
            .shape
            .dims()
            .first()
            .copied()
    }

    pub(super) fn matrix(&mut self, name: &str, outputs: usize, inputs: usize) -> Fit<Linear> {
        let tensor = self.tensor(name, &[outputs, inputs])?;
        Linear::new(tensor, self.kernels)
    }

    /// A matrix with what is added to its product, if the file has that.
    pub(super) fn biased(&mut self, name: &str, outputs: usize, inputs: usize) -> Fit<Linear> {
        let mut linear = self.matrix(&format!("{name}.weight"), outputs, inputs)?;
        let bias = format!("{name}.bias");
        if self.has(&bias) {
            let values = self.vector(&bias, outputs)?;
            linear.bias = Some(Tensor::from_vec(values, outputs, &Device::Cpu)?);
        }
        Ok(linear)
    }

    /// The matrices of all experts, which the file keeps as one tensor.
    pub(super) fn experts(
        &mut self,
        name: &str,
        count: usize,
        outputs: usize,
        inputs: usize,
    ) -> Fit<Vec<Linear>> {
        let stacked = self.tensor(name, &[count, outputs, inputs])?;
        let bytes = stacked.data()?;
        let each = bytes.len() / count;
        let matrices = bytes.chunks_exact(each).map(|bytes| {
            let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, stacked.dtype())?;
            Linear::new(QTensor::new(storage, (outputs, inputs))?, self.kernels)
        });
        matrices.collect()
    }

    pub(super) fn vector(&mut self, name: &str, length: usize) -> Fit<Vec<f32>> {
        let tensor = self.tensor(name, &[length])?;
        Ok(tensor.dequantize(&Device::Cpu)?.to_vec1()?)
    }

    fn tensor(&mut self, name: &str, expected: &[usize]) -> Fit<QTensor> {
        let info = self.content.tensor_infos.remove(name);
        let info: TensorInfo = info.ok_or_else(|| Unfit::NoTensor(name.to_owned()))?;
        let found = info.shape.dims();
        if found != expected {
            return Err(Unfit::TensorShape {
                name: name.to_owned(),
                found: found.to_vec(),
                expected: expected.to_vec(),
            });
        }
        let start = self.content.tensor_data_offset;
        Ok(info.read(&mut self.reader, start, &Device::Cpu)?)
    }
}

type Fit<T> = std::result::Result<T, Unfit>;

/// Rows of a batch that a quantized matrix is multiplied with at once. A cancelled decode waits
/// for one such product. And from 32 rows on, candle would keep another copy of 4-bit matrices
/// for the tile instructions, more than twice their size, without being faster for it.
const ROWS_AT_ONCE: usize = 28;

/// The same for a matrix of plain numbers, which the product packs anew each time.
const ROWS_AT_ONCE_PLAIN: usize = 128;

/// A matrix that multiplies rows of numbers.
pub(super) struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

enum Weight {
    /// With the kernels that candle chooses.
    Chosen(QMatMul),
    /// Always with those for the blocks as they are.
    Blocks {
        blocks: Box<dyn QuantizedType>,
        outputs: usize,
        inputs: usize,
    },
}

impl Linear {
    fn new(tensor: QTensor, kernels: Kernels) -> Fit<Self> {
        let weight = if kernels == Kernels::Close && tensor.dtype() == GgmlDType::Q8_0 {
            let (outputs, inputs) = tensor.shape().dims2()?;
            Weight::Blocks {
                blocks: tensor.dtype().from_data(tensor.data()?),
                outputs,
                inputs,
            }
        } else {
            Weight::Chosen(QMatMul::from_arc(Arc::new(tensor))?)
        };
        weight.prepare()?;
        Ok(Self { weight, bias: None })
    }

    /// The product with each row of `input`.
    pub(super) fn forward(
        &self,
        input: &Tensor,
        abort: &AbortSignal,
    ) -> std::result::Result<Tensor, DecodeError> {
        let at_once = self.weight.rows_at_once();
        let rows = input.dim(0)?;
        let mut products = Vec::with_capacity(rows.div_ceil(at_once));
        for start in (0..rows).step_by(at_once) {
            if abort.raised() {
                return Err(DecodeError::Aborted);
            }
            let part = input.narrow(0, start, at_once.min(rows - start))?;
            products.push(self.weight.product(&part)?);
        }
        let product = match products.len() {
            1 => products.swap_remove(0),
            _ => Tensor::cat(&products, 0)?,
        };
        match &self.bias {
            Some(bias) => Ok(product.broadcast_add(bias)?),
            None => Ok(product),
        }
    }

    /// The rows of the matrix with these numbers.
    pub(super) fn rows(&self, numbers: &[u32]) -> Result<Tensor> {
        match &self.weight {
            Weight::Chosen(matrix) => matrix.embedding(&Tensor::new(numbers, &Device::Cpu)?),
            Weight::Blocks {
                blocks,
                outputs,
                inputs,
            } => {
                let rows = blocks.embedding(numbers, *outputs, *inputs)?;
                let rows = rows.as_slice::<f32>()?;
                Tensor::from_slice(rows, (numbers.len(), *inputs), &Device::Cpu)
            }
        }
    }
}

impl Weight {
    /// Multiplies once, because candle rearranges a matrix at its first product with more than
    /// one row. Better while loading than in somebody's first request.
    fn prepare(&self) -> Result<()> {
        let Self::Chosen(QMatMul::QTensor(weight)) = self else {
            return Ok(());
        };
        let inputs = weight.shape().dims2()?.1;
        let rows = Tensor::zeros((2, inputs), DType::F32, &Device::Cpu)?;
        self.product(&rows).map(drop)
    }

    fn rows_at_once(&self) -> usize {
        match self {
            Self::Chosen(QMatMul::Tensor(_) | QMatMul::TensorF16(_)) => ROWS_AT_ONCE_PLAIN,
            Self::Chosen(QMatMul::QTensor(_)) | Self::Blocks { .. } => ROWS_AT_ONCE,
        }
    }

    fn product(&self, input: &Tensor) -> Result<Tensor> {
        match self {
            Self::Chosen(matrix) => matrix.forward(input),
            Self::Blocks {
                blocks,
                outputs,
                inputs,
            } => {
                let rows = input.dim(0)?;
                let input: Vec<f32> = input.flatten_all()?.to_vec1()?;
                let mut product = vec![0.0; rows * outputs];
                blocks.matmul_t((rows, *inputs, *outputs), &input, &mut product)?;
                Tensor::from_vec(product, (rows, *outputs), &Device::Cpu)
            }
        }
    }
}

/// What tensors of ggml's type number `kind` take beyond their bytes in the file, in bytes for
/// each 256 elements: candle keeps a rearranged copy of the types that it has fast kernels for,
/// and turns 16-bit numbers into 32-bit ones.
pub(super) fn extra_bytes_per_256(kind: u32, kernels: Kernels) -> u64 {
    match kind {
        // F16 and BF16.
        1 | 30 => 512,
        // Q8_0.
        8 if kernels == Kernels::Close => 0,
        8 => 272,
        // Q4_K.
        12 => 192,
        // Q6_K.
        14 => 320,
        _ => 0,
    }
}
