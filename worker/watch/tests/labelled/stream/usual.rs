//! What people and programs do who mean no harm.

use std::net::Ipv4Addr;

use rand::Rng;

use super::lines::{eve, flow, get, sshd, syslog};
use super::{DAY_S, Maker, steady};

impl Maker {
    pub(super) fn usual(&mut self) {
        self.connections();
        self.visits();
        self.logins();
        self.programs();
        self.daemons();
    }

    fn connections(&mut self) {
        for _ in 0..20_000 {
            let (time, ip) = (self.some_time(), self.friend());
            let bytes = self.rng.random_range(200..4_000_000);
            let outside = format!("198.51.100.{}", self.rng.random_range(1..200));
            let about = flow(20, bytes / 20, bytes);
            self.say(time, eve(time, "flow", ip, outside, 443, about));
        }
    }

    fn visits(&mut self) {
        const PAGES: &[&str] = &[
            "/",
            "/cart",
            "/search?q=select+a+union+suit",
            "/people/O%27Reilly",
            "/docs/script/alert.html",
        ];
        for n in 0..10_000 {
            let (time, ip) = (self.some_time(), self.friend());
            let page = format!("{}?n={n}", PAGES[n % PAGES.len()]);
            let status = if n % 40 == 0 { 404 } else { 200 };
            let line = get(time, ip, page, status, "Mozilla/5.0 Firefox/128.0");
            self.say(time, line);
        }
    }

    /// People who mistype, and then do not.
    fn logins(&mut self) {
        for _ in 0..300 {
            let (mut time, ip) = (self.some_time(), self.friend());
            let login = |time, how| {
                let text = format!("{how} password for anna from {ip} port 4022 ssh2");
                sshd(time, text)
            };
            for _ in 0..self.rng.random_range(0..3) {
                self.say(time, login(time, "Failed"));
                time += self.rng.random_range(3.0..15.0);
            }
            self.say(time, login(time, "Accepted"));
        }
    }

    fn programs(&mut self) {
        // A monitor that asks every minute, with the clock's unsteadiness.
        let monitor = Ipv4Addr::new(10, 0, 0, 250);
        let minutes = self.unsteady(5.0, 1_440, 60.0, 0.5 / 60.0);
        let asked = |time, _| get(time, monitor, "/health", 200, "check/1.0");
        self.say_at(minutes, asked);
        // A crawler that finds old links, slowly.
        let crawler = self.stranger();
        let agent = "examplebot/2.1 (+https://bot.example)";
        let gone = |time, n| get(time, crawler, format!("/old/{n}"), 404, agent);
        self.say_at(steady(0.0, 400, 200.0), gone);
        // Backups inside, at night.
        let backup = |time, n| {
            let from = format!("10.0.1.{}", 10 + n);
            eve(
                time,
                "flow",
                from,
                "10.0.0.9",
                873,
                flow(900, 60_000_000, 900),
            )
        };
        self.say_at(steady(DAY_S / 12.0, 20, 60.0), backup);
    }

    fn daemons(&mut self) {
        const SAID: &[(&str, &str)] = &[
            (
                "systemd[1]",
                "Started session-4.scope - Session 4 of User anna.",
            ),
            ("CRON[2211]", "(root) CMD (run-parts /etc/cron.hourly)"),
            (
                "kernel",
                "usb 1-1: new high-speed USB device number 5 using xhci_hcd",
            ),
        ];
        for n in 0..3_000 {
            let time = self.some_time();
            let (program, text) = SAID[n % SAID.len()];
            self.say(time, syslog(time, program, text));
        }
    }
}
