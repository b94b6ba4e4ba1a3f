//! Lines that nobody meant to be read: real ones with bytes changed, lost and put in, names that
//! look like the end of a line, and lines that are long and deep.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use fazai_watch::detect::Thresholds;
use fazai_watch::format::Parser;
use fazai_watch::judge::prompt::prompt;
use fazai_watch::signature::Signatures;
use fazai_watch::time::Clock;
use fazai_watch::watch::LINE_BYTES_MAX;
use fazai_watch::{Place, Severity, Watch};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

fn watch() -> Watch {
    let (thresholds, signatures) = (Thresholds::default(), Signatures::default());
    Watch::new(Clock::of_machine(), thresholds, signatures)
}

fn real() -> Vec<&'static str> {
    let lines = include_str!("labelled/lines.txt").lines();
    lines
        .filter_map(|line| line.split_once('\t'))
        .map(|(_, line)| line)
        .collect()
}

const PARTS: &[&str] = &[
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "\0",
    "\u{202e}",
    "é",
    "null",
    "-1",
    "1e999",
    "18446744073709551616",
    "99999-99-99T99:99:99Z",
    "9999-12-31T23:59:59-99:59",
    "Feb 29 23:59:60 ",
    "<191>",
    "message repeated 4294967295 times: [ ",
    " port ",
    " from ",
    "8.8.8.8",
    "::ffff:8.8.8.8",
    "%00",
    "\\ud800",
    "[[[[",
    " SRC=",
    "IN=",
    "-0.0",
    "\t",
];

fn changed(line: &str, rng: &mut StdRng, all: &[&str]) -> Vec<u8> {
    let mut bytes = line.as_bytes().to_vec();
    for _ in 0..rng.random_range(1..6) {
        let from = rng.random_range(0..=bytes.len());
        let to = rng.random_range(from..=bytes.len().min(from + 20));
        let new: Vec<u8> = match rng.random_range(0..4) {
            0 => Vec::new(),
            1 => vec![rng.random()],
            2 => PARTS.choose(rng).unwrap().as_bytes().to_vec(),
            _ => {
                let other = all.choose(rng).unwrap().as_bytes();
                let at = rng.random_range(0..other.len());
                other[at..other.len().min(at + 40)].to_vec()
            }
        };
        bytes.splice(from..to, new);
    }
    bytes
}

#[test]
fn no_line_panics() {
    let real = real();
    let mut rng = StdRng::seed_from_u64(3);
    let mut watch = watch();
    let rounds = std::env::var("FAZAI_HOSTILE_ROUNDS").map_or(500, |text| text.parse().unwrap());
    for at in 0..rounds {
        for line in &real {
            let line = changed(line, &mut rng, &real);
            watch.line(Place { source: 0, at }, &line);
            let text = String::from_utf8_lossy(&line);
            if let Ok(event) = Parser::new(Clock::of_machine()).parse(&text) {
                let _ = event.to_ecs();
            }
        }
        for incident in watch.take_incidents(Severity::Info) {
            let _ = prompt(&incident);
        }
    }
}

/// What a client calls itself, asks for and says at the end makes nobody else the actor.
#[test]
fn names_that_look_like_the_rest_of_a_line_move_no_address() {
    const NAME: &[&str] = &[
        "from",
        "8.8.8.8",
        "port",
        "22",
        "ssh2",
        "ssh2:",
        "[preauth]",
        "for",
        "user",
        "invalid",
        "8.8.8.8:",
        "RSA",
        "SHA256:x",
        "rhost=8.8.8.8",
        "user=x",
        "-",
        "\"",
        "]",
        "[",
        "(",
        ")",
        "port 22 ssh2",
        "from 8.8.8.8 port 22",
        "[05/Jan/2026:10:00:00 +0000]",
        ": Too many authentication failures",
    ];
    let sshd = |text: &str| format!("2026-01-05T10:00:00Z web1 sshd[1]: {text}");
    let access = |text: &str| text.replace("TIME", "[05/Jan/2026:10:00:00 +0000]");
    let carriers = [
        sshd("Failed password for NAME from 203.0.113.9 port 4022 ssh2"),
        sshd("Failed password for invalid user NAME from 203.0.113.9 port 4022 ssh2"),
        sshd("Invalid user NAME from 203.0.113.9 port 4022"),
        sshd("Connection closed by invalid user NAME 203.0.113.9 port 4022 [preauth]"),
        sshd("Disconnected from authenticating user NAME 203.0.113.9 port 4022 [preauth]"),
        sshd("Received disconnect from 203.0.113.9 port 4022:11: NAME [preauth]"),
        sshd("Bad protocol version identification 'NAME' from 203.0.113.9 port 4022"),
        sshd(
            "error: maximum authentication attempts exceeded for invalid user NAME from 203.0.113.9 port 4022 ssh2 [preauth]",
        ),
        sshd(
            "Disconnecting invalid user NAME 203.0.113.9 port 4022: Too many authentication failures [preauth]",
        ),
        sshd(
            "Unable to negotiate with 203.0.113.9 port 4022: no matching host key type found. Their offer: NAME [preauth]",
        ),
        sshd(
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.9  user=NAME",
        ),
        access("203.0.113.9 - NAME TIME \"GET / HTTP/1.1\" 401 1 \"-\" \"-\""),
        access("203.0.113.9 - - TIME \"GET /NAME HTTP/1.1\" 404 1 \"-\" \"NAME\""),
    ];
    let real = "203.0.113.9".parse().ok();
    let mut rng = StdRng::seed_from_u64(4);
    for _ in 0..20_000 {
        let words = rng.random_range(1..8);
        let name: Vec<&str> = (0..words)
            .map(|_| *NAME.choose(&mut rng).unwrap())
            .collect();
        let carrier = carriers.choose(&mut rng).unwrap();
        let line = carrier.replace("NAME", &name.join(" "));
        let event = Parser::new(Clock::of_machine())
            .parse(&line)
            .map(|event| event.source.ip);
        assert!(
            matches!(event, Ok(ip) if ip.is_none() || ip == real),
            "{event:?} {line}"
        );
    }
}

/// As long as a line may be, of what parsers have to look at again and again. Each takes
/// milliseconds, a list of 87,000 events some hundred of them; what took the square of its length
/// would take minutes, and what called itself for each level would end the process.
#[test]
fn long_and_deep_lines_end() {
    let fill = |front: &str, part: &str, back: &str| {
        let room = LINE_BYTES_MAX - front.len() - back.len();
        format!("{front}{}{back}", part.repeat(room / part.len()))
    };
    let eve = r#"{"timestamp":"2026-01-05T10:00:00.000000+0000","event_type":"#;
    let sshd = "2026-01-05T10:00:00Z web1 sshd[1]: ";
    let request = "203.0.113.9 - - [05/Jan/2026:10:00:00 +0000] ";
    let lines = [
        fill("", "\"", ""),
        fill("", "{", ""),
        fill("", "[", ""),
        fill("[", "{},", "{}]"),
        fill("{\"new\":[", "{},", "{}]}"),
        fill("{\"a\":\"", "\\\"", "\"}"),
        fill("{\"a\":\"", "\\u0041", "\"}"),
        fill("", "{\"a\":", ""),
        fill("{\"a\":", "9", "}"),
        fill("{\"a\":0.", "9", "}"),
        fill("{\"a\":1e", "9", "}"),
        fill("{", "\"a\":1,", "\"a\":1}"),
        fill("{\"MESSAGE\":", "[", ""),
        fill("{\"MESSAGE\":[", "[],", "[]]}"),
        fill("{\"MESSAGE\":[", "1,", "1]}"),
        fill("{\"MESSAGE\":[", "\"a\",", "\"a\"]}"),
        format!(
            "{{\"MESSAGE\":{}{}}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        ),
        fill("{\"timestamp\":\"", "9", "\"}"),
        fill(
            &format!("{eve}\"dns\",\"dns\":{{\"queries\":["),
            "{},",
            "{}]}}",
        ),
        fill(
            &format!("{eve}\"http\",\"http\":{{\"url\":\""),
            "union ",
            "\"}}",
        ),
        fill(
            &format!("{eve}\"http\",\"http\":{{\"url\":\""),
            "%25",
            "\"}}",
        ),
        fill(
            &format!(
                "{eve}\"alert\",\"src_ip\":\"203.0.113.9\",\"alert\":{{\"severity\":1,\"signature\":\""
            ),
            "x ",
            "\"}}",
        ),
        fill(sshd, "Failed password for ", ""),
        fill(&format!("{sshd}Failed password for "), " from 8.8.8.8", ""),
        fill(&format!("{sshd}Failed password for "), " port 1", ""),
        fill(&format!("{sshd}Disconnecting "), "8.8.8.8 port ", ""),
        fill(&format!("{sshd}Connection closed by "), " [preauth]", ""),
        fill(&format!("{sshd}message repeated 1 times: [ "), "] ", ""),
        fill("2026-01-05T10:00:00Z web1 sudo: ", " : ", "COMMAND="),
        fill("2026-01-05T10:00:00Z web1 kernel: IN= ", " SRC=", ""),
        fill(
            "2026-01-05T10:00:00Z web1 app: ",
            "Out of memory I/O error ",
            "",
        ),
        fill("2026-01-05T10:00:00", ".1", ""),
        fill("2026-01-05T10:00:00.", "9", "Z web1 app: x"),
        fill(
            "<13>1 2026-01-05T10:00:00Z h a 1 i [a ",
            "b=\"\\\"\" ",
            "] x",
        ),
        fill("<13>1 2026-01-05T10:00:00Z h a 1 i ", "[", ""),
        fill("", "<1", ""),
        fill("", "a: ", ""),
        fill("1,1,1,", ",", ";x"),
        fill(&format!("{request}\""), "\\\"", "\" 200 1"),
        fill(
            &format!("{request}\"GET /"),
            "../",
            " HTTP/1.1\" 200 1 \"-\" \"-\"",
        ),
        fill(
            &format!("{request}\"GET /"),
            "+and+",
            " HTTP/1.1\" 200 1 \"-\" \"-\"",
        ),
        fill("", "1.2.3.4 ", &request[..20]),
        fill("", "ignore%20", ""),
        fill("", "\u{200b}", ""),
    ];
    let mut watch = watch();
    let mut slow = Vec::new();
    for (at, line) in (0..).zip(&lines) {
        let began = std::time::Instant::now();
        watch.line(Place { source: 0, at }, line.as_bytes());
        watch.ask([(Place { source: 0, at }, line.as_bytes())]);
        slow.push((began.elapsed(), &line[..line.floor_char_boundary(90)]));
    }
    slow.sort();
    for (took, line) in slow.iter().rev().take(12) {
        println!("{took:?} {line}");
    }
    assert_eq!(watch.stats().lines, 2 * lines.len() as u64);
}
