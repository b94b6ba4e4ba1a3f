//! Which modules there are: those of the manifest, and files that it does not mention.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::manifest::{ENTRIES_MAX, Entry, Manifest, valid_name};
use crate::trust::Trust;

/// The modules of a directory, by name, at most 1024: the manifest's entries, and unless only
/// those are trusted, each `NAME.so` that no entry stands for. Whether one may be loaded is for
/// [`check`](crate::check) to say.
#[must_use]
pub fn discover(dir: &Path, manifest: &Manifest, trust: &Trust) -> Vec<Entry> {
    let mut entries = manifest.modules.clone();
    entries.truncate(ENTRIES_MAX);
    if !matches!(trust, Trust::Manifest) {
        let room = ENTRIES_MAX - entries.len();
        let names = unlisted(dir, manifest, room).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(
                    dir = %dir.display(), %error,
                    "the module directory can't be read: only modules of modules.toml are there",
                );
            }
            BTreeSet::new()
        });
        entries.extend(names.iter().map(|name| Entry::unlisted(name)));
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    entries
}

/// The first names of files that the manifest does not mention.
fn unlisted(dir: &Path, manifest: &Manifest, most: usize) -> io::Result<BTreeSet<String>> {
    let names: HashSet<&str> = manifest
        .modules
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    let files: HashSet<PathBuf> = manifest.modules.iter().map(Entry::file_name).collect();
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(dir)? {
        let file = PathBuf::from(file?.file_name());
        let Some(name) = file.to_str().and_then(|name| name.strip_suffix(".so")) else {
            continue;
        };
        if valid_name(name) && !names.contains(name) && !files.contains(&file) {
            found.insert(name.to_owned());
            // A directory of a million files takes no more memory than this.
            if found.len() > most {
                found.pop_last();
            }
        }
    }
    Ok(found)
}
