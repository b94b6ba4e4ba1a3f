//! The thread that judges: rules first, then the model, many incidents in one go; then what may be
//! done is done, kept, and told.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use fazai_models::builtin;
use fazai_watch::action::{Proposal, Rules};
use fazai_watch::incident::INCIDENTS_MAX;
use fazai_watch::judge::{self, Answer, Judge, JudgeError, Verdict};
use fazai_watch::{Incident, Severity};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::Kept;
use super::model::{BATCH_MAX, Model};
use super::read::Signals;
use super::record::{Did, Record};
use crate::Worker;
use crate::worker::Shared;

/// What has to be done now and then is done so often.
const TICK: Duration = Duration::from_secs(5);

/// Something to judge.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) incident: Incident,
    /// Whether strangers had no part in its lines.
    pub(crate) trusted: bool,
    /// Whether it is new or got worse since it was judged last.
    pub(crate) news: bool,
}

/// Incidents that are judged together.
pub(super) struct Batch {
    given: Vec<Given>,
    /// Who waits for them: then all are kept, however bad they are.
    answer: Option<oneshot::Sender<Vec<Arc<Record>>>>,
}

impl Batch {
    pub(super) fn of(given: Vec<Given>) -> Self {
        Self {
            given,
            answer: None,
        }
    }

    /// For a client, and where the answer comes.
    pub(super) fn asked(given: Vec<Given>) -> (Self, oneshot::Receiver<Vec<Arc<Record>>>) {
        let (answer, receiver) = oneshot::channel();
        let batch = Self {
            given,
            answer: Some(answer),
        };
        (batch, receiver)
    }
}

/// What a model said of an incident, so that it is asked only when it got worse.
struct Known {
    severity: Severity,
    answer: Option<Answer>,
}

/// Who judges.
pub(super) struct Judging {
    pub(super) shared: Weak<Shared>,
    pub(super) runtime: Handle,
    /// What the reader found.
    pub(super) found: mpsc::Receiver<Batch>,
    /// What clients wait for; it comes first.
    pub(super) asked: mpsc::Receiver<Batch>,
    pub(super) rules: Rules,
    pub(super) min: Severity,
    pub(super) kept: Arc<Kept>,
    pub(super) signals: Arc<Signals>,
    pub(super) known: KnownAnswers,
}

/// By the incidents' numbers.
#[derive(Default)]
pub(super) struct KnownAnswers(BTreeMap<u64, Known>);

impl Judging {
    /// Judges until nobody can give it anything any more.
    pub(super) fn run(mut self) {
        let runtime = self.runtime.clone();
        loop {
            let next = runtime.block_on(async {
                tokio::select! {
                    biased;
                    Some(batch) = self.asked.recv() => Some((batch, false)),
                    batch = self.found.recv() => batch.map(|batch| (batch, true)),
                    () = tokio::time::sleep(TICK) => Some((Batch::of(Vec::new()), false)),
                }
            });
            let Some((batch, counted)) = next else { break };
            let done = catch_unwind(AssertUnwindSafe(|| self.take(batch)));
            if counted {
                self.signals.busy.fetch_sub(1, Ordering::AcqRel);
            }
            if done.is_err() {
                error!("the judgement of incidents panicked; the next ones are judged");
            }
        }
    }

    fn take(&mut self, batch: Batch) {
        if batch.given.is_empty() {
            return self.kept.blocks.tick();
        }
        let Batch { mut given, answer } = batch;
        given.sort_by_key(|given| {
            let incident = &given.incident;
            std::cmp::Reverse((incident.severity, incident.count))
        });
        let answers = self.ask_model(&given);
        let records = self.judge(given, answers, answer.is_some());
        if let Some(answer) = answer {
            // Whoever does not wait any more has left.
            let _ = answer.send(records);
        }
    }

    /// What a model says of those that it does not know as bad as they are.
    fn ask_model(&mut self, given: &[Given]) -> BTreeMap<u64, Result<Answer, JudgeError>> {
        let Some(shared) = self.shared.upgrade() else {
            return BTreeMap::new();
        };
        let worker = Worker { shared };
        let settings = worker.settings();
        if !settings.watch.model {
            return BTreeMap::new();
        }
        let unknown = given.iter().map(|given| &given.incident);
        let unknown = unknown.filter(|incident| !self.known.has(incident));
        let asked: Vec<Incident> = unknown.take(BATCH_MAX).cloned().collect();
        if asked.is_empty() {
            return BTreeMap::new();
        }
        let client = {
            let _runtime = self.runtime.enter();
            worker.helping_client()
        };
        let is_builtin = settings.model.default == builtin::NAME;
        let answers = Model::new(client, is_builtin, self.runtime.clone()).judge(&asked);
        for (incident, answer) in asked.iter().zip(&answers) {
            self.known.insert(incident, answer.as_ref().ok());
        }
        let ids = asked.iter().map(|incident| incident.id.0);
        ids.zip(answers).collect()
    }

    fn judge(
        &mut self,
        given: Vec<Given>,
        mut answers: BTreeMap<u64, Result<Answer, JudgeError>>,
        keep_all: bool,
    ) -> Vec<Arc<Record>> {
        let mut new = Vec::new();
        let mut old = Vec::new();
        for given in given {
            let id = given.incident.id.0;
            let answer = answers.remove(&id);
            let answer = answer.or_else(|| self.known.answer(id).map(Ok));
            let verdict = judge::decide(&given.incident, answer);
            if !keep_all && verdict.severity < self.min {
                continue;
            }
            let record = self.record(&given, &verdict);
            match self.kept.store().get(id) {
                // It is only asked about once more, or goes on and the same is done about it.
                Some(before) if !given.news || given.incident.again && same(&before, &record) => {
                    old.push(Arc::new(Record {
                        seq: before.seq,
                        closed: before.closed.clone(),
                        ..record
                    }));
                }
                _ => new.push(record),
            }
        }
        new.sort_by(|one, other| other.rank.total_cmp(&one.rank));
        let mut records = self.kept.publish(&mut new);
        records.append(&mut old);
        records.sort_by(|one, other| other.rank.total_cmp(&one.rank));
        records
    }

    /// What is done about it, too.
    fn record(&self, given: &Given, verdict: &Verdict) -> Record {
        let incident = &given.incident;
        let proposal = self.rules.propose(incident, verdict);
        let dry_run = self.kept.blocks.is_dry_run();
        let did = Did::new(&proposal.action, &proposal.rule, dry_run);
        let mut record = Record::new(incident, verdict, did, given.trusted);
        record.like = self.kept.store().pardoned(&record);
        if record.like.is_some() {
            record.rank = (record.rank - 1.0).max(0.0);
        }
        self.kept.dnsbl.add_to(&mut record);
        if proposal.action.net().is_some() {
            record.did = self.act(given, &record, &proposal);
        }
        record
    }

    fn act(&self, given: &Given, record: &Record, proposal: &Proposal) -> Did {
        let rule = &proposal.rule;
        if let Some(like) = record.like {
            let why =
                format!("a person called incident {like}, which is like it, a false positive");
            return Did::only_alert(rule, why);
        }
        if !given.trusted {
            let why = "its lines came from users who do not administer the worker";
            return Did::only_alert(rule, why.to_owned());
        }
        let Some(shared) = self.shared.upgrade() else {
            return Did::only_alert(rule, "the worker is stopping".to_owned());
        };
        let incident = &given.incident;
        self.kept
            .blocks
            .act(&shared.acting, proposal, incident.id.0, incident.last)
    }
}

/// Whether there is nothing to tell.
fn same(before: &Record, now: &Record) -> bool {
    let did = |record: &Record| {
        let did = record.did.clone();
        (did.action, did.target, did.instead, did.dry_run)
    };
    before.severity == now.severity && did(before) == did(now)
}

/// A judgement without a model and without anything done, for who can't wait.
pub(super) fn by_rules(rules: &Rules, given: &Given) -> Record {
    let verdict = judge::decide(&given.incident, None);
    let proposal = rules.propose(&given.incident, &verdict);
    let did = Did::new(&proposal.action, &proposal.rule, true);
    Record::new(&given.incident, &verdict, did, given.trusted)
}

impl KnownAnswers {
    fn has(&self, incident: &Incident) -> bool {
        let known = self.0.get(&incident.id.0);
        known.is_some_and(|known| known.severity >= incident.severity)
    }

    fn answer(&self, id: u64) -> Option<Answer> {
        self.0.get(&id)?.answer.clone()
    }

    fn insert(&mut self, incident: &Incident, answer: Option<&Answer>) {
        let known = Known {
            severity: incident.severity,
            answer: answer.cloned(),
        };
        self.0.insert(incident.id.0, known);
        while self.0.len() > INCIDENTS_MAX {
            self.0.pop_first();
        }
    }
}
