//! `system_info`: what the machine is, and how it is.

use std::fs;

use procfs::{Current, CurrentSI};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::define::{Call, Define};
use crate::error::ToolError;

pub(super) struct SystemInfo;

/// Nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {}

impl Define for SystemInfo {
    type Params = Told;
    const NAME: &'static str = "system_info";
    const DESCRIPTION: &'static str =
        "Tells the machine's name, system, processors, memory, load and time since its start.";

    fn call(&self, _: Told, call: &Call) -> Result<Value, ToolError> {
        call.facts(|| facts().map_err(|fault| unread(&fault)))
    }
}

/// What can't be read of the kernel's facts.
pub(super) fn unread(fault: &procfs::ProcError) -> ToolError {
    ToolError::Failed(format!("/proc can't be read: {fault}"))
}

fn facts() -> procfs::ProcResult<Value> {
    let memory = procfs::Meminfo::current()?;
    let load = procfs::LoadAverage::current()?;
    let uptime = procfs::Uptime::current()?;
    let kernel = procfs::KernelStats::current()?;
    let processors = procfs::CpuInfo::current()?;
    let name = rustix::system::uname();
    let started = jiff::Timestamp::from_second(kernel.btime.try_into().unwrap_or(0)).ok();
    let available = memory.mem_available.unwrap_or(memory.mem_free);
    Ok(json!({
        "hostname": name.nodename().to_string_lossy(),
        "system": os_name(),
        "kernel": name.release().to_string_lossy(),
        "architecture": name.machine().to_string_lossy(),
        "started": started.map(|time| time.to_string()),
        "uptime_s": uptime.uptime_duration().as_secs(),
        "processors": {
            "count": processors.num_cores(),
            "model": processors.model_name(0),
        },
        "load": {
            "1_min": hundredths(load.one),
            "5_min": hundredths(load.five),
            "15_min": hundredths(load.fifteen),
        },
        "memory": {
            "total_bytes": memory.mem_total,
            "available_bytes": available,
            "used_percent": percent(memory.mem_total - available.min(memory.mem_total), memory.mem_total),
        },
        "swap": {
            "total_bytes": memory.swap_total,
            "free_bytes": memory.swap_free,
        },
        "processes": { "running": kernel.procs_running, "blocked": kernel.procs_blocked, "threads": load.max },
    }))
}

/// As exact as the kernel says it, which a number of 32 bits is not as one of 64.
fn hundredths(number: f32) -> f64 {
    (f64::from(number) * 100.0).round() / 100.0
}

/// As the distribution calls itself.
fn os_name() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches(['"', '\'']).to_owned())
}

/// A share in percent, to a tenth.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "a tenth of a percent is enough")]
    let share = part as f64 / whole as f64;
    (share * 1000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_load_is_as_the_kernel_says_it() {
        assert_eq!(super::hundredths(0.34).to_string(), "0.34");
        assert_eq!(super::hundredths(12.5).to_string(), "12.5");
    }
}
