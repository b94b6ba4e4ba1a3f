//! The settings: `/etc/fazai/fazai.conf` and the command line, nothing else.
//!
//! Every key is one row of [`keys::KEYS`]: its name, its help, how it is read and shown (by what
//! `values.rs` has). A file's faults are reported all at once, each with its line.

mod alerts;
mod cloud;
mod file;
mod keys;
#[cfg(test)]
mod tests;
mod v2;
mod values;
mod watch;

use std::path::{Path, PathBuf};

use fazai_cloud::provider::Kind;
use fazai_models::load::{BackendKind, GpuLayers, LlamaOptions};
use fazai_models::store::Store;
use fazai_protocol::{Limits, Secret};

pub use self::alerts::{AlertSettings, Security, SmtpServer, SyslogPlace};
pub use self::cloud::{CloudSettings, ProviderSection};
pub use self::file::{Fault, Faults};
pub(crate) use self::keys::changed;
pub use self::keys::example;
pub use self::watch::{DnsblSettings, Enforce, WatchSettings};
use crate::text_file;

/// Where the settings are, if no other file is named.
pub const DEFAULT_PATH: &str = "/etc/fazai/fazai.conf";

/// How the worker runs. Immutable; a reload makes a new one.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where it listens.
    pub server: ServerSettings,
    /// Which models, and how they are loaded.
    pub model: ModelSettings,
    /// Which native modules load, and how they run.
    pub modules: ModuleSettings,
    /// What may be done on the machine.
    pub policy: PolicySettings,
    /// The tools, and the runs of plans that use them.
    pub tools: ToolSettings,
    /// What is remembered, and where.
    pub memory: MemorySettings,
    /// Who may answer when no local model can.
    pub cloud: CloudSettings,
    /// Where events come from, and what may be done about them.
    pub watch: WatchSettings,
    /// What a request gets that does not say otherwise.
    pub defaults: RequestDefaults,
    /// What a client can meet.
    pub limits: Limits,
    /// What is logged.
    pub log: LogSettings,
    /// Things in the file that were understood and have no effect; told at the start.
    pub notes: Vec<String>,
    /// The file itself, and those with secrets that it names: nobody's but the worker's.
    pub files: Vec<PathBuf>,
}

/// Where the worker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// The Unix socket.
    pub socket: PathBuf,
    /// Its permissions.
    pub socket_mode: u32,
    /// Its group; none: the group of the process.
    pub socket_group: Option<String>,
    /// Its owner; none: the user of the process.
    pub socket_owner: Option<String>,
    /// Users that may connect besides root and the worker's own; none: whom the socket's
    /// permissions let in.
    pub allow_uids: Vec<u32>,
    /// The TCP address, `host:port`.
    pub tcp: Option<String>,
    /// What a TCP client has to show in `hello`.
    pub tcp_token: Option<Secret>,
    /// How long requests may go on after a stop was asked for.
    pub drain_ms: u64,
}

/// Which models, and how they are loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSettings {
    /// The model for requests that name none: a name or a path.
    pub default: String,
    /// Where downloaded models are.
    pub dir: PathBuf,
    /// What computes.
    pub backend: BackendKind,
    /// Threads that compute; 0: as many as the process may use, or 1 for a model below 32 MiB.
    pub threads: u32,
    /// How much goes to a GPU.
    pub gpu_layers: GpuLayers,
    /// Choices that only llama.cpp has.
    pub llama: LlamaOptions,
    /// Longest conversation; 0: what the model was trained for, at most 8192.
    pub context_tokens: u32,
    /// Requests worked on at once, for each model.
    pub slots: u32,
    /// Memory for the KV cache; 0: a quarter of what is free, at most 2 GiB.
    pub kv_cache_bytes: u64,
    /// Tokens in one decode; 0: what was measured to be best.
    pub batch_tokens: u32,
    /// Prompt tokens in one decode while others write; 0: what was measured to be best.
    pub prefill_chunk_tokens: u32,
    /// Where is kept how models run best on this machine.
    pub tuning: PathBuf,
    /// Whether to guess at tokens that were there before.
    pub speculation: bool,
    /// Memory for the KV cache of paused requests, when there is no room for it.
    pub paused_bytes_max: usize,
    /// Where named prompts are kept across restarts.
    pub prompt_store: PathBuf,
    /// How much of that; 0: none.
    pub prompt_store_bytes_max: u64,
    /// Unload a model that was not used for so long; 0: never.
    pub idle_unload_ms: u64,
    /// Refuse models that need more; 0: what is free.
    pub memory_bytes_max: u64,
}

/// Which native modules load, and how they run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSettings {
    /// Where modules and `modules.toml` are.
    pub dir: PathBuf,
    /// What a file must show to be loaded.
    pub trust: ModuleTrust,
    /// The public keys whose signatures count; relative to `dir`.
    pub trusted_keys: PathBuf,
    /// Where a module runs.
    pub isolation: ModuleIsolation,
    /// How long a call may take, unless `modules.toml` says otherwise.
    pub call_timeout_ms: u64,
    /// What a module's process may map, unless `modules.toml` says otherwise.
    pub memory_bytes_max: u64,
    /// The longest answer of a call; it is cut there.
    pub answer_bytes_max: usize,
    /// Calls at once, of all modules together.
    pub calls_max: usize,
    /// The `fazai` program that the processes of modules and commands are started from; none: the
    /// program that runs, if it called [`child_process`](crate::child_process). For programs that
    /// embed the worker; a settings file can't set it.
    pub program: Option<PathBuf>,
}

/// What a module's file must show to be loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ModuleTrust {
    /// Its sha256 is in `modules.toml`.
    #[default]
    Manifest,
    /// A trusted key signed it.
    Signature,
    /// Nothing.
    Any,
}

/// Where a module runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ModuleIsolation {
    /// In a process of its own.
    #[default]
    Process,
    /// In the worker's, if it is signed and `modules.toml` calls it trusted.
    InProcess,
}

/// What may be done on the machine, and where that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySettings {
    /// The policy; a file that is absent stands for `profile` for root and the worker's user.
    pub file: PathBuf,
    /// The ready profile that holds without a file.
    pub profile: String,
    /// Where the audit log is.
    pub audit_dir: PathBuf,
    /// How long a question waits for somebody's yes.
    pub approval_timeout_ms: u64,
    /// How long a command may run.
    pub command_timeout_ms: u64,
    /// Commands at once; one user has at most half of them.
    pub commands_max: usize,
    /// How much of a command's output is shown; the rest is counted.
    pub output_bytes_max: u64,
    /// Where commands get control groups.
    pub cgroup: Cgroup,
    /// Memory of a command and all that it starts, if it has a group; 0: three quarters of what
    /// is free when the worker starts.
    pub command_memory_bytes_max: u64,
    /// Processes and threads of a command, if it has a group; 0: any number.
    pub command_processes_max: u64,
}

/// Where commands get control groups of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cgroup {
    /// In the worker's own group, if that was lent to the worker.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// In this directory.
    Dir(PathBuf),
}

/// The tools, and the runs of plans that use them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolSettings {
    /// Where tools that are files are.
    pub dir: PathBuf,
    /// Which MCP servers there are.
    pub servers: PathBuf,
    /// Calls at once; one user has at most half of them.
    pub calls_max: usize,
    /// Where runs of plans are kept, so that they go on after a restart.
    pub runs_dir: PathBuf,
    /// How many of them; the oldest that are over go first.
    pub runs_max: usize,
}

/// A server that turns texts into vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingServer {
    /// What it speaks.
    pub kind: Kind,
    /// Where it is; none: where its kind is known to be.
    pub url: Option<String>,
    /// Its model; none: there is no such server.
    pub model: Option<String>,
    /// How many numbers a vector of it has.
    pub dimensions: usize,
    /// The file with its key.
    pub key_file: Option<PathBuf>,
}

impl Default for EmbeddingServer {
    fn default() -> Self {
        Self {
            kind: Kind::Ollama,
            url: None,
            model: None,
            dimensions: 384,
            key_file: None,
        }
    }
}

/// What is remembered, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemorySettings {
    /// Where the memory is that needs no server.
    pub dir: PathBuf,
    /// A Qdrant server, as `HOST:PORT` of its gRPC; none: the memory in `dir`.
    pub server: Option<String>,
    /// Whether the server speaks TLS.
    pub server_tls: bool,
    /// A file with the key that the server wants.
    pub server_key_file: Option<PathBuf>,
    /// The most records of a collection.
    pub records_max: usize,
    /// The directory of the embedding model; empty: `minilm` in the models' directory, if there.
    pub embedding_model: PathBuf,
    /// A server that embeds, if no directory is named.
    pub embedding_server: EmbeddingServer,
    /// Where `kb gc` begins to remove what is of least use, in bytes of records.
    pub bytes_high: u64,
    /// Where it ends.
    pub bytes_low: u64,
    /// Where the operator's personalities are.
    pub personalities: PathBuf,
    /// Whether what is remembered is put behind questions that do not say.
    pub retrieve: bool,
    /// How many tokens that may have.
    pub retrieve_tokens_max: u32,
    /// How long an answer waits for it.
    pub retrieve_timeout_ms: u64,
    /// Whether a run of a plan leaves behind what worked.
    pub learn: bool,
    /// The record of what was asked and done, day by day.
    pub episodes: EpisodeSettings,
}

/// A day's record: what was asked, what was done for it, what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpisodeSettings {
    /// Whether there is one.
    pub on: bool,
    /// Where days are kept; empty: beside the memory.
    pub dir: PathBuf,
    /// A bucket instead, as `https://HOST[:PORT]/BUCKET[/PREFIX]`.
    pub s3: Option<String>,
    /// The bucket's region.
    pub s3_region: String,
    /// A file with the id of a key and its secret.
    pub s3_key_file: Option<PathBuf>,
    /// How many days are kept.
    pub days: u32,
    /// From which size of all days the oldest go, in bytes.
    pub bytes_high: u64,
    /// Down to which size.
    pub bytes_low: u64,
}

/// What a request gets that does not say otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestDefaults {
    /// Most tokens to write.
    pub max_tokens: u32,
    /// 0 always takes the likeliest token.
    pub temperature: f32,
    /// Keep this many of the likeliest.
    pub top_k: u32,
    /// Keep the likeliest whose probabilities sum to this.
    pub top_p: f32,
    /// Drop tokens less likely than this share of the likeliest.
    pub min_p: f32,
    /// Divide the logits of recent tokens by this.
    pub repeat_penalty: f32,
    /// Give up after this long; 0: never.
    pub deadline_ms: u64,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or a filter such as `info,fazai_models=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object for each line.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            server: ServerSettings {
                socket: default_socket(),
                socket_mode: 0o660,
                socket_group: None,
                socket_owner: None,
                allow_uids: Vec::new(),
                tcp: None,
                tcp_token: None,
                drain_ms: 10_000,
            },
            model: ModelSettings {
                default: fazai_models::builtin::NAME.to_owned(),
                // Without a home there is still the built-in model.
                dir: Store::default_dir().unwrap_or_default(),
                prompt_store: beside_the_models("prompts"),
                prompt_store_bytes_max: 1 << 30,
                backend: BackendKind::default(),
                threads: 0,
                gpu_layers: GpuLayers::Auto,
                llama: LlamaOptions::default(),
                context_tokens: 0,
                slots: 8,
                kv_cache_bytes: 0,
                batch_tokens: 0,
                prefill_chunk_tokens: 0,
                tuning: beside_the_models("tuning"),
                speculation: true,
                paused_bytes_max: 256 << 20,
                idle_unload_ms: 0,
                memory_bytes_max: 0,
            },
            modules: ModuleSettings {
                dir: place("/opt/fazai/mods", "mods"),
                trust: ModuleTrust::default(),
                trusted_keys: PathBuf::from("trusted_keys"),
                isolation: ModuleIsolation::default(),
                call_timeout_ms: 5_000,
                memory_bytes_max: 256 << 20,
                answer_bytes_max: 4 << 20,
                calls_max: 32,
                program: None,
            },
            policy: PolicySettings {
                file: PathBuf::from("/etc/fazai/policy.toml"),
                profile: "standard".to_owned(),
                audit_dir: place("/var/lib/fazai/audit", "audit"),
                approval_timeout_ms: 60_000,
                command_timeout_ms: 60_000,
                commands_max: 32,
                output_bytes_max: 4 << 20,
                cgroup: Cgroup::Auto,
                command_memory_bytes_max: 0,
                command_processes_max: 1_024,
            },
            tools: ToolSettings {
                dir: place("/opt/fazai/tools", "tools"),
                servers: place("/etc/fazai/mcp.toml", "mcp.toml"),
                calls_max: 32,
                runs_dir: place("/var/lib/fazai/runs", "runs"),
                runs_max: 200,
            },
            memory: MemorySettings {
                dir: place("/var/lib/fazai/memory", "memory"),
                server: None,
                server_tls: false,
                server_key_file: None,
                records_max: 1_000_000,
                embedding_model: PathBuf::new(),
                embedding_server: EmbeddingServer::default(),
                bytes_high: 1 << 30,
                bytes_low: 800 << 20,
                personalities: place("/etc/fazai/personalities", "personalities"),
                retrieve: false,
                retrieve_tokens_max: 1_024,
                retrieve_timeout_ms: 500,
                learn: true,
                episodes: EpisodeSettings {
                    on: false,
                    dir: PathBuf::new(),
                    s3: None,
                    s3_region: "us-east-1".to_owned(),
                    s3_key_file: None,
                    days: 90,
                    bytes_high: 256 << 20,
                    bytes_low: 192 << 20,
                },
            },
            cloud: CloudSettings {
                allow: None,
                order: Vec::new(),
                causes: fazai_cloud::route::Causes::default(),
                prices: None,
                budget_dir: place("/var/lib/fazai/cloud", "cloud"),
                limits: fazai_cloud::budget::Limits::default(),
                redact: fazai_cloud::redact::Rules::default(),
                hedge_ms: 0,
                cache_bytes_max: 0,
                cache_age_s_max: 3_600,
                low_memory_bytes: 0,
                documentation_url: None,
                documentation_key_file: None,
                gpu_probe: Vec::new(),
                providers: Vec::new(),
                v2: Vec::new(),
                order_v2: Vec::new(),
            },
            watch: WatchSettings::default(),
            defaults: RequestDefaults {
                max_tokens: 512,
                temperature: 0.2,
                top_k: 40,
                top_p: 0.95,
                min_p: 0.05,
                repeat_penalty: 1.0,
                deadline_ms: 0,
            },
            limits: Limits::default(),
            log: LogSettings {
                level: "info".to_owned(),
                format: LogFormat::Auto,
            },
            notes: Vec::new(),
            files: Vec::new(),
        }
    }
}

impl Settings {
    /// Reads the file at `path`, or the default one. Only the default one may be absent.
    ///
    /// # Errors
    /// All faults of the file at once.
    pub fn load(path: Option<&Path>) -> Result<Self, Faults> {
        let (path, may_be_absent) = match path {
            Some(path) => (path, false),
            None => (Path::new(DEFAULT_PATH), true),
        };
        match text_file::read(path) {
            Ok(text) => Self::parse(&text, path),
            Err(fault) if may_be_absent && fault.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(fault) => Err(Faults::unreadable(path, &fault)),
        }
    }

    /// Sets one key as if the file had it.
    ///
    /// # Errors
    /// Says what would be right, or that there is no such key.
    pub fn set(&mut self, section: &str, key: &str, value: &str) -> Result<(), String> {
        match keys::find(section, key) {
            Some(row) => (row.read)(self, value),
            None => Err(format!("[{section}] has no key {key:?}")),
        }
    }

    /// Checks what no single key can be checked for.
    ///
    /// # Errors
    /// Says what does not go together.
    pub fn check(&self) -> Result<(), String> {
        keys::check(self).next().map_or(Ok(()), Err)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// All faults at once.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Faults> {
        let mut settings = Self::default();
        file::apply(text, path, &mut settings)?;
        // /dev/null is everybody's.
        settings
            .files
            .extend(path.canonicalize().ok().filter(|path| path.is_file()));
        Ok(settings)
    }
}

fn beside_the_models(name: &str) -> PathBuf {
    let models = Store::default_dir().unwrap_or_default();
    models
        .parent()
        .map_or_else(PathBuf::new, |dir| dir.join(name))
}

/// The place for root; other users have one of that name beside their models.
fn place(for_root: &str, name: &str) -> PathBuf {
    if rustix::process::getuid().is_root() {
        PathBuf::from(for_root)
    } else {
        beside_the_models(name)
    }
}

/// `/run/fazai/gemma.sock` for root; other users have one in their runtime directory.
#[must_use]
pub fn default_socket() -> PathBuf {
    let uid = rustix::process::getuid();
    if uid.is_root() {
        return PathBuf::from("/run/fazai/gemma.sock");
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    let dir = match runtime {
        Some(dir) => PathBuf::from(dir).join("fazai"),
        None => std::env::temp_dir().join(format!("fazai-{}", uid.as_raw())),
    };
    dir.join("gemma.sock")
}
