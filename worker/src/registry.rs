//! The loaded models. One task owns the table; loads run one at a time on a thread of their
//! own, and everybody who waits for the same model gets the same one.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fazai_models::builtin;
use fazai_models::chat::ChatTemplate;
use fazai_models::engine::{self, EngineHandle, EngineOptions, EngineThread, GateLimits};
use fazai_models::load::{LoadError, LoadOptions, Loaded, ModelInfo, ModelSource};
use fazai_models::prompts::{Fingerprint, PromptStore};
use fazai_models::store::Store;
use fazai_models::vocabulary::Vocabulary;
use fazai_protocol::{ErrorCode, WireError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::config::{ModelSettings, Settings};
use crate::errors;
use crate::lock::lock;

/// Loads a model; the last argument is told the progress and says whether to go on. Programs
/// that bring their own backends replace it.
pub type Loader = Arc<
    dyn Fn(
            &ModelSource,
            &LoadOptions,
            &mut (dyn FnMut(f32) -> bool + Send),
        ) -> Result<Loaded, LoadError>
        + Send
        + Sync,
>;

/// A loaded model and its engine.
pub struct LiveModel {
    /// The name it is asked for.
    pub name: String,
    /// The name it answers under.
    pub title: String,
    /// What it is.
    pub info: ModelInfo,
    /// Its vocabulary.
    pub vocabulary: Arc<Vocabulary>,
    /// Its chat template.
    pub template: Arc<ChatTemplate>,
    /// Its engine.
    pub engine: EngineHandle,
    /// How long the load took.
    pub load_time: Duration,
    thread: Mutex<Option<EngineThread>>,
    began: Instant,
    /// Milliseconds after `began`.
    last_used: AtomicU64,
}

impl fmt::Debug for LiveModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveModel({})", self.name)
    }
}

/// A smaller model can't be trusted to read what tools are for, or what a command printed.
const READER_PARAMETERS_MIN: u64 = 100_000_000;

impl LiveModel {
    /// Whether it is large enough to read what it was not trained on.
    pub(crate) fn reads(&self) -> bool {
        self.info.parameters >= READER_PARAMETERS_MIN
    }

    fn touch(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_used.store(now, Ordering::Relaxed);
    }

    /// How long ago it was used, if nobody uses it now.
    fn idle(self: &Arc<Self>) -> Option<Duration> {
        let used = Duration::from_millis(self.last_used.load(Ordering::Relaxed));
        (Arc::strong_count(self) == 1).then(|| self.began.elapsed().saturating_sub(used))
    }

    fn take_thread(&self) -> Option<EngineThread> {
        lock(&self.thread).take()
    }
}

/// A model in use by one request: it stays loaded until the lease is dropped.
#[derive(Debug)]
pub struct ModelLease(Arc<LiveModel>);

impl std::ops::Deref for ModelLease {
    type Target = LiveModel;

    fn deref(&self) -> &LiveModel {
        &self.0
    }
}

impl Drop for ModelLease {
    fn drop(&mut self) {
        self.0.touch();
    }
}

/// A model on its way.
#[derive(Debug)]
pub struct Leasing {
    /// The model, or why it can't be had.
    pub ready: oneshot::Receiver<Result<ModelLease, WireError>>,
    /// How much of it is loaded, in percent.
    pub percent: watch::Receiver<u32>,
}

/// What the table knows of one model.
#[derive(Debug, Clone)]
pub enum ModelState {
    /// Being loaded, or waiting for its turn; so many percent are done.
    Loading(String, u32),
    /// Ready.
    Ready(Arc<LiveModel>),
}

#[derive(Debug)]
enum Message {
    Lease {
        name: Option<String>,
        ready: oneshot::Sender<Result<ModelLease, WireError>>,
        percent: watch::Sender<u32>,
    },
    Unload {
        name: Option<String>,
        done: oneshot::Sender<Result<String, WireError>>,
    },
    List(oneshot::Sender<Vec<ModelState>>),
    Stop(oneshot::Sender<()>),
}

/// A handle to the table of models.
#[derive(Debug, Clone)]
pub struct Registry(mpsc::Sender<Message>);

fn stopping() -> WireError {
    WireError::new(ErrorCode::ShuttingDown, "the worker is stopping")
}

impl Registry {
    /// Starts the task that owns the table.
    #[must_use]
    pub fn start(settings: watch::Receiver<Arc<Settings>>, loader: Loader) -> Self {
        let (sender, messages) = mpsc::channel(64);
        let (loaded_sender, loaded) = mpsc::channel(4);
        let table = Table {
            settings,
            loader,
            models: HashMap::new(),
            loads: VecDeque::new(),
            running: false,
            loaded: loaded_sender,
            leaving: JoinSet::new(),
        };
        tokio::spawn(table.run(messages, loaded));
        Self(sender)
    }

    /// Asks for a model by name, or for the configured one, loading it if need be.
    pub async fn lease(&self, name: Option<String>) -> Leasing {
        let (sender, ready) = oneshot::channel();
        let (percent_sender, percent) = watch::channel(0);
        let message = Message::Lease {
            name,
            ready: sender,
            percent: percent_sender,
        };
        // A table that is gone drops the senders, which the caller sees as stopping.
        let _ = self.0.send(message).await;
        Leasing { ready, percent }
    }

    /// Forgets a model; requests that use it end as usual. Returns its name.
    ///
    /// # Errors
    /// No such model is loaded.
    pub async fn unload(&self, name: Option<String>) -> Result<String, WireError> {
        let (done, answer) = oneshot::channel();
        let _ = self.0.send(Message::Unload { name, done }).await;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// The models that are loaded or being loaded.
    pub async fn list(&self) -> Vec<ModelState> {
        let (sender, answer) = oneshot::channel();
        let _ = self.0.send(Message::List(sender)).await;
        answer.await.unwrap_or_default()
    }

    /// Unloads everything and waits for the engines' threads.
    pub async fn stop(&self) {
        let (sender, answer) = oneshot::channel();
        let _ = self.0.send(Message::Stop(sender)).await;
        let _ = answer.await;
    }
}

impl Leasing {
    /// Waits for the model.
    ///
    /// # Errors
    /// Why it can't be had.
    pub async fn wait(self) -> Result<ModelLease, WireError> {
        self.ready.await.unwrap_or_else(|_| Err(stopping()))
    }
}

/// Somebody who waits for a load.
#[derive(Debug)]
struct Waiter {
    ready: oneshot::Sender<Result<ModelLease, WireError>>,
    percent: watch::Sender<u32>,
}

/// A load that runs or waits for its turn.
#[derive(Debug)]
struct Load {
    name: String,
    source: ModelSource,
    waiters: Vec<Waiter>,
}

/// The end of a load.
struct LoadEnd {
    name: String,
    took: Duration,
    result: Result<Loaded, LoadError>,
}

struct Table {
    settings: watch::Receiver<Arc<Settings>>,
    loader: Loader,
    models: HashMap<String, Arc<LiveModel>>,
    /// The first one runs if `running`.
    loads: VecDeque<Load>,
    running: bool,
    loaded: mpsc::Sender<LoadStep>,
    /// Threads of unloaded engines that still have work.
    leaving: JoinSet<()>,
}

enum LoadStep {
    Percent(u32),
    End(Box<LoadEnd>),
}

/// How often idle models are looked for.
const IDLE_CHECK: Duration = Duration::from_millis(500);

/// How long a stop waits for engines that still compute.
const JOIN_TIME: Duration = Duration::from_secs(10);

impl Table {
    async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        mut loaded: mpsc::Receiver<LoadStep>,
    ) {
        let mut idle_check = tokio::time::interval(IDLE_CHECK);
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(Message::Lease { name, ready, percent }) => {
                        self.lease(name.as_deref(), Waiter { ready, percent });
                    }
                    Some(Message::Unload { name, done }) => {
                        let _ = done.send(self.unload(name.as_deref()));
                    }
                    Some(Message::List(answer)) => {
                        let _ = answer.send(self.list());
                    }
                    Some(Message::Stop(done)) => {
                        self.stop().await;
                        let _ = done.send(());
                        return;
                    }
                    None => {
                        self.stop().await;
                        return;
                    }
                },
                Some(step) = loaded.recv() => match step {
                    LoadStep::Percent(percent) => self.tell_percent(percent),
                    LoadStep::End(end) => self.finish_load(*end),
                },
                _ = idle_check.tick() => {
                    self.unload_idle();
                    while self.leaving.try_join_next().is_some() {}
                }
            }
        }
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// The wire gives names; the settings may also give a path.
    fn resolve(&self, name: Option<&str>) -> Result<(String, ModelSource), WireError> {
        let settings = self.settings();
        let store = Store::new(settings.model.dir.clone());
        let resolved = match name {
            Some(name) => store.resolve(name),
            None => store.resolve_path_or_name(&settings.model.default),
        };
        let resolved = resolved.map_err(|fault| errors::from_store(&fault))?;
        Ok((resolved.name, resolved.source))
    }

    fn lease(&mut self, name: Option<&str>, waiter: Waiter) {
        let (name, source) = match self.resolve(name) {
            Ok(resolved) => resolved,
            Err(fault) => {
                let _ = waiter.ready.send(Err(fault));
                return;
            }
        };
        if self
            .models
            .get(&name)
            .is_some_and(|model| !model.engine.is_alive())
        {
            error!(model = name, "the engine died and will be started again");
            self.models.remove(&name);
        }
        if let Some(model) = self.models.get(&name) {
            model.touch();
            let _ = waiter.ready.send(Ok(ModelLease(Arc::clone(model))));
            return;
        }
        if let Some(load) = self.loads.iter_mut().find(|load| load.name == name) {
            load.waiters.push(waiter);
            return;
        }
        self.loads.push_back(Load {
            name,
            source,
            waiters: vec![waiter],
        });
        self.start_load();
    }

    /// Starts the first load that somebody still waits for, if none runs.
    fn start_load(&mut self) {
        if self.running {
            return;
        }
        while let Some(load) = self.loads.front_mut() {
            load.waiters.retain(|waiter| !waiter.ready.is_closed());
            if load.waiters.is_empty() {
                self.loads.pop_front();
                continue;
            }
            self.running = true;
            let name = load.name.clone();
            let source = load.source.clone();
            let options = load_options(&self.settings());
            let loader = Arc::clone(&self.loader);
            let steps = self.loaded.clone();
            info!(model = name, "loading");
            tokio::task::spawn_blocking(move || {
                let began = Instant::now();
                let mut last = 0;
                let result = loader(&source, &options, &mut |done| {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "0 to 100"
                    )]
                    let percent = (done.clamp(0.0, 1.0) * 100.0) as u32;
                    if percent > last {
                        last = percent;
                        let _ = steps.try_send(LoadStep::Percent(percent));
                    }
                    !steps.is_closed()
                });
                let end = LoadEnd {
                    name,
                    took: began.elapsed(),
                    result,
                };
                let _ = steps.blocking_send(LoadStep::End(Box::new(end)));
            });
            return;
        }
    }

    fn tell_percent(&mut self, percent: u32) {
        if let Some(load) = self.loads.front() {
            for waiter in &load.waiters {
                waiter.percent.send_replace(percent);
            }
        }
    }

    fn finish_load(&mut self, end: LoadEnd) {
        self.running = false;
        let Some(load) = self.loads.pop_front() else {
            return;
        };
        match end.result {
            Ok(loaded) => {
                let model = self.install(end.name, loaded, end.took);
                for waiter in load.waiters {
                    let _ = waiter.ready.send(Ok(ModelLease(Arc::clone(&model))));
                }
            }
            // Models that nobody uses make room before a wish is refused.
            Err(LoadError::TooLarge { .. }) if self.unload_least_used() => {
                self.loads.push_front(load);
            }
            Err(fault) => {
                warn!(model = load.name, %fault, "can't be loaded");
                let error = errors::from_load(&fault);
                for waiter in load.waiters {
                    let _ = waiter.ready.send(Err(error.clone()));
                }
            }
        }
        self.start_load();
    }

    fn install(&mut self, name: String, loaded: Loaded, took: Duration) -> Arc<LiveModel> {
        let settings = self.settings();
        let options = EngineOptions {
            name: name.clone(),
            slots: settings.model.slots,
            batch: loaded.batch,
            speculation: settings.model.speculation,
            paused_bytes_max: settings.model.paused_bytes_max,
            prompts: prompt_store(&settings.model, loaded.fingerprint),
            gate: GateLimits {
                waiting_requests_max: settings.limits.waiting_requests_max,
                waiting_prompt_tokens_max: settings.limits.waiting_prompt_tokens_max,
            },
        };
        let info = &loaded.info;
        info!(
            model = name,
            architecture = info.architecture,
            parameters = info.parameters,
            quantization = info.quantization,
            context_tokens = info.context_tokens,
            cells = info.cells,
            threads = info.threads,
            device = info.device,
            load_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "loaded"
        );
        let vocabulary = Arc::clone(&loaded.vocabulary);
        let (engine, thread) = engine::start(loaded.backend, vocabulary, options);
        let model = Arc::new(LiveModel {
            title: title(&name),
            info: loaded.info,
            vocabulary: loaded.vocabulary,
            template: loaded.template,
            engine,
            load_time: took,
            thread: Mutex::new(Some(thread)),
            began: Instant::now(),
            last_used: AtomicU64::new(0),
            name: name.clone(),
        });
        self.models.insert(name, Arc::clone(&model));
        model
    }

    fn unload(&mut self, name: Option<&str>) -> Result<String, WireError> {
        let (name, _) = self.resolve(name)?;
        if self.models.contains_key(&name) {
            self.release(&name);
            return Ok(name);
        }
        let error = WireError::new(ErrorCode::ModelNotFound, format!("{name} is not loaded"));
        Err(error.with_hint("`models` with input \"list\" shows what is"))
    }

    /// Takes a model out of the table; its thread ends with its last request.
    fn release(&mut self, name: &str) {
        let Some(model) = self.models.remove(name) else {
            return;
        };
        info!(model = name, "unloading");
        let thread = model.take_thread();
        drop(model);
        if let Some(thread) = thread {
            self.leaving.spawn_blocking(move || {
                if !thread.join() {
                    error!("an engine's thread panicked");
                }
            });
        }
    }

    fn unload_idle(&mut self) {
        let after = match self.settings().model.idle_unload_ms {
            0 => return,
            millis => Duration::from_millis(millis),
        };
        let idle = self
            .models
            .iter()
            .filter(|(_, model)| model.idle().is_some_and(|idle| idle >= after));
        let names: Vec<String> = idle.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.release(&name);
        }
    }

    /// Unloads the model that has been idle for longest. `false`: none is idle.
    fn unload_least_used(&mut self) -> bool {
        let idle = self
            .models
            .iter()
            .filter_map(|(name, model)| Some((model.idle()?, name.clone())));
        let Some((_, name)) = idle.max() else {
            return false;
        };
        self.release(&name);
        true
    }

    fn list(&self) -> Vec<ModelState> {
        let ready = self
            .models
            .values()
            .map(|model| ModelState::Ready(Arc::clone(model)));
        let loading = self.loads.iter().map(|load| {
            let percent = load
                .waiters
                .first()
                .map_or(0, |waiter| *waiter.percent.borrow());
            ModelState::Loading(load.name.clone(), percent)
        });
        ready.chain(loading).collect()
    }

    async fn stop(&mut self) {
        let names: Vec<String> = self.models.keys().cloned().collect();
        for name in names {
            self.release(&name);
        }
        let joined = async { while self.leaving.join_next().await.is_some() {} };
        if tokio::time::timeout(JOIN_TIME, joined).await.is_err() {
            warn!("engines are still computing; leaving without them");
        }
    }
}

/// The name under which a model answers.
fn title(name: &str) -> String {
    if name == builtin::NAME {
        return builtin::TITLE.to_owned();
    }
    let path = Path::new(name);
    let stem = path
        .file_name()
        .map(|file| file.to_string_lossy().into_owned());
    stem.unwrap_or_else(|| name.to_owned())
}

/// How models are loaded, by the settings.
#[must_use]
pub fn load_options(settings: &Settings) -> LoadOptions {
    let model = &settings.model;
    LoadOptions {
        backend: model.backend,
        context_tokens: model.context_tokens,
        slots: model.slots,
        kv_cache_bytes: model.kv_cache_bytes,
        threads: model.threads,
        batch_tokens: model.batch_tokens,
        prefill_chunk_tokens: model.prefill_chunk_tokens,
        tuning: (!model.tuning.as_os_str().is_empty()).then(|| model.tuning.clone()),
        gpu_layers: model.gpu_layers,
        llama: model.llama,
        memory_bytes_max: (model.memory_bytes_max > 0).then_some(model.memory_bytes_max),
        ..LoadOptions::default()
    }
}

/// Where the model's named prompts are kept, if they are.
fn prompt_store(settings: &ModelSettings, fingerprint: Fingerprint) -> Option<PromptStore> {
    let dir = &settings.prompt_store;
    let wanted = settings.prompt_store_bytes_max > 0 && !dir.as_os_str().is_empty();
    wanted.then(|| PromptStore::new(dir.clone(), fingerprint, settings.prompt_store_bytes_max))
}
