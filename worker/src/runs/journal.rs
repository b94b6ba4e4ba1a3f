//! The journal of one run.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fazai_protocol::StepState;
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::policy::is_ours_alone;

/// The largest journal, in bytes.
const JOURNAL_BYTES_MAX: u64 = 4 << 20;

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// What is wanted, by whom. The first line.
    Begun {
        id: String,
        time: String,
        user: String,
        wish: String,
        #[serde(default)]
        model: Option<String>,
        #[serde(default)]
        session: Option<String>,
        /// Whether a model is to say at the end what was found.
        report: bool,
        /// How long it may take, from each beginning or resumption.
        #[serde(default)]
        deadline_ms: Option<u64>,
    },
    /// The steps from here on; a later plan takes the place of what is left of the one before.
    Plan { steps: Vec<Value> },
    /// Steps that came before what was left, and with them what is left: a program was missing.
    Insert { steps: Vec<Value> },
    /// A step is about to begin.
    Step { what: String },
    /// It is over.
    Ended {
        state: StepState,
        code: Option<i32>,
        output: String,
    },
    /// The run is over, or stopped before its end.
    Stand { stand: Stand },
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stand {
    /// It goes on, or did when the worker ended.
    Running,
    /// Its client left, or it was stopped; it can be resumed.
    Stopped,
    /// Its steps are over.
    Done,
    /// It has done as many steps as a run may, and more are planned.
    Limited,
    /// Somebody cancelled it for good.
    Cancelled,
}

impl Stand {
    /// Whether it does not go on any more.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Limited | Self::Cancelled)
    }
}

/// A step that began.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct KeptStep {
    pub(crate) what: String,
    pub(crate) state: StepState,
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
}

/// What a journal says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Kept {
    pub(crate) id: String,
    pub(crate) time: String,
    pub(crate) user: String,
    pub(crate) wish: String,
    pub(crate) model: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) report: bool,
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) stand: Stand,
    /// How many plans were made.
    pub(crate) plans: u32,
    /// Steps of the last plan that have not begun.
    pub(crate) left: Vec<Value>,
    /// In the order in which they began.
    pub(crate) steps: Vec<KeptStep>,
}

/// Why a run can't be kept or found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalFault {
    #[error("there is no run {0:?}")]
    NotFound(String),
    #[error("the journal of the run is damaged: {0}")]
    Damaged(String),
    #[error("the run is going on already")]
    Busy,
    #[error("the run can't be written down in {dir}: {fault}")]
    Write { dir: PathBuf, fault: io::Error },
}

/// A journal that is written.
pub(crate) struct Journal {
    file: File,
    dir: PathBuf,
    /// What it says so far.
    pub(crate) kept: Kept,
}

impl Journal {
    pub(super) fn create(dir: &Path, begun: &Entry) -> Result<Self, JournalFault> {
        let kept = Kept::begin(begun.clone()).ok_or_else(|| damaged("it has no beginning"))?;
        let write = |fault| failed(dir, fault);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(write)?;
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(path(dir, &kept.id))
            .map_err(write)?;
        only_here(&file)?;
        // The file is there after a power cut too.
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(write)?;
        let mut journal = Self {
            file,
            dir: dir.to_owned(),
            kept,
        };
        // On a full disk nothing is left behind.
        journal.write(begun).inspect_err(|_| {
            let _ = fs::remove_file(path(dir, &journal.kept.id));
        })?;
        Ok(journal)
    }

    pub(super) fn open(dir: &Path, id: &str) -> Result<Self, JournalFault> {
        // It is opened for writing only if it is one, and read when nobody else can write to it.
        read(dir, id)?;
        let file = OpenOptions::new()
            .append(true)
            .open(path(dir, id))
            .map_err(|fault| failed(dir, fault))?;
        only_here(&file)?;
        let mut kept = read(dir, id)?;
        kept.interrupted();
        let mut journal = Self {
            file,
            dir: dir.to_owned(),
            kept,
        };
        // What was cut in the middle of a line ends here.
        journal.append(b"\n")?;
        journal.add(Entry::Stand {
            stand: Stand::Running,
        })?;
        Ok(journal)
    }

    /// Writes something down, and returns when it is on the disk.
    pub(crate) fn add(&mut self, entry: Entry) -> Result<(), JournalFault> {
        self.write(&entry)?;
        self.kept.take(entry);
        Ok(())
    }

    fn write(&mut self, entry: &Entry) -> Result<(), JournalFault> {
        let mut line = serde_json::to_vec(entry).map_err(|fault| damaged(&fault.to_string()))?;
        line.push(b'\n');
        self.append(&line)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), JournalFault> {
        let written = self.file.write_all(bytes);
        written
            .and_then(|()| self.file.sync_data())
            .map_err(|fault| failed(&self.dir, fault))
    }
}

impl Kept {
    fn begin(begun: Entry) -> Option<Self> {
        let Entry::Begun {
            id,
            time,
            user,
            wish,
            model,
            session,
            report,
            deadline_ms,
        } = begun
        else {
            return None;
        };
        Some(Self {
            id,
            time,
            user,
            wish,
            model,
            session,
            report,
            deadline_ms,
            stand: Stand::Running,
            plans: 0,
            left: Vec::new(),
            steps: Vec::new(),
        })
    }

    /// The step that was begun last and has not ended: nobody knows how it went.
    pub(crate) fn interrupted(&mut self) {
        if let Some(step) = self.steps.last_mut()
            && step.state == StepState::Running
        {
            step.state = StepState::Unknown;
        }
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Begun { .. } => {}
            Entry::Plan { steps } => {
                self.plans += 1;
                self.left = steps;
            }
            Entry::Insert { steps } => self.left = steps,
            Entry::Step { what } => {
                // Whatever its end was, the one before has begun and is not done again.
                self.interrupted();
                if !self.left.is_empty() {
                    self.left.remove(0);
                }
                self.steps.push(KeptStep {
                    what,
                    state: StepState::Running,
                    code: None,
                    output: String::new(),
                });
            }
            Entry::Ended {
                state,
                code,
                output,
            } => {
                if let Some(step) = self.steps.last_mut() {
                    step.state = state;
                    step.code = code;
                    step.output = output;
                }
                // What was planned behind it was planned for its success.
                if matches!(state, StepState::Failed | StepState::Denied) {
                    self.left.clear();
                }
            }
            Entry::Stand { stand } => self.stand = stand,
        }
    }
}

/// How long a lock is waited for. A process that another thread has forked holds it until its exec,
/// also when this one has let go.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// Another worker on the same directory may have it.
fn only_here(file: &File) -> Result<(), JournalFault> {
    let until = Instant::now() + LOCK_PATIENCE;
    while flock(file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() >= until {
            return Err(JournalFault::Busy);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// What a journal says. A line that was cut off by a crash is passed over.
pub(super) fn read(dir: &Path, id: &str) -> Result<Kept, JournalFault> {
    let not_found = || JournalFault::NotFound(id.chars().take(64).collect());
    if !is_id(id) {
        return Err(not_found());
    }
    let path = path(dir, id);
    // A pipe or a device keeps nobody waiting.
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(&path)
        .map_err(|_| not_found())?;
    let about = file.metadata().map_err(|_| not_found())?;
    if !is_ours_alone(&about) {
        return Err(damaged("others can write to it"));
    }
    if !about.is_file() || about.len() > JOURNAL_BYTES_MAX {
        return Err(damaged("it is too long, or no file"));
    }
    let mut text = Vec::new();
    file.take(JOURNAL_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(|fault| damaged(&fault.to_string()))?;
    let mut entries = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
    let mut kept = entries
        .next()
        .and_then(Kept::begin)
        .filter(|kept| kept.id == id)
        .ok_or_else(|| damaged("it has no beginning"))?;
    for entry in entries {
        kept.take(entry);
    }
    Ok(kept)
}

/// All that can be read, the newest first.
pub(super) fn list(dir: &Path) -> Vec<Kept> {
    let mut kept: Vec<Kept> = ids(dir)
        .iter()
        .filter_map(|id| read(dir, id).ok())
        .collect();
    kept.sort_by(|one, other| other.time.cmp(&one.time).then(other.id.cmp(&one.id)));
    kept
}

/// Makes room for one more: what can't be read goes first, then the oldest of whoever has the most
/// runs, so that nobody loses his to another; of them those that are over before others.
pub(super) fn forget_oldest(
    dir: &Path,
    most: usize,
    is_live: impl Fn(&str) -> bool,
) -> Result<(), JournalFault> {
    let ids = ids(dir);
    let mut over = (ids.len() + 1).saturating_sub(most);
    if over == 0 {
        return Ok(());
    }
    let remove = |id: &str| fs::remove_file(path(dir, id)).map_err(|fault| failed(dir, fault));
    let mut kept = list(dir);
    let is_read = |id: &String| kept.iter().any(|kept| kept.id == *id);
    for id in ids.iter().filter(|id| !is_read(id)).take(over) {
        remove(id)?;
        over -= 1;
    }
    kept.sort_by_key(|kept| (kept.stand == Stand::Running, kept.time.clone()));
    kept.retain(|kept| !is_live(&kept.id));
    for _ in 0..over {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        kept.iter()
            .for_each(|kept| *counts.entry(&kept.user).or_default() += 1);
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let Some(at) = most.and_then(|(user, _)| kept.iter().position(|kept| kept.user == user))
        else {
            break;
        };
        remove(&kept.remove(at).id)?;
    }
    Ok(())
}

fn ids(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(SUFFIX).map(str::to_owned)
        })
        .filter(|id| is_id(id))
        .collect()
}

const SUFFIX: &str = ".ndjson";

fn path(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("{id}{SUFFIX}"))
}

/// Letters and digits: an id names no other file.
fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn damaged(why: &str) -> JournalFault {
    JournalFault::Damaged(why.to_owned())
}

fn failed(dir: &Path, fault: io::Error) -> JournalFault {
    JournalFault::Write {
        dir: dir.to_owned(),
        fault,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn begun(id: &str, time: &str) -> Entry {
        Entry::Begun {
            id: id.into(),
            time: time.into(),
            user: "uid 0".into(),
            wish: "is the disk full?".into(),
            model: None,
            session: None,
            report: true,
            deadline_ms: None,
        }
    }

    fn step(what: &str) -> Entry {
        Entry::Step { what: what.into() }
    }

    fn ended(output: &str) -> Entry {
        Entry::Ended {
            state: StepState::Done,
            code: Some(0),
            output: output.into(),
        }
    }

    /// A journal that was cut anywhere says what was over by then, and no step is left that began.
    #[test]
    fn whatever_was_written_last_no_step_is_left_twice() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut journal = Journal::create(dir.path(), &begun("a1", "1")).expect("a journal");
        let steps = ["df", "du", "ss"].map(|command| json!({ "command": command }));
        journal
            .add(Entry::Plan {
                steps: steps.to_vec(),
            })
            .expect("it is written");
        for what in ["df", "du"] {
            journal.add(step(what)).expect("it is written");
            journal.add(ended(what)).expect("it is written");
        }
        // One at a time has a journal.
        assert!(matches!(
            Journal::open(dir.path(), "a1"),
            Err(JournalFault::Busy)
        ));
        drop(journal);
        let whole = fs::read(path(dir.path(), "a1")).expect("it is there");
        let first = whole
            .iter()
            .position(|byte| *byte == b'\n')
            .expect("a line")
            + 1;
        for cut in first..=whole.len() {
            fs::write(path(dir.path(), "a1"), &whole[..cut]).expect("it is cut");
            let mut resumed = Journal::open(dir.path(), "a1").expect("it opens");
            let kept = resumed.kept.clone();
            let planned = kept.steps.len() + kept.left.len();
            assert!(planned == 3 || kept.plans == 0, "{cut}: {kept:?}");
            let states = kept.steps.iter().map(|step| step.state);
            assert!(
                states.clone().all(|state| state != StepState::Running),
                "{cut}: {kept:?}"
            );
            // What is written after a cut is read like everything else.
            resumed.add(step("next")).expect("it is written");
            let again = read(dir.path(), "a1").expect("it is read");
            assert_eq!(again.steps.len(), kept.steps.len() + 1, "{cut}");
        }
    }

    #[test]
    fn the_oldest_that_are_over_go_first() {
        let dir = tempfile::tempdir().expect("a directory");
        for (id, time, stand) in [
            ("old", "1", Stand::Running),
            ("over", "2", Stand::Done),
            ("new", "3", Stand::Done),
        ] {
            let mut journal = Journal::create(dir.path(), &begun(id, time)).expect("a journal");
            journal.add(Entry::Stand { stand }).expect("it is written");
        }
        forget_oldest(dir.path(), 3, |_| false).expect("one goes");
        let left: Vec<String> = list(dir.path()).into_iter().map(|kept| kept.id).collect();
        assert_eq!(left, ["new", "old"]);
    }

    /// Somebody who begins many runs pushes out his own.
    #[test]
    fn nobody_loses_a_run_to_another() {
        let dir = tempfile::tempdir().expect("a directory");
        let begin = |id: &str, time: &str, by: &str| {
            let mut begun = begun(id, time);
            if let Entry::Begun { user, .. } = &mut begun {
                by.clone_into(user);
            }
            let mut journal = Journal::create(dir.path(), &begun).expect("a journal");
            let stand = Stand::Done;
            journal.add(Entry::Stand { stand }).expect("it is written");
        };
        begin("root", "1", "uid 0");
        begin("a", "2", "uid 7");
        begin("b", "3", "uid 7");
        fs::write(path(dir.path(), "damaged"), "").expect("it is written");
        forget_oldest(dir.path(), 3, |_| false).expect("two go");
        let mut left = ids(dir.path());
        left.sort();
        assert_eq!(left, ["b", "root"]);
    }

    #[test]
    fn what_others_can_write_is_no_journal() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(Journal::create(dir.path(), &begun("a1", "1")).expect("a journal"));
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        fs::set_permissions(path(dir.path(), "a1"), open).expect("it is opened");
        let found = read(dir.path(), "a1");
        assert!(matches!(found, Err(JournalFault::Damaged(_))), "{found:?}");
    }

    #[test]
    fn an_id_is_no_path() {
        let dir = tempfile::tempdir().expect("a directory");
        for id in ["", "../a", "a/b", "a.b", "a\0"] {
            let found = read(dir.path(), id);
            assert!(matches!(found, Err(JournalFault::NotFound(_))), "{id:?}");
        }
    }
}
