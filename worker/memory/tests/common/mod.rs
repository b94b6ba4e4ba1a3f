//! What the tests share: an embedding model that hashes words, and records.
#![allow(dead_code, reason = "no test file uses all of it")]

use std::sync::Arc;

use fazai_memory::{Commit, Committed, EmbedError, EmbedKind, Embedder, Entry, Filter, Id, Kind};
use fazai_memory::{Memory, Metadata, Namespace, Options, Payload, Record, Status};
use jiff::Timestamp;

pub(crate) const DIMENSIONS: usize = 64;

/// Texts with the same words are near.
pub(crate) struct Hashing(pub(crate) usize);

impl Embedder for Hashing {
    fn name(&self) -> &str {
        "hashing"
    }

    fn dimensions(&self) -> usize {
        self.0
    }

    fn embed(&self, _: EmbedKind, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        Ok(texts.iter().map(|text| self.vector(text)).collect())
    }
}

impl Hashing {
    fn vector(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0.01; self.0];
        for word in text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
        {
            let word = word.to_lowercase();
            let hash = word.bytes().fold(5381_usize, |hash, byte| {
                hash.wrapping_mul(33) ^ usize::from(byte)
            });
            vector[hash % self.0] += 1.0;
        }
        vector
    }
}

/// A vector that looks random and is the same every time.
pub(crate) fn vector(seed: usize, dimensions: usize) -> Vec<f32> {
    let mut state = seed as u64 * 0x9e37_79b9_7f4a_7c15 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..dimensions).map(|_| next()).collect()
}

pub(crate) fn namespace(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

pub(crate) fn filter(name: &str) -> Filter {
    Filter::of(namespace(name))
}

pub(crate) fn embedder() -> Option<Arc<dyn Embedder>> {
    Some(Arc::new(Hashing(DIMENSIONS)))
}

pub(crate) fn open(directory: &std::path::Path) -> Memory {
    Memory::open(Options::new(directory), embedder()).unwrap()
}

/// The id of what is new.
pub(crate) fn added(commit: Commit) -> Id {
    match commit {
        Commit {
            committed: Committed::Added(id),
            ..
        } => id,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn note(name: &str, text: &str) -> Entry {
    Entry::new(namespace(name), Kind::Note, text)
}

pub(crate) fn record(name: &str, number: usize, vector: Option<Vec<f32>>) -> Record {
    let namespace = namespace(name);
    let content_hash = format!("hash-{number}");
    let now = Timestamp::from_second(1_700_000_000 + number as i64).unwrap();
    Record {
        id: Id::of(&namespace, &content_hash),
        vector,
        payload: Payload {
            text: format!("text number {number}"),
            title: format!("title {number}"),
            problem: None,
            solution: Some("turn it off and on".into()),
            tags: vec![format!("tag{}", number % 3), "all".into()],
            source: format!("source {}", number % 2),
            distro: Some("debian".into()),
            kind: if number.is_multiple_of(2) {
                Kind::Note
            } else {
                Kind::Problem
            },
            status: Status::Active,
            usage_count: number as u64,
            success_rate: 0.1,
            namespace,
            created: now,
            expires: None,
            content_hash,
            metadata: Metadata {
                action: "test".into(),
                timestamp: now,
            },
        },
    }
}
