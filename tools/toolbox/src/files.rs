//! Tools that are files in a directory.
//!
//! | file | what it owns |
//! |---|---|
//! | `folder.rs` | what lies in the directory, and whether it may be trusted |
//! | `manifest.rs` | `NAME.toml` |
//! | `script.rs`, `shim.mjs`, `shim.py` | a script in JavaScript or Python: asked what it is, and run |
//! | `program.rs`, `arguments.rs` | a program with a manifest, and its arguments |
//! | `description.rs`, `tail.rs` | what strangers wrote, made fit to be read |
//!
//! The name of a tool is that of its file without the ending. `NAME.js`, `.mjs` and `.cjs` have
//! `info` and `run`, `NAME.py` has `INFO` and `run`; they run in the directory. Beside one may
//! stand a manifest; without it a script has all rights. Any other program needs a manifest.
//! Names that begin with `_` or `.`, and all other files, are no tools.
//!
//! Nobody watches the directory: it is looked at whenever tools are wanted, and what has not
//! changed is not read again.

mod arguments;
mod description;
mod folder;
mod manifest;
mod program;
mod script;
mod tail;

use std::collections::HashMap;
use std::hash::RandomState;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use fazai_tools::{Action, Exec, Input, ToolCall};

use self::folder::{Candidate, Stamp};
use self::manifest::Manifest;
use self::program::Program;
use self::script::{Code, Described, Language, Script};
use crate::error::ToolError;
use crate::host::{Host, input_of};
use crate::tool::{About, Broken, Origin, Params, Tool};
use crate::toolbox::Source;

/// After how long a script is asked again what it is, if it did not say.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Where the tools are, and what runs them.
#[derive(Debug, Clone)]
pub struct FilesOptions {
    /// The directory, absolute. If it is not there, there are no tools.
    pub directory: PathBuf,
    /// Node.js, 18 or newer: absolute; without it `node` in `PATH`.
    pub node: Option<PathBuf>,
    /// Python: absolute; without it `python3` in `PATH`.
    pub python: Option<PathBuf>,
}

/// The tools of one directory.
#[derive(Debug)]
pub struct Files {
    options: FilesOptions,
    marks: RandomState,
    known: Mutex<HashMap<PathBuf, Arc<Known>>>,
}

/// A tool as it was read.
#[derive(Debug)]
struct Known {
    stamps: [Option<Stamp>; 2],
    what: Result<What, String>,
}

#[derive(Debug)]
enum What {
    Script(Arc<Code>, Mutex<Option<Asked>>),
    Program(Manifest),
}

/// What a script said when it was asked what it is.
#[derive(Debug, Clone)]
struct Asked {
    when: Instant,
    said: Answered,
}

#[derive(Debug, Clone)]
enum Answered {
    /// What it is.
    Described(Described),
    /// It could not be asked, and may be called all the same.
    Unknown(String),
    /// It is no tool.
    Broken(String),
}

impl Files {
    /// The tools of a directory; nothing is looked at yet.
    #[must_use]
    pub fn new(options: FilesOptions) -> Self {
        Self {
            options,
            marks: RandomState::new(),
            known: Mutex::default(),
        }
    }

    fn tool_of(&self, candidate: &Candidate, host: &dyn Host) -> Result<Arc<dyn Tool>, Broken> {
        self.made_of(candidate, host).map_err(|problem| Broken {
            name: candidate.name.clone(),
            origin: candidate.origin.clone(),
            problem,
        })
    }

    fn made_of(&self, candidate: &Candidate, host: &dyn Host) -> Result<Arc<dyn Tool>, String> {
        if let Some(problem) = &candidate.problem {
            return Err(problem.clone());
        }
        let known = self.known(candidate);
        match known.what.as_ref().map_err(Clone::clone)? {
            What::Program(manifest) => {
                let directory = &self.options.directory;
                let (name, own) = (&candidate.name, candidate.path());
                let program = Program::new(directory, name, own, manifest.clone())?;
                Ok(Arc::new(program))
            }
            What::Script(code, asked) => {
                let interpreter = self.interpreter(code.language)?;
                let said = match describe(code, asked, &interpreter, host) {
                    Answered::Described(said) => said,
                    Answered::Unknown(why) => Described {
                        description: format!("What it does is not known: {why}"),
                        interactive: false,
                    },
                    Answered::Broken(problem) => return Err(problem),
                };
                Ok(Arc::new(Script::new(Arc::clone(code), interpreter, &said)))
            }
        }
    }

    /// A candidate as it is now, read only if it has changed.
    fn known(&self, candidate: &Candidate) -> Arc<Known> {
        let path = candidate.path();
        // Before it is read: what changes meanwhile is read again next time.
        let stamps = [
            Stamp::of(path),
            candidate.manifest.as_deref().and_then(Stamp::of),
        ];
        let mut known = self.lock();
        if let Some(known) = known.get(path).filter(|known| known.stamps == stamps) {
            return Arc::clone(known);
        }
        let what = self.read(candidate);
        let read = Arc::new(Known { stamps, what });
        known.insert(path.to_owned(), Arc::clone(&read));
        read
    }

    fn read(&self, candidate: &Candidate) -> Result<What, String> {
        let directory = &self.options.directory;
        let manifest = match &candidate.manifest {
            None => Manifest::missing(),
            Some(path) => {
                let file = format!("{}.toml", candidate.name);
                Manifest::parse(&file, &folder::read(directory, path)?)?
            }
        };
        let language = match candidate.origin {
            Origin::JavaScript { .. } => Language::JavaScript,
            Origin::Python { .. } => Language::Python,
            _ => return Ok(What::Program(manifest)),
        };
        if manifest.program.is_some() || manifest.args.is_some() {
            return Err(format!(
                "{}.toml has `program` or `args`, and a script of the same name is beside it; \
                 remove the one or the other",
                candidate.name
            ));
        }
        let source = folder::read(directory, candidate.path())?;
        let code = Code {
            name: candidate.name.clone(),
            language,
            path: candidate.path().to_owned(),
            sha256: Input::of(source.as_bytes()).sha256,
            source,
            manifest,
            marks: self.marks.clone(),
        };
        Ok(What::Script(Arc::new(code), Mutex::default()))
    }

    fn interpreter(&self, language: Language) -> Result<String, String> {
        let set = match language {
            Language::JavaScript => &self.options.node,
            Language::Python => &self.options.python,
        };
        let (name, advice) = language.interpreter();
        let found = match set {
            Some(path) => path.is_absolute().then(|| path.clone()),
            None => std::env::var_os("PATH").and_then(|path| {
                let mut places = std::env::split_paths(&path).map(|place| place.join(name));
                places.find(|program| program.is_absolute() && is_program(program))
            }),
        };
        let found = found.filter(|program| is_program(program));
        let text = found.and_then(|path| path.into_os_string().into_string().ok());
        text.ok_or_else(|| match set {
            Some(path) => format!(
                "{} is no program; set the absolute path of {name}, or {advice}",
                path.display()
            ),
            None => format!("there is no `{name}` in PATH; {advice}"),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<Known>>> {
        // An entry is complete or not there.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Files {
    fn tools(&self, host: &dyn Host) -> Vec<Result<Arc<dyn Tool>, Broken>> {
        let candidates = folder::candidates(&self.options.directory);
        self.lock()
            .retain(|path, _| candidates.iter().any(|one| one.path() == path));
        candidates
            .iter()
            .map(|candidate| self.tool_of(candidate, host))
            .collect()
    }

    fn tool(&self, name: &str, host: &dyn Host) -> Option<Result<Arc<dyn Tool>, Broken>> {
        let candidates = folder::candidates(&self.options.directory);
        let candidate = candidates.iter().find(|one| one.name == name)?;
        Some(self.tool_of(candidate, host))
    }
}

/// What a script says it is: it is asked once, and again only if it did not say. While somebody
/// else asks it, which may wait for a person, it is not known.
fn describe(
    code: &Code,
    asked: &Mutex<Option<Asked>>,
    interpreter: &str,
    host: &dyn Host,
) -> Answered {
    if code.manifest.description.is_some() {
        return Answered::Described(Described::default());
    }
    let mut asked = match asked.try_lock() {
        Ok(asked) => asked,
        Err(TryLockError::Poisoned(asked)) => asked.into_inner(),
        Err(TryLockError::WouldBlock) => {
            return Answered::Unknown("it is being asked; look again soon".into());
        }
    };
    if let Some(asked) = asked.as_ref()
        && (matches!(asked.said, Answered::Described(_)) || asked.when.elapsed() < ASK_AGAIN)
    {
        return asked.said.clone();
    }
    let said = match code.describe(interpreter, host) {
        Ok(said) => Answered::Described(said),
        Err(ToolError::Stopped) => return Answered::Unknown("it was stopped".into()),
        Err(error @ ToolError::Failed(_)) => Answered::Broken(error.to_string()),
        Err(ToolError::TimedOut) => Answered::Broken(
            "it did not say in time what it is; let nothing but `run` take long".into(),
        ),
        Err(error) => Answered::Unknown(error.to_string()),
    };
    *asked = Some(Asked {
        when: Instant::now(),
        said: said.clone(),
    });
    said
}

/// A call of a tool by a program, as the gate judges it.
fn call_of(about: &About, params: &Params, exec: Exec) -> Action {
    Action::CallTool(Box::new(ToolCall {
        name: about.name.clone(),
        rights: about.rights.clone(),
        risk: about.risk,
        input: input_of(params),
        exec: Some(exec),
    }))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
