//! `modules.toml`: what may load, with which rights and limits.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::verify::{Refused, read_in};

/// The largest `modules.toml` that is read.
pub const MANIFEST_BYTES_MAX: usize = 1 << 20;

/// Its name in the module directory.
const FILE: &str = "modules.toml";

/// More modules than any host has.
pub(crate) const ENTRIES_MAX: usize = 1024;
const FILES_MAX: usize = 64;
const TIMEOUT_MS_MAX: u64 = 3_600_000;
/// A process that can't map its own C library can't say so either.
const MEMORY_BYTES_MIN: u64 = 4 << 20;

/// The modules that an administrator wrote down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// One `[[module]]` table each.
    #[serde(default, rename = "module")]
    pub modules: Vec<Entry>,
}

/// One module of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// How callers name it: `[a-z0-9_-]`, 1 to 64 characters.
    pub name: String,
    /// The file inside the module directory; none: the name with `.so`.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// What the file's bytes must hash to, as 64 hexadecimal digits.
    #[serde(default)]
    pub sha256: Option<String>,
    /// What it may do beyond computing.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// How long one call may take; none: the host's default.
    #[serde(default)]
    pub call_timeout_ms: Option<u64>,
    /// How much memory its process may map beyond what the host itself takes; none: the host's
    /// default.
    #[serde(default)]
    pub memory_bytes_max: Option<u64>,
    /// Who may call it; none: whoever may use the host.
    #[serde(default)]
    pub users: Option<Vec<User>>,
    /// Whether it may run inside the host's own process, if the host is set to do that.
    #[serde(default)]
    pub trusted: bool,
}

/// What a module may do. Without an entry: compute, and read the system's libraries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// Sockets of IPv4 and IPv6.
    #[serde(default)]
    pub network: bool,
    /// Files, and everything below directories, that it may read.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// The same, to read, write, create and delete.
    #[serde(default)]
    pub files_writable: Vec<PathBuf>,
    /// Starting other programs, which then have the same rights.
    #[serde(default)]
    pub exec: bool,
}

/// Somebody who may call a module.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum User {
    /// By number.
    Uid(u32),
    /// By name.
    Name(String),
}

/// Why a `modules.toml` can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is larger than any list of modules.
    #[error("modules.toml has {bytes} bytes, at most {MANIFEST_BYTES_MAX} are read; shorten it")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Others could change it, or it can't be read.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It is no text.
    #[error("modules.toml is no UTF-8 from byte {at} on; save it as UTF-8")]
    NotText {
        /// The first byte that is none.
        at: usize,
    },
    /// It is no TOML, or has a key that nothing reads.
    #[error("modules.toml can't be read; correct the line shown: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A value is out of its range.
    #[error("modules.toml, module `{module}`: {fault}")]
    Value {
        /// Which entry.
        module: String,
        /// What is wrong, and what to write.
        fault: String,
    },
}

impl Manifest {
    /// Reads the `modules.toml` of a module directory, which must be as safe from others as the
    /// modules themselves. Where there is no file, or no directory, no module is listed.
    pub fn load(dir: &Path) -> Result<Self, ManifestError> {
        // The file itself and not where it leads: a link to nowhere is a mistake.
        if let Err(error) = dir.join(FILE).symlink_metadata()
            && error.kind() == io::ErrorKind::NotFound
        {
            return Ok(Self::default());
        }
        let (_, _, bytes) = read_in(dir, Path::new(FILE), MANIFEST_BYTES_MAX as u64)?;
        let text = str::from_utf8(&bytes).map_err(|error| ManifestError::NotText {
            at: error.valid_up_to(),
        })?;
        Self::parse(text)
    }

    /// Reads the text of a `modules.toml` and checks every value.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge { bytes: text.len() });
        }
        let manifest: Self = toml::from_str(text)?;
        manifest.valid()?;
        Ok(manifest)
    }

    /// The entry of a module.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.modules.iter().find(|entry| entry.name == name)
    }

    fn valid(&self) -> Result<(), ManifestError> {
        let mut names = HashSet::new();
        for (index, entry) in self.modules.iter().enumerate() {
            let fault = if index >= ENTRIES_MAX {
                Some(format!(
                    "there are more than {ENTRIES_MAX} modules; remove some"
                ))
            } else if !names.insert(&entry.name) {
                Some("there are two entries with this name; remove one".into())
            } else {
                entry.fault()
            };
            if let Some(fault) = fault {
                let module = entry.name.chars().take(64).collect();
                return Err(ManifestError::Value { module, fault });
            }
        }
        Ok(())
    }
}

impl Entry {
    /// An entry with no rights and the default limits, for a module that is in no manifest.
    #[must_use]
    pub fn unlisted(name: &str) -> Self {
        Self {
            name: name.into(),
            file: None,
            sha256: None,
            capabilities: Capabilities::default(),
            call_timeout_ms: None,
            memory_bytes_max: None,
            users: None,
            trusted: false,
        }
    }

    /// The file's name inside the module directory.
    #[must_use]
    pub fn file_name(&self) -> PathBuf {
        match &self.file {
            Some(file) => file.clone(),
            None => format!("{}.so", self.name).into(),
        }
    }

    /// Whether a user may call this module.
    #[must_use]
    pub fn allows(&self, uid: u32, name: Option<&str>) -> bool {
        let Some(users) = &self.users else {
            return true;
        };
        users.iter().any(|user| match user {
            User::Uid(allowed) => *allowed == uid,
            User::Name(allowed) => name == Some(allowed),
        })
    }

    fn fault(&self) -> Option<String> {
        if !valid_name(&self.name) {
            return Some("the name must be 1 to 64 characters of a-z, 0-9, _ and -".into());
        }
        if let Some(hash) = &self.sha256
            && (hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return Some(
                "sha256 must be 64 hexadecimal digits; `sha256sum FILE` prints them".into(),
            );
        }
        if let Some(ms) = self.call_timeout_ms
            && !(1..=TIMEOUT_MS_MAX).contains(&ms)
        {
            return Some(format!(
                "call_timeout_ms is {ms}; write 1 to {TIMEOUT_MS_MAX}"
            ));
        }
        if let Some(bytes) = self.memory_bytes_max
            && bytes < MEMORY_BYTES_MIN
        {
            return Some(format!(
                "memory_bytes_max is {bytes}; write {MEMORY_BYTES_MIN} or more"
            ));
        }
        let Capabilities {
            files,
            files_writable,
            ..
        } = &self.capabilities;
        if files.len() + files_writable.len() > FILES_MAX {
            return Some(format!(
                "more than {FILES_MAX} paths; name a directory above them"
            ));
        }
        let relative = |path: &&PathBuf| !path.is_absolute();
        files
            .iter()
            .chain(files_writable)
            .find(relative)
            .map(|path: &PathBuf| {
                format!(
                    "the path `{}` is relative; write all of it from / on",
                    Path::display(path)
                )
            })
    }
}

/// Whether this can be a module's name.
#[must_use]
pub fn valid_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_entry_is_read() {
        let text = r#"
            [[module]]
            name = "rbl"
            file = "librbl.so"
            capabilities = { network = true, files = ["/etc/rbl"], exec = false }
            call_timeout_ms = 500
            memory_bytes_max = 67108864
            users = [1000, "mail"]
        "#;
        let manifest = Manifest::parse(text).expect("valid");
        let entry = manifest.get("rbl").expect("listed");
        assert!(entry.capabilities.network && !entry.capabilities.exec && !entry.trusted);
        assert_eq!(entry.file_name(), Path::new("librbl.so"));
        assert!(entry.allows(1000, None) && entry.allows(8, Some("mail")));
        assert!(
            !entry.allows(0, Some("root")),
            "a list of users is all of them"
        );
        assert!(Entry::unlisted("x").allows(7, None));
    }

    #[test]
    fn faults_are_named() {
        for (text, said) in [
            ("[[module]]\nname = 'x'\nnetwrok = true", "netwrok"),
            (
                "[[module]]\nname = 'x'\n[module.capabilities]\nfile = ['/a']",
                "file",
            ),
            ("[[module]]\nname = '../x'", "1 to 64 characters"),
            ("[[module]]\nname = ''", "1 to 64 characters"),
            (
                "[[module]]\nname = 'x'\n[[module]]\nname = 'x'",
                "two entries",
            ),
            ("[[module]]\nname = 'x'\nsha256 = 'ab'", "64 hexadecimal"),
            (
                "[[module]]\nname = 'x'\ncall_timeout_ms = 0",
                "call_timeout_ms",
            ),
            (
                "[[module]]\nname = 'x'\nmemory_bytes_max = 1",
                "memory_bytes_max",
            ),
            (
                "[[module]]\nname = 'x'\ncapabilities.files = ['a']",
                "relative",
            ),
        ] {
            let error = Manifest::parse(text).expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        let long = "#".repeat(MANIFEST_BYTES_MAX + 1);
        assert!(matches!(
            Manifest::parse(&long),
            Err(ManifestError::TooLarge { .. })
        ));
    }
}
