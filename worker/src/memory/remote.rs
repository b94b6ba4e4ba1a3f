//! An embedding model at a server.

use std::sync::{Arc, Weak};
use std::time::Duration;

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
        let wrong = |fault: String| MemoryFault::Settings(own_words(&fault));
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

    fn embed(&self, kind: EmbedKind, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        // The server's own limit holds.
        self.embed_within(kind, texts, Duration::MAX)
    }

    fn embed_within(
        &self,
        _: EmbedKind,
        texts: &[&str],
        within: Duration,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let embedding = || self.runtime.block_on(self.server.embed(texts, within));
        let embedded = self.pass(|| embedding().map_err(|failure| failure.to_string()));
        embedded.map_err(|why| {
            let why = own_words(&why);
            warn!(why, "nothing was embedded");
            EmbedError {
                model: self.server.model().to_owned(),
                why,
            }
        })
    }
}

/// A fault of the server in the keys of `[memory]`: who speaks to it knows those of `[cloud.NAME]`.
fn own_words(fault: &str) -> String {
    [
        ("[cloud.embeddings]", "[memory]"),
        ("base_url", "embedding_server_url"),
        ("api_key_file", "embedding_server_key_file"),
    ]
    .iter()
    .fold(fault.to_owned(), |fault, (theirs, own)| {
        fault.replace(theirs, own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_the_keys_of_the_memory() {
        for (kind, url) in [
            (fazai_cloud::provider::Kind::OpenAiCompatible, None),
            (fazai_cloud::provider::Kind::Ollama, Some("ftp://x")),
            (fazai_cloud::provider::Kind::Ollama, Some("http://u:p@x")),
        ] {
            let rules = fazai_cloud::redact::Rules::default();
            let server = Embeddings::new(kind, url, "m", 2, Vec::new(), &rules);
            let fault = own_words(
                &server
                    .err()
                    .map_or_else(String::new, |fault| fault.to_string()),
            );
            assert!(fault.contains("embedding_server_url"), "{fault}");
            assert!(!fault.contains("base_url"), "{fault}");
        }
        let key = own_words("set api_key_file in [cloud.embeddings]");
        assert_eq!(key, "set embedding_server_key_file in [memory]");
    }
}
