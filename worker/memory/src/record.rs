//! One thing that is remembered: its payload, who may see it, and what a valid one is.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{MemoryError, Result, invalid};

/// The longest text of one record, in bytes.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// The longest title, problem, source or other short field, in bytes.
pub const FIELD_BYTES_MAX: usize = 8 << 10;
/// The most tags.
pub const TAGS_MAX: usize = 32;
/// The longest tag or namespace, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// A record's id: a UUID, so that a Qdrant server takes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(u128);

/// Whose a record is: `tenant/user`, or any name of up to 128 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(String);

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Something that somebody wrote down.
    Note,
    /// A problem, and what was tried.
    Problem,
    /// A piece of a document that was ingested.
    Document,
    /// What happened.
    Episode,
    /// How answers sound; one record for each personality.
    Personality,
    /// What somebody likes.
    Preference,
}

/// Whether a record is still good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is found.
    #[default]
    Active,
    /// It is kept and not found any more.
    Retired,
}

/// Where a record came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The operation that wrote it, such as `commitKB`.
    pub action: String,
    /// When.
    pub timestamp: Timestamp,
}

/// What is remembered, as it stands in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// The words themselves. They are data, whatever they say.
    pub text: String,
    /// A line that says what it is about.
    #[serde(default)]
    pub title: String,
    /// What went wrong, where this is about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What helped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
    /// Words to filter by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The document, person or command that it came from.
    #[serde(default)]
    pub source: String,
    /// The distribution that it holds for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distro: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// Whether it is still good.
    #[serde(default)]
    pub status: Status,
    /// How often it was used.
    #[serde(default)]
    pub usage_count: u64,
    /// How much of that worked, 0 to 1.
    #[serde(default)]
    pub success_rate: f32,
    /// Whose it is.
    pub namespace: Namespace,
    /// When it was learned.
    pub created: Timestamp,
    /// From when on it is not found any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// SHA-256 of what it says, in hex.
    pub content_hash: String,
    /// Where it came from.
    pub metadata: Metadata,
}

/// A payload with its id, and its vector if there was an embedding model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: Id,
    /// What is remembered.
    pub payload: Payload,
    /// Its meaning, of unit length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vec<f32>>,
}

impl Id {
    /// The id of what has this hash in this namespace: the same on every machine.
    #[must_use]
    pub fn of(namespace: &Namespace, content_hash: &str) -> Self {
        let digest = digest(&[namespace.as_str(), content_hash]);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        // The version and variant of a UUID made in one's own way (RFC 9562, version 8).
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(u128::from_be_bytes(bytes))
    }

    /// Its 16 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// An id of 16 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = hex::encode(self.to_bytes());
        let (a, b, c, d, e) = (
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        );
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = MemoryError;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || invalid("id", "is not a UUID, such as a search gives");
        let dashes = [8, 13, 18, 23];
        let placed = text.len() == 36 && dashes.iter().all(|at| text.as_bytes()[*at] == b'-');
        let mut bytes = [0; 16];
        hex::decode_to_slice(text.replace('-', ""), &mut bytes).map_err(|_| wrong())?;
        placed.then_some(Self::from_bytes(bytes)).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Id {
    type Error = MemoryError;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.to_string()
    }
}

impl Namespace {
    /// A namespace of this name.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        check_name("namespace", &name)?;
        Ok(Self(name))
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Namespace {
    type Error = MemoryError;

    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl From<Namespace> for String {
    fn from(namespace: Namespace) -> Self {
        namespace.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Kind {
    /// Its name in a payload.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Problem => "problem",
            Self::Document => "document",
            Self::Episode => "episode",
            Self::Personality => "personality",
            Self::Preference => "preference",
        }
    }
}

impl Payload {
    /// Checks every field against its limit.
    pub fn check(&self) -> Result<()> {
        if self.text.trim().is_empty() {
            return Err(invalid("text", "is empty; say what is to be remembered"));
        }
        check_bytes("text", &self.text, TEXT_BYTES_MAX)?;
        check_bytes("title", &self.title, FIELD_BYTES_MAX)?;
        check_bytes("source", &self.source, FIELD_BYTES_MAX)?;
        check_bytes("action", &self.metadata.action, NAME_BYTES_MAX)?;
        check_bytes("content_hash", &self.content_hash, NAME_BYTES_MAX)?;
        for (field, value) in [("problem", &self.problem), ("solution", &self.solution)] {
            check_bytes(field, value.as_deref().unwrap_or_default(), TEXT_BYTES_MAX)?;
        }
        if let Some(distro) = &self.distro {
            check_name("distro", distro)?;
        }
        if self.tags.len() > TAGS_MAX {
            let tags = self.tags.len();
            return Err(invalid(
                "tags",
                format!("has {tags} words; the limit is {TAGS_MAX}"),
            ));
        }
        self.tags
            .iter()
            .try_for_each(|tag| check_name("tags", tag))?;
        if !(0.0..=1.0).contains(&self.success_rate) {
            let rate = self.success_rate;
            return Err(invalid(
                "success_rate",
                format!("is {rate}; it goes from 0 to 1"),
            ));
        }
        Ok(())
    }

    /// Whether it is over at this time.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Counts one more use, and how it went.
    pub fn mark(&mut self, success: bool) {
        let uses = self.usage_count as f32;
        let worked = self.success_rate * uses + f32::from(u8::from(success));
        self.usage_count = self.usage_count.saturating_add(1);
        self.success_rate = (worked / (uses + 1.0)).clamp(0.0, 1.0);
    }

    /// What an embedding model gets to read.
    #[must_use]
    pub fn embedded_text(&self) -> String {
        let parts = [
            Some(self.title.as_str()),
            self.problem.as_deref(),
            self.solution.as_deref(),
            Some(self.text.as_str()),
        ];
        let parts: Vec<&str> = parts
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .collect();
        parts.join("\n")
    }
}

/// SHA-256 of several texts, none of which can pass for a part of another.
pub(crate) fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn check_bytes(field: &'static str, value: &str, max: usize) -> Result<()> {
    if value.len() > max {
        let bytes = value.len();
        return Err(invalid(
            field,
            format!("has {bytes} bytes; the limit is {max}, so shorten it"),
        ));
    }
    Ok(())
}

fn check_name(field: &'static str, name: &str) -> Result<()> {
    check_bytes(field, name, NAME_BYTES_MAX)?;
    if name.trim() != name || name.is_empty() || name.contains(char::is_control) {
        return Err(invalid(
            field,
            "must be a name without control characters or outer spaces",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_and_come_back() {
        let namespace = Namespace::new("tenant/user").unwrap();
        let id = Id::of(&namespace, "abc");
        let text = id.to_string();
        assert_eq!(text.parse::<Id>().unwrap(), id);
        assert_eq!(text.as_bytes()[14], b'8', "{text}");
        for bad in [
            "",
            "1",
            "zz",
            &text[1..],
            &text.replace('-', ""),
            &text.replace('-', "+"),
        ] {
            assert!(bad.parse::<Id>().is_err(), "{bad}");
        }
        assert_ne!(Id::of(&Namespace::new("tenant/userab").unwrap(), "c"), id);
    }

    #[test]
    fn names_have_limits() {
        for bad in ["", " a", "a\n", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(Namespace::new(bad).is_err(), "{bad:?}");
        }
        assert!(Namespace::new("größe/ユーザー").is_ok());
    }
}
