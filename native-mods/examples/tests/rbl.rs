//! `rbl`, in C. Nothing here needs a network.

use fazai_module::NETWORK;
use fazai_module_examples::{Loaded, built};

fn rbl() -> Loaded {
    Loaded::copy_of(&built().join("rbl.so"), &[])
}

#[test]
fn it_asks_for_the_network() {
    rbl().check_descriptor("rbl", NETWORK, 0);
}

#[test]
fn addresses_are_turned_round() {
    let rbl = rbl();
    let check = |ip: &str, expected: &str| {
        assert_eq!(rbl.good(&format!("query_name {ip}")), expected);
    };
    check("192.0.2.99", "99.2.0.192.zen.spamhaus.org.");
    check("127.0.0.2", "2.0.0.127.zen.spamhaus.org.");
    // The example of RFC 5782, section 2.4, with another zone.
    check(
        "2001:db8:1:2:3:4:567:89ab",
        "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.zen.spamhaus.org.",
    );
    let zeros = "0.".repeat(31);
    check("::1", &format!("1.{zeros}zen.spamhaus.org."));
    assert_eq!(
        rbl.good("zone bl.example.org"),
        "the zone is bl.example.org"
    );
    check("192.0.2.99", "99.2.0.192.bl.example.org.");
}

#[test]
fn the_longest_zone_fits_behind_the_longest_address() {
    let rbl = rbl();
    let label = "a".repeat(59);
    let zone = format!("{label}.{label}.{label}");
    assert_eq!(zone.len(), 179);
    assert_eq!(
        rbl.good(&format!("zone {zone}")),
        format!("the zone is {zone}")
    );
    let name = rbl.good("query_name ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    assert_eq!(name, format!("{}{zone}.", "f.".repeat(32)));
}

#[test]
fn addresses_and_zones_that_are_none() {
    let rbl = rbl();
    for ip in [
        "",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.2.3.4 ",
        "example.org",
        ":::",
        "::g",
    ] {
        for command in ["check_rbl", "query_name"] {
            let reason = rbl.bad(&format!("{command} {ip}"));
            assert!(
                reason.contains("is no IPv4 or IPv6 address"),
                "{ip:?}: {reason}"
            );
        }
    }
    let long = "a.".repeat(91) + "a";
    let label = "a".repeat(64);
    for zone in [
        ".",
        "a..b",
        ".a",
        "a.",
        "a b",
        "a/b",
        "caf\u{e9}.org",
        &long,
        &label,
    ] {
        let reason = rbl.bad(&format!("zone {zone}"));
        assert!(reason.contains("is no zone"), "{zone:?}: {reason}");
    }
    assert_eq!(rbl.good("zone"), "the zone is zen.spamhaus.org");
    assert!(rbl.bad("check_rblx 1.2.3.4").contains("say help"));
}

#[test]
fn answers_are_explained() {
    let rbl = rbl();
    let check = |answer: &str, part: &str| {
        let text = rbl.good(&format!("explain {answer}"));
        assert!(text.contains(part), "{answer}: {text}");
    };
    check("127.0.0.2", "SBL");
    check("127.0.0.4", "XBL");
    check("127.0.0.11", "PBL");
    check("127.0.0.77", "the zone's documentation");
    check("127.255.255.254", "public resolvers");
    check("127.255.255.1", "refused");
    check("93.184.216.34", "no answer of a block list");
    let _ = rbl.good("zone bl.example.org");
    check("127.0.0.2", "the zone's documentation");
    let _ = rbl.good("zone notspamhaus.org");
    check("127.0.0.2", "the zone's documentation");
    assert!(rbl.bad("explain 127.0.0").contains("is no answer"));
}

#[test]
fn an_address_is_never_called_unlisted_by_a_zone_that_does_not_answer() {
    let rbl = rbl();
    // A name that no name server may ever know (RFC 6761), with a network or without.
    let _ = rbl.good("zone rbl.invalid");
    let reason = rbl.bad("check_rbl 192.0.2.99");
    let known = [
        "rbl.invalid does not list its test address 127.0.0.2",
        "looking up 99.2.0.192.rbl.invalid. failed: ",
    ];
    assert!(
        known.iter().any(|part| reason.starts_with(part)),
        "{reason}"
    );
}
