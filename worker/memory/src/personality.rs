//! How answers sound: named personalities, from the operator's files and from the store.
//!
//! A file is the operator's and is only read. What somebody puts into the store is theirs alone,
//! and goes before a file of the same name.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{MemoryError, Result, invalid, io};
use crate::filter::Filter;
use crate::memory::Memory;
use crate::record::{Id, Kind, Metadata, Namespace, Payload, Record, Status};
use crate::store::Collection;

/// The longest system text, in bytes.
pub const SYSTEM_BYTES_MAX: usize = 16 << 10;
/// The longest style, language or rule, in bytes.
pub const LINE_BYTES_MAX: usize = 1 << 10;
/// The most rules.
pub const RULES_MAX: usize = 32;
/// The longest name.
pub const NAME_CHARS_MAX: usize = 64;
/// The most files that are looked at.
const FILES_MAX: usize = 1000;

/// A personality.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Personality {
    /// Its name: letters, digits, `-` and `_`. In a file, the file's name.
    #[serde(default)]
    pub name: String,
    /// Who it is: what stands first in the system prompt.
    pub system: String,
    /// How it writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<String>,
    /// The language that it answers in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// What it holds to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

impl Personality {
    /// Reads one from TOML, and checks it.
    pub fn from_toml(name: &str, text: &str) -> Result<Self> {
        let parsed: Self = toml::from_str(text).map_err(|error| {
            let why = format!(
                "of the personality `{name}` can't be read: {}",
                error.message()
            );
            invalid("toml", why)
        })?;
        let named = Self {
            name: name.to_owned(),
            ..parsed
        };
        named.check()?;
        Ok(named)
    }

    /// It as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| invalid("personality", error.to_string()))
    }

    /// Checks names and sizes.
    pub fn check(&self) -> Result<()> {
        check_name(&self.name)?;
        if self.system.trim().is_empty() {
            return Err(invalid("system", "is empty; say who the personality is"));
        }
        check_bytes("system", &self.system, SYSTEM_BYTES_MAX)?;
        check_bytes(
            "style",
            self.style.as_deref().unwrap_or_default(),
            LINE_BYTES_MAX,
        )?;
        check_bytes(
            "language",
            self.language.as_deref().unwrap_or_default(),
            LINE_BYTES_MAX,
        )?;
        if self.rules.len() > RULES_MAX {
            let rules = self.rules.len();
            return Err(invalid(
                "rules",
                format!("are {rules}; the limit is {RULES_MAX}"),
            ));
        }
        self.rules
            .iter()
            .try_for_each(|rule| check_bytes("rules", rule, LINE_BYTES_MAX))
    }

    /// The text that stands first in a system prompt. The same personality always gives the same
    /// text, so that a cache of prompts knows it again.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.system.trim().to_owned();
        let line = |part: &Option<String>| part.as_deref().map(one_line).filter(|s| !s.is_empty());
        // Writing to a string can't fail.
        if let Some(style) = line(&self.style) {
            let _ = write!(text, "\n\nStyle: {style}");
        }
        if let Some(language) = line(&self.language) {
            let _ = write!(text, "\n\nAnswer in {language}.");
        }
        if !self.rules.is_empty() {
            text.push_str("\n\nRules:");
        }
        for rule in &self.rules {
            let _ = write!(text, "\n- {}", one_line(rule));
        }
        text
    }

    fn id(namespace: &Namespace, name: &str) -> Id {
        Id::of(namespace, &format!("personality:{name}"))
    }

    fn record(&self, namespace: Namespace) -> Result<Record> {
        let (id, now) = (Self::id(&namespace, &self.name), Timestamp::now());
        let payload = Payload {
            text: self.to_toml()?,
            title: self.name.clone(),
            problem: None,
            solution: None,
            tags: Vec::new(),
            source: String::new(),
            distro: None,
            kind: Kind::Personality,
            status: Status::Active,
            usage_count: 0,
            success_rate: 0.0,
            namespace,
            created: now,
            expires: None,
            content_hash: format!("personality:{}", self.name),
            metadata: Metadata {
                action: "personality".into(),
                timestamp: now,
            },
        };
        Ok(Record {
            id,
            payload,
            vector: None,
        })
    }
}

impl Memory {
    /// All personalities that a namespace sees, by name.
    pub fn personalities(&self, namespace: &Namespace) -> Result<Vec<Personality>> {
        let mut all: BTreeMap<String, Personality> = BTreeMap::new();
        for name in self.personality_files()? {
            all.insert(name.clone(), self.from_file(&name)?);
        }
        self.make_ready()?;
        let mut filter = Filter::of(namespace.clone());
        filter.kind = Some(Kind::Personality);
        let ids = self.index(Collection::Memory).select(&filter);
        for payload in self.payloads(Collection::Memory, &ids)?.into_values() {
            let own = Personality::from_toml(&payload.title, &payload.text)?;
            all.insert(own.name.clone(), own);
        }
        Ok(all.into_values().collect())
    }

    /// One of them. A file is found also while a server is away.
    pub fn personality(&self, namespace: &Namespace, name: &str) -> Result<Personality> {
        check_name(name)?;
        let own = self.own_personality(namespace, name);
        match own {
            Ok(Some(own)) => Ok(own),
            Ok(None) | Err(MemoryError::Unavailable { .. }) if self.has_file(name) => {
                self.from_file(name)
            }
            Ok(None) => Err(MemoryError::NoPersonality(name.into())),
            Err(error) => Err(error),
        }
    }

    /// Adds a personality to the store, or changes it.
    pub fn put_personality(&self, namespace: Namespace, personality: &Personality) -> Result<()> {
        personality.check()?;
        let record = personality.record(namespace)?;
        self.make_ready()?;
        let _writes = self.write();
        self.insert(Collection::Memory, &[record])
    }

    /// Removes a personality from the store.
    pub fn remove_personality(&self, namespace: &Namespace, name: &str) -> Result<()> {
        check_name(name)?;
        self.make_ready()?;
        let _writes = self.write();
        let id = Personality::id(namespace, name);
        if self.index(Collection::Memory).doc(id).is_some() {
            return self.delete(Collection::Memory, &[id]);
        }
        match self.file(name).filter(|path| path.is_file()) {
            Some(path) => Err(MemoryError::PersonalityFile {
                name: name.into(),
                path,
            }),
            None => Err(MemoryError::NoPersonality(name.into())),
        }
    }

    fn own_personality(&self, namespace: &Namespace, name: &str) -> Result<Option<Personality>> {
        self.make_ready()?;
        let id = Personality::id(namespace, name);
        if self.index(Collection::Memory).doc(id).is_none() {
            return Ok(None);
        }
        let payload = self.payloads(Collection::Memory, &[id])?.remove(&id);
        payload
            .map(|payload| Personality::from_toml(name, &payload.text))
            .transpose()
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.personalities.as_ref()?.join(format!("{name}.toml")))
    }

    fn has_file(&self, name: &str) -> bool {
        self.file(name).is_some_and(|path| path.is_file())
    }

    #[expect(
        clippy::wrong_self_convention,
        reason = "from one of the memory's files"
    )]
    fn from_file(&self, name: &str) -> Result<Personality> {
        let path = self
            .file(name)
            .ok_or_else(|| MemoryError::NoPersonality(name.into()))?;
        // More than any valid one has, so that a huge file is not read.
        let most = SYSTEM_BYTES_MAX + (RULES_MAX + 2) * LINE_BYTES_MAX + (64 << 10);
        let bytes = fs::metadata(&path).map_err(io(&path))?.len();
        if bytes > most as u64 {
            return Err(invalid(
                "personality",
                format!("has {bytes} bytes; the limit is {most}"),
            ));
        }
        let text = fs::read_to_string(&path).map_err(io(&path))?;
        Personality::from_toml(name, &text)
    }

    fn personality_files(&self) -> Result<Vec<String>> {
        let Some(directory) = self.personalities.as_ref().filter(|path| path.is_dir()) else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)
            .map_err(io(directory))?
            .take(FILES_MAX)
        {
            let name = entry.map_err(io(directory))?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".toml"));
            names.extend(
                name.filter(|name| check_name(name).is_ok())
                    .map(str::to_owned),
            );
        }
        names.retain(|name| self.has_file(name));
        Ok(names)
    }
}

fn check_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(good) {
        let why = format!("must be 1 to {NAME_CHARS_MAX} letters, digits, `-` or `_`");
        return Err(invalid("name", why));
    }
    Ok(())
}

fn check_bytes(field: &'static str, value: &str, max: usize) -> Result<()> {
    if value.len() > max {
        let bytes = value.len();
        return Err(invalid(
            field,
            format!("has {bytes} bytes; the limit is {max}"),
        ));
    }
    Ok(())
}

/// A rule with a line break could look like several.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_the_same_every_time() {
        let text = "system = \"You are Ada.\"\nstyle = \"short\"\nlanguage = \"German\"\n\
                    rules = [\"Never guess.\", \"one\\ntwo\"]";
        let ada = Personality::from_toml("ada", text).unwrap();
        let rendered = "You are Ada.\n\nStyle: short\n\nAnswer in German.\n\nRules:\n\
                        - Never guess.\n- one two";
        assert_eq!(ada.render(), rendered);
        let again = Personality::from_toml("ada", &ada.to_toml().unwrap()).unwrap();
        assert_eq!(again, ada);
    }

    #[test]
    fn names_and_sizes_have_limits() {
        let good = Personality {
            name: "ada".into(),
            system: "You are Ada.".into(),
            ..Personality::default()
        };
        assert!(good.check().is_ok());
        for name in ["", "../etc/passwd", "a b", "ä", &"x".repeat(65)] {
            let bad = Personality {
                name: name.into(),
                ..good.clone()
            };
            assert!(bad.check().is_err(), "{name:?}");
        }
        let system = "x".repeat(SYSTEM_BYTES_MAX + 1);
        assert!(
            Personality {
                system,
                ..good.clone()
            }
            .check()
            .is_err()
        );
        let rules = vec![String::new(); RULES_MAX + 1];
        assert!(Personality { rules, ..good }.check().is_err());
        assert!(Personality::from_toml("ada", "system = 1").is_err());
        assert!(Personality::from_toml("ada", "system = \"x\"\nsistem = 1").is_err());
    }
}
