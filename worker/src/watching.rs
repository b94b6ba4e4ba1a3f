//! The watch within the daemon: lines of sensors, logs and clients become incidents, which are
//! judged, kept, told, and acted on as far as rules and policy allow.
//!
//! | file | what it owns |
//! |---|---|
//! | `sources.rs` | which files and sockets, which tables |
//! | `read.rs` | the thread that reads; it waits for nobody |
//! | `judge.rs`, `model.rs` | the thread that judges, acts and keeps; the model's opinion |
//! | `record.rs` | an incident as it was judged, as clients get it |
//! | `store.rs` | incidents on the disk, and what people said of them |
//! | `feed.rs` | the latest judgements, for subscribers |
//! | `blocks.rs`, `wall.rs` | blocks past the gate; the firewall |
//! | `passing.rs` | the gate before whatever leaves the worker |
//! | `dnsbl.rs` | lists of bad addresses |
//! | `alerts.rs`, `alerts/` | who is told outside of the worker |
//!
//! Nothing is opened before it is needed: a worker without `[watch]` that is never sent an event
//! has neither thread nor file of it.

mod alerts;
pub(crate) mod blocks;
mod dnsbl;
pub(crate) mod feed;
mod judge;
mod model;
mod passing;
mod read;
pub(crate) mod record;
mod sources;
pub(crate) mod store;
mod wall;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fazai_tools::AuditError;
use fazai_watch::action::Rules;
use fazai_watch::enforce::EnforceError;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::{error, info};

use self::alerts::Alerts;
use self::blocks::Blocks;
use self::dnsbl::Dnsbl;
use self::feed::Feed;
pub(crate) use self::judge::Given;
use self::judge::{Batch, Judging};
pub use self::model::{BATCH_MAX, Model, SLOTS};
use self::read::{Met, Question, Reader, Signals};
use self::record::Record;
use self::sources::Stamp;
pub use self::sources::{Source, SourceFault, Sources, Tables};
use self::store::Store;
use crate::config::{Settings, WatchSettings};
use crate::lock::lock;
use crate::worker::Shared;

/// Why the watch does not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchFault {
    #[error("[watch] {0}")]
    Table(#[from] SourceFault),
    #[error("{path}: {fault}", path = path.display())]
    State { path: PathBuf, fault: io::Error },
    #[error(transparent)]
    Enforce(#[from] EnforceError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("there is no incident {0}")]
    NotFound(u64),
    #[error("as many events are waiting as may")]
    Full,
    #[error("the watch is stopping")]
    Stopping,
}

impl WatchFault {
    /// What people said can't be written down.
    pub(crate) fn not_kept(fault: io::Error) -> Self {
        Self::State {
            path: PathBuf::from(INCIDENTS),
            fault,
        }
    }
}

/// The file of incidents within the directory.
const INCIDENTS: &str = "incidents.jsonl";

/// The ledger of blocks there.
const LEDGER: &str = "blocks.jsonl";

/// Batches of the reader that may wait for judgement. Until there is room, incidents grow.
const FOUND_MAX: usize = 1;

/// Batches of clients that may wait for judgement.
const ASKED_MAX: usize = 64;

/// How long threads have to end.
const END_TIME: Duration = Duration::from_secs(8);

/// How often it is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The watch, opened when it is first needed.
pub(crate) struct Watching {
    settings: watch::Receiver<Arc<Settings>>,
    running: Mutex<Option<Arc<Pipeline>>>,
    stopped: AtomicBool,
}

/// What runs.
pub(crate) struct Pipeline {
    pub(crate) kept: Arc<Kept>,
    pub(crate) rules: Rules,
    questions: SyncSender<Question>,
    asked: mpsc::Sender<Batch>,
    /// Places for clients whose incidents are being judged.
    pub(crate) places: Arc<Semaphore>,
    signals: Arc<Signals>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Asks lists of addresses.
    lists: tokio::task::JoinHandle<()>,
    made_of: MadeOf,
}

/// From what it was begun, to know when it has to begin anew.
#[derive(PartialEq)]
struct MadeOf {
    settings: WatchSettings,
    tables: [Stamp; 4],
    /// Whether sources are read, or only what clients bring.
    has_sources: bool,
}

impl MadeOf {
    fn of(settings: &WatchSettings, has_sources: bool) -> Self {
        Self {
            settings: settings.clone(),
            tables: settings.tables().stamps(),
            has_sources,
        }
    }
}

/// What is known, on the disk and for subscribers, and what is blocked.
pub(crate) struct Kept {
    store: Mutex<Store>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) blocks: Blocks,
    alerts: Alerts,
    dnsbl: Dnsbl,
}

impl Kept {
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// Keeps new judgements, then tells them, here and outside.
    fn publish(&self, records: &mut [Record]) -> Vec<Arc<Record>> {
        if records.is_empty() {
            return Vec::new();
        }
        let added = self.keep(&mut self.store(), records);
        self.alerts.offer(&added);
        self.dnsbl.ask(&added);
        added
    }

    /// Tells an incident again, since more is known of its actor.
    fn tell_again(&self, id: u64) {
        let mut store = self.store();
        let Some(record) = store.get(id).filter(|record| record.listed.is_empty()) else {
            return;
        };
        let mut record = Record::clone(&record);
        self.dnsbl.add_to(&mut record);
        self.keep(&mut store, &mut [record]);
    }

    fn keep(&self, store: &mut Store, records: &mut [Record]) -> Vec<Arc<Record>> {
        let (added, written) = store.add(records);
        if let Err(fault) = written {
            error!(%fault, "incidents can't be written down; they are told all the same");
        }
        // The store is still held: numbers must not overtake each other.
        self.feed.push(added.iter().cloned());
        for record in &added {
            info!(id = record.id, seq = record.seq, "{}", record.line());
        }
        added
    }
}

impl Watching {
    pub(crate) fn new(settings: watch::Receiver<Arc<Settings>>) -> Self {
        Self {
            settings,
            running: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }

    /// What runs, or is started now without sources. To be called within the runtime, on a thread
    /// that may wait.
    pub(crate) fn pipeline(&self, shared: &Arc<Shared>) -> Result<Arc<Pipeline>, WatchFault> {
        let mut running = lock(&self.running);
        if let Some(pipeline) = &*running {
            return Ok(Arc::clone(pipeline));
        }
        let made_of = MadeOf::of(&self.settings.borrow().watch, false);
        self.start(shared, &mut running, Vec::new(), made_of)
    }

    /// Whom it tells and asks, and what waits for that; null if nothing runs.
    pub(crate) fn state(&self) -> Value {
        // Whoever begins or ends it holds this for seconds.
        let running = self.running.try_lock().ok();
        let running = running.as_ref().and_then(|running| running.as_ref());
        running.map_or(Value::Null, |pipeline| {
            let kept = &pipeline.kept;
            json!({ "alerts": kept.alerts.state(), "dnsbl": kept.dnsbl.state() })
        })
    }

    /// Begins with the sources of the settings, unless it runs with those and the same tables. What
    /// is wrong with the tables is found before the end of what runs.
    pub(crate) fn follow(&self, shared: &Arc<Shared>) -> Result<(), WatchFault> {
        let mut running = lock(&self.running);
        let settings = Arc::clone(&self.settings.borrow());
        let is_wanted = settings.watch.is_wanted();
        let made_of = MadeOf::of(&settings.watch, is_wanted);
        match running.as_ref() {
            None if !is_wanted => return Ok(()),
            Some(before) if before.made_of == made_of => return Ok(()),
            _ => {}
        }
        let tables = settings.watch.tables();
        tables.rules()?;
        tables.watch(1)?;
        if let Some(before) = running.take() {
            info!("the watch begins anew");
            before.end();
            // Requests that still work with its files let go of them at once.
            let kept = Arc::downgrade(&before.kept);
            drop(before);
            ends_by(Instant::now() + END_TIME, || kept.strong_count() == 0);
        }
        let mut opened = Vec::new();
        for source in settings.watch.sources().open() {
            match source {
                Ok(source) => opened.push(source),
                Err(fault) => error!(%fault, "a source of [watch] can't be used"),
            }
        }
        self.start(shared, &mut running, opened, made_of).map(drop)
    }

    fn start(
        &self,
        shared: &Arc<Shared>,
        running: &mut Option<Arc<Pipeline>>,
        sources: Vec<Source>,
        made_of: MadeOf,
    ) -> Result<Arc<Pipeline>, WatchFault> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(WatchFault::Stopping);
        }
        let pipeline = Arc::new(Pipeline::start(shared, made_of, sources)?);
        *running = Some(Arc::clone(&pipeline));
        Ok(pipeline)
    }

    /// Ends what runs, in order: what was read is judged and kept, then where the reading was.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        let before = lock(&self.running).take();
        if let Some(pipeline) = before {
            pipeline.end();
        }
    }
}

impl Pipeline {
    fn start(
        shared: &Arc<Shared>,
        made_of: MadeOf,
        sources: Vec<Source>,
    ) -> Result<Self, WatchFault> {
        let settings = &made_of.settings;
        let made = sources::state_dir(&settings.state_dir);
        made.map_err(|fault| WatchFault::State {
            path: settings.state_dir.clone(),
            fault,
        })?;
        let tables = settings.tables();
        let rules = tables.rules()?;
        let path = settings.state_dir.join(INCIDENTS);
        let store = Store::open(&path).map_err(|fault| WatchFault::State { path, fault })?;
        let ledger = settings.state_dir.join(LEDGER);
        let blocks = Blocks::open(&ledger, settings, &rules)?;
        let (id, seq) = store.last();
        let (weak, runtime) = (Arc::downgrade(shared), Handle::current());
        let (dnsbl, asked_of_lists) = Dnsbl::new(&settings.dnsbl);
        let kept = Arc::new(Kept {
            feed: Arc::new(Feed::new(store.latest(), seq)),
            store: Mutex::new(store),
            blocks,
            alerts: Alerts::start(&settings.alerts, &weak, &runtime),
            dnsbl,
        });
        let lists = dnsbl::run(
            asked_of_lists,
            settings.dnsbl.clone(),
            Arc::downgrade(&kept),
            Weak::clone(&weak),
        );
        let lists = runtime.spawn(lists);
        let signals = Arc::<Signals>::default();
        let (batches, found) = mpsc::channel(FOUND_MAX);
        let (asked, asking) = mpsc::channel(ASKED_MAX);
        let judging = Judging {
            shared: weak,
            runtime,
            found,
            asked: asking,
            rules: rules.clone(),
            min: settings.min_severity,
            kept: Arc::clone(&kept),
            signals: Arc::clone(&signals),
            known: judge::KnownAnswers::default(),
        };
        let min = settings.min_severity;
        let (reader, questions) =
            Reader::new(sources, tables, id, min, batches, Arc::clone(&signals))?;
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
            spawned.map_err(|fault| WatchFault::State {
                path: PathBuf::from(name),
                fault,
            })
        };
        let threads = vec![
            spawn("fazai-judge", Box::new(|| judging.run()))?,
            spawn("fazai-watch", Box::new(|| reader.run()))?,
        ];
        Ok(Self {
            kept,
            rules,
            questions,
            asked,
            places: Arc::new(Semaphore::new(ASKED_MAX)),
            signals,
            threads: Mutex::new(threads),
            lists,
            made_of,
        })
    }

    /// Gives lines to the reader; what they have to do with comes to the receiver.
    pub(crate) fn ask(
        &self,
        lines: Vec<Vec<u8>>,
        trusted: bool,
    ) -> Result<oneshot::Receiver<Met>, WatchFault> {
        let (answer, receiver) = oneshot::channel();
        let question = Question {
            lines,
            trusted,
            answer,
        };
        match self.questions.try_send(question) {
            Ok(()) => Ok(receiver),
            Err(TrySendError::Full(_)) => Err(WatchFault::Full),
            Err(TrySendError::Disconnected(_)) => Err(WatchFault::Stopping),
        }
    }

    /// Has incidents judged, before those that nobody waits for.
    pub(crate) async fn judge(&self, given: Vec<Given>) -> Result<Vec<Arc<Record>>, WatchFault> {
        let (batch, answer) = Batch::asked(given);
        let sent = self.asked.send(batch).await;
        sent.map_err(|_| WatchFault::Stopping)?;
        answer.await.map_err(|_| WatchFault::Stopping)
    }

    /// What rules say of an incident, for who can't wait for more.
    pub(crate) fn by_rules(&self, given: &Given) -> Record {
        judge::by_rules(&self.rules, given)
    }

    fn end(&self) {
        self.lists.abort();
        self.signals.stop.store(true, Ordering::Release);
        let mut threads = std::mem::take(&mut *lock(&self.threads));
        // The judge ends when the reader has; it came first.
        threads.reverse();
        let until = Instant::now() + END_TIME;
        for thread in threads {
            if !ends_by(until, || thread.is_finished()) {
                return error!("the watch does not end; the program's end will end it");
            }
            let _ = thread.join();
        }
        self.kept.alerts.end();
        // Its successor has all of it by now, and numbers go on.
        self.kept.feed.end();
    }
}

/// Waits for something that ends. Whether it does in time.
fn ends_by(until: Instant, has_ended: impl Fn() -> bool) -> bool {
    while !has_ended() {
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
    true
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.lists.abort();
        self.signals.stop.store(true, Ordering::Release);
    }
}
