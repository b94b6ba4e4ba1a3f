//! Questions to people: what waits for an answer, who may give it, and until when.
//!
//! Nothing here starts a thread, and nothing is allowed by silence: whoever has nobody to ask, or no
//! answer in time, is denied. A question ends in just one way: somebody answers it, its time is up,
//! or who asked it leaves; of the last two the one is told who added it.

mod grants;

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use self::grants::{GRANT_LIFE, GRANTS_MAX};
use self::grants::{Grants, grant_of};
use crate::action::Action;
use crate::caller::Caller;
use crate::policy::Decision;
use crate::seen::Seen;

/// How many questions may wait at once.
pub const PENDING_MAX: usize = 256;
/// How many of them may be one caller's, so that nobody keeps others from asking.
pub const PENDING_OF_ONE_MAX: usize = 16;
/// How many answered questions are remembered, to tell a second answer from a made-up id.
pub const ANSWERED_MAX: usize = 4096;
/// The longest reason of an answer, in bytes.
pub const REASON_BYTES_MAX: usize = 1024;

/// What names a question: 128 random bits as 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ApprovalId(String);

/// What a person answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Yes, this time.
    Once,
    /// Yes, and to the very same action again in this session, until [`GRANT_LIFE`] passes without
    /// it.
    Session,
    /// No.
    Deny,
}

/// Who may answer.
#[derive(Debug, Clone)]
pub enum Approvers {
    /// Nobody is there.
    Nobody,
    /// The one who asked for the action.
    Caller,
    /// One of these.
    Any(Vec<Caller>),
}

/// A question, before it is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// Who wants it.
    pub caller: Caller,
    /// The session that [`Choice::Session`] holds for; none, and it holds once.
    pub session: Option<String>,
    /// What is to be done.
    pub action: Action,
    /// What is shown of its programs, scripts and paths: what runs has to be that.
    pub seen: Seen,
    /// Why it is asked for.
    pub decision: Decision,
    /// Who may answer.
    pub approvers: Approvers,
    /// How long the answer is waited for.
    pub patience: Duration,
}

/// A question that waits, for a list.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Its name.
    pub id: ApprovalId,
    /// What is asked.
    pub question: Question,
    /// Until when an answer counts.
    pub deadline: Instant,
}

/// How a question ended that nobody answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    /// Its deadline passed.
    Expired,
    /// Who asked it left.
    Withdrawn,
}

/// Somebody's yes. Only [`Waiting`] makes it, and only the gate takes it.
#[derive(Debug)]
pub struct Approved {
    pub(crate) id: ApprovalId,
    pub(crate) question: Question,
    pub(crate) by: Caller,
}

/// Why there is no yes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// There never was such a question.
    #[error("no question has the id {0}; list the waiting ones with `fazai approvals`")]
    UnknownId(String),
    /// Somebody was faster.
    #[error("the question {0} was answered already; nothing was changed")]
    AnsweredAlready(String),
    /// The deadline has passed.
    #[error("the question {0} was not answered in time, which means no; ask for the action again")]
    TooLate(String),
    /// The answer came after the deadline.
    #[error(
        "the question {0} can't be answered any more: its time was up, which meant no; nothing was changed"
    )]
    AnsweredTooLate(String),
    /// The answer came when nobody waited for it any more.
    #[error(
        "the question {0} can't be answered any more: who asked it has left; nothing was changed"
    )]
    AskerLeft(String),
    /// The answer came from somebody who was not asked.
    #[error("{by} may not answer the question {id}; let one of those answer who were asked")]
    NotAsked {
        /// The question.
        id: String,
        /// Who answered.
        by: String,
    },
    /// Nobody could be asked.
    #[error(
        "it has to be asked for, and nobody is there to ask; run it from a terminal or let the policy allow it"
    )]
    NobodyToAsk,
    /// Too many wait already.
    #[error("{PENDING_MAX} questions wait already; answer some with `fazai approvals`")]
    TooMany,
    /// Too many of this caller do.
    #[error(
        "{PENDING_OF_ONE_MAX} questions of yours wait already, which is your share; wait until some are answered, or cancel them"
    )]
    TooManyOfYours,
    /// This caller asked and left again and again.
    #[error("too many questions of yours were taken back; wait a minute before you ask again")]
    TooOften,
    /// Somebody said no.
    #[error("{by} said no: {reason}")]
    Denied {
        /// Who it was.
        by: String,
        /// What they said.
        reason: String,
    },
    /// The reason is longer than [`REASON_BYTES_MAX`].
    #[error("the reason has {bytes} bytes and {REASON_BYTES_MAX} are allowed; shorten it")]
    ReasonTooLong {
        /// How long it is.
        bytes: usize,
    },
}

/// The questions that wait.
#[derive(Debug, Clone, Default)]
pub struct Approvals(Arc<Mutex<State>>);

/// A place in the list. Dropping it takes the question back.
#[derive(Debug)]
#[must_use = "a question that nobody waits for is taken back"]
pub struct Waiting {
    /// What people name in their answer.
    pub id: ApprovalId,
    /// Until when an answer counts.
    pub deadline: Instant,
    /// What is shown of the programs, scripts and paths that are asked about.
    pub seen: Seen,
    answer: Receiver<Answer>,
    approvals: Approvals,
}

type Answer = Result<Box<Approved>, ApprovalError>;

type Listener = Box<dyn FnOnce(&ApprovalId, Unanswered) + Send>;

#[derive(Debug, Default)]
struct State {
    pending: HashMap<ApprovalId, Asked>,
    /// What became of the last ones, oldest first.
    settled: VecDeque<(ApprovalId, Settled)>,
    /// Who said yes for the session.
    grants: Grants,
}

/// A question in the list, and whom its end is told.
struct Asked {
    pending: Pending,
    answer: SyncSender<Answer>,
    unanswered: Listener,
}

#[derive(Debug, Clone, Copy)]
enum Settled {
    Answered,
    Expired,
    Withdrawn,
}

impl ApprovalId {
    fn random() -> Result<Self, ApprovalError> {
        let mut bytes = [0; 16];
        // An id that can be guessed would be worse than none.
        getrandom::fill(&mut bytes).map_err(|_| ApprovalError::NobodyToAsk)?;
        Ok(Self(hex::encode(bytes)))
    }

    /// The id that somebody wrote; whether it names a question shows when it is used.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.chars().take(64).collect())
    }

    /// The 32 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Approvals {
    /// Adds a question; `unanswered` is called once if nobody answers it, with nothing locked.
    pub fn ask(
        &self,
        question: Question,
        now: Instant,
        unanswered: impl FnOnce(&ApprovalId, Unanswered) + Send + 'static,
    ) -> Result<Waiting, ApprovalError> {
        let nobody = match &question.approvers {
            Approvers::Nobody => true,
            Approvers::Caller => false,
            Approvers::Any(callers) => callers.is_empty(),
        };
        if nobody {
            return Err(ApprovalError::NobodyToAsk);
        }
        let id = ApprovalId::random()?;
        let deadline = now + question.patience;
        let seen = question.seen.clone();
        let (sender, answer) = sync_channel(1);
        let asked = Asked {
            pending: Pending {
                id: id.clone(),
                question,
                deadline,
            },
            answer: sender,
            unanswered: Box::new(unanswered),
        };
        self.at(now, |state| {
            state.check_room(&asked.pending.question.caller)?;
            state.pending.insert(id.clone(), asked);
            Ok(())
        })?;
        Ok(Waiting {
            id,
            deadline,
            seen,
            answer,
            approvals: self.clone(),
        })
    }

    /// The questions that wait, the most urgent first.
    #[must_use]
    pub fn pending(&self, now: Instant) -> Vec<Pending> {
        let mut pending: Vec<Pending> = self.at(now, |state| {
            let asked = state.pending.values();
            asked.map(|asked| asked.pending.clone()).collect()
        });
        pending.sort_by_key(|pending| pending.deadline);
        pending
    }

    /// Takes somebody's answer.
    pub fn answer(
        &self,
        id: &ApprovalId,
        by: &Caller,
        choice: Choice,
        reason: &str,
        now: Instant,
    ) -> Result<(), ApprovalError> {
        self.answer_after(id, by, choice, reason, now, || Ok(()))
    }

    /// Takes somebody's answer once `record` has gone well; otherwise the question waits on.
    pub(crate) fn answer_after<E: From<ApprovalError>>(
        &self,
        id: &ApprovalId,
        by: &Caller,
        choice: Choice,
        reason: &str,
        now: Instant,
        record: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        if reason.len() > REASON_BYTES_MAX {
            let bytes = reason.len();
            return Err(ApprovalError::ReasonTooLong { bytes }.into());
        }
        self.at(now, |state| {
            state.check_answer(id, by)?;
            // Meanwhile nobody else can answer it, and its time can't be up.
            record()?;
            state.answer(id, by, choice, reason, now);
            Ok(())
        })
    }

    /// Who already said yes to the very same action for this session, not too long ago.
    #[must_use]
    pub fn granted_by(&self, question: &Question, now: Instant) -> Option<Caller> {
        self.state().grants.use_one(&grant_of(question)?, now)
    }

    /// Acts on the questions that still wait at this time, and tells of those that do not any more.
    fn at<T>(&self, now: Instant, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let late = state.expire(now);
        let result = act(&mut state);
        drop(state);
        for asked in late {
            asked.tell(Unanswered::Expired);
        }
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete in itself, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Waits for the answer.
    pub fn wait(self) -> Result<Approved, ApprovalError> {
        let patience = self.deadline.saturating_duration_since(Instant::now());
        match self.answer.recv_timeout(patience) {
            Ok(answer) => answer.map(|approved| *approved),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                self.last_look(self.deadline)
            }
        }
    }

    /// The answer, if there is one.
    pub fn poll(&self, now: Instant) -> Option<Result<Approved, ApprovalError>> {
        match self.answer.try_recv() {
            Ok(answer) => Some(answer.map(|approved| *approved)),
            Err(TryRecvError::Empty) if now < self.deadline => None,
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                Some(self.last_look(now.max(self.deadline)))
            }
        }
    }

    /// When the time is up nobody can answer any more, but somebody may just have done it.
    fn last_look(&self, now: Instant) -> Result<Approved, ApprovalError> {
        self.approvals.at(now, |_| ());
        match self.answer.try_recv() {
            Ok(answer) => answer.map(|approved| *approved),
            Err(_) => Err(ApprovalError::TooLate(self.id.0.clone())),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let left = |state: &mut State| state.take(&self.id, Settled::Withdrawn);
        if let Some(asked) = self.approvals.at(Instant::now(), left) {
            asked.tell(Unanswered::Withdrawn);
        }
    }
}

impl Asked {
    fn tell(self, how: Unanswered) {
        (self.unanswered)(&self.pending.id, how);
    }
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Asked").field(&self.pending).finish()
    }
}

impl Question {
    fn may_be_answered_by(&self, by: &Caller) -> bool {
        match &self.approvers {
            Approvers::Nobody => false,
            Approvers::Caller => self.caller.is_same(by),
            Approvers::Any(callers) => callers.iter().any(|caller| caller.is_same(by)),
        }
    }
}

impl State {
    fn check_room(&self, caller: &Caller) -> Result<(), ApprovalError> {
        if self.pending.len() >= PENDING_MAX {
            return Err(ApprovalError::TooMany);
        }
        let asked = self.pending.values().map(|asked| &asked.pending.question);
        let own = asked.filter(|question| question.caller.is_same(caller));
        match own.count() >= PENDING_OF_ONE_MAX {
            true => Err(ApprovalError::TooManyOfYours),
            false => Ok(()),
        }
    }

    /// Takes out what nobody answered in time.
    fn expire(&mut self, now: Instant) -> Vec<Asked> {
        let asked = self.pending.values().map(|asked| &asked.pending);
        let late = asked.filter(|pending| pending.deadline <= now);
        let late: Vec<ApprovalId> = late.map(|pending| pending.id.clone()).collect();
        late.iter()
            .filter_map(|id| self.take(id, Settled::Expired))
            .collect()
    }

    /// Whether the question waits, and for this one.
    fn check_answer(&self, id: &ApprovalId, by: &Caller) -> Result<(), ApprovalError> {
        let asked = self.pending.get(id).ok_or_else(|| self.why_gone(id))?;
        if asked.pending.question.may_be_answered_by(by) {
            return Ok(());
        }
        Err(ApprovalError::NotAsked {
            id: id.0.clone(),
            by: by.to_string(),
        })
    }

    fn answer(&mut self, id: &ApprovalId, by: &Caller, choice: Choice, reason: &str, now: Instant) {
        let Some(asked) = self.take(id, Settled::Answered) else {
            return;
        };
        let question = asked.pending.question;
        if choice == Choice::Session
            && let Some(grant) = grant_of(&question)
        {
            self.grants.add(grant, by, now);
        }
        let answer = match choice {
            Choice::Once | Choice::Session => Ok(Box::new(Approved {
                id: id.clone(),
                question,
                by: by.clone(),
            })),
            Choice::Deny => Err(ApprovalError::Denied {
                by: by.to_string(),
                reason: reason.to_owned(),
            }),
        };
        // Who asked may have left in this moment; then the answer has no use.
        let _ = asked.answer.send(answer);
    }

    /// Takes a question out of the list; only who gets it may end it.
    fn take(&mut self, id: &ApprovalId, how: Settled) -> Option<Asked> {
        let asked = self.pending.remove(id)?;
        if self.settled.len() >= ANSWERED_MAX {
            self.settled.pop_front();
        }
        self.settled.push_back((id.clone(), how));
        Some(asked)
    }

    fn why_gone(&self, id: &ApprovalId) -> ApprovalError {
        let text = id.0.clone();
        match self.settled.iter().find(|(settled, _)| settled == id) {
            Some((_, Settled::Answered)) => ApprovalError::AnsweredAlready(text),
            Some((_, Settled::Expired)) => ApprovalError::AnsweredTooLate(text),
            Some((_, Settled::Withdrawn)) => ApprovalError::AskerLeft(text),
            None => ApprovalError::UnknownId(text),
        }
    }
}

#[cfg(test)]
mod tests;
