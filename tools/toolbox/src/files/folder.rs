//! What lies in the directory, and whether it may be trusted: it and its files belong to root or
//! to the worker's own user, and nobody else can write to them.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::tool::{NAME_BYTES_MAX, Origin, is_name};

/// How many tools there may be.
pub(super) const TOOLS_MAX: usize = 256;

/// How many names in the directory are looked at.
const ENTRIES_MAX: usize = 4_096;

/// The largest script or manifest.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file, or a few, that make a tool.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) name: String,
    /// The script; for a program the file of the tool's name, which need not be there.
    pub(super) origin: Origin,
    pub(super) manifest: Option<PathBuf>,
    /// Why it is none.
    pub(super) problem: Option<String>,
}

impl Candidate {
    /// The script, or where the program is if the manifest does not say.
    pub(super) fn path(&self) -> &Path {
        match &self.origin {
            Origin::JavaScript { path } | Origin::Python { path } | Origin::Program { path } => {
                path
            }
            Origin::BuiltIn | Origin::Mcp { .. } | Origin::Module { .. } => Path::new(""),
        }
    }
}

/// A file as it was at some time: another one, or one that was changed, has another stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp([i128; 8]);

impl Stamp {
    /// Of a file that may be missing.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let of = path.metadata().ok()?;
        Some(Self([
            of.dev().into(),
            of.ino().into(),
            of.size().into(),
            of.mode().into(),
            of.uid().into(),
            of.mtime().into(),
            of.mtime_nsec().into(),
            // Also what was changed and given its old time again.
            i128::from(of.ctime()) * 1_000_000_000 + i128::from(of.ctime_nsec()),
        ]))
    }
}

/// The files of one name.
#[derive(Default)]
struct Files {
    scripts: Vec<Origin>,
    manifest: Option<PathBuf>,
    program: Option<PathBuf>,
}

/// Everything in the directory that is meant to be a tool, by name. No file is opened. A directory
/// that is not there has none.
pub(super) fn candidates(directory: &Path) -> Vec<Candidate> {
    let mut by_name: BTreeMap<String, Files> = BTreeMap::new();
    let mut entries = 0;
    for entry in directory.read_dir().into_iter().flatten().flatten() {
        entries += 1;
        if entries > ENTRIES_MAX {
            break;
        }
        sort_in(&mut by_name, &entry.path());
    }
    let problem = if entries > ENTRIES_MAX {
        Some(format!(
            "{} has more than {ENTRIES_MAX} files; leave only tools in it",
            directory.display()
        ))
    } else {
        directory_problem(directory)
    };
    let mut found: Vec<Candidate> = by_name
        .into_iter()
        .flat_map(|(name, files)| files.into_candidates(directory, &name))
        .collect();
    for candidate in &mut found {
        candidate.problem = problem.clone().or(candidate.problem.take());
    }
    cut(&mut found);
    found
}

/// Leaves at most [`TOOLS_MAX`], and one more that says so.
fn cut(found: &mut Vec<Candidate>) {
    let left_out = found.len().saturating_sub(TOOLS_MAX);
    found.truncate(TOOLS_MAX + 1);
    if left_out > 0
        && let Some(first) = found.last_mut()
    {
        first.problem = Some(format!(
            "it and what comes after it, {left_out} in all, are left out: a directory may have \
             {TOOLS_MAX} tools"
        ));
    }
}

fn sort_in(by_name: &mut BTreeMap<String, Files>, path: &Path) {
    let file = path
        .file_name()
        .map_or_else(Default::default, |name| name.to_string_lossy());
    if file.starts_with(['_', '.']) {
        return;
    }
    let (stem, extension) = file.rsplit_once('.').unwrap_or((&file, ""));
    let path = path.to_owned();
    match extension {
        "js" | "mjs" | "cjs" => {
            let files = by_name.entry(stem.to_owned()).or_default();
            files.scripts.push(Origin::JavaScript { path });
        }
        "py" => {
            let files = by_name.entry(stem.to_owned()).or_default();
            files.scripts.push(Origin::Python { path });
        }
        "toml" => by_name.entry(stem.to_owned()).or_default().manifest = Some(path),
        _ => by_name.entry(file.into_owned()).or_default().program = Some(path),
    }
}

impl Files {
    /// More than one of the same name are all broken, since nobody knows which was meant.
    fn into_candidates(mut self, directory: &Path, name: &str) -> Vec<Candidate> {
        let mut origins = std::mem::take(&mut self.scripts);
        // A program without a manifest is just a file.
        if self.manifest.is_some() && (self.program.is_some() || origins.is_empty()) {
            let path = self.program.unwrap_or_else(|| directory.join(name));
            origins.push(Origin::Program { path });
        }
        let problem = if !is_name(name) {
            Some(format!(
                "its name is none for a tool: rename the file to letters, digits, `_`, `-` and \
                 `.`, a letter first, at most {NAME_BYTES_MAX}; a helper that is no tool begins \
                 with `_`"
            ))
        } else if origins.len() > 1 {
            Some(format!(
                "{} files have this name; rename or remove all but one",
                origins.len()
            ))
        } else {
            None
        };
        let name = shown(name);
        let candidates = origins.into_iter().map(|origin| Candidate {
            name: name.clone(),
            origin,
            manifest: self.manifest.clone(),
            problem: problem.clone(),
        });
        candidates.collect()
    }
}

/// A file's name as others can see it.
fn shown(name: &str) -> String {
    let chars = name.chars().take(NAME_BYTES_MAX);
    chars
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Why nothing in the directory may be run.
fn directory_problem(directory: &Path) -> Option<String> {
    let metadata = match directory.metadata() {
        Ok(metadata) => metadata,
        Err(error) => return Some(format!("{}: {error}", directory.display())),
    };
    if directory.to_str().is_none() {
        return Some("the path of its directory is not UTF-8; choose another".into());
    }
    trust(directory, &metadata).err()
}

/// Whether nobody but root and the worker's own user can have written it.
pub(super) fn trust(path: &Path, metadata: &Metadata) -> Result<(), String> {
    let path = path.display();
    let own = rustix::process::geteuid().as_raw();
    let uid = metadata.uid();
    if uid != 0 && uid != own {
        return Err(format!(
            "{path} belongs to user {uid}, who could make it do anything; `chown` it to root"
        ));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(format!(
            "others can write to {path}; run `chmod go-w` on it after a look at what it does"
        ));
    }
    Ok(())
}

/// The text of a script or manifest in the directory, if it may be trusted.
pub(super) fn read(directory: &Path, path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{} can't be read: {error}", path.display());
    let real = inside(directory, path)?;
    // Opening a pipe or a device may already do something; and it may become one until then.
    if !real.metadata().map_err(failed)?.is_file() {
        return Err(format!("{} is no plain file", path.display()));
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(&real)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("{} is no plain file", path.display()));
    }
    trust(path, &metadata)?;
    let mut bytes = Vec::new();
    let mut limited = (&mut file).take(FILE_BYTES_MAX + 1);
    limited.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "{} has more than {FILE_BYTES_MAX} bytes; move data and helpers to other files",
            path.display()
        ));
    }
    String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", path.display()))
}

/// Where a file of the directory really is: a link may only lead to its neighbours.
pub(super) fn inside(directory: &Path, path: &Path) -> Result<PathBuf, String> {
    let failed = |error: std::io::Error| format!("{} can't be read: {error}", path.display());
    let real = path.canonicalize().map_err(failed)?;
    let directory = directory.canonicalize().map_err(failed)?;
    if real.parent() != Some(directory.as_path()) {
        return Err(format!(
            "{} is a link to {}, outside of the directory; copy the file",
            path.display(),
            real.display()
        ));
    }
    Ok(real)
}
