//! Finding: by meaning and by words, put together by rank, and why each was chosen.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::error::{MemoryError, Result, invalid};
use crate::index::Match;
use crate::record::{Id, Payload, Record};
use crate::store::Scored;

/// The most hits of one search.
pub const K_MAX: usize = 1000;
/// The longest query, in bytes.
pub const QUERY_BYTES_MAX: usize = 8 << 10;
/// The usual constant of reciprocal rank fusion: how little the first ranks differ.
const RRF_K: f32 = 60.0;
/// How much it counts that everything worked, or nothing; a few ranks at most.
const SUCCESS_WEIGHT: f32 = 0.05;
/// How much the oldest lose.
const AGE_WEIGHT: f32 = 0.03;
/// After how many days half of that is lost.
const AGE_DAYS: f32 = 180.0;

/// What being found by words counts beside being found by meaning: people ask in other words than
/// documents have. Chosen on half of the questions of `benches/questions.tsv`.
const WORDS_WEIGHT: f32 = 0.3;

/// Which way found a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// Its meaning is near.
    Vector,
    /// It has the words.
    Text,
    /// Both.
    Both,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// The record, without its vector.
    pub record: Record,
    /// How well it fits, to be compared within one search only.
    pub score: f32,
    /// Which way found it.
    pub found_by: FoundBy,
    /// The cosine, if its meaning was compared.
    pub similarity: Option<f32>,
    /// How well its words fit (BM25), if it has any of the query.
    pub bm25: Option<f32>,
    /// Its words of the query, those that decided most first.
    pub words: Vec<String>,
    /// Why it is here, for a person.
    pub why: String,
}

/// What could not be done both ways, by meaning and by words, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "warning", rename_all = "snake_case")]
pub enum Warning {
    /// The store is away; the hits are from the index in this process.
    StoreUnavailable {
        /// What happened.
        why: String,
        /// When it is asked again.
        retry_after_ms: u64,
    },
    /// The store refused the query; the hits are from the index in this process.
    StoreRefused {
        /// What it said.
        why: String,
    },
    /// The embedding model failed; the hits were found by words alone.
    EmbedderFailed {
        /// What happened.
        why: String,
    },
    /// The embedding model failed; what was added is found by its words alone.
    NoVector {
        /// What happened.
        why: String,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::StoreUnavailable {
                why,
                retry_after_ms,
            } => write!(
                f,
                "the memory's store does not answer ({why}); words alone were searched, and it is \
                 asked again in {retry_after_ms} ms"
            ),
            Self::StoreRefused { why } | Self::EmbedderFailed { why } => {
                write!(f, "{why}; words alone were searched")
            }
            Self::NoVector { why } => write!(
                f,
                "{why}; it is remembered, and found by its words alone until `fazai memory embed`"
            ),
        }
    }
}

/// The answer to a search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The hits, the best first.
    pub hits: Vec<Hit>,
    /// Which ways were gone.
    pub searched_by: FoundBy,
    /// What did not work.
    pub warnings: Vec<Warning>,
}

/// How each way ranked a record.
#[derive(Default)]
struct Ranks {
    vector: Option<(usize, f32)>,
    text: Option<(usize, f32, Vec<String>)>,
}

/// Refuses what nobody can answer.
pub(crate) fn check(query: &str, k: usize) -> Result<()> {
    if !(1..=K_MAX).contains(&k) {
        return Err(MemoryError::K { k, max: K_MAX });
    }
    if query.trim().is_empty() {
        return Err(invalid("query", "is empty; say what to look for"));
    }
    if query.len() > QUERY_BYTES_MAX {
        let bytes = query.len();
        let why = format!("has {bytes} bytes; the limit is {QUERY_BYTES_MAX}, so shorten it");
        return Err(invalid("query", why));
    }
    Ok(())
}

/// How many candidates each way is asked for: more than `k`, since the other way reorders them.
pub(crate) fn depth(k: usize) -> usize {
    (k * 4).clamp(50, K_MAX)
}

/// Puts both ways together and keeps the best `k`. `payloads` has every record that is named.
pub(crate) fn fuse(
    near: &[Scored],
    matches: Vec<Match>,
    payloads: &HashMap<Id, Payload>,
    k: usize,
    now: Timestamp,
) -> Vec<Hit> {
    let mut ranks: HashMap<Id, Ranks> = HashMap::new();
    for (rank, scored) in (1..).zip(near) {
        ranks.entry(scored.record.id).or_default().vector = Some((rank, scored.score));
    }
    for (rank, found) in (1..).zip(matches) {
        ranks.entry(found.id).or_default().text = Some((rank, found.score, found.words));
    }
    let hit = |(id, ranks): (Id, Ranks)| Some(judge(id, payloads.get(&id)?.clone(), ranks, now));
    let mut hits: Vec<Hit> = ranks.into_iter().filter_map(hit).collect();
    let by_id = |one: &Hit, other: &Hit| one.record.id.cmp(&other.record.id);
    hits.sort_by(|one, other| {
        other
            .score
            .total_cmp(&one.score)
            .then_with(|| by_id(one, other))
    });
    hits.truncate(k);
    hits
}

fn judge(id: Id, payload: Payload, ranks: Ranks, now: Timestamp) -> Hit {
    let reciprocal = |rank: usize| 1.0 / (RRF_K + rank as f32);
    let (mut score, mut why) = (0.0, Vec::new());
    if let Some((rank, cosine)) = ranks.vector {
        score += reciprocal(rank);
        why.push(format!("number {rank} by meaning (cosine {cosine:.2})"));
    }
    if let Some((rank, _, words)) = &ranks.text {
        score += WORDS_WEIGHT * reciprocal(*rank);
        let words = words
            .iter()
            .take(5)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        why.push(format!("number {rank} by words ({words})"));
    }
    let (used, used_why) = usage(&payload);
    let (aged, aged_why) = age(&payload, now);
    why.extend(used_why);
    why.extend(aged_why);
    Hit {
        record: Record {
            id,
            payload,
            vector: None,
        },
        score: score * (1.0 + used + aged),
        found_by: match (&ranks.vector, &ranks.text) {
            (Some(_), Some(_)) => FoundBy::Both,
            (Some(_), None) => FoundBy::Vector,
            _ => FoundBy::Text,
        },
        similarity: ranks.vector.map(|(_, cosine)| cosine),
        bm25: ranks.text.as_ref().map(|(_, score, _)| *score),
        words: ranks.text.map(|(_, _, words)| words).unwrap_or_default(),
        why: why.join("; "),
    }
}

/// What use says: nothing before the first, and all of it only after many.
fn usage(payload: &Payload) -> (f32, Option<String>) {
    if payload.usage_count == 0 {
        return (0.0, None);
    }
    let uses = payload.usage_count as f32;
    let sure = uses / (uses + 3.0);
    let part = SUCCESS_WEIGHT * sure * (2.0 * payload.success_rate - 1.0);
    let worked = payload.success_rate * 100.0;
    let why = format!(
        "used {uses} times, {worked:.0} % worked ({:+.1} %)",
        part * 100.0
    );
    (part, Some(why))
}

fn age(payload: &Payload, now: Timestamp) -> (f32, Option<String>) {
    let days = now.duration_since(payload.created).as_secs().max(0) as f32 / 86_400.0;
    let part = -AGE_WEIGHT * days / (days + AGE_DAYS);
    let counts = part < -0.001;
    (
        part,
        counts.then(|| format!("{days:.0} days old ({:+.1} %)", part * 100.0)),
    )
}

#[cfg(test)]
mod tests;
