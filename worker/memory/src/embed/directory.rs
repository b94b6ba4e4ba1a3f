//! What a directory says about its embedding model, checked before anything is computed with it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use candle_transformers::models::bert::Config;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{DIMENSIONS_MAX, EmbedKind};

/// The largest file of settings, in bytes.
const SETTINGS_BYTES_MAX: u64 = 1 << 20;
/// The fewest tokens that a text is cut to.
const TOKENS_MIN: usize = 8;

/// How a model is used, where its directory does not say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BertOptions {
    /// What stands before questions and passages, instead of what the directory says.
    pub prompts: Option<Prompts>,
    /// Cuts texts to fewer tokens than the model could read.
    pub tokens_max: Option<usize>,
}

/// What a model wants to have before a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompts {
    /// Before what somebody looks for.
    pub query: String,
    /// Before what may be found.
    pub document: String,
}

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first one, which stands for all.
    First,
}

/// A directory that holds no model that can be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file is not there or can't be read.
    #[error(
        "{path}: {source}; name a directory of a sentence-transformers model, with config.json, \
         tokenizer.json and model.safetensors"
    )]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than such a file can be.
    #[error("{path} has more than {max} bytes, which is no file of an embedding model")]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// A file is not what it should be, or does not fit the others.
    #[error("{path} is damaged or of another model: {why}; get the model's directory again")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is a model of another kind.
    #[error(
        "{path} asks for {what}, which is not supported; use a BERT model with mean or CLS \
         pooling, such as all-MiniLM-L6-v2, e5-small-v2 or mxbai-embed-large-v1"
    )]
    Unsupported {
        /// Which file.
        path: PathBuf,
        /// What it asks for.
        what: String,
    },
}

/// All of it, put together.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) pooling: Pooling,
    pub(super) prompts: Prompts,
    pub(super) tokens_max: usize,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct SentenceBert {
    max_seq_length: Option<usize>,
}

impl Settings {
    pub(super) fn read(directory: &Path, options: &BertOptions) -> Result<Self, OpenError> {
        let config = config(&directory.join("config.json"))?;
        let pooling = pooling(directory)?;
        let prompts = match &options.prompts {
            Some(prompts) => prompts.clone(),
            None => prompts(directory)?,
        };
        let path = directory.join("sentence_bert_config.json");
        let own = optional::<SentenceBert>(&path)?.and_then(|own| own.max_seq_length);
        let wanted = [own, options.tokens_max].into_iter().flatten();
        let tokens_max = wanted.fold(config.max_position_embeddings, usize::min);
        if tokens_max < TOKENS_MIN {
            let why = format!("texts of {tokens_max} tokens say nothing");
            return Err(damaged(&path, &why));
        }
        Ok(Self {
            config,
            pooling,
            prompts,
            tokens_max,
        })
    }
}

impl Prompts {
    /// What a text of this kind begins with.
    #[must_use]
    pub fn of(&self, kind: EmbedKind) -> &str {
        match kind {
            EmbedKind::Query => &self.query,
            EmbedKind::Document => &self.document,
        }
    }
}

/// Numbers that no model has are refused here, since memory would be asked for by them.
fn config(path: &Path) -> Result<Config, OpenError> {
    let value: Value = required(path)?;
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let unsupported = |what: String| OpenError::Unsupported {
        path: path.into(),
        what,
    };
    if let Some(kind) = text("model_type").filter(|kind| *kind != "bert") {
        return Err(unsupported(format!("a model of the type `{kind}`")));
    }
    if let Some(kind) = text("position_embedding_type").filter(|kind| *kind != "absolute") {
        return Err(unsupported(format!("positions of the type `{kind}`")));
    }
    if let Some(act) = text("hidden_act").filter(|act| !["gelu", "relu"].contains(act)) {
        return Err(unsupported(format!("the activation `{act}`")));
    }
    let config: Config = serde_json::from_value(value).map_err(|error| damaged(path, &error))?;
    let limits = [
        ("hidden_size", config.hidden_size, DIMENSIONS_MAX),
        ("num_hidden_layers", config.num_hidden_layers, 128),
        ("num_attention_heads", config.num_attention_heads, 1024),
        ("intermediate_size", config.intermediate_size, 1 << 16),
        ("vocab_size", config.vocab_size, 1 << 22),
        (
            "max_position_embeddings",
            config.max_position_embeddings,
            1 << 16,
        ),
        ("type_vocab_size", config.type_vocab_size, 16),
    ];
    for (name, value, max) in limits {
        if !(1..=max).contains(&value) {
            return Err(damaged(
                path,
                &format!("`{name}` is {value}, not 1 to {max}"),
            ));
        }
    }
    let (size, heads) = (config.hidden_size, config.num_attention_heads);
    if !size.is_multiple_of(heads) {
        let why = format!("{size} dimensions can't be shared among {heads} heads");
        return Err(damaged(path, &why));
    }
    Ok(config)
}

/// Which modules follow the encoder; without files it is the mean, as everywhere.
fn pooling(directory: &Path) -> Result<Pooling, OpenError> {
    let path = directory.join("modules.json");
    let unsupported = |path: &Path, what: String| OpenError::Unsupported {
        path: path.into(),
        what,
    };
    let mut folder = "1_Pooling".to_owned();
    for module in optional::<Vec<Module>>(&path)?.unwrap_or_default() {
        match module.kind.rsplit('.').next() {
            Some("Pooling") => folder = module.path,
            Some("Transformer") if module.path.is_empty() => {}
            Some("Normalize") => {}
            _ => {
                let what = format!("the module `{}` in `{}`", module.kind, module.path);
                return Err(unsupported(&path, what));
            }
        }
    }
    // A name from a file must not lead elsewhere.
    if folder.contains(['/', '\\']) || folder.starts_with('.') {
        return Err(damaged(&path, &format!("`{folder}` is no folder of it")));
    }
    let path = directory.join(folder).join("config.json");
    let Some(modes) = optional::<serde_json::Map<String, Value>>(&path)? else {
        return Ok(Pooling::Mean);
    };
    let on = |(name, value): (&String, &Value)| {
        let mode = name.strip_prefix("pooling_mode_")?;
        (*value == Value::Bool(true)).then(|| mode.to_owned())
    };
    let modes: Vec<String> = modes.iter().filter_map(on).collect();
    match modes.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["mean_tokens"] => Ok(Pooling::Mean),
        ["cls_token"] => Ok(Pooling::First),
        _ => Err(unsupported(&path, format!("pooling by {modes:?}"))),
    }
}

/// From the file that newer models have; the models of the E5 family say it in words only, and
/// are known by their name.
fn prompts(directory: &Path) -> Result<Prompts, OpenError> {
    #[derive(Default, Deserialize)]
    struct Own {
        #[serde(default)]
        prompts: serde_json::Map<String, Value>,
    }
    let path = directory.join("config_sentence_transformers.json");
    let own = optional::<Own>(&path)?.unwrap_or_default().prompts;
    let first = |names: &[&str]| {
        let found = names.iter().find_map(|name| own.get(*name)?.as_str());
        found.unwrap_or_default().to_owned()
    };
    let found = Prompts {
        query: first(&["query", "search_query"]),
        document: first(&["document", "passage", "corpus", "search_document"]),
    };
    let full = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.into());
    let is_e5 = full
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| {
            name.to_lowercase()
                .split(['-', '_', '.'])
                .any(|part| part == "e5")
        });
    if found == Prompts::default() && is_e5 {
        return Ok(Prompts {
            query: "query: ".into(),
            document: "passage: ".into(),
        });
    }
    Ok(found)
}

pub(super) fn damaged(path: &Path, why: &dyn std::fmt::Display) -> OpenError {
    OpenError::Damaged {
        path: path.into(),
        why: why.to_string(),
    }
}

/// The bytes of a file, up to a limit.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, OpenError> {
    let io = |source| OpenError::Io {
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?;
    if size.is_file() && size.len() > bytes_max {
        return Err(too_large(path, bytes_max));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size.len()).unwrap_or(0));
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large(path, bytes_max));
    }
    Ok(bytes)
}

fn too_large(path: &Path, max: u64) -> OpenError {
    OpenError::TooLarge {
        path: path.into(),
        max,
    }
}

fn required<T: DeserializeOwned>(path: &Path) -> Result<T, OpenError> {
    let bytes = read(path, SETTINGS_BYTES_MAX)?;
    serde_json::from_slice(&bytes).map_err(|error| damaged(path, &error))
}

fn optional<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, OpenError> {
    match required(path) {
        Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}
