//! How fast lines go through: `cargo run --release -p fazai-watch --example replay`.
//!
//! A file in the shape of Suricata's `eve.json` is made from a fixed seed and read several times.
//! With `sources`, ten million different addresses come instead, and the memory is shown. A path
//! as the second argument keeps the file.
#![expect(
    clippy::unwrap_used,
    reason = "a measurement ends at the first surprise"
)]

use std::fmt::Write as _;
use std::time::Instant;

use fazai_watch::detect::Thresholds;
use fazai_watch::format::Parser;
use fazai_watch::signature::Signatures;
use fazai_watch::time::Clock;
use fazai_watch::{Place, Severity, Watch};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const LINES: usize = 500_000;
const ROUNDS: usize = 7;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("sources") => sources(),
        Some("write") => std::fs::write(arguments.next().unwrap(), make(LINES)).unwrap(),
        _ => speed(),
    }
}

fn speed() {
    let text = make(LINES);
    let lines: Vec<&str> = text.lines().collect();
    println!(
        "{} lines, {} bytes each",
        lines.len(),
        text.len() / lines.len()
    );
    measure("parse", lines.len(), text.len(), || {
        let mut parser = Parser::new(Clock::of_machine());
        for line in &lines {
            std::hint::black_box(parser.parse(line).unwrap());
        }
    });
    measure("parse, filters, grouping", lines.len(), text.len(), || {
        let mut watch = watch();
        for (at, line) in lines.iter().enumerate() {
            watch.line(
                Place {
                    source: 0,
                    at: at as u64,
                },
                line.as_bytes(),
            );
        }
        std::hint::black_box(watch.take_incidents(Severity::Low));
    });
    let mut watch = watch();
    let mut slowest = Vec::with_capacity(lines.len());
    for (at, line) in lines.iter().enumerate() {
        let began = Instant::now();
        watch.line(
            Place {
                source: 0,
                at: at as u64,
            },
            line.as_bytes(),
        );
        slowest.push(began.elapsed());
    }
    slowest.sort();
    let incidents = watch.take_incidents(Severity::Low);
    println!("{:?}, {} incidents", watch.stats(), incidents.len());
    println!(
        "one line: median {:?}, p99 {:?}, worst {:?}",
        slowest[slowest.len() / 2],
        slowest[slowest.len() / 100 * 99],
        slowest.last()
    );
}

fn watch() -> Watch {
    Watch::new(
        Clock::of_machine(),
        Thresholds::default(),
        Signatures::default(),
    )
}

fn measure(name: &str, lines: usize, bytes: usize, mut work: impl FnMut()) {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = busy();
            work();
            busy() - began
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let rate = |time: f64| lines as f64 / time;
    let middle = times[ROUNDS / 2];
    println!(
        "{name}: {:.0} lines/s ({:.0} to {:.0}), {:.0} MB/s",
        rate(middle),
        rate(times[ROUNDS - 1]),
        rate(times[0]),
        bytes as f64 / middle / 1e6
    );
}

/// Seconds of this thread on a processor: others may use the machine too.
fn busy() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Ten million sources, each with a connection in vain and one in ten with an alert.
fn sources() {
    let mut watch = watch();
    let began = Instant::now();
    let mut line = String::new();
    for n in 0..10_000_000u32 {
        line.clear();
        let [a, b, c, d] = (n.wrapping_mul(2_654_435_761) | 1 << 30).to_be_bytes();
        let kind = if n % 10 == 0 {
            r#""event_type":"alert","alert":{"action":"allowed","signature_id":9,"signature":"ET SCAN y","category":"Detection of a Network Scan","severity":2}"#
        } else {
            r#""event_type":"flow","flow":{"pkts_toserver":1,"pkts_toclient":0,"bytes_toserver":60,"bytes_toclient":0}"#
        };
        let second = n / 100_000;
        write!(line, r#"{{"timestamp":"2025-06-01T10:{:02}:{:02}.000000+0000","src_ip":"{a}.{b}.{c}.{d}","src_port":4000,"dest_ip":"10.0.0.5","dest_port":{},"proto":"TCP",{kind}}}"#, second / 60, second % 60, n % 1_000).unwrap();
        watch.line(
            Place {
                source: 0,
                at: n.into(),
            },
            line.as_bytes(),
        );
    }
    let took = began.elapsed();
    let incidents = watch.take_incidents(Severity::Low);
    println!(
        "{:?} in {took:?}, {} incidents",
        watch.stats(),
        incidents.len()
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!(
        "{}",
        status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap()
    );
}

/// Lines as a busy sensor writes them: mostly connections and names, some requests, few alerts.
fn make(lines: usize) -> String {
    let mut rng = StdRng::seed_from_u64(1);
    let mut text = String::new();
    for n in 0..lines {
        let second = n / 2_000;
        let inside = format!(
            "10.0.{}.{}",
            rng.random_range(0..4),
            rng.random_range(1..250)
        );
        let outside = format!(
            "{}.{}.{}.{}",
            rng.random_range(11..99),
            rng.random_range(0..255),
            rng.random_range(0..255),
            rng.random_range(1..255)
        );
        let port = rng.random_range(1024..65_000);
        let flow: u64 = rng.random_range(0..u64::MAX >> 8);
        write!(text, r#"{{"timestamp":"2025-06-01T10:{:02}:{:02}.{:06}+0000","flow_id":{flow},"in_iface":"eth0","#, second / 60 % 60, second % 60, n % 1_000_000).unwrap();
        let bytes = rng.random_range(60..90_000);
        match rng.random_range(0..100) {
            0..45 => writeln!(text, r#""event_type":"flow","src_ip":"{inside}","src_port":{port},"dest_ip":"{outside}","dest_port":443,"proto":"TCP","app_proto":"tls","flow":{{"pkts_toserver":12,"pkts_toclient":14,"bytes_toserver":{bytes},"bytes_toclient":{bytes},"start":"2025-06-01T10:00:00.000000+0000","end":"2025-06-01T10:00:20.000000+0000","age":20,"state":"closed","reason":"timeout","alerted":false}},"community_id":"1:LQU9qZlK+B5F3KDmev6m5PMibrg=","tcp":{{"tcp_flags":"1b","tcp_flags_ts":"1b","tcp_flags_tc":"1b","syn":true,"fin":true,"psh":true,"ack":true,"state":"closed"}}}}"#),
            45..75 => writeln!(text, r#""event_type":"dns","src_ip":"{inside}","src_port":{port},"dest_ip":"10.0.0.53","dest_port":53,"proto":"UDP","pkt_src":"wire/pcap","dns":{{"version":2,"type":"answer","id":{},"flags":"8180","qr":true,"rd":true,"ra":true,"opcode":0,"rrname":"host{}.example.com","rrtype":"A","rcode":"NOERROR","answers":[{{"rrname":"host.example.com","rrtype":"A","ttl":300,"rdata":"{outside}"}}],"grouped":{{"A":["{outside}"]}}}}}}"#, port / 2, port % 500),
            75..87 => writeln!(text, r#""event_type":"tls","src_ip":"{inside}","src_port":{port},"dest_ip":"{outside}","dest_port":443,"proto":"TCP","tls":{{"sni":"www{}.example.org","version":"TLS 1.3","ja3":{{"hash":"e7d705a3286e19ea42f587b344ee6865","string":"771,4865-4866-4867,0-23-65281"}},"ja3s":{{"hash":"eb1d94daa7e0344597e756a1fb6e7054"}}}}}}"#, port % 300),
            87..98 => writeln!(text, r#""event_type":"http","src_ip":"{outside}","src_port":{port},"dest_ip":"10.0.0.5","dest_port":80,"proto":"TCP","tx_id":0,"http":{{"hostname":"shop.example.net","url":"/products/{}?sort=price&page={}","http_user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0","http_content_type":"text/html","http_method":"GET","protocol":"HTTP/1.1","status":200,"length":{bytes}}}}}"#, port % 900, port % 9),
            _ => writeln!(text, r#""event_type":"alert","src_ip":"185.220.101.{}","src_port":{port},"dest_ip":"10.0.0.5","dest_port":80,"proto":"TCP","alert":{{"action":"allowed","gid":1,"signature_id":{},"rev":3,"signature":"ET SCAN Suspicious inbound {}","category":"Potentially Bad Traffic","severity":2,"metadata":{{"signature_severity":["Informational"],"created_at":["2010_07_30"]}}}},"flow":{{"pkts_toserver":3,"pkts_toclient":2,"bytes_toserver":230,"bytes_toclient":120,"start":"2025-06-01T10:00:00.000000+0000"}},"payload_printable":"GET / HTTP/1.1"}}"#, port % 40, 2_010_000 + port % 50, port % 50),
        }
        .unwrap();
    }
    text
}
