//! Guesses at the next tokens from what was there before: an answer that quotes its prompt, or
//! itself, says much that can be looked up and checked in one decode.

use crate::vocabulary::Token;

/// A guess needs so many tokens in a row that were there before.
const MATCH_MIN: usize = 2;
/// More than this in a row makes no better guess.
const MATCH_MAX: usize = 8;
/// How far back is looked; beyond that the search would cost more than a guess can save.
const LOOK_BACK: usize = 16_384;
/// Tokens in the first guess, and in the longest.
const GUESS_FIRST: usize = 3;
const GUESS_MAX: usize = 15;
/// Tokens without a guess after one that was all wrong, at first and at most.
const REST_FIRST: u32 = 2;
const REST_MAX: u32 = 64;

/// Guesses for one request, and learns how good they are.
#[derive(Debug)]
pub(super) struct Drafter {
    /// How long the next guess may be.
    length: usize,
    /// Tokens until the next guess.
    rest: u32,
    /// How long the next rest is.
    next_rest: u32,
    /// Smoothed share of guessed tokens that were right.
    hit_rate: f32,
}

impl Default for Drafter {
    fn default() -> Self {
        Self {
            length: GUESS_FIRST,
            rest: 0,
            next_rest: REST_FIRST,
            hit_rate: 0.5,
        }
    }
}

impl Drafter {
    /// What may come after `history`, at most `most` tokens; often nothing.
    pub(super) fn guess(&self, history: &[Token], most: usize) -> Vec<Token> {
        let length = self.length.min(most);
        if self.rest > 0 || length == 0 {
            return Vec::new();
        }
        let history = &history[history.len().saturating_sub(LOOK_BACK)..];
        let after = last_occurrence(history);
        // A text that repeats goes on repeating, beyond its end too.
        let repeated = after.map(|after| history[after..].iter().copied().cycle());
        repeated.into_iter().flatten().take(length).collect()
    }

    /// How many of so many guessed tokens are likely to be right.
    pub(super) fn expected(&self, guessed: usize) -> f64 {
        let rate = f64::from(self.hit_rate);
        (1..=guessed)
            .map(|n| rate.powi(n.try_into().unwrap_or(i32::MAX)))
            .sum()
    }

    /// A token was chosen without a guess.
    pub(super) fn skipped(&mut self) {
        self.rest = self.rest.saturating_sub(1);
    }

    /// Of `guessed` tokens the first `right` were.
    pub(super) fn learn(&mut self, guessed: usize, right: usize) {
        let share = if right == guessed {
            1.0
        } else {
            // What follows a wrong one says nothing.
            ratio(right, right + 1)
        };
        self.hit_rate += 0.25 * (share - self.hit_rate);
        if right == 0 {
            self.rest = self.next_rest;
            self.next_rest = (self.next_rest * 2).min(REST_MAX);
            self.length = GUESS_FIRST;
        } else {
            self.next_rest = REST_FIRST;
            let longer = if right == guessed {
                guessed * 2
            } else {
                right + 1
            };
            self.length = longer.clamp(GUESS_FIRST, GUESS_MAX);
        }
    }

    /// The guess would have cost more than it could have saved.
    pub(super) fn not_worth_it(&mut self) {
        self.rest = REST_FIRST;
        // In time it is tried again: the text may begin to repeat.
        self.hit_rate += 0.02 * (0.8 - self.hit_rate);
    }
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn ratio(part: usize, whole: usize) -> f32 {
    part as f32 / whole as f32
}

/// Where the text goes on behind the longest repetition of its own end; the latest such place.
fn last_occurrence(history: &[Token]) -> Option<usize> {
    let (&last, before) = history.split_last()?;
    let mut best: Option<(usize, usize)> = None;
    for (end, _) in before
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, token)| **token == last)
    {
        let ends = before[..end].iter().rev().zip(before.iter().rev());
        let agree = 1 + ends.take(MATCH_MAX - 1).take_while(|(a, b)| a == b).count();
        if best.is_none_or(|(_, most)| agree > most) {
            best = Some((end + 1, agree));
            if agree == MATCH_MAX {
                break;
            }
        }
    }
    best.filter(|&(_, agree)| agree >= MATCH_MIN)
        .map(|(after, _)| after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        text.bytes().map(u32::from).collect()
    }

    fn guess(text: &str) -> String {
        let history = tokens(text);
        let guess = Drafter::default().guess(&history, 8);
        guess
            .into_iter()
            .map(|token| char::from_u32(token).expect("ASCII"))
            .collect()
    }

    #[test]
    fn the_longest_repetition_wins_and_then_the_latest() {
        assert_eq!(guess("port=80 host=a port="), "80 ");
        assert_eq!(guess("ab1 ab2 ab"), "2 a");
        assert_eq!(guess("xab1 ab2 xab"), "1 a");
        assert_eq!(guess("abc"), "");
        assert_eq!(guess(""), "");
        assert_eq!(guess("aaaa"), "aaa", "and on and on");
    }

    #[test]
    fn wrong_guesses_become_rare_and_right_ones_long() {
        let history = tokens("abcabcabcabcabcabcabcabcabcabc");
        let mut drafter = Drafter::default();
        drafter.learn(3, 0);
        assert!(drafter.guess(&history, 8).is_empty());
        drafter.skipped();
        drafter.skipped();
        assert_eq!(drafter.guess(&history, 8).len(), 3);
        let before = drafter.expected(4);
        for _ in 0..10 {
            let guessed = drafter.guess(&history, 15).len();
            drafter.learn(guessed, guessed);
        }
        assert!(drafter.length == GUESS_MAX && drafter.expected(4) > before);
        for _ in 0..10 {
            drafter.learn(4, 0);
        }
        assert!(drafter.expected(4) < 0.2 && drafter.rest == REST_MAX);
    }
}
