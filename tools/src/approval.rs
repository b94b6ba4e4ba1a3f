//! Questions to people: what waits for an answer, who may give it, and until when.
//!
//! Nothing here starts a thread, and nothing is allowed by silence: whoever has nobody to ask, or no
//! answer in time, is denied. A question ends in just one way: somebody answers it, its time is up,
//! or who asked it leaves; of the last two the one is told who added it.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

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
/// How many answers may hold for a session.
pub const GRANTS_MAX: usize = 4096;
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
    /// Yes, and to the very same action again for as long as the session lasts.
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
    /// Who said yes for the session, by session and action.
    grants: HashMap<String, Caller>,
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
        if reason.len() > REASON_BYTES_MAX {
            return Err(ApprovalError::ReasonTooLong {
                bytes: reason.len(),
            });
        }
        self.at(now, |state| state.answer(id, by, choice, reason))
    }

    /// Who already said yes to the very same action for this session.
    #[must_use]
    pub fn granted_by(&self, question: &Question) -> Option<Caller> {
        let grant = grant_of(question)?;
        self.state().grants.get(&grant).cloned()
    }

    /// Forgets what was granted to a session.
    pub fn end_session(&self, caller: &Caller, session: &str) {
        let start = session_key(caller, session);
        self.state()
            .grants
            .retain(|grant, _| !grant.starts_with(&start));
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
        let left = |state: &mut State| state.take(&self.id, Settled::Expired);
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

    fn answer(
        &mut self,
        id: &ApprovalId,
        by: &Caller,
        choice: Choice,
        reason: &str,
    ) -> Result<(), ApprovalError> {
        let Some(asked) = self.pending.get(id) else {
            return Err(self.why_gone(id));
        };
        if !asked.pending.question.may_be_answered_by(by) {
            return Err(ApprovalError::NotAsked {
                id: id.0.clone(),
                by: by.to_string(),
            });
        }
        let Some(asked) = self.take(id, Settled::Answered) else {
            return Err(ApprovalError::UnknownId(id.0.clone()));
        };
        let question = asked.pending.question;
        if choice == Choice::Session {
            self.grant(&question, by);
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
        Ok(())
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
            Some((_, Settled::Expired)) => ApprovalError::TooLate(text),
            None => ApprovalError::UnknownId(text),
        }
    }

    fn grant(&mut self, question: &Question, by: &Caller) {
        // A full table asks again, which is only tedious.
        if self.grants.len() < GRANTS_MAX
            && let Some(grant) = grant_of(question)
        {
            self.grants.insert(grant, by.clone());
        }
    }
}

fn session_key(caller: &Caller, session: &str) -> String {
    // JSON keeps the parts apart whatever is in them.
    serde_json::json!([caller.key(), session]).to_string()
}

fn grant_of(question: &Question) -> Option<String> {
    let session = question.session.as_ref()?;
    let action = serde_json::to_string(&(&question.action, &question.seen)).ok()?;
    Some(session_key(&question.caller, session) + &action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::User;
    use crate::policy::{Risk, Verdict};

    fn user(uid: u32) -> Caller {
        Caller::User(User {
            uid,
            groups: vec![],
            name: "anna".into(),
        })
    }

    fn question(approvers: Approvers) -> Question {
        Question {
            caller: user(1),
            session: Some("s".into()),
            action: Action::shell("reboot", "/"),
            seen: Seen::default(),
            decision: Decision {
                verdict: Verdict::Ask,
                rule: "r".into(),
                reason: "x".into(),
                risk: Risk::High,
            },
            approvers,
            patience: Duration::from_secs(60),
        }
    }

    #[test]
    fn an_id_has_128_bits() {
        let (one, two) = (
            ApprovalId::random().expect("random"),
            ApprovalId::random().expect("random"),
        );
        assert_eq!(one.as_str().len(), 32);
        assert_ne!(one, two);
    }

    #[test]
    fn a_yes_is_a_yes_once() {
        let (approvals, now) = (Approvals::default(), Instant::now());
        let waiting = approvals
            .ask(question(Approvers::Caller), now, |_, _| ())
            .expect("asked");
        assert!(waiting.poll(now).is_none());
        assert_eq!(approvals.pending(now).len(), 1);
        approvals
            .answer(&waiting.id, &user(1), Choice::Once, "", now)
            .expect("taken");
        let id = waiting.id.clone();
        assert!(waiting.wait().is_ok());
        let again = approvals.answer(&id, &user(1), Choice::Once, "", now);
        assert_eq!(again, Err(ApprovalError::AnsweredAlready(id.0)));
        assert_eq!(approvals.granted_by(&question(Approvers::Caller)), None);
    }

    #[test]
    fn each_wrong_answer_has_its_own_error() {
        let (approvals, now) = (Approvals::default(), Instant::now());
        let unknown =
            approvals.answer(&ApprovalId::from_text("x"), &user(1), Choice::Once, "", now);
        assert_eq!(unknown, Err(ApprovalError::UnknownId("x".into())));
        let waiting = approvals
            .ask(question(Approvers::Any(vec![user(0)])), now, |_, _| ())
            .expect("asked");
        let other = approvals.answer(&waiting.id, &user(1), Choice::Once, "", now);
        assert!(matches!(other, Err(ApprovalError::NotAsked { .. })));
        let long = approvals.answer(&waiting.id, &user(0), Choice::Deny, &"x".repeat(9999), now);
        assert_eq!(long, Err(ApprovalError::ReasonTooLong { bytes: 9999 }));
        let later = now + Duration::from_secs(61);
        let late = approvals.answer(&waiting.id, &user(0), Choice::Once, "", later);
        assert_eq!(late, Err(ApprovalError::TooLate(waiting.id.0.clone())));
        assert!(matches!(
            waiting.poll(later),
            Some(Err(ApprovalError::TooLate(_)))
        ));
    }

    #[test]
    fn a_no_has_a_reason() {
        let (approvals, now) = (Approvals::default(), Instant::now());
        let waiting = approvals
            .ask(question(Approvers::Caller), now, |_, _| ())
            .expect("asked");
        approvals
            .answer(&waiting.id, &user(1), Choice::Deny, "not now", now)
            .expect("taken");
        let denied = waiting.wait().expect_err("a no");
        assert_eq!(denied.to_string(), "anna (uid 1) said no: not now");
    }

    #[test]
    fn nobody_to_ask_means_no() {
        let (approvals, now) = (Approvals::default(), Instant::now());
        for approvers in [Approvers::Nobody, Approvers::Any(vec![])] {
            let refused = approvals.ask(question(approvers), now, |_, _| ()).map(drop);
            assert_eq!(refused, Err(ApprovalError::NobodyToAsk));
        }
    }

    #[test]
    fn a_session_is_granted_the_same_action_only() {
        let (approvals, now) = (Approvals::default(), Instant::now());
        let waiting = approvals
            .ask(question(Approvers::Caller), now, |_, _| ())
            .expect("asked");
        approvals
            .answer(&waiting.id, &user(1), Choice::Session, "", now)
            .expect("taken");
        assert_eq!(
            approvals.granted_by(&question(Approvers::Caller)),
            Some(user(1))
        );
        let mut other = question(Approvers::Caller);
        other.action = Action::shell("reboot now", "/");
        assert_eq!(approvals.granted_by(&other), None);
        approvals.end_session(&user(1), "s");
        assert_eq!(approvals.granted_by(&question(Approvers::Caller)), None);
    }

    #[test]
    fn who_leaves_takes_the_question_back() {
        let (approvals, now) = (Approvals::default(), Instant::now());
        let waiting = approvals
            .ask(question(Approvers::Caller), now, |_, _| ())
            .expect("asked");
        let id = waiting.id.clone();
        drop(waiting);
        assert!(approvals.pending(now).is_empty());
        let late = approvals.answer(&id, &user(1), Choice::Once, "", now);
        assert_eq!(late, Err(ApprovalError::TooLate(id.0)));
    }

    #[test]
    fn there_is_a_limit() {
        let (approvals, now) = (Approvals::default(), Instant::now());
        let ask = |uid| {
            let question = Question {
                caller: user(uid),
                ..question(Approvers::Caller)
            };
            approvals.ask(question, now, |_, _| ())
        };
        let full = PENDING_MAX / PENDING_OF_ONE_MAX;
        let users = (0..full).map(|uid| u32::try_from(uid).expect("few"));
        let all: Vec<Waiting> = users
            .flat_map(|uid| (0..PENDING_OF_ONE_MAX).map(move |_| uid))
            .map(|uid| ask(uid).expect("below the limit"))
            .collect();
        assert_eq!(all.len(), PENDING_MAX);
        assert_eq!(ask(1000).map(drop), Err(ApprovalError::TooMany));
        drop(all);
        let share: Vec<_> = (0..PENDING_OF_ONE_MAX).map(|_| ask(1)).collect();
        assert!(share.iter().all(Result::is_ok));
        assert_eq!(ask(1).map(drop), Err(ApprovalError::TooManyOfYours));
        assert!(ask(2).is_ok(), "others can still ask");
        drop(share);
        assert!(ask(1).is_ok());
    }

    /// A question, and a place where its end is noted.
    fn noted(approvals: &Approvals, now: Instant) -> (Waiting, Receiver<Unanswered>) {
        let (sender, noted) = sync_channel(2);
        let note = move |_: &ApprovalId, how| sender.send(how).expect("somebody listens");
        let waiting = approvals.ask(question(Approvers::Caller), now, note);
        (waiting.expect("asked"), noted)
    }

    #[test]
    fn what_nobody_answers_is_told_once() {
        type End = fn(&Approvals, Waiting, Instant);
        let later = Instant::now() + Duration::from_secs(61);
        let ends: [(&str, End); 5] = [
            ("listed", |approvals, waiting, later| {
                assert!(approvals.pending(later).is_empty());
                drop(waiting);
            }),
            ("another is asked", |approvals, waiting, later| {
                let other = approvals.ask(question(Approvers::Caller), later, |_, _| ());
                assert!(other.is_ok() && waiting.poll(later).is_some());
            }),
            ("answered too late", |approvals, waiting, later| {
                let late = approvals.answer(&waiting.id, &user(1), Choice::Once, "", later);
                assert!(late.is_err());
            }),
            ("polled", |_, waiting, later| {
                assert!(waiting.poll(later).is_some() && waiting.poll(later).is_some());
            }),
            ("polled and listed", |approvals, waiting, later| {
                assert!(waiting.poll(later).is_some() && approvals.pending(later).is_empty());
            }),
        ];
        for (name, end) in ends {
            let approvals = Approvals::default();
            let (waiting, noted) = noted(&approvals, Instant::now());
            end(&approvals, waiting, later);
            let ways: Vec<Unanswered> = noted.try_iter().collect();
            assert_eq!(ways, [Unanswered::Expired], "{name}");
        }
    }

    #[test]
    fn who_leaves_is_told_apart_from_who_waits_too_long() {
        let approvals = Approvals::default();
        let (waiting, noted_left) = noted(&approvals, Instant::now());
        drop(waiting);
        assert_eq!(
            noted_left.try_iter().collect::<Vec<_>>(),
            [Unanswered::Withdrawn]
        );
        let long_ago = Instant::now() - Duration::from_secs(60);
        let (waiting, noted_late) = noted(&approvals, long_ago);
        assert!(matches!(waiting.wait(), Err(ApprovalError::TooLate(_))));
        assert_eq!(
            noted_late.try_iter().collect::<Vec<_>>(),
            [Unanswered::Expired]
        );
    }

    #[test]
    fn an_answer_leaves_nothing_to_tell() {
        for choice in [Choice::Once, Choice::Session, Choice::Deny] {
            let (approvals, now) = (Approvals::default(), Instant::now());
            let (waiting, noted) = noted(&approvals, now);
            approvals
                .answer(&waiting.id, &user(1), choice, "", now)
                .expect("taken");
            assert!(waiting.poll(now).is_some());
            drop(waiting);
            assert_eq!(noted.try_iter().count(), 0, "{choice:?}");
        }
    }

    #[test]
    fn an_answer_of_the_last_moment_counts() {
        let (approvals, now) = (Approvals::default(), Instant::now());
        let (waiting, noted) = noted(&approvals, now);
        approvals
            .answer(&waiting.id, &user(1), Choice::Once, "", now)
            .expect("taken");
        let later = now + Duration::from_secs(61);
        assert!(waiting.last_look(later).is_ok());
        drop(waiting);
        assert_eq!(noted.try_iter().count(), 0);
    }
}
