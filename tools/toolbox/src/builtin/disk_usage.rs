//! `disk_usage`: how full the file systems are, and what fills them.

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fazai_tools::Action;
use procfs::process::{MountInfo, Process};
use rustix::fs::{FileType, statvfs};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::define::{Call, Define, count, limited, perform};
use super::file::{Found, check, find};
use super::system_info::{percent, unread};
use crate::error::ToolError;

/// How many files are looked at.
const ENTRIES_MAX: usize = 1_000_000;

/// For how long.
const TIME_MAX: Duration = Duration::from_secs(20);

/// How many file systems are told of.
const MOUNTS_MAX: usize = 200;

/// Those of other machines: asking one that does not answer would take forever.
const ELSEWHERE: &[&str] = &[
    "9p",
    "afs",
    "autofs",
    "ceph",
    "cifs",
    "fuse",
    "glusterfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
];

pub(super) struct DiskUsage;

/// The file systems, or a directory.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// A directory, absolute: the largest of those in it are told. Without it: the file systems.
    path: Option<PathBuf>,
    /// How many directories are wanted at most.
    #[serde(default = "some")]
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
}

fn some() -> u32 {
    20
}

impl Define for DiskUsage {
    type Params = Told;
    const NAME: &'static str = "disk_usage";
    const DESCRIPTION: &'static str =
        "Tells how full each file system is; with a path, which directories below it take most.";

    fn wants(&self, told: Told, itself: Action) -> Result<Vec<Action>, ToolError> {
        let Some(path) = told.path else {
            return Ok(vec![itself]);
        };
        check(&path)?;
        Ok(vec![Action::ReadFile { path }])
    }

    fn call(&self, told: Told, call: &Call) -> Result<Value, ToolError> {
        let Some(path) = &told.path else {
            return call.facts(file_systems);
        };
        let (permit, found) = find(path, call, |path| Action::ReadFile { path })?;
        perform(permit, || largest(&found, count(told.limit), call))
    }
}

/// Each file system once, also if it is mounted at several places.
fn file_systems() -> Result<Value, ToolError> {
    let mounts = Process::myself().and_then(|process| process.mountinfo());
    let mounts = mounts.map_err(|fault| unread(&fault))?;
    let mut known = HashSet::new();
    let mounts = mounts
        .into_iter()
        .filter(|mount| known.insert(mount.majmin.clone()));
    let (told, truncated) = limited(mounts.filter_map(|mount| usage(&mount)), MOUNTS_MAX);
    Ok(json!({ "file_systems": told, "truncated": truncated }))
}

/// How full it is; none, if it holds nothing, as /proc does.
fn usage(mount: &MountInfo) -> Option<Value> {
    let mut told = json!({
        "mount": mount.mount_point,
        "type": mount.fs_type,
        "device": mount.mount_source,
    });
    if ELSEWHERE.contains(&mount.fs_type.as_str()) || mount.fs_type.starts_with("fuse.") {
        told["skipped"] = "it may be on another machine".into();
        return Some(told);
    }
    let size = statvfs(&mount.mount_point).ok()?;
    if size.f_blocks == 0 {
        return None;
    }
    let bytes = |blocks: u64| blocks.saturating_mul(size.f_frsize);
    let used = size.f_blocks.saturating_sub(size.f_bfree);
    told["total_bytes"] = bytes(size.f_blocks).into();
    told["used_bytes"] = bytes(used).into();
    told["available_bytes"] = bytes(size.f_bavail).into();
    // As df has it: what only root may fill counts neither as used nor as free.
    told["used_percent"] = percent(used, used.saturating_add(size.f_bavail)).into();
    told["inodes_used_percent"] =
        percent(size.f_files.saturating_sub(size.f_ffree), size.f_files).into();
    Some(told)
}

/// What the directories below take together with all that is in them.
fn largest(found: &Found, limit: usize, call: &Call) -> Result<Value, ToolError> {
    found.open(FileType::Directory)?;
    let mut walk = Walk {
        until: Instant::now() + TIME_MAX,
        left: ENTRIES_MAX,
        device: found.stat.st_dev,
        counted: HashSet::new(),
        sizes: Vec::new(),
        call,
    };
    let total = walk.directory(&found.path, 0)?;
    let mut sizes = walk.sizes;
    sizes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let (some, more) = limited(sizes, limit);
    let directories: Vec<Value> = some
        .into_iter()
        .map(|(path, bytes)| json!({ "path": path, "bytes": bytes }))
        .collect();
    Ok(json!({
        "path": found.path,
        "total_bytes": total,
        "directories": directories,
        "entries": ENTRIES_MAX - walk.left,
        "truncated": more,
        "complete": walk.left > 0 && Instant::now() < walk.until,
    }))
}

/// How deep directories are looked at.
const DEPTH_MAX: usize = 200;

struct Walk<'a> {
    until: Instant,
    left: usize,
    /// Other file systems are not part of it.
    device: u64,
    /// Files with several names, which count once.
    counted: HashSet<u64>,
    sizes: Vec<(PathBuf, u64)>,
    call: &'a Call<'a>,
}

impl Walk<'_> {
    fn directory(&mut self, path: &Path, depth: usize) -> Result<u64, ToolError> {
        self.call.go_on()?;
        let mut total = 0;
        // What can't be read is as if it were not there.
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            if self.left == 0 || Instant::now() >= self.until {
                break;
            }
            self.left -= 1;
            let Ok(meta) = entry.metadata() else { continue };
            if meta.dev() != self.device || !self.is_new(&meta) {
                continue;
            }
            total += meta.blocks() * 512;
            if meta.is_dir() && depth < DEPTH_MAX {
                total += self.directory(&entry.path(), depth + 1)?;
            }
        }
        if depth > 0 {
            self.sizes.push((path.to_owned(), total));
        }
        Ok(total)
    }

    fn is_new(&mut self, meta: &Metadata) -> bool {
        meta.is_dir() || meta.nlink() == 1 || self.counted.insert(meta.ino())
    }
}
