//! The prompt of an `ask`, cut to the context if the request allows it. Never silently.

use std::sync::Arc;

use fazai_models::chat::{ChatTemplate, Prompt, Speaker, TemplateError, Turn, raw_prompt};
use fazai_models::vocabulary::{Token, Vocabulary};
use fazai_protocol::{ErrorCode, Overflow, Think, WireError};

use super::super::Context;
use super::valid::ValidAsk;
use crate::errors;
use crate::registry::ModelLease;

/// A prompt that leaves room for an answer.
#[derive(Debug)]
pub(super) struct Fitted {
    pub(super) tokens: Vec<Token>,
    pub(super) opens_thinking: bool,
    /// How many tokens were cut.
    pub(super) cut_tokens: u32,
    /// How many tokens are before the last message, if that was asked for.
    pub(super) named_tokens: u32,
}

impl Fitted {
    /// Puts the beginning of the answer behind the prompt.
    pub(super) fn go_on(&mut self, so_far: &str, model: &ModelLease) -> Result<(), WireError> {
        self.tokens.extend(model.vocabulary.encode(so_far, false));
        let (length, room) = (self.tokens.len(), model.info.context_tokens as usize);
        if length < room {
            Ok(())
        } else {
            Err(overflow(length, room))
        }
    }
}

/// Texts below this are tokenized at once; longer ones would hold up other requests.
const INLINE_BYTES_MAX: usize = 8 << 10;

/// Makes the prompt of the session's turns and the request's, with a text `behind` the last.
pub(super) async fn prompt(
    context: &Context,
    ask: &ValidAsk,
    mut turns: Vec<Turn>,
    behind: &str,
    model: &ModelLease,
) -> Result<Fitted, WireError> {
    // A session keeps no system turn: each request may bring its own.
    let (system, said): (Vec<Turn>, Vec<Turn>) = ask
        .turns
        .iter()
        .cloned()
        .partition(|turn| turn.role == Speaker::System);
    turns.splice(0..0, system);
    turns.extend(said);
    if let Some(last) = turns.last_mut() {
        last.content.push_str(behind);
    }
    let bytes: usize = turns.iter().map(|turn| turn.content.len()).sum();
    let room = model.info.context_tokens as usize;
    let maker = Maker {
        template: Arc::clone(&model.template),
        vocabulary: Arc::clone(&model.vocabulary),
        raw: ask.raw,
        think: ask.think != Think::Off,
        overflow: ask.overflow,
        named: ask.prompt_name.is_some(),
        context: room,
        // At least as much as was asked for, but never more than half of the context.
        reserve: (ask.max_tokens as usize).min(room / 2).max(1),
    };
    if bytes <= INLINE_BYTES_MAX {
        return maker.fitted(turns);
    }
    context
        .compute("tokenizing", move || maker.fitted(turns))
        .await?
}

struct Maker {
    template: Arc<ChatTemplate>,
    vocabulary: Arc<Vocabulary>,
    raw: bool,
    think: bool,
    overflow: Overflow,
    /// Whether to find out where the last message begins.
    named: bool,
    context: usize,
    reserve: usize,
}

impl Maker {
    fn fitted(&self, mut turns: Vec<Turn>) -> Result<Fitted, WireError> {
        let whole = self.render(&turns)?;
        let length = whole.tokens.len();
        if length < self.context {
            return self.finished(turns, whole, 0);
        }
        if self.overflow == Overflow::Error {
            return Err(overflow(length, self.context));
        }
        let goal = self.context - self.reserve;
        let mut prompt = whole;
        while prompt.tokens.len() > goal {
            let excess = prompt.tokens.len() - goal;
            if !self.drop_oldest(&mut turns, excess) {
                return Err(overflow(length, self.context));
            }
            prompt = self.render(&turns)?;
        }
        let cut = length - prompt.tokens.len();
        self.finished(turns, prompt, cut)
    }

    fn finished(&self, turns: Vec<Turn>, prompt: Prompt, cut: usize) -> Result<Fitted, WireError> {
        let named_tokens = if self.named {
            self.before_last(turns, &prompt)?
        } else {
            0
        };
        Ok(Fitted {
            named_tokens,
            ..fitted(prompt, cut)
        })
    }

    /// How many tokens of the prompt do not depend on the last message: those that stay when it
    /// says something else. Templates may do anything, so that nothing else would be sure.
    fn before_last(&self, mut turns: Vec<Turn>, prompt: &Prompt) -> Result<u32, WireError> {
        let mut common = prompt.tokens.len();
        // Two others, because the first may begin like the message by chance.
        for other in ["0", "?"] {
            if let Some(last) = turns.last_mut() {
                last.content = other.to_owned();
            }
            let other = self.render(&turns)?.tokens;
            let same = prompt.tokens.iter().zip(&other).take_while(|(a, b)| a == b);
            common = common.min(same.count());
        }
        Ok(u32::try_from(common).unwrap_or(u32::MAX))
    }

    fn render(&self, turns: &[Turn]) -> Result<Prompt, WireError> {
        if self.raw {
            let text = turns.first().map_or("", |turn| &turn.content);
            return Ok(raw_prompt(text, &self.vocabulary));
        }
        let prompt = self.template.prompt(turns, self.think, &self.vocabulary);
        prompt.map_err(|fault: TemplateError| errors::from_template(&fault))
    }

    /// Drops the oldest exchange; or, when only the last turn is left, its beginning. `false`:
    /// there is nothing more that could be dropped.
    fn drop_oldest(&self, turns: &mut Vec<Turn>, excess: usize) -> bool {
        let last = turns.len() - 1;
        let first = turns.iter().position(|turn| turn.role != Speaker::System);
        match first {
            Some(first) if first < last => {
                turns.remove(first);
                // An answer without its question would confuse templates and models.
                while turns[first].role == Speaker::Assistant && first + 1 < turns.len() {
                    turns.remove(first);
                }
                true
            }
            Some(last) => self.drop_head(&mut turns[last].content, excess),
            None => false,
        }
    }

    /// Drops at least so many tokens from the beginning of the text, at whole characters.
    fn drop_head(&self, text: &mut String, excess: usize) -> bool {
        let tokens = self.vocabulary.encode(text, false);
        if excess >= tokens.len() {
            return false;
        }
        let dropped: usize = tokens[..excess]
            .iter()
            .map(|&token| self.vocabulary.piece(token).len())
            .sum();
        let at = text.ceil_char_boundary(dropped.clamp(1, text.len()));
        text.drain(..at);
        !text.is_empty()
    }
}

fn fitted(prompt: Prompt, cut: usize) -> Fitted {
    Fitted {
        tokens: prompt.tokens,
        opens_thinking: prompt.opens_thinking,
        cut_tokens: u32::try_from(cut).unwrap_or(u32::MAX),
        named_tokens: 0,
    }
}

fn overflow(length: usize, context: usize) -> WireError {
    let message =
        format!("the prompt has {length} tokens, and the context {context}, answer included");
    WireError::new(ErrorCode::ContextOverflow, message).with_hint(
        "shorten it, or allow `overflow: truncate_head`, or use a model with a longer context",
    )
}

#[cfg(test)]
mod tests {
    use fazai_models::backend::scripted::vocabulary;

    use super::*;

    fn maker(overflow: Overflow, context: usize) -> Maker {
        let vocabulary = Arc::new(vocabulary());
        Maker {
            template: Arc::new(ChatTemplate::new(None, &vocabulary).expect("it compiles")),
            vocabulary,
            raw: false,
            think: false,
            overflow,
            named: false,
            context,
            reserve: 20,
        }
    }

    fn turn(role: Speaker, content: &str) -> Turn {
        Turn {
            role,
            content: content.to_owned(),
        }
    }

    fn talk() -> Vec<Turn> {
        vec![
            turn(Speaker::System, "system"),
            turn(Speaker::User, &"old question ".repeat(5)),
            turn(Speaker::Assistant, &"old answer ".repeat(5)),
            turn(Speaker::User, "né last question"),
        ]
    }

    fn text(maker: &Maker, fitted: &Fitted) -> String {
        let bytes = fitted
            .tokens
            .iter()
            .flat_map(|&token| maker.vocabulary.piece(token).to_vec());
        String::from_utf8(bytes.collect()).expect("whole characters")
    }

    #[test]
    fn a_prompt_that_is_too_long_is_refused_with_both_numbers() {
        let error = maker(Overflow::Error, 100)
            .fitted(talk())
            .expect_err("too long");
        assert_eq!(error.code, ErrorCode::ContextOverflow);
        assert!(error.message.contains("context 100"), "{error}");
    }

    #[test]
    fn the_oldest_turns_go_first_and_what_was_cut_is_told() {
        let maker = maker(Overflow::TruncateHead, 150);
        let whole = maker.render(&talk()).expect("renders").tokens.len();
        let fitted = maker.fitted(talk()).expect("cut");
        let text = text(&maker, &fitted);
        assert!(
            text.contains("system") && text.contains("last question"),
            "{text}"
        );
        assert!(!text.contains("old"), "{text}");
        assert_eq!(fitted.cut_tokens as usize, whole - fitted.tokens.len());
        assert!(fitted.tokens.len() <= 130);
    }

    #[test]
    fn a_single_turn_loses_its_beginning() {
        let maker = maker(Overflow::TruncateHead, 100);
        let long = vec![turn(
            Speaker::User,
            &format!("{}the end", "né ".repeat(100)),
        )];
        let fitted = maker.fitted(long).expect("cut");
        let text = text(&maker, &fitted);
        assert!(
            text.contains("the end") && !text.contains('\u{fffd}'),
            "{text}"
        );
        let hopeless = vec![
            turn(Speaker::System, &"s".repeat(200)),
            turn(Speaker::User, "x"),
        ];
        assert!(maker.fitted(hopeless).is_err());
    }
}
