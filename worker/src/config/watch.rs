//! `[watch]`: where events come from, and what may be done about them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use fazai_watch::Severity;
use fazai_watch::enforce::deny::Reader;
use fazai_watch::input::Start;
use ipnet::IpNet;

use super::{AlertSettings, place, values};
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
    /// The `/proc` of the machine that is measured; none: it is not.
    pub metrics: Option<PathBuf>,
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
    /// Lists of bad addresses.
    pub dnsbl: DnsblSettings,
    /// Who is told outside of the worker.
    pub alerts: AlertSettings,
}

/// Lists of bad addresses that are asked by DNS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsblSettings {
    /// Their zones.
    pub lists: Vec<String>,
    /// Whom names are asked of; none: the first that `/etc/resolv.conf` names.
    pub server: Option<SocketAddr>,
}

/// Who blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Enforce {
    /// Nobody: it is said what would be done.
    #[default]
    Off,
    /// The firewall of the kernel.
    Nft,
    /// A server that reads this file.
    DenyFile(Reader, PathBuf),
    /// CrowdSec.
    CrowdSec,
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
            metrics: None,
            state_dir: place("/var/lib/fazai/watch", "watch"),
            rules: None,
            signatures: None,
            thresholds: None,
            mapping: None,
            enforce: Enforce::Off,
            allow: Vec::new(),
            min_severity: Severity::Low,
            model: true,
            dnsbl: DnsblSettings::default(),
            alerts: AlertSettings::default(),
        }
    }
}

impl WatchSettings {
    /// Whether anything is to be read, or kept blocked.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.sources().is_empty() || self.enforce != Enforce::Off
    }

    pub(crate) fn sources(&self) -> Sources {
        Sources {
            files: self.files.clone(),
            unix: self.unix.clone(),
            unix_datagram: self.unix_datagram.clone(),
            syslog_tcp: self.syslog_tcp.clone(),
            syslog_udp: self.syslog_udp.clone(),
            trust_syslog: self.trust_syslog,
            metrics: self.metrics.clone(),
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
    values::parts(text).map(values::path).collect()
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
    values::parts(text).map(address).collect()
}

pub(super) fn nets(text: &str) -> Result<Vec<IpNet>, String> {
    let net = |part: &str| {
        let net = fazai_watch::enforce::net(part);
        net.ok_or("addresses or networks are needed, such as 192.0.2.7 or 2001:db8::/32".to_owned())
    };
    values::parts(text).map(net).collect()
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

/// Each is asked about each address, one after the other.
const LISTS_MAX: usize = 8;

pub(super) fn lists(text: &str) -> Result<Vec<String>, String> {
    let zone = |part: &str| {
        let label = |label: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            (1..=63).contains(&label.len()) && label.chars().all(plain)
        };
        let good = part.contains('.') && part.len() <= 180 && part.split('.').all(label);
        let wanted = || "zones of names are needed, such as zen.spamhaus.org".to_owned();
        good.then(|| part.to_ascii_lowercase()).ok_or_else(wanted)
    };
    let lists: Vec<String> = values::parts(text).map(zone).collect::<Result<_, _>>()?;
    if lists.len() > LISTS_MAX {
        return Err(format!("at most {LISTS_MAX} lists"));
    }
    Ok(lists)
}

/// The port of DNS.
const DNS_PORT: u16 = 53;

pub(super) fn name_server(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let bare = text.parse::<IpAddr>().ok();
    let bare = bare.map(|ip| SocketAddr::from((ip, DNS_PORT)));
    let server = bare.or_else(|| text.parse().ok());
    let wanted = || "an address is needed, such as 192.0.2.53 or 127.0.0.1:5353".to_owned();
    server.map(Some).ok_or_else(wanted)
}

/// Where the kernel says what is measured.
const PROC: &str = "/proc";

pub(super) fn metrics(text: &str) -> Result<Option<PathBuf>, String> {
    match text {
        "off" => Ok(None),
        "on" => Ok(Some(PathBuf::from(PROC))),
        path => values::path(path)
            .map(Some)
            .map_err(|_| "on, off or a directory like /proc is needed".to_owned()),
    }
}

pub(super) fn show_metrics(proc: Option<&PathBuf>) -> String {
    match proc {
        None => "off".to_owned(),
        Some(path) if path == PROC => "on".to_owned(),
        Some(path) => path.display().to_string(),
    }
}

pub(super) fn enforce(text: &str) -> Result<Enforce, String> {
    let known = |name: &str| Reader::ALL.into_iter().find(|known| known.name() == name);
    let mut words = text.splitn(3, char::is_whitespace);
    match (words.next(), words.next(), words.next()) {
        (Some("off"), None, _) => Ok(Enforce::Off),
        (Some("nft"), None, _) => Ok(Enforce::Nft),
        (Some("crowdsec"), None, _) => Ok(Enforce::CrowdSec),
        (Some("deny_file"), Some(form), Some(path)) if known(form).is_some() => {
            let reader = known(form).unwrap_or(Reader::Nginx);
            values::path(path.trim()).map(|path| Enforce::DenyFile(reader, path))
        }
        // Before there were forms, it was nginx's.
        (Some("deny_file"), Some(path), None) => {
            values::path(path).map(|path| Enforce::DenyFile(Reader::Nginx, path))
        }
        _ => Err("off, nft, crowdsec or deny_file nginx|apache|list PATH is needed".to_owned()),
    }
}

pub(super) fn show_enforce(enforce: &Enforce) -> String {
    match enforce {
        Enforce::Off => "off".to_owned(),
        Enforce::Nft => "nft".to_owned(),
        Enforce::CrowdSec => "crowdsec".to_owned(),
        Enforce::DenyFile(reader, path) => {
            format!("deny_file {} {}", reader.name(), path.display())
        }
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
        for text in ["on", "off", "/host/proc"] {
            let read = metrics(text).expect("right");
            assert_eq!(show_metrics(read.as_ref()), text);
        }
        assert!(lists("zen.spamhaus.org, BL.example.net").is_ok_and(|found| found.len() == 2));
        for wrong in ["zen", "a..b", "-h @x", "a b.c", ".a", &"a.b,".repeat(9)] {
            assert!(lists(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            name_server("::1"),
            Ok(Some(([0, 0, 0, 0, 0, 0, 0, 1], 53).into()))
        );
        assert!(name_server("127.0.0.1:5353").is_ok() && name_server("dns.example").is_err());
        assert!(metrics("").is_err() && metrics("proc").is_err());
        for text in [
            "off",
            "nft",
            "crowdsec",
            "deny_file apache /etc/apache2/deny.conf",
        ] {
            let read = enforce(text).expect("right");
            assert_eq!(show_enforce(&read), text);
        }
        let plain = enforce("deny_file /etc/nginx/deny.conf").expect("right");
        assert_eq!(show_enforce(&plain), "deny_file nginx /etc/nginx/deny.conf");
        for wrong in [
            "on",
            "",
            "deny_file",
            "deny_file x",
            "nft now",
            "crowdsec now",
            "deny_file list",
            "deny_file squid /etc/squid/deny",
            "deny_file list deny",
        ] {
            assert!(enforce(wrong).is_err(), "{wrong}");
        }
    }
}
