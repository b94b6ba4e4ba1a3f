//! A row of logits becomes a token.
//!
//! The order is llama.cpp's usual one: repetition penalty, grammar mask, top-k, top-p, min-p,
//! temperature, chance. A greedy choice scans the row once and sorts nothing; other choices
//! first gather the top-k, so that a vocabulary of 150,000 is never sorted.

use std::collections::VecDeque;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use toktrie::SimpleVob;

use crate::vocabulary::Token;

/// How the next token is chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 always takes the likeliest token.
    pub temperature: f32,
    /// Keep this many of the likeliest; 0 keeps all.
    pub top_k: u32,
    /// Keep the likeliest whose probabilities sum to this; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens less likely than this share of the likeliest one; 0 keeps all.
    pub min_p: f32,
    /// Divide the logits of the last [`PENALTY_WINDOW`] tokens by this; 1 is off.
    pub repeat_penalty: f32,
    /// Where the random numbers start.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            seed: 0,
        }
    }
}

/// How many of the latest tokens a repetition penalty looks at.
pub const PENALTY_WINDOW: usize = 64;

/// A candidate and its logit.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    token: Token,
    logit: f32,
}

/// Chooses the tokens of one request.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
    recent: VecDeque<Token>,
    /// Kept between tokens so that choosing allocates nothing.
    candidates: Vec<Candidate>,
    penalized: Vec<f32>,
}

impl Sampler {
    /// A sampler at the start of its random numbers.
    #[must_use]
    pub fn new(sampling: Sampling) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(sampling.seed),
            recent: VecDeque::with_capacity(PENALTY_WINDOW),
            sampling,
            candidates: Vec::new(),
            penalized: Vec::new(),
        }
    }

    /// Tells the sampler about a token that is now part of the text.
    pub fn accept(&mut self, token: Token) {
        if self.recent.len() == PENALTY_WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(token);
    }

    /// Chooses a token from a row of logits; `allowed` masks the rest.
    ///
    /// `None` only if nothing is allowed, or every logit is NaN or minus infinity.
    pub fn choose(&mut self, logits: &[f32], allowed: Option<&SimpleVob>) -> Option<Token> {
        if self.penalizes() {
            let mut row = std::mem::take(&mut self.penalized);
            self.penalize(logits, &mut row);
            let token = self.choose_from(&row, allowed);
            self.penalized = row;
            return token;
        }
        self.choose_from(logits, allowed)
    }

    fn penalizes(&self) -> bool {
        (self.sampling.repeat_penalty - 1.0).abs() > f32::EPSILON && !self.recent.is_empty()
    }

    fn penalize(&self, logits: &[f32], row: &mut Vec<f32>) {
        row.clear();
        row.extend_from_slice(logits);
        for &token in &self.recent {
            let Some(&original) = logits.get(token as usize) else {
                continue;
            };
            // From the original, so that a token that came twice is penalized once.
            row[token as usize] = if original > 0.0 {
                original / self.sampling.repeat_penalty
            } else {
                original * self.sampling.repeat_penalty
            };
        }
    }

    fn choose_from(&mut self, logits: &[f32], allowed: Option<&SimpleVob>) -> Option<Token> {
        if self.sampling.temperature <= 0.0 || self.sampling.top_k == 1 {
            return likeliest(logits, allowed);
        }
        let mut candidates = std::mem::take(&mut self.candidates);
        gather(
            logits,
            allowed,
            self.sampling.top_k as usize,
            &mut candidates,
        );
        keep_top_p(&mut candidates, self.sampling.top_p);
        keep_min_p(&mut candidates, self.sampling.min_p);
        let token = self.draw(&candidates);
        self.candidates = candidates;
        token
    }

    /// Draws by probability at the temperature; `candidates` are sorted, the likeliest first.
    fn draw(&mut self, candidates: &[Candidate]) -> Option<Token> {
        let first = candidates.first()?;
        let weight = |c: &Candidate| ((c.logit - first.logit) / self.sampling.temperature).exp();
        let total: f32 = candidates.iter().map(weight).sum();
        let mut point = self.rng.random::<f32>() * total;
        for candidate in candidates {
            point -= weight(candidate);
            if point <= 0.0 {
                return Some(candidate.token);
            }
        }
        // Rounding may leave a crumb beyond the last one.
        candidates.last().map(|candidate| candidate.token)
    }
}

/// The allowed token with the highest logit; the lowest number wins a tie.
#[must_use]
pub fn likeliest(logits: &[f32], allowed: Option<&SimpleVob>) -> Option<Token> {
    let best = argmax(logits)?;
    match allowed {
        // A model that follows its instructions mostly wants what the grammar wants.
        None => Some(best),
        Some(mask) if mask.is_allowed(best) => Some(best),
        Some(mask) => {
            let mut best: Option<Candidate> = None;
            for_each_allowed(logits, mask, |candidate| {
                if best.is_none_or(|best| candidate.logit > best.logit) {
                    best = Some(candidate);
                }
            });
            best.map(|candidate| candidate.token)
        }
    }
}

/// Numbers scanned together: the compiler turns each block into vector instructions.
const BLOCK: usize = 64;

fn block_max(block: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = block.as_chunks::<16>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    rest.iter()
        .chain(&lanes)
        .copied()
        .fold(f32::NEG_INFINITY, f32::max)
}

fn argmax(logits: &[f32]) -> Option<Token> {
    let mut best = f32::NEG_INFINITY;
    let mut best_block = 0;
    for (index, block) in logits.chunks(BLOCK).enumerate() {
        let max = block_max(block);
        if max > best {
            best = max;
            best_block = index;
        }
    }
    let start = best_block * BLOCK;
    let block = logits.get(start..)?;
    let at = block.iter().position(|&logit| logit == best)?;
    (best > f32::NEG_INFINITY).then(|| to_token(start + at))
}

fn to_token(index: usize) -> Token {
    Token::try_from(index).expect("a vocabulary has fewer than 2^32 tokens")
}

fn for_each_allowed(logits: &[f32], mask: &SimpleVob, mut visit: impl FnMut(Candidate)) {
    mask.iter_set_entries(|index| {
        if let Some(&logit) = logits.get(index)
            && logit > f32::NEG_INFINITY
        {
            let token = to_token(index);
            visit(Candidate { token, logit });
        }
    });
}

/// Fills `candidates` with the `top_k` likeliest allowed tokens (0: all), the likeliest first.
fn gather(
    logits: &[f32],
    allowed: Option<&SimpleVob>,
    top_k: usize,
    candidates: &mut Vec<Candidate>,
) {
    candidates.clear();
    let mut top = TopK::new(candidates, top_k);
    match allowed {
        Some(mask) => for_each_allowed(logits, mask, |candidate| top.offer(candidate)),
        None => {
            for (index, block) in logits.chunks(BLOCK).enumerate() {
                if block_max(block) <= top.threshold {
                    continue;
                }
                for (offset, &logit) in block.iter().enumerate() {
                    let token = to_token(index * BLOCK + offset);
                    top.offer(Candidate { token, logit });
                }
            }
        }
    }
    top.finish();
}

/// Keeps the best `k` of what it is offered, with an occasional partial sort.
struct TopK<'a> {
    kept: &'a mut Vec<Candidate>,
    k: usize,
    /// Nothing at or below this can still be among the best.
    threshold: f32,
}

impl<'a> TopK<'a> {
    fn new(kept: &'a mut Vec<Candidate>, k: usize) -> Self {
        Self {
            kept,
            k,
            threshold: f32::NEG_INFINITY,
        }
    }

    fn offer(&mut self, candidate: Candidate) {
        if candidate.logit > self.threshold {
            self.kept.push(candidate);
            if self.k > 0 && self.kept.len() >= self.k * 2 + BLOCK {
                self.shrink();
            }
        }
    }

    fn shrink(&mut self) {
        if self.k > 0 && self.kept.len() > self.k {
            self.kept.select_nth_unstable_by(self.k - 1, likelier);
            self.kept.truncate(self.k);
            self.threshold = self.kept[self.k - 1].logit;
        }
    }

    fn finish(mut self) {
        self.shrink();
        self.kept.sort_unstable_by(likelier);
    }
}

fn likelier(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// Cuts the sorted candidates behind the one where the probabilities reach `top_p`.
fn keep_top_p(candidates: &mut Vec<Candidate>, top_p: f32) {
    let Some(first) = candidates.first().copied() else {
        return;
    };
    if top_p >= 1.0 {
        return;
    }
    let weight = |c: &Candidate| (c.logit - first.logit).exp();
    let goal = top_p * candidates.iter().map(weight).sum::<f32>();
    let mut sum = 0.0;
    let within = candidates.iter().position(|candidate| {
        sum += weight(candidate);
        sum >= goal
    });
    if let Some(last) = within {
        candidates.truncate(last + 1);
    }
}

/// Cuts the sorted candidates before the first one below `min_p` of the likeliest.
fn keep_min_p(candidates: &mut Vec<Candidate>, min_p: f32) {
    if let Some(first) = candidates.first()
        && min_p > 0.0
    {
        let least = first.logit + min_p.ln();
        let kept = candidates.partition_point(|candidate| candidate.logit >= least);
        candidates.truncate(kept);
    }
}

/// Log-probabilities of one place in the text, from the model's raw logits.
#[derive(Debug)]
pub struct LogSoftmax<'a> {
    logits: &'a [f32],
    normalizer: f32,
}

impl<'a> LogSoftmax<'a> {
    /// Normalizes a row.
    #[must_use]
    pub fn new(logits: &'a [f32]) -> Self {
        let max = block_max(logits);
        let sum: f64 = logits.iter().map(|&l| f64::from((l - max).exp())).sum();
        #[expect(clippy::cast_possible_truncation, reason = "a logarithm fits")]
        let normalizer = max + sum.ln() as f32;
        Self { logits, normalizer }
    }

    /// The log-probability of one token.
    #[must_use]
    pub fn of(&self, token: Token) -> f32 {
        self.logits[token as usize] - self.normalizer
    }

    /// The `n` likeliest tokens with their log-probabilities, the likeliest first.
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<(Token, f32)> {
        if n == 0 {
            return Vec::new();
        }
        let mut candidates = Vec::new();
        gather(self.logits, None, n, &mut candidates);
        let pair = |c: Candidate| (c.token, c.logit - self.normalizer);
        candidates.into_iter().map(pair).collect()
    }
}

#[cfg(test)]
mod tests;
