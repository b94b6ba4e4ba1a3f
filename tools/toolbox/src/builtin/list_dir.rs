//! `list_dir`: what is in a directory.

use std::path::{Path, PathBuf};

use fazai_tools::Action;
use rustix::fs::{AtFlags, Dir, FileType, Mode, readlinkat, statat};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::define::{Call, Define, count, perform};
use super::file::{check, failed, find};
use crate::error::ToolError;

/// How many entries are looked at.
const ENTRIES_MAX: usize = 100_000;

pub(super) struct ListDir;

/// A directory.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// The directory, absolute.
    path: PathBuf,
    /// How many entries are wanted at most.
    #[serde(default = "some")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

fn some() -> u32 {
    200
}

impl Define for ListDir {
    type Params = Told;
    const NAME: &'static str = "list_dir";
    const DESCRIPTION: &'static str = "Lists a directory: names, kinds, sizes, modes and times.";

    fn wants(&self, told: Told, _: Action) -> Result<Vec<Action>, ToolError> {
        check(&told.path)?;
        Ok(vec![Action::ReadFile { path: told.path }])
    }

    fn call(&self, told: Told, call: &Call) -> Result<Value, ToolError> {
        let (permit, found) = find(&told.path, call, |path| Action::ReadFile { path })?;
        perform(permit, || {
            let directory = found.open(FileType::Directory)?;
            let cant =
                |error: rustix::io::Errno| failed("can't be read", &found.path, &error.into());
            let mut names = Vec::new();
            for entry in Dir::read_from(&directory).map_err(cant)?.take(ENTRIES_MAX) {
                let name = entry
                    .map_err(cant)?
                    .file_name()
                    .to_string_lossy()
                    .into_owned();
                if name != "." && name != ".." {
                    names.push(name);
                }
            }
            names.sort_unstable();
            let limit = count(told.limit);
            let entries: Vec<Value> = names
                .iter()
                .take(limit)
                .map(|name| entry(&directory, name))
                .collect();
            Ok(json!({
                "path": found.path,
                "entries": entries,
                "count": names.len(),
                "truncated": names.len() > limit,
            }))
        })
    }
}

/// What is known of an entry; one that is gone by now has only a name.
fn entry(directory: &std::fs::File, name: &str) -> Value {
    let Ok(stat) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
        return json!({ "name": name });
    };
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "link",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        FileType::Unknown => "unknown",
    };
    let modified = jiff::Timestamp::from_second(stat.st_mtime).ok();
    let mut entry = json!({
        "name": name,
        "kind": kind,
        "size_bytes": stat.st_size,
        "mode": format!("{:04o}", Mode::from_raw_mode(stat.st_mode).as_raw_mode()),
        "uid": stat.st_uid,
        "gid": stat.st_gid,
        "modified": modified.map(|time| time.to_string()),
    });
    if kind == "link"
        && let Ok(target) = readlinkat(directory, Path::new(name), Vec::new())
    {
        entry["target"] = target.to_string_lossy().into();
    }
    entry
}
