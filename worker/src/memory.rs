//! What this worker remembers: where that is, and whose it is.

#[cfg(feature = "pdf")]
pub(crate) mod pdf;
mod remote;

use std::path::Path;
use std::sync::{Arc, Mutex};

#[cfg(feature = "qdrant")]
use fazai_cloud::KeySource;
#[cfg(feature = "candle")]
use fazai_memory::embed::{Bert, BertOptions};
use fazai_memory::store::Store;
use fazai_memory::{
    Backend, Collection, Embedder, Filter, Memory, MemoryError, Namespace, Options, ReadPdf,
};
use fazai_tools::Action;
use tokio::sync::watch;
use tracing::warn;

use self::remote::Remote;
use crate::config::{MemorySettings, Settings, changed};
use crate::live::User;
use crate::lock::lock;
#[cfg(feature = "pdf")]
use crate::process::pdf_launcher;
use crate::worker::Shared;

/// The memory, opened when it is first needed.
pub(crate) struct Remembering {
    settings: watch::Receiver<Arc<Settings>>,
    opened: Mutex<Option<Arc<Memory>>>,
}

/// Why nothing can be remembered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemoryFault {
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error("[memory] {0}")]
    Settings(String),
}

/// What is known to all users of the machine; only its administrators add to it.
const SHARED: &str = "shared";

impl Remembering {
    pub(crate) fn new(settings: watch::Receiver<Arc<Settings>>) -> Self {
        Self {
            settings,
            opened: Mutex::default(),
        }
    }

    /// The memory. Blocks; one that can't be opened is tried again by the next who needs it.
    pub(crate) fn open(&self, shared: &Arc<Shared>) -> Result<Arc<Memory>, MemoryFault> {
        let mut opened = lock(&self.opened);
        if let Some(memory) = &*opened {
            return Ok(Arc::clone(memory));
        }
        let settings = Arc::clone(&self.settings.borrow());
        let embedder = embedder(&settings, shared)?;
        let memory = Arc::new(Memory::open(options(&settings.memory)?, embedder)?);
        *opened = Some(Arc::clone(&memory));
        Ok(memory)
    }

    /// The store in the directory, which must not be in use, and the server's.
    pub(crate) fn stores(&self) -> Result<[Box<dyn Store>; 2], MemoryFault> {
        let settings = Arc::clone(&self.settings.borrow());
        let Some(address) = &settings.memory.server else {
            let why = "server is not set: name HOST:PORT of a Qdrant server";
            return Err(MemoryFault::Settings(why.to_owned()));
        };
        let server = server(address, &settings.memory)?;
        let directory = Backend::Embedded(settings.memory.dir.clone());
        Ok([directory.open()?, server.open()?])
    }

    /// Says which of the new settings wait for the next start. A memory that nobody has needed yet
    /// is opened with them.
    pub(crate) fn reload(&self, old: &Settings, new: &Settings) {
        let keys = at_next_start(old, new);
        if !keys.is_empty() && lock(&self.opened).is_some() {
            let keys = keys.join(", ");
            warn!("[memory] {keys}: changes take effect at the next start");
        }
    }

    /// Lets go of it, so that another worker can have it.
    pub(crate) fn close(&self) {
        *lock(&self.opened) = None;
    }
}

/// The keys that were changed and are only looked at when the memory is opened.
fn at_next_start(old: &Settings, new: &Settings) -> Vec<&'static str> {
    const FOLLOWED: [&str; 4] = ["bytes_", "retrieve", "learn", "episodes"];
    let mut keys = changed("memory", old, new);
    keys.retain(|key| !FOLLOWED.iter().any(|followed| key.starts_with(followed)));
    keys
}

fn options(settings: &MemorySettings) -> Result<Options, MemoryFault> {
    let mut options = Options::new(&settings.dir);
    options.records_max = settings.records_max;
    options.personalities = Some(settings.personalities.clone());
    if let Some(address) = &settings.server {
        options.backend = server(address, settings)?;
    }
    Ok(options)
}

/// The embedding model, if one is named or has its place.
fn embedder(
    settings: &Settings,
    shared: &Arc<Shared>,
) -> Result<Option<Arc<dyn Embedder>>, MemoryFault> {
    let named = &settings.memory.embedding_model;
    if !named.as_os_str().is_empty() {
        return bert(named);
    }
    if settings.memory.embedding_server.model.is_some() {
        let remote = Remote::new(settings, shared)?;
        return Ok(Some(Arc::new(remote)));
    }
    let usual = settings.model.dir.join("minilm");
    if usual.is_dir() {
        bert(&usual)
    } else {
        Ok(None)
    }
}

#[cfg(feature = "candle")]
fn bert(dir: &Path) -> Result<Option<Arc<dyn Embedder>>, MemoryFault> {
    let opened = Bert::open(dir, &BertOptions::default());
    let bert =
        opened.map_err(|fault| MemoryFault::Settings(format!("embedding_model: {fault}")))?;
    Ok(Some(Arc::new(bert)))
}

#[cfg(not(feature = "candle"))]
fn bert(_: &Path) -> Result<Option<Arc<dyn Embedder>>, MemoryFault> {
    let fault = "embedding_model needs a build with the feature `candle`";
    Err(MemoryFault::Settings(fault.to_owned()))
}

#[cfg(feature = "qdrant")]
fn server(address: &str, settings: &MemorySettings) -> Result<Backend, MemoryFault> {
    let parts = address.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let Some((host, port)) = parts else {
        let fault = format!("server is HOST:PORT, the port being that of gRPC, not {address:?}");
        return Err(MemoryFault::Settings(fault));
    };
    let mut options = fazai_memory::store::server::ServerOptions::new(host, port);
    options.tls = settings.server_tls;
    if let Some(path) = &settings.server_key_file {
        let wrong = |fault: String| MemoryFault::Settings(format!("server_key_file: {fault}"));
        let keys = KeySource::File(path.clone()).read();
        let keys = keys.map_err(|fault| wrong(fault.to_string()))?;
        let [key] = keys.as_slice() else {
            return Err(wrong(format!("{} has {} keys", path.display(), keys.len())));
        };
        options.api_key = Some(key.expose().to_owned());
    }
    Ok(Backend::Server(options))
}

#[cfg(not(feature = "qdrant"))]
fn server(_: &str, _: &MemorySettings) -> Result<Backend, MemoryFault> {
    let fault = "server needs a build with the feature `qdrant`";
    Err(MemoryFault::Settings(fault.to_owned()))
}

/// Who reads PDF files.
#[cfg(feature = "pdf")]
pub(crate) fn read_pdf(settings: &Settings) -> Option<ReadPdf> {
    pdf::reader(pdf_launcher(settings.modules.program.as_deref()))
}

#[cfg(not(feature = "pdf"))]
pub(crate) fn read_pdf(_: &Settings) -> Option<ReadPdf> {
    None
}

/// Whose a record is that this user adds.
pub(crate) fn namespace(user: User, shared: bool) -> Result<Namespace, MemoryError> {
    if shared {
        return Namespace::new(SHARED);
    }
    match user {
        User::Uid(uid) => Namespace::new(format!("uid-{uid}")),
        User::Tcp => Namespace::new("tcp"),
    }
}

/// As much of a question as can be looked up.
pub(crate) fn query(question: &str) -> &str {
    &question[..question.floor_char_boundary(fazai_memory::search::QUERY_BYTES_MAX)]
}

/// Writing to a collection, for the gate.
pub(crate) fn write(collection: Collection) -> Action {
    Action::WriteMemory {
        collection: collection.as_str().to_owned(),
    }
}

/// What this user can find: what is its own, and what is everybody's.
pub(crate) fn filter(user: User) -> Result<Filter, MemoryError> {
    let mut filter = Filter::of(namespace(user, false)?);
    filter.namespaces.push(namespace(user, true)?);
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_the_next_start_is_named() {
        let old = Settings::default();
        let mut new = old.clone();
        assert!(at_next_start(&old, &new).is_empty());
        new.memory.retrieve = !old.memory.retrieve;
        new.memory.bytes_high += 1;
        new.memory.episodes.on = true;
        new.log.level = "debug".into();
        assert!(at_next_start(&old, &new).is_empty());
        new.memory.dir = "/elsewhere".into();
        new.memory.records_max += 1;
        new.memory.embedding_server.model = Some("m".into());
        let keys = at_next_start(&old, &new);
        assert_eq!(keys, ["dir", "records_max", "embedding_server_model"]);
    }
}
