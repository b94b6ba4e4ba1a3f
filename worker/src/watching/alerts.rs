//! Alerts that leave the worker. Each way has a queue of its own and a task that empties it, so
//! that nothing waits for a server that is slow or away: not the judgement, nor the other ways.
//!
//! | file | what it owns |
//! |---|---|
//! | `webhook.rs` | a POST |
//! | `command.rs` | a program, and a tool of the toolbox |
//! | `syslog.rs` | a line of RFC 5424 |
//! | `email.rs` | a mail |

mod command;
mod email;
mod syslog;
mod webhook;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use fazai_watch::Severity;
use fazai_watch::action::Kind;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::command::{Program, Tool};
use self::email::Email;
use self::syslog::Syslog;
use self::webhook::Webhook;
use super::ends_by;
use super::passing::{Failure, TIME_MAX, past_gate, permit};
use super::record::Record;
use crate::config::AlertSettings;
use crate::lock::lock;
use crate::trouble::Trouble;
use crate::worker::Shared;

/// Incidents that wait for one way; of more the oldest goes.
pub(super) const QUEUE_MAX: usize = 256;

/// From a failure to the next try: this, then twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A delivery that failed so often is given up: some eleven minutes; a program or a tool that fails
/// would keep all others waiting, and is seldom away.
const TRIES_MAX: u32 = 16;
const TRIES_OF_PROGRAMS_MAX: u32 = 4;

/// How long the end waits for what is under way.
const END_TIME: Duration = Duration::from_secs(3);

/// All ways.
pub(crate) struct Alerts {
    ways: Vec<Arc<Way>>,
    min: Severity,
    closing: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// One way out.
struct Way {
    name: &'static str,
    to: To,
    queue: Mutex<VecDeque<Arc<Record>>>,
    more: Notify,
    counts: Counts,
    trouble: Trouble,
}

enum To {
    Webhook(Webhook),
    Program(Program),
    Tool(Tool),
    Syslog(Syslog),
    Email(Box<Email>),
}

#[derive(Default)]
struct Counts {
    under_way: AtomicU64,
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Alerts {
    /// Begins with the ways that the settings name. To be called within the runtime.
    pub(super) fn start(settings: &AlertSettings, shared: &Weak<Shared>, runtime: &Handle) -> Self {
        let closing = CancellationToken::new();
        let ways: Vec<Arc<Way>> = ways(settings).into_iter().map(Arc::new).collect();
        let run = |way: &Arc<Way>| {
            let work = Arc::clone(way).run(Weak::clone(shared), closing.clone());
            runtime.spawn(work)
        };
        let tasks = ways.iter().map(run).collect();
        Self {
            ways,
            min: settings.min_severity,
            closing,
            tasks: Mutex::new(tasks),
        }
    }

    /// Queues what is to be told. What strangers brought is not: they would choose what a program
    /// or a server gets to read, and how often.
    pub(super) fn offer(&self, records: &[Arc<Record>]) {
        if self.ways.is_empty() {
            return;
        }
        let told = records.iter().filter(|record| {
            record.trusted && record.severity >= self.min && record.did.action != Kind::Log
        });
        let told: Vec<&Arc<Record>> = told.collect();
        for way in self.ways.iter().filter(|_| !told.is_empty()) {
            way.push(&told);
        }
    }

    /// How each way stands, for `status`.
    pub(crate) fn state(&self) -> Vec<Value> {
        self.ways.iter().map(|way| way.state()).collect()
    }

    /// Lets what is under way end; what waits for a server that is away is given up.
    pub(super) fn end(&self) {
        self.closing.cancel();
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        let until = Instant::now() + END_TIME;
        for task in tasks {
            ends_by(until, || task.is_finished());
            task.abort();
        }
        for way in &self.ways {
            let left = way.waiting();
            if left > 0 {
                error!(
                    way = way.name,
                    left, "alerts were not delivered before the end"
                );
            }
        }
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

fn ways(settings: &AlertSettings) -> Vec<Way> {
    let mut ways = Vec::new();
    let mut add = |name, made: Result<To, String>| match made {
        Ok(to) => ways.push(Way::new(name, to)),
        Err(why) => error!(way = name, %why, "alerts can't go this way; see [watch]"),
    };
    if let Some(url) = &settings.webhook {
        let made = Webhook::new(url.clone(), settings.webhook_token.clone());
        add("webhook", made.map(To::Webhook));
    }
    if !settings.command.is_empty() {
        add(
            "command",
            Ok(To::Program(Program(settings.command.clone()))),
        );
    }
    if let Some(name) = &settings.tool {
        add("tool", Ok(To::Tool(Tool(name.clone()))));
    }
    if let Some(place) = &settings.syslog {
        add("syslog", Ok(To::Syslog(Syslog(place.clone()))));
    }
    if let Some(email) = Email::new(settings) {
        add("email", Ok(To::Email(Box::new(email))));
    }
    ways
}

impl Way {
    fn new(name: &'static str, to: To) -> Self {
        Self {
            name,
            to,
            queue: Mutex::default(),
            more: Notify::new(),
            counts: Counts::default(),
            trouble: Trouble::default(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Arc<Record>>> {
        lock(&self.queue)
    }

    fn push(&self, records: &[&Arc<Record>]) {
        let mut queue = self.queue();
        queue.extend(records.iter().copied().cloned());
        let over = queue.len().saturating_sub(QUEUE_MAX);
        queue.drain(..over);
        drop(queue);
        self.counts
            .dropped
            .fetch_add(over as u64, Ordering::Relaxed);
        self.more.notify_one();
    }

    fn waiting(&self) -> u64 {
        self.queue().len() as u64 + self.counts.under_way.load(Ordering::Relaxed)
    }

    fn state(&self) -> Value {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        json!({
            "way": self.name,
            "waiting": self.waiting(),
            "sent": count(&self.counts.sent),
            "failed": count(&self.counts.failed),
            "dropped": count(&self.counts.dropped),
        })
    }

    async fn run(self: Arc<Self>, shared: Weak<Shared>, closing: CancellationToken) {
        while let Some(records) = self.next(&closing).await {
            let count = records.len() as u64;
            let delivered = self.deliver(&shared, &records, &closing).await;
            let counts = &self.counts;
            match delivered {
                Some(true) => counts.sent.fetch_add(count, Ordering::Relaxed),
                Some(false) => counts.failed.fetch_add(count, Ordering::Relaxed),
                // They are told of as not delivered.
                None => break,
            };
            counts.under_way.store(0, Ordering::Relaxed);
            self.to.rest(&closing).await;
        }
    }

    /// What is to be delivered next; none at the end.
    async fn next(&self, closing: &CancellationToken) -> Option<Vec<Arc<Record>>> {
        loop {
            {
                let mut queue = self.queue();
                let count = queue.len().min(self.to.at_once());
                if count > 0 {
                    self.counts.under_way.store(count as u64, Ordering::Relaxed);
                    return Some(queue.drain(..count).collect());
                }
            }
            tokio::select! {
                () = self.more.notified() => {}
                () = closing.cancelled() => return None,
            }
        }
    }

    /// Tries until it succeeds, or there is no sense in it; none: the end came first.
    async fn deliver(
        &self,
        shared: &Weak<Shared>,
        records: &[Arc<Record>],
        closing: &CancellationToken,
    ) -> Option<bool> {
        let mut pause = PAUSE;
        for _ in 0..self.to.tries_max() {
            // Between tries nothing keeps the worker from its end.
            let failure = match self.to.deliver(&shared.upgrade()?, records).await {
                Ok(()) => {
                    if self.trouble.is_over() {
                        info!(way = self.name, "alerts are delivered again");
                    }
                    return Some(true);
                }
                Err(failure) => failure,
            };
            self.tell(&failure);
            if matches!(failure, Failure::Refused(_)) {
                return Some(false);
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = closing.cancelled() => return None,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Some(false)
    }

    /// Says each trouble once.
    fn tell(&self, failure: &Failure) {
        if !self.trouble.is_news(&failure.to_string()) {
            return;
        }
        let way = self.name;
        match failure {
            Failure::Away(why) => {
                warn!(way, %why, "an alert is not delivered yet; it is tried again");
            }
            Failure::Refused(why) => error!(way, %why, "alerts are not delivered"),
        }
    }
}

impl To {
    /// How many incidents go together.
    fn at_once(&self) -> usize {
        match self {
            Self::Email(_) => email::AT_ONCE_MAX,
            _ => 1,
        }
    }

    fn tries_max(&self) -> u32 {
        match self {
            Self::Program(_) | Self::Tool(_) => TRIES_OF_PROGRAMS_MAX,
            _ => TRIES_MAX,
        }
    }

    /// A pause behind each delivery, so that people are not flooded.
    async fn rest(&self, closing: &CancellationToken) {
        if matches!(self, Self::Email(_)) {
            tokio::select! {
                () = tokio::time::sleep(email::PAUSE) => {}
                () = closing.cancelled() => {}
            }
        }
    }

    async fn deliver(&self, shared: &Arc<Shared>, records: &[Arc<Record>]) -> Result<(), Failure> {
        match self {
            Self::Email(email) => email.deliver(shared, records).await,
            one => match records {
                [record, ..] => one.deliver_one(shared, record).await,
                [] => Ok(()),
            },
        }
    }

    async fn deliver_one(&self, shared: &Arc<Shared>, record: &Record) -> Result<(), Failure> {
        match self {
            Self::Webhook(webhook) => webhook.deliver(shared, record).await,
            Self::Program(program) => program.deliver(shared, record).await,
            Self::Tool(tool) => tool.deliver(shared, record).await,
            Self::Syslog(syslog) => syslog.deliver(shared, record).await,
            Self::Email(_) => Ok(()),
        }
    }
}

/// The incident as it leaves the worker.
fn text_of(record: &Record) -> String {
    record.data(true).to_string()
}

#[cfg(test)]
mod tests;
