//! Addresses at which a cloud's provider gives the machine's keys to whoever asks from it, in whatever
//! way they are written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Command, Word};

/// Programs that connect to what they are given.
const FETCHERS: &[&str] = &[
    "curl", "wget", "wget2", "http", "https", "xh", "aria2c", "axel", "lynx", "w3m", "links",
    "elinks", "nc", "ncat", "netcat", "socat", "telnet", "fetch",
];

/// Names of such services, as one of the names between dots.
const NAMES: &[&str] = &["metadata", "instance-data"];

/// Names below which every address has a name.
const ANY_ADDRESS: &[&str] = &[
    "nip.io",
    "sslip.io",
    "xip.io",
    "traefik.me",
    "backname.io",
    "1u.ms",
    "rbndr.us",
    "localtest.me",
    "lvh.me",
    "vcap.me",
    "ip6.name",
    "ipq.co",
    "rebind.network",
];

/// Addresses of AWS, Azure, Google, Oracle and most others; of Alibaba; of Azure's agent; of Oracle's
/// older machines.
const ADDRESSES: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(100, 100, 100, 200), 32),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(192, 0, 0, 192), 32),
];

/// Whether a command may ask there.
pub(super) fn asks_the_provider(command: &Command) -> bool {
    let mut words = command.args.iter().map(Word::text);
    FETCHERS.contains(&command.name()) && words.any(may_be_asked)
}

fn may_be_asked(word: &str) -> bool {
    let (scheme, host) = host(word);
    // curl makes letters of the first and many names of the second.
    may_be_provider(host) || scheme && host.contains(['%', '{'])
}

/// Whether a word has a scheme in front, and its host. One slash is enough for curl.
fn host(text: &str) -> (bool, &str) {
    let (scheme, rest) = match text.split_once(":/") {
        Some((_, rest)) => (true, rest.trim_start_matches('/')),
        None => (false, text),
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let rest = &rest[..end];
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = match rest.split_once(']') {
        Some((address, _)) if rest.starts_with('[') => &rest[..=address.len()],
        _ => rest.split(':').next().unwrap_or_default(),
    };
    (scheme, host)
}

fn may_be_provider(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if !host.is_ascii() {
        return true;
    }
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.trim_end_matches(']').split('%').next();
        // Otherwise it is a range of letters, of which curl makes many names.
        return inner
            .and_then(|it| it.parse().ok())
            .is_none_or(|address: Ipv6Addr| is_provider(IpAddr::V6(address)));
    }
    let mut labels = host.split('.');
    let is_below = |name: &&str| host == **name || host.ends_with(&format!(".{name}"));
    host.contains('[')
        || labels.any(|label| NAMES.contains(&label))
        || ANY_ADDRESS.iter().any(is_below)
        || is_number(&host)
}

/// Whether a host is one of the provider's addresses, or a number that may be any.
fn is_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").is_some_and(is_hexadecimal);
    if last.is_empty() || !(hexadecimal || last.chars().all(|c| c.is_ascii_digit())) {
        return false;
    }
    match host.parse() {
        Ok(address) => is_provider(IpAddr::V4(address)),
        Err(_) => number(host).is_none_or(|address| is_provider(IpAddr::V4(address))),
    }
}

fn is_hexadecimal(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_hexdigit())
}

/// As the C library reads it: one to four parts, each decimal, octal or hexadecimal, of which the last
/// has all bits that are left.
fn number(host: &str) -> Option<Ipv4Addr> {
    let parts = host.split('.').map(|part| match part.strip_prefix("0x") {
        Some("") => Some(0),
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None if part.len() > 1 && part.starts_with('0') => u64::from_str_radix(part, 8).ok(),
        None => part.parse().ok(),
    });
    let parts = parts.collect::<Option<Vec<u64>>>()?;
    let (last, first) = parts.split_last()?;
    let bits_left = 32_u32.checked_sub(8 * u32::try_from(first.len()).ok()?)?;
    let whole = first.iter().try_fold(0_u64, |whole, part| {
        (*part < 256).then_some((whole << 8) | part)
    })?;
    let fits = bits_left > 0 && *last < 1_u64 << bits_left;
    let address = fits.then_some((whole << bits_left) | last)?;
    u32::try_from(address).ok().map(Ipv4Addr::from)
}

fn is_provider(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => ADDRESSES.iter().any(|(network, bits)| {
            let shift = 32 - bits;
            u32::from(address) >> shift == u32::from(*network) >> shift
        }),
        IpAddr::V6(address) => {
            let parts = address.segments();
            // Of machines next to it, of AWS, of Google; and what holds an address of the older kind.
            let is_own = matches!(
                parts,
                [0xfe80..=0xfebf, ..] | [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, ..]
            );
            let inner = |high: u16, low: u16| {
                let inner = Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
                is_provider(IpAddr::V4(inner))
            };
            is_own || inner(parts[6], parts[7]) || parts[0] == 0x2002 && inner(parts[1], parts[2])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::may_be_asked;

    #[test]
    fn the_address_is_found_however_it_is_written() {
        for text in [
            "http://169.254.169.254/latest",
            "169.254.169.254",
            "169.254.169.254:80",
            "http://169.254.169.254./x",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://0XA9.0xFE.0xa9.0xfe/",
            "http://0251.0376.0251.0376/",
            "http://169.16689662/",
            "http://0xa9.254.43518/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[::ffff:169.254.169.254]:80/",
            "http://[::169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:a9fe:a9fe::1]/",
            "http://[fd00:ec2::254]/",
            "http://[fe80::a9fe:a9fe%25eth0]/",
            "http:///169.254.169.254",
            "http:/169.254.169.254/x",
            "http://%31%36%39.254.169.254/",
            "http://user@169.254.169.254/",
            "http://[1-1]69.254.169.254/",
            "http://16[9-9].254.169.254/",
            "http://metadata/",
            "http://METADATA.google.internal./",
            "http://instance-data/latest",
            "http://instance-data.ec2.internal/",
            "http://169-254-169-254.nip.io/",
            "http://a9fea9fe.sslip.io",
            "http://x.1u.ms/",
            "http://100.100.100.200/",
            "http://1684301000/",
            "http://168.63.129.16/",
            "http://4294967296/",
            "http://1.2.3.4.5/",
            "http://169。254。169。254/",
        ] {
            assert!(may_be_asked(text), "{text}");
        }
    }

    #[test]
    fn other_hosts_are_none() {
        for text in [
            "https://example.com/169.254.169.254",
            "http://localhost:8080/health",
            "http://127.0.0.1/x",
            "http://10.1.2.3",
            "http://[::1]:80/",
            "5",
            "-s",
            "8080",
            "https://metadata-docs.example.com/",
            "https://python3.11.example.com/",
        ] {
            assert!(!may_be_asked(text), "{text}");
        }
    }
}
