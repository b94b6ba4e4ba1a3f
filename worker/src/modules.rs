//! The native modules: which there are, which are loaded, and who may use them.
//!
//! Everything here waits for files and processes: it is called from threads that may wait.

mod commands;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use fazai_modhost::{
    Answer, Call, Capabilities, Checked, Descriptor, Entry, Failure, Isolation, Keys, KeysError,
    Limits, Manifest, ManifestError, Module, Refused, State as LayerState, Trust, Vouched, check,
    discover, valid_name,
};
use fazai_tools::{Outcome, Permit};
use tokio::sync::watch;
use tracing::{info, warn};

use self::commands::{BadSchema, Schemas};
use crate::acting::ActingFault;
use crate::config::{ModuleIsolation, ModuleSettings, ModuleTrust, Settings};
use crate::live::User;
use crate::lock::lock;
use crate::process::module_launcher;

pub(crate) use self::commands::{BadCall, Wanted};

/// Why a module can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModuleFault {
    #[error("there is no module `{name}` in {dir}")]
    NotFound { name: String, dir: String },
    #[error("modules.toml does not let {user} call module `{module}`")]
    NotCaller { module: String, user: User },
    #[error("module `{0}` was unloaded")]
    Unloaded(String),
    #[error("the worker is stopping")]
    Stopping,
    #[error("this program can't run modules")]
    NotPrepared,
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("module `{module}` was not loaded: {fault}")]
    Schema { module: String, fault: BadSchema },
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error(transparent)]
    BadCall(#[from] BadCall),
    #[error(transparent)]
    Acting(#[from] ActingFault),
}

/// A fault that several requests may be told.
pub(crate) type SharedFault = Arc<ModuleFault>;

/// A load that failed is not tried again for every call.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// All modules.
pub(crate) struct Modules {
    settings: watch::Receiver<Arc<Settings>>,
    /// Those that were ever loaded, or tried; each has a file or an entry, which bounds them.
    places: Mutex<BTreeMap<String, Arc<Place>>>,
    /// Layers of the sandbox that are missing, as far as they were told.
    told: Mutex<BTreeSet<String>>,
    /// Nothing is loaded any more.
    stopped: AtomicBool,
}

#[derive(Default)]
struct Place(Mutex<State>);

#[derive(Default)]
enum State {
    /// Loaded by the first call.
    #[default]
    Stored,
    Loaded(Arc<Loaded>),
    /// Until somebody loads it.
    Unloaded,
    Failed {
        fault: SharedFault,
        at: Instant,
    },
}

/// A module that was loaded, though its process may have crashed since.
pub(crate) struct Loaded {
    pub(crate) module: Module,
    /// Replaced when the module is.
    facts: RwLock<Arc<Facts>>,
    /// Replacements take turns.
    swapping: Mutex<()>,
}

/// What does not change while a version is loaded.
pub(crate) struct Facts {
    pub(crate) entry: Entry,
    schemas: Schemas,
    pub(crate) call_timeout: Duration,
}

/// How a module is, as a list shows it.
pub(crate) enum Standing {
    Stored,
    Loading,
    Loaded(Arc<Loaded>),
    Unloaded,
    Failed(SharedFault),
}

impl Modules {
    pub(crate) fn new(settings: watch::Receiver<Arc<Settings>>) -> Self {
        Self {
            settings,
            places: Mutex::default(),
            told: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Loads all that may load, and logs what may not. A directory that is absent has none.
    pub(crate) fn load_all(&self) {
        let settings = &self.settings().modules;
        let found = Manifest::load(&settings.dir).map_err(ModuleFault::from);
        let found =
            found.and_then(|manifest| Ok(discover(&settings.dir, &manifest, &trust(settings)?)));
        let entries = match found {
            Ok(entries) => entries,
            Err(fault) => return warn!(%fault, "no module is loaded"),
        };
        for entry in entries {
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
            if let Err(fault) = self.open(&entry.name) {
                warn!(module = entry.name, %fault, "a module is not loaded");
            }
        }
    }

    /// The module for a call: loaded now, if it was not yet.
    pub(crate) fn open(&self, name: &str) -> Result<Arc<Loaded>, SharedFault> {
        let place = self.place(name)?;
        let mut state = lock(&place.0);
        match &*state {
            State::Loaded(loaded) => return Ok(Arc::clone(loaded)),
            State::Unloaded => return Err(ModuleFault::Unloaded(name.to_owned()).into()),
            State::Failed { fault, at } if at.elapsed() < RETRY_AFTER => {
                return Err(Arc::clone(fault));
            }
            State::Stored | State::Failed { .. } => {}
        }
        self.load_into(&mut state, name)
    }

    /// Loads a module that is not, and ends the quarantine of one that is.
    pub(crate) fn load(&self, name: &str) -> Result<Arc<Loaded>, SharedFault> {
        let place = self.place(name)?;
        let mut state = lock(&place.0);
        if let State::Loaded(loaded) = &*state {
            loaded.module.release();
            return Ok(Arc::clone(loaded));
        }
        self.load_into(&mut state, name)
    }

    /// The caller holds the state, and so does whoever unloads all at the end: what is loaded
    /// before that is unloaded there, and nothing is loaded after it.
    fn load_into(&self, state: &mut State, name: &str) -> Result<Arc<Loaded>, SharedFault> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(ModuleFault::Stopping.into());
        }
        match self.start(name).map_err(SharedFault::from) {
            Ok(loaded) => {
                let loaded = Arc::new(loaded);
                *state = State::Loaded(Arc::clone(&loaded));
                Ok(loaded)
            }
            Err(fault) => {
                *state = State::Failed {
                    fault: Arc::clone(&fault),
                    at: Instant::now(),
                };
                Err(fault)
            }
        }
    }

    fn start(&self, name: &str) -> Result<Loaded, ModuleFault> {
        let settings = &self.settings().modules;
        let checked = checked(settings, name)?;
        let isolation = isolation(settings, &checked)?;
        let entry = checked.entry.clone();
        let module = Module::load(checked, isolation, limits(settings))?;
        let facts = Facts::of(module.descriptor().as_ref(), entry, settings)?;
        info!(
            module = name,
            version = module.descriptor().map(|known| known.version),
            "a module is loaded"
        );
        self.tell_missing_layers(&module);
        tell_missing_rights(&module);
        Ok(Loaded {
            module,
            facts: RwLock::new(Arc::new(facts)),
            swapping: Mutex::default(),
        })
    }

    /// Each layer of the sandbox that does not hold is told once, not for every module.
    fn tell_missing_layers(&self, module: &Module) {
        for layer in module.report().weak() {
            let (LayerState::Partly(why) | LayerState::Off(why)) = &layer.state else {
                continue;
            };
            let text = format!("{}: {why}", layer.name);
            if lock(&self.told).insert(text.clone()) {
                warn!("the sandbox of modules is not whole: {text}");
            }
        }
    }

    /// Calls the module's cleanup and ends its process, after the calls that run.
    pub(crate) fn unload(&self, name: &str) -> Result<(), ModuleFault> {
        self.place(name)?.unload();
        Ok(())
    }

    /// Puts the file that is there now in the place of the loaded one, and drops no call. A module
    /// that is not loaded is loaded.
    pub(crate) fn reload(&self, name: &str) -> Result<Arc<Loaded>, SharedFault> {
        let loaded = match self.place(name)?.standing() {
            Standing::Loaded(loaded) => loaded,
            _ => return self.load(name),
        };
        self.swap(&loaded, name)?;
        Ok(loaded)
    }

    /// The old version stays until everything about the new one is good.
    fn swap(&self, loaded: &Loaded, name: &str) -> Result<(), ModuleFault> {
        let _one_at_a_time = lock(&loaded.swapping);
        let settings = &self.settings().modules;
        let checked = checked(settings, name)?;
        let entry = checked.entry.clone();
        let next = loaded.module.start_next(checked)?;
        let facts = Facts::of(next.descriptor(), entry, settings)?;
        loaded.module.replace(next);
        let mut current = loaded.facts.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(facts);
        Ok(())
    }

    /// Whether a module's file may be loaded, without loading it.
    pub(crate) fn verify(&self, name: &str) -> Result<Vouched, ModuleFault> {
        let settings = &self.settings().modules;
        let entry = entry(settings, name)?;
        Ok(fazai_modhost::verify(
            &settings.dir,
            &entry,
            &trust(settings)?,
        )?)
    }

    /// Every entry of the manifest, every file in the directory, and whatever is loaded though
    /// neither is there any more; and how each is.
    pub(crate) fn list(&self) -> Result<Vec<(Entry, Standing)>, ModuleFault> {
        let settings = &self.settings().modules;
        let manifest = Manifest::load(&settings.dir)?;
        let found = discover(&settings.dir, &manifest, &Trust::Any);
        let stored = |entry: Entry| (entry.name.clone(), (entry, Standing::Stored));
        let mut modules: BTreeMap<String, (Entry, Standing)> =
            found.into_iter().map(stored).collect();
        for (name, place) in lock(&self.places).iter() {
            match (modules.get_mut(name), place.standing()) {
                (_, Standing::Loaded(loaded)) => {
                    let entry = loaded.facts().entry.clone();
                    modules.insert(name.clone(), (entry, Standing::Loaded(loaded)));
                }
                (Some(module), standing) => module.1 = standing,
                (None, _) => {}
            }
        }
        Ok(modules.into_values().collect())
    }

    /// How one module is. One that was not loaded yet is, since it alone knows its commands.
    pub(crate) fn show(&self, name: &str) -> Result<(Entry, Standing), SharedFault> {
        // Whether that goes well is its standing.
        let _ = self.open(name);
        Ok(match self.place(name)?.standing() {
            Standing::Loaded(loaded) => (loaded.facts().entry.clone(), Standing::Loaded(loaded)),
            standing => (entry(&self.settings().modules, name)?, standing),
        })
    }

    /// Unloads all, for good.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        let places = lock(&self.places).clone();
        // One that does not clean up in time keeps no other from it.
        std::thread::scope(|scope| {
            for place in places.values() {
                scope.spawn(|| place.unload());
            }
        });
    }

    fn place(&self, name: &str) -> Result<Arc<Place>, ModuleFault> {
        if let Some(place) = lock(&self.places).get(name) {
            return Ok(Arc::clone(place));
        }
        // Nothing is remembered of names that nobody has.
        entry(&self.settings().modules, name)?;
        let mut places = lock(&self.places);
        Ok(Arc::clone(places.entry(name.to_owned()).or_default()))
    }
}

/// How something with a permit ended, for the record.
fn outcome<T>(ended: &Result<T, Failure>, code: impl Fn(&T) -> Option<i32>) -> Outcome {
    Outcome {
        exit_code: ended.as_ref().ok().and_then(code),
        error: ended.as_ref().err().map(ToString::to_string),
        ..Outcome::default()
    }
}

impl Place {
    fn unload(&self) {
        let before = std::mem::replace(&mut *lock(&self.0), State::Unloaded);
        if let State::Loaded(loaded) = before {
            loaded.module.unload();
        }
    }

    fn standing(&self) -> Standing {
        // Whoever loads it has the lock.
        let Ok(state) = self.0.try_lock() else {
            return Standing::Loading;
        };
        match &*state {
            State::Stored => Standing::Stored,
            State::Loaded(loaded) => Standing::Loaded(Arc::clone(loaded)),
            State::Unloaded => Standing::Unloaded,
            State::Failed { fault, .. } => Standing::Failed(Arc::clone(fault)),
        }
    }
}

impl Loaded {
    /// Calls it: the permit is for this module and command; what only computes needs none.
    pub(crate) fn call(
        &self,
        permit: Option<Permit>,
        command: &str,
        call: &Call,
        reader: &mut dyn FnMut(String) -> ControlFlow<()>,
    ) -> Result<Answer, ModuleFault> {
        let answered = self.module.exec_stream(command, call, reader);
        let outcome = outcome(&answered, |answer: &Answer| Some(answer.code));
        if let Some(permit) = permit {
            permit.finish(outcome).map_err(ActingFault::from)?;
        }
        Ok(answered?)
    }

    pub(crate) fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Facts {
    fn of(
        descriptor: Option<&Descriptor>,
        entry: Entry,
        settings: &ModuleSettings,
    ) -> Result<Self, ModuleFault> {
        let schemas = Schemas::of(descriptor).map_err(|fault| ModuleFault::Schema {
            module: entry.name.clone(),
            fault,
        })?;
        let timeout_ms = entry.call_timeout_ms.unwrap_or(settings.call_timeout_ms);
        Ok(Self {
            entry,
            schemas,
            call_timeout: Duration::from_millis(timeout_ms),
        })
    }

    /// Whether it has no rights but to compute, in a process of its own that sees to that.
    pub(crate) fn only_computes(&self) -> bool {
        !self.entry.trusted && self.entry.capabilities == Capabilities::default()
    }

    /// The text for the module, if this user may call it.
    pub(crate) fn command(&self, wanted: &Wanted, user: User) -> Result<String, ModuleFault> {
        if !may_call(&self.entry, user) {
            return Err(ModuleFault::NotCaller {
                module: self.entry.name.clone(),
                user,
            });
        }
        Ok(self.schemas.text(wanted)?)
    }
}

fn tell_missing_rights(module: &Module) {
    let missing = module.descriptor().map(|known| known.not_granted);
    let missing = missing.unwrap_or_default();
    if !missing.is_empty() {
        let (module, rights) = (module.name(), missing.join(", "));
        warn!(
            module,
            rights, "modules.toml does not grant all that a module asks for"
        );
    }
}

/// A list of users holds only for users that the kernel vouches for.
fn may_call(entry: &Entry, user: User) -> bool {
    match user {
        User::Uid(uid) => {
            let name = uzers::get_user_by_uid(uid);
            let name = name.as_ref().and_then(|user| user.name().to_str());
            entry.allows(uid, name)
        }
        User::Tcp => entry.users.is_none(),
    }
}

/// The manifest's entry, or one without rights for a file that the manifest does not name.
fn entry(settings: &ModuleSettings, name: &str) -> Result<Entry, ModuleFault> {
    let manifest = Manifest::load(&settings.dir)?;
    if let Some(entry) = manifest.get(name) {
        return Ok(entry.clone());
    }
    let unlisted = || Entry::unlisted(name);
    if valid_name(name) && settings.dir.join(unlisted().file_name()).exists() {
        return Ok(unlisted());
    }
    Err(ModuleFault::NotFound {
        name: name.chars().take(64).collect(),
        dir: settings.dir.display().to_string(),
    })
}

fn checked(settings: &ModuleSettings, name: &str) -> Result<Checked, ModuleFault> {
    let entry = entry(settings, name)?;
    Ok(check(&settings.dir, &entry, &trust(settings)?)?)
}

fn trust(settings: &ModuleSettings) -> Result<Trust, KeysError> {
    Ok(match settings.trust {
        ModuleTrust::Manifest => Trust::Manifest,
        ModuleTrust::Signature => {
            Trust::Signature(Keys::load(&settings.dir.join(&settings.trusted_keys))?)
        }
        ModuleTrust::Any => Trust::Any,
    })
}

fn isolation(settings: &ModuleSettings, checked: &Checked) -> Result<Isolation, ModuleFault> {
    let inside = settings.isolation == ModuleIsolation::InProcess;
    if inside && checked.signed && checked.entry.trusted {
        return Ok(Isolation::InProcess);
    }
    module_launcher(settings.program.as_deref())
        .map(Isolation::Process)
        .ok_or(ModuleFault::NotPrepared)
}

fn limits(settings: &ModuleSettings) -> Limits {
    Limits {
        call_timeout: Duration::from_millis(settings.call_timeout_ms),
        memory_bytes_max: settings.memory_bytes_max,
        result_bytes_max: settings.answer_bytes_max,
        stream_bytes_max: settings.answer_bytes_max,
        ..Limits::default()
    }
}
