//! The one way to a side effect: whoever wants one asks the gate, and gets a [`Permit`] or a no.
//!
//! A permit exists only after the record of it is on the disk. Code with side effects takes a
//! permit by value and gives it back with [`Permit::finish`]; one that is dropped instead is
//! recorded as unused. What is denied happens not at all, and so need not be written each time:
//! see `gate/denials.rs`.

mod denials;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::civil::DateTime;

use self::denials::{Denials, More};
use crate::action::{Action, Cut, Kind};
use crate::approval::{
    ApprovalError, ApprovalId, Approvals, Approved, Approvers, Choice, Question, Unanswered,
    Waiting,
};
use crate::audit::{AuditError, AuditLog, Event, Hash};
use crate::caller::Caller;
use crate::policy::{Decision, Policy, Risk, Verdict};
use crate::seen::{Changed, Seen};

/// Decides, records, and lets through.
pub struct Gate {
    policy: RwLock<Arc<Policy>>,
    audit: SharedAudit,
    approvals: Approvals,
    next_permit: AtomicU64,
    denials: Arc<Mutex<Denials>>,
}

type SharedAudit = Arc<Mutex<AuditLog>>;

/// What somebody wants to do.
#[derive(Debug, Clone)]
pub struct Request {
    /// On whose behalf.
    pub caller: Caller,
    /// What a yes for the session holds for.
    pub session: Option<String>,
    /// What.
    pub action: Action,
    /// The local time, by which rules with hours decide.
    pub now: DateTime,
    /// Who may be asked.
    pub approvers: Approvers,
    /// How long an answer is waited for.
    pub patience: Duration,
}

/// The gate's answer.
#[derive(Debug)]
#[must_use = "an answer of the gate is a permit or a question"]
pub enum Passage {
    /// It may be done.
    Granted(Permit),
    /// A person has to say so first; then [`Gate::enter`] gives the permit.
    Asked(Waiting, Decision),
}

/// Why something may not be done.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The policy says so.
    #[error("denied by {}: {}", .0.rule, .0.reason)]
    Denied(Decision),
    /// It was asked for, and there was no yes.
    #[error(transparent)]
    NotApproved(#[from] ApprovalError),
    /// It is not what somebody said yes to any more.
    #[error(transparent)]
    Changed(#[from] Changed),
    /// It can't be recorded, and so it must not be done.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// The right to do one thing, once. Only the gate makes it.
#[must_use = "a permit that is dropped is recorded as unused"]
pub struct Permit {
    id: u64,
    read_only: bool,
    by_person: bool,
    action: Action,
    /// What a person was shown of its programs, scripts and paths.
    seen: Seen,
    audit: SharedAudit,
    since: Instant,
    finished: bool,
}

/// How an action ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The exit code; `None` if a signal ended it or it never started.
    pub exit_code: Option<i32>,
    /// The hash of its output, if there was any.
    pub output_sha256: Option<Hash>,
    /// What went wrong besides.
    pub error: Option<String>,
}

impl Outcome {
    /// Of something that has no exit code or output to record.
    pub fn of<T, E: std::fmt::Display>(result: &Result<T, E>) -> Self {
        Self {
            error: result.as_ref().err().map(ToString::to_string),
            ..Self::default()
        }
    }
}

/// What people have to do with a decision.
#[derive(Default)]
struct Consent {
    /// What they are or were asked.
    question: Option<ApprovalId>,
    /// Who said yes.
    by: Option<Caller>,
    /// What they were shown of its programs, scripts and paths.
    seen: Seen,
}

/// How much of the reason of a denial is recorded, in bytes.
const REASON_BYTES_MAX: usize = 500;

/// About how long a line is besides the action and the reason, in bytes.
const OTHER_BYTES: usize = 512;

/// How much of an error is recorded, in characters.
const ERROR_CHARS_MAX: usize = 1024;

impl Gate {
    /// A gate with a policy and an open record.
    #[must_use]
    pub fn new(policy: Arc<Policy>, audit: AuditLog, approvals: Approvals) -> Self {
        // A permit is named by the entry number at which its process began and a count, so that
        // names do not come again after a restart.
        let first = audit.entries().saturating_mul(1 << 16);
        Self {
            policy: RwLock::new(policy),
            audit: Arc::new(Mutex::new(audit)),
            approvals,
            next_permit: AtomicU64::new(first),
            denials: Arc::new(Mutex::new(Denials::new(Instant::now()))),
        }
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.policy
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts another policy in force. Permits that are out stay valid.
    pub fn replace_policy(&self, policy: Arc<Policy>) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// The questions that wait for people.
    #[must_use]
    pub fn approvals(&self) -> &Approvals {
        &self.approvals
    }

    /// Asks for a permit.
    pub fn request(&self, request: Request) -> Result<Passage, GateError> {
        let decision = self
            .policy()
            .decide(&request.caller, &request.action, request.now);
        match decision.verdict {
            Verdict::Allow => self
                .grant(request.caller, request.action, decision, Consent::default())
                .map(Passage::Granted),
            Verdict::Deny => {
                self.refuse(request.caller, request.action, decision, Consent::default())
            }
            Verdict::Ask => self.ask(request, decision),
        }
    }

    /// Asks for a permit that only a person's yes gives, also where the policy allows it by itself.
    pub fn request_by_person(&self, request: Request) -> Result<Passage, GateError> {
        let decision = self
            .policy()
            .decide(&request.caller, &request.action, request.now);
        if decision.verdict == Verdict::Deny {
            let nobody = Consent::default();
            return self.refuse(request.caller, request.action, decision, nobody);
        }
        let decision = Decision {
            verdict: Verdict::Ask,
            reason: format!("a person has to say yes to this ({})", decision.reason),
            ..decision
        };
        self.ask(request, decision)
    }

    /// Records somebody's answer, and then takes it.
    pub fn answer(
        &self,
        id: &ApprovalId,
        by: &Caller,
        choice: Choice,
        reason: &str,
    ) -> Result<(), GateError> {
        let question = id.as_str().to_owned();
        let event = Event::Answered {
            question: question.clone(),
            by: by.clone(),
            choice,
            reason: reason.to_owned(),
        };
        let record = || -> Result<(), GateError> {
            lock(&self.audit).append(&event)?;
            Ok(())
        };
        let now = Instant::now();
        let answered = self
            .approvals
            .answer_after(id, by, choice, reason, now, record);
        if let Err(GateError::NotApproved(ApprovalError::NotAsked { .. })) = &answered {
            let by = by.clone();
            // A no stays a no if it can't be recorded.
            if let Ok(true) = self.is_written(&by, None, "may-not-answer", OTHER_BYTES) {
                let event = Event::AnswerRefused {
                    question,
                    by,
                    choice,
                };
                let _ = lock(&self.audit).append(&event);
            }
        }
        answered
    }

    /// Turns somebody's yes into a permit. What the policy denies by now stays denied, and what
    /// leads elsewhere than it did is [`Changed`].
    pub fn enter(&self, approved: Approved, now: DateTime) -> Result<Permit, GateError> {
        let Question {
            caller,
            action,
            seen,
            ..
        } = approved.question;
        let decision = self.policy().decide(&caller, &action, now);
        let consent = Consent {
            question: Some(approved.id),
            by: Some(approved.by),
            seen,
        };
        if decision.verdict == Verdict::Deny {
            return self.refuse(caller, action, decision, consent);
        }
        // What stands in its files is looked at right before they are run; nobody else looks at
        // where its paths lead.
        match consent.seen.check_places(&action) {
            Ok(()) => self.grant(caller, action, decision, consent),
            Err(changed) => {
                let no = Decision {
                    verdict: Verdict::Deny,
                    rule: "changed".into(),
                    reason: changed.to_string(),
                    risk: decision.risk,
                };
                let _ = self.record(caller, action, no, consent);
                Err(changed.into())
            }
        }
    }

    /// Signs the end of the record; call it on a timer and before stopping. Denials that were only
    /// counted are recorded first.
    pub fn sign_head(&self) -> Result<(), AuditError> {
        let counted = lock(&self.denials).take(Instant::now(), true);
        self.record_counted(counted)?;
        let mut audit = lock(&self.audit);
        if audit.is_signed() {
            return Ok(());
        }
        audit.sign_head().map(drop)
    }

    fn ask(&self, request: Request, decision: Decision) -> Result<Passage, GateError> {
        let question = Question {
            seen: Seen::of(&request.action),
            caller: request.caller,
            session: request.session,
            action: request.action,
            decision: decision.clone(),
            approvers: request.approvers,
            patience: request.patience,
        };
        if let Some(by) = self.approvals.granted_by(&question, Instant::now()) {
            let consent = Consent {
                question: None,
                by: Some(by),
                seen: question.seen,
            };
            return self
                .grant(question.caller, question.action, decision, consent)
                .map(Passage::Granted);
        }
        let (caller, action) = (question.caller.clone(), question.action.clone());
        let (counted, too_often) = {
            let mut denials = lock(&self.denials);
            let counted = denials.take(Instant::now(), false);
            (counted, denials.withdraws_too_often(&caller))
        };
        self.record_counted(counted)?;
        let (audit, denials) = (Arc::clone(&self.audit), Arc::clone(&self.denials));
        let (asking, bytes) = (caller.clone(), bytes_of(&action));
        let unanswered = move |id: &ApprovalId, how| {
            if how == Unanswered::Withdrawn {
                lock(&denials).note_withdrawn(&asking, bytes);
            }
            // A question without an answer is a no, which stays one if it can't be recorded.
            let _ = lock(&audit).append(&event_of(id, how));
        };
        let asked = match too_often {
            true => Err(ApprovalError::TooOften),
            false => self.approvals.ask(question, Instant::now(), unanswered),
        };
        match asked {
            Ok(waiting) => {
                let consent = Consent {
                    question: Some(waiting.id.clone()),
                    by: None,
                    seen: waiting.seen.clone(),
                };
                self.record(caller, action, decision.clone(), consent)?;
                Ok(Passage::Asked(waiting, decision))
            }
            Err(error) => {
                let no = Decision {
                    verdict: Verdict::Deny,
                    rule: "approval".into(),
                    reason: error.to_string(),
                    risk: decision.risk,
                };
                self.record_denial(caller, action, no)?;
                Err(error.into())
            }
        }
    }

    fn grant(
        &self,
        caller: Caller,
        action: Action,
        decision: Decision,
        consent: Consent,
    ) -> Result<Permit, GateError> {
        let by_person = consent.by.is_some();
        let read_only = !by_person && self.policy().is_read_only(&caller);
        let seen = consent.seen.clone();
        let id = self.record(caller, action.clone(), decision, consent)?;
        Ok(Permit {
            id,
            read_only,
            by_person,
            action,
            seen,
            audit: Arc::clone(&self.audit),
            since: Instant::now(),
            finished: false,
        })
    }

    fn refuse<T>(
        &self,
        caller: Caller,
        action: Action,
        decision: Decision,
        consent: Consent,
    ) -> Result<T, GateError> {
        // A no stays a no if it can't be recorded; the next yes will find the record unavailable.
        let no = decision.clone();
        let _ = match consent.question {
            Some(_) => self.record(caller, action, no, consent).map(drop),
            None => self.record_denial(caller, action, no),
        };
        Err(GateError::Denied(decision))
    }

    /// Records a no, or counts it if its caller got many of the same.
    fn record_denial(
        &self,
        caller: Caller,
        action: Action,
        mut decision: Decision,
    ) -> Result<(), AuditError> {
        let (action, cut) = action.cut();
        let reason = decision.reason.floor_char_boundary(REASON_BYTES_MAX);
        decision.reason.truncate(reason);
        let bytes = bytes_of(&action) + decision.reason.len() + OTHER_BYTES;
        if self.is_written(&caller, Some(action.kind()), &decision.rule, bytes)? {
            let nobody = Consent::default();
            self.record_cut(caller, action, cut, decision, nobody)?;
        }
        Ok(())
    }

    /// Whether a denial is to be written; otherwise it is counted.
    fn is_written(
        &self,
        caller: &Caller,
        kind: Option<Kind>,
        rule: &str,
        bytes: usize,
    ) -> Result<bool, AuditError> {
        let (counted, written) = {
            let mut denials = lock(&self.denials);
            let counted = denials.take(Instant::now(), false);
            (counted, denials.note(caller, kind, rule, bytes))
        };
        self.record_counted(counted)?;
        Ok(written)
    }

    fn record_counted(&self, counted: Vec<More>) -> Result<(), AuditError> {
        counted.into_iter().try_for_each(|More { caller, count }| {
            let event = Event::DeniedMore { caller, count };
            lock(&self.audit).append(&event).map(drop)
        })
    }

    fn record(
        &self,
        caller: Caller,
        action: Action,
        decision: Decision,
        consent: Consent,
    ) -> Result<u64, AuditError> {
        self.record_cut(caller, action, None, decision, consent)
    }

    fn record_cut(
        &self,
        caller: Caller,
        action: Action,
        cut: Option<Cut>,
        decision: Decision,
        consent: Consent,
    ) -> Result<u64, AuditError> {
        let permit = self.next_permit.fetch_add(1, Ordering::Relaxed);
        let event = Event::Decided {
            permit,
            caller,
            action,
            cut,
            seen: Box::new(consent.seen),
            decision: decision.into(),
            question: consent.question.map(|id| id.as_str().to_owned()),
            approved_by: consent.by,
        };
        lock(&self.audit).append(&event)?;
        Ok(permit)
    }
}

impl Permit {
    /// What may be done with it.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// Whether a command is to run where it can change nothing: the policy allowed it by itself,
    /// and the caller's profile wants that. What a person said yes to may do what it says.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Whether a person said yes to it, and not the policy by itself.
    #[must_use]
    pub fn is_by_person(&self) -> bool {
        self.by_person
    }

    /// Finds out whether its programs, scripts and paths are still what a person said yes to. To be
    /// asked right before they are started.
    pub fn check_files(&self) -> Result<(), Changed> {
        self.seen.check(&self.action)
    }

    /// Its number in the record.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Records how the action ended.
    pub fn finish(mut self, outcome: Outcome) -> Result<(), AuditError> {
        self.finished = true;
        let event = Event::Finished {
            permit: self.id,
            exit_code: outcome.exit_code,
            output_sha256: outcome.output_sha256,
            duration_ms: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            error: outcome
                .error
                .map(|error| error.chars().take(ERROR_CHARS_MAX).collect()),
        };
        lock(&self.audit).append(&event).map(drop)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.finished {
            // If it can't be recorded, the record still has a decision without an end.
            let _ = lock(&self.audit).append(&Event::Unused { permit: self.id });
        }
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit")
            .field("id", &self.id)
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

impl GateError {
    /// How bad it would be to do it all the same.
    #[must_use]
    pub fn risk(&self) -> Risk {
        match self {
            Self::Denied(decision) => decision.risk,
            Self::NotApproved(_) | Self::Changed(_) | Self::Audit(_) => Risk::High,
        }
    }
}

fn event_of(id: &ApprovalId, how: Unanswered) -> Event {
    let question = id.as_str().to_owned();
    match how {
        Unanswered::Expired => Event::Expired { question },
        Unanswered::Withdrawn => Event::Withdrawn { question },
    }
}

fn bytes_of(action: &Action) -> usize {
    serde_json::to_string(action).map_or(0, |text| text.len())
}

/// The record finds out by itself what a panic left half done, and a count is complete in itself.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
