//! Everything that runs, and how it stops.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fazai_models::load;
use fazai_protocol::WireError;
use fazai_protocol::client::Client;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acting::Acting;
use crate::cloud::Clouds;
use crate::config::Settings;
use crate::episodes::Recording;
use crate::errors;
use crate::live::{LiveRequests, User};
use crate::memory::Remembering;
use crate::modules::Modules;
use crate::places::{Places, Turns};
use crate::quota::Quotas;
use crate::registry::{Loader, Registry};
use crate::runs::Runs;
use crate::server::admission::Connections;
use crate::server::{self, Peer};
use crate::sessions::Sessions;
use crate::toolbox::Tools;
use crate::uses::Uses;
use crate::watching::{WatchFault, Watching};

/// A running worker. Cloning shares it.
#[derive(Clone)]
pub struct Worker {
    pub(crate) shared: Arc<Shared>,
}

/// What all connections share.
pub(crate) struct Shared {
    settings: watch::Sender<Arc<Settings>>,
    pub(crate) registry: Registry,
    pub(crate) sessions: Sessions,
    pub(crate) modules: Modules,
    pub(crate) acting: Acting,
    pub(crate) tools: Tools,
    pub(crate) runs: Runs,
    pub(crate) memory: Remembering,
    pub(crate) episodes: Recording,
    pub(crate) uses: Uses,
    pub(crate) cloud: Clouds,
    pub(crate) watching: Watching,
    /// Commands that run, by whose they are.
    pub(crate) commands: Places<User>,
    /// Places for directories that the memory follows.
    pub(crate) followed: Places<User>,
    /// Calls of tools, by whose they are.
    pub(crate) tool_calls: Places<User>,
    /// Calls of modules, by the module.
    pub(crate) module_calls: Places<String>,
    pub(crate) live: LiveRequests,
    pub(crate) quotas: Quotas,
    pub(crate) counters: Counters,
    pub(crate) started: Instant,
    /// Whether a server lets clients in, and not the one alone who started the worker.
    pub(crate) serves: AtomicBool,
    pub(crate) connections: Arc<Connections>,
    /// Places for long work beside the engines, such as tokenizing.
    pub(crate) computing: Turns<User>,
    /// Places for work on the modules' files.
    pub(crate) module_files: Semaphore,
    /// No new requests.
    pub(crate) draining: CancellationToken,
    /// No requests at all.
    pub(crate) killed: CancellationToken,
    /// Not even clients who do not read their last lines.
    pub(crate) abandoned: CancellationToken,
    /// The connections.
    pub(crate) tasks: TaskTracker,
}

/// What was done since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) connections_open: AtomicUsize,
    pub(crate) requests: AtomicU64,
    pub(crate) failures: AtomicU64,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Worker")
    }
}

/// Texts that are tokenized at once; of one user half of them.
const COMPUTING_MAX: usize = 2;

/// Modules that are read, hashed or started at once, beside calls.
const MODULE_FILES_MAX: usize = 2;

/// Bytes that may be under way inside the process, in each direction.
const PIPE_BYTES: usize = 64 << 10;

/// After the last request was told to end, connections get this long to say so.
const CLOSE_TIME: Duration = Duration::from_secs(2);

impl Worker {
    /// Starts a worker that nobody can reach yet: see [`client`](Self::client) and
    /// [`server::Server`].
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let loader: Loader =
            Arc::new(|source, options, progress| load::load(source, options, progress));
        Self::with_loader(settings, loader)
    }

    /// Starts a worker whose models come from `loader`: for programs with backends of their own.
    #[must_use]
    pub fn with_loader(settings: Settings, loader: Loader) -> Self {
        let connections = Arc::new(Connections::new(settings.limits.connections_max));
        let (settings, receiver) = watch::channel(Arc::new(settings));
        let shared = Shared {
            settings,
            modules: Modules::new(receiver.clone()),
            acting: Acting::new(receiver.clone()),
            tools: Tools::new(receiver.clone()),
            runs: Runs::new(receiver.clone()),
            memory: Remembering::new(receiver.clone()),
            episodes: Recording::new(receiver.clone()),
            uses: Uses::new(receiver.clone()),
            cloud: Clouds::new(receiver.clone()),
            watching: Watching::new(receiver.clone()),
            commands: Places::default(),
            followed: Places::default(),
            tool_calls: Places::default(),
            module_calls: Places::default(),
            registry: Registry::start(receiver, loader),
            sessions: Sessions::default(),
            live: LiveRequests::default(),
            quotas: Quotas::default(),
            counters: Counters::default(),
            started: Instant::now(),
            serves: AtomicBool::new(false),
            connections,
            computing: Turns::new(COMPUTING_MAX),
            module_files: Semaphore::new(MODULE_FILES_MAX),
            draining: CancellationToken::new(),
            killed: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.shared.settings.borrow())
    }

    /// Replaces the settings, and reads the policy again. Sockets stay as they are, and so do
    /// loaded models.
    pub fn reload(&self, settings: Settings) {
        let new = Arc::new(settings);
        let old = self.shared.settings.send_replace(Arc::clone(&new));
        self.shared.memory.reload(&old, &new);
        self.shared.acting.reload();
        self.shared.tools.reload();
        self.shared.cloud.reload();
    }

    /// Loads the configured model now, instead of at the first request.
    ///
    /// # Errors
    /// Why it can't be loaded.
    pub async fn warm_up(&self) -> Result<(), WireError> {
        self.shared
            .registry
            .lease(None)
            .await
            .wait()
            .await
            .map(drop)
    }

    /// Loads the native modules that may load now, instead of each at its first call, and logs
    /// what keeps the others from it.
    pub async fn load_modules(&self) {
        self.with_modules(Modules::load_all).await;
    }

    /// Watches what `[watch]` names, and makes the firewall what the ledger of blocks says. If that
    /// is done already, it begins anew where the settings or the files of rules are others by now:
    /// what was counted is forgotten then, and positions, incidents and blocks are not.
    ///
    /// # Errors
    /// Its state or its tables can't be used; what was in force before stays so. A single source
    /// that can't be used is logged.
    pub async fn watch(&self) -> Result<(), WireError> {
        let shared = Arc::clone(&self.shared);
        let begun = tokio::task::spawn_blocking(move || shared.watching.follow(&shared)).await;
        let begun = begun.unwrap_or(Err(WatchFault::Stopping));
        begun.map_err(|fault| errors::from_watch(&fault))
    }

    /// Begins to bring the record of each day to its store, if there is to be one.
    pub fn keep_episodes(&self) {
        Recording::tend(&self.shared);
    }

    /// Signs the end of the audit log, if it was opened: what is cut off before the signed end is
    /// found. To be called now and then; a stop does it too.
    pub async fn sign_audit(&self) {
        let shared = Arc::clone(&self.shared);
        // It waits for the disk. A panic is in the log.
        let _ = tokio::task::spawn_blocking(move || shared.acting.sign_head()).await;
    }

    /// Does something that waits for modules on a thread that may wait.
    pub(crate) async fn with_modules<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Modules) -> T + Send + 'static,
    ) -> Option<T> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || work(&shared.modules)).await;
        done.ok()
    }

    /// A client inside this process: the same protocol, without a socket.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client_of(true)
    }

    /// One whose requests are part of other work: they are no episodes of their own.
    pub(crate) fn helping_client(&self) -> Client {
        self.client_of(false)
    }

    fn client_of(&self, recorded: bool) -> Client {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let peer = Peer {
            recorded,
            ..Peer::trusted(User::Uid(rustix::process::getuid().as_raw()))
        };
        self.shared
            .tasks
            .spawn(server::serve(self.clone(), far, peer));
        Client::over(near)
    }

    /// Takes no more requests, lets those that run go on for `drain_ms`, ends the rest with
    /// `shutting_down`, and waits until everything has stopped.
    pub async fn stop(&self) {
        let drain = Duration::from_millis(self.settings().server.drain_ms);
        self.shared.draining.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(drain, self.shared.tasks.wait())
            .await
            .is_err()
        {
            self.shared.killed.cancel();
            let closed = tokio::time::timeout(CLOSE_TIME, self.shared.tasks.wait()).await;
            if closed.is_err() {
                self.shared.abandoned.cancel();
                let _ = tokio::time::timeout(CLOSE_TIME, self.shared.tasks.wait()).await;
            }
        }
        let shared = Arc::clone(&self.shared);
        // A panic is in the log.
        let _ = tokio::task::spawn_blocking(move || shared.watching.stop()).await;
        // One that hangs inside this process can't be ended; the program's end does that.
        let _ = tokio::time::timeout(CLOSE_TIME * 2, self.with_modules(Modules::stop)).await;
        let shared = Arc::clone(&self.shared);
        let closing = tokio::task::spawn_blocking(move || shared.episodes.close(&shared));
        // A store that is away does not keep the program; what is new is on this machine.
        let _ = tokio::time::timeout(CLOSE_TIME * 2, closing).await;
        self.sign_audit().await;
        self.shared.memory.close();
        self.shared.registry.stop().await;
    }

    pub(crate) fn count_request(&self) {
        self.shared
            .counters
            .requests
            .fetch_add(1, Ordering::Relaxed);
    }
}
