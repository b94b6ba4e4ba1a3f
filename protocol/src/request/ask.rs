//! A question to a model.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use super::{is_false, is_true, yes};

/// Who says a [`Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Standing instructions.
    System,
    /// The client's side.
    User,
    /// The model's side.
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text.
    pub content: String,
}

impl Message {
    /// A message of `role`.
    #[must_use]
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
        }
    }
}

/// A request for text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ask {
    /// The user's text; or give `messages`.
    #[serde(default)]
    pub input: String,
    /// The whole conversation, the last message being the user's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Message>,
    /// The model to use, instead of the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A name under which the worker keeps the conversation between requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// `false`: nothing but the `done` line.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub stream: bool,
    /// Named arguments; an unknown name is refused.
    #[serde(default)]
    pub params: AskParams,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            input: String::new(),
            messages: Vec::new(),
            model: None,
            session: None,
            stream: true,
            params: AskParams::default(),
        }
    }
}

impl Ask {
    /// A plain question.
    #[must_use]
    pub fn new(input: impl Into<String>) -> Self {
        Self {
            input: input.into(),
            ..Self::default()
        }
    }
}

/// Named arguments of `ask`. What is absent takes the worker's configured default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AskParams {
    /// Standing instructions, put before the conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Most tokens to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// 0 always takes the likeliest token; up to 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Keep the likeliest tokens whose probabilities sum to this; above 0, up to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Keep this many of the likeliest tokens; 0 keeps all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Drop tokens less likely than this share of the likeliest one; 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f32>,
    /// Divide the logits of recent tokens by this; 1 is off, up to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_penalty: Option<f32>,
    /// Start of the random numbers; `done` tells which was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// End the answer before any of these texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// The answer is JSON that this JSON Schema accepts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<serde_json::Value>,
    /// The answer matches this regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// The answer matches this Lark grammar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lark: Option<String>,
    /// Keep what the model computes of the prompt before the last message under this name: it is
    /// then there for other requests, also after a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_name: Option<String>,
    /// Instead of writing, tell how likely each of these answers is: `result` is the likeliest,
    /// and `data.choices` has their probabilities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// Whether the model may think before it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub think: Option<Think>,
    /// Return the log-probability of each token, and of this many of the likeliest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u8>,
    /// Who goes first when slots are short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Give up this long after the request was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// What to do with a prompt that is too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Overflow>,
    /// Give the text to the model as it is, without the chat template.
    #[serde(skip_serializing_if = "is_false")]
    pub raw: bool,
    /// Go on past the model's end mark, up to `max_tokens` (for measuring).
    #[serde(skip_serializing_if = "is_false")]
    pub ignore_eos: bool,
    /// Plan, do what the policy allows, and answer from what was seen.
    #[serde(skip_serializing_if = "is_false")]
    pub agent: bool,
    /// Answer in this voice; empty: in none. In a session it holds for what follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personality: Option<String>,
    /// Put passages of what is remembered behind the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieve: Option<bool>,
    /// Whether the request may leave the machine; absent: what the settings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_cloud: Option<bool>,
    /// How confidential it is. What is private never leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// `high`: better answers than the local model's are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// What to do when an answer from the cloud is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_interrupt: Option<OnInterrupt>,
    /// Only tell where the request would go, and the exact bytes that would be sent.
    #[serde(skip_serializing_if = "is_false")]
    pub dry_run: bool,
}

/// How confidential a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// It never leaves the machine.
    Private,
    /// It may go to providers that the settings allow, redacted.
    Internal,
    /// Anybody may read it.
    Public,
}

/// How good an answer should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// What the local model can do.
    Normal,
    /// Better than that, if somebody else may be asked.
    High,
}

/// What to do when an answer from the cloud is cut after text was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnInterrupt {
    /// End with `upstream_interrupted`.
    Error,
    /// Let the local model go on from the text so far.
    ContinueLocal,
}

/// Who goes first when slots are short.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Batch work that may wait.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Somebody is waiting for it.
    High,
}

/// What to do with a prompt that is too long for the context.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// Answer `context_overflow`, with both numbers.
    #[default]
    Error,
    /// Cut the oldest text of the prompt; `done.truncated_tokens` tells how much.
    TruncateHead,
}

/// Whether the model may think before it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Think {
    /// Answer at once.
    #[default]
    Off,
    /// Think as long as it likes, within `max_tokens`.
    On,
    /// Think for at most this many tokens, then answer.
    Budget(u32),
}

impl Serialize for Think {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::On => serializer.serialize_str("on"),
            Self::Budget(tokens) => serializer.serialize_u32(*tokens),
        }
    }
}

impl<'de> Deserialize<'de> for Think {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Think;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"off\", \"on\" or a number of tokens")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Think, E> {
                match text {
                    "off" => Ok(Think::Off),
                    "on" => Ok(Think::On),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Think, E> {
                Ok(if on { Think::On } else { Think::Off })
            }

            fn visit_u64<E: de::Error>(self, tokens: u64) -> Result<Think, E> {
                u32::try_from(tokens)
                    .map(Think::Budget)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(tokens), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Think {
    fn schema_name() -> Cow<'static, str> {
        "Think".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Whether the model may think before it answers; a number is a budget in tokens.",
            "anyOf": [
                { "enum": ["off", "on"] },
                { "type": "boolean" },
                { "type": "integer", "minimum": 0, "maximum": u32::MAX },
            ],
        })
    }
}
