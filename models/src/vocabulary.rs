//! Tokens and text, as every backend offers them.

use std::fmt;

/// A token's number in its model's vocabulary.
pub type Token = u32;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Writes text (a byte token writes part of a character).
    Text,
    /// Structures a conversation (`<|im_end|>`, say) and writes nothing.
    Control,
    /// Not used by the model.
    Unused,
}

/// The text of every token, and which tokens are special.
#[derive(Debug, Default)]
pub struct TokenTable {
    /// All texts, one after the other.
    bytes: Vec<u8>,
    /// Where each token's text ends in `bytes`.
    ends: Vec<usize>,
    kinds: Vec<TokenKind>,
    /// Tokens that end an answer.
    end_of_generation: Vec<bool>,
    /// Put before every prompt, if the model wants that.
    pub begin: Option<Token>,
    /// The text of the model's beginning mark, for chat templates.
    pub begin_text: String,
    /// The model's usual end mark.
    pub end: Token,
}

impl TokenTable {
    /// Appends the next token. A control token's `text` is its name.
    pub fn push(&mut self, text: &[u8], kind: TokenKind, ends_generation: bool) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
        self.kinds.push(kind);
        self.end_of_generation.push(ends_generation);
    }
}

/// Text to tokens. Implemented once for each tokenizer library.
pub trait Encode: Send + Sync {
    /// The tokens of `text`, without a beginning mark. With `special` the names of control
    /// tokens inside `text` become those tokens; without it they are text like any other.
    fn encode(&self, text: &str, special: bool) -> Vec<Token>;
}

/// A model's vocabulary: shared, read-only, usable from any thread.
pub struct Vocabulary {
    table: TokenTable,
    encoder: Box<dyn Encode>,
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vocabulary({} tokens)", self.size())
    }
}

impl Vocabulary {
    /// Joins a table and the encoder that writes its tokens.
    #[must_use]
    pub fn new(table: TokenTable, encoder: Box<dyn Encode>) -> Self {
        Self { table, encoder }
    }

    /// How many tokens there are; the length of a row of logits.
    #[must_use]
    pub fn size(&self) -> usize {
        self.table.ends.len()
    }

    /// See [`Encode::encode`].
    #[must_use]
    pub fn encode(&self, text: &str, special: bool) -> Vec<Token> {
        self.encoder.encode(text, special)
    }

    /// The bytes that a token stands for: a control token's are its name, a byte token's may be
    /// part of a character. Empty for a number outside the vocabulary.
    #[must_use]
    pub fn piece(&self, token: Token) -> &[u8] {
        let index = token as usize;
        let Some(&end) = self.table.ends.get(index) else {
            return &[];
        };
        let start = index.checked_sub(1).map_or(0, |left| self.table.ends[left]);
        &self.table.bytes[start..end]
    }

    /// A token's text for showing to a person.
    #[must_use]
    pub fn piece_lossy(&self, token: Token) -> String {
        String::from_utf8_lossy(self.piece(token)).into_owned()
    }

    /// What the token is for.
    #[must_use]
    pub fn kind(&self, token: Token) -> TokenKind {
        let kind = self.table.kinds.get(token as usize);
        kind.copied().unwrap_or(TokenKind::Unused)
    }

    /// Whether the token ends an answer.
    #[must_use]
    pub fn ends_generation(&self, token: Token) -> bool {
        let ends = self.table.end_of_generation.get(token as usize);
        ends.copied().unwrap_or(false)
    }

    /// The mark that the model wants before every prompt, if any.
    #[must_use]
    pub fn begin(&self) -> Option<Token> {
        self.table.begin
    }

    /// The text of the beginning mark, empty if the model has none.
    #[must_use]
    pub fn begin_text(&self) -> &str {
        &self.table.begin_text
    }

    /// The model's usual end mark.
    #[must_use]
    pub fn end(&self) -> Token {
        self.table.end
    }

    /// Every token's number.
    pub fn tokens(&self) -> impl Iterator<Item = Token> + use<> {
        (0..).take(self.size())
    }
}
