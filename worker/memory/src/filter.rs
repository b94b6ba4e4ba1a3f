//! Which records may be found, and the few words about each that decide it.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Result, invalid};
use crate::record::{Kind, NAME_BYTES_MAX, Namespace, Payload, Status, TAGS_MAX};

/// The most namespaces that one search looks into.
pub const NAMESPACES_MAX: usize = 16;

/// Which records a search may return. Expired and retired ones are never among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Whose records: one of these.
    pub namespaces: Vec<Namespace>,
    /// Only records with all of these.
    pub tags: Vec<String>,
    /// Only records of this kind.
    pub kind: Option<Kind>,
    /// Only records of just this source.
    pub source: Option<String>,
    /// What counts as expired.
    pub now: Timestamp,
}

impl Filter {
    /// Everything of one namespace that has not expired by now.
    #[must_use]
    pub fn of(namespace: Namespace) -> Self {
        Self {
            namespaces: vec![namespace],
            tags: Vec::new(),
            kind: None,
            source: None,
            now: Timestamp::now(),
        }
    }

    /// Refuses a filter that is not one.
    pub fn check(&self) -> Result<()> {
        if !(1..=NAMESPACES_MAX).contains(&self.namespaces.len()) {
            let why = format!("must name 1 to {NAMESPACES_MAX} namespaces");
            return Err(invalid("namespaces", why));
        }
        if self.tags.len() > TAGS_MAX || self.tags.iter().any(|tag| tag.len() > NAME_BYTES_MAX) {
            let why = format!("must be up to {TAGS_MAX} words of up to {NAME_BYTES_MAX} bytes");
            return Err(invalid("tags", why));
        }
        Ok(())
    }

    /// Whether a payload passes; the plain reference for what stores and the index do faster.
    #[must_use]
    pub fn passes(&self, payload: &Payload) -> bool {
        self.namespaces.contains(&payload.namespace)
            && self.tags.iter().all(|tag| payload.tags.contains(tag))
            && self.kind.is_none_or(|kind| kind == payload.kind)
            && self
                .source
                .as_ref()
                .is_none_or(|source| *source == payload.source)
            && payload.status == Status::Active
            && !payload.is_expired(self.now)
    }
}

/// What a record is filtered by, as it stands in its payload; the rest is not read for it.
#[derive(Debug, Deserialize)]
pub(crate) struct Face<'a> {
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    source: Cow<'a, str>,
    #[serde(default)]
    tags: Vec<String>,
    kind: Kind,
    #[serde(default)]
    status: Status,
    #[serde(default)]
    expires: Option<Timestamp>,
}

/// The same in numbers, small enough to keep in memory for each record.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Facets {
    namespace: u32,
    source: u32,
    /// The number of the set of its tags.
    tags: u32,
    kind: Kind,
    status: Status,
    /// In microseconds since 1970; the greatest if it never is over.
    expires_us: i64,
}

/// Numbers for words, and for sets of words, that come again and again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Words {
    numbers: HashMap<String, u32>,
    sets: HashMap<Box<[u32]>, u32>,
}

/// A filter in numbers.
pub(crate) struct Sieve {
    namespaces: Vec<u32>,
    /// Which sets of tags pass, if not all do.
    tag_sets: Option<Vec<bool>>,
    source: Option<u32>,
    kind: Option<Kind>,
    now_us: i64,
}

impl Face<'_> {
    pub(crate) fn of(payload: &Payload) -> Face<'_> {
        Face {
            namespace: payload.namespace.as_str().into(),
            source: payload.source.as_str().into(),
            tags: payload.tags.clone(),
            kind: payload.kind,
            status: payload.status,
            expires: payload.expires,
        }
    }
}

impl Words {
    pub(crate) fn facets(&mut self, face: &Face<'_>) -> Facets {
        let tags: Box<[u32]> = face.tags.iter().map(|tag| self.number(tag)).collect();
        let next = number_of(self.sets.len());
        Facets {
            namespace: self.number(&face.namespace),
            source: self.number(&face.source),
            tags: *self.sets.entry(tags).or_insert(next),
            kind: face.kind,
            status: face.status,
            expires_us: face.expires.map_or(i64::MAX, Timestamp::as_microsecond),
        }
    }

    /// `None` if no record can pass, since a word of the filter was never seen.
    pub(crate) fn sieve(&self, filter: &Filter) -> Option<Sieve> {
        let number = |word: &str| self.numbers.get(word).copied();
        let namespaces = filter
            .namespaces
            .iter()
            .filter_map(|name| number(name.as_str()));
        let tags = filter.tags.iter().map(|tag| number(tag));
        let tags: Vec<u32> = tags.collect::<Option<_>>()?;
        let tag_sets = (!tags.is_empty()).then(|| {
            let mut passing = vec![false; self.sets.len()];
            for (set, at) in &self.sets {
                passing[*at as usize] = tags.iter().all(|tag| set.contains(tag));
            }
            passing
        });
        Some(Sieve {
            namespaces: namespaces.collect(),
            tag_sets,
            source: match &filter.source {
                Some(source) => Some(number(source)?),
                None => None,
            },
            kind: filter.kind,
            now_us: filter.now.as_microsecond(),
        })
    }

    /// The numbers of namespaces, as far as they have anything.
    pub(crate) fn owners(&self, namespaces: &[Namespace]) -> Vec<u32> {
        let number = |name: &Namespace| self.numbers.get(name.as_str()).copied();
        namespaces.iter().filter_map(number).collect()
    }

    pub(crate) fn by_number(&self) -> HashMap<u32, &str> {
        self.numbers
            .iter()
            .map(|(word, number)| (*number, word.as_str()))
            .collect()
    }

    fn number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let number = number_of(self.numbers.len());
        self.numbers.insert(word.to_owned(), number);
        number
    }
}

fn number_of(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Facets {
    pub(crate) fn source(&self) -> u32 {
        self.source
    }

    pub(crate) fn owner(&self) -> u32 {
        self.namespace
    }
}

impl Sieve {
    pub(crate) fn passes(&self, facets: &Facets) -> bool {
        let has_tags = |passing: &Vec<bool>| passing.get(facets.tags as usize) == Some(&true);
        self.namespaces.contains(&facets.namespace)
            && self.tag_sets.as_ref().is_none_or(has_tags)
            && self.source.is_none_or(|source| source == facets.source)
            && self.kind.is_none_or(|kind| kind == facets.kind)
            && facets.status == Status::Active
            && facets.expires_us > self.now_us
    }
}
