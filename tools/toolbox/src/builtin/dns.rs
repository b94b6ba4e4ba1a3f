//! Asking for names: one server, judged before it is asked.

use std::net::SocketAddr;
use std::time::Duration;

use fazai_tools::Action;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{TokioResolver, system_conf};

use crate::error::ToolError;

/// For how long one answer is waited for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);

/// For how long all of them are.
pub(super) const TIME_MAX: Duration = Duration::from_secs(20);

/// Whom names are asked of: this one, or the first that `/etc/resolv.conf` names.
///
/// # Errors
/// It names none.
pub fn name_server(wanted: Option<SocketAddr>) -> Result<SocketAddr, ToolError> {
    if let Some(server) = wanted {
        return Ok(server);
    }
    let unavailable = |problem: String| {
        ToolError::Unavailable(format!(
            "/etc/resolv.conf names no server for names: {problem}"
        ))
    };
    let (config, _) =
        system_conf::read_system_conf().map_err(|fault| unavailable(fault.to_string()))?;
    let first = config.name_servers().first();
    let first = first.ok_or_else(|| unavailable("it is empty".into()))?;
    let port = first
        .connections
        .first()
        .map_or(53, |connection| connection.port);
    Ok((first.ip, port).into())
}

/// Asking it.
pub(super) fn asking(server: SocketAddr) -> Action {
    Action::Network {
        host: server.ip().to_string(),
        port: server.port(),
    }
}

/// A name as it is written, from the root.
pub(super) fn name(text: &str) -> Result<Name, ToolError> {
    let name = Name::from_utf8(text);
    let mut name =
        name.map_err(|fault| ToolError::BadParams(format!("{text:?} is no name: {fault}")))?;
    // Else it would be looked for below the machine's own domains as well.
    name.set_fqdn(true);
    Ok(name)
}

/// What asks a server. To be made and used where time and sockets of tokio are.
pub(super) struct Resolver(TokioResolver);

impl Resolver {
    pub(super) fn new(server: SocketAddr) -> Result<Self, ToolError> {
        let mut asked = NameServerConfig::udp_and_tcp(server.ip());
        for connection in &mut asked.connections {
            connection.port = server.port();
        }
        let config = ResolverConfig::from_name_servers(vec![asked]);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.timeout = ANSWER_TIME_MAX;
        options.attempts = 1;
        options.use_hosts_file = ResolveHosts::Never;
        let resolver = builder.build();
        resolver.map(Self).map_err(|fault| unanswered(&fault))
    }

    /// The records of a name; none if there is no such name.
    pub(super) async fn ask(
        &self,
        name: Name,
        kind: RecordType,
    ) -> Result<Option<Vec<Record>>, ToolError> {
        match self.0.lookup(name, kind).await {
            Ok(found) => Ok(Some(found.answers().to_vec())),
            Err(fault) if fault.is_nx_domain() => Ok(None),
            Err(fault) if fault.is_no_records_found() => Ok(Some(Vec::new())),
            Err(fault) => Err(unanswered(&fault)),
        }
    }
}

fn unanswered(fault: &NetError) -> ToolError {
    ToolError::Failed(format!("the server for names gave no answer: {fault}"))
}

/// What a record says.
pub(super) fn value_of(data: &RData) -> String {
    match data {
        // Its own way of writing puts quotes around each part.
        RData::TXT(text) => {
            let parts = text
                .txt_data
                .iter()
                .map(|part| String::from_utf8_lossy(part));
            parts.collect()
        }
        data => data.to_string(),
    }
}
