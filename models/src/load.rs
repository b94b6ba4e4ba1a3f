//! From a model's file to a backend with its vocabulary and template.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::backend::Backend;
use crate::builtin;
use crate::chat::{ChatTemplate, TemplateError};
use crate::gguf::{Gguf, GgufError, Lists};
use crate::memory::{self, KvType, Needs};
use crate::prompts::Fingerprint;
use crate::tune::{BatchSizes, Calibration};
#[cfg(feature = "llama")]
use crate::tune::{Kept, load_tuned, threads_worth_trying};
use crate::vocabulary::Vocabulary;

/// Where a model's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// A GGUF file.
    File(PathBuf),
    /// The model inside this program.
    Builtin,
}

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendKind {
    /// llama.cpp.
    Llama,
    /// Pure Rust.
    Candle,
}

impl BackendKind {
    /// The name that people write.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Candle => "candle",
        }
    }
}

impl Default for BackendKind {
    fn default() -> Self {
        if cfg!(feature = "llama") {
            Self::Llama
        } else {
            Self::Candle
        }
    }
}

/// How much of a model goes to a GPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GpuLayers {
    /// All of it, if there is a usable device.
    #[default]
    Auto,
    /// So many layers.
    Count(u32),
}

/// How to load a model. Zero means: choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// What computes.
    pub backend: BackendKind,
    /// Longest conversation, in tokens; at most what the model was trained for.
    pub context_tokens: u32,
    /// Requests at once.
    pub slots: u32,
    /// Memory for the KV cache.
    pub kv_cache_bytes: u64,
    /// Threads that compute.
    pub threads: u32,
    /// Tokens in one decode.
    pub batch_tokens: u32,
    /// Prompt tokens in one decode while others write.
    pub prefill_chunk_tokens: u32,
    /// Where is kept how models run best on this machine, which is measured when a large one is
    /// first loaded into its memory. `None`: nothing is measured.
    pub tuning: Option<PathBuf>,
    /// Measure also what was measured before.
    pub tune_again: bool,
    /// How much goes to a GPU.
    pub gpu_layers: GpuLayers,
    /// What llama.cpp alone can do.
    pub llama: LlamaOptions,
    /// Refuse a model that needs more than this, whatever is free.
    pub memory_bytes_max: Option<u64>,
}

/// Choices that only llama.cpp has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LlamaOptions {
    /// How the KV cache is kept. `None`: 16 bits, or 8 when memory is too short for these.
    pub kv_type: Option<KvType>,
    /// Whether attention is computed in one piece, without a matrix of all its weights. `None`:
    /// where the model and the device can.
    pub flash_attention: Option<bool>,
    /// Keeps the weights from being swapped out; the process needs the right to lock so much.
    pub lock_memory: bool,
    /// Asks the kernel for large pages for what is computed with.
    pub huge_pages: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            backend: BackendKind::default(),
            context_tokens: 0,
            slots: 8,
            kv_cache_bytes: 0,
            threads: 0,
            batch_tokens: 0,
            prefill_chunk_tokens: 0,
            tuning: None,
            tune_again: false,
            gpu_layers: GpuLayers::Auto,
            llama: LlamaOptions::default(),
            memory_bytes_max: None,
        }
    }
}

/// Without a wish, a conversation may be this long (or as long as the model can).
const CONTEXT_TOKENS_DEFAULT: u32 = 8_192;

/// Without a wish, the KV cache takes at most this much, and a quarter of what is free.
const KV_CACHE_BYTES_DEFAULT_MAX: u64 = 2 << 30;

/// What a loaded model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// Such as `qwen3`.
    pub architecture: String,
    /// What the file calls itself.
    pub title: String,
    /// How many parameters it has.
    pub parameters: u64,
    /// The type of most of its weights.
    pub quantization: String,
    /// Size of its file.
    pub file_bytes: u64,
    /// Longest conversation that it was trained for.
    pub trained_tokens: u32,
    /// Longest conversation here.
    pub context_tokens: u32,
    /// Tokens that the KV cache holds, over all conversations.
    pub cells: u32,
    /// How these are kept.
    pub kv_type: KvType,
    /// What it was estimated to take.
    pub needs: Needs,
    /// What computes.
    pub backend: BackendKind,
    /// Where, and if not on a GPU, why.
    pub device: String,
    /// Threads that compute.
    pub threads: u32,
}

/// A model, ready for an engine.
pub struct Loaded {
    /// What it is.
    pub info: ModelInfo,
    /// Its vocabulary.
    pub vocabulary: Arc<Vocabulary>,
    /// Its chat template.
    pub template: Arc<ChatTemplate>,
    /// What a state of its cells is good for.
    pub fingerprint: Fingerprint,
    /// How large its decodes should be.
    pub batch: BatchSizes,
    /// How that was found out, if it was.
    pub calibration: Option<Calibration>,
    /// What computes it.
    pub backend: Box<dyn Backend>,
}

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not a usable GGUF.
    #[error("{path}: {fault}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        fault: GgufError,
    },
    /// The model inside this program is not the one that was built in.
    #[error(transparent)]
    Builtin(#[from] builtin::Damaged),
    /// It does not fit into memory.
    #[error(
        "the model needs {} MiB (weights {}, KV cache {}, buffers {}), and {} MiB are available",
        mib(needs.total()), mib(needs.weights), mib(needs.kv_cache), mib(needs.buffers),
        mib(*available)
    )]
    TooLarge {
        /// What it would take.
        needs: Needs,
        /// What is there.
        available: u64,
    },
    /// The chat template is no Jinja.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The backend refused the model.
    #[error("{0}")]
    Backend(String),
    /// This program was built without that backend.
    #[error("this build has no {} backend", .0.name())]
    NotBuilt(BackendKind),
    /// Somebody stopped the load.
    #[error("the load was cancelled")]
    Cancelled,
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// A model's file, opened once: what was checked is what is loaded.
#[derive(Debug)]
pub(crate) enum ModelBytes {
    File(File),
    Builtin(&'static [u8]),
}

/// What a backend's loader gets.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "llama"),
    expect(dead_code, reason = "only llama.cpp goes by the path, and to a GPU")
)]
pub(crate) struct Plan {
    pub(crate) path: Option<PathBuf>,
    pub(crate) bytes: ModelBytes,
    pub(crate) gguf: Gguf,
    pub(crate) context_tokens: u32,
    pub(crate) cells: u32,
    pub(crate) slots: u32,
    pub(crate) threads: u32,
    /// Whether the weights may be laid out anew for the processor's kernels.
    pub(crate) repack: bool,
    pub(crate) batch_tokens: u32,
    pub(crate) gpu_layers: GpuLayers,
    pub(crate) kv_type: KvType,
    pub(crate) llama: LlamaOptions,
    pub(crate) needs: Needs,
    /// Whether threads and the layout of the weights make a difference.
    pub(crate) worth_tuning: bool,
}

/// What a backend's loader gives.
pub(crate) struct Parts {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) device: String,
}

/// Called with what is done, from 0 to 1; `false` stops the load.
pub type Progress<'a> = &'a mut (dyn FnMut(f32) -> bool + Send);

/// Loads a model. Takes as long as reading its file; not for an async task.
///
/// # Errors
/// See [`LoadError`].
#[cfg_attr(
    not(feature = "llama"),
    allow(unused_mut, reason = "only llama.cpp is measured")
)]
pub fn load(
    source: &ModelSource,
    options: &LoadOptions,
    progress: Progress<'_>,
) -> Result<Loaded, LoadError> {
    let mut plan = plan(source, options)?;
    let plan_info = PlanInfo::of(&plan);
    let template_source = plan.gguf.text("tokenizer.chat_template").map(str::to_owned);
    let fingerprint = fingerprint(&plan, options.backend)?;
    let mut threads = plan.threads;
    let (parts, calibration) = match options.backend {
        #[cfg(feature = "llama")]
        BackendKind::Llama => {
            let load = crate::backend::llama::load;
            match options.tuning.as_ref().filter(|_| plan.worth_tuning) {
                None => (load(&plan, progress)?, None),
                Some(dir) => {
                    let kept = Kept::new(dir, &fingerprint, plan.threads);
                    if options.tune_again {
                        kept.forget();
                    }
                    let counts = match options.threads {
                        0 => threads_worth_trying(plan.threads),
                        wish => vec![wish],
                    };
                    let (parts, calibration) =
                        load_tuned(&mut plan, &kept, &counts, load, progress)?;
                    threads = plan.threads;
                    (parts, Some(calibration))
                }
            }
        }
        #[cfg(feature = "candle")]
        BackendKind::Candle => (crate::backend::candle::load(plan, progress)?, None),
        #[allow(unreachable_patterns, reason = "unreachable only with both features")]
        kind => return Err(LoadError::NotBuilt(kind)),
    };
    let template = ChatTemplate::new(template_source.as_deref(), &parts.vocabulary)?;
    Ok(Loaded {
        info: plan_info.finish(&parts, options.backend, threads),
        vocabulary: Arc::new(parts.vocabulary),
        template: Arc::new(template),
        fingerprint,
        batch: batch_sizes(options, calibration.as_ref()),
        calibration,
        backend: parts.backend,
    })
}

/// As measured, where nothing else is wished.
fn batch_sizes(options: &LoadOptions, calibration: Option<&Calibration>) -> BatchSizes {
    let measured = calibration.map_or_else(BatchSizes::default, |it| it.tuning.batch);
    let or = |wish: u32, measured: u32| if wish == 0 { measured } else { wish };
    BatchSizes {
        most: or(options.batch_tokens, measured.most),
        chunk: or(options.prefill_chunk_tokens, measured.chunk),
    }
}

/// Parts of a model's file that its fingerprint is made of: the header, and samples of the rest.
const FINGERPRINT_HEAD_BYTES: u64 = 4 << 20;
const FINGERPRINT_SAMPLES: u64 = 64;
const FINGERPRINT_SAMPLE_BYTES: u64 = 64 << 10;

/// Tells models, builds and kernels apart whose states are of no use to each other. Of a large
/// file it sees samples: that is enough to tell models apart, and reading all of it would take
/// as long as loading it.
fn fingerprint(plan: &Plan, backend: BackendKind) -> io::Result<Fingerprint> {
    let mut hash = Sha256::new();
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update(backend.name());
    hash.update(plan.kv_type.name());
    hash.update(crate::cpu::model_name());
    let length = plan.gguf.file_bytes;
    hash.update(length.to_le_bytes());
    match &plan.bytes {
        // Its bytes were summed when they were taken.
        ModelBytes::Builtin(_) => hash.update(builtin::SHA256),
        ModelBytes::File(file) => {
            let mut buffer =
                vec![0; usize::try_from(FINGERPRINT_HEAD_BYTES.min(length)).unwrap_or(0)];
            file.read_exact_at(&mut buffer, 0)?;
            hash.update(&buffer);
            buffer.truncate(usize::try_from(FINGERPRINT_SAMPLE_BYTES).unwrap_or(0));
            for sample in 0..FINGERPRINT_SAMPLES {
                let at =
                    length.saturating_sub(FINGERPRINT_SAMPLE_BYTES) / FINGERPRINT_SAMPLES * sample;
                let read = file.read_at(&mut buffer, at)?;
                hash.update(&buffer[..read]);
            }
        }
    }
    Ok(hash.finalize().into())
}

/// The vocabulary of a file, without its weights: there need not be any.
///
/// # Errors
/// See [`LoadError`].
pub fn load_vocabulary(path: &Path, backend: BackendKind) -> Result<Vocabulary, LoadError> {
    let lists = match backend {
        BackendKind::Llama => Lists::Skip,
        BackendKind::Candle => Lists::Keep,
    };
    let gguf = Gguf::open(path, lists).map_err(|fault| LoadError::File {
        path: path.display().to_string(),
        fault,
    })?;
    match backend {
        #[cfg(feature = "llama")]
        BackendKind::Llama => crate::backend::llama::load_vocabulary(path),
        #[cfg(feature = "candle")]
        BackendKind::Candle => crate::backend::candle::load_vocabulary(&gguf),
        #[allow(unreachable_patterns, reason = "unreachable only with both features")]
        kind => Err(LoadError::NotBuilt(kind)),
    }
}

/// What is known before the backend has the model.
struct PlanInfo(ModelInfo);

impl PlanInfo {
    fn of(plan: &Plan) -> Self {
        let gguf = &plan.gguf;
        Self(ModelInfo {
            architecture: gguf.architecture().to_owned(),
            title: gguf.text("general.name").unwrap_or("unnamed").to_owned(),
            parameters: gguf.parameters(),
            quantization: gguf.quantization().to_owned(),
            file_bytes: gguf.file_bytes,
            trained_tokens: trained_tokens(gguf),
            context_tokens: plan.context_tokens,
            cells: plan.cells,
            kv_type: plan.kv_type,
            needs: plan.needs,
            backend: BackendKind::default(),
            device: String::new(),
            threads: plan.threads,
        })
    }

    fn finish(self, parts: &Parts, backend: BackendKind, threads: u32) -> ModelInfo {
        ModelInfo {
            backend,
            threads,
            device: parts.device.clone(),
            ..self.0
        }
    }
}

fn trained_tokens(gguf: &Gguf) -> u32 {
    let trained = gguf.shape("context_length").unwrap_or(2_048);
    u32::try_from(trained).unwrap_or(u32::MAX).max(1)
}

/// Reads the header, chooses the sizes and checks that they fit.
pub(crate) fn plan(source: &ModelSource, options: &LoadOptions) -> Result<Plan, LoadError> {
    let lists = match options.backend {
        BackendKind::Llama => Lists::Skip,
        BackendKind::Candle => Lists::Keep,
    };
    let (path, bytes, gguf) = match source {
        ModelSource::Builtin => {
            let bytes = builtin::verified()?;
            let gguf = Gguf::read(bytes, bytes.len() as u64, lists);
            (None, ModelBytes::Builtin(bytes), gguf)
        }
        ModelSource::File(path) => {
            let gguf = Gguf::open(path, lists);
            let file = File::open(path).map_err(GgufError::from);
            match file.and_then(|file| Ok((file, gguf?))) {
                Ok((file, gguf)) => (Some(path.clone()), ModelBytes::File(file), Ok(gguf)),
                Err(fault) => {
                    let path = path.display().to_string();
                    return Err(LoadError::File { path, fault });
                }
            }
        }
    };
    let named = |fault| LoadError::File {
        path: path.as_ref().map_or_else(
            || builtin::NAME.to_owned(),
            |path| path.display().to_string(),
        ),
        fault,
    };
    let gguf = gguf.map_err(named)?;
    gguf.check_shape().map_err(named)?;

    let trained = trained_tokens(&gguf);
    let context_tokens = match options.context_tokens {
        0 => trained.min(CONTEXT_TOKENS_DEFAULT),
        wish => trained.min(wish),
    };
    let available = memory::available();
    let slots = options.slots.max(1);
    let batch_tokens = match options.batch_tokens {
        0 => BatchSizes::default().most,
        wish => wish.clamp(16, 4_096),
    };
    let file_bytes = gguf.file_bytes;
    let limit = match (available, options.memory_bytes_max) {
        (Some(free), Some(max)) => Some(free.min(max)),
        (free, max) => free.or(max),
    };
    // With a GPU the weights are not on this side; its driver says when they do not fit.
    let on_cpu = !cfg!(any(
        feature = "cuda",
        feature = "vulkan",
        feature = "metal",
        feature = "rocm"
    )) || options.gpu_layers == GpuLayers::Count(0)
        || options.memory_bytes_max.is_some();
    let limit = limit.filter(|_| on_cpu);
    let sizes = |kv_type| {
        let cells = cells(&gguf, kv_type, options, context_tokens, available);
        (
            kv_type,
            cells,
            memory::needs(&gguf, cells, kv_type, batch_tokens),
        )
    };
    let (mut kv_type, mut cells, mut needs) = sizes(options.llama.kv_type.unwrap_or_default());
    let fits = |needs: &Needs| limit.is_none_or(|limit| needs.total() <= limit);
    if !fits(&needs) && options.llama.kv_type.is_none() && options.backend == BackendKind::Llama {
        (kv_type, cells, needs) = sizes(KvType::Q8_0);
    }
    if let Some(available) = limit.filter(|_| !fits(&needs)) {
        return Err(LoadError::TooLarge { needs, available });
    }
    Ok(Plan {
        path,
        bytes,
        gguf,
        context_tokens,
        cells,
        slots,
        threads: match options.threads {
            0 => threads_default(file_bytes),
            threads => threads,
        },
        repack: true,
        batch_tokens,
        gpu_layers: options.gpu_layers,
        kv_type,
        llama: options.llama,
        needs,
        worth_tuning: on_cpu && file_bytes >= SMALL_FILE_BYTES,
    })
}

/// A model below this computes a token in less time than threads lose that wait for one which
/// is not running: on a machine with other work, two threads were two to seven times slower than
/// one for the built-in model, and on an idle one 1.5 times faster.
const SMALL_FILE_BYTES: u64 = 32 << 20;

/// One thread for each processor that this process may use, by its affinity and its control
/// group's quota: with more, each waits for one that is not running.
fn threads_default(file_bytes: u64) -> u32 {
    if file_bytes < SMALL_FILE_BYTES {
        return 1;
    }
    let threads = std::thread::available_parallelism();
    threads.map_or(1, |threads| u32::try_from(threads.get()).unwrap_or(1))
}

/// As many tokens as every slot could use, within the memory budget, but at least one whole
/// conversation.
fn cells(
    gguf: &Gguf,
    kv_type: KvType,
    options: &LoadOptions,
    context_tokens: u32,
    available: Option<u64>,
) -> u32 {
    let budget = match options.kv_cache_bytes {
        0 => available
            .map_or(u64::MAX, |bytes| bytes / 4)
            .min(KV_CACHE_BYTES_DEFAULT_MAX),
        bytes => bytes,
    };
    let most = context_tokens.saturating_mul(options.slots.max(1));
    let affordable = budget / kv_type.bytes_per_token(gguf).max(1);
    u32::try_from(affordable)
        .unwrap_or(u32::MAX)
        .clamp(context_tokens, most)
        // llama.cpp rounds up to this as well.
        .next_multiple_of(256)
}

impl From<io::Error> for LoadError {
    fn from(fault: io::Error) -> Self {
        Self::Backend(fault.to_string())
    }
}

#[cfg(all(test, feature = "llama"))]
mod tests {
    use super::*;

    fn planned(memory_bytes_max: u64, kv_type: Option<KvType>) -> Result<Plan, LoadError> {
        let options = LoadOptions {
            memory_bytes_max: Some(memory_bytes_max),
            kv_cache_bytes: 1,
            llama: LlamaOptions {
                kv_type,
                ..LlamaOptions::default()
            },
            ..LoadOptions::default()
        };
        plan(&ModelSource::Builtin, &options)
    }

    #[test]
    fn the_kv_cache_is_halved_only_where_it_has_to_be() {
        let roomy = planned(1 << 40, None).expect("a plan");
        assert_eq!(roomy.kv_type, KvType::F16);
        let short = roomy.needs.total() - 1;
        let tight = planned(short, None).expect("a plan");
        assert_eq!(tight.kv_type, KvType::Q8_0);
        assert!(tight.needs.total() <= short);
        let refused = planned(short, Some(KvType::F16));
        assert!(matches!(refused, Err(LoadError::TooLarge { .. })));
        assert!(planned(1 << 20, None).is_err());
    }
}
