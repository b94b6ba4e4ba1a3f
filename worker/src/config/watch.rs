//! `[watch]`: where events come from, and what may be done about them.

use std::net::SocketAddr;
use std::path::PathBuf;

use fazai_watch::Severity;
use fazai_watch::input::Start;
use ipnet::IpNet;

use super::{keys, place};
use crate::watching::{Sources, Tables};

/// Where events come from, and what may be done about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchSettings {
    /// Files that are followed.
    pub files: Vec<PathBuf>,
    /// Unix sockets of streams that are listened to.
    pub unix: Vec<PathBuf>,
    /// Unix sockets of datagrams.
    pub unix_datagram: Vec<PathBuf>,
    /// Addresses of this machine where syslog comes by UDP.
    pub syslog_udp: Vec<SocketAddr>,
    /// The same by TCP.
    pub syslog_tcp: Vec<SocketAddr>,
    /// Whether syslog by TCP and UDP may make somebody an attacker.
    pub trust_syslog: bool,
    /// Where positions, incidents and blocks are kept.
    pub state_dir: PathBuf,
    /// Rules for actions; none: the built-in ones.
    pub rules: Option<PathBuf>,
    /// Signatures of attacks in requests; none: the built-in ones.
    pub signatures: Option<PathBuf>,
    /// When counters speak up; none: the built-in thresholds.
    pub thresholds: Option<PathBuf>,
    /// Where JSON of other tools has its fields; none: by the usual names.
    pub mapping: Option<PathBuf>,
    /// Who blocks.
    pub enforce: Enforce,
    /// Networks that are never blocked, beside the built-in ones.
    pub allow: Vec<IpNet>,
    /// The least severity that is kept and told.
    pub min_severity: Severity,
    /// Whether a model judges incidents as well.
    pub model: bool,
}

/// Who blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Enforce {
    /// Nobody: it is said what would be done.
    #[default]
    Off,
    /// The firewall of the kernel.
    Nft,
    /// A web server that reads this file.
    DenyFile(PathBuf),
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            unix: Vec::new(),
            unix_datagram: Vec::new(),
            syslog_udp: Vec::new(),
            syslog_tcp: Vec::new(),
            trust_syslog: false,
            state_dir: place("/var/lib/fazai/watch", "watch"),
            rules: None,
            signatures: None,
            thresholds: None,
            mapping: None,
            enforce: Enforce::Off,
            allow: Vec::new(),
            min_severity: Severity::Low,
            model: true,
        }
    }
}

impl WatchSettings {
    /// Whether anything is to be read.
    #[must_use]
    pub fn has_sources(&self) -> bool {
        !self.sources().is_empty()
    }

    pub(crate) fn sources(&self) -> Sources {
        Sources {
            files: self.files.clone(),
            unix: self.unix.clone(),
            unix_datagram: self.unix_datagram.clone(),
            syslog_tcp: self.syslog_tcp.clone(),
            syslog_udp: self.syslog_udp.clone(),
            trust_syslog: self.trust_syslog,
            state_dir: Some(self.state_dir.clone()),
            // What happened before anybody watched is nobody's to block for.
            start: Start::End,
        }
    }

    pub(crate) fn tables(&self) -> Tables {
        Tables {
            rules: self.rules.clone(),
            signatures: self.signatures.clone(),
            thresholds: self.thresholds.clone(),
            mapping: self.mapping.clone(),
        }
    }
}

pub(super) fn paths(text: &str) -> Result<Vec<PathBuf>, String> {
    keys::parts(text).map(keys::path).collect()
}

pub(super) fn show_paths(paths: &[PathBuf]) -> String {
    join(paths.iter().map(|path| path.display().to_string()))
}

/// Syslog has no password, so that only this machine may be listened on.
pub(super) fn local(text: &str) -> Result<Vec<SocketAddr>, String> {
    let address = |part: &str| {
        let address: Option<SocketAddr> = part.parse().ok();
        let address = address.filter(|address| address.ip().to_canonical().is_loopback());
        address.ok_or("addresses of this machine are needed, such as 127.0.0.1:5514".to_owned())
    };
    keys::parts(text).map(address).collect()
}

pub(super) fn nets(text: &str) -> Result<Vec<IpNet>, String> {
    let net = |part: &str| {
        let net = fazai_watch::enforce::net(part);
        net.ok_or("addresses or networks are needed, such as 192.0.2.7 or 2001:db8::/32".to_owned())
    };
    keys::parts(text).map(net).collect()
}

pub(super) fn show<T: ToString>(values: &[T]) -> String {
    join(values.iter().map(T::to_string))
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<String>>().join(",")
}

pub(super) fn severity(text: &str) -> Result<Severity, String> {
    let known = Severity::ALL.into_iter().find(|known| known.name() == text);
    known.ok_or("info, low, medium, high or critical is needed".to_owned())
}

pub(super) fn enforce(text: &str) -> Result<Enforce, String> {
    match text.split_once(char::is_whitespace) {
        None if text == "off" => Ok(Enforce::Off),
        None if text == "nft" => Ok(Enforce::Nft),
        Some(("deny_file", path)) => keys::path(path.trim()).map(Enforce::DenyFile),
        _ => Err("off, nft or deny_file PATH is needed".to_owned()),
    }
}

pub(super) fn show_enforce(enforce: &Enforce) -> String {
    match enforce {
        Enforce::Off => "off".to_owned(),
        Enforce::Nft => "nft".to_owned(),
        Enforce::DenyFile(path) => format!("deny_file {}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_meant_is_refused() {
        assert!(local("127.0.0.1:5514, [::1]:5514").is_ok_and(|found| found.len() == 2));
        assert!(local("0.0.0.0:514").is_err() && local("localhost:514").is_err());
        let found = nets("192.0.2.7, 2001:db8::/32").expect("networks");
        assert_eq!(show(&found), "192.0.2.7/32,2001:db8::/32");
        assert!(nets("192.0.2.7/33").is_err() && nets("example.org").is_err());
        assert!(paths("/var/log/a, relative").is_err());
        assert_eq!(severity("high"), Ok(Severity::High));
        assert!(severity("bad").is_err());
        for text in ["off", "nft", "deny_file /etc/nginx/deny.conf"] {
            let read = enforce(text).expect("right");
            assert_eq!(show_enforce(&read), text);
        }
        for wrong in ["on", "", "deny_file", "deny_file x", "nft now"] {
            assert!(enforce(wrong).is_err(), "{wrong}");
        }
    }
}
