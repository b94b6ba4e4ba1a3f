//! `services`: what the service manager runs, and telling it to start or stop something.

use std::path::Path;

use fazai_tools::{Action, Right, Risk};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::define::{Call, Define, count, exec, installed, limited, succeeded};
use crate::error::ToolError;

/// What is asked about one unit of systemd.
const PROPERTIES: &str = "--property=Id,Description,LoadState,ActiveState,SubState,UnitFileState,Result,MainPID,ExecMainStatus,NRestarts,MemoryCurrent,ActiveEnterTimestamp,InactiveEnterTimestamp,FragmentPath";

/// How much of what another service manager says is told, in lines.
const LINES_MAX: usize = 500;

pub(super) struct Services;

/// What to do with which service.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// `list`, `failed`, and what concerns one unit.
    action: Verb,
    /// The unit, such as `nginx.service` or `nginx`.
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = r"^[A-Za-z0-9@_.:\\][A-Za-z0-9@_.:\\-]*$")
    )]
    unit: Option<String>,
    /// How many units are wanted at most.
    #[serde(default = "some")]
    #[schemars(range(min = 1, max = 2000))]
    limit: u32,
}

fn some() -> u32 {
    300
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Verb {
    List,
    Failed,
    Status,
    Start,
    Stop,
    Restart,
    Reload,
    Enable,
    Disable,
}

impl Define for Services {
    type Params = Told;
    const NAME: &'static str = "services";
    const DESCRIPTION: &'static str = "Lists services, shows the state of one, or starts, stops, restarts, reloads, enables or disables it.";
    const RISK: Risk = Risk::Medium;
    const RIGHTS: &'static [Right] = &[Right::Change];

    fn wants(&self, told: Told, itself: Action) -> Result<Vec<Action>, ToolError> {
        let Ok(manager) = Manager::of_this_machine() else {
            return Ok(vec![itself]);
        };
        let unit = told.unit()?;
        let argv = manager.argv(told.action, unit)?;
        let control = told.action.changes().then(|| control(told.action, unit));
        Ok(control.into_iter().chain([exec(&argv)]).collect())
    }

    fn call(&self, told: Told, call: &Call) -> Result<Value, ToolError> {
        let unit = told.unit()?;
        let manager = Manager::of_this_machine()?;
        let argv = manager.argv(told.action, unit)?;
        if told.action.changes() {
            return change(told.action, unit, &argv, call);
        }
        let output = call.run(&argv)?;
        // Of a service that does not run, these end with another code.
        if manager != Manager::Systemd && matches!(output.ended.exit_code, Some(0..=3)) {
            let (lines, truncated) = limited(output.stdout.lines(), LINES_MAX);
            return Ok(
                json!({ "manager": manager.name(), "lines": lines, "truncated": truncated }),
            );
        }
        let text = succeeded(output, argv[0])?.stdout;
        Ok(match told.action {
            Verb::Status => json!({ "manager": "systemd", "unit": properties(&text) }),
            _ => {
                let (units, truncated) =
                    limited(text.lines().filter_map(listed), count(told.limit));
                json!({ "manager": "systemd", "units": units, "truncated": truncated })
            }
        })
    }
}

impl Told {
    /// The unit, where one is needed; else nothing.
    fn unit(&self) -> Result<&str, ToolError> {
        let needs = !matches!(self.action, Verb::List | Verb::Failed);
        match &self.unit {
            Some(unit) if needs => Ok(unit),
            None if needs => Err(ToolError::BadParams("name the unit".into())),
            _ => Ok(""),
        }
    }
}

impl Verb {
    fn changes(self) -> bool {
        !matches!(self, Self::List | Self::Failed | Self::Status)
    }

    fn word(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Failed => "failed",
            Self::Status => "status",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Enable => "enable",
            Self::Disable => "disable",
        }
    }
}

fn control(verb: Verb, unit: &str) -> Action {
    Action::ServiceControl {
        unit: unit.to_owned(),
        verb: verb.word().to_owned(),
    }
}

fn change(verb: Verb, unit: &str, argv: &[&str], call: &Call) -> Result<Value, ToolError> {
    let done = |output| succeeded(output, argv[0]);
    let output = call.run_for(control(verb, unit), argv, done)?;
    let said = format!("{}{}", output.stdout, output.stderr);
    Ok(json!({ "unit": unit, "done": verb.word(), "said": said.trim() }))
}

/// Who starts services here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manager {
    Systemd,
    OpenRc,
    SysV,
}

impl Manager {
    fn of_this_machine() -> Result<Self, ToolError> {
        if Path::new("/run/systemd/system").exists() {
            return Ok(Self::Systemd);
        }
        match installed(&["rc-service", "service"]) {
            Some("rc-service") => Ok(Self::OpenRc),
            Some(_) => Ok(Self::SysV),
            None => Err(ToolError::Unavailable(
                "neither systemd nor OpenRC runs here, and there is no `service`; look at `processes`"
                    .into(),
            )),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::OpenRc => "openrc",
            Self::SysV => "sysv",
        }
    }

    fn argv(self, verb: Verb, unit: &str) -> Result<Vec<&str>, ToolError> {
        let units = [
            "systemctl",
            "list-units",
            "--type=service",
            "--plain",
            "--no-legend",
            "--no-pager",
            "--full",
        ];
        let plain = unit.strip_suffix(".service").unwrap_or(unit);
        Ok(match (self, verb) {
            (Self::Systemd, Verb::List) => [&units[..], &["--all"]].concat(),
            (Self::Systemd, Verb::Failed) => [&units[..], &["--state=failed"]].concat(),
            (Self::Systemd, Verb::Status) => vec!["systemctl", "show", PROPERTIES, unit],
            (Self::Systemd, verb) => vec!["systemctl", verb.word(), unit],
            (Self::OpenRc, Verb::List) => vec!["rc-status", "--all"],
            (Self::OpenRc, Verb::Failed) => vec!["rc-status", "--crashed"],
            (Self::OpenRc, Verb::Enable) => vec!["rc-update", "add", plain],
            (Self::OpenRc, Verb::Disable) => vec!["rc-update", "del", plain],
            (Self::OpenRc, verb) => vec!["rc-service", plain, verb.word()],
            (Self::SysV, Verb::List) => vec!["service", "--status-all"],
            (Self::SysV, Verb::Failed | Verb::Enable | Verb::Disable) => {
                return Err(ToolError::Unavailable(format!(
                    "without systemd or OpenRC there is no `{}`; `list` shows what runs",
                    verb.word()
                )));
            }
            (Self::SysV, verb) => vec!["service", plain, verb.word()],
        })
    }
}

/// A line of `systemctl list-units`.
fn listed(line: &str) -> Option<Value> {
    let mut words = line.split_whitespace();
    Some(json!({
        "unit": words.next()?,
        "load": words.next()?,
        "active": words.next()?,
        "sub": words.next()?,
        "description": words.collect::<Vec<_>>().join(" "),
    }))
}

/// The lines of `systemctl show`, with names as JSON has them.
fn properties(text: &str) -> Value {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let known = lines.filter(|(_, value)| !value.is_empty() && *value != "[not set]");
    let named = known.map(|(name, value)| match name {
        "MemoryCurrent" => ("memory_bytes".to_owned(), number(value)),
        "MainPID" => ("pid".to_owned(), number(value)),
        "NRestarts" => ("restarts".to_owned(), number(value)),
        "ExecMainStatus" => ("exit_code".to_owned(), number(value)),
        _ => (snake(name), value.into()),
    });
    Value::Object(named.collect::<Map<String, Value>>())
}

fn number(text: &str) -> Value {
    text.parse::<u64>().map_or(text.into(), Value::from)
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_says_is_read() {
        let unit = listed("ssh.service loaded active running OpenBSD Secure Shell server");
        let unit = unit.expect("a unit");
        assert_eq!(unit["sub"], "running");
        assert_eq!(unit["description"], "OpenBSD Secure Shell server");
        assert_eq!(listed(""), None);

        let unit =
            properties("Id=a.service\nMainPID=12\nMemoryCurrent=[not set]\nActiveState=active\n");
        assert_eq!(
            unit,
            json!({ "id": "a.service", "pid": 12, "active_state": "active" })
        );
    }
}
