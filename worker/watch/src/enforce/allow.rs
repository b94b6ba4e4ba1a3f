//! Who is never blocked, whatever rules say.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnet::IpNet;

use crate::time::Timestamp;

/// Networks that are never blocked, nor any network that they lie in.
#[derive(Debug, Clone)]
pub struct AllowList(Vec<IpNet>);

/// Never a sensible target: this host, the link, groups, everybody.
const ALWAYS: &[&str] = &[
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/3",
    "::/127",
    // IPv4 that is written in IPv6, and its translation.
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "fe80::/10",
    "ff00::/8",
];

/// One's own networks, unless it is said that they may be blocked.
const PRIVATE: &[&str] = &[
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
];

impl AllowList {
    /// These, private networks, and what is never a sensible target.
    #[must_use]
    pub fn new(nets: impl IntoIterator<Item = IpNet>) -> Self {
        let mut list = Self::with_private_targets(nets);
        list.0.extend(parsed(PRIVATE));
        list
    }

    /// These, and what is never a sensible target; private networks may be blocked.
    #[must_use]
    pub fn with_private_targets(nets: impl IntoIterator<Item = IpNet>) -> Self {
        Self(nets.into_iter().chain(parsed(ALWAYS)).collect())
    }

    /// Adds these.
    #[must_use]
    pub fn and(mut self, ips: impl IntoIterator<Item = IpAddr>) -> Self {
        let nets = ips.into_iter().map(|ip| IpNet::from(ip.to_canonical()));
        self.0.extend(nets);
        self
    }

    /// Adds what this machine can't do without: its own addresses, its gateways, its DNS servers.
    /// `root` is `/` but in tests.
    #[must_use]
    pub fn and_of_machine(self, root: &Path) -> Self {
        let read = reader(root);
        let mut found = Vec::new();
        own_v4(&read("proc/net/fib_trie"), &mut found);
        own_v6(&read("proc/net/if_inet6"), &mut found);
        gateways(&read("proc/net/route"), &mut found);
        gateways_v6(&read("proc/net/ipv6_route"), &mut found);
        resolvers(&read("etc/resolv.conf"), &mut found);
        self.and(found)
    }

    /// What forbids to block `net`, if something does.
    #[must_use]
    pub fn protects(&self, net: IpNet) -> Option<IpNet> {
        let hit = |allowed: &&IpNet| allowed.contains(&net) || net.contains(*allowed);
        self.0.iter().find(hit).copied()
    }
}

/// A connection without a login is ended by sshd after two minutes; one that is older is a session.
const LOGIN_S: i64 = 150;

/// Who has a session by SSH. A stranger who only holds a connection is nobody to spare.
#[derive(Debug, Default)]
pub struct Sessions {
    /// The other side of each connection, and since when it was seen; none: nobody has looked yet.
    since: Option<BTreeMap<(IpAddr, u16), Timestamp>>,
}

impl Sessions {
    /// Looks who is connected to `port`. Who is at the first look is taken to have a session.
    pub fn standing(&mut self, root: &Path, port: u16, now: Timestamp) -> Vec<IpAddr> {
        let read = reader(root);
        let mut there = Vec::new();
        for table in ["proc/net/tcp", "proc/net/tcp6"] {
            peers(&read(table), port, &mut there);
        }
        let new = match self.since {
            Some(_) => now,
            None => now.plus_s(-LOGIN_S),
        };
        let before = self.since.take().unwrap_or_default();
        let since = |peer| (peer, before.get(&peer).copied().unwrap_or(new).min(now));
        let since: BTreeMap<_, _> = there.into_iter().map(since).collect();
        let old = since
            .iter()
            .filter(|(_, since)| since.plus_s(LOGIN_S) <= now);
        let standing = old.map(|((ip, _), _)| *ip).collect();
        self.since = Some(since);
        standing
    }
}

fn reader(root: &Path) -> impl Fn(&str) -> String {
    move |path| fs::read_to_string(root.join(path)).unwrap_or_default()
}

fn parsed(nets: &'static [&'static str]) -> impl Iterator<Item = IpNet> {
    nets.iter().filter_map(|net| net.parse().ok())
}

/// `|-- 192.0.2.1`, and below it `/32 host LOCAL`.
fn own_v4(text: &str, found: &mut Vec<IpAddr>) {
    let mut last = None;
    for line in text.lines() {
        if let Some((_, ip)) = line.split_once("|-- ") {
            last = ip.trim().parse::<Ipv4Addr>().ok();
        } else if line.contains("host LOCAL")
            && let Some(ip) = last
        {
            found.push(ip.into());
        }
    }
}

fn own_v6(text: &str, found: &mut Vec<IpAddr>) {
    let words = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    found.extend(words.filter_map(hex_v6).map(IpAddr::from));
}

/// The third column, in the byte order of the machine.
fn gateways(text: &str, found: &mut Vec<IpAddr>) {
    let columns = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2));
    let ips = columns.filter_map(hex_v4).filter(|ip| !ip.is_unspecified());
    found.extend(ips.map(IpAddr::from));
}

fn gateways_v6(text: &str, found: &mut Vec<IpAddr>) {
    let columns = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(4));
    let ips = columns.filter_map(hex_v6).filter(|ip| !ip.is_unspecified());
    found.extend(ips.map(IpAddr::from));
}

fn resolvers(text: &str, found: &mut Vec<IpAddr>) {
    let servers = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    let ips = servers.filter_map(|rest| rest.trim().split('%').next()?.parse::<IpAddr>().ok());
    found.extend(ips);
}

/// The other side of connections that stand: `sl local remote state`.
fn peers(text: &str, port: u16, found: &mut Vec<(IpAddr, u16)>) {
    for line in text.lines().skip(1) {
        let mut columns = line.split_whitespace().skip(1);
        let (Some(local), Some(remote), Some("01")) =
            (columns.next(), columns.next(), columns.next())
        else {
            continue;
        };
        let local = local
            .split_once(':')
            .and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        let Some((ip, from)) = remote.split_once(':').filter(|_| local == Some(port)) else {
            continue;
        };
        let from = u16::from_str_radix(from, 16).unwrap_or_default();
        let ip = match ip.len() {
            8 => hex_v4(ip).map(IpAddr::from),
            // Four words, each in the byte order of the machine.
            _ => words_v6(ip).map(IpAddr::from),
        };
        found.extend(ip.map(|ip| (ip.to_canonical(), from)));
    }
}

fn hex_v4(text: &str) -> Option<Ipv4Addr> {
    let number = u32::from_str_radix(text, 16)
        .ok()
        .filter(|_| text.len() == 8)?;
    Some(Ipv4Addr::from(number.to_ne_bytes()))
}

fn hex_v6(text: &str) -> Option<Ipv6Addr> {
    u128::from_str_radix(text, 16)
        .ok()
        .filter(|_| text.len() == 32)
        .map(Ipv6Addr::from)
}

fn words_v6(text: &str) -> Option<Ipv6Addr> {
    let mut bytes = [0; 16];
    for (at, bytes) in bytes.chunks_mut(4).enumerate() {
        let word = u32::from_str_radix(text.get(at * 8..at * 8 + 8)?, 16).ok()?;
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    Some(Ipv6Addr::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_needs_is_never_blocked() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/net")).unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        let write = |path: &str, text: &str| fs::write(root.path().join(path), text).unwrap();
        write(
            "proc/net/fib_trie",
            "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 203.0.113.4\n        /32 host LOCAL\n     |-- 203.0.113.0\n        /24 link UNICAST\n",
        );
        write(
            "proc/net/if_inet6",
            "20010db8000000000000000000000004 02 40 00 80 eth0\n",
        );
        write(
            "proc/net/route",
            "Iface Destination Gateway Flags\neth0 00000000 017100CB 0003\n",
        );
        write(
            "proc/net/ipv6_route",
            "00000000000000000000000000000000 00 00000000000000000000000000000000 00 20010db8000000000000000000000001 00000400\n",
        );
        write(
            "etc/resolv.conf",
            "# x\nnameserver 198.51.100.53\nnameserver fe80::1%eth0\n",
        );
        write(
            "proc/net/tcp",
            "  sl  local_address rem_address   st\n   0: 047100CB:0016 096433C6:C350 01 0\n   1: 047100CB:0050 0A6433C6:C350 01 0\n   2: 047100CB:0016 0B6433C6:C350 06 0\n",
        );
        write(
            "proc/net/tcp6",
            "  sl  local\n   0: 0000000000000000FFFF0000047100CB:0016 0000000000000000FFFF00000C6433C6:C350 01 0\n   1: 0:0016 B80D0120000000000000000009000000:1 01\n",
        );
        let mut sessions = Sessions::default();
        let now = Timestamp(0);
        let list = AllowList::new(["192.0.2.0/24".parse().unwrap()])
            .and_of_machine(root.path())
            .and(sessions.standing(root.path(), 22, now));
        for net in [
            "192.0.2.7",
            "203.0.113.4",
            "2001:db8::4",
            "203.0.113.1",
            "2001:db8::1",
            "198.51.100.53",
            "198.51.100.9",
            "198.51.100.12",
            "2001:db8::9",
            "127.0.0.1",
            "::1",
            "10.1.2.3",
            "255.255.255.255",
            "ff02::1",
            "fe80::5",
            "203.0.113.0/24",
            "2001:db8::/64",
            "0.0.0.0/0",
        ] {
            let net: IpNet = net
                .parse()
                .unwrap_or_else(|_| IpNet::from(net.parse::<IpAddr>().unwrap()));
            assert!(list.protects(net).is_some(), "{net}");
        }
        for net in [
            "198.51.100.10/32",
            "198.51.100.11/32",
            "203.0.113.9/32",
            "2001:db8:1::/64",
            "8.8.8.8/32",
        ] {
            assert_eq!(list.protects(net.parse().unwrap()), None, "{net}");
        }
        // One more connects, and stays as long as somebody who can't log in may.
        let line = "   3: 047100CB:0016 0D6433C6:C351 01 0\n";
        let tcp = fs::read_to_string(root.path().join("proc/net/tcp")).unwrap();
        write("proc/net/tcp", &(tcp + line));
        let new: IpAddr = "198.51.100.13".parse().unwrap();
        for (second, stands) in [(1, false), (150, false), (151, true)] {
            let standing = sessions.standing(root.path(), 22, now.plus_s(second));
            assert_eq!(standing.contains(&new), stands, "{second}");
            assert_eq!(standing.len(), 3 + usize::from(stands));
        }
    }
}
