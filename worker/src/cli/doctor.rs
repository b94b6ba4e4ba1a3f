//! `fazai doctor`: what works here, what does not, and what to do about it.

use std::path::Path;

use clap::Args;
use fazai::config::{DEFAULT_PATH, ModuleTrust, PolicySettings, Settings};
use fazai_models::store::Store;
use fazai_modhost::State;
use fazai_protocol::client::Client;
use fazai_protocol::{Call, NoParams, Operation};
use serde_json::{Value, json};

use super::{Connect, SettingsFile, output};

/// Check this machine and the settings, and say what to do about what is wrong
#[derive(Debug, Args)]
#[command(after_help = "\
Ends with 1 if something is wrong, and with 0 if all is well or could only be better.

Examples:
  fazai doctor
  fazai doctor --json | jq '.[] | select(.state != \"good\")'")]
pub(crate) struct Doctor {
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
    #[command(flatten)]
    settings: SettingsFile,
}

/// One thing that was looked at.
struct Finding {
    state: Standing,
    what: String,
    about: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    /// It works, and could be better.
    Note,
    Wrong,
}

impl Standing {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Wrong => "wrong",
        }
    }
}

/// Something is wrong; what it is was printed.
#[derive(Debug, thiserror::Error)]
#[error("something is wrong, see above")]
struct Unwell;

fn found(state: Standing, what: impl Into<String>, about: impl Into<String>) -> Finding {
    Finding {
        state,
        what: what.into(),
        about: about.into(),
    }
}

impl Doctor {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let mut findings = Vec::new();
        match self.settings.load() {
            Err(fault) => findings.push(found(Standing::Wrong, "settings", format!("{fault:#}"))),
            Ok(settings) => {
                findings.push(settings_file(&settings, self.settings.named().as_deref()));
                findings.extend(machine());
                findings.extend(models(&settings));
                findings.extend(default_model(&settings));
                findings.extend(policy(&settings));
                findings.extend(sandbox());
                findings.extend(super::block_on(async { Ok(self.workers(settings).await) })?);
            }
        }
        let rows: Vec<Vec<String>> = findings
            .iter()
            .map(|finding| {
                let state = finding.state.name().to_owned();
                vec![state, finding.what.clone(), finding.about.clone()]
            })
            .collect();
        let data: Vec<Value> = findings
            .iter()
            .map(|one| json!({ "state": one.state.name(), "what": one.what, "about": one.about }))
            .collect();
        output::print(self.json, &output::table(&rows), &json!(data))?;
        if findings.iter().any(|one| one.state == Standing::Wrong) {
            return Err(Unwell.into());
        }
        Ok(())
    }

    /// The running worker, and the modules as it or one of our own sees them.
    async fn workers(&self, settings: Settings) -> Vec<Finding> {
        let mut findings = Vec::new();
        if settings.modules.trust == ModuleTrust::Any {
            let about =
                "trust = any: whoever can write to the directory decides what the worker runs";
            findings.push(found(Standing::Note, "modules", about));
        }
        let (client, own) = match self.connect.running_or_own(settings).await {
            Ok(found) => found,
            Err(fault) => {
                findings.push(found(Standing::Wrong, "worker", format!("{fault:#}")));
                return findings;
            }
        };
        findings.push(match &own {
            None => found(Standing::Good, "worker", "one is running"),
            Some(_) => found(
                Standing::Note,
                "worker",
                "none is running; `fazai serve` starts one",
            ),
        });
        findings.extend(modules(&client).await);
        if let Some(worker) = own {
            worker.stop().await;
        }
        findings
    }
}

fn settings_file(settings: &Settings, named: Option<&Path>) -> Finding {
    let path = named.unwrap_or(Path::new(DEFAULT_PATH));
    let about = if path.exists() {
        path.display().to_string()
    } else {
        format!("{} is not there: the defaults hold", path.display())
    };
    match settings.notes.len() {
        0 => found(Standing::Good, "settings", about),
        notes => {
            let about = format!("{about}; {notes} notes, see `fazai config`");
            found(Standing::Note, "settings", about)
        }
    }
}

fn machine() -> Vec<Finding> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut findings = vec![found(
        Standing::Good,
        "processors",
        format!("{threads} may be used"),
    )];
    let free = fazai_models::memory::available();
    findings.push(match free {
        Some(bytes) => found(
            Standing::Good,
            "memory",
            format!("{} are free", output::bytes(bytes)),
        ),
        None => found(
            Standing::Note,
            "memory",
            "what is free can't be read; is /proc mounted?",
        ),
    });
    findings
}

fn models(settings: &Settings) -> Vec<Finding> {
    let store = Store::new(settings.model.dir.clone());
    let entries = match store.list() {
        Ok(entries) => entries,
        Err(fault) => return vec![found(Standing::Wrong, "models", fault.to_string())],
    };
    let mut findings: Vec<Finding> = entries
        .iter()
        .filter_map(|entry| {
            let problem = entry.broken.as_ref()?;
            Some(found(
                Standing::Wrong,
                format!("model {}", entry.name),
                problem.clone(),
            ))
        })
        .collect();
    let count = entries.len() - findings.len();
    findings.push(found(
        Standing::Good,
        "models",
        format!("{count} can be loaded"),
    ));
    findings
}

/// The model that requests without a name go to, if it is not there.
fn default_model(settings: &Settings) -> Option<Finding> {
    let store = Store::new(settings.model.dir.clone());
    let fault = store.resolve_path_or_name(&settings.model.default).err()?;
    let about = format!("{fault}; or name another one as `default` in [model]");
    Some(found(Standing::Wrong, "default model", about))
}

/// The policy, if it is none or not the one that the settings name.
fn policy(settings: &Settings) -> Option<Finding> {
    let PolicySettings { file, profile, .. } = &settings.policy;
    let instead = format!(
        "{} is not there: the ready profile `{profile}` holds for root and the worker's user, and \
         others may do nothing",
        file.display()
    );
    let (state, about) = match fazai::policy::load(&settings.policy) {
        Err(fault) => (Standing::Wrong, fault.to_string()),
        Ok(_) if file.exists() => return None,
        Ok(_) if *file == Settings::default().policy.file => (Standing::Good, instead),
        Ok(_) => {
            let about = format!("{instead}; write it, or take `file` out of [policy]");
            (Standing::Wrong, about)
        }
    };
    Some(found(state, "policy", about))
}

/// What the settings name and is not there, in words.
pub(super) fn missing(settings: &Settings) -> Vec<String> {
    let found = default_model(settings).into_iter().chain(policy(settings));
    let wrong = found.filter(|one| one.state == Standing::Wrong);
    wrong
        .map(|one| format!("{}: {}", one.what, one.about))
        .collect()
}

fn sandbox() -> Vec<Finding> {
    let Some(launcher) = fazai::module_launcher(None) else {
        return vec![found(
            Standing::Wrong,
            "sandbox",
            "this program can't run modules",
        )];
    };
    match fazai_modhost::probe(&launcher) {
        Err(fault) => vec![found(Standing::Wrong, "sandbox", fault.to_string())],
        Ok(report) => report
            .layers
            .iter()
            .map(|layer| {
                let what = format!("sandbox {}", layer.name);
                match &layer.state {
                    State::On => found(Standing::Good, what, "on"),
                    State::Partly(why) => found(Standing::Note, what, format!("partly: {why}")),
                    State::Off(why) => found(Standing::Note, what, format!("off: {why}")),
                }
            })
            .collect(),
    }
}

/// Tries to load every module that may load.
async fn modules(client: &Client) -> Vec<Finding> {
    let ask = |input: String| {
        let call = Call::<NoParams> {
            input,
            ..Call::default()
        };
        client.call(Operation::Modules(call))
    };
    let listed = match ask("list".into()).await {
        Ok(done) => done.data.unwrap_or_default(),
        Err(fault) => return vec![found(Standing::Wrong, "modules", fault.to_string())],
    };
    let mut findings = Vec::new();
    for module in listed["modules"].as_array().into_iter().flatten() {
        let name = module["name"].as_str().unwrap_or_default();
        let what = format!("module {name}");
        findings.push(match ask(format!("show {name}")).await {
            Err(fault) => found(Standing::Wrong, what, fault.to_string()),
            Ok(done) => judge_module(what, &done.data.unwrap_or_default()),
        });
    }
    findings
}

/// A module that was loaded, if it can be.
fn judge_module(what: String, module: &Value) -> Finding {
    let state = module["state"].as_str().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if state != "ready" {
        let problem = text(&module["problem"]);
        return found(
            Standing::Wrong,
            what,
            format!("{state} {problem}").trim_end(),
        );
    }
    if module["health"]["good"] == json!(false) {
        return found(Standing::Wrong, what, text(&module["health"]["text"]));
    }
    let missing = module["not_granted"].as_array().map_or(0, Vec::len);
    if missing > 0 {
        let about = format!(
            "loads; modules.toml does not grant all it asks for: {}",
            module["not_granted"]
        );
        return found(Standing::Note, what, about);
    }
    found(Standing::Good, what, "loads")
}
