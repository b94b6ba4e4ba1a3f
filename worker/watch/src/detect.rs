//! From events to findings. All that is remembered between events is in tables of fixed size: a
//! flood of sources makes them forget, never grow.
//!
//! What is approximate: windows slide in two parts, different things are counted by bits
//! ([`window`]), and what a full [`table`] gave up is counted anew. All three count rather too low
//! than too high, except that bits may be off by a tenth.

mod beacon;
mod content;
mod logins;
mod metrics;
mod scans;
pub(crate) mod table;
mod traffic;
mod unknown;
pub(crate) mod window;

use std::borrow::Cow;
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::OnceLock;

use foldhash::quality::FixedState;
use serde::Deserialize;

use self::window::{Alarm, Rate};
use crate::event::{Category, Event, Kind, Severity};
use crate::signature::Signatures;
use crate::time::Timestamp;

/// When counters speak up. The defaults suit a small network.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Sources that are counted exactly.
    pub sources_max: usize,
    /// Failed logins of a source in two minutes: guessing.
    pub failures: u32,
    /// Failed logins at a host in five minutes, from whatever sources.
    pub failures_of_host: u32,
    /// Different hosts that a source tries in vain in a minute.
    pub hosts: u32,
    /// Different ports that a source tries in vain in a minute.
    pub ports: u32,
    /// Different pages that a source asks for in vain in a minute.
    pub pages: u32,
    /// Connections of a source in ten seconds.
    pub connections: u32,
    /// Requests of a source in ten seconds.
    pub requests: u32,
    /// Connections to a host in ten seconds.
    pub connections_to_host: u32,
    /// Connections at equal intervals that make a beacon.
    pub beacons: u32,
    /// Bytes that a connection may send out.
    pub upload_bytes: u64,
    /// How busy processors may be, in percent; for this and the next ones 0 stands for never.
    pub cpu_percent: u32,
    /// By how many points that may rise in five to ten minutes.
    pub cpu_rise: u32,
    /// How much of the memory may be taken, in percent.
    pub memory_percent: u32,
    /// By how many points that may rise.
    pub memory_rise: u32,
    /// How full a file system may be, in percent.
    pub disk_percent: u32,
    /// By how many points that may rise.
    pub disk_rise: u32,
    /// The load: 100 is a process for each processor.
    pub load_percent: u32,
    /// By how many points that may rise.
    pub load_rise: u32,
    /// Processors and load may be over their thresholds for so many seconds.
    pub sustained_s: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            sources_max: 131_072,
            failures: 5,
            failures_of_host: 100,
            hosts: 25,
            ports: 20,
            pages: 20,
            connections: 2_000,
            requests: 1_000,
            connections_to_host: 20_000,
            beacons: 12,
            upload_bytes: 100_000_000,
            cpu_percent: 95,
            cpu_rise: 0,
            memory_percent: 95,
            memory_rise: 30,
            disk_percent: 90,
            disk_rise: 10,
            load_percent: 400,
            load_rise: 800,
            sustained_s: 300,
        }
    }
}

/// What a detector noticed about an event.
#[derive(Debug, Clone)]
pub(crate) struct Finding<'e> {
    pub(crate) rule: Cow<'e, str>,
    pub(crate) severity: Severity,
    pub(crate) category: Category,
    /// Whether the rules understand it.
    pub(crate) clear: bool,
    pub(crate) actor: Option<IpAddr>,
    pub(crate) peer: Option<IpAddr>,
    /// What a counter stood at.
    pub(crate) counter: Option<u32>,
    pub(crate) rare: bool,
    /// Whether both sides spoke in what it is about.
    pub(crate) answered: bool,
}

impl<'e> Finding<'e> {
    fn of(
        event: &Event<'_>,
        rule: impl Into<Cow<'e, str>>,
        severity: Severity,
        category: Category,
    ) -> Self {
        Self {
            rule: rule.into(),
            severity,
            category,
            clear: true,
            actor: event.source.ip,
            peer: event.destination.ip,
            counter: None,
            rare: false,
            answered: event.answered,
        }
    }

    fn counted(mut self, counter: u32) -> Self {
        self.counter = Some(counter);
        self
    }
}

/// All detectors.
#[derive(Debug)]
pub(crate) struct Detectors {
    thresholds: Thresholds,
    signatures: Signatures,
    sources: table::Table<IpAddr, Source>,
    hosts: table::Table<u64, Host>,
    beacons: beacon::Beacons,
    alerts: traffic::Alerts,
    unknown: unknown::Unknown,
    destinations: traffic::Destinations,
    metrics: metrics::Metrics,
}

/// What is remembered of a source.
#[derive(Debug, Default)]
struct Source {
    logins: logins::Logins,
    scans: scans::Scans,
    traffic: traffic::Traffic,
}

/// What is remembered of a host that is reached.
#[derive(Debug, Default)]
struct Host {
    failures: Alarm<Rate>,
    connections: Alarm<Rate>,
}

impl Detectors {
    pub(crate) fn new(thresholds: Thresholds, signatures: Signatures) -> Self {
        Self {
            sources: table::Table::new(thresholds.sources_max),
            hosts: table::Table::new(thresholds.sources_max / 4),
            beacons: beacon::Beacons::default(),
            alerts: traffic::Alerts::default(),
            unknown: unknown::Unknown::default(),
            destinations: traffic::Destinations::default(),
            metrics: metrics::Metrics::default(),
            thresholds,
            signatures,
        }
    }

    /// Sources that are remembered, and how many were given up.
    pub(crate) fn sources(&self) -> (usize, u64) {
        (self.sources.len(), self.sources.forgotten)
    }

    /// Looks at an event of the time `now`.
    pub(crate) fn look<'e>(
        &mut self,
        event: &'e Event<'_>,
        now: Timestamp,
        found: &mut Vec<Finding<'e>>,
    ) {
        match event.kind {
            Kind::Alert | Kind::Decision => self.alert(event, now, found),
            Kind::Login => self.login(event, now, found),
            Kind::Http => self.http(event, now, found),
            Kind::Flow | Kind::Drop => self.flow(event, now, found),
            Kind::Dns | Kind::Tls | Kind::File | Kind::Ssh => content::look(event, found),
            Kind::Metric => {
                if let Some(metric) = event.metric {
                    self.metrics
                        .look(event, metric, now, &self.thresholds, found);
                }
            }
            Kind::Kernel | Kind::Log | Kind::Other | Kind::Anomaly => {
                self.unknown.look(event, now, found);
            }
        }
        if event.kind == Kind::Tls {
            self.beacons
                .look(event, now, self.thresholds.beacons, found);
        }
    }

    fn alert<'e>(&mut self, event: &'e Event<'_>, now: Timestamp, found: &mut Vec<Finding<'e>>) {
        let severity = event.severity.unwrap_or(Severity::Low);
        let rule = event.rule.as_ref();
        let name = rule.map_or("alert", |rule| {
            if rule.name.is_empty() {
                &rule.id
            } else {
                &rule.name
            }
        });
        let rare = self.alerts.look(event, name, now, found);
        if severity > Severity::Info {
            let category = event.category.unwrap_or(Category::Network);
            let mut finding = Finding::of(event, name, severity, category);
            finding.rare = rare;
            found.push(finding);
        }
        // An alert on a request does not take the request's place.
        if let Some(http) = &event.http {
            content::request(event, http, &self.signatures, found);
        }
    }

    fn login<'e>(&mut self, event: &'e Event<'_>, now: Timestamp, found: &mut Vec<Finding<'e>>) {
        if let Some(ip) = event.source.ip {
            let source = self.sources.entry(network(ip));
            source
                .logins
                .look(event, now, self.thresholds.failures, found);
        }
        let host = self
            .hosts
            .entry(hash(&(&*event.host, event.destination.ip)));
        logins::at_host(host, event, now, self.thresholds.failures_of_host, found);
        if found.is_empty() && event.severity > Some(Severity::Low) {
            logins::single(event, found);
        }
    }

    fn http<'e>(&mut self, event: &'e Event<'_>, now: Timestamp, found: &mut Vec<Finding<'e>>) {
        let Some(http) = &event.http else { return };
        content::request(event, http, &self.signatures, found);
        if let Some(ip) = event.source.ip {
            let source = self.sources.entry(network(ip));
            source
                .scans
                .pages(event, http, now, self.thresholds.pages, found);
            source
                .traffic
                .requests(event, now, self.thresholds.requests, found);
        }
    }

    fn flow<'e>(&mut self, event: &'e Event<'_>, now: Timestamp, found: &mut Vec<Finding<'e>>) {
        let Some(ip) = event.source.ip else { return };
        let source = self.sources.entry(network(ip));
        source.scans.flow(event, now, &self.thresholds, found);
        source
            .traffic
            .connections(event, now, self.thresholds.connections, found);
        if let Some(destination) = event.destination.ip {
            let host = self.hosts.entry(hash(&destination));
            traffic::to_host(host, event, now, self.thresholds.connections_to_host, found);
        }
        if event.kind == Kind::Flow {
            self.beacons
                .look(event, now, self.thresholds.beacons, found);
            self.destinations.look(event, now, found);
            content::upload(event, self.thresholds.upload_bytes, found);
        }
    }
}

/// Whether an address is not one of the internet's.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Who counts as one: in IPv6 a customer has a whole /64, and an address for each packet.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(whole) => IpAddr::from((u128::from(whole) >> 64 << 64).to_be_bytes()),
    }
}

/// A number that nobody outside knows, so that nobody can choose keys that collide.
pub(crate) fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| std::hash::RandomState::new().hash_one(0))
}

/// Good in every bit, since bits are what different things are counted by.
pub(crate) fn hash(thing: &impl Hash) -> u64 {
    FixedState::with_seed(seed()).hash_one(thing)
}
