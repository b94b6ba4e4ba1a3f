//! `fazai modules add`: a file becomes a module that may load.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use fazai::config::ModuleTrust;
use fazai_modhost::{FILE_BYTES_MAX, Manifest, Trust, check, fingerprint, valid_name};
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
        let name = self.name()?;
        let bytes = read(&self.file)?;
        let sha256 = fingerprint(&bytes);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o755);
        builder
            .create(dir)
            .with_context(|| dir.display().to_string())?;
        // The list first: a file that is not listed is refused, and so is one that does not fit.
        let list = dir.join(MANIFEST);
        let listed = self.listed(&list, &name, &sha256)?;
        let manifest = Manifest::parse(&listed)?;
        write(&list, listed.as_bytes())?;
        write(&dir.join(format!("{name}.so")), &bytes)?;
        let entry = manifest
            .get(&name)
            .ok_or_else(|| anyhow!("{MANIFEST} lost {name}"))?;
        let checked = check(dir, entry, &Trust::Manifest)?;
        let mut text = format!(
            "{name} is added: {}\nhint: `fazai modules call {name} help` tries it; a running worker \
             takes a changed file with `fazai modules reload {name}`",
            checked.path.display()
        );
        if settings.trust == ModuleTrust::Signature {
            text += "\nnote: trust = signature, so it loads only with a signature beside it";
        }
        let data = json!({ "name": name, "path": checked.path, "sha256": sha256 });
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
        let text = match fs::read_to_string(list) {
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

pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let read = || {
        let mut bytes = Vec::new();
        let file = fs::File::open(path)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = read().with_context(|| path.display().to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(anyhow!(
            "{} has more than {FILE_BYTES_MAX} bytes; strip it",
            path.display()
        ));
    }
    if !bytes.starts_with(b"\x7fELF") {
        return Err(anyhow!("{} is no shared library", path.display()));
    }
    Ok(bytes)
}

/// Replaces a file whole: a worker that looks meanwhile sees the old one or the new one.
pub(super) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let replace = || {
        let mut file = NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
        file.write_all(bytes)?;
        file.as_file()
            .set_permissions(Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|fault| fault.error)?;
        Ok::<_, std::io::Error>(())
    };
    replace().with_context(|| path.display().to_string())
}
