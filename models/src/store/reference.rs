//! What people write for a model: a name here, or a place on a model hub.

use std::fmt;

use super::catalog::{self, CatalogModel};

/// Longest model name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Longest reference to a hub, in bytes.
const REFERENCE_BYTES_MAX: usize = 512;

/// Most files that one model may be split into.
pub(crate) const PARTS_MAX: u32 = 64;

/// A model's name, as it goes over the wire: `builtin`, `qwen3:0.6b`, `Qwen3-0.6B-Q8_0`.
///
/// It is the stem of a file's name, so it can't leave the store's directory: it has no slash,
/// no `..` and no dot in front.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(String);

/// A text that can't be a model's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{shown} is not a model name: {why} (a name has 1 to {NAME_BYTES_MAX} of the characters \
     A-Z a-z 0-9 . _ : - without a dot in front or two in a row)"
)]
pub struct BadName {
    shown: String,
    why: &'static str,
}

impl ModelName {
    /// Checks a name.
    ///
    /// # Errors
    /// The text has a character, a length or dots that a name can't have.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let why = if text.is_empty() {
            "it is empty"
        } else if text.len() > NAME_BYTES_MAX {
            "it is too long"
        } else if !text.bytes().all(|byte| is_plain(byte) || byte == b':') {
            "it has a character that names do not have"
        } else if text.starts_with('.') || text.contains("..") {
            "its dots could lead elsewhere"
        } else {
            return Ok(Self(text.to_owned()));
        };
        let shown = shown(text);
        Err(BadName { shown, why })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Somebody's text for an error message: its beginning, quoted, without control characters.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(64).collect();
    let cut = if start.len() < text.len() { "..." } else { "" };
    format!("{start:?}{cut}")
}

/// A GGUF file on a model hub: `hf:OWNER/REPO/FILE.gguf`, optionally with `@REVISION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    owner: String,
    repository: String,
    file: String,
    revision: Option<String>,
}

/// A text that is neither an alias of the catalogue nor a place on a hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{shown} can't be downloaded: {why}; write an alias such as qwen3:0.6b, or \
     hf:OWNER/REPO/FILE.gguf with an optional @REVISION"
)]
pub struct BadReference {
    shown: String,
    why: String,
}

impl Reference {
    /// Reads `hf:OWNER/REPO/FILE.gguf@REVISION`.
    ///
    /// # Errors
    /// A part is missing, too long, or has characters that could mean something else in a URL
    /// or in a file's name.
    pub fn parse(text: &str) -> Result<Self, BadReference> {
        Self::parts_of(text).map_err(|why| BadReference {
            shown: shown(text),
            why,
        })
    }

    fn parts_of(text: &str) -> Result<Self, String> {
        if text.len() > REFERENCE_BYTES_MAX {
            return Err("it is too long".into());
        }
        let place = text
            .strip_prefix("hf:")
            .ok_or("it is no known alias and does not begin with hf:")?;
        let (place, revision) = match place.split_once('@') {
            Some((place, revision)) => (place, Some(checked_revision(revision)?)),
            None => (place, None),
        };
        let mut segments = place.splitn(3, '/');
        let mut segment = |what: &str| match segments.next() {
            Some(segment) if !segment.is_empty() => Ok(segment),
            _ => Err(format!("it has no {what}")),
        };
        let (owner, repository, file) =
            (segment("owner")?, segment("repository")?, segment("file")?);
        for part in [owner, repository].into_iter().chain(file.split('/')) {
            checked_segment(part)?;
        }
        let reference = Self {
            owner: owner.to_owned(),
            repository: repository.to_owned(),
            file: file.to_owned(),
            revision,
        };
        reference.check_file()?;
        Ok(reference)
    }

    /// A whole repository at a revision, of which others say the files.
    #[cfg(feature = "hub")]
    pub(crate) fn of_repository(repository: &str, revision: &str) -> Self {
        let (owner, repository) = repository.split_once('/').unwrap_or(("", repository));
        Self {
            owner: owner.to_owned(),
            repository: repository.to_owned(),
            file: String::new(),
            revision: Some(revision.to_owned()),
        }
    }

    fn check_file(&self) -> Result<(), String> {
        let stem = self
            .stem()
            .ok_or_else(|| format!("{} is not a .gguf file", self.file))?;
        ModelName::parse(stem).map_err(|error| error.to_string())?;
        match Split::of(stem) {
            Some(split) if !split.is_sound() => Err(format!(
                "{stem} does not name one of 1 to {PARTS_MAX} parts"
            )),
            _ => Ok(()),
        }
    }

    fn stem(&self) -> Option<&str> {
        let name = self.file.rsplit('/').next()?;
        name.strip_suffix(".gguf").filter(|stem| !stem.is_empty())
    }

    /// The repository's owner.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The repository's name, without its owner.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The branch, tag or commit that was asked for.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The name that the model will have here. All parts of a split model share it.
    #[must_use]
    pub fn name(&self) -> &str {
        let stem = self.stem().unwrap_or_default();
        Split::of(stem).map_or(stem, |split| split.base)
    }

    /// The files to fetch, as paths in the repository: one, or all parts of a split model.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let stem = self.stem().unwrap_or_default();
        let folder = self.file.len() - stem.len() - ".gguf".len();
        let folder = self.file.get(..folder).unwrap_or_default();
        match Split::of(stem) {
            None => vec![self.file.clone()],
            Some(split) => (1..=split.parts)
                .map(|part| format!("{folder}{}.gguf", split.stem_of(part)))
                .collect(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}/{}/{}", self.owner, self.repository, self.file)?;
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

fn checked_segment(segment: &str) -> Result<(), String> {
    let fits = (1..=96).contains(&segment.len()) && segment.bytes().all(is_plain);
    if fits && !segment.starts_with('.') && !segment.contains("..") {
        Ok(())
    } else {
        Err(format!("{} can't be part of it", shown(segment)))
    }
}

/// A revision may have slashes (`refs/pr/1`), unlike a name.
fn checked_revision(revision: &str) -> Result<String, String> {
    revision.split('/').try_for_each(checked_segment)?;
    Ok(revision.to_owned())
}

/// What a pull is asked for, with what is known about it beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where it is.
    pub reference: Reference,
    /// The catalogue's row, if it was asked for by its alias.
    pub known: Option<&'static CatalogModel>,
}

impl Wanted {
    /// Reads an alias of the catalogue or a reference to a hub.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse(text: &str) -> Result<Self, BadReference> {
        if let Some(known) = catalog::find(text) {
            return Ok(Self {
                reference: Reference::parse(&known.reference())?,
                known: Some(known),
            });
        }
        Ok(Self {
            reference: Reference::parse(text)?,
            known: None,
        })
    }
}

/// A stem such as `NAME-00002-of-00003`: part 2 of 3 of `NAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split<'a> {
    pub(crate) base: &'a str,
    pub(crate) part: u32,
    pub(crate) parts: u32,
}

impl<'a> Split<'a> {
    pub(crate) fn of(stem: &'a str) -> Option<Self> {
        let (rest, parts) = stem.rsplit_once("-of-")?;
        let (base, part) = rest.rsplit_once('-')?;
        let number = |text: &str| match text.len() {
            5 if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        Some(Self {
            base,
            part: number(part)?,
            parts: number(parts)?,
        })
        .filter(|split| !split.base.is_empty())
    }

    pub(crate) fn is_sound(&self) -> bool {
        (1..=PARTS_MAX).contains(&self.parts) && (1..=self.parts).contains(&self.part)
    }

    pub(crate) fn stem_of(&self, part: u32) -> String {
        format!("{}-{part:05}-of-{:05}", self.base, self.parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_store_are_refused() {
        for good in [
            "builtin",
            "qwen3:0.6b",
            "Qwen3-0.6B-Q8_0",
            "a",
            "_x",
            "a.b.c",
        ] {
            assert_eq!(ModelName::parse(good).map(|name| name.0), Ok(good.into()));
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let bad = [
            "",
            ".",
            "..",
            "../etc/passwd",
            "a/../b",
            "/etc/passwd",
            "a/b",
            ".hidden",
            "a..b",
            "a b",
            "a\0b",
            "a\nb",
            "modèle",
            "a\\b",
            "%2e%2e",
            "~root",
            "a*",
            "$HOME",
            &long,
        ];
        for bad in bad {
            let error = ModelName::parse(bad).expect_err(bad).to_string();
            assert!(error.contains("A-Z a-z 0-9"), "{error}");
            assert!(!error.contains(['\0', '\n']), "{error:?}");
            assert!(error.len() < 400, "{error}");
        }
        assert!(ModelName::parse(&"x".repeat(NAME_BYTES_MAX)).is_ok());
        assert!(ModelName::parse(&"y".repeat(1_000_000)).is_err());
    }

    #[test]
    fn references_are_read_and_written_alike() {
        for text in [
            "hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf",
            "hf:a/b/sub/dir/c.gguf@main",
            "hf:a/b/c.gguf@refs/pr/1",
        ] {
            let reference = Reference::parse(text).expect(text);
            assert_eq!(reference.to_string(), text);
        }
        let reference = Reference::parse("hf:o/r/sub/x.gguf@v1").expect("good");
        assert_eq!(reference.owner(), "o");
        assert_eq!(reference.repository(), "r");
        assert_eq!(reference.revision(), Some("v1"));
        assert_eq!(reference.name(), "x");
        assert_eq!(reference.files(), ["sub/x.gguf"]);
    }

    #[test]
    fn every_part_of_a_split_model_stands_for_all() {
        let reference = Reference::parse("hf:o/r/q4/big-00002-of-00003.gguf").expect("good");
        assert_eq!(reference.name(), "big");
        assert_eq!(
            reference.files(),
            [
                "q4/big-00001-of-00003.gguf",
                "q4/big-00002-of-00003.gguf",
                "q4/big-00003-of-00003.gguf",
            ]
        );
        assert_eq!(Split::of("big-0001-of-0003"), None);
        assert_eq!(Split::of("-00001-of-00003"), None);
        assert_eq!(Split::of("two-of-hearts"), None);
    }

    #[test]
    fn references_that_mean_something_else_are_refused() {
        let long = format!("hf:a/b/{}.gguf", "x".repeat(REFERENCE_BYTES_MAX));
        for bad in [
            "",
            "qwen9:1b",
            "http://example.org/x.gguf",
            "hf:",
            "hf:a",
            "hf:a/b",
            "hf:a/b/",
            "hf:a//c.gguf",
            "hf:a/b/c.bin",
            "hf:a/b/.gguf",
            "hf:a/b/../../c.gguf",
            "hf:../b/c.gguf",
            "hf:a/b/c.gguf?download=true",
            "hf:a/b/c.gguf#x",
            "hf:a/b/c%2f.gguf",
            "hf:a/b/c.gguf@",
            "hf:a/b/c.gguf@..",
            "hf:a/b/c.gguf@x@y",
            "hf:a/b/c d.gguf",
            "hf:a/b/c-00004-of-00003.gguf",
            "hf:a/b/c-00000-of-00003.gguf",
            "hf:a/b/c-00001-of-99999.gguf",
            &long,
        ] {
            let error = Wanted::parse(bad).expect_err(bad).to_string();
            assert!(error.contains("hf:OWNER/REPO/FILE.gguf"), "{error}");
        }
    }
}
