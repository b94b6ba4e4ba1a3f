//! An embedding model at a server.

use std::sync::{Arc, Weak};

use fazai_cloud::embeddings::{Embeddings, NAME};
use fazai_cloud::redact::Counts;
use fazai_cloud::{KeySource, Label};
use fazai_memory::Embedder;
use fazai_memory::embed::{EmbedError, EmbedKind};
use tokio::runtime::Handle;
use tracing::warn;

use super::MemoryFault;
use crate::cloud;
use crate::config::Settings;
use crate::worker::Shared;

/// The server, and the gate that texts pass on their way there.
pub(super) struct Remote {
    server: Embeddings,
    runtime: Handle,
    // Weak: what is shared holds the memory, which holds this.
    shared: Weak<Shared>,
}

impl Remote {
    /// In a task, whose runtime it uses.
    pub(super) fn new(settings: &Settings, shared: &Arc<Shared>) -> Result<Self, MemoryFault> {
        let wrong = |fault: String| MemoryFault::Settings(format!("embedding_server: {fault}"));
        let named = &settings.memory.embedding_server;
        let redact = cloud::completed(&settings.cloud);
        let redact = redact.map_err(|fault| wrong(fault.to_string()))?.redact;
        let server = Embeddings::new(
            named.kind,
            named.url.as_deref(),
            named.model.as_deref().unwrap_or_default(),
            named.dimensions,
            (named.key_file.clone().map(KeySource::File).into_iter()).collect(),
            &redact,
        );
        Ok(Self {
            server: server.map_err(|fault| wrong(fault.to_string()))?,
            runtime: Handle::current(),
            shared: Arc::downgrade(shared),
        })
    }

    /// Texts leave with the worker's own rights; whose they are, nobody knows here.
    fn pass<T>(&self, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        if self.server.is_loopback() {
            return work();
        }
        let shared = self.shared.upgrade().ok_or("the worker is stopping")?;
        let action = cloud::send(NAME, Label::Internal, &Counts::new());
        let done = shared.acting.do_own(action, work);
        done.map_err(|fault| fault.to_string())?
    }
}

impl Embedder for Remote {
    fn name(&self) -> &str {
        self.server.model()
    }

    fn dimensions(&self) -> usize {
        self.server.dimensions()
    }

    fn may_be_away(&self) -> bool {
        true
    }

    fn embed(&self, _: EmbedKind, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let embedding = || self.runtime.block_on(self.server.embed(texts));
        let embedded = self.pass(|| embedding().map_err(|failure| failure.to_string()));
        embedded.map_err(|why| {
            warn!(why, "nothing was embedded");
            EmbedError {
                model: self.server.model().to_owned(),
                why,
            }
        })
    }
}
