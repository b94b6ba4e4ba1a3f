//! Which personality each user has chosen. It is looked up for every question, so it stands in a
//! small file of its own: the memory need not be open for it, nor free.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tracing::warn;

use crate::config::Settings;
use crate::live::User;
use crate::lock::lock;

const FILE: &str = "uses.json";

type Names = BTreeMap<String, String>;

/// The choices of all users.
pub(crate) struct Uses {
    settings: watch::Receiver<Arc<Settings>>,
    /// Of which file, and what is in it.
    read: Mutex<Option<(PathBuf, Names)>>,
}

impl Uses {
    pub(crate) fn new(settings: watch::Receiver<Arc<Settings>>) -> Self {
        Self {
            settings,
            read: Mutex::default(),
        }
    }

    /// The name that a user has chosen.
    pub(crate) fn of(&self, user: User) -> Option<String> {
        self.with(|_, names| names.get(&user.to_string()).cloned())
    }

    /// Chooses; none: no personality. Blocks for the disk.
    pub(crate) fn choose(&self, user: User, name: Option<String>) -> io::Result<()> {
        self.with(|path, names| {
            let mut changed = names.clone();
            match name {
                Some(name) => changed.insert(user.to_string(), name),
                None => changed.remove(&user.to_string()),
            };
            write(path, &changed)?;
            *names = changed;
            Ok(())
        })
    }

    fn with<T>(&self, work: impl FnOnce(&Path, &mut Names) -> T) -> T {
        let path = self.settings.borrow().memory.dir.join(FILE);
        let mut read = lock(&self.read);
        if read.as_ref().is_none_or(|(of, _)| *of != path) {
            *read = None;
        }
        let (path, names) = read.get_or_insert_with(|| {
            let names = load(&path);
            (path, names)
        });
        work(path, names)
    }
}

fn load(path: &Path) -> Names {
    let read = match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(Names::new()),
        Err(fault) => Err(fault),
    };
    read.unwrap_or_else(|fault| {
        warn!(path = %path.display(), %fault, "nobody's choice of a personality is known");
        Names::new()
    })
}

/// Replaces the file as a whole.
fn write(path: &Path, names: &Names) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    serde_json::to_writer_pretty(&mut file, names)?;
    file.flush()?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
