//! `tokenize`: text to a model's tokens.

use std::sync::Arc;

use fazai_protocol::{Call, Done, ErrorCode, TokenizeParams, WireError};
use serde_json::json;

use super::Context;

/// The longest that a byte of text becomes: a token of its own, its number and a comma.
const TOKEN_BYTES: usize = 8;

/// And its piece, escaped.
const PIECE_BYTES: usize = 9;

pub(super) async fn answer(context: &Context, call: Call<TokenizeParams>) -> Done {
    let most = context.worker.settings().limits.tokenize_bytes_max;
    if call.input.len() > most {
        let message = format!("{} bytes of text, the limit is {most}", call.input.len());
        let error = WireError::new(ErrorCode::InvalidRequest, message);
        return context.fail(error.with_hint("send it in parts, or raise tokenize_bytes_max"));
    }
    let model = match context.lease(call.model, true).await {
        Ok(model) => model,
        Err(error) => return context.fail(error),
    };
    let longest = TOKEN_BYTES + if call.params.pieces { PIECE_BYTES } else { 0 };
    if let Err(error) = context.room(call.input.len().saturating_mul(longest)).await {
        return context.fail(error);
    }
    let vocabulary = Arc::clone(&model.vocabulary);
    let encoding = context.compute("tokenize", None, move |_| {
        let tokens = vocabulary.encode(&call.input, call.params.special);
        let pieces: Option<Vec<String>> = call.params.pieces.then(|| {
            let pieces = tokens.iter().map(|&token| vocabulary.piece_lossy(token));
            pieces.collect()
        });
        (tokens, pieces)
    });
    let (tokens, pieces) = match encoding.await {
        Ok(encoded) => encoded,
        Err(error) => return context.fail(error),
    };
    let mut data = json!({ "count": tokens.len(), "tokens": tokens });
    if let Some(pieces) = pieces {
        data["pieces"] = json!(pieces);
    }
    let result = data["count"].to_string();
    Done {
        model: Some(model.title.clone()),
        ..context.done_with(result, data)
    }
}
