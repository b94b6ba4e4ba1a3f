//! Wire formats: a request becomes bytes, frames become events. Nothing here has a connection.
//!
//! | file | the format |
//! |---|---|
//! | `openai.rs` | chat completions: OpenAI, OpenRouter, Groq, DashScope and many servers |
//! | `anthropic.rs` | messages |
//! | `gemini.rs` | `streamGenerateContent` |
//! | `ollama.rs` | `/api/chat`, a line of JSON for each piece |

mod anthropic;
mod gemini;
mod ollama;
mod openai;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};
use url::Url;

use crate::request::{Event, Request};
use crate::settings::ProviderSettings;

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// OpenAI itself.
    OpenAi,
    /// OpenRouter.
    OpenRouter,
    /// Groq.
    Groq,
    /// DashScope, for Qwen.
    DashScope,
    /// Any server that speaks like OpenAI.
    OpenAiCompatible,
    /// Anthropic.
    Anthropic,
    /// Gemini.
    Gemini,
    /// Ollama.
    Ollama,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Where to.
    pub url: Url,
    /// Headers, without the key.
    pub headers: Vec<(&'static str, String)>,
    /// In which header the key goes.
    pub auth: Auth,
    /// The exact bytes of the body.
    pub body: Vec<u8>,
}

/// In which header a key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// The header of this name, bare.
    Header(&'static str),
}

/// How a body is cut into frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// A line of JSON for each frame.
    Lines,
}

/// Whether more is to come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The answer goes on.
    #[default]
    Going,
    /// The answer is whole; numbers may follow, or nothing.
    Whole,
    /// Nothing follows.
    Over,
}

/// Why a frame can't be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is none of the format.
    Malformed(&'static str),
    /// It reports an error, in the provider's words.
    Reported(String),
}

/// Turns the frames of one answer into events.
pub(crate) trait Decode: Send {
    /// Takes a frame.
    fn frame(&mut self, data: &str, events: &mut Vec<Event>) -> Result<Stage, Fault>;
}

impl Kind {
    const NAMES: [(Self, &'static str); 8] = [
        (Self::OpenAi, "openai"),
        (Self::OpenRouter, "openrouter"),
        (Self::Groq, "groq"),
        (Self::DashScope, "dashscope"),
        (Self::OpenAiCompatible, "openai_compatible"),
        (Self::Anthropic, "anthropic"),
        (Self::Gemini, "gemini"),
        (Self::Ollama, "ollama"),
    ];

    /// Its name in the settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let row = Self::NAMES.iter().find(|(kind, _)| *kind == self);
        row.map_or("", |(_, name)| name)
    }

    /// The kind of this name.
    ///
    /// # Errors
    /// Says which there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let row = Self::NAMES.iter().find(|(_, name)| *name == text);
        row.map(|(kind, _)| *kind).ok_or_else(|| {
            let names = Self::NAMES.map(|(_, name)| name).join(", ");
            format!("one of {names} is needed")
        })
    }

    /// Where it is, if there is one place.
    #[must_use]
    pub fn base_url(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("https://api.openai.com/v1"),
            Self::OpenRouter => Some("https://openrouter.ai/api/v1"),
            Self::Groq => Some("https://api.groq.com/openai/v1"),
            Self::DashScope => Some("https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
            Self::Anthropic => Some("https://api.anthropic.com"),
            Self::Gemini => Some("https://generativelanguage.googleapis.com"),
            Self::Ollama => Some("http://127.0.0.1:11434"),
            Self::OpenAiCompatible => None,
        }
    }

    /// Whether it answers nobody without a key.
    #[must_use]
    pub fn needs_key(self) -> bool {
        !matches!(self, Self::OpenAiCompatible | Self::Ollama)
    }

    pub(crate) fn framing(self) -> Framing {
        match self {
            Self::Ollama => Framing::Lines,
            _ => Framing::Sse,
        }
    }

    pub(crate) fn decoder(self, request: &Request) -> Box<dyn Decode> {
        match self {
            Self::Anthropic => Box::new(anthropic::Decoder::new(request)),
            Self::Gemini => Box::new(gemini::Decoder),
            Self::Ollama => Box::new(ollama::Decoder),
            _ => Box::new(openai::Decoder::default()),
        }
    }
}

/// What would be sent to a provider for this request.
#[must_use]
pub fn prepare(settings: &ProviderSettings, request: &Request) -> Prepared {
    match settings.kind {
        Kind::Anthropic => anthropic::prepare(settings, request),
        Kind::Gemini => gemini::prepare(settings, request),
        Kind::Ollama => ollama::prepare(settings, request),
        _ => openai::prepare(settings, request),
    }
}

/// The base URL with further segments.
pub(crate) fn join<'a>(base: &Url, segments: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// Puts a value into an object, unless there is none.
fn put(object: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), value.into());
    }
}

/// A fraction as people write it: `0.2` and not `0.20000000298023224`.
fn fraction(value: f32) -> Value {
    value
        .to_string()
        .parse::<f64>()
        .map_or(Value::Null, Value::from)
}

fn object(data: &str) -> Result<Value, Fault> {
    match serde_json::from_str(data) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err(Fault::Malformed("a frame is no JSON object")),
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn number(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer).and_then(Value::as_u64)
}

/// A text that is not empty, as an event.
fn said(events: &mut Vec<Event>, text: Option<&str>, event: impl Fn(String) -> Event) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        events.push(event(text.to_owned()));
    }
}

/// What a reported error says.
pub(crate) fn complaint(value: &Value) -> Option<String> {
    // Some gateways answer with a list of one.
    let value = value.get(0).unwrap_or(value);
    let error = value.get("error").filter(|error| !error.is_null())?;
    let words = error.as_str().or_else(|| text(error, "/message"));
    Some(words.map_or_else(|| error.to_string(), str::to_owned))
}
