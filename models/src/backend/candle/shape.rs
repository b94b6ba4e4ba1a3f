//! What a model looks like: the numbers in its header, checked.

use super::unfit::Unfit;
use crate::gguf::{Gguf, Value};

/// A model architecture that the graph can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Qwen2,
    Qwen3,
    Qwen3Moe,
    Gemma3,
}

/// Their names, for people.
pub(super) const FAMILIES: &str = "qwen2, qwen3, qwen3moe and gemma3";

impl Family {
    fn named(architecture: &str) -> Option<Self> {
        match architecture {
            "qwen2" => Some(Self::Qwen2),
            "qwen3" => Some(Self::Qwen3),
            "qwen3moe" => Some(Self::Qwen3Moe),
            "gemma3" => Some(Self::Gemma3),
            _ => None,
        }
    }

    /// Whether every head of queries and keys is normalized.
    pub(super) fn normalizes_heads(self) -> bool {
        self != Self::Qwen2
    }

    /// Whether what attention and feed-forward give is normalized before it is added.
    pub(super) fn normalizes_outputs(self) -> bool {
        self == Self::Gemma3
    }
}

/// What a feed-forward layer multiplies its gate with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    Silu,
    /// The one with the hyperbolic tangent.
    Gelu,
}

/// How positions turn queries and keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rope {
    pub(super) base: f64,
    /// Positions are multiplied by this.
    pub(super) scale: f64,
}

/// The experts of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExpertShape {
    pub(super) count: usize,
    /// How many of them compute each token.
    pub(super) used: usize,
}

/// The layers that see only the latest positions.
#[derive(Debug, Clone, PartialEq)]
struct Sliding {
    window: usize,
    /// For each layer, whether it slides.
    layers: Vec<bool>,
    rope: Rope,
}

/// A model's numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    pub(super) family: Family,
    pub(super) layers: usize,
    pub(super) width: usize,
    /// Width between the two matrices of a feed-forward layer, or of one expert.
    pub(super) hidden: usize,
    pub(super) heads: usize,
    /// Heads of keys and values; each serves `heads / kv_heads` heads of queries.
    pub(super) kv_heads: usize,
    pub(super) head_width: usize,
    pub(super) epsilon: f32,
    pub(super) activation: Activation,
    pub(super) embedding_scale: f32,
    pub(super) attention_scale: f32,
    pub(super) experts: Option<ExpertShape>,
    /// In layers that see everything.
    pub(super) rope: Rope,
    sliding: Option<Sliding>,
}

/// Bounds far above any model there is; they keep products of two from overflowing.
const LAYERS_MAX: usize = 1_024;
const DIMENSION_MAX: usize = 1 << 24;

/// Gemma 3 without a word about it: five layers slide, the sixth does not.
const SLIDING_PATTERN_DEFAULT: usize = 6;

/// The base of the rotation in layers that slide.
const SLIDING_ROPE_BASE_DEFAULT: f64 = 10_000.0;

/// The one Gemma 3 that scales its attention by another width than that of a head.
const GEMMA3_27B_LAYERS: usize = 62;

/// Reads numbers under the architecture's prefix.
struct Keys<'a>(&'a Gguf);

impl Keys<'_> {
    fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(&format!("{}.{key}", self.0.architecture()))
    }

    /// A count that has to be there, and has to be one number for all layers.
    fn count(&self, key: &str) -> Result<usize, Unfit> {
        self.optional_count(key)?.ok_or_else(|| self.missing(key))
    }

    fn optional_count(&self, key: &str) -> Result<Option<usize>, Unfit> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
        match count.filter(|count| (1..=DIMENSION_MAX).contains(count)) {
            Some(count) => Ok(Some(count)),
            None => Err(self.missing(key)),
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        let number = self.value(key)?.as_f64()?;
        number.is_finite().then_some(number)
    }

    fn missing(&self, key: &str) -> Unfit {
        Unfit::Key(format!("{}.{key}", self.0.architecture()))
    }
}

impl Shape {
    /// Reads a header.
    pub(super) fn read(gguf: &Gguf) -> Result<Self, Unfit> {
        let architecture = gguf.architecture();
        let family = Family::named(architecture)
            .ok_or_else(|| Unfit::Architecture(architecture.to_owned()))?;
        let keys = Keys(gguf);
        let layers = keys.count("block_count")?;
        let width = keys.count("embedding_length")?;
        let heads = keys.count("attention.head_count")?;
        let kv_heads = keys
            .optional_count("attention.head_count_kv")?
            .unwrap_or(heads);
        let head_width = keys
            .optional_count("attention.key_length")?
            .unwrap_or(width / heads);
        check_fits(&keys, layers, heads, kv_heads, head_width)?;
        let experts = experts(&keys, family)?;
        let hidden = match experts {
            Some(_) => keys.count("expert_feed_forward_length")?,
            None => keys.count("feed_forward_length")?,
        };
        let epsilon = keys.number("attention.layer_norm_rms_epsilon");
        let epsilon = epsilon.ok_or_else(|| keys.missing("attention.layer_norm_rms_epsilon"))?;
        let gemma = family == Family::Gemma3;
        let scaled_width = match (gemma, layers) {
            (true, GEMMA3_27B_LAYERS) => width / heads,
            _ => head_width,
        };
        Ok(Self {
            family,
            layers,
            width,
            hidden,
            heads,
            kv_heads,
            head_width,
            epsilon: to_f32(epsilon),
            activation: if gemma {
                Activation::Gelu
            } else {
                Activation::Silu
            },
            embedding_scale: if gemma { root(width) } else { 1.0 },
            attention_scale: 1.0 / root(scaled_width),
            experts,
            rope: rope(&keys)?,
            sliding: if gemma { sliding(&keys, layers)? } else { None },
        })
    }

    /// How many of the latest positions a layer sees; `None`: all.
    pub(super) fn window(&self, layer: usize) -> Option<usize> {
        let sliding = self.sliding.as_ref()?;
        sliding.layers[layer].then_some(sliding.window)
    }

    /// How positions turn queries and keys in layers that have a window.
    pub(super) fn sliding_rope(&self) -> Option<Rope> {
        self.sliding.as_ref().map(|sliding| sliding.rope)
    }
}

/// Refuses what the graph would compute wrongly.
fn check_fits(
    keys: &Keys<'_>,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    head_width: usize,
) -> Result<(), Unfit> {
    let value_width = keys
        .optional_count("attention.value_length")?
        .unwrap_or(head_width);
    let rotated = keys
        .optional_count("rope.dimension_count")?
        .unwrap_or(head_width);
    let unfit = if layers > LAYERS_MAX {
        "so many layers"
    } else if !heads.is_multiple_of(kv_heads) {
        "heads that are no multiple of the heads of keys"
    } else if value_width != head_width {
        "keys and values of different width"
    } else if rotated != head_width || !head_width.is_multiple_of(2) {
        "heads that are not rotated whole"
    } else if keys
        .number("final_logit_softcapping")
        .is_some_and(|cap| cap != 0.0)
    {
        "capped logits"
    } else {
        return Ok(());
    };
    Err(Unfit::Feature(unfit.to_owned()))
}

fn experts(keys: &Keys<'_>, family: Family) -> Result<Option<ExpertShape>, Unfit> {
    if family != Family::Qwen3Moe {
        return Ok(None);
    }
    let count = keys.count("expert_count")?;
    let used = keys.count("expert_used_count")?;
    if used > count {
        return Err(keys.missing("expert_used_count"));
    }
    Ok(Some(ExpertShape { count, used }))
}

fn rope(keys: &Keys<'_>) -> Result<Rope, Unfit> {
    let scaling = keys.value("rope.scaling.type").and_then(Value::as_text);
    let factor = keys
        .number("rope.scaling.factor")
        .or_else(|| keys.number("rope.scale_linear"));
    let scale = match (scaling, factor) {
        (None | Some("linear"), Some(factor)) if factor > 0.0 => 1.0 / factor,
        (None | Some("linear" | "none"), _) | (_, None) => 1.0,
        (Some(other), Some(_)) => {
            return Err(Unfit::Feature(format!(
                "rotary scaling of the kind `{other}`"
            )));
        }
    };
    let base = keys.number("rope.freq_base").unwrap_or(10_000.0);
    Ok(Rope { base, scale })
}

fn sliding(keys: &Keys<'_>, layers: usize) -> Result<Option<Sliding>, Unfit> {
    let Some(window) = keys.optional_count("attention.sliding_window")? else {
        return Ok(None);
    };
    let pattern = "attention.sliding_window_pattern";
    let layers = match keys.value(pattern).and_then(Value::as_list) {
        Some(list) if list.len() == layers => {
            let layers: Option<Vec<bool>> = list.iter().map(Value::as_bool).collect();
            layers.ok_or_else(|| keys.missing(pattern))?
        }
        Some(_) => return Err(keys.missing(pattern)),
        None => {
            let every = keys
                .optional_count(pattern)?
                .unwrap_or(SLIDING_PATTERN_DEFAULT);
            (0..layers).map(|layer| layer % every < every - 1).collect()
        }
    };
    let base = keys
        .number("rope.freq_base_swa")
        .unwrap_or(SLIDING_ROPE_BASE_DEFAULT);
    let rope = Rope { base, scale: 1.0 };
    Ok(Some(Sliding {
        window,
        layers,
        rope,
    }))
}

fn root(width: usize) -> f32 {
    (width as f32).sqrt()
}

#[expect(clippy::cast_possible_truncation, reason = "it was stored as f32")]
fn to_f32(number: f64) -> f32 {
    number as f32
}
