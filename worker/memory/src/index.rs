//! The words of all records of a collection, in memory: BM25, and what records are judged by
//! without asking the store.

use std::collections::HashMap;

use jiff::Timestamp;
use rayon::prelude::*;

use crate::filter::{Facets, Filter, Words};
use crate::record::{Id, Kind, Namespace, Payload, Record, Status, digest};
use crate::text;

/// The usual parameters: how soon more of a word adds nothing, and how much long texts lose.
const K1: f32 = 1.2;
const B: f32 = 0.75;
/// Title words count this often: they say what a text is about.
const TITLE_WEIGHT: u32 = 2;
/// The most different words of a query.
const QUERY_WORDS_MAX: usize = 128;
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
#[derive(Default)]
pub(crate) struct Index {
    facet_words: Words,
    docs: Vec<Doc>,
    by_id: HashMap<Id, u32>,
    postings: HashMap<Box<str>, Vec<(u32, u32)>>,
    /// Of all documents that live.
    length: u64,
    copies: Option<Copies>,
}

/// What is known of a record without the store.
#[derive(Debug, Clone)]
pub(crate) struct Doc {
    pub(crate) id: Id,
    pub(crate) bytes: u64,
    pub(crate) created: Timestamp,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) status: Status,
    pub(crate) usage_count: u64,
    pub(crate) success_rate: f32,
    pub(crate) kind: Kind,
    pub(crate) has_vector: bool,
    facets: Facets,
    length: u32,
    words_hash: [u8; 8],
    live: bool,
}

#[derive(Default)]
struct Copies {
    payloads: HashMap<Id, Payload>,
    bytes: usize,
}

/// A word of a query, the numbers of the records that have it with how often, and its weight.
type Term<'a> = (String, &'a [(u32, u32)], f32);

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
        self.docs.iter().filter(|doc| doc.live)
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
        let passing = self.docs().filter(|doc| sieve.passes(&doc.facets));
        let mut ids: Vec<Id> = passing.map(|doc| doc.id).collect();
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
        for doc in self.docs().filter(|doc| sieve.passes(&doc.facets)) {
            let source = sources
                .get(&doc.facets.source())
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
        self.shrink_if_due();
    }

    pub(crate) fn remove(&mut self, ids: &[Id]) {
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
        let mut scores = vec![0.0_f32; self.docs.len()];
        for (_, postings, idf) in &terms {
            for (at, count) in *postings {
                scores[*at as usize] += idf * self.weight(*at, *count);
            }
        }
        let scored = scores
            .into_iter()
            .zip(&self.docs)
            .filter(|(score, doc)| *score > 0.0 && doc.live && sieve.passes(&doc.facets));
        let mut found: Vec<(f32, Id)> = scored.map(|(score, doc)| (score, doc.id)).collect();
        let order = |one: &(f32, Id), other: &(f32, Id)| {
            other.0.total_cmp(&one.0).then(one.1.cmp(&other.1))
        };
        if found.len() > k {
            found.select_nth_unstable_by(k, order);
            found.truncate(k);
        }
        found.sort_unstable_by(order);
        let explained = found.into_iter().map(|(score, id)| Match {
            id,
            score,
            words: self.explain(id, &terms),
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
        let mut doc = Doc {
            id: *id,
            bytes: bytes(payload) + 4 * vector.as_ref().map_or(0, Vec::len) as u64,
            created: payload.created,
            expires: payload.expires,
            status: payload.status,
            usage_count: payload.usage_count,
            success_rate: payload.success_rate,
            kind: payload.kind,
            has_vector: vector.is_some(),
            facets: self.facet_words.facets(payload),
            length: 0,
            words_hash,
            live: true,
        };
        match (counted, old) {
            (None, Some(at)) => {
                doc.length = self.docs[at as usize].length;
                self.docs[at as usize] = doc;
            }
            (counted, old) => {
                if let Some(at) = old {
                    self.bury(at);
                }
                let Counted { words, length } = counted.unwrap_or_else(|| count(payload));
                doc.length = length;
                self.length += u64::from(length);
                let at = u32::try_from(self.docs.len()).unwrap_or(u32::MAX);
                self.docs.push(doc);
                self.by_id.insert(*id, at);
                for (word, count) in words {
                    match self.postings.get_mut(word.as_str()) {
                        Some(postings) => postings.push((at, count)),
                        None => drop(self.postings.insert(word.into(), vec![(at, count)])),
                    }
                }
            }
        }
        if let Some(copies) = &mut self.copies {
            copies.put(*id, payload);
        }
    }

    fn bury(&mut self, at: u32) {
        let doc = &mut self.docs[at as usize];
        doc.live = false;
        self.length -= u64::from(doc.length);
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
            Some((word, postings.as_slice(), self.idf(postings.len())))
        };
        words.into_iter().filter_map(term).collect()
    }

    fn idf(&self, documents: usize) -> f32 {
        let (all, having) = (self.docs.len() as f32, documents as f32);
        (1.0 + (all - having + 0.5) / (having + 0.5)).ln()
    }

    fn weight(&self, at: u32, count: u32) -> f32 {
        let average = self.length as f32 / self.by_id.len().max(1) as f32;
        let length = self.docs[at as usize].length as f32 / average.max(1.0);
        let count = count as f32;
        count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length))
    }

    fn explain(&self, id: Id, terms: &[Term<'_>]) -> Vec<String> {
        let Some(at) = self.by_id.get(&id) else {
            return Vec::new();
        };
        let share = |(word, postings, idf): &Term<'_>| {
            // Records get their numbers in order, and so do postings.
            let posting = postings.binary_search_by_key(at, |(at, _)| *at).ok()?;
            Some((idf * self.weight(*at, postings[posting].1), word.clone()))
        };
        let mut words: Vec<(f32, String)> = terms.iter().filter_map(share).collect();
        words.sort_by(|one, other| other.0.total_cmp(&one.0));
        words.into_iter().map(|(_, word)| word).collect()
    }

    /// Forgets the dead once they are most.
    fn shrink_if_due(&mut self) {
        if self.docs.len() < 1024 || self.by_id.len() * 2 > self.docs.len() {
            return;
        }
        let mut places = vec![None; self.docs.len()];
        let mut next = 0;
        for (place, doc) in places.iter_mut().zip(&self.docs) {
            if doc.live {
                *place = Some(next);
                next += 1;
            }
        }
        self.docs.retain(|doc| doc.live);
        self.postings.retain(|_, postings| {
            postings.retain_mut(|(at, _)| places[*at as usize].map(|place| *at = place).is_some());
            !postings.is_empty()
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
