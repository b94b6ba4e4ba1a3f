//! Finding a running worker.

use std::io::ErrorKind;
use std::path::PathBuf;

use fazai::Worker;
use fazai::config::{Settings, default_socket};
use fazai_protocol::Secret;
use fazai_protocol::client::{Client, Endpoint};

use super::{Connect, output, variable};

impl Connect {
    /// Whether the user named a place, so that nothing else will do.
    fn is_explicit(&self) -> bool {
        self.tcp.is_some() || self.named_socket().is_some()
    }

    fn named_socket(&self) -> Option<PathBuf> {
        self.socket.clone().or_else(|| variable("FAZAI_SOCKET"))
    }

    fn endpoint(&self) -> Endpoint {
        match (&self.tcp, self.named_socket()) {
            (Some(address), _) => Endpoint::Tcp(address.clone()),
            (None, Some(path)) => Endpoint::Unix(path),
            (None, None) => Endpoint::Unix(v2_socket().unwrap_or_else(default_socket)),
        }
    }

    /// Connects; `None` if nobody listens there.
    async fn client(&self) -> anyhow::Result<Option<Client>> {
        let endpoint = self.endpoint();
        let client = match Client::connect(&endpoint).await {
            Ok(client) => client,
            Err(fault) if nobody_there(fault.kind()) => return Ok(None),
            Err(fault) => return Err(anyhow::Error::new(fault).context(endpoint.to_string())),
        };
        if let Some(path) = &self.token_file {
            let token = output::read(path)?;
            client.hello(Some(Secret(token.trim().to_owned()))).await?;
        }
        Ok(Some(client))
    }

    /// Connects, or fails with what to do.
    pub(super) async fn running(&self) -> anyhow::Result<Client> {
        let client = self.client().await?;
        client.ok_or_else(|| {
            let endpoint = self.endpoint();
            anyhow::anyhow!(
                "no worker is running on {endpoint}\n  hint: start one with `fazai serve`, or name its place with --socket"
            )
        })
    }

    /// The same, where these settings say if nobody says otherwise.
    pub(super) async fn running_at(&self, settings: &Settings) -> anyhow::Result<Client> {
        self.or_socket_of(settings).running().await
    }

    /// A running worker or, if there is none and the user named no place, one of this command's
    /// own with these settings, which also say where the running one would be.
    pub(super) async fn running_or_own(
        &self,
        settings: Settings,
    ) -> anyhow::Result<(Client, Option<Worker>)> {
        let place = self.or_socket_of(&settings);
        if let Some(client) = place.client().await? {
            return Ok((client, None));
        }
        if self.is_explicit() {
            // To answer from somewhere else would surprise.
            return Ok((self.running().await?, None));
        }
        let worker = Worker::start(settings);
        Ok((worker.client(), Some(worker)))
    }

    /// The place that the user named, or else the one in the settings.
    fn or_socket_of(&self, settings: &Settings) -> Self {
        let mut place = self.clone();
        if !self.is_explicit() && v2_socket().is_none() {
            place.socket = Some(settings.server.socket.clone());
        }
        place
    }
}

fn nobody_there(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

/// The variables that older clients read.
fn v2_socket() -> Option<PathBuf> {
    ["FAZAI_GEMMA_SOCKET", "FAZAI_GEMMA_SOCK"]
        .into_iter()
        .find_map(variable)
}
