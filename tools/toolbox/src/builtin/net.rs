//! Speaking to others: which addresses are everybody's, and for how long one waits.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::error::ToolError;
use crate::host::Host;

/// How often the wish to stop is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits for something of the network on this thread, no longer than this and while somebody wants
/// it.
pub(super) fn wait<T>(
    host: &dyn Host,
    time: Duration,
    what: impl Future<Output = Result<T, ToolError>>,
) -> Result<T, ToolError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build();
    let runtime = runtime.map_err(|error| {
        ToolError::Unavailable(format!(
            "no connection can be made: {error}; check the limit on open files"
        ))
    })?;
    let stopped = async {
        while !host.stop().is_stopped() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let result = runtime.block_on(async {
        tokio::select! {
            result = what => result,
            () = stopped => Err(ToolError::Stopped),
            () = tokio::time::sleep(time) => Err(ToolError::TimedOut),
        }
    });
    // The system may still look for a name, which can't be ended.
    runtime.shutdown_background();
    result
}

/// Whether an address is one of the public internet, and not of this machine, its neighbours, its
/// provider's services, or a way around to one of these.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    // This network, carriers' own, protocol assignments, relays of 6to4, benchmarks, a cloud's own
    // services on an address that looks public, reserved.
    let special = matches!(
        address.octets(),
        [0 | 240..=255, ..]
            | [100, 64..=127, ..]
            | [192, 0, 0, _]
            | [192, 88, 99, _]
            | [198, 18..=19, ..]
            | [168, 63, 129, 16]
    );
    !special
        && !address.is_private()
        && !address.is_loopback()
        && !address.is_link_local()
        && !address.is_multicast()
        && !address.is_documentation()
}

/// Only 2000::/3 is global unicast; within it some lead to IPv4 addresses or nowhere.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let global = matches!(segments[0], 0x2000..=0x3fff);
    // Protocol assignments such as Teredo, 6to4, documentation.
    let special = matches!(
        segments,
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..]
    );
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_told_from_others() {
        for (text, expected) in [
            ("93.184.215.14", true),
            ("1.1.1.1", true),
            ("2606:4700::1111", true),
            ("127.0.0.1", false),
            ("127.9.9.9", false),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("169.254.169.254", false),
            ("168.63.129.16", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:93.184.215.14", false),
            ("64:ff9b::7f00:1", false),
            ("2002:7f00:1::", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("ff02::1", false),
        ] {
            let address: IpAddr = text.parse().expect("an address");
            assert_eq!(is_public(address), expected, "{text}");
        }
    }
}
