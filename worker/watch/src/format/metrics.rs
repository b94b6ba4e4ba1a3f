//! Measurements of a machine, as Metricbeat writes them and [`Metrics`](crate::input::Metrics).

use serde::Deserialize;

use super::text::Text;
use crate::event::{Category, Event, Kind, Measured, Metric};
use crate::time::Clock;

pub(super) const KNOWN: &[&str] = &["@timestamp", "host", "event", "system"];

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "@timestamp", borrow)]
    time: Option<Text<'a>>,
    #[serde(borrow)]
    host: Option<Host<'a>>,
    #[serde(borrow)]
    system: System<'a>,
}

#[derive(Deserialize)]
struct Host<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
}

#[derive(Deserialize)]
struct System<'a> {
    cpu: Option<Cpu>,
    memory: Option<Memory>,
    load: Option<Load>,
    #[serde(borrow)]
    filesystem: Option<FileSystem<'a>>,
}

#[derive(Deserialize)]
struct Cpu {
    total: Norm,
}

#[derive(Deserialize)]
struct Norm {
    norm: Share,
}

#[derive(Deserialize)]
struct Share {
    pct: f64,
}

#[derive(Deserialize)]
struct Memory {
    actual: Used,
}

#[derive(Deserialize)]
struct Used {
    used: Share,
}

#[derive(Deserialize)]
struct Load {
    norm: One,
}

#[derive(Deserialize)]
struct One {
    #[serde(rename = "1")]
    one: f64,
}

#[derive(Deserialize)]
struct FileSystem<'a> {
    #[serde(borrow)]
    mount_point: Text<'a>,
    used: Share,
}

pub(super) fn read<'a>(line: &'a str, clock: &Clock) -> Option<Event<'a>> {
    let line: Line<'a> = serde_json::from_str(line).ok()?;
    let System {
        cpu,
        memory,
        load,
        filesystem,
    } = line.system;
    let cpu = cpu.map(|cpu| (Measured::Cpu, cpu.total.norm.pct));
    let memory = memory.map(|memory| (Measured::Memory, memory.actual.used.pct));
    let load = load.map(|load| (Measured::Load, load.norm.one));
    let disk = filesystem.map(|disk| (disk.mount_point.0, disk.used.pct));
    let (what, share, of) = match (cpu.or(memory).or(load), disk) {
        (Some((what, share)), _) => (what, share, None),
        (None, Some((of, share))) => (Measured::Disk, share, Some(of)),
        (None, None) => return None,
    };
    // Of a million percent nothing is known.
    if !(0.0..=10_000.0).contains(&share) {
        return None;
    }
    let name = what.name();
    let process = of.map_or(name.into(), |of| format!("{name} {of}").into());
    let percent = share * 100.0;
    Some(Event {
        time: line.time.and_then(|time| clock.iso(&time.0)),
        kind: Kind::Metric,
        category: Some(Category::Resource),
        message: format!("{process}: {percent:.1} %").into(),
        process,
        host: line.host.map(|host| host.name.0).unwrap_or_default(),
        metric: Some(Metric { what, percent }),
        ..Event::default()
    })
}
