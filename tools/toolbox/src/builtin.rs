//! The tools that are part of this program, as a [`Source`]: a file for each in `builtin/`.
//!
//! | file | what it owns |
//! |---|---|
//! | `define.rs` | what each of them is written as: [`Define`], and the [`Call`] that it answers |
//! | `shell.rs` | a command |
//! | `file.rs`, `replace.rs` | files that are found, judged and only then opened; written whole |
//! | `read_file.rs`, `write_file.rs`, `list_dir.rs` | the tools for them |
//! | `system_info.rs`, `processes.rs`, `ports.rs`, `disk_usage.rs` | facts of the kernel |
//! | `services.rs`, `journal.rs`, `packages.rs` | what the system's own commands know and do |
//! | `net.rs`, `http_fetch.rs`, `html.rs` | whom one may speak to, and for how long; the web, as text |
//! | `dns.rs`, `dns_lookup.rs`, `blacklist_check.rs` | names |
//! | `chart.rs` | a picture of numbers |

mod blacklist_check;
mod chart;
mod define;
mod disk_usage;
mod dns;
mod dns_lookup;
mod file;
mod html;
mod http_fetch;
mod journal;
mod list_dir;
mod net;
mod packages;
mod ports;
mod processes;
mod read_file;
mod replace;
mod services;
mod shell;
mod system_info;
mod write_file;

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::blacklist_check::blacklisted;
use self::define::define;
pub use self::dns::name_server;
pub use self::net::is_public;
use crate::host::Host;
use crate::tool::{Broken, Tool};
use crate::toolbox::Source;

/// How the built-in tools work.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where what was in a file before is kept; none: beside the file.
    pub backup_dir: Option<PathBuf>,
    /// Whom names are asked of; none: the first one that `/etc/resolv.conf` names.
    pub dns: Option<SocketAddr>,
    /// The addresses of a name, for the web; the system's way by default. May block.
    pub resolve: fn(&str) -> io::Result<Vec<IpAddr>>,
    /// For how long a page of the web is waited for, with all its redirects; asking people does
    /// not count.
    pub fetch_time_max: Duration,
    /// The lists that know addresses which send unwanted mail, as zones of names.
    pub blacklists: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let lists = [
            "zen.spamhaus.org",
            "bl.spamcop.net",
            "b.barracudacentral.org",
        ];
        Self {
            backup_dir: None,
            dns: None,
            resolve: by_the_system,
            fetch_time_max: Duration::from_secs(30),
            blacklists: lists.map(str::to_owned).into(),
        }
    }
}

fn by_the_system(name: &str) -> io::Result<Vec<IpAddr>> {
    let found = (name, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).collect())
}

/// Names that tools had before. They are found by them, and not listed.
const OLD_NAMES: &[(&str, &str)] = &[("ports_monitor", "ports"), ("complex_tasks", "chart")];

/// The tools that are part of this program.
pub struct BuiltIn(Vec<Arc<dyn Tool>>);

impl BuiltIn {
    /// All of them.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        Self(vec![
            define(shell::Shell),
            define(read_file::ReadFile),
            define(write_file::WriteFile(Arc::clone(&settings))),
            define(list_dir::ListDir),
            define(system_info::SystemInfo),
            define(processes::Processes),
            define(ports::Ports),
            define(disk_usage::DiskUsage),
            define(services::Services),
            define(journal::Journal),
            define(packages::Packages),
            define(http_fetch::HttpFetch(Arc::clone(&settings))),
            define(dns_lookup::DnsLookup(Arc::clone(&settings))),
            define(blacklist_check::BlacklistCheck(Arc::clone(&settings))),
            define(chart::Chart(settings)),
        ])
    }
}

impl Source for BuiltIn {
    fn tools(&self, _: &dyn Host) -> Vec<Result<Arc<dyn Tool>, Broken>> {
        self.0.iter().cloned().map(Ok).collect()
    }

    fn tool(&self, name: &str, _: &dyn Host) -> Option<Result<Arc<dyn Tool>, Broken>> {
        let old = OLD_NAMES.iter().find(|(old, _)| *old == name);
        let name = old.map_or(name, |(_, new)| new);
        let found = self.0.iter().find(|tool| tool.about().name == name)?;
        Some(Ok(Arc::clone(found)))
    }
}
