//! A context of llama.cpp: the KV cache and everything that computes.
#![expect(
    unsafe_code,
    reason = "llama-cpp-2 hides the context's pointer, the abort callback and the thread pool"
)]

use std::ffi::c_void;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use llama_cpp_2::model::LlamaModel;
use llama_cpp_sys_2 as sys;

use super::log;
use crate::backend::{AbortSignal, Backend, Capacity, DecodeError, Run, SeqId};
use crate::load::{LoadError, Plan};
use crate::memory::KvType;
use crate::vocabulary::Token;

/// Longest input that can become a vector: it has to fit one micro-batch.
const EMBED_TOKENS_MAX: u32 = 2_048;

/// llama.cpp's own limit.
const MAX_SEQUENCES: u32 = 256;

/// A model's context with its threads.
pub(super) struct Context {
    raw: RawContext,
    batch: Batch,
    /// For each run of the last decode, which token its first row of logits is behind.
    outputs: Vec<usize>,
    capacity: Capacity,
    vocabulary_size: usize,
    threads: Arc<ThreadPool>,
    abort: AbortSignal,
    model: Arc<LlamaModel>,
    /// Made at the first use: not every model is asked for vectors.
    embedder: Option<Embedder>,
    thread_count: i32,
    on_cpu: bool,
}

/// A `llama_context`, freed on drop.
struct RawContext(NonNull<sys::llama_context>);

// SAFETY: llama.cpp allows a context to move between threads as long as one thread uses it at a
// time; it is owned and not `Sync`.
unsafe impl Send for RawContext {}

impl Drop for RawContext {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `llama_init_from_model` and is freed once. The model,
        // the thread pool and the abort flag outlive it: their `Arc`s are fields of the owner,
        // declared after it.
        unsafe { sys::llama_free(self.0.as_ptr()) };
    }
}

/// Worker threads of ggml's own, kept between decodes.
struct ThreadPool(NonNull<sys::ggml_threadpool>);

// SAFETY: the pool is used by one context at a time through `&mut Context`; ggml synchronizes
// its own workers.
unsafe impl Send for ThreadPool {}
// SAFETY: nothing but its address is shared.
unsafe impl Sync for ThreadPool {}

impl ThreadPool {
    fn new(count: i32) -> Option<Arc<Self>> {
        // SAFETY: a plain function that fills a struct, and one that reads it.
        let pool = unsafe {
            let mut params = sys::ggml_threadpool_params_default(count);
            sys::ggml_threadpool_new(&raw mut params)
        };
        NonNull::new(pool).map(|pool| Arc::new(Self(pool)))
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        // SAFETY: made by `ggml_threadpool_new`; the last context that used it is gone.
        unsafe { sys::ggml_threadpool_free(self.0.as_ptr()) };
    }
}

/// The arrays behind a `llama_batch`, kept between decodes.
#[derive(Default)]
struct Batch {
    tokens: Vec<i32>,
    positions: Vec<i32>,
    sequence_counts: Vec<i32>,
    sequences: Vec<i32>,
    sequence_pointers: Vec<*mut i32>,
    wants_logits: Vec<i8>,
}

// SAFETY: the pointers point into `sequences` of the same struct and are rebuilt before each
// use.
unsafe impl Send for Batch {}

impl Batch {
    fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.sequences.clear();
        self.wants_logits.clear();
    }

    /// Appends a run; returns which token its first row of logits is behind.
    fn push(&mut self, run: &Run<'_>) -> usize {
        for (&token, position) in run.tokens.iter().zip(run.start..) {
            self.tokens.push(token.cast_signed());
            self.positions.push(position.cast_signed());
            self.sequences.push(run.seq.cast_signed());
            self.wants_logits.push(0);
        }
        let first_output = self.tokens.len() - run.outputs as usize;
        self.wants_logits[first_output..].fill(1);
        first_output
    }

    /// The C view of the arrays. Valid until they change.
    fn as_raw(&mut self) -> sys::llama_batch {
        self.sequence_counts.clear();
        self.sequence_counts.resize(self.tokens.len(), 1);
        self.sequence_pointers.clear();
        let pointers = self.sequences.iter_mut().map(std::ptr::from_mut);
        self.sequence_pointers.extend(pointers);
        sys::llama_batch {
            n_tokens: i32::try_from(self.tokens.len()).unwrap_or(i32::MAX),
            token: self.tokens.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: self.positions.as_mut_ptr(),
            n_seq_id: self.sequence_counts.as_mut_ptr(),
            seq_id: self.sequence_pointers.as_mut_ptr(),
            logits: self.wants_logits.as_mut_ptr(),
        }
    }
}

/// Asked by llama.cpp between the nodes of its graph.
unsafe extern "C" fn abort_raised(flag: *mut c_void) -> bool {
    // SAFETY: the pointer is the flag inside the context's `AbortSignal`, which outlives it.
    unsafe { &*flag.cast::<AtomicBool>() }.load(Ordering::Relaxed)
}

/// The model's pointer, valid as long as the reference is.
fn raw_model(model: &LlamaModel) -> *mut sys::llama_model {
    // SAFETY: `LlamaModel` is `repr(transparent)` over the pointer, so reading it out of the
    // reference is sound.
    unsafe {
        std::ptr::from_ref(model)
            .cast::<*mut sys::llama_model>()
            .read()
    }
}

/// Makes a context of the model.
fn new_context(
    model: &LlamaModel,
    threads: &ThreadPool,
    abort: &AbortSignal,
    adjust: impl FnOnce(&mut sys::llama_context_params),
) -> Result<RawContext, LoadError> {
    // SAFETY: a plain function that fills a struct.
    let mut params = unsafe { sys::llama_context_default_params() };
    params.no_perf = true;
    params.abort_callback = Some(abort_raised);
    params.abort_callback_data = std::ptr::from_ref(abort.flag()).cast_mut().cast();
    adjust(&mut params);
    log::take_errors();
    // SAFETY: the model outlives the context by the owner's `Arc`, and the flag that `params`
    // points to by the owner's `AbortSignal`.
    let raw = unsafe { sys::llama_init_from_model(raw_model(model), params) };
    let raw = NonNull::new(raw).ok_or_else(|| {
        let reason = log::take_errors();
        LoadError::Backend(format!("llama.cpp can't make a context: {reason}"))
    })?;
    // SAFETY: both pointers are valid, and the pool outlives the context by the owner's `Arc`.
    unsafe {
        sys::llama_attach_threadpool(raw.as_ptr(), threads.0.as_ptr(), threads.0.as_ptr());
    }
    Ok(RawContext(raw))
}

impl Context {
    /// A context with the planned sizes.
    pub(super) fn new(
        model: Arc<LlamaModel>,
        plan: &Plan,
        on_cpu: bool,
    ) -> Result<Self, LoadError> {
        let thread_count = i32::try_from(plan.threads).unwrap_or(1).max(1);
        let threads = ThreadPool::new(thread_count)
            .ok_or_else(|| LoadError::Backend("no threads left".into()))?;
        let abort = AbortSignal::default();
        let rolls_back = rolls_back(&model);
        let sequences = plan.slots + held_sequences(plan.slots, rolls_back);
        let raw = new_context(&model, &threads, &abort, |params| {
            params.n_ctx = plan.cells;
            params.n_batch = plan.batch_tokens;
            params.n_ubatch = plan.batch_tokens;
            params.n_seq_max = sequences;
            params.n_outputs_max = sequences;
            params.n_threads = thread_count;
            params.n_threads_batch = thread_count;
            // One pool of cells for all sequences: a long one may use what others don't.
            params.kv_unified = true;
            let kv_type = match plan.kv_type {
                KvType::F16 => sys::GGML_TYPE_F16,
                KvType::Q8_0 => sys::GGML_TYPE_Q8_0,
            };
            (params.type_k, params.type_v) = (kv_type, kv_type);
            params.flash_attn_type = match plan.llama.flash_attention {
                None => sys::LLAMA_FLASH_ATTN_TYPE_AUTO,
                Some(false) => sys::LLAMA_FLASH_ATTN_TYPE_DISABLED,
                Some(true) => sys::LLAMA_FLASH_ATTN_TYPE_ENABLED,
            };
        })?;
        // SAFETY: the context is valid.
        let cells = unsafe { sys::llama_n_ctx(raw.0.as_ptr()) };
        let vocabulary_size = usize::try_from(model.vocab().n_tokens()).unwrap_or(0);
        Ok(Self {
            raw,
            batch: Batch::default(),
            outputs: Vec::new(),
            capacity: Capacity {
                cells,
                sequences,
                context_tokens: plan.context_tokens,
                batch_tokens: plan.batch_tokens,
                // llama.cpp has a row for each sequence anyway.
                outputs: sequences,
                rolls_back,
                shares_cells: true,
            },
            vocabulary_size,
            threads,
            abort,
            model,
            embedder: None,
            thread_count,
            on_cpu,
        })
    }

    fn memory(&self) -> sys::llama_memory_t {
        // SAFETY: the context is valid.
        unsafe { sys::llama_get_memory(self.raw.0.as_ptr()) }
    }
}

/// Whether a sequence of the model can be cut anywhere.
fn rolls_back(model: &LlamaModel) -> bool {
    let model = raw_model(model);
    // SAFETY: the model is valid.
    unsafe {
        sys::llama_model_n_swa(model) == 0
            && !sys::llama_model_is_recurrent(model)
            && !sys::llama_model_is_hybrid(model)
    }
}

/// How many sequences beside the slots' own may hold what was computed. Each costs a row of
/// logits, and where the model has a recurrent state, one of those.
fn held_sequences(slots: u32, rolls_back: bool) -> u32 {
    let most = if rolls_back { slots + 8 } else { 6 };
    most.min(MAX_SEQUENCES.saturating_sub(slots))
}

/// Names what `llama_decode` returned.
fn decoded(code: i32) -> Result<(), DecodeError> {
    match code {
        0 => Ok(()),
        1 => Err(DecodeError::CacheFull),
        2 => Err(DecodeError::Aborted),
        code => {
            let reason = log::take_errors();
            Err(DecodeError::Failed(format!(
                "llama.cpp failed with {code}: {reason}"
            )))
        }
    }
}

impl Backend for Context {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn threads(&self) -> Option<u32> {
        self.on_cpu.then(|| {
            // SAFETY: the context is valid.
            let threads = unsafe { sys::llama_n_threads(self.raw.0.as_ptr()) };
            threads.unsigned_abs()
        })
    }

    fn set_threads(&mut self, threads: u32) {
        let threads = i32::try_from(threads).unwrap_or(i32::MAX);
        let threads = threads.clamp(1, self.thread_count);
        // SAFETY: the context is valid and used by this thread only; its pool has as many.
        unsafe { sys::llama_set_n_threads(self.raw.0.as_ptr(), threads, threads) };
    }

    fn abort_signal(&self) -> AbortSignal {
        self.abort.clone()
    }

    fn decode(&mut self, runs: &[Run<'_>]) -> Result<(), DecodeError> {
        self.batch.clear();
        self.outputs.clear();
        for run in runs {
            let first_output = self.batch.push(run);
            self.outputs.push(first_output);
        }
        let tokens = self.batch.tokens.len();
        if tokens > self.capacity.batch_tokens as usize {
            // llama.cpp would end the process.
            let most = self.capacity.batch_tokens;
            return Err(DecodeError::Failed(format!(
                "{tokens} tokens in a batch of {most}"
            )));
        }
        let batch = self.batch.as_raw();
        // SAFETY: the context is valid and used by this thread only; the batch's arrays have
        // `n_tokens` elements each and live during the call.
        decoded(unsafe { sys::llama_decode(self.raw.0.as_ptr(), batch) })
    }

    fn logits(&self, run: usize, output: usize) -> &[f32] {
        let output = i32::try_from(self.outputs[run] + output).unwrap_or(i32::MAX);
        // SAFETY: the context is valid, and `output` is a token of the last batch that asked
        // for logits; then llama.cpp returns `n_vocab` floats that stay until the next decode,
        // which needs `&mut self`.
        unsafe {
            let row = sys::llama_get_logits_ith(self.raw.0.as_ptr(), output);
            assert!(!row.is_null(), "logits of a decoded output");
            slice::from_raw_parts(row, self.vocabulary_size)
        }
    }

    fn truncate(&mut self, seq: SeqId, keep: u32) -> bool {
        // SAFETY: the memory belongs to the valid context.
        unsafe {
            sys::llama_memory_seq_rm(self.memory(), seq.cast_signed(), keep.cast_signed(), -1)
        }
    }

    fn clear(&mut self, seq: SeqId) {
        // Removing a whole sequence never fails.
        self.truncate(seq, 0);
    }

    fn copy(&mut self, from: SeqId, to: SeqId, len: u32) {
        // SAFETY: the memory belongs to the valid context.
        unsafe {
            sys::llama_memory_seq_cp(
                self.memory(),
                from.cast_signed(),
                to.cast_signed(),
                0,
                if self.capacity.rolls_back {
                    len.cast_signed()
                } else {
                    -1
                },
            );
        }
    }

    fn save(&mut self, seq: SeqId, bytes_max: usize) -> Option<Vec<u8>> {
        let raw = self.raw.0.as_ptr();
        // SAFETY: the context is valid, and the buffer has the size that is told.
        unsafe {
            let size = sys::llama_state_seq_get_size(raw, seq.cast_signed());
            // Somebody may ask at every turn: what is too much is not copied.
            if size > bytes_max {
                return None;
            }
            let mut state = vec![0; size];
            let start = state.as_mut_ptr();
            let written = sys::llama_state_seq_get_data(raw, start, size, seq.cast_signed());
            state.truncate(written);
            Some(state).filter(|state| !state.is_empty())
        }
    }

    fn restore(&mut self, seq: SeqId, state: &[u8]) -> bool {
        log::take_errors();
        // SAFETY: the context is valid, and llama.cpp reads at most as many bytes as there are.
        let read = unsafe {
            sys::llama_state_seq_set_data(
                self.raw.0.as_ptr(),
                state.as_ptr(),
                state.len(),
                seq.cast_signed(),
            )
        };
        let usable = read == state.len();
        if !usable {
            self.clear(seq);
        }
        usable
    }

    fn embed(&mut self, input: &[Token]) -> Result<Vec<f32>, DecodeError> {
        let embedder = match self.embedder.take() {
            Some(embedder) => embedder,
            None => Embedder::new(self).map_err(|fault| DecodeError::Failed(fault.to_string()))?,
        };
        self.abort.clear();
        self.embedder.insert(embedder).embed(input)
    }
}

/// A second context of the same model, for vectors.
struct Embedder {
    raw: RawContext,
    batch: Batch,
    tokens_max: u32,
    width: usize,
    // Kept alive for the context; see `RawContext`.
    _threads: Arc<ThreadPool>,
    _abort: AbortSignal,
    _model: Arc<LlamaModel>,
}

impl Embedder {
    fn new(owner: &Context) -> Result<Self, LoadError> {
        let tokens_max = owner.capacity.context_tokens.min(EMBED_TOKENS_MAX);
        let raw = new_context(&owner.model, &owner.threads, &owner.abort, |params| {
            params.n_ctx = tokens_max;
            params.n_batch = tokens_max;
            params.n_ubatch = tokens_max;
            params.n_seq_max = 1;
            params.n_threads = owner.thread_count;
            params.n_threads_batch = owner.thread_count;
            params.embeddings = true;
            if params.pooling_type == sys::LLAMA_POOLING_TYPE_UNSPECIFIED
                && !has_pooling(&owner.model)
            {
                // A model that was made to write has no pooling of its own.
                params.pooling_type = sys::LLAMA_POOLING_TYPE_MEAN;
            }
        })?;
        Ok(Self {
            raw,
            batch: Batch::default(),
            tokens_max,
            width: usize::try_from(owner.model.n_embd_out()).unwrap_or(0),
            _threads: Arc::clone(&owner.threads),
            _abort: owner.abort.clone(),
            _model: Arc::clone(&owner.model),
        })
    }

    fn embed(&mut self, input: &[Token]) -> Result<Vec<f32>, DecodeError> {
        let most = self.tokens_max as usize;
        if input.is_empty() || input.len() > most {
            let length = input.len();
            let reason = format!("{length} tokens can't be embedded; 1 to {most} can");
            return Err(DecodeError::Failed(reason));
        }
        self.batch.clear();
        self.batch.push(&Run {
            seq: 0,
            start: 0,
            tokens: input,
            outputs: 0,
        });
        // With pooling, every token is an output.
        self.batch.wants_logits.fill(1);
        let batch = self.batch.as_raw();
        // SAFETY: the context is valid and used by this thread only; the batch's arrays live
        // during the call. A sequence's vector has `n_embd_out` floats.
        let vector = unsafe {
            let memory = sys::llama_get_memory(self.raw.0.as_ptr());
            if !memory.is_null() {
                sys::llama_memory_clear(memory, false);
            }
            decoded(sys::llama_decode(self.raw.0.as_ptr(), batch))?;
            let row = sys::llama_get_embeddings_seq(self.raw.0.as_ptr(), 0);
            if row.is_null() {
                let reason = "the model has no pooled embeddings".to_owned();
                return Err(DecodeError::Failed(reason));
            }
            slice::from_raw_parts(row, self.width)
        };
        unit(vector)
    }
}

/// Whether the file says how the model pools.
fn has_pooling(model: &LlamaModel) -> bool {
    let architecture = model.meta_val_str("general.architecture");
    architecture.is_ok_and(|name| model.meta_val_str(&format!("{name}.pooling_type")).is_ok())
}

/// The vector with length 1. One that has no direction is a fault, not an answer.
fn unit(vector: &[f32]) -> Result<Vec<f32>, DecodeError> {
    let length = vector
        .iter()
        .map(|x| f64::from(*x).powi(2))
        .sum::<f64>()
        .sqrt();
    if !length.is_finite() || length == 0.0 {
        return Err(DecodeError::Failed(
            "the model gave a vector without a direction".into(),
        ));
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 1")]
    let scaled = vector
        .iter()
        .map(|x| (f64::from(*x) / length) as f32)
        .collect();
    Ok(scaled)
}
