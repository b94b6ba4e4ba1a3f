//! Asking the worker.

use anyhow::{Context as _, bail};
use fazai_protocol::client::Reply;
use fazai_protocol::{Ask, AskParams, Line, Usage};

use super::side::{Counts, Piece, Question};

/// The name under which instructions are kept.
const KEPT_AS: &str = "bench";

/// The question as the worker's clients ask it.
pub(super) fn ask(question: &Question) -> Ask {
    Ask {
        params: AskParams {
            max_tokens: Some(question.max_tokens),
            temperature: Some(question.temperature()),
            seed: question.chance.map(u64::from),
            json_schema: question.schema.clone(),
            priority: Some(question.priority),
            ignore_eos: question.ignores_end(),
            raw: question.instructions.is_none(),
            system: question.instructions.clone(),
            prompt_name: question.instructions.as_ref().map(|_| KEPT_AS.to_owned()),
            ..AskParams::default()
        },
        ..Ask::new(&question.text)
    }
}

/// What came next.
pub(super) async fn next(reply: &mut Reply) -> anyhow::Result<Piece> {
    match reply.next().await? {
        Some(Line::Token(line) | Line::Thinking(line)) => Ok(Piece {
            text: line.result,
            end: None,
        }),
        Some(Line::Done(done)) => {
            if let Some(error) = done.error {
                return Err(error.into());
            }
            let usage = done.usage.context("the answer has no usage")?;
            Ok(Piece {
                text: String::new(),
                end: Some(counts(&usage)),
            })
        }
        Some(_) => Ok(Piece::default()),
        None => bail!("the answer goes on after its end"),
    }
}

fn counts(usage: &Usage) -> Counts {
    Counts {
        prompt_tokens: usage.prompt_tokens.into(),
        cached_tokens: usage.cached_tokens.into(),
        output_tokens: usage.output_tokens.into(),
    }
}
