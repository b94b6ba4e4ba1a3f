//! The words of all records of a collection, in memory: BM25, and what records are judged by
//! without asking the store.
//!
//! | file | what it owns |
//! |---|---|
//! | `postings.rs` | which records have a word, in few bytes |
//! | `kept.rs` | the index in a file, for the next start |

mod kept;
mod postings;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::postings::Postings;
use crate::filter::{Face, Facets, Filter, Words};
use crate::record::{Id, Kind, Namespace, Payload, Record, Status, digest};
use crate::text;

/// The usual parameters: how soon more of a word adds nothing, and how much long texts lose.
const K1: f32 = 1.2;
const B: f32 = 0.75;
/// Title words count this often: they say what a text is about.
const TITLE_WEIGHT: u32 = 2;
/// The most different words of a query.
const QUERY_WORDS_MAX: usize = 128;
/// How many matches are collected before all but the best are forgotten.
const KEPT_AT_ONCE: usize = 1024;
/// How many bytes of payloads are copied here from a store that may be away.
const COPIES_BYTES_MAX: usize = 256 << 20;

/// A record that has words of the query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Match {
    pub(crate) id: Id,
    pub(crate) score: f32,
    /// The words that it has, those that decided most first.
    pub(crate) words: Vec<String>,
}

/// The words of one collection.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Index {
    facet_words: Words,
    docs: Vec<Doc>,
    /// Of each record what a search looks at, close together.
    seen: Vec<Seen>,
    #[serde(skip)]
    by_id: HashMap<Id, u32>,
    postings: HashMap<Box<str>, Postings>,
    /// Of all documents that live.
    length: u64,
    #[serde(skip)]
    copies: Option<Copies>,
    /// How many records have changed since it was written to a file.
    #[serde(skip)]
    unkept: AtomicUsize,
}

/// What is known of a record without the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Doc {
    #[serde(with = "id_bytes")]
    pub(crate) id: Id,
    pub(crate) bytes: u64,
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")]
    pub(crate) created: Timestamp,
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::optional")]
    pub(crate) expires: Option<Timestamp>,
    pub(crate) status: Status,
    pub(crate) usage_count: u64,
    pub(crate) success_rate: f32,
    pub(crate) kind: Kind,
    pub(crate) has_vector: bool,
    words_hash: [u8; 8],
}

/// What a search looks at of every record.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Seen {
    facets: Facets,
    /// In words.
    length: u32,
    live: bool,
}

#[derive(Default)]
struct Copies {
    payloads: HashMap<Id, Payload>,
    bytes: usize,
}

/// A word of a query, the numbers of the records that have it with how often, and its weight.
type Term<'a> = (String, &'a Postings, f32);

/// A record taken apart, which threads do side by side.
struct Counted {
    words: HashMap<String, u32>,
    length: u32,
}

impl Index {
    /// An index of a store that may be away: it copies payloads, to answer meanwhile.
    pub(crate) fn with_copies() -> Self {
        Self {
            copies: Some(Copies::default()),
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn docs(&self) -> impl Iterator<Item = &Doc> {
        self.docs_and_seen().map(|(doc, _)| doc)
    }

    /// Those of some namespaces.
    pub(crate) fn docs_of(&self, namespaces: &[Namespace]) -> impl Iterator<Item = &Doc> {
        let owners = self.facet_words.owners(namespaces);
        let all = self.docs_and_seen();
        all.filter(move |(_, seen)| owners.contains(&seen.facets.owner()))
            .map(|(doc, _)| doc)
    }

    /// How many records have changed since it was kept in a file.
    pub(crate) fn unkept(&self) -> usize {
        self.unkept.load(Ordering::Relaxed)
    }

    fn docs_and_seen(&self) -> impl Iterator<Item = (&Doc, &Seen)> {
        let all = self.docs.iter().zip(&self.seen);
        all.filter(|(_, seen)| seen.live)
    }

    pub(crate) fn copy(&self, id: Id) -> Option<&Payload> {
        self.copies.as_ref()?.payloads.get(&id)
    }

    pub(crate) fn doc(&self, id: Id) -> Option<&Doc> {
        self.by_id.get(&id).map(|at| &self.docs[*at as usize])
    }

    /// Every record that passes, by id.
    pub(crate) fn select(&self, filter: &Filter) -> Vec<Id> {
        let Some(sieve) = self.facet_words.sieve(filter) else {
            return Vec::new();
        };
        let all = self.docs_and_seen();
        let passing = all.filter(|(_, seen)| sieve.passes(&seen.facets));
        let mut ids: Vec<Id> = passing.map(|(doc, _)| doc.id).collect();
        ids.sort_unstable();
        ids
    }

    /// The pieces of each document of a namespace, by its source.
    pub(crate) fn documents(&self, namespace: &Namespace) -> HashMap<String, Vec<Id>> {
        let mut filter = Filter::of(namespace.clone());
        (filter.kind, filter.now) = (Some(Kind::Document), Timestamp::MIN);
        let mut documents: HashMap<String, Vec<Id>> = HashMap::new();
        let Some(sieve) = self.facet_words.sieve(&filter) else {
            return documents;
        };
        let sources = self.facet_words.by_number();
        let all = self.docs_and_seen();
        for (doc, seen) in all.filter(|(_, seen)| sieve.passes(&seen.facets)) {
            let source = sources
                .get(&seen.facets.source())
                .copied()
                .unwrap_or_default();
            documents.entry(source.to_owned()).or_default().push(doc.id);
        }
        documents
    }

    /// Takes records in, or what is new about them.
    pub(crate) fn put(&mut self, records: &[Record]) {
        let count = |record: &Record| {
            let hash = words_hash(&record.payload);
            let known = self
                .by_id
                .get(&record.id)
                .map(|at| &self.docs[*at as usize]);
            let same = known.is_some_and(|doc| doc.words_hash == hash);
            (hash, (!same).then(|| count(&record.payload)))
        };
        let counted: Vec<_> = records.par_iter().map(count).collect();
        for (record, (hash, counted)) in records.iter().zip(counted) {
            self.put_one(record, hash, counted);
        }
        *self.unkept.get_mut() += records.len();
        self.shrink_if_due();
    }

    pub(crate) fn remove(&mut self, ids: &[Id]) {
        *self.unkept.get_mut() += ids.len();
        for id in ids {
            if let Some(at) = self.by_id.remove(id) {
                self.bury(at);
            }
            if let Some(copies) = &mut self.copies {
                copies.remove(*id);
            }
        }
        self.shrink_if_due();
    }

    /// The `k` records that BM25 puts first, by score and then by id.
    pub(crate) fn search(&self, query: &str, k: usize, filter: &Filter) -> Vec<Match> {
        let Some(sieve) = self.facet_words.sieve(filter) else {
            return Vec::new();
        };
        let terms = self.terms(query);
        let scores = self.scores(&terms);
        let order = |one: &(f32, u32), other: &(f32, u32)| {
            let ids = || {
                self.docs[one.1 as usize]
                    .id
                    .cmp(&self.docs[other.1 as usize].id)
            };
            other.0.total_cmp(&one.0).then_with(ids)
        };
        // Those that can't be among the best are not looked at.
        let (mut found, mut enough) = (Vec::with_capacity(2 * KEPT_AT_ONCE), 0.0);
        for ((at, score), seen) in (0..).zip(scores).zip(&self.seen) {
            if score <= 0.0 || score < enough || !seen.live || !sieve.passes(&seen.facets) {
                continue;
            }
            found.push((score, at));
            if found.len() >= k + KEPT_AT_ONCE {
                let (_, last, _) = found.select_nth_unstable_by(k, order);
                enough = last.0;
                found.truncate(k);
            }
        }
        found.sort_unstable_by(order);
        found.truncate(k);
        self.explained(&found, &terms)
    }

    /// BM25 of every record, by its number.
    fn scores(&self, terms: &[Term<'_>]) -> Vec<f32> {
        let mut scores = vec![0.0_f32; self.seen.len()];
        let weigh = self.weigh();
        for (_, postings, idf) in terms {
            for (at, count) in postings.iter() {
                let at = at as usize;
                scores[at] += idf * weigh(self.seen[at].length, count);
            }
        }
        scores
    }

    /// With the words that decided most.
    fn explained(&self, found: &[(f32, u32)], terms: &[Term<'_>]) -> Vec<Match> {
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_unstable_by_key(|which| found[*which].1);
        let mut words: Vec<Vec<(f32, &str)>> = vec![Vec::new(); found.len()];
        let weigh = self.weigh();
        for (word, postings, idf) in terms {
            let mut rest = order.iter().peekable();
            for (at, count) in postings.iter() {
                while rest.next_if(|which| found[**which].1 < at).is_some() {}
                match rest.peek() {
                    Some(which) if found[**which].1 == at => {
                        let share = idf * weigh(self.seen[at as usize].length, count);
                        words[**which].push((share, word.as_str()));
                    }
                    Some(_) => {}
                    None => break,
                }
            }
        }
        let explained = found.iter().zip(words).map(|((score, at), mut words)| {
            words.sort_by(|one, other| other.0.total_cmp(&one.0));
            Match {
                id: self.docs[*at as usize].id,
                score: *score,
                words: words.into_iter().map(|(_, word)| word.to_owned()).collect(),
            }
        });
        explained.collect()
    }

    fn put_one(&mut self, record: &Record, words_hash: [u8; 8], counted: Option<Counted>) {
        let Record {
            id,
            payload,
            vector,
        } = record;
        let old = self.by_id.get(id).copied();
        let doc = Doc {
            id: *id,
            bytes: bytes(payload) + 4 * vector.as_ref().map_or(0, Vec::len) as u64,
            created: payload.created,
            expires: payload.expires,
            status: payload.status,
            usage_count: payload.usage_count,
            success_rate: payload.success_rate,
            kind: payload.kind,
            has_vector: vector.is_some(),
            words_hash,
        };
        let mut seen = Seen {
            facets: self.facet_words.facets(&Face::of(payload)),
            length: 0,
            live: true,
        };
        match (counted, old) {
            (None, Some(at)) => {
                seen.length = self.seen[at as usize].length;
                self.seen[at as usize] = seen;
                self.docs[at as usize] = doc;
            }
            (counted, old) => {
                if let Some(at) = old {
                    self.bury(at);
                }
                let Counted { words, length } = counted.unwrap_or_else(|| count(payload));
                seen.length = length;
                self.length += u64::from(length);
                let at = u32::try_from(self.docs.len()).unwrap_or(u32::MAX);
                self.docs.push(doc);
                self.seen.push(seen);
                self.by_id.insert(*id, at);
                for (word, count) in words {
                    match self.postings.get_mut(word.as_str()) {
                        Some(postings) => postings.push(at, count),
                        None => {
                            let first = Postings::from_iter([(at, count)]);
                            self.postings.insert(word.into(), first);
                        }
                    }
                }
            }
        }
        if let Some(copies) = &mut self.copies {
            copies.put(*id, payload);
        }
    }

    fn bury(&mut self, at: u32) {
        let seen = &mut self.seen[at as usize];
        seen.live = false;
        self.length -= u64::from(seen.length);
    }

    /// The words of a query that any record has, with their weights.
    fn terms(&self, query: &str) -> Vec<Term<'_>> {
        let mut words: Vec<String> = Vec::new();
        text::words(query, |word| {
            if words.len() < QUERY_WORDS_MAX && !words.iter().any(|known| known == word) {
                words.push(word.to_owned());
            }
        });
        let term = |word: String| {
            let postings = self.postings.get(word.as_str())?;
            Some((word, postings, self.idf(postings.len())))
        };
        words.into_iter().filter_map(term).collect()
    }

    fn idf(&self, documents: usize) -> f32 {
        let (all, having) = (self.docs.len() as f32, documents as f32);
        (1.0 + (all - having + 0.5) / (having + 0.5)).ln()
    }

    /// What a word counts in a record of a length that has it so often.
    fn weigh(&self) -> impl Fn(u32, u32) -> f32 {
        let average = self.length as f32 / self.by_id.len().max(1) as f32;
        let (own, by_length) = (K1 * (1.0 - B), K1 * B / average.max(1.0));
        move |length, count| {
            let count = count as f32;
            count * (K1 + 1.0) / (count + own + by_length * length as f32)
        }
    }

    /// Forgets the dead once they are most.
    fn shrink_if_due(&mut self) {
        if self.docs.len() < 1024 || self.by_id.len() * 2 > self.docs.len() {
            return;
        }
        let mut places = vec![None; self.docs.len()];
        let mut next = 0;
        for (place, seen) in places.iter_mut().zip(&self.seen) {
            if seen.live {
                *place = Some(next);
                next += 1;
            }
        }
        let mut live = self.seen.iter().map(|seen| seen.live);
        self.docs.retain(|_| live.next() == Some(true));
        self.seen.retain(|seen| seen.live);
        self.postings.retain(|_, postings| {
            let left = postings.iter();
            let left = left.filter_map(|(at, count)| Some((places[at as usize]?, count)));
            *postings = left.collect();
            postings.len() > 0
        });
        for (at, doc) in (0..).zip(&self.docs) {
            self.by_id.insert(doc.id, at);
        }
    }
}

impl Copies {
    fn put(&mut self, id: Id, payload: &Payload) {
        self.remove(id);
        let bytes = payload.text.len();
        if self.bytes + bytes <= COPIES_BYTES_MAX {
            self.bytes += bytes;
            self.payloads.insert(id, payload.clone());
        }
    }

    fn remove(&mut self, id: Id) {
        if let Some(payload) = self.payloads.remove(&id) {
            self.bytes -= payload.text.len();
        }
    }
}

fn bytes(payload: &Payload) -> u64 {
    let parts = [
        Some(&payload.text),
        Some(&payload.title),
        payload.problem.as_ref(),
        payload.solution.as_ref(),
        Some(&payload.source),
    ];
    // The rest of a payload takes about as much in every record.
    parts
        .into_iter()
        .flatten()
        .map(|part| part.len() as u64)
        .sum::<u64>()
        + 256
}

fn count(payload: &Payload) -> Counted {
    let mut counted = Counted {
        words: HashMap::new(),
        length: 0,
    };
    let mut add = |text: &str, weight: u32| {
        text::words(text, |word| {
            counted.length += weight;
            match counted.words.get_mut(word) {
                Some(count) => *count += weight,
                None => drop(counted.words.insert(word.to_owned(), weight)),
            }
        });
    };
    add(&payload.title, TITLE_WEIGHT);
    payload.tags.iter().for_each(|tag| add(tag, 1));
    for text in [
        payload.problem.as_ref(),
        payload.solution.as_ref(),
        Some(&payload.text),
    ] {
        add(text.map_or("", String::as_str), 1);
    }
    counted
}

/// An id is text for people, and bytes in a file of ours.
mod id_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::record::Id;

    pub(super) fn serialize<S: Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
        id.to_bytes().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        Deserialize::deserialize(deserializer).map(Id::from_bytes)
    }
}

/// Changes when the words do, and not when a record is only counted as used.
fn words_hash(payload: &Payload) -> [u8; 8] {
    let tags = payload.tags.join("\n");
    let digest = digest(&[
        &payload.title,
        &payload.text,
        payload.problem.as_deref().unwrap_or_default(),
        payload.solution.as_deref().unwrap_or_default(),
        &tags,
    ]);
    let [a, b, c, d, e, f, g, h, ..] = digest;
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests;
