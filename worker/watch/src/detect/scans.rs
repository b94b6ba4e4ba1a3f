//! Looking for what is there: hosts, ports, pages.

use super::window::{Alarm, Distinct};
use super::{Finding, Thresholds, hash};
use crate::event::{Category, Event, Http, Kind, Severity};
use crate::time::Timestamp;

const WINDOW_S: u32 = 60;

#[derive(Debug, Default)]
pub(super) struct Scans {
    hosts: Alarm<Distinct>,
    ports: Alarm<Distinct>,
    pages: Alarm<Distinct>,
}

impl Scans {
    /// Connections in vain: dropped, or never answered.
    pub(super) fn flow(
        &mut self,
        event: &Event<'_>,
        now: Timestamp,
        thresholds: &Thresholds,
        found: &mut Vec<Finding<'_>>,
    ) {
        let vain = event.kind == Kind::Drop || (event.transport == "TCP" && !event.answered);
        if !vain {
            return;
        }
        if let Some(port) = event.destination.port {
            let ports = self.ports.add(now, WINDOW_S, thresholds.ports, hash(&port));
            found.extend(ports.map(|ports| recon(event, "scan of ports", ports, thresholds.ports)));
        }
        if let Some(ip) = event.destination.ip {
            let hosts = self.hosts.add(now, WINDOW_S, thresholds.hosts, hash(&ip));
            found.extend(hosts.map(|hosts| recon(event, "scan of hosts", hosts, thresholds.hosts)));
        }
    }

    /// Pages that are not there or not allowed.
    pub(super) fn pages(
        &mut self,
        event: &Event<'_>,
        http: &Http<'_>,
        now: Timestamp,
        threshold: u32,
        found: &mut Vec<Finding<'_>>,
    ) {
        if !matches!(http.status, 400..=498) {
            return;
        }
        let path = http.url.split('?').next().unwrap_or_default();
        let pages = self.pages.add(now, WINDOW_S, threshold, hash(&path));
        found.extend(pages.map(|pages| recon(event, "search for pages", pages, threshold)));
    }
}

fn recon<'e>(event: &Event<'_>, rule: &'static str, count: u32, threshold: u32) -> Finding<'e> {
    let severity = if count >= threshold.saturating_mul(4) {
        Severity::High
    } else {
        Severity::Medium
    };
    Finding::of(event, rule, severity, Category::Recon).counted(count)
}
