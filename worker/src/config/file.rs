//! An INI file becomes settings, with every fault and its line.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ini_core::{Item, Parser};

use super::keys::{self, KEYS};
use super::{Settings, v2};

/// Something wrong in a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Everything that is wrong with a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// The file.
    pub path: PathBuf,
    /// In the order of the lines, at least one.
    pub faults: Vec<Fault>,
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        for (index, fault) in self.faults.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            match fault.line {
                0 => write!(f, "{newline}{path}: {}", fault.message)?,
                line => write!(f, "{newline}{path}:{line}: {}", fault.message)?,
            }
        }
        Ok(())
    }
}

impl Faults {
    pub(super) fn unreadable(path: &Path, fault: &io::Error) -> Self {
        Self {
            path: path.to_owned(),
            faults: vec![Fault {
                line: 0,
                message: fault.to_string(),
            }],
        }
    }
}

/// Applies the file's keys in their order.
pub(super) fn apply(text: &str, path: &Path, settings: &mut Settings) -> Result<(), Faults> {
    let mut reader = Reader {
        settings,
        section: String::new(),
        seen: HashMap::new(),
        faults: Vec::new(),
    };
    let mut line = 0;
    for item in Parser::new(text).comment_char(b'#').auto_trim(true) {
        if item == Item::SectionEnd {
            continue;
        }
        line += 1;
        if let Err(message) = reader.take(line, item) {
            reader.faults.push(Fault { line, message });
        }
    }
    let mut faults = reader.faults;
    settings.notes.extend(settings.cloud.v2_notes());
    faults.extend(keys::check(settings).map(|message| Fault { line: 0, message }));
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Faults {
            path: path.to_owned(),
            faults,
        })
    }
}

struct Reader<'a> {
    settings: &'a mut Settings,
    section: String,
    /// Where each key was set.
    seen: HashMap<(String, String), usize>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn take(&mut self, line: usize, item: Item<'_>) -> Result<(), String> {
        match item {
            Item::Blank | Item::Comment(_) | Item::SectionEnd => Ok(()),
            Item::Error(text) => Err(format!("not a section, a key or a comment: {text:?}")),
            Item::Section(name) => self.enter(name),
            Item::Property(key, _) if key.starts_with(';') => Ok(()),
            Item::Property(key, None) => {
                // What stands behind the first word may be a secret.
                let key = key.split_whitespace().next().unwrap_or_default();
                Err(format!("{key:?} has no value; write `{key} = ...`"))
            }
            Item::Property(key, Some(value)) => self.set(line, key, value),
        }
    }

    fn enter(&mut self, name: &str) -> Result<(), String> {
        name.clone_into(&mut self.section);
        if let Some(provider) = name.strip_prefix("cloud.") {
            return self.settings.cloud.begin(provider);
        }
        if keys::sections().any(|known| known == name) || v2::knows_section(name) {
            return Ok(());
        }
        let known = keys::sections();
        Err(format!(
            "there is no section [{name}]{}",
            nearest(name, known)
        ))
    }

    fn set(&mut self, line: usize, key: &str, value: &str) -> Result<(), String> {
        let place = (self.section.clone(), key.to_owned());
        if let Some(first) = self.seen.insert(place, line) {
            return Err(format!("{key:?} was set on line {first} already"));
        }
        let section = self.section.as_str();
        if let Some(provider) = section.strip_prefix("cloud.") {
            let read = self.settings.cloud.set(provider, key, value);
            // The value may be a key, and is not shown.
            return read.map_err(|wanted| format!("{key}: {wanted}"));
        }
        if let Some(row) = keys::find(section, key) {
            let read = (row.read)(self.settings, value);
            return read.map_err(|wanted| format!("{key} = {value:?}: {wanted}"));
        }
        if v2::knows_section(section) {
            return v2::apply(self.settings, section, key, value);
        }
        if !keys::sections().any(|known| known == section) {
            // The section was reported; its keys need not be.
            return Ok(());
        }
        let known = KEYS.iter().filter(|row| row.section == section);
        let hint = nearest(key, known.map(|row| row.name));
        Err(format!("[{section}] has no key {key:?}{hint}"))
    }
}

/// `; did you mean ...?`, or nothing if no name is near.
pub(super) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .min_by_key(|(edits, _)| *edits)
        .filter(|(edits, name)| *edits <= 1.max(name.len() / 3))
        .map_or_else(String::new, |(_, name)| format!("; did you mean {name:?}?"))
}
