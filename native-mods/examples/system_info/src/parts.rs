//! The parts of a report. Texts of the kernel are parsed by functions that tests can call.

use std::collections::BTreeSet;
use std::fs;

use serde::Deserialize;
use serde_json::{Value, json};

/// More mounts than these are left out; a host of containers has thousands.
const DISKS_MAX: usize = 64;

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    Load,
    Memory,
    Disks,
    Uptime,
}

impl Part {
    pub(crate) const ALL: [Self; 4] = [Self::Load, Self::Memory, Self::Disks, Self::Uptime];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Memory => "memory",
            Self::Disks => "disks",
            Self::Uptime => "uptime",
        }
    }

    pub(crate) fn read(self) -> Result<Value, String> {
        let (path, parse): (_, fn(&str) -> Option<Value>) = match self {
            Self::Load => ("/proc/loadavg", load),
            Self::Memory => ("/proc/meminfo", memory),
            Self::Disks => ("/proc/self/mounts", |text| Some(disks(text))),
            Self::Uptime => ("/proc/uptime", uptime),
        };
        let text = fs::read_to_string(path).map_err(|error| {
            format!("cannot read {path}: {error}; may the module read files of /proc?")
        })?;
        parse(&text).ok_or_else(|| format!("{path} has an unknown form: {text:.80?}"))
    }
}

fn load(text: &str) -> Option<Value> {
    let mut words = text.split_whitespace();
    let mut mean = || words.next()?.parse::<f64>().ok();
    let (one, five, fifteen) = (mean()?, mean()?, mean()?);
    let (running, tasks) = words.next()?.split_once('/')?;
    Some(json!({
        "mean_1_min": one,
        "mean_5_min": five,
        "mean_15_min": fifteen,
        "running": running.parse::<u32>().ok()?,
        "tasks": tasks.parse::<u32>().ok()?,
    }))
}

fn memory(text: &str) -> Option<Value> {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib = line.strip_prefix(':')?.trim().strip_suffix(" kB")?;
        kib.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(json!({
        "total_bytes": bytes("MemTotal")?,
        "available_bytes": bytes("MemAvailable")?,
        "free_bytes": bytes("MemFree")?,
        "swap_total_bytes": bytes("SwapTotal")?,
        "swap_free_bytes": bytes("SwapFree")?,
    }))
}

fn uptime(text: &str) -> Option<Value> {
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(json!({ "seconds": seconds }))
}

/// A line of /proc/self/mounts.
#[derive(Debug, PartialEq)]
struct Mount {
    device: String,
    path: String,
    kind: String,
}

/// File systems on devices, each once, as `df -l` counts disks, and the root whatever it is.
fn mounts(text: &str) -> Vec<Mount> {
    let mut seen = BTreeSet::new();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ').map(unescaped);
            Some(Mount {
                device: words.next()?,
                path: words.next()?,
                kind: words.next()?,
            })
        })
        .filter(|mount| mount.device.starts_with('/') || mount.path == "/")
        .filter(|mount| seen.insert(mount.device.clone()))
        .take(DISKS_MAX)
        .collect()
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescaped(word: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .into_iter()
    .fold(word.to_owned(), |word, (code, text)| {
        word.replace(code, text)
    })
}

/// A disk that can't be asked has its error in place of its numbers.
fn disks(text: &str) -> Value {
    let disk = |mount: Mount| {
        let Mount { device, path, kind } = mount;
        match rustix::fs::statvfs(path.as_str()) {
            Ok(stat) => json!({
                "path": path, "device": device, "type": kind,
                "total_bytes": stat.f_blocks.saturating_mul(stat.f_frsize),
                "available_bytes": stat.f_bavail.saturating_mul(stat.f_frsize),
            }),
            Err(error) => json!({
                "path": path, "device": device, "type": kind, "error": error.to_string(),
            }),
        }
    };
    mounts(text).into_iter().map(disk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_kernel() {
        assert_eq!(
            load("2.98 3.29 2.84 3/412 99817\n"),
            Some(json!({
                "mean_1_min": 2.98, "mean_5_min": 3.29, "mean_15_min": 2.84,
                "running": 3, "tasks": 412,
            }))
        );
        assert_eq!(
            uptime("53737.55 91035.47\n"),
            Some(json!({"seconds": 53737.55}))
        );
        let meminfo = "MemTotal:       16 kB\nMemFree:         2 kB\nMemAvailable:    8 kB\n\
                       SwapCached:      7 kB\nSwapTotal:       0 kB\nSwapFree:        0 kB\n";
        assert_eq!(
            memory(meminfo),
            Some(json!({
                "total_bytes": 16384, "available_bytes": 8192, "free_bytes": 2048,
                "swap_total_bytes": 0, "swap_free_bytes": 0,
            }))
        );
    }

    #[test]
    fn other_texts_are_no_numbers() {
        for text in ["", "\n", "a b c d", "1.0 2.0", "MemTotal: 1"] {
            assert_eq!(load(text), None, "{text:?}");
            assert_eq!(memory(text), None, "{text:?}");
        }
        assert_eq!(load("1 2 3 4"), None);
        assert_eq!(uptime("soon"), None);
    }

    #[test]
    fn disks_are_the_root_and_devices_each_once() {
        let text = "overlay / overlay rw 0 0\n\
                    proc /proc proc rw 0 0\n\
                    /dev/vda1 /my\\040data ext4 rw 0 0\n\
                    /dev/vda1 /again ext4 rw 0 0\n\
                    broken\n";
        let mount = |device: &str, path: &str, kind: &str| Mount {
            device: device.to_owned(),
            path: path.to_owned(),
            kind: kind.to_owned(),
        };
        assert_eq!(
            mounts(text),
            [
                mount("overlay", "/", "overlay"),
                mount("/dev/vda1", "/my data", "ext4"),
            ]
        );
        let many: String = (0..100)
            .map(|at| format!("/dev/{at} /{at} ext4\n"))
            .collect();
        assert_eq!(mounts(&many).len(), DISKS_MAX);
    }
}
