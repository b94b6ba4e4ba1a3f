//! Conversations become prompts, by the Jinja template that a GGUF file carries.
//!
//! The text of users is data: a control token's name inside it stays text. Such names are
//! replaced by placeholders before the template runs and come back as plain-text segments,
//! so that nobody can end his turn and speak as the system.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, ErrorKind, context};
use serde::{Deserialize, Serialize};

use crate::text::ThinkTags;
use crate::vocabulary::{Token, TokenKind, Vocabulary};

/// Who says a [`Turn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// Standing instructions.
    System,
    /// The client's side.
    User,
    /// The model's side.
    Assistant,
}

impl Speaker {
    /// The name that templates know.
    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Speaker,
    /// What is said.
    pub content: String,
}

/// Why a conversation could not be made into a prompt.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The model's template is no valid Jinja, or uses something that does not exist here.
    #[error("the model's chat template is not usable: {0}")]
    Broken(String),
    /// The template refused this conversation (roles that do not alternate, say).
    #[error("the model's chat template refuses this conversation: {0}")]
    Refused(String),
}

/// A prompt, ready for the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Its tokens, with the beginning mark if the model wants one.
    pub tokens: Vec<Token>,
    /// Whether the template itself opened the model's thinking.
    pub opens_thinking: bool,
}

/// Instructions that a template may execute: a bound on hostile templates.
const FUEL: u64 = 10_000_000;

/// For files that carry no template: the form that most models have seen.
const CHATML: &str = "{% for m in messages %}\
                      {{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}\
                      {% endfor %}{{ '<|im_start|>assistant\n' }}";

/// For files without a template whose vocabulary does not know ChatML either.
const PLAIN: &str = "{% for m in messages %}\
                     {{ m.role | capitalize + ': ' + m.content + '\n\n' }}\
                     {% endfor %}Assistant:";

/// Marks the place of a control token's name in a user's text; both ends are from a private
/// use area, and are removed from the text beforehand.
const PLACEHOLDER: [char; 2] = ['\u{F5A21}', '\u{F5A22}'];

const NAME: &str = "chat";

/// Tells a template's own refusal from a fault in it.
#[derive(Debug, thiserror::Error)]
#[error("raised by the template")]
struct RaisedByTemplate;

/// A model's chat template, compiled.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    think_tags: Option<ThinkTags>,
    /// Names of control tokens, the longest first.
    control_names: Vec<String>,
}

impl ChatTemplate {
    /// Compiles the template of a model file, or a fallback if it has none.
    ///
    /// # Errors
    /// [`TemplateError::Broken`] when the source is no Jinja.
    pub fn new(source: Option<&str>, vocabulary: &Vocabulary) -> Result<Self, TemplateError> {
        let control_names = control_names(vocabulary);
        let knows_chatml = control_names.iter().any(|name| name == "<|im_start|>");
        let fallback = if knows_chatml { CHATML } else { PLAIN };
        let source = source.unwrap_or(fallback);

        let mut environment = Environment::new();
        // As the Python library renders them, for which templates are written.
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.expect("the default marks are distinct"));
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| {
            let fault = minijinja::Error::new(ErrorKind::InvalidOperation, message);
            Err::<Value, _>(fault.with_source(RaisedByTemplate))
        });
        // Templates print "today" with it. A date in the prompt would make the same request
        // differ from day to day, so it is left empty.
        environment.add_function("strftime_now", |_format: String| String::new());
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|fault| TemplateError::Broken(fault.to_string()))?;
        Ok(Self {
            environment,
            think_tags: think_tags(source),
            control_names,
        })
    }

    /// How this family marks its thinking; `None` if it does not think.
    #[must_use]
    pub fn think_tags(&self) -> Option<&ThinkTags> {
        self.think_tags.as_ref()
    }

    /// The prompt that makes the model answer `turns`.
    ///
    /// A template that has no place for a system turn gets it in front of the first user turn.
    ///
    /// # Errors
    /// [`TemplateError`] when the template fails on this conversation.
    pub fn prompt(
        &self,
        turns: &[Turn],
        think: bool,
        vocabulary: &Vocabulary,
    ) -> Result<Prompt, TemplateError> {
        let mut names = Vec::new();
        let safe: Vec<Turn> = turns
            .iter()
            .map(|turn| Turn {
                role: turn.role,
                content: self.hide_control_names(&turn.content, &mut names),
            })
            .collect();
        let text = match self.render(&safe, think, vocabulary) {
            Err(TemplateError::Refused(_)) if safe.iter().any(|t| t.role == Speaker::System) => {
                self.render(&fold_system(&safe), think, vocabulary)?
            }
            rendered => rendered?,
        };
        let opens_thinking = self.think_tags.as_ref().is_some_and(|tags| {
            let last = text.rfind(&tags.open).map(|at| &text[at..]);
            last.is_some_and(|rest| {
                !rest.contains(&tags.close) && rest[tags.open.len()..].trim().is_empty()
            })
        });
        Ok(Prompt {
            tokens: encode_segments(&text, &names, vocabulary),
            opens_thinking,
        })
    }

    fn render(
        &self,
        turns: &[Turn],
        think: bool,
        vocabulary: &Vocabulary,
    ) -> Result<String, TemplateError> {
        let template = self.environment.get_template(NAME);
        let template = template.map_err(|fault| TemplateError::Broken(fault.to_string()))?;
        let message = |turn: &Turn| {
            Value::from_pairs([("role", turn.role.name()), ("content", &turn.content)])
        };
        let messages: Vec<Value> = turns.iter().map(message).collect();
        let end_text = vocabulary.piece_lossy(vocabulary.end());
        let rendered = template.render(context! {
            messages => messages,
            add_generation_prompt => true,
            enable_thinking => think,
            bos_token => vocabulary.begin_text(),
            eos_token => end_text,
        });
        rendered.map_err(|fault| {
            let source = std::error::Error::source(&fault);
            if source.is_some_and(<dyn std::error::Error>::is::<RaisedByTemplate>) {
                TemplateError::Refused(fault.detail().unwrap_or("no reason given").to_owned())
            } else {
                TemplateError::Broken(fault.to_string())
            }
        })
    }

    /// Replaces each control token's name by its number in `names`, between placeholder marks.
    fn hide_control_names(&self, text: &str, names: &mut Vec<String>) -> String {
        let text = text.replace(PLACEHOLDER, "");
        let mut hidden = String::with_capacity(text.len());
        let mut rest = text.as_str();
        'text: while let Some(first) = rest.chars().next() {
            // Almost every control token's name starts with one of these.
            if matches!(first, '<' | '[' | '\u{FF5C}') || !first.is_alphanumeric() {
                for name in &self.control_names {
                    if let Some(after) = rest.strip_prefix(name.as_str()) {
                        hidden.push(PLACEHOLDER[0]);
                        hidden.push_str(&names.len().to_string());
                        hidden.push(PLACEHOLDER[1]);
                        names.push(name.clone());
                        rest = after;
                        continue 'text;
                    }
                }
            }
            hidden.push(first);
            rest = &rest[first.len_utf8()..];
        }
        hidden
    }
}

/// Splits the rendered text at the placeholders. What the template wrote may hold control
/// tokens; what a placeholder stands for may not.
fn encode_segments(text: &str, names: &[String], vocabulary: &Vocabulary) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut parts = text.split(PLACEHOLDER);
    let mut own_words = true;
    for part in &mut parts {
        if own_words {
            tokens.extend(vocabulary.encode(part, true));
        } else if let Some(name) = part.parse().ok().and_then(|n: usize| names.get(n)) {
            tokens.extend(vocabulary.encode(name, false));
        }
        own_words = !own_words;
    }
    with_begin_mark(tokens, vocabulary)
}

/// The tokens of a text that is given to the model as it is. The names of control tokens in it
/// become those tokens.
#[must_use]
pub fn raw_prompt(text: &str, vocabulary: &Vocabulary) -> Prompt {
    Prompt {
        tokens: with_begin_mark(vocabulary.encode(text, true), vocabulary),
        opens_thinking: false,
    }
}

/// Puts the beginning mark in front, if the model wants one and it is not there.
#[must_use]
pub fn with_begin_mark(mut tokens: Vec<Token>, vocabulary: &Vocabulary) -> Vec<Token> {
    if let Some(begin) = vocabulary.begin()
        && tokens.first() != Some(&begin)
    {
        tokens.insert(0, begin);
    }
    tokens
}

/// Puts the system turns in front of the first user turn.
fn fold_system(turns: &[Turn]) -> Vec<Turn> {
    let (system, mut rest): (Vec<Turn>, Vec<Turn>) = turns
        .iter()
        .cloned()
        .partition(|turn| turn.role == Speaker::System);
    let mut instructions: Vec<String> = system.into_iter().map(|turn| turn.content).collect();
    if let Some(first) = rest.iter_mut().find(|turn| turn.role == Speaker::User) {
        instructions.push(std::mem::take(&mut first.content));
        first.content = instructions.join("\n\n");
    }
    rest
}

fn control_names(vocabulary: &Vocabulary) -> Vec<String> {
    let mut names: Vec<String> = vocabulary
        .tokens()
        .filter(|&token| vocabulary.kind(token) == TokenKind::Control)
        .map(|token| vocabulary.piece_lossy(token))
        .filter(|name| name.chars().count() > 1)
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    names
}

/// The family's thinking tags, known from what its template mentions.
fn think_tags(template: &str) -> Option<ThinkTags> {
    let tags = |open: &str, close: &str| ThinkTags {
        open: open.to_owned(),
        close: close.to_owned(),
    };
    if template.contains("<|channel>") {
        Some(tags("<|channel>thought", "<channel|>"))
    } else if template.contains("<think>") {
        Some(tags("<think>", "</think>"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
