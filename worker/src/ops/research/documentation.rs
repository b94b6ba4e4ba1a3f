//! Documentation from elsewhere, behind what is remembered.

use std::sync::Arc;

use fazai_cloud::Label;
use fazai_cloud::documentation;
use fazai_protocol::WireError;
use fazai_tools::Outcome;
use serde_json::{Value, json};

use super::super::admit::admit;
use super::super::passages::Passage;
use super::super::{Context, panicked};
use crate::cloud::send;

/// What fits to the question. A server that is slow, away or not allowed is a warning.
pub(super) async fn search(
    context: &Context,
    question: &str,
    most: usize,
) -> Result<Vec<documentation::Passage>, WireError> {
    match look_up(context, question).await {
        Ok(mut found) => {
            found.truncate(most);
            Ok(found)
        }
        Err(Fault::Missed(why)) => {
            let why = format!("no documentation was looked up: {why}");
            context.warn(true, why).await;
            Ok(Vec::new())
        }
        Err(Fault::Over(error)) => Err(error),
    }
}

enum Fault {
    /// The rest of the answer is as good without it.
    Missed(String),
    /// The request is over.
    Over(WireError),
}

async fn look_up(context: &Context, question: &str) -> Result<Vec<documentation::Passage>, Fault> {
    let shared = Arc::clone(&context.worker.shared);
    let opening = tokio::task::spawn_blocking(move || shared.cloud.documentation()).await;
    let opened = opening.map_err(|_| Fault::Over(panicked("the documentation")))?;
    let place = opened.map_err(|fault| Fault::Missed(fault.to_string()))?;
    let query = place.query(question);
    let leaving = send(documentation::NAME, Label::Internal, &query.redacted);
    let permit = admit(context, None, leaving, true).await;
    let permit = permit.map_err(|error| Fault::Missed(error.message))?;
    let found = tokio::select! {
        found = place.search(&query) => found,
        () = context.told_to_stop() => return Err(Fault::Over(context.stop_error())),
    };
    let outcome = Outcome::of(&found);
    let recorded = context.act(move || Ok(permit.finish(outcome)?)).await;
    recorded.map_err(Fault::Over)?;
    found.map_err(|failure| Fault::Missed(failure.to_string()))
}

impl<'a> From<&'a documentation::Passage> for Passage<'a> {
    fn from(found: &'a documentation::Passage) -> Self {
        Self {
            title: &found.title,
            source: &found.source,
            text: &found.text,
        }
    }
}

/// A passage, for programs.
pub(super) fn described(found: &documentation::Passage) -> Value {
    json!({
        "found_by": documentation::NAME,
        "title": found.title,
        "text": found.text,
        "source": found.source,
    })
}
