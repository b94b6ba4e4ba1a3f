//! Where each path of an action leads, which files its programs are, and which scripts there are.
//!
//! All of it goes into one hash, so that it can be found out again and compared; what people are
//! shown of it is only what they can't read in the command.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::script::{Code, code_of, given_by, unseen};
use super::{Does, Lead};
use crate::action::{Action, Exec};
use crate::audit::Hash;
use crate::disk::{Disk as _, Machine};
use crate::reach::{Place, Reach};
use crate::shell::{Access, Script, Word, runs_its_files, touches};

/// How many paths that lead elsewhere are shown and recorded, and how many bytes of them.
const LEADS_MAX: usize = 64;
const LEADS_BYTES_MAX: usize = 8 << 10;

/// How many scripts that are not there are shown, and how much that could not be looked at.
const SHOWN_MAX: usize = 16;

/// What an action names on the disk.
#[derive(Default)]
pub(super) struct Places {
    /// Programs and scripts, to be read.
    pub(super) files: Vec<PathBuf>,
    pub(super) missing: Vec<PathBuf>,
    pub(super) leads: Vec<Lead>,
    pub(super) unseen: Vec<String>,
    /// None: it names nothing.
    pub(super) sha256: Option<Hash>,
}

impl Places {
    pub(super) fn of(action: &Action) -> Self {
        let mut found = Finding::default();
        match action {
            Action::ReadFile { path } => found.path(path, Access::Read),
            Action::WriteFile { path, .. } => found.path(path, Access::Write),
            action => {
                if let Some(exec) = action.exec() {
                    found.exec(exec);
                }
            }
        }
        let sha256 = found.facts.map(|facts| Hash(facts.finalize().into()));
        Self {
            sha256,
            ..found.places
        }
    }

    /// What to name if it can't be told which path it was.
    pub(super) fn named(&self, action: &Action) -> PathBuf {
        match action {
            Action::ReadFile { path } | Action::WriteFile { path, .. } => path.clone(),
            action => action.exec().map_or_else(PathBuf::new, |exec| {
                self.files.last().unwrap_or(&exec.cwd).clone()
            }),
        }
    }
}

#[derive(Default)]
struct Finding {
    places: Places,
    facts: Option<Sha256>,
    lead_bytes: usize,
}

impl Finding {
    fn path(&mut self, path: &Path, access: Access) {
        let Some(text) = path.to_str() else {
            return;
        };
        let reach = Reach::of_path(Some(&Machine));
        let word = Word::Literal(text.into());
        for place in reach.places(&word, access) {
            self.place(&place, access);
        }
    }

    fn exec(&mut self, exec: &Exec) {
        let script = Script::from_argv(&exec.argv).unwrap_or_default();
        let reach = Reach::of_script(Some(&Machine), &script, &exec.cwd.to_string_lossy());
        let starts_in = Machine.real(&exec.cwd);
        self.fact("starts in", &format!("{starts_in:?}"));
        self.lead(Does::StartsIn, &exec.cwd, starts_in.into_iter().collect());
        let first = exec.argv.first().map(String::as_str);
        let programs = script.commands.iter().map(|it| it.program.as_str());
        for program in first.into_iter().chain(programs) {
            let paths = program_paths(exec, &reach, program);
            self.fact("program", &format!("{paths:?}"));
            if program.contains('/') {
                for path in &paths {
                    self.script(path, true);
                }
            }
            self.places.files.extend(paths);
        }
        for command in script.commands.iter().filter(|it| runs_its_files(it)) {
            let exists = |word: &Word| word_paths(&reach, word).iter().any(|path| path.is_file());
            let code = code_of(command, exists);
            let given = script.commands.iter().filter(|it| given_by(it, command));
            let given = given.flat_map(|it| it.reads.iter().map(|word| (word, true)));
            let args = command.args.iter().map(|word| (word, code.is_script(word)));
            for (word, is_shown) in args.chain(given) {
                for path in word_paths(&reach, word) {
                    self.script(&path, is_shown);
                    self.places.files.push(path);
                }
            }
            self.unseen(code);
        }
        for what in unseen(exec, &script) {
            self.not_looked_at(what);
        }
        for command in &script.commands {
            for touch in touches(command) {
                if matches!(touch.path, Word::Unknown { .. }) {
                    continue;
                }
                for place in reach.places(&touch.path, touch.access) {
                    self.place(&place, touch.access);
                }
            }
        }
    }

    fn unseen(&mut self, code: Code<'_>) {
        if let Code::Unknown(what) = code {
            self.not_looked_at(what);
        }
    }

    fn not_looked_at(&mut self, what: String) {
        let unseen = &mut self.places.unseen;
        if unseen.len() < SHOWN_MAX && !unseen.contains(&what) {
            unseen.push(what);
        }
    }

    /// A file that may be code: whether it is there is a part of what is agreed to.
    fn script(&mut self, path: &Path, is_shown: bool) {
        let state = match fs::metadata(path) {
            Ok(about) if about.is_file() => "a file",
            Ok(_) => "no plain file",
            Err(fault) if is_missing(fault.kind()) => "not there",
            Err(_) => "can't be looked at",
        };
        self.fact(state, &format!("{path:?}"));
        if !is_shown {
            return;
        }
        let missing = &mut self.places.missing;
        if state == "not there" && missing.len() < SHOWN_MAX && !missing.iter().any(|it| it == path)
        {
            missing.push(path.to_owned());
        }
        let unreadable = state == "a file" && fs::File::open(path).is_err();
        if unreadable || state == "no plain file" || state == "can't be looked at" {
            self.not_looked_at(format!("what is in {}", path.display()));
        }
    }

    fn place(&mut self, place: &Place, access: Access) {
        let mut to: Vec<&str> = place.real.iter().map(Word::text).collect();
        // A directory tells its names in any order.
        to.sort_unstable();
        let written = place.written.text();
        self.fact(written, &format!("{to:?} {:?}", place.unclear));
        let does = match access {
            Access::Mention => return,
            Access::Read | Access::ReadTree => Does::Reads,
            Access::Write | Access::WriteTree => Does::Writes,
        };
        let to = to.into_iter().map(PathBuf::from).collect();
        self.lead(does, Path::new(written), to);
    }

    fn lead(&mut self, does: Does, path: &Path, mut to: Vec<PathBuf>) {
        to.retain(|to| to != path);
        let lead = Lead {
            does,
            path: path.to_owned(),
            to,
        };
        let bytes = lead.to.iter().chain([&lead.path]);
        let bytes: usize = bytes.map(|path| path.as_os_str().len()).sum();
        let room = self.places.leads.len() < LEADS_MAX && self.lead_bytes + bytes < LEADS_BYTES_MAX;
        if room && !lead.to.is_empty() && !self.places.leads.contains(&lead) {
            self.lead_bytes += bytes;
            self.places.leads.push(lead);
        }
    }

    /// The length keeps the parts apart whatever is in them.
    fn fact(&mut self, what: &str, is: &str) {
        let facts = self.facts.get_or_insert_default();
        for part in [what, is] {
            facts.update(part.len().to_le_bytes());
            facts.update(part.as_bytes());
        }
    }
}

fn is_missing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
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
