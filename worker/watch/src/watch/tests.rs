use jiff::tz::TimeZone;

use super::*;
use crate::event::Category;

fn watch() -> Watch {
    let clock = Clock::new(TimeZone::UTC, Timestamp(1_767_614_400_000_000));
    Watch::new(clock, Thresholds::default(), Signatures::default())
}

fn feed(watch: &mut Watch, lines: impl IntoIterator<Item = String>) {
    for (at, line) in lines.into_iter().enumerate() {
        watch.line(
            Place {
                source: 0,
                at: at as u64 + 1,
            },
            line.as_bytes(),
        );
    }
}

fn incidents(lines: impl IntoIterator<Item = String>) -> Vec<Incident> {
    let mut watch = watch();
    feed(&mut watch, lines);
    watch.take_incidents(Severity::Low)
}

/// The incidents that lines make, each as `severity category actor rule`.
#[track_caller]
fn check(lines: impl IntoIterator<Item = String>, expected: &[&str]) {
    let shown: Vec<String> = incidents(lines)
        .iter()
        .map(|incident| {
            let actor = incident
                .actor
                .map_or_else(|| "-".to_owned(), |ip| ip.to_string());
            format!(
                "{} {} {actor} {}",
                incident.severity, incident.category, incident.rules[0].rule
            )
        })
        .collect();
    assert_eq!(shown, expected);
}

fn time(second: usize) -> String {
    format!(
        "2025-06-01T10:{:02}:{:02}.000000+0000",
        second / 60 % 60,
        second % 60
    )
}

fn flow(second: usize, from: &str, to: &str, port: usize, answered: bool) -> String {
    let back = u8::from(answered);
    format!(
        r#"{{"timestamp":"{}","event_type":"flow","src_ip":"{from}","src_port":4000,"dest_ip":"{to}","dest_port":{port},"proto":"TCP","flow":{{"pkts_toserver":1,"pkts_toclient":{back},"bytes_toserver":60}}}}"#,
        time(second)
    )
}

fn sshd(second: usize, text: &str) -> String {
    format!("{} h sshd[1]: {text}", time(second))
}

fn access(ip: &str, second: usize, url: &str, status: u16) -> String {
    format!(
        r#"{ip} - - [01/Jun/2025:10:{:02}:{:02} +0000] "GET {url} HTTP/1.1" {status} 1 "-" "Mozilla/5.0""#,
        second / 60,
        second % 60
    )
}

#[test]
fn guessing_is_one_incident_and_success_after_it_is_critical() {
    let failed = |second| sshd(second, "Failed password for bob from 192.0.2.9 port 1 ssh2");
    check((0..4).map(failed), &[]);
    check(
        (0..8).map(failed),
        &["medium bruteforce 192.0.2.9 failed logins"],
    );
    check(
        (0..40).map(failed),
        &["high bruteforce 192.0.2.9 failed logins"],
    );
    check((0..40).map(|n| failed(n * 60 % 3_600)), &[]);
    let success = sshd(70, "Accepted password for bob from 192.0.2.9 port 1 ssh2");
    let all = (0..8).map(failed).chain([success.clone()]);
    let found = incidents(all);
    assert_eq!((found[0].severity, found.len()), (Severity::Critical, 1));
    check([success], &[]);
}

#[test]
fn a_number_of_repeats_is_at_most_very_many() {
    let guess = "Failed password for bob from 192.0.2.9 port 1 ssh2";
    let times = u32::MAX;
    let found = incidents([sshd(
        1,
        &format!("message repeated {times} times: [ {guess}]"),
    )]);
    let rules: BTreeSet<&str> = found.iter().map(|it| &*it.rules[0].rule).collect();
    assert!(rules.contains("failed logins"), "{rules:?}");
}

#[test]
fn guessing_from_many_places_is_seen_at_the_host() {
    let lines = (0..150).map(|n| {
        sshd(
            n,
            &format!("Failed password for bob from 198.51.100.{n} port 1 ssh2"),
        )
    });
    check(
        lines,
        &["high bruteforce - failed logins from many sources"],
    );
}

#[test]
fn scans_are_what_is_in_vain() {
    check(
        (0..30).map(|n| flow(n, "192.0.2.1", "10.0.0.1", n + 1, false)),
        &["medium recon 192.0.2.1 scan of ports"],
    );
    check(
        (0..40).map(|n| flow(n, "192.0.2.1", &format!("10.0.0.{n}"), 22, false)),
        &["medium recon 192.0.2.1 scan of hosts"],
    );
    check(
        (0..60).map(|n| flow(n, "192.0.2.1", &format!("10.0.0.{n}"), n, true)),
        &[],
    );
    check(
        (0..30).map(|n| access("192.0.2.1", n, &format!("/x{n}"), 404)),
        &["medium recon 192.0.2.1 search for pages"],
    );
    check(
        (0..30).map(|n| access("192.0.2.1", n, &format!("/x{n}"), 200)),
        &[],
    );
}

#[test]
fn floods_are_counted_by_source_and_by_destination() {
    check(
        (0..2_500).map(|_| flow(5, "192.0.2.1", "10.0.0.1", 80, true)),
        &["high dos 192.0.2.1 flood of connections"],
    );
    let many = (0..25_000).map(|n| {
        flow(
            5,
            &format!("192.0.{}.{}", n / 250, n % 250),
            "10.0.0.1",
            80,
            true,
        )
    });
    check(many, &["high dos - flood from many sources"]);
}

#[test]
fn beacons_have_equal_intervals() {
    check(
        (0..20).map(|n| flow(n * 30, "10.0.0.7", "192.0.2.66", 443, true)),
        &["medium malware 10.0.0.7 connections at equal intervals"],
    );
    check(
        (0..20).map(|n| flow(n * 30 + n * n % 23, "10.0.0.7", "192.0.2.66", 443, true)),
        &[],
    );
    check(
        (0..20).map(|n| flow(n * 30, "192.0.2.66", "10.0.0.7", 443, true)),
        &[],
    );
}

#[test]
fn requests_are_searched_for_attacks() {
    check(
        [access("192.0.2.1", 1, "/?q=%27%20union%20select%201", 200)],
        &["high exploit 192.0.2.1 sql-injection"],
    );
    check([access("192.0.2.1", 1, "/", 200)], &[]);
}

#[test]
fn a_million_lines_become_few_incidents() {
    let alert = |n: usize| {
        let time = time(n / 1_000);
        let ip = n % 3;
        format!(
            r#"{{"timestamp":"{time}","event_type":"alert","src_ip":"192.0.2.{ip}","src_port":1,"dest_ip":"10.0.0.{}","dest_port":80,"proto":"TCP","alert":{{"action":"allowed","signature_id":1,"signature":"ET SCAN x","category":"Detection of a Network Scan","severity":2}}}}"#,
            n % 200
        )
    };
    let found = incidents((0..50_000).map(alert));
    assert_eq!(found.len(), 3);
    assert_eq!(
        found.iter().map(|incident| incident.count).sum::<u64>(),
        50_000
    );
    for incident in found {
        assert!(incident.evidence.len() <= 8 && incident.peers.len() <= 8);
        assert!(
            incident
                .evidence
                .iter()
                .enumerate()
                .all(|(n, line)| line.id == format!("e{}", n + 1))
        );
    }
}

#[test]
fn more_actors_than_fit_are_put_together() {
    let line = |n: usize| {
        sshd(
            1,
            &format!(
                "Failed password for root from 10.{}.{}.9 port 1 ssh2",
                n / 250,
                n % 250
            ),
        )
    };
    let found = incidents((0..20_000).map(line));
    assert!(found.len() <= 1_030, "{}", found.len());
    let many = found.iter().max_by_key(|incident| incident.actors).unwrap();
    assert!(many.actor.is_none() && many.category == Category::Bruteforce);
    assert!(
        (15_000..25_000).contains(&many.count) || many.actors > 10_000,
        "{many:?}"
    );
}

#[test]
fn a_text_of_one_shape_is_told_once() {
    let line = |n: usize| {
        format!(
            "{} h app[{n}]: worker {n} crashed at 0x{n:x} near 10.0.0.{n}",
            time(n)
        )
    };
    let found = incidents((0..50).map(line));
    assert_eq!((found.len(), found[0].count, found[0].clear), (1, 1, false));
}

#[test]
fn a_wrong_clock_does_not_stop_the_counters() {
    let failed = |second| sshd(second, "Failed password for bob from 192.0.2.9 port 1 ssh2");
    let mut lines: Vec<String> = (0..4).map(failed).collect();
    lines.push("2099-01-01T00:00:00Z h sshd[1]: Connection closed by 192.0.2.1 port 1".to_owned());
    lines.extend((4..8).map(failed));
    check(lines, &["medium bruteforce 192.0.2.9 failed logins"]);
    // The clock was wrong before, and is right from here on.
    let mut lines: Vec<String> = (0..5)
        .map(|_| "2099-01-01T00:00:00Z h app: x".to_owned())
        .collect();
    lines.extend((0..40).map(|n| failed(n * 70)));
    let found = incidents(lines);
    assert!(
        found
            .iter()
            .all(|incident| incident.category != Category::Bruteforce
                || incident.severity < Severity::High)
    );
}

#[test]
fn bad_lines_are_counted() {
    let mut watch = watch();
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(LINE_BYTES_MAX));
    for line in [&b"\xff\xfe"[..], b"{", b"", long.as_bytes(), b"\0\0\0"] {
        watch.line(Place::default(), line);
    }
    assert_eq!((watch.stats().lines, watch.stats().unreadable), (5, 3));
}

/// An alert of a sensor.
fn alert(ip: &str, signature: &str) -> String {
    format!(
        r#"{{"timestamp":"2026-01-05T12:00:00.000000+0000","event_type":"alert","src_ip":"{ip}","alert":{{"signature":"{signature}","severity":1}}}}"#
    )
}

fn asked(watch: &mut Watch, line: &str) -> Vec<Taken> {
    watch.ask([(Place::default(), line.as_bytes())])
}

#[test]
fn who_asks_about_a_line_gets_its_incident_and_nobody_gets_it_again() {
    let mut watch = watch().live().numbered(7, 2);
    let found = asked(&mut watch, &alert("203.0.113.1", "x"));
    assert_eq!(found.len(), 1);
    assert!(found[0].news && found[0].incident.rules[0].sensor);
    assert_eq!(found[0].incident.id, IncidentId(7));
    assert!(watch.take_incidents(Severity::Info).is_empty());
    // Once more it is the same, and no news.
    let again = asked(&mut watch, &alert("203.0.113.1", "x"));
    assert_eq!((again.len(), again[0].news), (1, false));
    assert_eq!(again[0].incident.count, 2);
    let other = asked(&mut watch, &alert("203.0.113.2", "x"));
    assert_eq!(other[0].incident.id, IncidentId(9));
    assert_eq!(watch.next_number(), 11);
    assert!(asked(&mut watch, "nothing of interest").is_empty());
    // Whoever is met without a finding is asked about too, as a network.
    asked(&mut watch, &alert("2001:db8::1", "x"));
    let met = r#"{"timestamp":"2026-01-05T12:00:00.000000+0000","event_type":"flow","src_ip":"2001:db8::2"}"#;
    let found = asked(&mut watch, met);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn what_has_no_time_is_of_now_if_the_watch_is_live() {
    let mut time = StreamTime {
        live: true,
        ..StreamTime::default()
    };
    let before = Timestamp::now();
    let first = time.at(None);
    std::thread::sleep(std::time::Duration::from_millis(5));
    let second = time.at(None);
    assert!(before <= first && first < second);
    // It never goes back.
    let ahead = second.plus_s(60);
    assert_eq!(time.at(Some(ahead)), ahead);
    assert_eq!(time.at(None), ahead);
}

fn failed(second: usize, user: &str, ip: &str) -> String {
    let time = time(second).replace("+0000", "Z");
    format!("{time} web1 sshd[1]: Failed password for {user} from {ip} port 4022 ssh2")
}

/// What a block ended for a while is seen again when it goes on.
#[test]
fn what_goes_on_is_said_once_in_a_minute() {
    let mut watch = watch();
    let mut told = Vec::new();
    for second in (0..600).step_by(5) {
        feed(&mut watch, [failed(second, "deploy", "203.0.113.9")]);
        told.extend(watch.take_incidents(Severity::Low));
    }
    let ids: BTreeSet<u64> = told.iter().map(|it| it.id.0).collect();
    assert_eq!(ids.len(), 1);
    let again = told.iter().filter(|it| it.again).count();
    assert!((6..=10).contains(&again), "{again} of {}", told.len());
    assert!(told.len() - again <= 4, "{}", told.len());
}

#[test]
fn a_network_of_ipv6_is_one_guesser() {
    let lines = (0..40).map(|n| failed(n, "deploy", &format!("2001:db8:7:8::{n:x}")));
    let found = incidents(lines);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].severity, Severity::High);
    assert_eq!(found[0].actor, Some("2001:db8:7:8::4".parse().unwrap()));
}

/// Others can send packets in the name of somebody who really talks to us.
#[test]
fn made_up_senders_do_not_become_real_by_one_that_is() {
    let flood = (0..1_999).map(|n| flow(n / 400, "203.0.113.9", "192.0.2.1", 80, false));
    let real = [flow(5, "203.0.113.9", "192.0.2.1", 80, true)];
    let found = incidents(flood.chain(real));
    let dos = found
        .iter()
        .find(|it| it.category == Category::Dos)
        .unwrap();
    assert!(!dos.answered, "{dos:?}");
    let alert = |severity: u8, back: u8| {
        format!(
            r#"{{"timestamp":"{}","event_type":"alert","src_ip":"203.0.113.9","dest_ip":"192.0.2.1","proto":"TCP","alert":{{"action":"allowed","signature_id":1,"signature":"ET EXPLOIT {severity}","category":"Web Application Attack","severity":{severity}}},"flow":{{"pkts_toserver":1,"pkts_toclient":{back}}}}}"#,
            time(1)
        )
    };
    let found = incidents([alert(1, 0), alert(3, 1)]);
    assert!(found.len() == 1 && !found[0].answered, "{found:?}");
    assert!(incidents([alert(3, 0), alert(1, 1)])[0].answered);
}

#[test]
fn names_of_rules_are_short_and_of_one_line() {
    let name = format!("x\\nforged\\u001b[31m{}", "y".repeat(100_000));
    let line = format!(
        r#"{{"timestamp":"{}","event_type":"alert","src_ip":"203.0.113.9","alert":{{"action":"allowed","signature_id":1,"signature":"{name}","category":"Web Application Attack","severity":1}}}}"#,
        time(1)
    );
    let found = incidents([line]);
    let incident = &found[0];
    for rule in [&incident.rules[0].rule, &incident.evidence[0].rule] {
        assert!(
            rule.len() <= 210 && !rule.contains(['\n', '\u{1b}']),
            "{rule}"
        );
    }
}

#[test]
fn a_list_of_decisions_is_as_many_events() {
    let decision = |ip: &str| {
        format!(
            r#"{{"duration":"3h","id":1,"origin":"crowdsec","scenario":"crowdsecurity/ssh-bf","scope":"Ip","type":"ban","value":"{ip}"}}"#
        )
    };
    let (one, two) = (decision("203.0.113.1"), decision("203.0.113.2"));
    let expected = [
        "low bruteforce 203.0.113.1 crowdsecurity/ssh-bf",
        "low bruteforce 203.0.113.2 crowdsecurity/ssh-bf",
    ];
    check([format!("[{one},{two}]")], &expected);
    let three = decision("203.0.113.3");
    check(
        [format!(r#"{{"new":[{one},{two}],"deleted":[{three}]}}"#)],
        &expected,
    );
    check(
        [format!(r#"{{"deleted":null,"new":[{one},{two}]}}"#)],
        &expected,
    );
    // Nothing new is no fault, and half a list is one.
    let mut watch = watch();
    feed(&mut watch, [r#"{"deleted":null,"new":null}"#.to_owned()]);
    assert_eq!(watch.stats().unreadable, 0);
    feed(
        &mut watch,
        [format!("[{one},{{"), format!(r#"{{"new":[{one}"#)],
    );
    assert_eq!(watch.stats().unreadable, 1);
    assert_eq!(watch.take_incidents(Severity::Low).len(), 0);
}

#[test]
fn a_machine_that_is_full_is_an_incident() {
    let line = |what: &str, value: &str| {
        format!(
            r#"{{"@timestamp":"2026-01-05T12:00:00.000Z","event":{{"dataset":"system.{what}"}},"host":{{"name":"db1"}},"system":{{"{what}":{value}}}}}"#
        )
    };
    check(
        [line(
            "filesystem",
            r#"{"mount_point":"/var","device_name":"/dev/sda1","used":{"pct":0.931,"bytes":5}}"#,
        )],
        &["medium resource - disk /var over 90 %"],
    );
    check(
        [line("memory", r#"{"actual":{"used":{"pct":0.99}}}"#)],
        &["high resource - memory over 95 %"],
    );
    check([line("load", r#"{"1":2,"norm":{"1":0.5}}"#)], &[]);
    // Nonsense is no measurement, and nobody's disk is fuller than full.
    let mut watch = watch();
    feed(
        &mut watch,
        [
            line("memory", r#"{"actual":{"used":{"pct":-1}}}"#),
            line("memory", r#"{"actual":{"used":{"pct":1e300}}}"#),
            line("memory", r#"{"actual":{"used":{"pct":"much"}}}"#),
        ],
    );
    assert!(
        watch
            .take_incidents(Severity::Low)
            .iter()
            .all(|found| found.severity < Severity::Low)
    );
}
