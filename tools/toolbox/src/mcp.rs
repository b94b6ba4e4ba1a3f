//! Tools of servers that speak the Model Context Protocol on their standard streams.
//!
//! | file | what it owns |
//! |---|---|
//! | `settings.rs` | the servers as the settings name them |
//! | `server.rs`, `crashes.rs` | one of them: started when needed, again when it has ended, left alone when it ends too often |
//! | `connection.rs` | one that runs: what it is asked, and its end |
//! | `pipe.rs`, `complaints.rs` | its standard streams, within limits |
//! | `catalogue.rs`, `text.rs` | from what it lists to tools that can be called |
//! | `tool.rs`, `answer.rs` | a call with its permit, and what came of it |
//! | `thread.rs` | the one thread that serves them all |
//!
//! A server is a stranger's program. It runs under a keeper with no more than the rights that the
//! settings give it, and what it says is data: its hints about itself make its tools worse, never
//! better, its descriptions are cut, and whatever it asks back is declined.
//!
//! Callers who may do different things never share a process: one that was started for somebody
//! who may change everything does nothing for somebody who may only look. Those who may do the
//! same share one, and with it what the server remembers.

mod answer;
mod catalogue;
mod complaints;
mod connection;
mod crashes;
mod pipe;
mod server;
mod settings;
mod text;
mod thread;
mod tool;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use self::catalogue::{DESCRIPTION_BYTES_MAX, SERVER_TOOLS_MAX};
pub use self::complaints::Log;
pub use self::connection::SERVER_CALLS_MAX;
pub use self::pipe::MESSAGE_BYTES_MAX;
use self::server::Server;
pub use self::settings::{
    McpServer, SERVER_NAME_BYTES_MAX, SERVERS_BYTES_MAX, SERVERS_MAX, ServersError, is_server_name,
    read_servers,
};
use self::thread::Thread;
use crate::host::Host;
use crate::tool::{Broken, Tool};
use crate::toolbox::Source;

/// How long all servers together may take to end.
const END_WITHIN: Duration = Duration::from_secs(30);

/// What holds for all servers.
#[derive(Clone)]
pub struct McpOptions {
    /// Gets what they write on their standard error.
    pub log: Log,
    /// How long one that ends again and again, or does not answer, is left alone.
    pub rest: Duration,
    /// How long one may take to begin, and to list its tools.
    pub start_timeout: Duration,
    /// How long a list of all tools waits for one that does: it is listed as broken then, goes on,
    /// and is there later.
    pub list_within: Duration,
    /// How long one may take to answer a ping, after a call that it did not answer.
    pub ping_within: Duration,
}

/// The log goes nowhere; a rest of a minute, half of one to begin, and three seconds in a list.
impl Default for McpOptions {
    fn default() -> Self {
        Self {
            log: Arc::new(|_, _| {}),
            rest: Duration::from_secs(60),
            start_timeout: Duration::from_secs(30),
            list_within: Duration::from_secs(3),
            ping_within: Duration::from_secs(2),
        }
    }
}

impl fmt::Debug for McpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpOptions")
            .field("rest", &self.rest)
            .field("start_timeout", &self.start_timeout)
            .field("list_within", &self.list_within)
            .field("ping_within", &self.ping_within)
            .finish_non_exhaustive()
    }
}

/// All servers. Dropping this ends those that run, and waits for that.
pub struct Servers {
    servers: Vec<Arc<Server>>,
    thread: Thread,
}

impl Servers {
    /// These servers, none of which is started yet. An error means that there is no thread for
    /// them.
    pub fn new(servers: Vec<McpServer>, options: &McpOptions) -> io::Result<Self> {
        let thread = Thread::start()?;
        let server = |settings| Server::new(settings, options.clone(), thread.at());
        Ok(Self {
            servers: servers.into_iter().map(server).map(Arc::new).collect(),
            thread,
        })
    }
}

impl Source for Servers {
    fn tools(&self, host: &dyn Host) -> Vec<Result<Arc<dyn Tool>, Broken>> {
        std::thread::scope(|scope| {
            // Those that have to be waited for are waited for together.
            let lists: Vec<_> = (self.servers.iter())
                .map(|server| {
                    let slow = !server.is_quick();
                    let tools = || server.tools_soon(host);
                    (server, slow.then(|| scope.spawn(tools)))
                })
                .collect();
            lists
                .into_iter()
                .flat_map(|(server, list)| match list {
                    None => server.tools_soon(host),
                    Some(list) => list.join().unwrap_or_default(),
                })
                .collect()
        })
    }

    /// Only the server whose name it begins with is started for it.
    fn tool(&self, name: &str, host: &dyn Host) -> Option<Result<Arc<dyn Tool>, Broken>> {
        let prefix = name.split('.').next().unwrap_or_default();
        let server = (self.servers.iter()).find(|server| server.settings().name == prefix)?;
        let tools = server.tools(host);
        let called = |wanted: &str| {
            tools.iter().position(|tool| match tool {
                Ok(tool) => tool.about().name == wanted,
                Err(broken) => broken.name == wanted,
            })
        };
        // The server's own fault is told if the tool is not there.
        let at = called(name).or_else(|| called(prefix))?;
        tools.into_iter().nth(at)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let ended: Vec<_> = (self.servers.iter())
            .flat_map(|server| server.close())
            .map(|connection| connection.when_over())
            .collect();
        let all = async move {
            for one in ended {
                one.await;
            }
        };
        // Whoever has not ended by then is left to its keeper.
        let all = async move { tokio::time::timeout(END_WITHIN, all).await };
        let _ = self.thread.at().wait(None, all);
    }
}
