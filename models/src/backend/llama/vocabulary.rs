//! llama.cpp's vocabulary as a [`Vocabulary`].

use std::sync::Arc;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token_type::LlamaTokenAttr;
use llama_cpp_2::vocab::LlamaVocab;

use crate::vocabulary::{Encode, Token, TokenKind, TokenTable, Vocabulary};

/// Reads the table of all tokens and keeps the model for encoding.
pub(super) fn vocabulary(model: &Arc<LlamaModel>) -> Vocabulary {
    let vocab = model.vocab();
    let mut table = TokenTable::default();
    let mut piece = Vec::new();
    for token in vocab.tokens() {
        let kind = kind(&vocab, token);
        piece.clear();
        vocab.token_to_piece_into(token, &mut piece, kind == TokenKind::Control, None);
        table.push(&piece, kind, vocab.is_eog(token));
    }
    let begin = Token::try_from(vocab.bos().0).ok();
    table.begin_text = begin.map_or_else(String::new, |begin| {
        let name = vocab.text(LlamaToken(begin.cast_signed()));
        name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    });
    table.begin = begin.filter(|_| vocab.should_add_bos());
    // A vocabulary without an end mark never matches the largest number.
    table.end = Token::try_from(vocab.eos().0).unwrap_or(Token::MAX);
    Vocabulary::new(table, Box::new(Encoder(Arc::clone(model))))
}

fn kind(vocab: &LlamaVocab<'_>, token: LlamaToken) -> TokenKind {
    let attributes = vocab.attr(token);
    if attributes.contains(LlamaTokenAttr::Control) {
        TokenKind::Control
    } else if attributes.contains(LlamaTokenAttr::Unused) {
        TokenKind::Unused
    } else {
        TokenKind::Text
    }
}

struct Encoder(Arc<LlamaModel>);

impl Encode for Encoder {
    fn encode(&self, text: &str, special: bool) -> Vec<Token> {
        let tokens = self.0.vocab().tokenize(text.as_bytes(), false, special);
        tokens
            .into_iter()
            .map(|token| token.0.cast_unsigned())
            .collect()
    }
}
