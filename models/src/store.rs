//! The models on this machine: what there is, where it came from, and getting more.
//!
//! A store is one directory of GGUF files, by default [`Store::default_dir`]. A file that
//! somebody copies there is a model like any other; what `fazai models pull` brings has a
//! sidecar file that says where it came from ([`Origin`]).
//!
//! # Names
//! A model is asked for by a [`ModelName`]: `builtin` for the model inside this program, an
//! alias of the [`catalog`] such as `qwen3:0.6b`, or the stem of a file, `Qwen3-0.6B-Q8_0`. A
//! name can't leave the directory, so it may come from a client. A path may not: only the
//! command line calls [`Store::resolve_path_or_name`].
//!
//! A model that was split into `NAME-00001-of-00003.gguf` and so on is one model, `NAME`.
//!
//! # Downloads
//! `Store::pull` takes an alias or `hf:OWNER/REPO/FILE.gguf@REVISION`. It
//! - asks the hub once for the commit, the length and the SHA-256 of the file, and keeps to
//!   that commit, also after an interruption;
//! - refuses at once what does not fit on the disk, with 64 MiB to spare;
//! - writes to `NAME.gguf.part`. After a cut, a cancel or a crash it goes on where that file
//!   ends; progress never goes backwards;
//! - compares the SHA-256 of every byte on the disk, also of those that an earlier attempt
//!   brought, with the catalogue's sum for an alias, otherwise with the one that the hub
//!   states. The sidecar file tells which ([`SumFrom`]). A file that the hub states no sum for
//!   is refused;
//! - reads the header, so that only a GGUF ever gets the final name;
//! - is done by one process at a time for each model, by a lock that dies with its holder.
//!
//! `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HOME`, `HF_HUB_DISABLE_IMPLICIT_TOKEN` and
//! `HF_HUB_OFFLINE` mean what they mean to the hub's own tools (`PullOptions::from_env`).

pub mod catalog;
mod files;
#[cfg(feature = "hub")]
mod pull;
mod reference;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::builtin;
use crate::gguf::{Gguf, GgufError, Lists, Value, type_name};
use crate::load::ModelSource;
use crate::memory::{self, KvType, Needs};

pub use files::{Holder, Origin, SumFrom};
#[cfg(feature = "hub")]
pub use pull::{PullError, PullEvent, PullListener, PullOptions, PullRetry, PullStep, Token};
pub use reference::{BadName, BadReference, ModelName, NAME_BYTES_MAX, Reference, Wanted};

use catalog::CatalogModel;
use files::{Lock, LockError, Paths};
use reference::Split;

/// A directory of models.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// A model that exists, by the name that it goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Its name.
    pub name: String,
    /// Where its bytes are. Of a split model, the first part.
    pub source: ModelSource,
}

/// One line of the list of models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name to ask for it by.
    pub name: String,
    /// The catalogue's name of it, which works as well.
    pub alias: Option<&'static str>,
    /// Its file, or the first of its parts; none for the built-in model.
    pub path: Option<PathBuf>,
    /// How long its files are.
    pub bytes: u64,
    /// Such as `qwen3`.
    pub architecture: String,
    /// How many parameters it has.
    pub parameters: u64,
    /// The type of most of its weights.
    pub quantization: String,
    /// Longest conversation that it was trained for, if its file says.
    pub trained_tokens: Option<u64>,
    /// Where it came from.
    pub source: EntrySource,
    /// Why it can't be used. The figures above are zero then.
    pub broken: Option<String>,
}

/// Where a model came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntrySource {
    /// It is part of this program.
    Builtin,
    /// It was downloaded.
    Hub(Origin),
    /// Somebody put the file there.
    File,
}

/// Everything that a model's header tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Details {
    /// As in the list.
    pub entry: Entry,
    /// The header's keys and values, long ones shortened, lists as their length.
    pub metadata: Vec<(String, String)>,
    /// The tensors by their type.
    pub tensors: Vec<TensorGroup>,
    /// Whether it brings a chat template.
    pub chat_template: bool,
    /// Length of the one conversation that [`Details::needs`] is for.
    pub context_tokens: u32,
    /// Memory for that.
    pub needs: Needs,
}

/// The tensors of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorGroup {
    /// Such as `Q4_K`.
    pub kind: &'static str,
    /// How many tensors.
    pub tensors: u64,
    /// How many numbers they hold together.
    pub elements: u64,
}

/// Why the store can't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The name has a form that no model's name has.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// There is no such model.
    #[error("there is no model {name} here{}", hint(*.known, .nearest.as_deref()))]
    NotFound {
        /// What was asked for.
        name: String,
        /// The name that is most like it, if one is.
        nearest: Option<String>,
        /// The catalogue's row, if it can be downloaded under this name.
        known: Option<&'static CatalogModel>,
    },
    /// A path leads nowhere.
    #[error("there is no file {}", .0.display())]
    NoFile(PathBuf),
    /// The model is there and can't be used.
    #[error("the model {name} can't be used: {why}")]
    Broken {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The built-in model can't be removed.
    #[error("the built-in model is part of the program and can't be removed")]
    Builtin,
    /// Another process changes the model right now.
    #[error("{holder} is changing the model {name}; try again when it is done")]
    Busy {
        /// Its name.
        name: String,
        /// Who.
        holder: Holder,
    },
    /// The store's directory can't be used.
    #[error("the models' directory {} can't be used: {fault}", .path.display())]
    Directory {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What the system says.
        fault: io::Error,
    },
    /// Neither `$XDG_DATA_HOME` nor `$HOME` is set.
    #[error("no home directory is known: set HOME, or name the models' directory")]
    NoHome,
}

fn hint(known: Option<&CatalogModel>, nearest: Option<&str>) -> String {
    match (known, nearest) {
        (Some(known), _) if cfg!(feature = "hub") => format!(
            "; `fazai models pull {}` downloads it ({} MiB, {})",
            known.alias,
            known.bytes >> 20,
            known.license
        ),
        (Some(known), _) => format!(
            "; this build can't download, so copy {} from {} into the models' directory",
            known.file, known.repository
        ),
        (None, Some(nearest)) => format!("; did you mean {nearest}?"),
        (None, None) => "; `fazai models list` shows what there is".into(),
    }
}

/// The conversation for which [`Details`] tells the memory; what a load takes without a wish.
const DETAILS_TOKENS: u64 = 8_192;

/// As [`crate::load::LoadOptions`] has it.
const DETAILS_BATCH_TOKENS: u32 = 512;

/// Longest metadata value in [`Details`], in characters.
const VALUE_CHARS_MAX: usize = 200;

/// How alike two names must be for one to be offered for the other.
const LIKENESS_MIN: f64 = 0.5;

impl Store {
    /// The store in a directory, which need not exist before something is downloaded.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self { folder }
    }

    /// `/var/lib/fazai/models` for root, otherwise `fazai/models` below `$XDG_DATA_HOME` or
    /// `~/.local/share`.
    ///
    /// # Errors
    /// There is no home directory.
    pub fn default_dir() -> Result<PathBuf, StoreError> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        if rustix::process::geteuid().is_root() {
            return Ok("/var/lib/fazai/models".into());
        }
        user_dir(variable("XDG_DATA_HOME"), variable("HOME")).ok_or(StoreError::NoHome)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.folder
    }

    /// Finds a model by its name. Reads no more than the directory.
    ///
    /// # Errors
    /// [`StoreError::BadName`], [`StoreError::NotFound`], or a split model is not complete.
    pub fn resolve(&self, name: &str) -> Result<Resolved, StoreError> {
        let name = ModelName::parse(name)?;
        if is_builtin(name.as_str()) {
            return Ok(Resolved {
                name: builtin::NAME.to_owned(),
                source: ModelSource::Builtin,
            });
        }
        let mut files = self.find(&name)?;
        Ok(Resolved {
            name: name.to_string(),
            source: ModelSource::File(files.swap_remove(0)),
        })
    }

    /// Finds a model by a path or a name. For the command line only: a client that could name
    /// paths could ask which files exist.
    ///
    /// # Errors
    /// As [`Store::resolve`], and [`StoreError::NoFile`].
    pub fn resolve_path_or_name(&self, text: &str) -> Result<Resolved, StoreError> {
        let path = Path::new(text);
        let stem = text.strip_suffix(".gguf");
        if (text.contains('/') || stem.is_some()) && path.exists() {
            let stem = path.file_stem().unwrap_or(path.as_os_str());
            return Ok(Resolved {
                name: stem.to_string_lossy().into_owned(),
                source: ModelSource::File(path.to_owned()),
            });
        }
        if text.contains('/') {
            return Err(StoreError::NoFile(path.to_owned()));
        }
        self.resolve(stem.unwrap_or(text))
    }

    /// All models, the built-in one first. Reads every file's header; one that can't be read
    /// is listed with the reason.
    ///
    /// # Errors
    /// The directory exists and can't be read.
    pub fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let mut entries = vec![builtin_entry().0];
        for (set, files) in self.inventory()? {
            entries.push(self.entry(&set.name, set.files(files)).0);
        }
        Ok(entries)
    }

    /// Everything about one model.
    ///
    /// # Errors
    /// As [`Store::resolve`], and [`StoreError::Broken`].
    pub fn show(&self, name: &str) -> Result<Details, StoreError> {
        let name = ModelName::parse(name)?;
        let (entry, gguf) = if is_builtin(name.as_str()) {
            builtin_entry()
        } else {
            let files = self.find(&name)?;
            let stem = self
                .installed(&name)
                .map_or(name.as_str(), |known| known.stem());
            self.entry(stem, Ok(files))
        };
        match gguf {
            Ok(gguf) => Ok(Details::new(entry, &gguf)),
            Err(why) => Err(StoreError::Broken {
                name: entry.name,
                why,
            }),
        }
    }

    /// Removes a model and whatever an unfinished download of it left. Returns how many bytes
    /// that freed.
    ///
    /// # Errors
    /// As [`Store::resolve`], [`StoreError::Builtin`], [`StoreError::Busy`], or the directory
    /// can't be written.
    pub fn remove(&self, name: &str) -> Result<u64, StoreError> {
        let name = ModelName::parse(name)?;
        if is_builtin(name.as_str()) {
            return Err(StoreError::Builtin);
        }
        let stem = self
            .installed(&name)
            .map_or(name.as_str(), |known| known.stem());
        let stems = self.stems_of(stem)?;
        if stems.is_empty() {
            return Err(self.not_found(&name));
        }
        let lock = Paths::new(&self.folder, stem).lock();
        let _lock = Lock::take(lock).map_err(|error| match error {
            LockError::Held(holder) => StoreError::Busy {
                name: name.to_string(),
                holder,
            },
            LockError::Io(fault) => self.unusable(fault),
        })?;
        let mut freed = 0;
        for stem in stems {
            for path in Paths::new(&self.folder, &stem).all() {
                let removed = files::remove(&path);
                freed += removed.map_err(|fault| self.unusable(fault))?.unwrap_or(0);
            }
        }
        Ok(freed)
    }

    /// The stems of all files of a model, split or not, complete or not.
    fn stems_of(&self, name: &str) -> Result<Vec<String>, StoreError> {
        let mut stems = Vec::new();
        for file in self.file_names()? {
            let stem = file
                .strip_suffix(".gguf")
                .or_else(|| file.strip_suffix(".gguf.part"));
            if let Some(stem) = stem
                && (stem == name || Split::of(stem).is_some_and(|split| split.base == name))
            {
                stems.push(stem.to_owned());
            }
        }
        Ok(stems)
    }

    /// The files of a model, in the order of its parts; at least one.
    fn find(&self, name: &ModelName) -> Result<Vec<PathBuf>, StoreError> {
        let stem = self
            .installed(name)
            .map_or(name.as_str(), |known| known.stem());
        let whole = Paths::new(&self.folder, stem).file();
        if whole.is_file() {
            return Ok(vec![whole]);
        }
        let sets = self.inventory()?;
        let Some((set, files)) = sets.into_iter().find(|(set, _)| set.name == stem) else {
            return Err(self.not_found(name));
        };
        set.files(files).map_err(|why| StoreError::Broken {
            name: name.to_string(),
            why,
        })
    }

    /// The catalogue's row of this alias, if its file is here. A file of the same name from
    /// elsewhere is not what the alias promises.
    fn installed(&self, name: &ModelName) -> Option<&'static CatalogModel> {
        let known = catalog::find_name(name)?;
        let paths = Paths::new(&self.folder, known.stem());
        let origin = Origin::read(&paths.origin())?;
        let is_it = origin.sha256 == known.sha256 && paths.file().is_file();
        is_it.then_some(known)
    }

    fn not_found(&self, name: &ModelName) -> StoreError {
        let own = self.inventory().unwrap_or_default();
        let known = catalog::MODELS.iter().map(|model| model.alias);
        let names = own.keys().map(|set| set.name.as_str()).chain(known);
        StoreError::NotFound {
            nearest: nearest(name.as_str(), names.chain([builtin::NAME])),
            name: name.to_string(),
            known: catalog::find_name(name),
        }
    }

    fn unusable(&self, fault: io::Error) -> StoreError {
        let path = self.folder.clone();
        StoreError::Directory { path, fault }
    }

    /// The names of everything in the directory. A directory that does not exist is empty.
    fn file_names(&self) -> Result<Vec<String>, StoreError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(fault) => return Err(self.unusable(fault)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|fault| self.unusable(fault))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    /// The models in the directory with the parts that are there, by name.
    fn inventory(&self) -> Result<BTreeMap<Set, BTreeMap<u32, PathBuf>>, StoreError> {
        let mut sets: BTreeMap<Set, BTreeMap<u32, PathBuf>> = BTreeMap::new();
        for file in self.file_names()? {
            let Some(stem) = file.strip_suffix(".gguf") else {
                continue;
            };
            let split = Split::of(stem).filter(Split::is_sound);
            let (name, part, parts) =
                split.map_or((stem, 1, 1), |split| (split.base, split.part, split.parts));
            let name = name.to_owned();
            let parts_there = sets.entry(Set { name, parts }).or_default();
            parts_there.insert(part, self.folder.join(&file));
        }
        Ok(sets)
    }

    /// A model's line in the list, and its header or the reason why it can't be used.
    fn entry(
        &self,
        name: &str,
        files: Result<Vec<PathBuf>, String>,
    ) -> (Entry, Result<Gguf, String>) {
        let gguf = usable_name(name)
            .and(files.clone())
            .and_then(|files| read_parts(&files).map_err(|fault| fault.to_string()));
        let path = files.ok().map(|mut files| files.swap_remove(0));
        let origin = path
            .as_deref()
            .and_then(Path::file_stem)
            .map(|stem| Paths::new(&self.folder, &stem.to_string_lossy()).origin())
            .and_then(|path| Origin::read(&path));
        let known = |origin: &Origin| {
            let of_it = |model: &&CatalogModel| model.sha256 == origin.sha256;
            catalog::MODELS.iter().find(of_it)
        };
        let alias = origin.as_ref().and_then(known).map(|model| model.alias);
        let source = origin.map_or(EntrySource::File, EntrySource::Hub);
        let entry = Entry::new(name, path, source, gguf.as_ref());
        (Entry { alias, ..entry }, gguf)
    }
}

/// The files of one model: `parts` of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Set {
    name: String,
    parts: u32,
}

impl Set {
    /// The files in order, or which one is missing.
    fn files(&self, there: BTreeMap<u32, PathBuf>) -> Result<Vec<PathBuf>, String> {
        let parts = self.parts;
        match (1..=parts).find(|part| !there.contains_key(part)) {
            Some(part) => Err(format!("part {part} of {parts} is missing")),
            None => Ok(there.into_values().collect()),
        }
    }
}

fn usable_name(name: &str) -> Result<(), String> {
    if is_builtin(name) {
        return Err("its name is the built-in model's: rename the file".into());
    }
    let name = ModelName::parse(name);
    name.map(drop)
        .map_err(|bad| format!("{bad}: rename the file"))
}

/// The header of a model in one or more files, as if it were one.
fn read_parts(files: &[PathBuf]) -> Result<Gguf, GgufError> {
    let mut whole: Option<Gguf> = None;
    for file in files {
        let part = Gguf::open(file, Lists::Skip)?;
        match &mut whole {
            None => whole = Some(part),
            Some(whole) => {
                whole.tensors.extend(part.tensors);
                whole.file_bytes += part.file_bytes;
            }
        }
    }
    whole.ok_or(GgufError::NotAFile)
}

fn builtin_entry() -> (Entry, Result<Gguf, String>) {
    let gguf = builtin::verified()
        .map_err(|damaged| damaged.to_string())
        .and_then(|bytes| {
            Gguf::read(bytes, bytes.len() as u64, Lists::Skip).map_err(|fault| fault.to_string())
        });
    let entry = Entry::new(builtin::NAME, None, EntrySource::Builtin, gguf.as_ref());
    (entry, gguf)
}

/// The model answers under its title, so that has to work as a name, too.
fn is_builtin(name: &str) -> bool {
    name == builtin::NAME || name == builtin::TITLE
}

fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let likeness = |other: &str| {
        strsim::normalized_damerau_levenshtein(&name.to_lowercase(), &other.to_lowercase())
    };
    let best = names
        .map(|other| (likeness(other), other))
        .max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (best.0 >= LIKENESS_MIN).then(|| best.1.to_owned())
}

/// Relative paths in `$XDG_DATA_HOME` are to be ignored, says its specification.
fn user_dir(data: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let data = data
        .filter(absolute)
        .or_else(|| Some(home.filter(absolute)?.join(".local/share")))?;
    Some(data.join("fazai/models"))
}

impl Entry {
    fn new(
        name: &str,
        path: Option<PathBuf>,
        source: EntrySource,
        gguf: Result<&Gguf, &String>,
    ) -> Self {
        let header = gguf.ok();
        let length = |path: &PathBuf| fs::metadata(path).map_or(0, |about| about.len());
        let on_disk = path.as_ref().map_or(0, length);
        Self {
            name: name.to_owned(),
            alias: None,
            path,
            bytes: header.map_or(on_disk, |gguf| gguf.file_bytes),
            architecture: header.map_or("", Gguf::architecture).to_owned(),
            parameters: header.map_or(0, Gguf::parameters),
            quantization: header.map_or("", Gguf::quantization).to_owned(),
            trained_tokens: header.and_then(|gguf| gguf.shape("context_length")),
            source,
            broken: gguf.err().cloned(),
        }
    }
}

impl Details {
    fn new(entry: Entry, gguf: &Gguf) -> Self {
        let tokens = entry.trained_tokens.unwrap_or(DETAILS_TOKENS);
        let tokens = tokens.clamp(1, DETAILS_TOKENS);
        let context_tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        let metadata = gguf.metadata.iter();
        Self {
            metadata: metadata
                .map(|(key, value)| (key.clone(), said(value)))
                .collect(),
            tensors: groups(gguf),
            chat_template: gguf.text("tokenizer.chat_template").is_some(),
            context_tokens,
            needs: memory::needs(
                gguf,
                context_tokens,
                KvType::default(),
                DETAILS_BATCH_TOKENS,
            ),
            entry,
        }
    }
}

fn groups(gguf: &Gguf) -> Vec<TensorGroup> {
    let mut groups: BTreeMap<u32, TensorGroup> = BTreeMap::new();
    for tensor in &gguf.tensors {
        let group = groups.entry(tensor.kind).or_insert(TensorGroup {
            kind: type_name(tensor.kind),
            tensors: 0,
            elements: 0,
        });
        group.tensors += 1;
        group.elements = group.elements.saturating_add(tensor.elements);
    }
    groups.into_values().collect()
}

/// A metadata value on one line of a terminal: what a file brings must not move the cursor.
fn said(value: &Value) -> String {
    match value {
        Value::Uint(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::List(values) => format!("[{} values]", values.len()),
        Value::Skipped(length) => format!("[{length} values]"),
        Value::Text(text) => {
            let start: String = text.chars().take(VALUE_CHARS_MAX).collect();
            let cut = if start.len() < text.len() { "..." } else { "" };
            format!("{}{cut}", start.escape_debug())
        }
    }
}
