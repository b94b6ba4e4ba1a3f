//! What is asked and what comes back, without any provider's words.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How confidential a request is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Anybody may read it.
    Public,
    /// It may go to providers that the settings allow, redacted.
    #[default]
    Internal,
    /// It never leaves the machine.
    Private,
}

impl Label {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Private => "private",
        }
    }
}

/// A conversation to go on with.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Request {
    /// What was said, the oldest first.
    pub messages: Vec<Message>,
    /// Most tokens that the answer may have.
    pub max_tokens: u32,
    /// 0 takes the likeliest token.
    pub temperature: Option<f32>,
    /// Keep the likeliest tokens whose probabilities sum to this.
    pub top_p: Option<f32>,
    /// Where the answer ends, if it comes to one of these.
    pub stop: Vec<String>,
    /// Makes the answer repeatable where the provider can do that.
    pub seed: Option<u32>,
    /// The answer has to be JSON that fits this.
    pub schema: Option<Value>,
    /// What the model may ask to be called.
    pub tools: Vec<Tool>,
}

/// One thing that was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// Its text.
    pub content: String,
}

impl Message {
    /// One thing that was said.
    #[must_use]
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
        }
    }
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// Its name with providers that have no other one for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// Something that the model may ask to be called.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub parameters: Value,
}

/// What the model wants to be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolCall {
    /// The provider's name for this call; empty where it has none.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its arguments, as the text that the model wrote.
    pub arguments: String,
}

/// How many tokens went each way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Of the prompt, those from the provider's cache included.
    pub input_tokens: u64,
    /// Of these, how many came from the provider's cache.
    pub cached_tokens: u64,
    /// Of the answer, thinking included.
    pub output_tokens: u64,
    /// Estimated here, because the provider told nothing that can be true.
    pub estimated: bool,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model was done, or came to a stop string.
    Stop,
    /// `max_tokens` were written.
    Length,
    /// The model wants tools to be called.
    Tools,
    /// The provider's filter ended it.
    Filtered,
}

/// What a provider's stream says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The next piece of the answer.
    Text(String),
    /// The next piece of the model's thinking.
    Thinking(String),
    /// A whole call of a tool.
    Tool(ToolCall),
    /// The model that answers, in the provider's words.
    Model(String),
    /// Numbers of tokens, as far as they are known; later ones replace earlier ones.
    Usage(Reported),
    /// Why the answer ended.
    Finish(Finish),
}

/// Numbers of tokens as a provider reports them, any of which may be absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reported {
    /// Of the prompt.
    pub input: Option<u64>,
    /// Of these, from the cache.
    pub cached: Option<u64>,
    /// Of the answer.
    pub output: Option<u64>,
}

/// Bytes of text behind one token, taken low: an estimate should not be below the truth.
pub(crate) const BYTES_PER_TOKEN: u64 = 3;
/// What a chat format adds for a message, in tokens.
const TOKENS_PER_MESSAGE: u64 = 8;

/// About how many tokens a text has; rather too many.
#[must_use]
pub fn estimate(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BYTES_PER_TOKEN)
}

impl Request {
    /// About how many tokens the prompt has; rather too many.
    #[must_use]
    pub fn input_estimate(&self) -> u64 {
        let said: u64 = self
            .messages
            .iter()
            .map(|message| estimate(message.content.len()) + TOKENS_PER_MESSAGE)
            .sum();
        let extra = self
            .schema
            .iter()
            .chain(self.tools.iter().map(|t| &t.parameters));
        let extra: u64 = extra.map(|schema| estimate(schema.to_string().len())).sum();
        said + extra + 16
    }
}

impl Reported {
    /// Takes what a later report knows.
    pub(crate) fn update(&mut self, later: Self) {
        self.input = later.input.or(self.input);
        self.cached = later.cached.or(self.cached);
        self.output = later.output.or(self.output);
    }

    /// The usage that is believed. A number that can't be true is replaced by the estimate: no
    /// output for a text, more output than was allowed, or a prompt many times its size.
    pub(crate) fn believed(
        self,
        input_estimate: u64,
        output_bytes: usize,
        max_tokens: u32,
    ) -> Usage {
        // No token stands for more than this many bytes for long.
        let least = (output_bytes as u64) / 64;
        let most = u64::from(max_tokens).max(estimate(output_bytes)) + 64;
        let input = self
            .input
            .filter(|input| (1..=input_estimate.saturating_mul(4) + 4096).contains(input));
        let output = self.output.filter(|output| (least..=most).contains(output));
        let output = output.filter(|output| *output > 0 || output_bytes == 0);
        let input_tokens = input.unwrap_or(input_estimate);
        Usage {
            input_tokens,
            cached_tokens: self.cached.unwrap_or(0).min(input_tokens),
            output_tokens: output.unwrap_or(estimate(output_bytes)),
            estimated: input.is_none() || output.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: u64, output: u64, text_bytes: usize, believed: (u64, u64, bool)) {
        let reported = Reported {
            input: Some(input),
            cached: None,
            output: Some(output),
        };
        let usage = reported.believed(100, text_bytes, 50);
        let got = (usage.input_tokens, usage.output_tokens, usage.estimated);
        assert_eq!(got, believed, "{input} {output}");
    }

    #[test]
    fn numbers_that_can_not_be_true_are_not_believed() {
        check(90, 20, 80, (90, 20, false));
        check(90, 0, 0, (90, 0, false));
        check(90, 0, 30, (90, 10, true));
        check(90, 1_000_000, 30, (90, 10, true));
        check(0, 20, 80, (100, 20, true));
        check(u64::MAX, 20, 80, (100, 20, true));
    }

    #[test]
    fn labels_have_an_order() {
        assert!(Label::Private > Label::Internal && Label::Internal > Label::Public);
    }
}
