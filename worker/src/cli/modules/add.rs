//! `fazai modules add`: a file becomes a module that may load.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use fazai::config::ModuleTrust;
use fazai::text_file;
use fazai_modhost::{Entry, FILE_BYTES_MAX, Manifest, Trust, fingerprint, valid_name, verify};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;
use tempfile::NamedTempFile;
use toml_edit::{Array, DocumentMut, Item, Table, value};

use crate::cli::{SettingsFile, output};

const MANIFEST: &str = "modules.toml";

/// Copy a module to the others and write its sha256 into modules.toml
#[derive(Debug, Args)]
#[command(after_help = "\
What the module asks for and is not granted fails when it is used; `fazai modules show` tells what
that is. Adding a file again replaces it and its sha256; rights stay unless new ones are named.

Examples:
  fazai modules add hello.so
  fazai modules add --files /proc target/release/libsystem_info.so --name system_info
  fazai modules add --network rbl.so")]
pub(crate) struct Add {
    /// The shared library
    file: PathBuf,
    /// The module's name [default: the file's, without lib and .so]
    #[arg(long)]
    name: Option<String>,
    /// It may use the network
    #[arg(long)]
    network: bool,
    /// It may start programs
    #[arg(long)]
    exec: bool,
    /// It may read this file, or what is below this directory; may be repeated
    #[arg(long, value_name = "PATH")]
    files: Vec<PathBuf>,
    /// It may also write there; may be repeated
    #[arg(long, value_name = "PATH")]
    files_writable: Vec<PathBuf>,
    #[command(flatten)]
    settings: SettingsFile,
}

impl Add {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let settings = self.settings.load()?.modules;
        let dir = &settings.dir;
        if dir.as_os_str().is_empty() {
            return Err(anyhow!(
                "there is no HOME: say where modules are with `dir` below [modules]"
            ));
        }
        let name = self.name()?;
        let bytes = read(&self.file)?;
        if !bytes.starts_with(b"\x7fELF") {
            return Err(anyhow!("{} is no shared library", self.file.display()));
        }
        let sha256 = fingerprint(&bytes);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o755);
        builder
            .create(dir)
            .with_context(|| dir.display().to_string())?;
        // Whoever adds another module meanwhile waits, so that no entry is lost.
        let lock = File::open(dir).with_context(|| dir.display().to_string())?;
        flock(&lock, FlockOperation::LockExclusive)?;

        let list = dir.join(MANIFEST);
        let listed = self.listed(&list, &name, &sha256)?;
        let manifest = Manifest::parse(&listed)?;
        let entry = manifest
            .get(&name)
            .ok_or_else(|| anyhow!("{MANIFEST} lost {name}"))?;
        let path = dir.join(format!("{name}.so"));
        // Both are on the disk before either is in its place.
        let module = Replacement::write(&path, &bytes, 0o644)?;
        let list = Replacement::write(&list, listed.as_bytes(), mode_of(&list))?;
        let tried = Entry {
            file: module.name(),
            ..entry.clone()
        };
        verify(dir, &tried, &Trust::Manifest)?;
        list.put()?;
        module.put()?;
        let mut text = format!(
            "{name} is added: {}\nhint: `fazai modules show {name}` lists its commands; a running \
             worker takes a changed file with `fazai modules reload {name}`",
            path.display()
        );
        if settings.trust == ModuleTrust::Signature {
            text += "\nnote: trust = signature, so it loads only with a signature beside it";
        }
        let data = json!({ "name": name, "path": path, "sha256": sha256 });
        output::print(false, &text, &data)
    }

    fn name(&self) -> anyhow::Result<String> {
        let stem = self.file.file_stem().and_then(|stem| stem.to_str());
        let stem = stem.map(|stem| stem.strip_prefix("lib").unwrap_or(stem));
        let name = self.name.as_deref().or(stem).unwrap_or_default();
        if valid_name(name) {
            return Ok(name.to_owned());
        }
        Err(anyhow!(
            "{name:?} can't be a module's name: say --name with 1 to 64 characters of a-z, 0-9, _ and -"
        ))
    }

    /// The text of modules.toml with this module in it; the rest stays as it was written.
    fn listed(&self, list: &Path, name: &str, sha256: &str) -> anyhow::Result<String> {
        let text = match text_file::read(list) {
            Ok(text) => text,
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(fault) => return Err(anyhow!("{}: {fault}", list.display())),
        };
        let mut document: DocumentMut = text.parse().with_context(|| list.display().to_string())?;
        let modules = document
            .entry("module")
            .or_insert_with(|| Item::ArrayOfTables(toml_edit::ArrayOfTables::new()));
        let modules = modules
            .as_array_of_tables_mut()
            .ok_or_else(|| anyhow!("{}: write modules as [[module]]", list.display()))?;
        let named = |table: &Table| table.get("name").and_then(Item::as_str) == Some(name);
        if !modules.iter().any(named) {
            let mut table = Table::new();
            table["name"] = value(name);
            modules.push(table);
        }
        for table in modules.iter_mut().filter(|table| named(table)) {
            table["sha256"] = value(sha256);
            table.remove("file");
            self.grant(table);
        }
        Ok(document.to_string())
    }

    fn grant(&self, table: &mut Table) {
        let paths = |paths: &[PathBuf]| {
            let texts = paths.iter().map(|path| path.display().to_string());
            value(texts.collect::<Array>())
        };
        let mut rights = toml_edit::InlineTable::new();
        let mut add = |key: &str, item: Item| {
            if let Item::Value(value) = item {
                rights.insert(key, value);
            }
        };
        if self.network {
            add("network", value(true));
        }
        if self.exec {
            add("exec", value(true));
        }
        if !self.files.is_empty() {
            add("files", paths(&self.files));
        }
        if !self.files_writable.is_empty() {
            add("files_writable", paths(&self.files_writable));
        }
        if !rights.is_empty() {
            table["capabilities"] = value(rights);
        }
    }
}

/// A file's bytes, if it is a regular one and no larger than any module.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let about = fs::metadata(path).with_context(|| path.display().to_string())?;
    if !about.is_file() || about.len() > FILE_BYTES_MAX {
        return Err(anyhow!(
            "{} is no file of at most {FILE_BYTES_MAX} bytes",
            path.display()
        ));
    }
    fs::read(path).with_context(|| path.display().to_string())
}

/// A file that is on the disk and waits to take the place of another; a worker that looks meanwhile
/// sees the old one or the new one. Dropping it removes it.
pub(super) struct Replacement<'a> {
    file: NamedTempFile,
    path: &'a Path,
}

impl<'a> Replacement<'a> {
    pub(super) fn write(path: &'a Path, bytes: &[u8], mode: u32) -> anyhow::Result<Self> {
        let write = || {
            let mut file = NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
            file.write_all(bytes)?;
            file.as_file()
                .set_permissions(Permissions::from_mode(mode))?;
            file.as_file().sync_all()?;
            Ok::<_, std::io::Error>(file)
        };
        let file = write().with_context(|| path.display().to_string())?;
        Ok(Self { file, path })
    }

    /// Its name for the time being.
    fn name(&self) -> Option<PathBuf> {
        self.file.path().file_name().map(PathBuf::from)
    }

    pub(super) fn put(self) -> anyhow::Result<()> {
        let put = self.file.persist(self.path);
        put.map_err(|fault| fault.error)
            .with_context(|| self.path.display().to_string())?;
        Ok(())
    }
}

/// The permissions that a file has, or is to have.
fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).map_or(0o644, |about| about.mode() & 0o777)
}
