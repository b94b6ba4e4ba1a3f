//! The table of all settings.

use std::fmt::Write as _;
use std::net::{IpAddr, ToSocketAddrs};

use fazai_cloud::provider::Kind;
use fazai_cloud::route::Causes;
use fazai_models::load::{BackendKind, LlamaOptions};
use fazai_models::memory::KvType;
use fazai_protocol::Secret;

use super::Settings;
use super::values::{
    auto_on_off, backend, bytes, cgroup, file, gpu_layers, join, kv_type, log_format, log_level,
    mode, module_isolation, module_trust, number, on_off, optional, optional_path, path, profile,
    secret_file, show_cgroup, show_dollars, show_file, show_gpu_layers, show_log_format,
    show_module_isolation, show_module_trust, show_on_off, show_option, show_words, tcp,
    token_file, tool, uids, unquoted,
};
use super::{alerts, cloud, watch};

/// Takes a value from the file; on failure says what would be right.
type Read = fn(&mut Settings, &str) -> Result<(), String>;

/// One setting.
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    help: &'static str,
    pub(super) read: Read,
    /// The value as the file would have it.
    show: fn(&Settings) -> String,
}

macro_rules! keys {
    ($([$section:literal] {
        $($name:literal, $help:literal: |$settings:ident, $value:ident| $read:expr, $show:expr;)+
    })+) => {
        /// Every setting, in the order in which the example file has them.
        pub(super) static KEYS: &[Key] = &[$($(Key {
            section: $section,
            name: $name,
            help: $help,
            read: |$settings, $value| {
                $read;
                Ok(())
            },
            show: |$settings| {
                // Secrets are not shown.
                let _ = $settings;
                $show.to_string()
            },
        },)+)+];
    };
}

keys! {
    ["server"] {
        "socket", "The Unix socket.":
            |s, v| s.server.socket = path(v)?, s.server.socket.display();
        "socket_mode", "Its permissions, octal.":
            |s, v| s.server.socket_mode = mode(v)?, format!("{:04o}", s.server.socket_mode);
        "socket_owner", "Its owner; empty: the worker's user.":
            |s, v| s.server.socket_owner = optional(v), show_option(s.server.socket_owner.as_ref());
        "socket_group", "Its group; empty: the worker's group.":
            |s, v| s.server.socket_group = optional(v), show_option(s.server.socket_group.as_ref());
        "allow_uids", "User ids that may connect besides root and the worker's own, with commas; empty: whom the permissions let in.":
            |s, v| s.server.allow_uids = uids(v)?, join(&s.server.allow_uids);
        "tcp", "A TCP address such as 127.0.0.1:5556; empty: none.":
            |s, v| s.server.tcp = tcp(v)?, show_option(s.server.tcp.as_ref());
        "tcp_token", "What a TCP client must show in hello. Needed for any address but loopback.":
            |s, v| s.server.tcp_token = optional(v).map(Secret), "";
        "tcp_token_file", "A file that holds the token instead.":
            |s, v| { s.server.tcp_token = Some(token_file(v)?); s.files.push(path(v)?) }, "";
        "drain_ms", "How long requests may go on after a stop was asked for.":
            |s, v| s.server.drain_ms = number(v, 0, 3_600_000)?, s.server.drain_ms;
    }
    ["model"] {
        "default", "The model for requests that name none: a name from `fazai models list`, or a path.":
            |s, v| s.model.default = optional(v).ok_or("a name or a path is needed")?, s.model.default;
        "dir", "Where downloaded models are.":
            |s, v| s.model.dir = path(v)?, s.model.dir.display();
        "backend", "llama or candle.":
            |s, v| s.model.backend = backend(v)?, s.model.backend.name();
        "threads", "Threads that compute; 0: as many as the process may use, or 1 for a model below 32 MiB.":
            |s, v| s.model.threads = number(v, 0, 512)?, s.model.threads;
        "gpu_layers", "auto, or how many layers go to a GPU.":
            |s, v| s.model.gpu_layers = gpu_layers(v)?, show_gpu_layers(s.model.gpu_layers);
        "context_tokens", "Longest conversation; 0: what the model was trained for, at most 8192.":
            |s, v| s.model.context_tokens = number(v, 0, 16_777_216)?, s.model.context_tokens;
        "slots", "Requests worked on at once, for each model.":
            |s, v| s.model.slots = number(v, 1, 64)?, s.model.slots;
        "kv_cache_bytes", "Memory for the KV cache of each model; 0: a quarter of what is free, at most 2G.":
            |s, v| s.model.kv_cache_bytes = bytes(v)?, s.model.kv_cache_bytes;
        "batch_tokens", "Tokens in one decode, from 16; 0: what was measured to be best, or 512.":
            |s, v| s.model.batch_tokens = number(v, 0, 4_096)?, s.model.batch_tokens;
        "prefill_chunk_tokens", "Prompt tokens in one decode while other requests are writing; 0: what was measured to be best, or 128.":
            |s, v| s.model.prefill_chunk_tokens = number(v, 0, 4_096)?, s.model.prefill_chunk_tokens;
        "tuning", "Where is kept how each model runs best here, which takes a few seconds to measure when a model is first loaded; empty: not measured.":
            |s, v| s.model.tuning = optional_path(v)?, s.model.tuning.display();
        "kv_type", "How the KV cache is kept: f16, q8_0 (half the memory, slower prompts on a CPU), or auto: f16 where it fits.":
            |s, v| s.model.llama.kv_type = kv_type(v)?, s.model.llama.kv_type.map_or("auto", KvType::name);
        "flash_attention", "on, off, or auto: where the model and the device can.":
            |s, v| s.model.llama.flash_attention = auto_on_off(v)?, s.model.llama.flash_attention.map_or("auto", show_on_off);
        "mlock", "on or off: keep the weights from being swapped out; needs a high enough limit of locked memory (ulimit -l).":
            |s, v| s.model.llama.lock_memory = on_off(v)?, show_on_off(s.model.llama.lock_memory);
        "huge_pages", "on or off: ask the kernel for large pages for weights, KV cache and buffers.":
            |s, v| s.model.llama.huge_pages = on_off(v)?, show_on_off(s.model.llama.huge_pages);
        "speculation", "on or off: guess at tokens that were there before, and check several in one decode.":
            |s, v| s.model.speculation = on_off(v)?, show_on_off(s.model.speculation);
        "paused_bytes_max", "Memory for the KV cache of requests that are paused for more urgent ones, when there is no room.":
            |s, v| s.model.paused_bytes_max = usize::try_from(bytes(v)?).unwrap_or(usize::MAX), s.model.paused_bytes_max;
        "prompt_store", "Where prompts with a prompt_name are kept across restarts; empty: nowhere.":
            |s, v| s.model.prompt_store = optional_path(v)?, s.model.prompt_store.display();
        "prompt_store_bytes_max", "How much of that; 0: nothing is kept.":
            |s, v| s.model.prompt_store_bytes_max = bytes(v)?, s.model.prompt_store_bytes_max;
        "idle_unload_ms", "Unload a model that was not used for so long; 0: never.":
            |s, v| s.model.idle_unload_ms = number(v, 0, u64::MAX)?, s.model.idle_unload_ms;
        "memory_bytes_max", "Refuse models that need more than this; 0: what is free.":
            |s, v| s.model.memory_bytes_max = bytes(v)?, s.model.memory_bytes_max;
    }
    ["modules"] {
        "dir", "Where native modules and modules.toml are.":
            |s, v| s.modules.dir = path(v)?, s.modules.dir.display();
        "trust", "What a module must show to be loaded: manifest (its sha256 is in modules.toml), signature (NAME.so.minisig by a trusted key) or any (nothing: whoever can write to the directory decides what runs).":
            |s, v| s.modules.trust = module_trust(v)?, show_module_trust(s.modules.trust);
        "trusted_keys", "The file of public keys whose signatures count, a line each; a relative path is below dir.":
            |s, v| s.modules.trusted_keys = unquoted(v)?, s.modules.trusted_keys.display();
        "isolation", "process (each module has one of its own), or inproc: signed modules that modules.toml calls trusted run inside the worker, where a crash of theirs ends it.":
            |s, v| s.modules.isolation = module_isolation(v)?, show_module_isolation(s.modules.isolation);
        "call_timeout_ms", "How long a call may take, unless modules.toml says otherwise for the module.":
            |s, v| s.modules.call_timeout_ms = number(v, 1, 3_600_000)?, s.modules.call_timeout_ms;
        "memory_bytes_max", "Memory that a module may map, unless modules.toml says otherwise for it.":
            |s, v| s.modules.memory_bytes_max = bytes(v)?, s.modules.memory_bytes_max;
        "answer_bytes_max", "Longest answer of a module; it is cut there.":
            |s, v| s.modules.answer_bytes_max = number(v, 8_192, 64 << 20)?, s.modules.answer_bytes_max;
        "calls_max", "Calls of modules at once, all together.":
            |s, v| s.modules.calls_max = number(v, 1, 256)?, s.modules.calls_max;
    }
    ["policy"] {
        "file", "What may be done on this machine, by whom; if the file is absent, root and the worker's user have `profile`, and nobody else may do anything.":
            |s, v| s.policy.file = path(v)?, s.policy.file.display();
        "profile", "The ready profile without a file: restricted, standard, elevated or privileged.":
            |s, v| s.policy.profile = profile(v)?, s.policy.profile;
        "audit_dir", "Where everything that was decided and done is recorded.":
            |s, v| s.policy.audit_dir = path(v)?, s.policy.audit_dir.display();
        "approval_timeout_ms", "How long a question waits for somebody's yes; silence means no.":
            |s, v| s.policy.approval_timeout_ms = number(v, 1_000, 86_400_000)?, s.policy.approval_timeout_ms;
        "command_timeout_ms", "How long a command may run.":
            |s, v| s.policy.command_timeout_ms = number(v, 100, 86_400_000)?, s.policy.command_timeout_ms;
        "commands_max", "Commands at once; one user has at most half of them.":
            |s, v| s.policy.commands_max = number(v, 1, 256)?, s.policy.commands_max;
        "cgroup", "Where commands get control groups: auto (in the worker's own, if it was lent to the worker, as by Delegate=yes in its unit), off, or a directory.":
            |s, v| s.policy.cgroup = cgroup(v)?, show_cgroup(&s.policy.cgroup);
        "command_memory_bytes_max", "With a control group: memory of a command and all that it starts; 0: three quarters of what is free when the worker starts.":
            |s, v| s.policy.command_memory_bytes_max = bytes(v)?, s.policy.command_memory_bytes_max;
        "command_processes_max", "With a control group: processes and threads of a command; 0: any number.":
            |s, v| s.policy.command_processes_max = number(v, 0, 4_194_304)?, s.policy.command_processes_max;
        "output_bytes_max", "How much of a command's output is shown; the rest is counted.":
            |s, v| s.policy.output_bytes_max = number(v, 1_024, 64 << 20)?, s.policy.output_bytes_max;
    }
    ["tools"] {
        "dir", "Where tools that are files are: NAME.js, NAME.py, or a program with NAME.toml beside it.":
            |s, v| s.tools.dir = path(v)?, s.tools.dir.display();
        "servers", "Which MCP servers there are; a file that is absent names none.":
            |s, v| s.tools.servers = path(v)?, s.tools.servers.display();
        "calls_max", "Calls of tools at once; one user has at most half of them.":
            |s, v| s.tools.calls_max = number(v, 1, 256)?, s.tools.calls_max;
        "runs_dir", "Where runs of plans are kept, so that they can go on after a restart.":
            |s, v| s.tools.runs_dir = path(v)?, s.tools.runs_dir.display();
        "runs_max", "How many runs are kept; the oldest that are over go first.":
            |s, v| s.tools.runs_max = number(v, 1, 100_000)?, s.tools.runs_max;
    }
    ["memory"] {
        "dir", "Where the memory is that needs no server.":
            |s, v| s.memory.dir = path(v)?, s.memory.dir.display();
        "server", "A Qdrant server, HOST:PORT of its gRPC (usually 6334), instead of dir; empty: none.":
            |s, v| s.memory.server = optional(v), show_option(s.memory.server.as_ref());
        "server_tls", "on or off: whether that server speaks TLS.":
            |s, v| s.memory.server_tls = on_off(v)?, show_on_off(s.memory.server_tls);
        "server_key_file", "A file with the key that the server wants; empty: none.":
            |s, v| s.memory.server_key_file = file(v)?, show_file(s.memory.server_key_file.as_ref());
        "records_max", "The most records of a collection.":
            |s, v| s.memory.records_max = number(v, 1, 100_000_000)?, s.memory.records_max;
        "embedding_model", "The directory of a sentence-transformers model such as all-MiniLM-L6-v2, by which records are found by meaning too; empty: `minilm` in [model] dir, if it is there, and otherwise words alone.":
            |s, v| s.memory.embedding_model = optional_path(v)?, s.memory.embedding_model.display();
        "embedding_server_model", "The model of a server that embeds, if no directory is named; empty: none. Records get their vectors from it, past the policy unless it is on this machine.":
            |s, v| s.memory.embedding_server.model = optional(v), s.memory.embedding_server.model.as_deref().unwrap_or_default();
        "embedding_server_kind", "What that server speaks: ollama, openai, openai_compatible and the like.":
            |s, v| s.memory.embedding_server.kind = Kind::parse(v)?, s.memory.embedding_server.kind.as_str();
        "embedding_server_url", "Where it is; empty: where its kind is known to be.":
            |s, v| s.memory.embedding_server.url = optional(v), s.memory.embedding_server.url.as_deref().unwrap_or_default();
        "embedding_server_dimensions", "How many numbers a vector of it has.":
            |s, v| s.memory.embedding_server.dimensions = number(v, 1, 8192)?, s.memory.embedding_server.dimensions;
        "embedding_server_key_file", "A file with its key; empty: none.":
            |s, v| { s.memory.embedding_server.key_file = file(v)?; s.files.extend(s.memory.embedding_server.key_file.clone()); }, show_file(s.memory.embedding_server.key_file.as_ref());
        "bytes_high", "From which size of all records `fazai kb gc` removes those of least use.":
            |s, v| s.memory.bytes_high = bytes(v)?, s.memory.bytes_high;
        "bytes_low", "Down to which size it does.":
            |s, v| s.memory.bytes_low = bytes(v)?, s.memory.bytes_low;
        "personalities", "Where the operator's personalities are, NAME.toml with system, style, language and rules.":
            |s, v| s.memory.personalities = path(v)?, s.memory.personalities.display();
        "retrieve", "on or off: whether passages of what is remembered are put behind questions that do not say `retrieve`, for models that are large enough to read them.":
            |s, v| s.memory.retrieve = on_off(v)?, show_on_off(s.memory.retrieve);
        "retrieve_tokens_max", "How many tokens these passages may have together.":
            |s, v| s.memory.retrieve_tokens_max = number(v, 16, 1_048_576)?, s.memory.retrieve_tokens_max;
        "retrieve_timeout_ms", "How long an answer waits for them; without them it says so.":
            |s, v| s.memory.retrieve_timeout_ms = number(v, 1, 60_000)?, s.memory.retrieve_timeout_ms;
        "learn", "on or off: whether a run of a plan leaves behind what worked and what did not, as far as the policy allows.":
            |s, v| s.memory.learn = on_off(v)?, show_on_off(s.memory.learn);
        "episodes", "on or off: a day's record of what users asked, what was done for them and what came of it, without what is private and with secrets taken out as for clouds: one file of JSON lines for each day in UTC. `fazai memory episodes` shows it.":
            |s, v| s.memory.episodes.on = on_off(v)?, show_on_off(s.memory.episodes.on);
        "episodes_dir", "Where the days are kept; empty: `episodes` in dir.":
            |s, v| s.memory.episodes.dir = optional_path(v)?, s.memory.episodes.dir.display();
        "episodes_s3", "A bucket instead, https://HOST[:PORT]/BUCKET[/PREFIX], or http to this machine; each worker needs a prefix of its own. Past the policy, as `send_to_cloud` to `episodes`, unless it is on this machine. Empty: none.":
            |s, v| s.memory.episodes.s3 = optional(v), s.memory.episodes.s3.as_deref().unwrap_or_default();
        "episodes_s3_region", "The bucket's region.":
            |s, v| v.clone_into(&mut s.memory.episodes.s3_region), s.memory.episodes.s3_region;
        "episodes_s3_key_file", "A file with the id of a key for it, and its secret in a second line.":
            |s, v| { s.memory.episodes.s3_key_file = file(v)?; s.files.extend(s.memory.episodes.s3_key_file.clone()); }, show_file(s.memory.episodes.s3_key_file.as_ref());
        "episodes_days", "After how many days they are removed.":
            |s, v| s.memory.episodes.days = number(v, 1, 36_500)?, s.memory.episodes.days;
        "episodes_bytes_high", "From which size of all days the oldest are removed.":
            |s, v| s.memory.episodes.bytes_high = bytes(v)?, s.memory.episodes.bytes_high;
        "episodes_bytes_low", "Down to which size.":
            |s, v| s.memory.episodes.bytes_low = bytes(v)?, s.memory.episodes.bytes_low;
    }
    ["cloud"] {
        "allow_cloud", "auto, on or off: whether requests may leave that don't say so themselves; auto: if there is a section [cloud.NAME].":
            |s, v| s.cloud.allow = auto_on_off(v)?, s.cloud.allow.map_or("auto", show_on_off);
        "fallback_order", "The names of the providers in the order in which they are asked, with commas; empty: as the file has them. Each has a section [cloud.NAME] with kind, base_url, model and api_key_file.":
            |s, v| s.cloud.order = cloud::names(v), s.cloud.order.join(",");
        "causes", "Why requests may leave, with commas.":
            |s, v| s.cloud.causes = Causes::parse(v)?, s.cloud.causes;
        "prices", "A table of prices (worker/cloud/prices.example.toml); empty: unknown.":
            |s, v| { s.cloud.prices = file(v)?; s.files.extend(s.cloud.prices.clone()); }, show_file(s.cloud.prices.as_ref());
        "budget_dir", "Where it is kept what was spent.":
            |s, v| s.cloud.budget_dir = path(v)?, s.cloud.budget_dir.display();
        "request_tokens_max", "What one request may take, in tokens both ways; 0: no limit.":
            |s, v| s.cloud.limits.request.tokens = cloud::tokens(v)?, s.cloud.limits.request.tokens.unwrap_or(0);
        "request_usd_max", "The same in US dollars.":
            |s, v| s.cloud.limits.request.nanos = cloud::dollars(v)?, show_dollars(s.cloud.limits.request.nanos);
        "user_day_tokens_max", "What one user in a day (of UTC) may take, in tokens both ways; 0: no limit.":
            |s, v| s.cloud.limits.user_day.tokens = cloud::tokens(v)?, s.cloud.limits.user_day.tokens.unwrap_or(0);
        "user_day_usd_max", "The same in US dollars.":
            |s, v| s.cloud.limits.user_day.nanos = cloud::dollars(v)?, show_dollars(s.cloud.limits.user_day.nanos);
        "user_month_tokens_max", "What one user in a month may take, in tokens both ways; 0: no limit.":
            |s, v| s.cloud.limits.user_month.tokens = cloud::tokens(v)?, s.cloud.limits.user_month.tokens.unwrap_or(0);
        "user_month_usd_max", "The same in US dollars.":
            |s, v| s.cloud.limits.user_month.nanos = cloud::dollars(v)?, show_dollars(s.cloud.limits.user_month.nanos);
        "day_tokens_max", "What all in a day may take, in tokens both ways; 0: no limit.":
            |s, v| s.cloud.limits.day.tokens = cloud::tokens(v)?, s.cloud.limits.day.tokens.unwrap_or(0);
        "day_usd_max", "The same in US dollars.":
            |s, v| s.cloud.limits.day.nanos = cloud::dollars(v)?, show_dollars(s.cloud.limits.day.nanos);
        "month_tokens_max", "What all in a month may take, in tokens both ways; 0: no limit.":
            |s, v| s.cloud.limits.month.tokens = cloud::tokens(v)?, s.cloud.limits.month.tokens.unwrap_or(0);
        "month_usd_max", "The same in US dollars.":
            |s, v| s.cloud.limits.month.nanos = cloud::dollars(v)?, show_dollars(s.cloud.limits.month.nanos);
        "redact", "Whether keys, addresses and names are taken out before sending, and put back into the answer.":
            |s, v| s.cloud.redact.off = !on_off(v)?, show_on_off(!s.cloud.redact.off);
        "redact_hosts", "Names of machines to take out, with commas, besides this machine's own.":
            |s, v| s.cloud.redact.hosts = cloud::names(v), s.cloud.redact.hosts.join(",");
        "redact_users", "Names of users to take out, with commas, besides the worker's own.":
            |s, v| s.cloud.redact.users = cloud::names(v), s.cloud.redact.users.join(",");
        "redact_patterns_file", "A file of regular expressions to take out, one for each line; empty: none.":
            |s, v| {
                let file = file(v)?;
                s.cloud.redact.patterns = file.as_deref().map_or(Ok(Vec::new()), cloud::patterns)?;
                s.files.extend(file);
            }, "";
        "hedge_ms", "Ask the next provider as well after so long without a token; 0: never.":
            |s, v| s.cloud.hedge_ms = number(v, 0, 600_000)?, s.cloud.hedge_ms;
        "cache_bytes_max", "Answers at temperature 0 that are kept for identical requests; 0: none.":
            |s, v| s.cloud.cache_bytes_max = bytes(v)?, s.cloud.cache_bytes_max;
        "cache_age_s_max", "For how long, in seconds.":
            |s, v| s.cloud.cache_age_s_max = number(v, 1, 31_536_000)?, s.cloud.cache_age_s_max;
        "documentation_url", "Where `research` with `documentation` looks things up, such as https://context7.com/api; empty: nowhere.":
            |s, v| s.cloud.documentation_url = optional(v), s.cloud.documentation_url.as_deref().unwrap_or_default();
        "documentation_key_file", "A file with the key for that; empty: none.":
            |s, v| { s.cloud.documentation_key_file = file(v)?; s.files.extend(s.cloud.documentation_key_file.clone()); }, show_file(s.cloud.documentation_key_file.as_ref());
        "gpu_probe", "A command that fails while others have the GPU, so that requests leave; empty: none.":
            |s, v| s.cloud.gpu_probe = cloud::words(v)?, show_words(&s.cloud.gpu_probe);
        "low_memory_bytes", "With less memory free than this, requests leave; 0: never for that.":
            |s, v| s.cloud.low_memory_bytes = bytes(v)?, s.cloud.low_memory_bytes;
    }
    ["watch"] {
        "files", "Files that are followed, also when they rotate, with commas: eve.json of Suricata, auth.log, access logs. The first time they begin with what is written from then on.":
            |s, v| s.watch.files = watch::paths(v)?, watch::show_paths(&s.watch.files);
        "unix", "Unix sockets of streams to listen on, with commas.":
            |s, v| s.watch.unix = watch::paths(v)?, watch::show_paths(&s.watch.unix);
        "unix_datagram", "Unix sockets of datagrams to listen on, with commas.":
            |s, v| s.watch.unix_datagram = watch::paths(v)?, watch::show_paths(&s.watch.unix_datagram);
        "syslog_udp", "Addresses of this machine to listen on for syslog by UDP, with commas, such as 127.0.0.1:5514.":
            |s, v| s.watch.syslog_udp = watch::local(v)?, watch::show(&s.watch.syslog_udp);
        "syslog_tcp", "The same by TCP.":
            |s, v| s.watch.syslog_tcp = watch::local(v)?, watch::show(&s.watch.syslog_tcp);
        "trust_syslog", "on or off: whether what comes by UDP and TCP can have somebody blocked. Every user of this machine can send there, and every program that can be made to.":
            |s, v| s.watch.trust_syslog = on_off(v)?, show_on_off(s.watch.trust_syslog);
        "metrics", "on or off: whether processors, memory, load and file systems of this machine are watched; or a directory in the place of /proc. The thresholds are those of `thresholds`.":
            |s, v| s.watch.metrics = watch::metrics(v)?, watch::show_metrics(s.watch.metrics.as_ref());
        "state_dir", "Where positions in files, incidents and blocks are kept.":
            |s, v| s.watch.state_dir = path(v)?, s.watch.state_dir.display();
        "rules", "A TOML file of rules for actions; empty: the built-in ones (worker/watch/src/rules.toml).":
            |s, v| s.watch.rules = file(v)?, show_file(s.watch.rules.as_ref());
        "signatures", "A TOML file of signatures of attacks in requests; empty: the built-in ones.":
            |s, v| s.watch.signatures = file(v)?, show_file(s.watch.signatures.as_ref());
        "thresholds", "A TOML file that says when counters speak up; empty: the built-in ones.":
            |s, v| s.watch.thresholds = file(v)?, show_file(s.watch.thresholds.as_ref());
        "mapping", "A TOML file that says where JSON of other tools has its fields; empty: by the usual names.":
            |s, v| s.watch.mapping = file(v)?, show_file(s.watch.mapping.as_ref());
        "enforce", "off (dry run: it is said what would be blocked), nft (the firewall of the kernel), or deny_file FORM PATH (a file that others read: nginx, apache, or list with one address a line, as for ModSecurity), or crowdsec (decisions by cscli); the policy has to allow each block (block_address).":
            |s, v| s.watch.enforce = watch::enforce(v)?, watch::show_enforce(&s.watch.enforce);
        "allow", "Addresses and networks that are never blocked, with commas, beside private ones, this machine's own, its gateways, DNS servers and SSH peers.":
            |s, v| s.watch.allow = watch::nets(v)?, watch::show(&s.watch.allow);
        "min_severity", "The least severity that is kept and told: info, low, medium, high or critical.":
            |s, v| s.watch.min_severity = watch::severity(v)?, s.watch.min_severity;
        "model", "on or off: whether a model ranks and explains incidents, beside the rules.":
            |s, v| s.watch.model = on_off(v)?, show_on_off(s.watch.model);
        "dnsbl", "Lists of bad addresses (zones of DNS, with commas, such as zen.spamhaus.org) that are asked about public addresses in incidents: who is listed comes first.":
            |s, v| s.watch.dnsbl.lists = watch::lists(v)?, watch::show(&s.watch.dnsbl.lists);
        "dnsbl_server", "Whom they are asked of; many lists answer no public resolver. Empty: the first that /etc/resolv.conf names.":
            |s, v| s.watch.dnsbl.server = watch::name_server(v)?, s.watch.dnsbl.server.map(|server| server.to_string()).unwrap_or_default();
        "alert_min_severity", "The least severity of incidents that are told outside of the worker, by the keys below. Each way has to be allowed by the policy: network, write_file or call_tool.":
            |s, v| s.watch.alerts.min_severity = watch::severity(v)?, s.watch.alerts.min_severity;
        "webhook", "Where each judged incident is posted as JSON: https, or http on this machine; empty: nowhere.":
            |s, v| s.watch.alerts.webhook = alerts::webhook(v)?, alerts::show_webhook(s.watch.alerts.webhook.as_ref());
        "webhook_token_file", "A file that holds the bearer token for it.":
            |s, v| s.watch.alerts.webhook_token = secret_file(v, &mut s.files)?, "";
        "alert_command", "A program that reads each judged incident as JSON, with its arguments, without a shell; the policy knows it as the tool alert_command.":
            |s, v| s.watch.alerts.command = cloud::words(v)?, show_words(&s.watch.alerts.command);
        "alert_tool", "A tool that is called with each judged incident as its parameter `incident`.":
            |s, v| s.watch.alerts.tool = tool(v)?, show_option(s.watch.alerts.tool.as_ref());
        "alert_syslog", "A syslog that is told (RFC 5424): a socket such as /dev/log, or ADDRESS:PORT by UDP.":
            |s, v| s.watch.alerts.syslog = alerts::syslog(v)?, alerts::show_syslog(s.watch.alerts.syslog.as_ref());
        "alert_email", "Who gets an e-mail, with commas; what comes at once comes in one.":
            |s, v| s.watch.alerts.email = alerts::mailboxes(v)?, watch::show(&s.watch.alerts.email);
        "alert_email_from", "Its sender.":
            |s, v| s.watch.alerts.email_from = optional(v).map(|text| alerts::mailbox(&text)).transpose()?, s.watch.alerts.email_from.as_ref().map(ToString::to_string).unwrap_or_default();
        "smtp", "The server that takes it: smtp://USER@HOST:PORT (STARTTLS; plain on this machine) or smtps://...":
            |s, v| s.watch.alerts.smtp = alerts::smtp(v)?, alerts::show_smtp(s.watch.alerts.smtp.as_ref());
        "smtp_password_file", "A file that holds the password of that account.":
            |s, v| s.watch.alerts.smtp_password = secret_file(v, &mut s.files)?, "";
    }
    ["defaults"] {
        "max_tokens", "Most tokens to write.":
            |s, v| s.defaults.max_tokens = number(v, 1, 1_048_576)?, s.defaults.max_tokens;
        "temperature", "0 always takes the likeliest token.":
            |s, v| s.defaults.temperature = number(v, 0.0, 5.0)?, s.defaults.temperature;
        "top_k", "Keep this many of the likeliest tokens; 0: all.":
            |s, v| s.defaults.top_k = number(v, 0, 1_000_000)?, s.defaults.top_k;
        "top_p", "Keep the likeliest tokens whose probabilities sum to this.":
            |s, v| s.defaults.top_p = number(v, 0.001, 1.0)?, s.defaults.top_p;
        "min_p", "Drop tokens less likely than this share of the likeliest.":
            |s, v| s.defaults.min_p = number(v, 0.0, 1.0)?, s.defaults.min_p;
        "repeat_penalty", "Divide the logits of recent tokens by this; 1: off.":
            |s, v| s.defaults.repeat_penalty = number(v, 0.5, 2.0)?, s.defaults.repeat_penalty;
        "deadline_ms", "Give up after this long; 0: never.":
            |s, v| s.defaults.deadline_ms = number(v, 0, 86_400_000)?, s.defaults.deadline_ms;
    }
    ["limits"] {
        "line_bytes_max", "Longest request line.":
            |s, v| s.limits.line_bytes_max = number(v, 1_024, 16 << 20)?, s.limits.line_bytes_max;
        "action_id_bytes_max", "Longest action_id.":
            |s, v| s.limits.action_id_bytes_max = number(v, 1, 4_096)?, s.limits.action_id_bytes_max;
        "connections_max", "Connections open at once.":
            |s, v| s.limits.connections_max = number(v, 1, 65_536)?, s.limits.connections_max;
        "in_flight_max", "Unanswered requests of one connection.":
            |s, v| s.limits.in_flight_max = number(v, 1, 4_096)?, s.limits.in_flight_max;
        "waiting_requests_max", "Requests that may wait for a slot.":
            |s, v| s.limits.waiting_requests_max = number(v, 1, 65_536)?, s.limits.waiting_requests_max;
        "waiting_prompt_tokens_max", "Their prompt tokens together.":
            |s, v| s.limits.waiting_prompt_tokens_max = number(v, 1, 1 << 30)?, s.limits.waiting_prompt_tokens_max;
        "output_tokens_max", "Largest max_tokens.":
            |s, v| s.limits.output_tokens_max = number(v, 1, 1_048_576)?, s.limits.output_tokens_max;
        "messages_max", "Messages in one request.":
            |s, v| s.limits.messages_max = number(v, 1, 65_536)?, s.limits.messages_max;
        "stop_max", "Stop strings in one request.":
            |s, v| s.limits.stop_max = number(v, 0, 256)?, s.limits.stop_max;
        "stop_bytes_max", "Longest stop string.":
            |s, v| s.limits.stop_bytes_max = number(v, 1, 4_096)?, s.limits.stop_bytes_max;
        "grammar_bytes_max", "Longest json_schema, regex or lark.":
            |s, v| s.limits.grammar_bytes_max = number(v, 1, 4 << 20)?, s.limits.grammar_bytes_max;
        "logprobs_max", "Largest logprobs.":
            |s, v| s.limits.logprobs_max = number(v, 0, 100)?, s.limits.logprobs_max;
        "tokenize_bytes_max", "Longest text of tokenize.":
            |s, v| s.limits.tokenize_bytes_max = number(v, 1_024, 16 << 20)?, s.limits.tokenize_bytes_max;
        "sessions_max", "Sessions kept at once; when full, who keeps the most loses the oldest.":
            |s, v| s.limits.sessions_max = number(v, 0, 65_536)?, s.limits.sessions_max;
        "session_bytes_max", "Text in one session.":
            |s, v| s.limits.session_bytes_max = number(v, 1_024, 64 << 20)?, s.limits.session_bytes_max;
        "session_idle_ms_max", "A session that is idle for longer is forgotten.":
            |s, v| s.limits.session_idle_ms_max = number(v, 1_000, u64::MAX)?, s.limits.session_idle_ms_max;
        "user_requests_at_once_max", "Requests of one user at once; 0: no limit.":
            |s, v| s.limits.user_requests_at_once_max = number(v, 0, u64::MAX)?, s.limits.user_requests_at_once_max;
        "user_requests_per_minute_max", "Requests of one user for each minute; 0: no limit.":
            |s, v| s.limits.user_requests_per_minute_max = number(v, 0, u64::MAX)?, s.limits.user_requests_per_minute_max;
        "user_tokens_per_minute_max", "Tokens of one user for each minute, computed and written; 0: no limit.":
            |s, v| s.limits.user_tokens_per_minute_max = number(v, 0, u64::MAX)?, s.limits.user_tokens_per_minute_max;
        "write_stall_ms_max", "A client that takes nothing for longer is disconnected.":
            |s, v| s.limits.write_stall_ms_max = number(v, 100, 86_400_000)?, s.limits.write_stall_ms_max;
    }
    ["log"] {
        "level", "error, warn, info, debug or trace; or a filter such as info,fazai_models=debug.":
            |s, v| s.log.level = log_level(v)?, s.log.level;
        "format", "auto (text on a terminal, JSON otherwise), text or json.":
            |s, v| s.log.format = log_format(v)?, show_log_format(s.log.format);
    }
}

/// The keys of a section whose values differ.
pub(crate) fn changed(section: &str, old: &Settings, new: &Settings) -> Vec<&'static str> {
    let differs = |row: &&Key| row.section == section && (row.show)(old) != (row.show)(new);
    KEYS.iter().filter(differs).map(|row| row.name).collect()
}

/// The row of a key.
pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter()
        .find(|row| row.section == section && row.name == name)
}

/// The names of the sections, each once, in order.
pub(super) fn sections() -> impl Iterator<Item = &'static str> + Clone {
    let starts = |(index, row): (usize, &'static Key)| {
        let before = index.checked_sub(1).map(|left| KEYS[left].section);
        (before != Some(row.section)).then_some(row.section)
    };
    KEYS.iter().enumerate().filter_map(starts)
}

/// Faults that no single line has.
pub(super) fn check(settings: &Settings) -> impl Iterator<Item = String> + use<> {
    let tcp = settings.server.tcp.as_deref();
    let open = tcp.is_some_and(|address| !is_loopback(address));
    let unguarded = open && settings.server.tcp_token.is_none();
    let address = tcp.unwrap_or_default().to_owned();
    let unguarded = unguarded.then(|| {
        format!(
            "tcp = {address} can be reached from other machines, so a token is needed: set \
             tcp_token or tcp_token_file, or use a loopback address"
        )
    });
    let model = &settings.model;
    let other_backend =
        model.backend != BackendKind::Llama && model.llama != LlamaOptions::default();
    let without_llama = other_backend.then(|| {
        let backend = model.backend.name();
        format!(
            "kv_type, flash_attention, mlock and huge_pages need backend = llama, and it is \
             {backend}: leave them out"
        )
    });
    let memory = &settings.memory;
    let sizes = [
        ("bytes", memory.bytes_low, memory.bytes_high),
        (
            "episodes_bytes",
            memory.episodes.bytes_low,
            memory.episodes.bytes_high,
        ),
    ];
    let turned = sizes.into_iter().filter(|(_, low, high)| low > high);
    let turned = turned.map(|(name, low, high)| {
        format!("[memory] {name}_low is {low}, more than {name}_high, which is {high}")
    });
    let cloud = settings.cloud.settings().err();
    let alerts = settings.watch.alerts.fault();
    unguarded
        .into_iter()
        .chain(without_llama)
        .chain(turned)
        .chain(cloud)
        .chain(alerts)
}

/// Whether every address that the name stands for is on this machine.
fn is_loopback(address: &str) -> bool {
    address.to_socket_addrs().is_ok_and(|addresses| {
        let ips: Vec<IpAddr> = addresses.map(|address| address.ip()).collect();
        !ips.is_empty() && ips.iter().all(|ip| ip.to_canonical().is_loopback())
    })
}

/// A settings file with every key, its help and its default.
#[must_use]
pub fn example() -> String {
    let defaults = Settings::default();
    let mut text = String::from(
        "# Settings of the fazai worker. Every key is optional; these are the defaults.\n",
    );
    for section in sections() {
        let _ = writeln!(text, "\n[{section}]");
        for row in KEYS.iter().filter(|row| row.section == section) {
            let value = (row.show)(&defaults);
            let _ = writeln!(text, "# {}\n#{} = {value}", row.help, row.name);
        }
    }
    text
}
