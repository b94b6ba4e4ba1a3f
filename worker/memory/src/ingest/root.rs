//! Where files are opened from: one directory's descriptor, and below it no link at all. Whoever may
//! write there can put a link in a directory's place between two looks; it leads nowhere from here.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The directory that was named, or the one that the named file is in.
#[derive(Debug)]
pub(super) struct Root {
    /// What was named, without links.
    path: PathBuf,
    directory: PathBuf,
    descriptor: OwnedFd,
}

impl Root {
    /// What somebody named; that itself may be a link.
    pub(super) fn named(path: &Path) -> io::Result<Self> {
        Self::open(&fs::canonicalize(path)?)
    }

    /// A path that has no links in it, or had none.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let open = |path: &Path| open_at(None, path, path, OFlags::PATH);
        let (mut directory, mut descriptor) = (path, open(path)?);
        if let Some(above) = path.parent()
            && !descriptor.metadata()?.is_dir()
        {
            (directory, descriptor) = (above, open(above)?);
        }
        Ok(Self {
            path: path.into(),
            directory: directory.into(),
            descriptor: descriptor.into(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the directory is, whatever its name leads to by now.
    pub(super) fn metadata(&self) -> io::Result<fs::Metadata> {
        File::from(self.descriptor.try_clone()?).metadata()
    }

    /// What is at a path below. A link is itself, and nothing is opened.
    pub(super) fn look(&self, path: &Path) -> io::Result<fs::Metadata> {
        self.descend(path, OFlags::PATH)?.metadata()
    }

    /// Opens a path below for reading. A pipe keeps nobody waiting.
    pub(super) fn read(&self, path: &Path) -> io::Result<File> {
        self.descend(path, OFlags::RDONLY | OFlags::NONBLOCK)
    }

    fn descend(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let Ok(below) = path.strip_prefix(&self.directory) else {
            return Err(Errno::XDEV.into());
        };
        let below = match below.as_os_str().is_empty() {
            true => Path::new("."),
            false => below,
        };
        open_at(Some(&self.descriptor), below, path, flags)
    }
}

/// Where an open file is by now, in the kernel's words.
pub(super) fn place(file: &impl AsFd) -> io::Result<PathBuf> {
    fs::read_link(through(file))
}

fn through(file: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

/// Opens what is below a directory, or a whole path.
fn open_at(
    directory: Option<&OwnedFd>,
    below: &Path,
    path: &Path,
    flags: OFlags,
) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match directory {
        Some(directory) => {
            let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
            rustix::fs::openat2(directory, below, flags, Mode::empty(), resolve)
        }
        None => rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS),
    };
    match opened {
        Ok(opened) => Ok(opened.into()),
        // A kernel before 5.6, or a filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_and_compare(path, flags),
        Err(error) => Err(error.into()),
    }
}

/// The same without the kernel's help: nothing is read of what is elsewhere than its path says.
fn open_and_compare(path: &Path, flags: OFlags) -> io::Result<File> {
    let only_path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::open(path, only_path, Mode::empty())?;
    if place(&found)? != path {
        return Err(Errno::LOOP.into());
    }
    if flags.contains(OFlags::PATH) {
        return Ok(found.into());
    }
    let file = File::from(found);
    if file.metadata()?.is_symlink() {
        return Err(Errno::LOOP.into());
    }
    // What was compared, and not what has its name by now.
    let flags = flags - OFlags::NOFOLLOW;
    Ok(rustix::fs::open(through(&file), flags, Mode::empty())?.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_leads_out_with_the_kernels_help_or_without() {
        let home = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(home.path()).unwrap();
        let docs = home.join("docs");
        fs::create_dir_all(docs.join("z")).unwrap();
        fs::create_dir(home.join("etc")).unwrap();
        fs::write(docs.join("z/shadow"), "mine").unwrap();
        fs::write(home.join("etc/shadow"), "secret").unwrap();
        let root = Root::named(&docs).unwrap();
        let file = docs.join("z/shadow");
        let open = |helped: bool| match helped {
            true => root.read(&file),
            false => open_and_compare(&file, OFlags::RDONLY | OFlags::NOFOLLOW),
        };
        for helped in [true, false] {
            let mut text = String::new();
            open(helped).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "mine");
        }
        fs::rename(docs.join("z"), docs.join("y")).unwrap();
        symlink(home.join("etc"), docs.join("z")).unwrap();
        let refused = Some(Errno::LOOP.raw_os_error());
        for helped in [true, false] {
            let error = open(helped).unwrap_err();
            assert_eq!(error.raw_os_error(), refused, "{helped}");
        }
        let path = OFlags::PATH;
        assert!(root.look(&docs.join("z")).unwrap().is_symlink());
        let link = open_and_compare(&docs.join("z"), path).unwrap();
        assert!(link.metadata().unwrap().is_symlink());
        assert!(open_and_compare(&docs.join("z"), OFlags::RDONLY).is_err());
        assert!(root.look(&file).is_err() && open_and_compare(&file, path).is_err());
        assert!(root.look(&home.join("etc")).is_err(), "it is not below");
        assert!(root.look(&docs.join("../etc")).is_err(), "nor is that");
        // The directory itself may go elsewhere; what was named is still what is read.
        fs::rename(&docs, home.join("moved")).unwrap();
        symlink(home.join("etc"), &docs).unwrap();
        assert!(root.look(&docs.join("shadow")).is_err());
        assert!(root.look(&docs.join("y/shadow")).unwrap().is_file());
        assert!(Root::open(&docs.join("shadow")).is_err());
        assert!(Root::named(&docs.join("shadow")).is_ok(), "it was named so");
    }
}
