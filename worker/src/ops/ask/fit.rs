//! The prompt of an `ask`, cut to the context if the request allows it. Never silently.

use std::sync::Arc;
use std::time::Duration;

use fazai_models::chat::{ChatTemplate, Prompt, Speaker, TemplateError, Turn, raw_prompt};
use fazai_models::vocabulary::{Token, Vocabulary};
use fazai_protocol::{ErrorCode, Overflow, Think, WireError};
use tokio_util::sync::CancellationToken;

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
        return maker.fitted(turns, &CancellationToken::new());
    }
    let deadline = ask.deadline_ms.map(Duration::from_millis);
    let fitting = move |stop: &CancellationToken| maker.fitted(turns, stop);
    context.compute("tokenizing", deadline, fitting).await?
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
    fn fitted(&self, mut turns: Vec<Turn>, stop: &CancellationToken) -> Result<Fitted, WireError> {
        let whole = self.render(&turns, stop)?;
        let length = whole.tokens.len();
        if length < self.context {
            return self.finished(turns, whole, 0, stop);
        }
        if self.overflow == Overflow::Error {
            return Err(overflow(length, self.context));
        }
        let goal = self.context - self.reserve;
        let mut prompt = self.drop_oldest(&mut turns, whole, goal, stop)?;
        let mut least = 1;
        while prompt.tokens.len() > goal {
            let excess = prompt.tokens.len() - goal;
            let last = turns.last_mut().filter(|turn| turn.role != Speaker::System);
            // What is left may have other tokens than it had: a few rounds do, whatever it is.
            if !last.is_some_and(|turn| self.drop_head(&mut turn.content, excess.max(least))) {
                return Err(overflow(length, self.context));
            }
            least *= 2;
            prompt = self.render(&turns, stop)?;
        }
        let cut = length - prompt.tokens.len();
        self.finished(turns, prompt, cut, stop)
    }

    fn finished(
        &self,
        turns: Vec<Turn>,
        prompt: Prompt,
        cut: usize,
        stop: &CancellationToken,
    ) -> Result<Fitted, WireError> {
        let named_tokens = if self.named {
            self.before_last(turns, &prompt, stop)?
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
    fn before_last(
        &self,
        mut turns: Vec<Turn>,
        prompt: &Prompt,
        stop: &CancellationToken,
    ) -> Result<u32, WireError> {
        let mut common = prompt.tokens.len();
        // Two others, because the first may begin like the message by chance.
        for other in ["0", "?"] {
            if let Some(last) = turns.last_mut() {
                last.content = other.to_owned();
            }
            let other = self.render(&turns, stop)?.tokens;
            let same = prompt.tokens.iter().zip(&other).take_while(|(a, b)| a == b);
            common = common.min(same.count());
        }
        Ok(u32::try_from(common).unwrap_or(u32::MAX))
    }

    /// One of the steps between which the work can be stopped.
    fn render(&self, turns: &[Turn], stop: &CancellationToken) -> Result<Prompt, WireError> {
        if stop.is_cancelled() {
            // Nobody waits for it.
            return Err(WireError::new(ErrorCode::Cancelled, "stopped"));
        }
        if self.raw {
            let text = turns.first().map_or("", |turn| &turn.content);
            return Ok(raw_prompt(text, &self.vocabulary));
        }
        let prompt = self.template.prompt(turns, self.think, &self.vocabulary);
        prompt.map_err(|fault: TemplateError| errors::from_template(&fault))
    }

    /// Drops as many of the oldest exchanges as have to go, all but the last turn if need be. The
    /// fewer turns, the fewer tokens: each half is tried once.
    fn drop_oldest(
        &self,
        turns: &mut Vec<Turn>,
        whole: Prompt,
        goal: usize,
        stop: &CancellationToken,
    ) -> Result<Prompt, WireError> {
        let Some(from) = turns.iter().position(|turn| turn.role != Speaker::System) else {
            return Ok(whole);
        };
        // An answer without its question would confuse templates and models.
        let last = turns.len() - 1;
        let begins = |&at: &usize| at == last || turns[at].role != Speaker::Assistant;
        let begins: Vec<usize> = (from + 1..=last).filter(begins).collect();
        let rest = |begin: usize| [&turns[..from], &turns[begin..]].concat();
        let (mut low, mut high) = (0, begins.len());
        let mut best = None;
        while low < high {
            let middle = low.midpoint(high);
            let prompt = self.render(&rest(begins[middle]), stop)?;
            // If not even the last turn fits, it is what goes on being cut.
            if prompt.tokens.len() <= goal || middle + 1 == begins.len() {
                best = Some((begins[middle], prompt));
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let Some((begin, prompt)) = best else {
            return Ok(whole);
        };
        turns.drain(from..begin);
        Ok(prompt)
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

    fn fit(maker: &Maker, turns: Vec<Turn>) -> Result<Fitted, WireError> {
        maker.fitted(turns, &CancellationToken::new())
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
        let error = fit(&maker(Overflow::Error, 100), talk()).expect_err("too long");
        assert_eq!(error.code, ErrorCode::ContextOverflow);
        assert!(error.message.contains("context 100"), "{error}");
    }

    #[test]
    fn the_oldest_turns_go_first_and_what_was_cut_is_told() {
        let maker = maker(Overflow::TruncateHead, 150);
        let whole = maker
            .render(&talk(), &CancellationToken::new())
            .expect("renders")
            .tokens
            .len();
        let fitted = fit(&maker, talk()).expect("cut");
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
        let fitted = fit(&maker, long).expect("cut");
        let text = text(&maker, &fitted);
        assert!(
            text.contains("the end") && !text.contains('\u{fffd}'),
            "{text}"
        );
        let hopeless = vec![
            turn(Speaker::System, &"s".repeat(200)),
            turn(Speaker::User, "x"),
        ];
        assert!(fit(&maker, hopeless).is_err());
    }

    #[test]
    fn no_more_is_dropped_than_has_to_be() {
        let talk: Vec<Turn> = (0..30)
            .map(|number| {
                let role = match number % 3 {
                    0 => Speaker::User,
                    _ => Speaker::Assistant,
                };
                turn(role, &format!("turn {number} {}", "x".repeat(number)))
            })
            .chain([turn(Speaker::User, "last question")])
            .collect();
        let stop = CancellationToken::new();
        for context in (100..1_800).step_by(37) {
            let maker = maker(Overflow::TruncateHead, context);
            let fits = |begin: &usize| {
                let prompt = maker.render(&talk[*begin..], &stop).expect("renders");
                prompt.tokens.len() <= context - 20
            };
            let whole = maker.render(&talk, &stop).expect("renders").tokens.len();
            let begins = (if whole < context { 0 } else { 3 }..=30).step_by(3);
            let begin = begins
                .clone()
                .find(|begin| *begin == 0 || fits(begin))
                .expect("one");
            let expected = maker.render(&talk[begin..], &stop).expect("renders");
            let fitted = fit(&maker, talk.clone()).expect("cut");
            assert_eq!(fitted.tokens, expected.tokens, "{context}: from {begin}");
        }
    }

    #[test]
    fn a_long_talk_is_cut_soon_and_nobody_has_to_wait_for_it() {
        let maker = maker(Overflow::TruncateHead, 1_000);
        let talk = vec![turn(Speaker::User, &"a".repeat(500)); 2_000];
        let begun = std::time::Instant::now();
        let fitted = fit(&maker, talk.clone()).expect("cut");
        assert!(fitted.tokens.len() <= 980);
        // Two thousand prompts of up to a megabyte take half a minute.
        let took = begun.elapsed();
        assert!(took.as_secs() < 10, "{took:?}");

        let stop = CancellationToken::new();
        stop.cancel();
        let stopped = maker.fitted(talk, &stop).expect_err("stopped");
        assert_eq!(stopped.code, ErrorCode::Cancelled);
    }
}
