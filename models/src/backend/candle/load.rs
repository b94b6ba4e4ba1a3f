//! From a GGUF file to a model with its sequences.

use std::io::{BufReader, Cursor, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::context::Context;
use super::model::Model;
use super::shape::Shape;
use super::unfit::Unfit;
use super::weights::{self, Kernels, Tensors};
use super::{parallel, vocabulary};
use crate::backend::Capacity;
use crate::gguf::{Gguf, Value};
use crate::load::{LoadError, ModelBytes, Parts, Plan, Progress};
use crate::memory;
use crate::vocabulary::Vocabulary;

/// Loads the planned model.
pub(crate) fn load(plan: Plan, progress: Progress<'_>) -> Result<Parts, LoadError> {
    let shape = Shape::read(&plan.gguf)?;
    check_whole(&plan.gguf)?;
    check_memory(&plan)?;
    let vocabulary = load_vocabulary(&plan.gguf)?;
    let kernels = Kernels::for_size(plan.gguf.file_bytes);
    let read = || match plan.bytes {
        ModelBytes::File(file) => read_model(shape, BufReader::new(file), kernels, progress),
        ModelBytes::Builtin(bytes) => read_model(shape, Cursor::new(bytes), kernels, progress),
    };
    // Candle's own reader trusts the header more than ours does.
    let model = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let reason = "candle panicked while it read the file; it is damaged";
        Err(LoadError::Backend(reason.to_owned()))
    })?;
    if model.vocabulary_size() != vocabulary.size() {
        let (rows, tokens) = (model.vocabulary_size(), vocabulary.size());
        let reason = format!("{tokens} tokens for {rows} rows of embeddings");
        return Err(Unfit::Vocabulary(reason).into());
    }
    let capacity = Capacity {
        cells: plan.cells,
        sequences: plan.slots * 2,
        context_tokens: plan.context_tokens,
        batch_tokens: plan.batch_tokens,
        outputs: plan.batch_tokens,
        rolls_back: true,
        shares_cells: false,
    };
    Ok(Parts {
        vocabulary,
        backend: Box::new(Context::new(model, capacity)),
        device: format!("CPU (candle, {} threads)", parallel::threads()),
    })
}

/// The vocabulary of a file, whatever its weights are.
pub(crate) fn load_vocabulary(gguf: &Gguf) -> Result<Vocabulary, LoadError> {
    Ok(vocabulary::vocabulary(gguf)?)
}

fn read_model<R: Read + Seek>(
    shape: Shape,
    reader: R,
    kernels: Kernels,
    progress: Progress<'_>,
) -> Result<Model, LoadError> {
    let mut tensors = Tensors::open(reader, kernels).map_err(Unfit::Candle)?;
    Model::load(shape, &mut tensors, progress)
}

/// Refuses one part of a model that was split.
fn check_whole(gguf: &Gguf) -> Result<(), Unfit> {
    match gguf.get("split.count").and_then(Value::as_u64) {
        Some(count) if count > 1 => Err(Unfit::Feature("models split over files".to_owned())),
        _ => Ok(()),
    }
}

/// The general check counts the file's bytes; candle needs more than these.
fn check_memory(plan: &Plan) -> Result<(), LoadError> {
    let mut needs = memory::needs(&plan.gguf, plan.cells, plan.kv_type, plan.batch_tokens);
    let kernels = Kernels::for_size(plan.gguf.file_bytes);
    let extra = plan.gguf.tensors.iter().map(|tensor| {
        let per_256 = weights::extra_bytes_per_256(tensor.kind, kernels);
        (tensor.elements / 256).saturating_mul(per_256)
    });
    needs.weights = extra.fold(needs.weights, u64::saturating_add);
    match memory::available() {
        Some(available) if needs.total() > available => {
            Err(LoadError::TooLarge { needs, available })
        }
        _ => Ok(()),
    }
}
