//! The secrets of one request, and the mark that stands for each.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use regex::Regex;
use serde_json::{Map, Value};

use super::find::Finder;
use super::restore::Restorer;
use super::{Counts, Kind};

/// The secrets of one request and their marks.
#[derive(Clone, Default)]
pub struct Marks {
    /// The secret for each mark.
    secrets: Arc<BTreeMap<String, String>>,
    /// The mark for each secret.
    known: HashMap<String, String>,
    /// Marks that stand in the request already.
    taken: HashSet<String>,
    counts: Counts,
    /// The last number of each kind.
    numbers: BTreeMap<Kind, usize>,
    /// How long the secrets are that begin with these bytes; the longest first.
    lengths: HashMap<[u8; PREFIX_BYTES], Vec<usize>>,
}

impl std::fmt::Debug for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Marks").field(&self.counts).finish()
    }
}

/// A shorter secret is not looked for again: it would be found everywhere.
const PREFIX_BYTES: usize = 4;
/// A shorter one is only looked for as a word of its own.
const ANYWHERE_BYTES: usize = 8;

/// Words of a schema that mean something to the provider, whatever else they are.
const SCHEMA_WORDS: [&str; 26] = [
    "$defs",
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "array",
    "boolean",
    "const",
    "default",
    "description",
    "enum",
    "format",
    "integer",
    "items",
    "maximum",
    "minimum",
    "null",
    "number",
    "object",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "string",
    "title",
    "type",
];

static MARK: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "it is a constant, and tested")]
    Regex::new(r"\[(?:KEY|CARD|IBAN|EMAIL|IP|HOST|USER|SECRET)_\d+\]").expect("a pattern")
});

impl Marks {
    /// How many secrets were taken out, by kind.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Puts the secrets back into a stream of text.
    #[must_use]
    pub fn restorer(&self) -> Restorer {
        Restorer::new(Arc::clone(&self.secrets), false)
    }

    /// The same for a text that is JSON.
    #[must_use]
    pub fn json_restorer(&self) -> Restorer {
        Restorer::new(Arc::clone(&self.secrets), true)
    }

    /// A mark that stands in the text already would be restored to something that it is not.
    pub(super) fn avoid(&mut self, text: &str) {
        let marks = MARK.find_iter(text).map(|found| found.as_str().to_owned());
        self.taken.extend(marks);
    }

    /// The text with marks for the secrets that are found in it.
    pub(super) fn found(&mut self, finder: &Finder, text: &str) -> String {
        let mut clean = String::with_capacity(text.len());
        let mut from = 0;
        for (range, kind) in finder.find(text) {
            clean.push_str(&text[from..range.start]);
            clean.push_str(&self.mark(kind, &text[range.clone()]));
            from = range.end;
        }
        clean.push_str(&text[from..]);
        clean
    }

    /// The text with marks also where a known secret stands that is none by its looks.
    pub(super) fn again(&self, text: &str) -> String {
        if self.lengths.is_empty() {
            return text.to_owned();
        }
        let mut clean = String::with_capacity(text.len());
        let (mut from, mut at) = (0, 0);
        while at < text.len() {
            if let Some(mark) = self.mark_at(&text[at..]) {
                at += mark;
            } else if let Some((secret, mark)) = self.known_at(text, at) {
                clean.push_str(&text[from..at]);
                clean.push_str(mark);
                at += secret;
                from = at;
            } else {
                at = text.ceil_char_boundary(at + 1);
            }
        }
        clean.push_str(&text[from..]);
        clean
    }

    fn mark(&mut self, kind: Kind, secret: &str) -> String {
        if let Some(mark) = self.known.get(secret) {
            return mark.clone();
        }
        let number = self.numbers.entry(kind).or_default();
        let mark = loop {
            *number += 1;
            let mark = format!("[{}_{number}]", kind.word());
            if !self.taken.contains(&mark) {
                break mark;
            }
        };
        *self.counts.entry(kind).or_default() += 1;
        Arc::make_mut(&mut self.secrets).insert(mark.clone(), secret.to_owned());
        self.known.insert(secret.to_owned(), mark.clone());
        // The other kinds are found wherever they stand.
        if matches!(kind, Kind::Key | Kind::Custom)
            && let Some(prefix) = secret.as_bytes().first_chunk()
        {
            let lengths = self.lengths.entry(*prefix).or_default();
            if let Err(place) = lengths.binary_search_by(|length| secret.len().cmp(length)) {
                lengths.insert(place, secret.len());
            }
        }
        mark
    }

    /// How long the mark is that a text begins with.
    fn mark_at(&self, text: &str) -> Option<usize> {
        let end = text.starts_with('[').then(|| text.find(']')).flatten()?;
        self.secrets.contains_key(&text[..=end]).then_some(end + 1)
    }

    /// The length and the mark of the known secret that stands here.
    fn known_at(&self, text: &str, at: usize) -> Option<(usize, &str)> {
        let lengths = self.lengths.get(text.as_bytes()[at..].first_chunk()?)?;
        lengths.iter().find_map(|length| {
            let secret = text.get(at..at + length)?;
            let mark = self.known.get(secret)?;
            let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            let is_part = inside(text[..at].chars().next_back())
                || inside(text[at + length..].chars().next());
            (*length >= ANYWHERE_BYTES || !is_part).then_some((*length, mark.as_str()))
        })
    }
}

/// Changes all strings of a schema, and its names: those of properties are the user's words, too.
pub(super) fn each_string(value: &mut Value, change: &mut impl FnMut(&str) -> String) {
    let mut own = |text: &mut String| {
        if !SCHEMA_WORDS.contains(&text.as_str()) {
            *text = change(text);
        }
    };
    match value {
        Value::String(text) => own(text),
        Value::Array(values) => values.iter_mut().for_each(|v| each_string(v, change)),
        Value::Object(object) => {
            let mut changed = Map::with_capacity(object.len());
            for (mut name, mut inner) in std::mem::take(object) {
                own(&mut name);
                changed.insert(name, inner.take());
            }
            changed
                .values_mut()
                .for_each(|inner| each_string(inner, change));
            *object = changed;
        }
        _ => {}
    }
}
