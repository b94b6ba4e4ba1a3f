//! How busy and how full this machine is, as lines like those of Metricbeat: read from `/proc` now
//! and then, or from a directory in its place.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use procfs::{
    CpuTime, FromBufRead, FromBufReadSI, FromRead, KernelStats, LoadAverage, Meminfo, MountEntry,
    ProcError, current_system_info,
};
use rustix::fs::{stat, statvfs};
use serde_json::{Value, json};

use super::Input;
use crate::time::Timestamp;

/// How often it is read.
const EVERY: Duration = Duration::from_secs(10);

/// File systems that are looked at.
const DISKS_MAX: usize = 64;

/// File systems of this machine that can fill up. To ask one of another machine may take for ever.
const LOCAL: &[&str] = &[
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "overlay",
    "reiserfs", "tmpfs", "vfat", "xfs", "zfs",
];

/// The machine as a source of lines.
#[derive(Debug)]
pub struct Metrics {
    proc: PathBuf,
    host: String,
    read: Option<Instant>,
    /// What the processors had done then.
    cpu: Option<(u64, u64)>,
    /// Why not all of it could be read then.
    broken: Option<String>,
    lines: u64,
}

impl Metrics {
    /// Of the machine whose `/proc` this is.
    #[must_use]
    pub fn new(proc: &Path) -> Self {
        let uname = rustix::system::uname();
        Self {
            proc: proc.to_owned(),
            host: uname.nodename().to_string_lossy().into_owned(),
            read: None,
            cpu: None,
            broken: None,
            lines: 0,
        }
    }

    /// All that can be read, and the first reason why something can't.
    fn measure(&mut self) -> (Vec<Value>, io::Result<()>) {
        let mut found = Vec::new();
        let processors = self.processors().and_then(|(cpu, count)| {
            found.extend(
                cpu.map(|used| system("cpu", &json!({ "total": { "norm": { "pct": used } } }))),
            );
            // How much a load is, the number of processors says.
            let load = self.load(count)?;
            found.push(system("load", &json!({ "norm": { "1": load } })));
            Ok(())
        });
        let memory = self.memory().map(|used| {
            found.push(system(
                "memory",
                &json!({ "actual": { "used": { "pct": used } } }),
            ));
        });
        let disks = self.disks().map(|disks| {
            found.extend(disks.into_iter().map(|(path, used)| {
                system(
                    "filesystem",
                    &json!({ "mount_point": path, "used": { "pct": used } }),
                )
            }));
        });
        (found, processors.and(memory).and(disks))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.proc.join(name)
    }

    /// The share of time since the last look in which processors worked, and how many there are.
    fn processors(&mut self) -> io::Result<(Option<f64>, usize)> {
        let path = self.path("stat");
        let file = io::BufReader::new(open(&path)?);
        let stat = KernelStats::from_buf_read(file, current_system_info());
        let stat = stat.map_err(|fault| unread(&path, &fault))?;
        let (idle, all) = times(&stat.total);
        let before = self.cpu.replace((idle, all));
        let used = before.and_then(|(idle_then, all_then)| {
            let (idle, all) = (idle.checked_sub(idle_then)?, all.checked_sub(all_then)?);
            (all > 0).then(|| share(all.saturating_sub(idle), all))
        });
        Ok((used, stat.cpu_time.len().max(1)))
    }

    fn memory(&self) -> io::Result<f64> {
        let path = self.path("meminfo");
        let info = Meminfo::from_buf_read(io::BufReader::new(open(&path)?));
        let info = info.map_err(|fault| unread(&path, &fault))?;
        let free = info.mem_available.unwrap_or(info.mem_free + info.cached);
        Ok(share(info.mem_total.saturating_sub(free), info.mem_total))
    }

    /// Processes that want to run, for each processor.
    fn load(&self, processors: usize) -> io::Result<f64> {
        let path = self.path("loadavg");
        let load = LoadAverage::from_read(open(&path)?).map_err(|fault| unread(&path, &fault))?;
        let count = u32::try_from(processors).unwrap_or(u32::MAX);
        Ok(f64::from(load.one) / f64::from(count))
    }

    /// Each local file system once, and how full it is.
    fn disks(&self) -> io::Result<Vec<(String, f64)>> {
        let path = self.path("mounts");
        let mounts = Vec::<MountEntry>::from_buf_read(io::BufReader::new(open(&path)?));
        let mounts = mounts.map_err(|fault| unread(&path, &fault))?;
        let (mut numbers, mut devices) = (BTreeSet::new(), BTreeSet::new());
        let once = mounts.into_iter().filter(counts).filter(|mount| {
            let number = stat(mount.fs_file.as_str()).map(|stat| stat.st_dev);
            // Each volume of a btrfs has a number of its own, and all of them one device.
            let device = &mount.fs_spec;
            number.is_ok_and(|number| numbers.insert(number))
                && (!device.starts_with('/') || devices.insert(device.clone()))
        });
        let used = once.filter_map(|mount| {
            let size = statvfs(mount.fs_file.as_str()).ok()?;
            let used = size.f_blocks.saturating_sub(size.f_bfree);
            // As df has it: what only root may fill counts neither as used nor as free.
            let all = used.saturating_add(size.f_bavail);
            (all > 0).then(|| (mount.fs_file, share(used, all)))
        });
        Ok(used.take(DISKS_MAX).collect())
    }
}

/// Whether it is looked at. An overlay is as full as what it lies upon, which only a container can't
/// see; its host has one for each container.
fn counts(mount: &MountEntry) -> bool {
    LOCAL.contains(&mount.fs_vfstype.as_str())
        && !mount.fs_mntops.contains_key("ro")
        && (mount.fs_vfstype != "overlay" || mount.fs_file == "/")
}

/// One measurement, with the names of Metricbeat.
fn system(what: &str, value: &Value) -> Value {
    json!({ "event": { "dataset": format!("system.{what}") }, "system": { what: value } })
}

fn open(path: &Path) -> io::Result<std::fs::File> {
    std::fs::File::open(path)
        .map_err(|fault| io::Error::new(fault.kind(), format!("{}: {fault}", path.display())))
}

fn unread(path: &Path, fault: &ProcError) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{}: {fault}", path.display()),
    )
}

/// Idle and all.
fn times(cpu: &CpuTime) -> (u64, u64) {
    let idle = cpu.idle.saturating_add(cpu.iowait.unwrap_or(0));
    let more = [cpu.irq, cpu.softirq, cpu.steal];
    let more = more.into_iter().map(|time| time.unwrap_or(0));
    let busy = [cpu.user, cpu.nice, cpu.system].into_iter().chain(more);
    let all = busy.fold(idle, u64::saturating_add);
    (idle, all)
}

#[expect(clippy::cast_precision_loss, reason = "a share needs few digits")]
fn share(part: u64, all: u64) -> f64 {
    let share = part as f64 / all.max(1) as f64;
    (share * 1e4).round() / 1e4
}

impl Input for Metrics {
    fn poll(&mut self, each: &mut dyn FnMut(u64, &[u8])) -> io::Result<usize> {
        let mut count = 0;
        if self.read.is_none_or(|then| then.elapsed() >= EVERY) {
            self.read = Some(Instant::now());
            let (found, read) = self.measure();
            self.broken = read.err().map(|fault| fault.to_string());
            let time = Timestamp::now().to_string();
            for mut line in found {
                count += 1;
                self.lines += 1;
                line["@timestamp"] = json!(time);
                line["host"] = json!({ "name": self.host });
                each(self.lines, line.to_string().as_bytes());
            }
        }
        // Between two looks it is no better.
        match &self.broken {
            Some(why) => Err(io::Error::other(why.clone())),
            None => Ok(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn lines(metrics: &mut Metrics) -> (Vec<Value>, io::Result<usize>) {
        let mut lines = Vec::new();
        metrics.read = None;
        let polled = metrics.poll(&mut |_, line| {
            lines.push(serde_json::from_slice(line).unwrap());
        });
        (lines, polled)
    }

    #[test]
    fn a_directory_stands_in_for_proc() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let cpu = |idle| {
            format!(
                "cpu 100 0 100 {idle} 0 0 0 0 0 0\ncpu0 50 0 50 1 0 0 0 0 0 0\n\
                 cpu1 50 0 50 1 0 0 0 0 0 0\nctxt 1\nbtime 1\nprocesses 1\n"
            )
        };
        put("stat", &cpu(800));
        put("meminfo", &meminfo(1_000, 250));
        put("loadavg", "3.00 0.10 0.10 1/200 4000\n");
        let here = dir.path().display();
        put(
            "mounts",
            &format!(
                "proc /proc proc rw 0 0\nnfs:/x /mnt nfs rw 0 0\n/dev/x {here} ext4 rw 0 0\n\
                 /dev/x {here} ext4 rw 0 0\n/dev/y /gone/away ext4 rw 0 0\n\
                 overlay /dev overlay rw 0 0\n"
            ),
        );
        let mut metrics = Metrics::new(dir.path());
        let (first, polled) = lines(&mut metrics);
        assert_eq!(polled.unwrap(), 3);
        // What processors did is known at the second look.
        assert_eq!(first.len(), 3, "{first:?}");
        assert_eq!(first[0]["system"]["load"]["norm"]["1"], 1.5);
        assert_eq!(first[1]["system"]["memory"]["actual"]["used"]["pct"], 0.75);
        let disk = &first[2]["system"]["filesystem"];
        assert_eq!(disk["mount_point"], here.to_string());
        assert!(
            (0.0..=1.0).contains(&disk["used"]["pct"].as_f64().unwrap()),
            "{disk}"
        );
        put(
            "stat",
            &cpu(800)
                .replace("cpu 100", "cpu 190")
                .replace(" 800 ", " 810 "),
        );
        let (second, _) = lines(&mut metrics);
        assert_eq!(second[0]["system"]["cpu"]["total"]["norm"]["pct"], 0.9);
        assert_eq!(second[0]["event"]["dataset"], "system.cpu");
        assert!(second[0]["@timestamp"].is_string() && second[0]["host"]["name"].is_string());
        // Between two looks there is nothing.
        assert_eq!(metrics.poll(&mut |_, _| panic!("too soon")).unwrap(), 0);
    }

    fn meminfo(total: u64, available: u64) -> String {
        let fields = [
            "MemFree",
            "Buffers",
            "Cached",
            "SwapCached",
            "Active",
            "Inactive",
            "SwapTotal",
            "SwapFree",
            "Dirty",
            "Writeback",
            "Mapped",
            "Slab",
            "Committed_AS",
            "VmallocTotal",
            "VmallocUsed",
            "VmallocChunk",
        ];
        let rest: String = fields
            .iter()
            .map(|name| format!("{name}: 1 kB\n"))
            .collect();
        format!("MemTotal: {total} kB\nMemAvailable: {available} kB\n{rest}")
    }

    #[test]
    fn what_can_not_be_read_is_said_and_the_rest_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        put("meminfo", &meminfo(1_000, 900));
        // Of how many processors that is the load, nobody knows.
        put("loadavg", "3.00 0.10 0.10 1/200 4000\n");
        put("mounts", "one word\n");
        let mut metrics = Metrics::new(dir.path());
        let (found, polled) = lines(&mut metrics);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(polled.unwrap_err().to_string().contains("stat"));
        // Until the next look it is not said to be well again.
        assert!(metrics.poll(&mut |_, _| panic!("too soon")).is_err());
    }

    #[test]
    fn volumes_of_one_device_are_one() {
        let dir = tempfile::tempdir().unwrap();
        let mounts = "/dev/x /dev btrfs rw 0 0\n/dev/x /dev/shm btrfs rw 0 0\n";
        fs::write(dir.path().join("mounts"), mounts).unwrap();
        let found = Metrics::new(dir.path()).disks().unwrap();
        assert!(found.len() <= 1, "{found:?}");
    }

    #[test]
    fn this_machine_can_be_read() {
        let (found, polled) = lines(&mut Metrics::new(Path::new("/proc")));
        polled.unwrap();
        assert!(found.len() >= 2, "{found:?}");
    }
}
