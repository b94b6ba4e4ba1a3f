//! The vocabulary in a GGUF's header, read the way llama.cpp reads it: both backends have to
//! agree on every token.

use std::collections::HashMap;

use super::tokenizer::{self, Encoder};
use super::unfit::Unfit;
use crate::gguf::{Gguf, Value};
use crate::vocabulary::{Token, TokenKind, TokenTable, Vocabulary};

/// How words become tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    /// `gpt2`: pairs of bytes are merged by rank.
    ByteLevel,
    /// `llama`: pairs of characters are merged by the score of what they become.
    SentencePiece,
}

/// What a token is for, as ggml numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenType {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
    Undefined,
}

/// The lists of a header.
pub(super) struct Lexicon<'a> {
    pub(super) gguf: &'a Gguf,
    pub(super) model: Model,
    pub(super) texts: Vec<String>,
    pub(super) types: Vec<TokenType>,
    pub(super) numbers: HashMap<String, Token>,
}

/// Tokens that end an answer, by name: few files say it in their header.
const ENDS: [&str; 21] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
];

/// What fills gaps in code: the header's key, the names that do without it, and whether the
/// token ends an answer.
const FILLERS: [(&str, &[&str], bool); 6] = [
    (
        "fim_pre",
        &[
            "<|fim_prefix|>",
            "<fim-prefix>",
            "<fim_prefix>",
            "<｜fim▁begin｜>",
            "<PRE>",
            "▁<PRE>",
            "<|code_prefix|>",
            "<|prefix|>",
        ],
        false,
    ),
    (
        "fim_suf",
        &[
            "<|fim_suffix|>",
            "<fim-suffix>",
            "<fim_suffix>",
            "<｜fim▁hole｜>",
            "<SUF>",
            "▁<SUF>",
            "<|code_suffix|>",
            "<|suffix|>",
        ],
        false,
    ),
    (
        "fim_mid",
        &[
            "<|fim_middle|>",
            "<fim-middle>",
            "<fim_middle>",
            "<｜fim▁end｜>",
            "<MID>",
            "▁<MID>",
            "<|code_middle|>",
            "<|middle|>",
        ],
        false,
    ),
    (
        "fim_pad",
        &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
        true,
    ),
    (
        "fim_rep",
        &[
            "<|fim_repo|>",
            "<|repo_name|>",
            "<fim-repo>",
            "<REPO>",
            "<reponame>",
        ],
        true,
    ),
    ("fim_sep", &["<|file_sep|>"], true),
];

/// Reads a header's vocabulary.
pub(super) fn vocabulary(gguf: &Gguf) -> Result<Vocabulary, Unfit> {
    let mut lexicon = Lexicon::read(gguf)?;
    let ends = lexicon.find_ends();
    let mut table = TokenTable::default();
    for (number, text) in lexicon.texts.iter().enumerate() {
        let piece = piece(lexicon.model, lexicon.types[number], text)?;
        table.push(&piece, lexicon.types[number].kind(), ends[number]);
    }
    let rules = tokenizer::Rules::of(&lexicon)?;
    let begin = lexicon.special("bos", lexicon.model.begin_default());
    table.begin_text = begin.map_or_else(String::new, |begin| {
        let text = lexicon.texts.get(begin as usize);
        text.cloned().unwrap_or_default()
    });
    let add_begin = gguf
        .get("tokenizer.ggml.add_bos_token")
        .and_then(Value::as_bool);
    table.begin = begin.filter(|_| add_begin.unwrap_or(rules.adds_begin()));
    // A vocabulary without an end mark never matches the largest number.
    let end = lexicon.special("eos", lexicon.model.end_default());
    table.end = end.unwrap_or(Token::MAX);
    Ok(Vocabulary::new(
        table,
        Box::new(Encoder::new(&lexicon, &rules)?),
    ))
}

impl Model {
    fn named(name: &str) -> Option<Self> {
        match name {
            "gpt2" => Some(Self::ByteLevel),
            "llama" => Some(Self::SentencePiece),
            _ => None,
        }
    }

    /// The number of the beginning mark in a header that does not give it.
    fn begin_default(self) -> Token {
        match self {
            Self::ByteLevel => 11,
            Self::SentencePiece => 1,
        }
    }

    /// The same for the end mark.
    fn end_default(self) -> Token {
        match self {
            Self::ByteLevel => 11,
            Self::SentencePiece => 2,
        }
    }
}

impl TokenType {
    fn numbered(number: u64) -> Self {
        match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Undefined,
        }
    }

    fn kind(self) -> TokenKind {
        match self {
            Self::Control => TokenKind::Control,
            Self::Unused => TokenKind::Unused,
            Self::Normal | Self::Unknown | Self::UserDefined | Self::Byte | Self::Undefined => {
                TokenKind::Text
            }
        }
    }
}

impl<'a> Lexicon<'a> {
    fn read(gguf: &'a Gguf) -> Result<Self, Unfit> {
        let name = gguf.text("tokenizer.ggml.model").unwrap_or("none");
        let model = Model::named(name)
            .ok_or_else(|| Unfit::Feature(format!("tokenizers of the kind `{name}`")))?;
        let texts = texts(gguf)?;
        let types = types(gguf, texts.len())?;
        let numbered = (0..).zip(&texts);
        let numbers: HashMap<String, Token> = numbered
            .map(|(number, text)| (text.clone(), number))
            .collect();
        if numbers.len() != texts.len() {
            return Err(Unfit::Vocabulary(
                "two tokens have the same text".to_owned(),
            ));
        }
        Ok(Self {
            gguf,
            model,
            texts,
            types,
            numbers,
        })
    }

    /// A token whose number the header gives, or else a default that may not exist.
    fn special(&self, name: &str, default: Token) -> Option<Token> {
        let exists = |token: &Token| (*token as usize) < self.texts.len();
        let given = self.given(name).filter(exists);
        given.or(Some(default).filter(exists))
    }

    fn given(&self, name: &str) -> Option<Token> {
        let value = self.gguf.get(&format!("tokenizer.ggml.{name}_token_id"))?;
        let token = Token::try_from(value.as_u64()?).ok()?;
        ((token as usize) < self.texts.len()).then_some(token)
    }

    /// For each token, whether it ends an answer. Those that are known by their name become
    /// control tokens, whatever the file says.
    fn find_ends(&mut self) -> Vec<bool> {
        let mut ends = vec![false; self.texts.len()];
        for name in ENDS {
            if let Some(&token) = self.numbers.get(name) {
                ends[token as usize] = true;
                self.types[token as usize] = TokenType::Control;
            }
        }
        for (key, names, ends_answer) in FILLERS {
            let token = self.given(key).or_else(|| {
                let token = *names.iter().find_map(|&name| self.numbers.get(name))?;
                self.types[token as usize] = TokenType::Control;
                Some(token)
            });
            if let Some(token) = token.filter(|_| ends_answer) {
                ends[token as usize] = true;
            }
        }
        let end = self.special("eos", self.model.end_default());
        for token in [end, self.given("eot"), self.given("eom")]
            .into_iter()
            .flatten()
        {
            ends[token as usize] = true;
        }
        ends
    }
}

fn texts(gguf: &Gguf) -> Result<Vec<String>, Unfit> {
    let list = list(gguf, "tokenizer.ggml.tokens")?;
    let texts = list
        .iter()
        .enumerate()
        .map(|(number, value)| match value.as_text() {
            Some("") => Ok(format!("[EMPTY_{number}]")),
            Some(text) => Ok(text.to_owned()),
            None => Err(Unfit::Key("tokenizer.ggml.tokens".to_owned())),
        });
    texts.collect()
}

fn types(gguf: &Gguf, count: usize) -> Result<Vec<TokenType>, Unfit> {
    let key = "tokenizer.ggml.token_type";
    if gguf.get(key).is_none() {
        return Ok(vec![TokenType::Normal; count]);
    }
    let list = list(gguf, key)?;
    if list.len() < count {
        return Err(Unfit::Key(key.to_owned()));
    }
    let types = list[..count].iter();
    Ok(types
        .map(|value| TokenType::numbered(value.as_u64().unwrap_or(0)))
        .collect())
}

pub(super) fn list<'a>(gguf: &'a Gguf, key: &str) -> Result<&'a [Value], Unfit> {
    let list = gguf.get(key).and_then(Value::as_list);
    list.ok_or_else(|| Unfit::Key(key.to_owned()))
}

/// The bytes that a token writes.
fn piece(model: Model, of_type: TokenType, text: &str) -> Result<Vec<u8>, Unfit> {
    Ok(match of_type {
        TokenType::Control | TokenType::UserDefined => text.as_bytes().to_vec(),
        TokenType::Normal => match model {
            Model::ByteLevel => tokenizer::decode_bytes(text),
            Model::SentencePiece => text.replace(tokenizer::SPACE, " ").into_bytes(),
        },
        TokenType::Byte => vec![byte(text)?],
        TokenType::Unknown | TokenType::Unused | TokenType::Undefined => Vec::new(),
    })
}

/// The byte in a name such as `<0x0A>`.
fn byte(name: &str) -> Result<u8, Unfit> {
    let digits = name
        .strip_prefix("<0x")
        .and_then(|name| name.strip_suffix('>'));
    let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
    byte.ok_or_else(|| Unfit::Vocabulary(format!("{name} is no byte")))
}
