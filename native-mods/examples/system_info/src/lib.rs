//! A module in Rust: load, memory, disks and uptime of this machine, as JSON.
//!
//! `system_info` answers with all of them, `system_info {"parts": ["load", "uptime"]}` with some,
//! and the name of a part alone with that one.

mod parts;

use fazai_module::{Module, fazai_module, split};
use serde::Deserialize;
use serde_json::{Map, Value};

use parts::Part;

struct SystemInfo;

/// The arguments of the command `system_info`, as `commands.json` describes them.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Args {
    #[serde(default)]
    parts: Vec<Part>,
}

impl Module for SystemInfo {
    fn init() -> Result<Self, String> {
        Ok(Self)
    }

    fn exec(&self, command: &str) -> Result<String, String> {
        let (name, args) = split(command);
        match name {
            "help" => Ok(format!(
                "commands: system_info [{{\"parts\": [...]}}], {}, status, help",
                Part::ALL.map(Part::name).join(", ")
            )),
            "status" => Ok("ready".to_owned()),
            "system_info" => report(&wanted(args)?),
            name => match Part::ALL.into_iter().find(|part| part.name() == name) {
                Some(part) => Ok(part.read()?.to_string()),
                None => Err(format!("no command '{name}': say help")),
            },
        }
    }

    fn health(&self) -> Result<(), String> {
        Part::Uptime.read().map(drop)
    }
}

fn wanted(args: &str) -> Result<Vec<Part>, String> {
    let args: Args = match args {
        "" => Args::default(),
        json => serde_json::from_str(json).map_err(|error| format!("the arguments: {error}"))?,
    };
    Ok(match args.parts {
        parts if parts.is_empty() => Part::ALL.to_vec(),
        parts => parts,
    })
}

fn report(parts: &[Part]) -> Result<String, String> {
    let mut report = Map::new();
    for part in parts {
        report.insert(part.name().to_owned(), part.read()?);
    }
    Ok(Value::Object(report).to_string())
}

fazai_module! {
    module: SystemInfo,
    name: "system_info",
    commands: include_str!("commands.json"),
    capabilities: fazai_module::FILES,
    flags: fazai_module::THREADS | fazai_module::GROW,
}
