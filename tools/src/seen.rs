//! What stood in the programs and scripts that a person said yes to: what runs has to be that.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::action::{Action, Exec};
use crate::audit::Hash;
use crate::disk::Machine;
use crate::reach::Reach;
use crate::shell::{Access, Command, Script, Word, runs_its_files};

/// How much of a file is looked at. What is longer has a length that is looked at as well.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// How many files of one command are looked at, and how much of all of them.
const FILES_MAX: usize = 64;
const ALL_BYTES_MAX: u64 = 256 << 20;

/// A file as it was when somebody was asked about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenFile {
    /// Where it is.
    pub path: PathBuf,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// The hash of its first 64 MiB.
    pub sha256: Hash,
}

/// A file is not what somebody said yes to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} was changed after somebody was asked about it, and nothing was run; look at it, and ask again", .path.display()
)]
pub struct Changed {
    /// Which.
    pub path: PathBuf,
}

/// The programs that an action starts, and the files that it gives to those which run them.
pub(crate) fn seen(action: &Action) -> Vec<SeenFile> {
    let Some(exec) = action.exec() else {
        return Vec::new();
    };
    let mut files: Vec<SeenFile> = Vec::new();
    let mut left = ALL_BYTES_MAX;
    for path in named(exec) {
        if files.len() >= FILES_MAX || left == 0 || files.iter().any(|file| file.path == path) {
            continue;
        }
        if let Ok(file) = SeenFile::of(&path) {
            left = left.saturating_sub(file.bytes.min(FILE_BYTES_MAX));
            files.push(file);
        }
    }
    files
}

/// Finds what has changed since.
pub(crate) fn check(files: &[SeenFile]) -> Result<(), Changed> {
    let changed = |file: &&SeenFile| {
        let now = SeenFile::of(&file.path);
        !now.is_ok_and(|now| now == **file)
    };
    match files.iter().find(changed) {
        Some(SeenFile { path, .. }) => Err(Changed { path: path.clone() }),
        None => Ok(()),
    }
}

impl SeenFile {
    /// Only a plain file is: a pipe would keep the reader waiting, and says something else next time.
    fn of(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self {
            path: path.to_owned(),
            bytes: about.len(),
            sha256: hash(file)?,
        })
    }
}

fn hash(file: File) -> io::Result<Hash> {
    let mut hasher = Sha256::new();
    io::copy(&mut file.take(FILE_BYTES_MAX), &mut hasher)?;
    Ok(Hash(hasher.finalize().into()))
}

/// Where the programs and scripts of a command may be.
fn named(exec: &Exec) -> Vec<PathBuf> {
    let script = Script::from_argv(&exec.argv).unwrap_or_default();
    let reach = Reach::of_script(Some(&Machine), &script, &exec.cwd.to_string_lossy());
    let first = exec.argv.first().map(String::as_str);
    let programs = script.commands.iter().map(|it| it.program.as_str());
    let programs = first.into_iter().chain(programs);
    let mut paths: Vec<PathBuf> = programs
        .flat_map(|program| program_paths(exec, &reach, program))
        .collect();
    let files = script.commands.iter().filter(|it| runs_its_files(it));
    let words = files.flat_map(|command: &Command| command.args.iter().chain(&command.reads));
    paths.extend(words.flat_map(|word| word_paths(&reach, word)));
    paths
}

fn program_paths(exec: &Exec, reach: &Reach<'_>, program: &str) -> Vec<PathBuf> {
    if program.contains('/') {
        return word_paths(reach, &Word::Literal(program.to_owned()));
    }
    let own = exec.env.get("PATH").map(Into::into);
    let path = own.or_else(|| std::env::var_os("PATH")).unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|directory| directory.join(program));
    places.find(|path| path.is_file()).into_iter().collect()
}

fn word_paths(reach: &Reach<'_>, word: &Word) -> Vec<PathBuf> {
    let places = reach.places(word, Access::Mention);
    let texts = places.iter().flat_map(|place| place.forms());
    let texts = texts
        .filter_map(Word::literal)
        .filter(|text| text.starts_with('/'));
    texts.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn paths(action: &Action) -> Vec<PathBuf> {
        seen(action).into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn programs_and_scripts_are_looked_at_and_data_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = fs::canonicalize(directory.path()).expect("a path");
        for name in ["run.sh", "x.py", "data"] {
            fs::write(at.join(name), name).expect("written");
        }
        let check = |text: &str, expected: &[&str]| {
            let found = paths(&Action::shell(text, &at));
            let own: Vec<_> = found.iter().filter(|path| path.starts_with(&at)).collect();
            let expected: Vec<_> = expected.iter().map(|name| at.join(name)).collect();
            assert_eq!(own, expected.iter().collect::<Vec<_>>(), "{text}");
        };
        check("./run.sh data", &["run.sh"]);
        check("sudo ./run.sh", &["run.sh"]);
        check("python3 -W ignore x.py", &["x.py"]);
        check("bash < run.sh", &["run.sh"]);
        check(". ./run.sh", &["run.sh"]);
        check("cat data | python3 x.py", &["x.py"]);
        check("cat data; rm run.sh", &[]);
        check("python3 nothing.py", &[]);
        check(&format!("cd {} && ./run.sh", at.display()), &["run.sh"]);
        let bash = paths(&Action::shell("reboot", "/"));
        assert!(bash.iter().any(|path| path.ends_with("bash")), "{bash:?}");
    }

    #[test]
    fn what_changes_is_found() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("run.sh");
        fs::write(&path, "true").expect("written");
        let action = Action::shell(path.display().to_string(), "/");
        let files = seen(&action);
        assert_eq!(check(&files), Ok(()));
        fs::write(&path, "evil").expect("written");
        assert_eq!(check(&files), Err(Changed { path: path.clone() }));
        fs::remove_file(&path).expect("removed");
        assert!(check(&files).is_err());
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).expect("a pipe");
        assert!(check(&files).is_err(), "it waits for nobody");
    }
}
