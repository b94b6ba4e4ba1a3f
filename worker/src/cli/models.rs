//! `fazai models`: what is on the disk, and what a running worker has loaded.

#[cfg(feature = "hub")]
mod pull;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fazai_models::store::{Details, Entry, EntrySource, Store};
use fazai_protocol::{Call, ModelsParams, Operation};
use serde_json::{Value, json};

use super::{Connect, SettingsFile, output};

/// The commands.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fazai models pull qwen3:0.6b
  fazai models pull hf:OWNER/REPO/FILE.gguf
  fazai models list
  fazai ask --model qwen3:0.6b \"why is the sky blue?\"")]
pub(crate) enum Models {
    /// List the models on this machine
    List(List),
    /// List the models that `pull` knows by a short name
    Catalog(Catalog),
    /// Download a model, or the rest of one
    #[cfg(feature = "hub")]
    Pull(pull::Pull),
    /// Show everything about a model
    Show(Show),
    /// Remove a model from the disk
    Rm(Remove),
    /// Load a model into the running worker
    Load(Remote),
    /// Unload a model from the running worker
    Unload(Remote),
}

/// Where models are.
#[derive(Debug, Clone, Args)]
struct Place {
    /// The models' directory [default: the configured one]
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingsFile,
}

impl Place {
    fn store(&self) -> anyhow::Result<Store> {
        Ok(match &self.dir {
            Some(dir) => Store::new(dir.clone()),
            None => Store::new(self.settings.load()?.model.dir),
        })
    }
}

/// List the models on this machine
#[derive(Debug, Args)]
pub(crate) struct List {
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// List the models that `pull` knows by a short name
#[derive(Debug, Args)]
pub(crate) struct Catalog {
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
}

/// Show everything about a model
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its name
    name: String,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Remove a model from the disk
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Its name
    name: String,
    #[command(flatten)]
    place: Place,
}

/// Load or unload a model in the running worker
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// Its name [default: the worker's configured one]
    name: Option<String>,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

impl Models {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(),
            Self::Catalog(catalog) => catalog.run(),
            #[cfg(feature = "hub")]
            Self::Pull(pull) => pull.run(),
            Self::Show(show) => show.run(),
            Self::Rm(remove) => remove.run(),
            Self::Load(remote) => remote.run("load"),
            Self::Unload(remote) => remote.run("unload"),
        }
    }
}

impl List {
    fn run(&self) -> anyhow::Result<()> {
        let entries = self.place.store()?.list()?;
        let heading = ["NAME", "SIZE", "PARAMETERS", "TYPE", "CONTEXT", "FROM"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(entries.iter().map(row));
        let data: Vec<Value> = entries.iter().map(describe).collect();
        output::print(self.json, &output::table(&rows), &json!(data))
    }
}

/// A model in one line.
fn row(entry: &Entry) -> Vec<String> {
    let name = entry.alias.unwrap_or(&entry.name).to_owned();
    if let Some(problem) = &entry.broken {
        return vec![
            name,
            output::bytes(entry.bytes),
            format!("broken: {problem}"),
        ];
    }
    let context = entry.trained_tokens;
    vec![
        name,
        output::bytes(entry.bytes),
        output::parameters(entry.parameters),
        format!("{} {}", entry.architecture, entry.quantization),
        context.map_or_else(String::new, |tokens| tokens.to_string()),
        from(&entry.source),
    ]
}

fn from(source: &EntrySource) -> String {
    match source {
        EntrySource::Builtin => "this program".to_owned(),
        EntrySource::File => "a local file".to_owned(),
        EntrySource::Hub(origin) => origin.reference(),
    }
}

fn describe(entry: &Entry) -> Value {
    json!({
        "name": entry.name,
        "alias": entry.alias,
        "path": entry.path,
        "bytes": entry.bytes,
        "architecture": entry.architecture,
        "parameters": entry.parameters,
        "quantization": entry.quantization,
        "trained_tokens": entry.trained_tokens,
        "from": from(&entry.source),
        "problem": entry.broken,
    })
}

impl Catalog {
    fn run(&self) -> anyhow::Result<()> {
        use fazai_models::store::catalog::{DIRECTORIES, MODELS};
        let heading = ["NAME", "SIZE", "LICENCE", "FROM"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(MODELS.iter().map(|model| {
            vec![
                model.alias.to_owned(),
                output::bytes(model.bytes),
                model.license.to_owned(),
                format!("{}/{}", model.repository, model.file),
            ]
        }));
        rows.extend(DIRECTORIES.iter().map(|model| {
            vec![
                model.alias.to_owned(),
                output::bytes(model.bytes()),
                model.license.to_owned(),
                format!("{} (embeddings)", model.repository),
            ]
        }));
        let directories = DIRECTORIES.iter().map(|model| {
            json!({
                "name": model.alias,
                "bytes": model.bytes(),
                "licence": model.license,
                "repository": model.repository,
                "revision": model.revision,
            })
        });
        let data: Vec<Value> = MODELS
            .iter()
            .map(|model| {
                json!({
                    "name": model.alias,
                    "bytes": model.bytes,
                    "licence": model.license,
                    "repository": model.repository,
                    "file": model.file,
                    "revision": model.revision,
                    "sha256": model.sha256,
                })
            })
            .chain(directories)
            .collect();
        output::print(self.json, &output::table(&rows), &json!(data))
    }
}

impl Show {
    fn run(&self) -> anyhow::Result<()> {
        let details = self.place.store()?.show(&self.name)?;
        output::print(self.json, &details_text(&details), &details_json(&details))
    }
}

fn details_text(details: &Details) -> String {
    let entry = &details.entry;
    let needs = &details.needs;
    let mut rows = vec![
        vec!["name".to_owned(), entry.name.clone()],
        vec!["from".to_owned(), from(&entry.source)],
        vec!["size".to_owned(), output::bytes(entry.bytes)],
        vec![
            "parameters".to_owned(),
            output::parameters(entry.parameters),
        ],
        vec![
            "type".to_owned(),
            format!("{} {}", entry.architecture, entry.quantization),
        ],
        vec![
            "memory".to_owned(),
            format!(
                "{} for a conversation of {} tokens (KV cache {})",
                output::bytes(needs.total()),
                details.context_tokens,
                output::bytes(needs.kv_cache)
            ),
        ],
        vec!["chat template".to_owned(), yes_no(details.chat_template)],
    ];
    for group in &details.tensors {
        let text = format!(
            "{} of {} numbers",
            group.tensors,
            output::parameters(group.elements)
        );
        rows.push(vec![format!("{} tensors", group.kind), text]);
    }
    rows.extend(
        details
            .metadata
            .iter()
            .map(|(key, value)| vec![key.clone(), value.clone()]),
    );
    output::table(&rows)
}

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn details_json(details: &Details) -> Value {
    let mut data = describe(&details.entry);
    data["memory_bytes"] = json!(details.needs.total());
    data["kv_cache_bytes"] = json!(details.needs.kv_cache);
    data["context_tokens"] = json!(details.context_tokens);
    data["chat_template"] = json!(details.chat_template);
    let tensors = details.tensors.iter().map(
        |group| json!({ "type": group.kind, "tensors": group.tensors, "elements": group.elements }),
    );
    data["tensors"] = tensors.collect();
    let metadata = details.metadata.iter();
    data["metadata"] = metadata
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    data
}

impl Remove {
    fn run(&self) -> anyhow::Result<()> {
        let freed = self.place.store()?.remove(&self.name)?;
        let text = format!(
            "{} is removed; {} are free again",
            self.name,
            output::bytes(freed)
        );
        output::print(false, &text, &json!({ "name": self.name, "bytes": freed }))
    }
}

impl Remote {
    fn run(&self, verb: &str) -> anyhow::Result<()> {
        let name = self.name.as_deref().unwrap_or_default();
        let call = Call::<ModelsParams> {
            input: format!("{verb} {name}"),
            ..Call::default()
        };
        let done = self.connect.call(Operation::Models(call))?;
        output::answer(self.json, done)
    }
}
