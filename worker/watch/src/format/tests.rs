use serde_json::json;

use super::*;
use crate::event::{Category, Outcome, Severity};
use crate::time::Timestamp;

fn parser() -> Parser {
    let now: jiff::Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
    Parser::new(Clock::new(
        jiff::tz::TimeZone::UTC,
        Timestamp(now.as_microsecond()),
    ))
}

/// Reads a line and shows what matters of it.
#[track_caller]
fn check(line: &str, expected: &str) {
    let event = parser().parse(line).unwrap();
    let side = |end: crate::event::Endpoint| match (end.ip, end.port) {
        (Some(ip), Some(port)) => format!("{ip} {port}"),
        (Some(ip), None) => ip.to_string(),
        _ => "-".to_owned(),
    };
    let shown = format!(
        "{} {:?} {} {} {} -> {} user={} stopped={}",
        event.format.name(),
        event.kind,
        event.severity.map_or("-", Severity::name),
        event.category.map_or("-", Category::name),
        side(event.source),
        side(event.destination),
        event.user,
        event.stopped,
    );
    assert_eq!(shown, expected, "{line}");
}

const ALERT: &str = r#"{"timestamp":"2023-09-18T06:13:41.532140+0000","flow_id":1676750115612680,"in_iface":"eth0","event_type":"alert","src_ip":"203.0.113.9","src_port":41212,"dest_ip":"10.0.0.5","dest_port":80,"proto":"TCP","alert":{"action":"allowed","gid":1,"signature_id":2019401,"rev":4,"signature":"ET WEB_SERVER Possible SQL Injection","category":"Web Application Attack","severity":1},"http":{"hostname":"shop.example","url":"/a?id=1%27%20union%20select","http_user_agent":"x\"y","http_method":"GET","status":200},"app_proto":"http","community_id":"1:abc="}"#;

#[test]
fn suricata() {
    check(
        ALERT,
        "eve Alert high exploit 203.0.113.9 41212 -> 10.0.0.5 80 user= stopped=false",
    );
    let blocked = ALERT.replace("\"allowed\"", "\"blocked\"");
    check(
        &blocked,
        "eve Alert medium exploit 203.0.113.9 41212 -> 10.0.0.5 80 user= stopped=true",
    );
    let critical = ALERT.replace(
        "\"severity\":1",
        "\"severity\":1,\"metadata\":{\"signature_severity\":[\"Critical\"]}",
    );
    check(
        &critical,
        "eve Alert critical exploit 203.0.113.9 41212 -> 10.0.0.5 80 user= stopped=false",
    );
    // The packet went to the client; the rule's author says who attacks.
    let turned = ALERT.replace("\"severity\":1", "\"severity\":255,\"source\":{\"ip\":\"10.0.0.5\",\"port\":80},\"target\":{\"ip\":\"203.0.113.9\",\"port\":41212}");
    check(
        &turned,
        "eve Alert info exploit 10.0.0.5 80 -> 203.0.113.9 41212 user= stopped=false",
    );
    check(
        r#"{"timestamp":"2023-09-18T06:13:41.532140+0000","event_type":"flow","src_ip":"::ffff:192.0.2.1","src_port":1,"dest_ip":"2001:db8::1","dest_port":443,"proto":"TCP","flow":{"pkts_toserver":1,"pkts_toclient":0,"bytes_toserver":60,"bytes_toclient":0,"state":"new"}}"#,
        "eve Flow - - 192.0.2.1 1 -> 2001:db8::1 443 user= stopped=false",
    );
    let event = r#"{"timestamp":"2023-09-18T06:13:41.532140+0000","event_type":"dns","src_ip":"10.0.0.1","dest_ip":"1.1.1.1","proto":"UDP","dns":{"version":3,"type":"request","queries":[{"rrname":"a.example","rrtype":"A"}]}}"#;
    assert_eq!(parser().parse(event).unwrap().name, "a.example");
}

#[test]
fn the_fields_of_an_event_have_the_names_of_ecs_and_the_rest_is_kept() {
    let ecs = parser().parse(ALERT).unwrap().to_ecs();
    assert_eq!(ecs["@timestamp"], "2023-09-18T06:13:41.53214Z");
    assert_eq!(ecs["source"], json!({ "ip": "203.0.113.9", "port": 41212 }));
    assert_eq!(ecs["rule"]["id"], "2019401");
    assert_eq!(ecs["url"]["original"], "/a?id=1%27%20union%20select");
    assert_eq!(ecs["user_agent"]["original"], "x\"y");
    assert_eq!(ecs["http"]["response"]["status_code"], 200);
    assert_eq!(ecs["fazai"]["unmapped"]["community_id"], "1:abc=");
    assert_eq!(ecs["fazai"]["unmapped"]["in_iface"], "eth0");
    assert_eq!(ecs["fazai"]["unmapped"].get("src_ip"), None);
}

#[test]
fn falco_crowdsec_and_old_alerts() {
    check(
        r#"{"hostname":"n1","output":"...","output_fields":{"fd.cip":"10.1.1.1","fd.cport":5,"fd.sip":"8.8.4.4","fd.sport":443,"proc.name":"bash","user.name":"root","evt.time":1},"priority":"Critical","rule":"Reverse shell","source":"syscall","tags":["x"],"time":"2022-06-08T15:33:29.911123456Z"}"#,
        "falco Alert critical malware 10.1.1.1 5 -> 8.8.4.4 443 user=root stopped=false",
    );
    check(
        r#"{"duration":"3h59m","id":1,"origin":"crowdsec","scenario":"crowdsecurity/ssh-bf","scope":"Ip","type":"ban","value":"192.0.2.3","simulated":false}"#,
        "crowdsec Decision low bruteforce 192.0.2.3 -> - user= stopped=true",
    );
    check(
        r#"{"scenario":"crowdsecurity/http-sqli-probing","message":"Ip 192.0.2.3 performed","events_count":11,"start_at":"2024-01-01T00:00:00Z","source":{"scope":"Ip","value":"192.0.2.3","ip":"192.0.2.3"},"decisions":[]}"#,
        "crowdsec Decision medium exploit 192.0.2.3 -> - user= stopped=false",
    );
    check(
        r#"{"timestamp":"2024-01-01T00:00:00Z","source_ip":"192.0.2.3","dest_ip":"10.0.0.1","source_port":4,"dest_port":3306,"service":"mysql","threat_type":"database_attack","description":"union","risk_level":8,"action":"alert"}"#,
        "legacy Alert high exploit 192.0.2.3 4 -> 10.0.0.1 3306 user= stopped=false",
    );
}

#[test]
fn the_journal_has_numbers_as_text_and_text_as_bytes() {
    check(
        r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1700000000000000","PRIORITY":"6","SYSLOG_IDENTIFIER":"sshd","_HOSTNAME":"h","MESSAGE":"Failed password for root from 192.0.2.7 port 22 ssh2"}"#,
        "journal Login medium bruteforce 192.0.2.7 22 -> - user=root stopped=false",
    );
    let bytes: Vec<u8> =
        b"Failed password for invalid user \xff from 192.0.2.7 port 9 ssh2".to_vec();
    let line = json!({ "MESSAGE": bytes, "SYSLOG_IDENTIFIER": ["sshd", "x"], "PRIORITY": "6" })
        .to_string();
    check(
        &line,
        "journal Login medium bruteforce 192.0.2.7 9 -> - user=\u{fffd} stopped=false",
    );
    check(
        r#"{"MESSAGE":null,"PRIORITY":"3"}"#,
        "journal Log high - - -> - user= stopped=false",
    );
}

#[test]
fn nobody_who_logs_in_can_make_up_an_address() {
    for (text, ip) in [
        (
            "Failed password for invalid user x from 8.8.8.8 port 22 ssh2 from 192.0.2.1 port 55 ssh2",
            "192.0.2.1",
        ),
        (
            "Invalid user root from 8.8.8.8 port 1 from 192.0.2.1 port 55",
            "192.0.2.1",
        ),
        (
            "Received disconnect from 192.0.2.1 port 55:11: bye from 8.8.8.8 port 9",
            "192.0.2.1",
        ),
        (
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=x rhost=8.8.8.8",
            "192.0.2.1",
        ),
        (
            "Bad protocol version identification 'GET from 8.8.8.8 port 1' from 192.0.2.1 port 7",
            "192.0.2.1",
        ),
        (
            "Unable to negotiate with 192.0.2.1 port 7: no matching key. Their offer: a from 8.8.8.8 port 7",
            "192.0.2.1",
        ),
        (
            "Connection closed by invalid user a 8.8.8.8 port 5 192.0.2.1 port 6 [preauth]",
            "192.0.2.1",
        ),
    ] {
        let line = format!("Nov  3 04:12:07 host sshd[811]: {text}");
        let event = parser().parse(&line).unwrap();
        assert_eq!(event.source.ip, Some(ip.parse().unwrap()), "{text}");
    }
}

#[test]
fn logins_and_sudo() {
    let line =
        |text: &str| format!("2025-02-17T21:14:03.881920+01:00 ns3 sshd-session[71244]: {text}");
    check(
        &line("Accepted publickey for deploy from 2001:db8::b3 port 40810 ssh2: ED25519 SHA256:x"),
        "syslog Login info auth 2001:db8::b3 40810 -> - user=deploy stopped=false",
    );
    check(
        &line("Accepted password for root from 192.0.2.1 port 4 ssh2"),
        "syslog Login medium auth 192.0.2.1 4 -> - user=root stopped=false",
    );
    check(
        &line("Failed password for bob from 192.0.2.1 port 4 ssh2"),
        "syslog Login low auth 192.0.2.1 4 -> - user=bob stopped=false",
    );
    check(
        &line("message repeated 3 times: [ Failed password for bob from 192.0.2.1 port 4 ssh2]"),
        "syslog Login high bruteforce 192.0.2.1 4 -> - user=bob stopped=false",
    );
    let sudo = |text: &str| format!("<85>Nov  3 04:12:07 host sudo:    {text}");
    check(
        &sudo("bob : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/bash"),
        "syslog Log low privilege - -> - user=bob stopped=false",
    );
    check(
        &sudo("bob : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls"),
        "syslog Log high privilege - -> - user=bob stopped=false",
    );
    check(
        &sudo("bob : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/echo user NOT in sudoers"),
        "syslog Log info auth - -> - user=bob stopped=false",
    );
    let event = parser();
    drop(event);
    let binding = line("Accepted password for root from 192.0.2.1 port 4 ssh2");
    assert_eq!(
        parser().parse(&binding).unwrap().outcome,
        Some(Outcome::Success)
    );
}

#[test]
fn the_kernel_and_what_only_looks_like_it() {
    check(
        "[ 40911.551230] EXT4-fs error (device sda2): x",
        "syslog Kernel critical hardware - -> - user= stopped=false",
    );
    check(
        "Nov  3 04:12:07 host kernel: [1.5] Out of memory: Killed process 12 (x)",
        "syslog Kernel high resource - -> - user= stopped=false",
    );
    check(
        "Nov  3 04:12:07 fw kernel: [12.000001] [UFW BLOCK] IN=eth0 OUT= MAC=00 SRC=198.51.100.7 DST=10.0.0.1 LEN=60 TTL=1 PROTO=TCP SPT=555 DPT=23 WINDOW=1",
        "syslog Drop low network 198.51.100.7 555 -> 10.0.0.1 23 user= stopped=true",
    );
    check(
        "Nov  3 04:12:07 host app[1]: Kernel panic - not syncing",
        "syslog Log - - - -> - user= stopped=false",
    );
    check(
        "systemd[1]: Failed to start x.service",
        "text Log high service - -> - user= stopped=false",
    );
}

#[test]
fn web_servers() {
    check(
        r#"203.0.113.5 - bob [10/Oct/2023:13:55:36 -0700] "GET /a b?c=\"d\" HTTP/1.1" 404 123 "-" "Mozilla/5.0 (\"x\")""#,
        "access Http info web 203.0.113.5 -> - user=bob stopped=false",
    );
    check(
        r#"www.example.org:443 2001:db8::9 - - [10/Oct/2023:13:55:36 +0000] "POST /x HTTP/2.0" 500 0"#,
        "access Http medium web 2001:db8::9 -> - user= stopped=false",
    );
    check(
        r#"203.0.113.5 - - [10/Oct/2023:13:55:36 +0000] "\x16\x03\x01\x00" 400 157 "-" "-""#,
        "access Http low web 203.0.113.5 -> - user= stopped=false",
    );
    let line = r#"203.0.113.5 - - [10/Oct/2023:13:55:36 +0000] "GET /a?x=HTTP/1.1 HTTP/1.1" 200 1 "http://r/" "ua""#;
    let event = parser().parse(line).unwrap();
    let http = event.http.unwrap();
    assert_eq!(
        (&*http.method, &*http.url, &*http.agent, &*http.referrer),
        ("GET", "/a?x=HTTP/1.1", "ua", "http://r/")
    );
}

#[test]
fn any_other_json_by_the_usual_names_or_a_mapping() {
    check(
        r#"{"@timestamp":"2024-01-01T00:00:00Z","source":{"ip":"192.0.2.1","port":7},"destination":{"ip":"10.0.0.1"},"user":{"name":"eve"},"log":{"level":"error"},"event":{"category":["network"]}}"#,
        "json Other high network 192.0.2.1 7 -> 10.0.0.1 user=eve stopped=false",
    );
    let mapping = Mapping::of_toml("\"source.ip\" = [\"/none\", \"/peer/0\"]").unwrap();
    let event_line = r#"{"peer":["192.0.2.8"],"msg":"hi"}"#;
    let mut parser = parser().mapping(mapping);
    let event = parser.parse(event_line).unwrap();
    assert_eq!(event.source.ip, Some("192.0.2.8".parse().unwrap()));
    assert_eq!(event.message, "hi");
    let mapping = Mapping::of_toml("\"message\" = \"/a~1b/c~0d\"").unwrap();
    let mut parser = self::parser().mapping(mapping);
    let event = parser.parse(r#"{"a/b":{"c~d":"hi"}}"#).unwrap();
    assert_eq!(event.message, "hi");
    for wrong in [
        "x",
        "\"nope\" = \"/a\"",
        "\"message\" = \"a\"",
        "\"message\" = 1",
    ] {
        assert!(Mapping::of_toml(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_stream_may_change_its_format_in_every_line() {
    let mut parser = parser();
    for (line, format) in [
        (ALERT, Format::Eve),
        (r#"{"a":1}"#, Format::Json),
        ("hello", Format::Text),
        (ALERT, Format::Eve),
        (r#"{"MESSAGE":"x"}"#, Format::Journal),
        (
            "<13>1 2024-01-01T00:00:00Z h app 1 id [a b=\"]\"] text",
            Format::Syslog,
        ),
    ] {
        assert_eq!(parser.parse(line).unwrap().format, format, "{line}");
    }
}

#[test]
fn what_is_no_event_is_said_and_nothing_panics() {
    for line in [
        "",
        "   ",
        "{",
        "{\"event_type\":\"alert\"",
        "{\"a\":}",
        "{]",
    ] {
        assert!(parser().parse(line).is_err(), "{line}");
    }
    // Every beginning of every line, and every line with a byte gone.
    for line in [
        ALERT,
        "Nov  3 04:12:07 h sshd[8]: Failed password for é from 1.2.3.4 port 5 ssh2",
        "203.0.113.5 - - [10/Oct/2023:13:55:36 +0000] \"GET é HTTP/1.1\" 200 1 \"-\" \"é\\\"",
        "<13>1 2024-01-01T00:00:00Z h a 1 i [a b=\"\\é\"] t",
        "[ 1.5] é IN=e OUT= SRC=é DST=1 PROTO=",
    ] {
        for (at, _) in line.char_indices() {
            let _ = parser().parse(&line[..at]);
            let rest = &line[at..];
            let mut without: String = line[..at].to_owned();
            without.extend(rest.chars().skip(1));
            let _ = parser().parse(&without);
            let _ = parser().parse(rest);
        }
    }
    let wrong = parser().only(Format::Eve).parse("x").unwrap_err();
    assert!(matches!(wrong, ParseError::Format(Format::Eve)));
}

/// Names of users, keys and sites are what clients want them to be.
#[test]
fn addresses_in_names_make_nobody_an_attacker() {
    let sshd = "Jan  5 10:00:00 web1 sshd[1]: ";
    let real = Some("203.0.113.9");
    for (text, wanted) in [
        (
            "Failed password for x from 8.8.8.8 port 22 ssh2 from 203.0.113.9 port 4022 ssh2",
            real,
        ),
        ("Invalid user a from 8.8.8.8 port 22 from 203.0.113.9", real),
        (
            "Invalid user a from 8.8.8.8 from 203.0.113.9 port 4022",
            real,
        ),
        (
            "Failed publickey for root from 203.0.113.9 port 4022 ssh2: ED25519 SHA256:abc",
            real,
        ),
        (
            "Failed publickey for root from 203.0.113.9 port 4022 ssh2: ED25519-CERT SHA256:abc ID me (serial 0) CA RSA SHA256:def",
            real,
        ),
        // Which of them is sshd's, nobody can tell.
        (
            "Failed publickey for root from 203.0.113.9 port 4022 ssh2: ED25519-CERT SHA256:abc ID x from 8.8.8.8 port 22 (serial 0) CA RSA SHA256:def",
            None,
        ),
        (
            "maximum authentication attempts exceeded for invalid user x from 203.0.113.9 port 4022 ssh2 [preauth]",
            real,
        ),
        (
            "Disconnecting invalid user x 203.0.113.9 port 4022: Too many authentication failures [preauth]",
            real,
        ),
        (
            "Disconnecting authenticating user x 203.0.113.9 port 4022: Change of username or service not allowed: (a,b) -> (c 8.8.8.8 port 1,d) [preauth]",
            None,
        ),
    ] {
        let line = format!("{sshd}{text}");
        let event = parser().parse(&line).unwrap();
        assert_eq!(
            event.source.ip,
            wanted.map(|ip| ip.parse().unwrap()),
            "{text}"
        );
    }
    let request = "[05/Jan/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 1";
    for (front, wanted) in [
        ("203.0.113.9 - -", real),
        ("203.0.113.9 - 8.8.8.8 and more", real),
        ("shop.example:443 203.0.113.9 - anna", real),
        ("8.8.8.8 203.0.113.9 - -", real),
        ("8.8.8.8 203.0.113.9 - a b", real),
        ("203.0.113.9 8.8.8.8.example -", None),
        (
            "2026-01-05T10:00:00Z 8.8.8.8 sshd[1]: Failed password for invalid user x -",
            None,
        ),
    ] {
        let line = format!("{front} {request}");
        let event = parser().parse(&line).unwrap();
        assert_eq!(
            event.source.ip,
            wanted.map(|ip| ip.parse().unwrap()),
            "{front}"
        );
    }
    // A line that nobody vouches for: a text, and one of a user in the journal.
    let guess = "Failed password for root from 8.8.8.8 port 22 ssh2";
    let journal = |uid: &str| {
        format!(
            r#"{{"__REALTIME_TIMESTAMP":"1767607200000000","SYSLOG_IDENTIFIER":"sshd","_COMM":"logger","_UID":"{uid}","MESSAGE":"{guess}"}}"#
        )
    };
    for (line, wanted) in [
        (format!("sshd[1]: {guess}"), None),
        (journal("1000"), None),
        (journal("0"), Some("8.8.8.8")),
    ] {
        let event = parser().parse(&line).unwrap();
        assert_eq!(
            event.source.ip,
            wanted.map(|ip| ip.parse().unwrap()),
            "{line}"
        );
    }
}

/// Each level of a list would be a call within a call.
#[test]
fn lists_within_lists_are_no_text() {
    let line = |message: &str| format!(r#"{{"MESSAGE":{message}}}"#);
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for (message, wanted) in [
        (&*deep, ""),
        (r#"[["a"]]"#, ""),
        (r#"[[97,98],"c"]"#, "ab"),
        (r#"["a","b"]"#, "a"),
    ] {
        let line = line(message);
        assert_eq!(parser().parse(&line).unwrap().message, wanted);
    }
}

/// The first time of a stream is taken as it is.
#[test]
fn a_time_beyond_all_calendars_is_none() {
    for (number, known) in [
        ("1767607200000000", true),
        ("922337203685477580700", false),
        ("-9223372036854775808", false),
        ("1e400", false),
        ("NaN", false),
    ] {
        let line = format!(r#"{{"__REALTIME_TIMESTAMP":"{number}","MESSAGE":"x"}}"#);
        assert_eq!(
            parser().parse(&line).unwrap().time.is_some(),
            known,
            "{number}"
        );
    }
}

#[test]
fn the_kernel_by_its_own_device() {
    let line = "3,339,5140900,-;EXT4-fs error (device sda1): ext4_find_entry:1455: inode #2";
    check(
        line,
        "syslog Kernel critical hardware - -> - user= stopped=false",
    );
    let event = parser().parse(line).unwrap();
    assert_eq!(event.process, "kernel");
    assert!(event.message.starts_with("EXT4-fs error"));
    // Written to it by a program; and what only looks like it.
    let own = "30,340,5140901,-;systemd[1]: Started x.";
    assert_eq!(parser().parse(own).unwrap().process, "");
    assert_eq!(parser().parse("3,339;x").unwrap().format, Format::Text);
}
