//! `processes`: who uses the processors and the memory.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use procfs::process::{Process, Stat, all_processes};
use procfs::{Current, Uptime, WithCurrentSystemInfo};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::define::{Call, Define, count, limited};
use super::system_info::{percent, unread};
use crate::error::ToolError;

/// How long is measured what a process takes of the processors.
const MEASURED: Duration = Duration::from_millis(300);

/// How much of a command line is told, in characters.
const COMMAND_CHARS_MAX: usize = 200;

pub(super) struct Processes;

/// Which processes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// What those that come first have most of.
    #[serde(default)]
    sort: Sort,
    /// How many are wanted at most.
    #[serde(default = "some")]
    #[schemars(range(min = 1, max = 500))]
    limit: u32,
    /// Only those whose name or command has this text.
    name: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Sort {
    #[default]
    Cpu,
    Memory,
}

fn some() -> u32 {
    20
}

/// A process as it was after some time.
struct Seen {
    stat: Stat,
    uid: Option<u32>,
    command: String,
    /// What it took of the processors meanwhile, in ticks.
    ticks: u64,
}

impl Define for Processes {
    type Params = Told;
    const NAME: &'static str = "processes";
    const DESCRIPTION: &'static str = "Lists processes with what they use of the processors and the memory. 100 % is one processor.";

    fn call(&self, told: Told, call: &Call) -> Result<Value, ToolError> {
        call.facts(|| {
            let before = ticks().map_err(|fault| unread(&fault))?;
            let begun = Instant::now();
            if call.host.stop().comes_until(begun + MEASURED) {
                return Err(ToolError::Stopped);
            }
            let (all, found) = seen(&before, &told).map_err(|fault| unread(&fault))?;
            facts(all, found, &told, begun.elapsed()).map_err(|fault| unread(&fault))
        })
    }
}

fn used(stat: &Stat) -> u64 {
    stat.utime.saturating_add(stat.stime)
}

/// What each process has used so far. A number may be given to another process later.
fn ticks() -> procfs::ProcResult<HashMap<(i32, u64), u64>> {
    let stats = all_processes()?.filter_map(|process| process.ok()?.stat().ok());
    Ok(stats
        .map(|stat| ((stat.pid, stat.starttime), used(&stat)))
        .collect())
}

/// How many processes there are, and those that are asked for.
fn seen(before: &HashMap<(i32, u64), u64>, told: &Told) -> procfs::ProcResult<(usize, Vec<Seen>)> {
    let mut all = 0;
    let mut found = Vec::new();
    // One that ends meanwhile is none.
    for process in all_processes()?.flatten() {
        let Some(seen) = look(&process, before) else {
            continue;
        };
        all += 1;
        let named = |name: &String| seen.stat.comm.contains(name) || seen.command.contains(name);
        if told.name.as_ref().is_none_or(named) {
            found.push(seen);
        }
    }
    match told.sort {
        Sort::Cpu => found.sort_by_key(|seen| std::cmp::Reverse((seen.ticks, used(&seen.stat)))),
        Sort::Memory => found.sort_by_key(|seen| std::cmp::Reverse(seen.stat.rss)),
    }
    Ok((all, found))
}

fn look(process: &Process, before: &HashMap<(i32, u64), u64>) -> Option<Seen> {
    let stat = process.stat().ok()?;
    let ticks = before.get(&(stat.pid, stat.starttime));
    Some(Seen {
        ticks: ticks.map_or(0, |ticks| used(&stat).saturating_sub(*ticks)),
        uid: process.uid().ok(),
        command: process.cmdline().unwrap_or_default().join(" "),
        stat,
    })
}

fn facts(
    all: usize,
    found: Vec<Seen>,
    told: &Told,
    measured: Duration,
) -> procfs::ProcResult<Value> {
    let memory = procfs::Meminfo::current()?.mem_total;
    let uptime = Uptime::current()?.uptime_duration().as_secs();
    let second = procfs::ticks_per_second();
    let measured_ms = u64::try_from(measured.as_millis()).unwrap_or(u64::MAX);
    let matching = found.len();
    let (found, truncated) = limited(found, count(told.limit));
    let processes: Vec<Value> = found
        .into_iter()
        .map(|seen| {
            let resident = seen.stat.rss_bytes().get();
            json!({
                "pid": seen.stat.pid,
                "parent_pid": seen.stat.ppid,
                "uid": seen.uid,
                "name": seen.stat.comm,
                "command": seen.command.chars().take(COMMAND_CHARS_MAX).collect::<String>(),
                "state": seen.stat.state.to_string(),
                "threads": seen.stat.num_threads,
                "cpu_percent": percent(seen.ticks * 1000, second * measured_ms),
                "cpu_time_ms": used(&seen.stat) * 1000 / second,
                "memory_bytes": resident,
                "memory_percent": percent(resident, memory),
                "age_s": uptime.saturating_sub(seen.stat.starttime / second),
            })
        })
        .collect();
    Ok(json!({
        "processes": processes,
        "count": all,
        "matching": matching,
        "truncated": truncated,
    }))
}
