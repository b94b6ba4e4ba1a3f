//! Looking for what is there: hosts, ports, pages.

use super::window::{Distinct, Trip};
use super::{Finding, Thresholds, hash};
use crate::event::{Category, Event, Http, Kind, Severity};
use crate::time::Timestamp;

const WINDOW_S: u32 = 60;

#[derive(Debug, Default)]
pub(super) struct Scans {
    hosts: Distinct,
    hosts_trip: Trip,
    ports: Distinct,
    ports_trip: Trip,
    pages: Distinct,
    pages_trip: Trip,
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
            let ports = self.ports.add(now, WINDOW_S, hash(&port));
            if self
                .ports_trip
                .trips(ports, thresholds.ports, now, WINDOW_S)
            {
                found.push(
                    Finding::of(
                        event,
                        "scan of ports",
                        severity(ports, thresholds.ports),
                        Category::Recon,
                    )
                    .counted(ports),
                );
            }
        }
        if let Some(ip) = event.destination.ip {
            let hosts = self.hosts.add(now, WINDOW_S, hash(&ip));
            if self
                .hosts_trip
                .trips(hosts, thresholds.hosts, now, WINDOW_S)
            {
                found.push(
                    Finding::of(
                        event,
                        "scan of hosts",
                        severity(hosts, thresholds.hosts),
                        Category::Recon,
                    )
                    .counted(hosts),
                );
            }
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
        let pages = self.pages.add(now, WINDOW_S, hash(&path));
        if self.pages_trip.trips(pages, threshold, now, WINDOW_S) {
            found.push(
                Finding::of(
                    event,
                    "search for pages",
                    severity(pages, threshold),
                    Category::Recon,
                )
                .counted(pages),
            );
        }
    }
}

fn severity(count: u32, threshold: u32) -> Severity {
    if count >= threshold.saturating_mul(4) {
        Severity::High
    } else {
        Severity::Medium
    }
}
