//! SentencePiece's merging of characters, as llama.cpp does it.
//!
//! Not done with the `tokenizers` crate: that orders merges by their place in a list, where
//! SentencePiece goes by the score of the result and then from left to right, and the two differ
//! where pieces overlap.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use super::super::unfit::Unfit;
use super::super::vocabulary::{Lexicon, list};
use crate::gguf::Value;
use crate::vocabulary::Token;

/// Stands for a space inside tokens.
pub(in super::super) const SPACE: char = '\u{2581}';

/// A vocabulary with scores.
pub(super) struct SentencePiece {
    numbers: HashMap<String, Token>,
    scores: Vec<f32>,
    /// The token of each byte, for characters that have none.
    bytes: Vec<Token>,
    space_prefix: bool,
}

/// A piece of the text, linked to its neighbours; empty once it is part of another.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    end: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Two neighbours that together are a token.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    /// Length of both; if they are longer now, the pair is out of date.
    length: usize,
}

impl Eq for Pair {}

impl Ord for Pair {
    /// The best score first, then the leftmost.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then_with(|| Reverse(self.left).cmp(&Reverse(other.left)))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl SentencePiece {
    pub(super) fn new(lexicon: &Lexicon<'_>) -> Result<Self, Unfit> {
        let byte = |byte: u8| {
            let name = format!("<0x{byte:02X}>");
            let token = lexicon.numbers.get(&name).copied();
            token.ok_or_else(|| Unfit::Vocabulary(format!("there is no token {name}")))
        };
        let prefix = lexicon.gguf.get("tokenizer.ggml.add_space_prefix");
        Ok(Self {
            numbers: lexicon.numbers.clone(),
            scores: scores(lexicon)?,
            bytes: (0..=u8::MAX).map(byte).collect::<Result<_, _>>()?,
            space_prefix: prefix.and_then(Value::as_bool).unwrap_or(true),
        })
    }

    /// Appends the tokens of a text without special ones.
    pub(super) fn encode(&self, text: &str, after_special: bool, out: &mut Vec<Token>) {
        let mut escaped = String::with_capacity(text.len() + 3);
        if self.space_prefix && after_special {
            escaped.push(SPACE);
        }
        escaped.extend(text.chars().map(|c| if c == ' ' { SPACE } else { c }));
        let symbols = self.merged(&escaped);
        let mut next = (!symbols.is_empty()).then_some(0);
        while let Some(index) = next {
            let symbol = symbols[index];
            let piece = &escaped[symbol.start..symbol.end];
            match self.numbers.get(piece) {
                Some(&token) => out.push(token),
                None => out.extend(piece.bytes().map(|byte| self.bytes[usize::from(byte)])),
            }
            next = symbol.next;
        }
    }

    /// Joins neighbours for as long as there are two that together are a token.
    fn merged(&self, text: &str) -> Vec<Symbol> {
        let mut symbols = symbols(text);
        let mut pairs = BinaryHeap::new();
        for right in 1..symbols.len() {
            self.push_pair(text, &symbols, Some(right - 1), Some(right), &mut pairs);
        }
        while let Some(pair) = pairs.pop() {
            let (left, right) = (symbols[pair.left], symbols[pair.right]);
            let gone = left.start == left.end || right.start == right.end;
            if gone || right.end - left.start != pair.length {
                continue;
            }
            symbols[pair.left].end = right.end;
            symbols[pair.left].next = right.next;
            symbols[pair.right].start = right.end;
            if let Some(next) = right.next {
                symbols[next].previous = Some(pair.left);
            }
            self.push_pair(text, &symbols, left.previous, Some(pair.left), &mut pairs);
            self.push_pair(text, &symbols, Some(pair.left), right.next, &mut pairs);
        }
        symbols
    }

    fn push_pair(
        &self,
        text: &str,
        symbols: &[Symbol],
        left: Option<usize>,
        right: Option<usize>,
        pairs: &mut BinaryHeap<Pair>,
    ) {
        let (Some(left), Some(right)) = (left, right) else {
            return;
        };
        let piece = &text[symbols[left].start..symbols[right].end];
        if let Some(&token) = self.numbers.get(piece) {
            pairs.push(Pair {
                score: self.scores[token as usize],
                left,
                right,
                length: piece.len(),
            });
        }
    }
}

/// Each character by itself.
fn symbols(text: &str) -> Vec<Symbol> {
    let count = text.chars().count();
    let characters = text.char_indices().enumerate();
    let symbol = |(index, (start, character)): (usize, (usize, char))| Symbol {
        start,
        end: start + character.len_utf8(),
        previous: index.checked_sub(1),
        next: Some(index + 1).filter(|&next| next < count),
    };
    characters.map(symbol).collect()
}

fn scores(lexicon: &Lexicon<'_>) -> Result<Vec<f32>, Unfit> {
    let key = "tokenizer.ggml.scores";
    if lexicon.gguf.get(key).is_none() {
        return Ok(vec![0.0; lexicon.texts.len()]);
    }
    let list = list(lexicon.gguf, key)?;
    if list.len() < lexicon.texts.len() {
        return Err(Unfit::Key(key.to_owned()));
    }
    let score = |value: &Value| {
        let score = value.as_f64().ok_or_else(|| Unfit::Key(key.to_owned()))?;
        #[expect(clippy::cast_possible_truncation, reason = "it was stored as f32")]
        Ok(score as f32)
    };
    list.iter().map(score).collect()
}
