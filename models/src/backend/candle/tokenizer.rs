//! Text to tokens, exactly as llama.cpp does it.
//!
//! Special tokens are cut out of the text first; what is between them goes through the
//! vocabulary's model. Unlike many tokenizers llama.cpp normalizes nothing, and it looks for the
//! longest special token in the whole text before it looks for the next one.

mod byte_level;
mod sentence_piece;

use std::cmp::Reverse;

use aho_corasick::AhoCorasick;

pub(super) use self::byte_level::decode as decode_bytes;
pub(super) use self::sentence_piece::SPACE;

use self::byte_level::{ByteLevel, Splitting};
use self::sentence_piece::SentencePiece;
use super::unfit::Unfit;
use super::vocabulary::{Lexicon, Model, TokenType};
use crate::vocabulary::{Encode, Token};

/// How a vocabulary wants its text to be cut.
pub(super) enum Rules {
    ByteLevel(&'static Splitting),
    SentencePiece,
}

impl Rules {
    /// The rules of a header. A way of splitting that is not known exactly is refused: a guess
    /// would make the model worse without a word.
    pub(super) fn of(lexicon: &Lexicon<'_>) -> Result<Self, Unfit> {
        match lexicon.model {
            Model::ByteLevel => {
                let name = lexicon.gguf.text("tokenizer.ggml.pre").unwrap_or("default");
                let splitting = Splitting::named(name);
                let unknown = || Unfit::Feature(format!("the way `{name}` of splitting text"));
                splitting.map(Self::ByteLevel).ok_or_else(unknown)
            }
            Model::SentencePiece => Ok(Self::SentencePiece),
        }
    }

    /// Whether a beginning mark is put before a prompt if the header does not say.
    pub(super) fn adds_begin(&self) -> bool {
        match self {
            Self::ByteLevel(splitting) => splitting.adds_begin,
            Self::SentencePiece => true,
        }
    }
}

/// Encodes with one vocabulary.
pub(super) struct Encoder {
    words: Words,
    /// Special tokens, the longest first.
    specials: Vec<Special>,
    /// Finds which of `specials` a text has at all.
    finder: AhoCorasick,
}

struct Special {
    text: String,
    token: Token,
    /// Only tokens that the file's author defined are found in text that is just text.
    user_defined: bool,
}

enum Words {
    ByteLevel(Box<ByteLevel>),
    SentencePiece(SentencePiece),
}

/// A part of a text.
#[derive(Debug, Clone, Copy)]
enum Fragment<'a> {
    Text(&'a str),
    Token(Token),
}

impl Encoder {
    pub(super) fn new(lexicon: &Lexicon<'_>, rules: &Rules) -> Result<Self, Unfit> {
        let mut specials: Vec<Special> = (0..)
            .zip(lexicon.texts.iter().zip(&lexicon.types))
            .filter_map(|(token, (text, &of_type))| Special::new(token, text, of_type))
            .collect();
        specials.sort_by_key(|special| Reverse(special.text.len()));
        let finder = AhoCorasick::new(specials.iter().map(|special| &special.text));
        let finder = finder.map_err(|fault| Unfit::Vocabulary(fault.to_string()))?;
        let words = match rules {
            Rules::ByteLevel(splitting) => {
                Words::ByteLevel(Box::new(ByteLevel::new(lexicon, splitting)?))
            }
            Rules::SentencePiece => Words::SentencePiece(SentencePiece::new(lexicon)?),
        };
        Ok(Self {
            words,
            specials,
            finder,
        })
    }

    /// Cuts the special tokens out, the longest first.
    fn fragments<'a>(&self, text: &'a str, special: bool) -> Vec<Fragment<'a>> {
        let mut found: Vec<usize> = self
            .finder
            .find_overlapping_iter(text)
            .map(|found| found.pattern().as_usize())
            .filter(|&index| special || self.specials[index].user_defined)
            .collect();
        found.sort_unstable();
        found.dedup();
        let mut fragments = Vec::new();
        if !text.is_empty() {
            fragments.push(Fragment::Text(text));
        }
        for index in found {
            let special = &self.specials[index];
            let cut = fragments.into_iter().flat_map(|fragment| match fragment {
                Fragment::Text(text) => special.cut(text),
                token @ Fragment::Token(_) => vec![token],
            });
            fragments = cut.collect();
        }
        fragments
    }
}

impl Special {
    fn new(token: Token, text: &str, of_type: TokenType) -> Option<Self> {
        let user_defined = match of_type {
            TokenType::UserDefined => true,
            TokenType::Control | TokenType::Unknown => false,
            TokenType::Normal | TokenType::Unused | TokenType::Byte | TokenType::Undefined => {
                return None;
            }
        };
        Some(Self {
            text: text.to_owned(),
            token,
            user_defined,
        })
    }

    fn cut<'a>(&self, text: &'a str) -> Vec<Fragment<'a>> {
        let mut fragments = Vec::new();
        for (index, part) in text.split(&self.text).enumerate() {
            if index > 0 {
                fragments.push(Fragment::Token(self.token));
            }
            if !part.is_empty() {
                fragments.push(Fragment::Text(part));
            }
        }
        fragments
    }
}

impl Encode for Encoder {
    fn encode(&self, text: &str, special: bool) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut after_special = true;
        for fragment in self.fragments(text, special) {
            match (fragment, &self.words) {
                (Fragment::Token(token), _) => tokens.push(token),
                (Fragment::Text(text), Words::ByteLevel(words)) => words.encode(text, &mut tokens),
                (Fragment::Text(text), Words::SentencePiece(words)) => {
                    words.encode(text, after_special, &mut tokens);
                }
            }
            after_special = matches!(fragment, Fragment::Token(_));
        }
        tokens
    }
}
