//! `journal`: what the machine wrote down about itself.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use fazai_tools::Action;
use rustix::fs::FileType;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::define::{Call, Define, count, exec, installed, perform, succeeded, text_of};
use super::file::{failed, find};
use crate::error::ToolError;

/// Where the log is on machines without a journal.
const FILES: &[&str] = &["/var/log/syslog", "/var/log/messages"];

/// How much of the end of such a file is looked through, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// How much of one message is told, in characters.
const MESSAGE_CHARS_MAX: usize = 500;

pub(super) struct Journal;

/// Which messages.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// Only those of this unit, such as `nginx.service`.
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = r"^[A-Za-z0-9@_.:\\][A-Za-z0-9@_.:\\*-]*$")
    )]
    unit: Option<String>,
    /// Only those since then: `2026-06-01 12:00`, `today`, `-1h`.
    #[schemars(length(min = 1, max = 64))]
    since: Option<String>,
    /// Only those that are at least so grave.
    priority: Option<Priority>,
    /// How many of the last ones are wanted.
    #[serde(default = "some")]
    #[schemars(range(min = 1, max = 500))]
    lines: u32,
    /// Only those that match this regular expression; without a journal: that have this text.
    #[schemars(length(min = 1, max = 256))]
    grep: Option<String>,
}

fn some() -> u32 {
    50
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Priority {
    Emerg,
    Alert,
    Crit,
    Err,
    Warning,
    Notice,
    Info,
    Debug,
}

/// By their numbers.
const PRIORITIES: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

impl Define for Journal {
    type Params = Told;
    const NAME: &'static str = "journal";
    const DESCRIPTION: &'static str =
        "Shows the last messages of the system's log, of one unit, since a time, or by gravity.";

    fn wants(&self, told: Told, itself: Action) -> Result<Vec<Action>, ToolError> {
        Ok(vec![match source() {
            Some(Log::Journal) => exec(&borrowed(&argv(&told))),
            Some(Log::File(path)) => Action::ReadFile { path: path.into() },
            None => itself,
        }])
    }

    fn call(&self, told: Told, call: &Call) -> Result<Value, ToolError> {
        match source() {
            Some(Log::Journal) => {
                let output = call.run(&borrowed(&argv(&told)))?;
                // With no match it ends as grep does.
                if told.grep.is_some()
                    && output.ended.exit_code == Some(1)
                    && output.stderr.is_empty()
                {
                    return Ok(json!({ "source": "journal", "entries": [] }));
                }
                let cut = output.ended.cut;
                let text = succeeded(output, "journalctl")?.stdout;
                let entries: Vec<Value> = text.lines().filter_map(entry).collect();
                Ok(json!({ "source": "journal", "entries": entries, "truncated": cut }))
            }
            Some(Log::File(path)) => from_file(path, &told, call),
            None => Err(ToolError::Unavailable(format!(
                "there is no journal here, nor {}; the logs of programs are in /var/log",
                FILES.join(" or ")
            ))),
        }
    }
}

enum Log {
    Journal,
    File(&'static str),
}

/// The journal, if somebody keeps one.
fn source() -> Option<Log> {
    let is_kept = ["/run/log/journal", "/var/log/journal"];
    let is_kept = is_kept.iter().any(|path| Path::new(path).is_dir());
    if is_kept && installed(&["journalctl"]).is_some() {
        return Some(Log::Journal);
    }
    let file = FILES.iter().find(|path| Path::new(path).is_file());
    file.map(|path| Log::File(path))
}

/// Each wish is one argument with its option, so that none can be another option.
fn argv(told: &Told) -> Vec<String> {
    let mut argv: Vec<String> = ["journalctl", "--no-pager", "--quiet", "--output=json"]
        .map(str::to_owned)
        .into();
    argv.push(format!("--lines={}", told.lines));
    let priority = told
        .priority
        .map(|priority| (priority as usize).to_string());
    let wishes = [
        ("unit", &told.unit),
        ("since", &told.since),
        ("priority", &priority),
        ("grep", &told.grep),
    ];
    for (option, wish) in wishes {
        if let Some(wish) = wish {
            argv.push(format!("--{option}={wish}"));
        }
    }
    argv
}

fn borrowed(argv: &[String]) -> Vec<&str> {
    argv.iter().map(String::as_str).collect()
}

/// A line of `journalctl --output=json`.
fn entry(line: &str) -> Option<Value> {
    let fields: Map<String, Value> = serde_json::from_str(line).ok()?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let number = |name: &str| text(name).and_then(|text| text.parse::<i64>().ok());
    let time =
        number("__REALTIME_TIMESTAMP").and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    let priority =
        number("PRIORITY").and_then(|number| PRIORITIES.get(usize::try_from(number).ok()?));
    let message = fields.get("MESSAGE").map(message);
    Some(json!({
        "time": time.map(|time| time.to_string()),
        "priority": priority,
        "unit": text("_SYSTEMD_UNIT"),
        "program": text("SYSLOG_IDENTIFIER"),
        "pid": number("_PID"),
        "message": message,
    }))
}

/// A message that is no text comes as its bytes.
fn message(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text_of(text.as_bytes()),
        Value::Array(bytes) => {
            let bytes = bytes
                .iter()
                .filter_map(|byte| u8::try_from(byte.as_u64()?).ok());
            text_of(&bytes.collect::<Vec<u8>>())
        }
        _ => String::new(),
    };
    shortened(&text)
}

fn shortened(message: &str) -> String {
    message.chars().take(MESSAGE_CHARS_MAX).collect()
}

/// The end of a log that is a text.
fn from_file(path: &str, told: &Told, call: &Call) -> Result<Value, ToolError> {
    if told.since.is_some() || told.priority.is_some() {
        return Err(ToolError::BadParams(format!(
            "there is no journal here, and {path} knows no `since` and `priority`; leave them out"
        )));
    }
    let (permit, found) = find(Path::new(path), call, |path| Action::ReadFile { path })?;
    perform(permit, || {
        let file = found.open(FileType::RegularFile)?;
        let text = end_of(file).map_err(|error| failed("can't be read", &found.path, &error))?;
        let unit = told
            .unit
            .as_deref()
            .map(|unit| unit.strip_suffix(".service").unwrap_or(unit));
        let wanted = |line: &&str| {
            unit.is_none_or(|unit| line.contains(unit))
                && told.grep.as_ref().is_none_or(|part| line.contains(part))
        };
        let mut lines: Vec<&str> = text
            .lines()
            .rev()
            .filter(wanted)
            .take(count(told.lines))
            .collect();
        lines.reverse();
        let entries: Vec<Value> = lines
            .into_iter()
            .map(|line| json!({ "message": shortened(line) }))
            .collect();
        Ok(json!({ "source": path, "entries": entries }))
    })
}

fn end_of(mut file: File) -> std::io::Result<String> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(FILE_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(text_of(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_told_with_what_matters() {
        let line = r#"{"__REALTIME_TIMESTAMP":"1780315200000000","PRIORITY":"3","_SYSTEMD_UNIT":"a.service","SYSLOG_IDENTIFIER":"a","_PID":"7","MESSAGE":[104,105,255],"_BOOT_ID":"x"}"#;
        let told = entry(line).expect("an entry");
        assert_eq!(told["priority"], "err");
        assert_eq!(told["message"], "hi\u{fffd}");
        assert_eq!(told["time"], "2026-06-01T12:00:00Z");
        assert_eq!(told["pid"], 7);
        assert_eq!(told.get("_BOOT_ID"), None);
        assert_eq!(entry("-- no entries --"), None);
    }

    #[test]
    fn a_wish_can_be_no_option() {
        let told: Told =
            serde_json::from_value(json!({ "grep": "-x", "since": "--rotate" })).expect("params");
        let argv = argv(&told);
        assert!(argv.contains(&"--grep=-x".into()) && argv.contains(&"--since=--rotate".into()));
    }
}
