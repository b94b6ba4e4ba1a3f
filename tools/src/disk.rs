//! What a judgement asks the disk: where a path leads, what a directory holds, whose home is where.

use std::ffi::OsString;
use std::io::{ErrorKind, Read as _};
use std::path::{Component, Path, PathBuf};

use rustix::process::getuid;

/// The kernel follows as many links in one path.
const LINKS_MAX: usize = 40;
/// Names of links that lead elsewhere for each process that follows them.
const OWN_PROCESS: [&str; 2] = ["/proc/self", "/proc/thread-self"];
/// How much of the list of users is read, in bytes.
const USERS_BYTES_MAX: u64 = 1 << 20;

/// A file system, as far as a judgement looks at it. Each answer is `None` if it can't be told: what
/// depends on it is then not allowed without asking.
pub trait Disk: Send + Sync {
    /// Where an absolute path leads, with its links and each `..` followed as the kernel does. What
    /// is yet to be made is where it would be made.
    fn real(&self, path: &Path) -> Option<PathBuf>;

    /// The names in a directory, none if it is not there; `None` if there are more than `most`.
    fn names(&self, _directory: &Path, _most: usize) -> Option<Vec<Name>> {
        None
    }

    /// The home directory of a user, by name; of the one as whom commands run, if the name is empty.
    fn home(&self, _user: &str) -> Option<PathBuf> {
        None
    }
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Without the directory.
    pub name: OsString,
    /// Whether it is a symlink.
    pub is_link: bool,
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine;

impl Disk for Machine {
    fn real(&self, path: &Path) -> Option<PathBuf> {
        real_path(path)
    }

    fn names(&self, directory: &Path, most: usize) -> Option<Vec<Name>> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(fault) => return is_missing(fault.kind()).then(Vec::new),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.ok()?;
            if names.len() == most {
                return None;
            }
            names.push(Name {
                name: entry.file_name(),
                is_link: entry.file_type().ok()?.is_symlink(),
            });
        }
        Some(names)
    }

    fn home(&self, user: &str) -> Option<PathBuf> {
        let home = match (user, std::env::var_os("HOME")) {
            // Commands get the worker's variable.
            ("", Some(home)) => PathBuf::from(home),
            ("", None) => home_in_list(|_, uid| uid == getuid().as_raw().to_string())?,
            (user, _) => home_in_list(|name, _| name == user)?,
        };
        home.is_absolute().then_some(home)
    }
}

/// Where an absolute path leads on this machine: links and `..` are followed one after the other, as
/// the kernel does, and what is not there yet is where it would be made.
///
/// `None` if that can't be told: the path goes up again from a directory that is not there, through a
/// directory that may not be searched, in a circle, or through what is another file for each process.
#[must_use]
pub fn real_path(path: &Path) -> Option<PathBuf> {
    let mut real = PathBuf::from("/");
    let mut todo = steps(path)?;
    let mut links = 0;
    let mut is_there = true;
    while let Some(step) = todo.pop() {
        if step == ".." {
            if !is_there {
                return None;
            }
            real.pop();
            continue;
        }
        real.push(step);
        if !is_there || OWN_PROCESS.iter().any(|own| real == Path::new(own)) {
            continue;
        }
        match std::fs::read_link(&real) {
            Ok(target) => {
                links += 1;
                if links > LINKS_MAX || OWN_PROCESS.iter().any(|own| real.starts_with(own)) {
                    return None;
                }
                real.pop();
                if target.is_absolute() {
                    real = PathBuf::from("/");
                }
                todo.extend(steps_of(&target));
            }
            // It is no link.
            Err(fault) if fault.kind() == ErrorKind::InvalidInput => {}
            // Processes come and go: what it is once the command runs is not known.
            Err(_) if real.starts_with("/proc") => return None,
            Err(fault) if is_missing(fault.kind()) => is_there = false,
            Err(_) => return None,
        }
    }
    Some(real)
}

/// The steps of an absolute path, the last one first.
fn steps(path: &Path) -> Option<Vec<OsString>> {
    path.is_absolute().then(|| steps_of(path))
}

fn steps_of(path: &Path) -> Vec<OsString> {
    let steps = path.components().rev().filter_map(|step| match step {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    steps.collect()
}

fn is_missing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The home of the first user in `/etc/passwd` whose name and number fit.
fn home_in_list(fits: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    let mut list = String::new();
    let file = std::fs::File::open("/etc/passwd").ok()?;
    file.take(USERS_BYTES_MAX).read_to_string(&mut list).ok()?;
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next()?, fields.nth(1)?);
        fits(name, uid).then(|| fields.nth(2).map(PathBuf::from))?
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_leads_where_the_kernel_says() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("its path");
        std::fs::create_dir_all(root.join("a/b")).expect("directories");
        std::fs::create_dir_all(root.join("there")).expect("a directory");
        for (to, from) in [
            ("a/b", "link"),
            ("../there/new", "a/dangling"),
            ("circle", "circle"),
        ] {
            symlink(to, root.join(from)).expect("a link");
        }
        for (path, expected) in [
            ("link", Some("a/b")),
            ("link/..", Some("a")),
            ("link/../../x", Some("x")),
            ("link/./../b/", Some("a/b")),
            ("a/dangling", Some("there/new")),
            ("a/dangling/x", Some("there/new/x")),
            ("link/new/newer", Some("a/b/new/newer")),
            ("new/../x", None),
            ("circle", None),
        ] {
            let found = real_path(&root.join(path));
            assert_eq!(found, expected.map(|path| root.join(path)), "{path}");
        }
        assert_eq!(real_path(Path::new("a")), None);
        assert_eq!(real_path(Path::new("/../..")), Some("/".into()));
        assert_eq!(real_path(Path::new("/proc/self/cwd/x")), None);
        assert_eq!(real_path(Path::new("/dev/fd/9")), None);
        let status = Path::new("/proc/self/status");
        assert_eq!(real_path(status).as_deref(), Some(status));
    }

    #[test]
    fn homes_are_those_of_the_list() {
        assert_eq!(Machine.home("root"), Some("/root".into()));
        assert_eq!(Machine.home("nobody-has-this-name"), None);
    }

    #[test]
    fn a_directory_has_its_names_up_to_a_limit() {
        let dir = tempfile::tempdir().expect("a directory");
        symlink("/", dir.path().join("link")).expect("a link");
        std::fs::write(dir.path().join("file"), "").expect("a file");
        let mut names = Machine.names(dir.path(), 2).expect("names");
        names.sort_by(|one, two| one.name.cmp(&two.name));
        let names: Vec<_> = names.iter().map(|it| (&it.name, it.is_link)).collect();
        assert_eq!(names, [(&"file".into(), false), (&"link".into(), true)]);
        assert_eq!(Machine.names(dir.path(), 1), None);
        assert_eq!(Machine.names(&dir.path().join("no"), 1), Some(Vec::new()));
    }
}
