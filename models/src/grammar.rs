//! Constrained output: a schema, a regular expression or a Lark grammar becomes a token mask
//! for each step, by llguidance.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use toktrie::{SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

use crate::vocabulary::{Token, TokenKind, Vocabulary};

/// What the answer has to match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum GrammarSource {
    /// JSON that this JSON Schema accepts, without needless white space.
    JsonSchema(Value),
    /// Text that this regular expression matches as a whole.
    Regex(String),
    /// Text that this Lark grammar derives from its `start`.
    Lark(String),
}

/// Why a grammar can't be used. The text is llguidance's and tells what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GrammarError(pub String);

/// Compiles grammars for one vocabulary. Shared by all requests of a model.
pub struct GrammarCompiler {
    vocabulary: Arc<Vocabulary>,
    /// Built at the first use: it takes a third of a second for 150,000 tokens.
    factory: OnceLock<Result<ParserFactory, GrammarError>>,
    /// What was compiled lately, the latest first: agents send the same few schemas.
    compiled: Mutex<VecDeque<(GrammarSource, Matcher)>>,
}

/// llguidance follows chains of rules and references by recursion, which takes 3 to 9 KB for each of
/// them; so does the thread that walks through what it makes of them. Only what is used is taken.
const STACK_BYTES: usize = 16 << 20;
/// A rule that leads to another takes at least some bytes of text.
const STACK_PER_SOURCE_BYTE: usize = 4 << 10;

/// How many compiled grammars are kept.
const COMPILED_MAX: usize = 32;

impl std::fmt::Debug for GrammarCompiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GrammarCompiler")
    }
}

/// What llguidance may spend on one grammar: a request can't have more than its share. The items
/// are what an ambiguous grammar takes at each token, on the engine's thread.
fn set_limits(factory: &mut ParserFactory) {
    let limits = factory.limits_mut();
    limits.max_items_in_row = 1_000;
    limits.step_max_items = 10_000;
    limits.max_grammar_size = 100_000;
    limits.max_lexer_states = 50_000;
    limits.initial_lexer_fuel = 500_000;
    limits.verbose_errors = false;
}

impl GrammarCompiler {
    /// A compiler for the vocabulary.
    #[must_use]
    pub fn new(vocabulary: Arc<Vocabulary>) -> Self {
        Self {
            vocabulary,
            factory: OnceLock::new(),
            compiled: Mutex::default(),
        }
    }

    /// Makes the state machine for one answer. May take some milliseconds: not for the engine
    /// thread.
    ///
    /// # Errors
    /// The grammar is not valid, uses something that is not supported, or is too large.
    pub fn compile(&self, source: &GrammarSource) -> Result<Constraint, GrammarError> {
        if let Some(matcher) = self.recall(source) {
            return Ok(Constraint { matcher });
        }
        let bytes = match source {
            GrammarSource::JsonSchema(schema) => schema.to_string().len(),
            GrammarSource::Regex(text) | GrammarSource::Lark(text) => text.len(),
        };
        let stack = STACK_BYTES.saturating_add(bytes.saturating_mul(STACK_PER_SOURCE_BYTE));
        std::thread::scope(|scope| {
            let compiling = std::thread::Builder::new()
                .name("grammar".to_owned())
                .stack_size(stack)
                .spawn_scoped(scope, || self.compile_here(source))
                .map_err(|fault| GrammarError(format!("there is no thread for it: {fault}")))?;
            let compiled = compiling.join();
            compiled.unwrap_or_else(|_| Err(GrammarError("it can't be compiled".to_owned())))
        })
    }

    fn compile_here(&self, source: &GrammarSource) -> Result<Constraint, GrammarError> {
        let factory = self.factory.get_or_init(|| build_factory(&self.vocabulary));
        let factory = factory.as_ref().map_err(Clone::clone)?;
        let grammar = match source {
            GrammarSource::JsonSchema(schema) => {
                check_numbers(schema)?;
                TopLevelGrammar::from_json_schema(compact(schema))
            }
            GrammarSource::Regex(regex) => TopLevelGrammar::from_regex(regex),
            GrammarSource::Lark(lark) => TopLevelGrammar::from_lark(lark.clone()),
        };
        let mut matcher = Matcher::new(factory.create_parser(grammar));
        match matcher.get_error() {
            Some(fault) => Err(GrammarError(fault)),
            // A grammar that allows nothing at all shows here and not at the first token.
            None => match matcher.compute_mask() {
                Ok(_) => {
                    self.remember(source, &matcher);
                    Ok(Constraint { matcher })
                }
                Err(fault) => Err(GrammarError(fault.to_string())),
            },
        }
    }

    /// A copy of what was compiled before, at its beginning.
    fn recall(&self, source: &GrammarSource) -> Option<Matcher> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let place = compiled.iter().position(|(known, _)| known == source)?;
        let entry = compiled.remove(place)?;
        let matcher = entry.1.deep_clone();
        compiled.push_front(entry);
        Some(matcher)
    }

    fn remember(&self, source: &GrammarSource, matcher: &Matcher) {
        let entry = (source.clone(), matcher.deep_clone());
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.push_front(entry);
        compiled.truncate(COMPILED_MAX);
    }
}

/// The schema with llguidance's switch for compact JSON, and no other of its switches: models that
/// may write white space anywhere sometimes write nothing else, and a lenient reading drops what it
/// does not know.
fn compact(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(object) = &mut schema {
        let switches = serde_json::json!({ "whitespace_flexible": false });
        object.insert("x-guidance".to_owned(), switches);
    }
    schema
}

/// Beyond this, llguidance takes another number for a bound, and says nothing.
const BOUND_MAX: f64 = 9e18;

/// Refuses bounds that would not hold.
fn check_numbers(schema: &Value) -> Result<(), GrammarError> {
    const BOUNDS: [&str; 4] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
    match schema {
        Value::Array(items) => items.iter().try_for_each(check_numbers),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            let bound = value.as_f64().filter(|_| BOUNDS.contains(&name.as_str()));
            match bound {
                Some(bound) if bound.abs() > BOUND_MAX => Err(GrammarError(format!(
                    "{name} is {value}; bounds up to 9e18 can be kept"
                ))),
                _ => check_numbers(value),
            }
        }),
        _ => Ok(()),
    }
}

fn build_factory(vocabulary: &Arc<Vocabulary>) -> Result<ParserFactory, GrammarError> {
    let environment: TokEnv = Arc::new(Environment::new(Arc::clone(vocabulary)));
    let mut factory =
        ParserFactory::new_simple(&environment).map_err(|fault| GrammarError(fault.to_string()))?;
    factory.quiet();
    set_limits(&mut factory);
    Ok(factory)
}

/// A vocabulary as llguidance wants to see it.
struct Environment {
    vocabulary: Arc<Vocabulary>,
    trie: TokTrie,
}

impl Environment {
    fn new(vocabulary: Arc<Vocabulary>) -> Self {
        let words: Vec<Vec<u8>> = vocabulary
            .tokens()
            .map(|token| match vocabulary.kind(token) {
                TokenKind::Text => vocabulary.piece(token).to_vec(),
                // The marker keeps a grammar from writing a control token as text.
                TokenKind::Control => {
                    let mut word = vec![TokTrie::SPECIAL_TOKEN_MARKER];
                    word.extend(vocabulary.piece(token));
                    word
                }
                TokenKind::Unused => Vec::new(),
            })
            .collect();
        let size = u32::try_from(words.len()).expect("a vocabulary has fewer than 2^32 tokens");
        let trie = TokTrie::from(&TokRxInfo::new(size, vocabulary.end()), &words);
        let mut ends: Vec<Token> = vec![vocabulary.end()];
        ends.extend(
            vocabulary
                .tokens()
                .filter(|&token| vocabulary.ends_generation(token) && token != vocabulary.end()),
        );
        Self {
            trie: trie.with_eos_tokens(&ends),
            vocabulary,
        }
    }
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<Token> {
        self.trie
            .tokenize_with_greedy_fallback(bytes, |text| self.vocabulary.encode(text, false))
    }
}

/// The state of one constrained answer.
pub struct Constraint {
    matcher: Matcher,
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Constraint")
    }
}

impl Constraint {
    /// The tokens that may come next; only end marks when the answer is complete.
    ///
    /// # Errors
    /// The grammar became too costly at this place.
    pub fn allowed(&mut self) -> Result<SimpleVob, GrammarError> {
        self.matcher
            .compute_mask_or_eos()
            .map_err(|fault| GrammarError(fault.to_string()))
    }

    /// Takes the chosen token.
    ///
    /// # Errors
    /// The token was not allowed.
    pub fn accept(&mut self, token: Token) -> Result<(), GrammarError> {
        self.matcher
            .consume_token(token)
            .map_err(|fault| GrammarError(fault.to_string()))
    }

    /// The tokens that can only come next; often none.
    pub fn forced(&mut self) -> Vec<Token> {
        self.matcher.compute_ff_tokens()
    }

    /// Whether the answer is complete and nothing may follow.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.matcher.is_stopped()
    }
}

#[cfg(test)]
mod tests;
