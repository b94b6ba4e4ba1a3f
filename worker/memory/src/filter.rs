//! Which records may be found, and the few words about each that decide it.

use std::collections::HashMap;

use jiff::Timestamp;

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

/// What a record is filtered by, small enough to keep in memory for each.
#[derive(Debug, Clone)]
pub(crate) struct Facets {
    namespace: u32,
    source: u32,
    tags: Box<[u32]>,
    kind: Kind,
    status: Status,
    expires: Option<Timestamp>,
}

/// Numbers for words that come again and again.
#[derive(Debug, Default)]
pub(crate) struct Words(HashMap<String, u32>);

/// A filter in numbers.
pub(crate) struct Sieve {
    namespaces: Vec<u32>,
    tags: Vec<u32>,
    source: Option<u32>,
    kind: Option<Kind>,
    now: Timestamp,
}

impl Words {
    pub(crate) fn facets(&mut self, payload: &Payload) -> Facets {
        Facets {
            namespace: self.number(payload.namespace.as_str()),
            source: self.number(&payload.source),
            tags: payload.tags.iter().map(|tag| self.number(tag)).collect(),
            kind: payload.kind,
            status: payload.status,
            expires: payload.expires,
        }
    }

    /// `None` if no record can pass, since a word of the filter was never seen.
    pub(crate) fn sieve(&self, filter: &Filter) -> Option<Sieve> {
        let number = |word: &str| self.0.get(word).copied();
        let namespaces = filter
            .namespaces
            .iter()
            .filter_map(|name| number(name.as_str()));
        Some(Sieve {
            namespaces: namespaces.collect(),
            tags: filter
                .tags
                .iter()
                .map(|tag| number(tag))
                .collect::<Option<_>>()?,
            source: match &filter.source {
                Some(source) => Some(number(source)?),
                None => None,
            },
            kind: filter.kind,
            now: filter.now,
        })
    }

    pub(crate) fn by_number(&self) -> HashMap<u32, &str> {
        self.0
            .iter()
            .map(|(word, number)| (*number, word.as_str()))
            .collect()
    }

    fn number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.0.get(word) {
            return *number;
        }
        let number = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.insert(word.to_owned(), number);
        number
    }
}

impl Facets {
    pub(crate) fn source(&self) -> u32 {
        self.source
    }
}

impl Sieve {
    pub(crate) fn passes(&self, facets: &Facets) -> bool {
        self.namespaces.contains(&facets.namespace)
            && self.tags.iter().all(|tag| facets.tags.contains(tag))
            && self.source.is_none_or(|source| source == facets.source)
            && self.kind.is_none_or(|kind| kind == facets.kind)
            && facets.status == Status::Active
            && facets.expires.is_none_or(|expires| expires > self.now)
    }
}
