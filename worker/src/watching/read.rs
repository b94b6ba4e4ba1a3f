//! The thread that reads: lines of all sources, one after the other, and those that clients bring.
//! It waits for no model and for no client.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use fazai_watch::incident::Taken;
use fazai_watch::{Place, Severity, Watch};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::judge::{Batch, Given};
use super::sources::{Source, SourceFault, Tables};
use crate::trouble::Trouble;

/// What nothing new came from is asked again after this long.
const PAUSE: Duration = Duration::from_millis(25);

/// While lines come without a pause, incidents are handed on so often.
const OFFER_EVERY: Duration = Duration::from_millis(200);

/// Positions are kept so often, once what came before them is kept.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// And so often in any case: behind them lines come again after a kill.
const COMMIT_LATEST: Duration = Duration::from_secs(30);

/// How long the end waits for what was found to be kept.
const END_TIME: Duration = Duration::from_secs(5);

/// Questions of clients that may wait.
const QUESTIONS_MAX: usize = 64;

/// Lines that a client brings.
pub(super) struct Question {
    pub(super) lines: Vec<Vec<u8>>,
    /// Whether the client administers the worker.
    pub(super) trusted: bool,
    pub(super) answer: oneshot::Sender<Met>,
}

/// What they have to do with.
pub(crate) struct Met {
    pub(crate) incidents: Vec<Taken>,
    /// Lines that are no event.
    pub(crate) unreadable: u64,
}

/// What the reader shares with those who wait for it.
#[derive(Debug, Default)]
pub(super) struct Signals {
    pub(super) stop: AtomicBool,
    /// Batches that are handed on and not kept yet.
    pub(super) busy: AtomicUsize,
}

/// Lines of strangers are counted apart: they can't make anybody an attacker.
struct Watches {
    tables: Tables,
    sources: usize,
    own: Watch,
    others: Watch,
    /// Lines that clients brought.
    brought: u64,
}

/// The numbers of incidents of the two are odd and even.
const STEP: u64 = 2;

impl Watches {
    fn new(tables: Tables, sources: usize, last: u64) -> Result<Self, SourceFault> {
        let first = last.div_ceil(STEP) * STEP + 1;
        let own = tables.watch(sources + 1)?.live().numbered(first, STEP);
        let others = tables.watch(sources + 1)?.live().numbered(first + 1, STEP);
        Ok(Self {
            tables,
            sources,
            own,
            others,
            brought: 0,
        })
    }

    fn of(&mut self, trusted: bool) -> &mut Watch {
        if trusted {
            &mut self.own
        } else {
            &mut self.others
        }
    }

    /// Works with one of them. If it panics on what a stranger wrote, it begins anew.
    fn with<T>(&mut self, trusted: bool, work: impl FnOnce(&mut Watch) -> T) -> Option<T> {
        let watch = self.of(trusted);
        if let Ok(done) = catch_unwind(AssertUnwindSafe(|| work(watch))) {
            return Some(done);
        }
        error!("a line made the watch panic; what it had counted is forgotten");
        let next = watch.next_number();
        match self.tables.watch(self.sources + 1) {
            Ok(fresh) => *self.of(trusted) = fresh.live().numbered(next, STEP),
            Err(fault) => error!(%fault, "the watch goes on with what it has"),
        }
        None
    }

    fn ask(&mut self, lines: &[Vec<u8>], trusted: bool) -> Met {
        let source = u16::try_from(self.sources).unwrap_or(u16::MAX);
        let first = self.brought + 1;
        self.brought += lines.len() as u64;
        let asked = self.with(trusted, |watch| {
            let before = watch.stats().unreadable;
            let places = (first..).map(|at| Place { source, at });
            let incidents = watch.ask(places.zip(lines.iter().map(Vec::as_slice)));
            let unreadable = watch.stats().unreadable - before;
            Met {
                incidents,
                unreadable,
            }
        });
        asked.unwrap_or(Met {
            incidents: Vec::new(),
            unreadable: lines.len() as u64,
        })
    }

    /// What is new in both.
    fn take(&mut self, min: Severity) -> Vec<Given> {
        let mut given = Vec::new();
        for trusted in [true, false] {
            let incidents = self.with(trusted, |watch| watch.take_incidents(min));
            let incidents = incidents.unwrap_or_default();
            given.extend(incidents.into_iter().map(|incident| Given {
                incident,
                trusted,
                news: true,
            }));
        }
        given
    }
}

/// A source and how it stands.
struct Followed {
    source: Source,
    trouble: Trouble,
    /// Something came since its position was kept.
    moved: bool,
}

/// The reader.
pub(super) struct Reader {
    sources: Vec<Followed>,
    watches: Watches,
    min: Severity,
    questions: Receiver<Question>,
    batches: mpsc::Sender<Batch>,
    signals: Arc<Signals>,
    offered: Instant,
    committed: Instant,
}

impl Reader {
    /// A reader, and where questions for it go.
    pub(super) fn new(
        sources: Vec<Source>,
        tables: Tables,
        last: u64,
        min: Severity,
        batches: mpsc::Sender<Batch>,
        signals: Arc<Signals>,
    ) -> Result<(Self, SyncSender<Question>), SourceFault> {
        let (ask, questions) = sync_channel(QUESTIONS_MAX);
        let watches = Watches::new(tables, sources.len(), last)?;
        let sources = sources.into_iter().map(|source| Followed {
            source,
            trouble: Trouble::default(),
            // Where it begins is kept too: what comes while nobody is there is read later.
            moved: true,
        });
        let reader = Self {
            sources: sources.collect(),
            watches,
            min,
            questions,
            batches,
            signals,
            offered: Instant::now(),
            committed: Instant::now(),
        };
        Ok((reader, ask))
    }

    /// Reads until it is told to stop, or nobody is left who could.
    pub(super) fn run(mut self) {
        let mut quiet = false;
        while !self.signals.stop.load(Ordering::Acquire) {
            let pause = if quiet { PAUSE } else { Duration::ZERO };
            let asked = match self.questions.recv_timeout(pause) {
                Ok(question) => {
                    self.answer(question);
                    true
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            quiet = self.poll() == 0 && !asked;
            let all_taken = self.offer(quiet);
            self.commit(all_taken);
        }
        self.end();
    }

    fn answer(&mut self, question: Question) {
        let met = self.watches.ask(&question.lines, question.trusted);
        // Whoever does not wait any more has left.
        let _ = question.answer.send(met);
    }

    /// Takes what is there, and says how many lines that was.
    fn poll(&mut self) -> usize {
        let mut count = 0;
        for (number, followed) in self.sources.iter_mut().enumerate() {
            let source = u16::try_from(number).unwrap_or(u16::MAX);
            let watches = &mut self.watches;
            let trusted = followed.source.trusted;
            let polled = followed.source.input.poll(&mut |at, line| {
                watches.with(trusted, |watch| watch.line(Place { source, at }, line));
            });
            followed.moved |= polled.as_ref().is_ok_and(|lines| *lines > 0);
            count += followed.tell(polled);
        }
        count
    }

    /// Hands incidents on, if whoever judges has room; until then they grow. Whether none is left.
    fn offer(&mut self, quiet: bool) -> bool {
        let due = quiet || self.offered.elapsed() >= OFFER_EVERY;
        if !due || self.batches.capacity() == 0 {
            return false;
        }
        self.offered = Instant::now();
        let given = self.watches.take(self.min);
        if given.is_empty() {
            return true;
        }
        self.signals.busy.fetch_add(1, Ordering::AcqRel);
        if self.batches.try_send(Batch::of(given)).is_err() {
            // Whoever judges has ended.
            self.signals.busy.fetch_sub(1, Ordering::AcqRel);
        }
        false
    }

    /// Keeps the positions, if what was found before them is kept.
    fn commit(&mut self, all_taken: bool) {
        let since = self.committed.elapsed();
        let kept = all_taken && self.signals.busy.load(Ordering::Acquire) == 0;
        if since >= COMMIT_LATEST || kept && since >= COMMIT_EVERY {
            self.keep_positions();
        }
    }

    fn keep_positions(&mut self) {
        self.committed = Instant::now();
        for followed in self.sources.iter_mut().filter(|followed| followed.moved) {
            followed.moved = false;
            if let Err(fault) = followed.source.input.commit() {
                let source = &followed.source.name;
                warn!(source, %fault, "the position can't be kept; lines will come again");
            }
        }
    }

    /// What is found goes to whoever judges; then the positions behind it are kept.
    fn end(mut self) {
        let until = Instant::now() + END_TIME;
        let mut all_taken = false;
        while Instant::now() < until {
            all_taken = all_taken || self.offer(true);
            if all_taken && self.signals.busy.load(Ordering::Acquire) == 0 {
                self.keep_positions();
                break;
            }
            std::thread::sleep(PAUSE);
        }
        info!("the watch has ended");
    }
}

impl Followed {
    /// How many lines came; a failure is told once.
    fn tell(&self, polled: io::Result<usize>) -> usize {
        let name = &self.source.name;
        match polled {
            Ok(lines) => {
                if self.trouble.is_over() {
                    info!(source = name, "it can be read again");
                }
                lines
            }
            Err(fault) => {
                if self.trouble.is_news(&fault.to_string()) {
                    error!(source = name, %fault, "it can't be read; it is tried again");
                }
                0
            }
        }
    }
}
