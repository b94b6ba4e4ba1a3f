//! What a command that may look at everything is still not shown: passwords and keys.
//!
//! The policy denies these by their names, and a command has more ways to name a file than a policy
//! can know. Landlock can only allow, so everything else is allowed, piece by piece: a directory
//! that holds a secret is taken apart into what is in it. What came of that is kept for the next
//! command, for as long as none of these directories has changed.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Files and directories, by where they are and how their names begin and end.
const SECRETS: &[(&str, &str, &str)] = &[
    ("/dev", "kmem", ""),
    ("/dev", "mem", ""),
    ("/dev", "port", ""),
    ("/etc", "fazai", ""),
    ("/etc", "gshadow", ""),
    ("/etc", "krb5.keytab", ""),
    ("/etc", "shadow", ""),
    ("/etc", "sudoers", ""),
    ("/etc", "wireguard", ""),
    ("/etc/NetworkManager", "system-connections", ""),
    ("/etc/kubernetes", "", ".conf"),
    ("/etc/letsencrypt", "archive", ""),
    ("/etc/letsencrypt", "live", ""),
    ("/etc/mysql", "debian.cnf", ""),
    ("/etc/ppp", "", "-secrets"),
    ("/etc/security", "opasswd", ""),
    ("/etc/ssh", "ssh_host_", "_key"),
    ("/etc/ssl", "private", ""),
    ("/run", "credentials", ""),
    ("/run", "secrets", ""),
    ("/var/backups", "gshadow", ""),
    ("/var/backups", "shadow", ""),
    ("/var/lib", "fazai", ""),
];

/// What people have in their home directories for themselves alone.
const PRIVATE: &[&str] = &[
    ".aws",
    ".bash_history",
    ".config",
    ".docker",
    ".env",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".my.cnf",
    ".mysql_history",
    ".netrc",
    ".password-store",
    ".pgpass",
    ".psql_history",
    ".ssh",
    ".zsh_history",
];

/// A change in the same moment as the look at a directory may leave its times as they were; file
/// systems count in seconds at worst.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// The file systems of this machine alone, whose directories tell by their times that they changed:
/// ext, XFS, Btrfs, tmpfs, ramfs, overlayfs, F2FS, ZFS, bcachefs, SquashFS and EROFS.
const TELLING: &[u64] = &[
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x8584_58f6,
    0x794c_7630,
    0xf2f5_2010,
    0x2fc1_2fc1,
    0xca45_1a4e,
    0x7371_7368,
    0xe0f5_e1e2,
];

/// What was found last. There is one, since the policy hides the same for all.
static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

/// What may be read: all but the secrets and `more`.
pub(super) fn shown(more: &[PathBuf]) -> Vec<PathBuf> {
    // Links lead elsewhere; what counts is where.
    let more = more.iter().filter_map(|path| path.canonicalize().ok());
    let more: Vec<PathBuf> = more.collect();
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    shown_below(Path::new("/"), &more, &mut kept)
}

/// The same below one directory.
fn shown_below(root: &Path, more: &[PathBuf], kept: &mut Option<Kept>) -> Vec<PathBuf> {
    if let Some(kept) = kept.as_ref().filter(|kept| kept.holds(more)) {
        return kept.shown.clone();
    }
    let mut cover = Cover {
        more,
        now: SystemTime::now(),
        shown: Vec::new(),
        stamps: Some(Vec::new()),
    };
    cover.add(root);
    let shown = cover.shown;
    *kept = cover.stamps.map(|stamps| Kept {
        more: more.to_vec(),
        stamps,
        shown: shown.clone(),
    });
    shown
}

/// What a look at the directories has found, and how they were then. Whatever may change it changes
/// one of them: a name that comes, goes, or becomes a link.
struct Kept {
    more: Vec<PathBuf>,
    stamps: Vec<(PathBuf, Stamp)>,
    shown: Vec<PathBuf>,
}

impl Kept {
    fn holds(&self, more: &[PathBuf]) -> bool {
        let same = |(path, stamp): &(PathBuf, Stamp)| Stamp::of(path).as_ref() == Some(stamp);
        self.more == more && self.stamps.iter().all(same)
    }
}

/// By what it shows that a directory is another one, or has other names in it.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    dev: u64,
    ino: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// None: there is nothing.
    fn of(path: &Path) -> Option<Self> {
        let data = fs::symlink_metadata(path).ok()?;
        Some(Self {
            dev: data.dev(),
            ino: data.ino(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        })
    }

    /// Whether every later change will show.
    fn is_settled(&self, path: &Path, now: SystemTime) -> bool {
        let last = self.modified.max(self.changed).0;
        let last = u64::try_from(last).unwrap_or_default();
        // The fraction of the second that is left out makes it later by less than one.
        let settled = UNIX_EPOCH + Duration::from_secs(last + 1) + SETTLED_AFTER;
        let telling = |kind: u64| TELLING.contains(&kind);
        settled < now
            && rustix::fs::statfs(path)
                .is_ok_and(|system| u64::try_from(system.f_type).is_ok_and(telling))
    }
}

/// One look at the directories.
struct Cover<'a> {
    more: &'a [PathBuf],
    now: SystemTime,
    shown: Vec<PathBuf>,
    /// None: one of the directories would not tell that it changed.
    stamps: Option<Vec<(PathBuf, Stamp)>>,
}

impl Cover<'_> {
    fn add(&mut self, path: &Path) {
        if is_hidden(path, self.more) {
            return;
        }
        if !holds_hidden(path, self.more) {
            self.shown.push(path.to_owned());
            return;
        }
        // Before it is read, so that what changes meanwhile shows.
        self.stamp(path);
        // One that can't be read is not shown either.
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        for entry in entries {
            let kind = entry.file_type();
            let is_disk = kind.as_ref().is_ok_and(fs::FileType::is_block_device);
            let is_link = kind.is_ok_and(|kind| kind.is_symlink());
            // What a link leads to is shown or not by its own name.
            if !is_disk && !is_link {
                self.add(&entry.path());
            }
        }
    }

    fn stamp(&mut self, path: &Path) {
        let stamp = Stamp::of(path).filter(|stamp| stamp.is_settled(path, self.now));
        match (stamp, &mut self.stamps) {
            (Some(stamp), Some(stamps)) => stamps.push((path.to_owned(), stamp)),
            _ => self.stamps = None,
        }
    }
}

fn is_hidden(path: &Path, more: &[PathBuf]) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let parent = path.parent().and_then(Path::to_str).unwrap_or_default();
    let secret = |(dir, start, end): &(&str, &str, &str)| {
        *dir == parent && name.starts_with(start) && name.ends_with(end)
    };
    more.iter().any(|hidden| path.starts_with(hidden))
        || SECRETS.iter().any(secret)
        || (path.parent().is_some_and(is_home) && PRIVATE.contains(&name))
}

/// Whether something below it is hidden.
fn holds_hidden(path: &Path, more: &[PathBuf]) -> bool {
    more.iter().any(|hidden| hidden.starts_with(path))
        || SECRETS
            .iter()
            .any(|(dir, ..)| Path::new(dir).starts_with(path))
        || is_home(path)
        || path == Path::new("/home")
}

fn is_home(path: &Path) -> bool {
    path == Path::new("/root") || path.parent() == Some(Path::new("/home"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown_and_the_rest_is() {
        let hidden = |path: &str| is_hidden(Path::new(path), &["/srv/audit".into()]);
        for path in [
            "/etc/shadow",
            "/etc/shadow-",
            "/etc/ssh/ssh_host_rsa_key",
            "/root/.ssh",
            "/home/ana/.aws",
            "/srv/audit",
            "/srv/audit/audit.key",
            "/var/lib/fazai",
        ] {
            assert!(hidden(path), "{path}");
        }
        for path in [
            "/etc/passwd",
            "/etc/ssh/ssh_host_rsa_key.pub",
            "/root/notes",
            "/home/ana/work/.env",
            "/srv",
            "/var/lib/dpkg",
        ] {
            assert!(!hidden(path), "{path}");
        }
        let shown = shown(&[]);
        assert!(shown.contains(&"/usr".into()) && shown.contains(&"/etc/passwd".into()));
        assert!(
            !shown
                .iter()
                .any(|path| Path::new("/etc/shadow").starts_with(path))
        );
        assert!(
            !shown
                .iter()
                .any(|path| Path::new("/root/.ssh/id").starts_with(path))
        );
    }

    /// A directory with a file that is to be hidden and another one.
    fn place() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["key", "plain"] {
            fs::write(directory.path().join(name), name).expect("written");
        }
        directory
    }

    #[test]
    fn what_was_found_is_kept_until_a_directory_changes() {
        type Change = fn(&Path);
        let changes: [(&str, Change, &[&str]); 5] = [
            (
                "a link in the place of a file",
                |root| {
                    std::os::unix::fs::symlink(root.join("key"), root.join("link")).expect("made");
                    fs::rename(root.join("link"), root.join("plain")).expect("renamed");
                },
                &[],
            ),
            (
                "a new file",
                |root| fs::write(root.join("new"), "").expect("written"),
                &["new", "plain"],
            ),
            (
                "names that are exchanged",
                |root| {
                    fs::rename(root.join("key"), root.join("was key")).expect("renamed");
                    fs::rename(root.join("plain"), root.join("key")).expect("renamed");
                },
                &["was key"],
            ),
            (
                "a file that is gone",
                |root| fs::remove_file(root.join("plain")).expect("removed"),
                &[],
            ),
            (
                "another directory by the same name",
                |root| {
                    let aside = root.with_extension("aside");
                    fs::rename(root, &aside).expect("renamed");
                    fs::create_dir(root).expect("made");
                    fs::write(root.join("other"), "").expect("written");
                    fs::remove_dir_all(aside).expect("removed");
                },
                &["other"],
            ),
        ];
        let places = changes.each_ref().map(|_| place());
        std::thread::sleep(SETTLED_AFTER + Duration::from_millis(1100));
        for ((name, change, expected), place) in changes.into_iter().zip(places) {
            let root = place.path().canonicalize().expect("it is there");
            let more = [root.join("key")];
            let mut kept = None;
            assert_eq!(shown_below(&root, &more, &mut kept), [root.join("plain")]);
            assert!(
                kept.as_ref().is_some_and(|kept| kept.holds(&more)),
                "{name}"
            );
            assert!(!kept.as_ref().is_some_and(|kept| kept.holds(&[])), "{name}");
            change(&root);
            let mut shown = shown_below(&root, &more, &mut kept);
            shown.sort();
            let expected: Vec<PathBuf> = expected.iter().map(|name| root.join(name)).collect();
            assert_eq!(shown, expected, "{name}");
            // What has just changed may change again without a trace.
            assert!(kept.is_none(), "{name}");
        }
    }
}
