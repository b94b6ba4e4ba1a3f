//! `tokenize`: text to a model's tokens.

use std::sync::Arc;

use fazai_protocol::{Call, Done, TokenizeParams};
use serde_json::json;

use super::Context;

pub(super) async fn answer(context: &Context, call: Call<TokenizeParams>) -> Done {
    let model = match context.lease(call.model, true).await {
        Ok(model) => model,
        Err(error) => return context.fail(error),
    };
    let vocabulary = Arc::clone(&model.vocabulary);
    let encoding = tokio::task::spawn_blocking(move || {
        let tokens = vocabulary.encode(&call.input, call.params.special);
        let pieces: Option<Vec<String>> = call.params.pieces.then(|| {
            let pieces = tokens.iter().map(|&token| vocabulary.piece_lossy(token));
            pieces.collect()
        });
        (tokens, pieces)
    });
    let Ok((tokens, pieces)) = encoding.await else {
        return context.fail(super::panicked("tokenize"));
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
