//! `embed`: text to vectors of unit length.

use std::sync::Arc;

use fazai_models::chat::with_begin_mark;
use fazai_models::engine::Request;
use fazai_models::job::{Event, JobError, Priority, Work};
use fazai_protocol::{Call, Done, EmbedParams, ErrorCode, Source, WireError};
use serde_json::json;

use super::Context;
use crate::errors;

/// A vector as text: that of a model of a usual size.
const VECTOR_BYTES: usize = 32 << 10;

pub(super) async fn answer(context: &Context, call: Call<EmbedParams>) -> Done {
    embed(context, call)
        .await
        .unwrap_or_else(|error| context.fail(error))
}

async fn embed(context: &Context, call: Call<EmbedParams>) -> Result<Done, WireError> {
    let single = call.params.inputs.is_empty();
    let texts = if single {
        vec![call.input]
    } else {
        call.params.inputs
    };
    let most = context.worker.settings().limits.messages_max;
    if texts.len() > most {
        let message = format!("{} inputs, the limit is {most}", texts.len());
        return Err(WireError::new(ErrorCode::InvalidParams, message));
    }
    if texts.iter().any(String::is_empty) {
        return Err(WireError::new(
            ErrorCode::InvalidRequest,
            "there is no text to embed",
        ));
    }
    let model = context.lease(call.model, true).await?;
    let answer = texts.len().saturating_mul(VECTOR_BYTES);
    context.room(answer).await?;
    let vocabulary = Arc::clone(&model.vocabulary);
    let encoding = context.compute("embed", None, move |stop| {
        let encode = |text: &String| with_begin_mark(vocabulary.encode(text, false), &vocabulary);
        let wanted = texts.iter().take_while(|_| !stop.is_cancelled());
        wanted.map(encode).collect::<Vec<_>>()
    });
    let inputs = encoding.await?;
    let tokens: usize = inputs.iter().map(Vec::len).sum();
    let request = Request {
        priority: Priority::Normal,
        user: context.user.id(),
        deadline_ms: None,
        work: Work::Embed(inputs),
    };
    let submitted = model.engine.submit(request).await;
    let mut events = submitted.map_err(|fault| errors::from_submit(&fault))?;
    let vectors = loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = context.told_to_stop() => return Err(context.stop_error()),
        };
        match event {
            Some(Event::Embedded(vectors)) => break vectors,
            Some(Event::Failed(fault)) => return Err(errors::from_job(&fault)),
            Some(_) => {}
            None => return Err(errors::from_job(&JobError::EngineGone)),
        }
    };
    let dimensions = vectors.first().map_or(0, Vec::len);
    let mut data = json!({ "dimensions": dimensions, "prompt_tokens": tokens });
    if single {
        data["embedding"] = json!(vectors.into_iter().next());
    } else {
        data["embeddings"] = json!(vectors);
    }
    Ok(Done {
        source: Source::Local,
        model: Some(model.title.clone()),
        ..context.done_with(format!("{dimensions} dimensions"), data)
    })
}
