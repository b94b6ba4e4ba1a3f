//! `ports`: what listens, and who talks to whom.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use procfs::net::{TcpNetEntry, TcpState, UdpNetEntry, tcp, tcp6, udp, udp6};
use procfs::process::{FDTarget, all_processes};
use procfs::{ProcError, ProcResult};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::define::{Call, Define, count, limited};
use super::system_info::unread;
use crate::error::ToolError;

pub(super) struct Ports;

/// Which sockets.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// Also connections, not only what waits for some.
    #[serde(default)]
    all: bool,
    /// Only those with this port here or at the other end.
    port: Option<u16>,
    /// How many are wanted at most.
    #[serde(default = "some")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

fn some() -> u32 {
    100
}

impl Define for Ports {
    type Params = Told;
    const NAME: &'static str = "ports";
    const DESCRIPTION: &'static str = "Lists TCP and UDP ports that are listened on, with the process behind each as far as it may be seen; also connections if `all` is true.";

    fn call(&self, told: Told, call: &Call) -> Result<Value, ToolError> {
        call.facts(|| facts(&told).map_err(|fault| unread(&fault)))
    }
}

/// A socket of TCP or UDP.
struct Socket {
    protocol: &'static str,
    local: SocketAddr,
    remote: SocketAddr,
    listens: bool,
    /// Only TCP has one.
    state: Option<TcpState>,
    uid: u32,
    inode: u64,
}

impl From<TcpNetEntry> for Socket {
    fn from(entry: TcpNetEntry) -> Self {
        Self {
            protocol: "tcp",
            local: entry.local_address,
            remote: entry.remote_address,
            listens: entry.state == TcpState::Listen,
            state: Some(entry.state),
            uid: entry.uid,
            inode: entry.inode,
        }
    }
}

impl From<UdpNetEntry> for Socket {
    fn from(entry: UdpNetEntry) -> Self {
        Self {
            protocol: "udp",
            local: entry.local_address,
            remote: entry.remote_address,
            // One without another end takes what comes.
            listens: entry.remote_address.port() == 0,
            state: None,
            uid: entry.uid,
            inode: entry.inode,
        }
    }
}

fn facts(told: &Told) -> ProcResult<Value> {
    let tcp = there(tcp())?.into_iter().chain(there(tcp6())?);
    let udp = there(udp())?.into_iter().chain(there(udp6())?);
    let sockets = tcp.map(Socket::from).chain(udp.map(Socket::from));
    let mut sockets: Vec<Socket> = sockets.filter(|socket| told.wants(socket)).collect();
    sockets.sort_by_key(|socket| (socket.local.port(), socket.protocol));
    let (sockets, truncated) = limited(sockets, count(told.limit));
    let owners = owners(&sockets.iter().map(|socket| socket.inode).collect())?;
    let ports: Vec<Value> = sockets
        .iter()
        .map(|socket| told_of(socket, owners.get(&socket.inode)))
        .collect();
    Ok(json!({ "ports": ports, "truncated": truncated }))
}

impl Told {
    fn wants(&self, socket: &Socket) -> bool {
        let ends = [socket.local.port(), socket.remote.port()];
        (self.all || socket.listens) && self.port.is_none_or(|port| ends.contains(&port))
    }
}

/// A machine without IPv6 has no list of it.
fn there<T>(entries: ProcResult<Vec<T>>) -> ProcResult<Vec<T>> {
    match entries {
        Err(ProcError::NotFound(_)) => Ok(Vec::new()),
        entries => entries,
    }
}

/// The processes that have these sockets; those of other users only root sees.
fn owners(inodes: &HashSet<u64>) -> ProcResult<HashMap<u64, (i32, String)>> {
    let mut owners = HashMap::new();
    for process in all_processes()?.flatten() {
        let Ok(descriptors) = process.fd() else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            if let FDTarget::Socket(inode) = descriptor.target
                && inodes.contains(&inode)
                && let Ok(stat) = process.stat()
            {
                owners.entry(inode).or_insert((stat.pid, stat.comm));
            }
        }
    }
    Ok(owners)
}

fn told_of(socket: &Socket, owner: Option<&(i32, String)>) -> Value {
    let mut told = json!({
        "protocol": socket.protocol,
        "address": socket.local.ip(),
        "port": socket.local.port(),
        "listens": socket.listens,
        "uid": socket.uid,
        "pid": owner.map(|(pid, _)| pid),
        "process": owner.map(|(_, name)| name),
    });
    if !socket.listens {
        told["remote"] = socket.remote.to_string().into();
    }
    if let Some(state) = &socket.state {
        told["state"] = format!("{state:?}").to_lowercase().into();
    }
    told
}
