//! Keys of FazAI v2's file: those with a meaning here are taken, the rest are told at the start.

use super::Settings;

/// Sections of a v2 file that have no counterpart under the same name.
const SECTIONS: &[&str] = &[
    "system",
    "ai_provider",
    "gemma_worker",
    "gemma_cpp",
    "dispatcher",
    "qdrant",
    "ollama",
    "openai",
    "openrouter",
    "context7",
];

pub(super) fn knows_section(name: &str) -> bool {
    SECTIONS.contains(&name)
}

/// Takes one key of a v2 section.
pub(super) fn apply(
    settings: &mut Settings,
    section: &str,
    key: &str,
    value: &str,
) -> Result<(), String> {
    match (section, key) {
        ("system" | "gemma_worker", "log_level") => set(settings, "log", "level", value),
        ("gemma_worker", "unix_socket") => set(settings, "server", "socket", value),
        ("gemma_worker", "host") => listen(settings, Some(value), None),
        ("gemma_worker", "port") => listen(settings, None, Some(value)),
        ("gemma_cpp", "max_tokens") => set(settings, "defaults", "max_tokens", value),
        ("gemma_cpp", "temperature") => set(settings, "defaults", "temperature", value),
        ("gemma_cpp", "top_k") => set(settings, "defaults", "top_k", value),
        ("gemma_cpp", "deterministic") if value == "true" => {
            set(settings, "defaults", "temperature", "0")
        }
        ("gemma_cpp", "generation_timeout") => {
            let seconds: u64 = value.parse().map_err(|_| "a number of seconds is needed")?;
            let millis = seconds.saturating_mul(1_000).to_string();
            set(settings, "defaults", "deadline_ms", &millis)
        }
        ("gemma_cpp", "weights") if value.ends_with(".gguf") => {
            set(settings, "model", "default", value)
        }
        ("ai_provider", "enable_fallback") if value == "false" => {
            settings.cloud.allow = Some(false);
            Ok(())
        }
        ("ai_provider", "enable_fallback") => Ok(()),
        // context7 has documents and answers nothing.
        ("dispatcher", "fallback_order") => {
            let names = value.split(',').map(str::trim);
            let names = names.filter(|name| matches!(*name, "openai" | "openrouter"));
            settings.cloud.order_v2 = names.map(str::to_owned).collect();
            Ok(())
        }
        ("openai" | "openrouter", "api_key" | "model") => {
            settings.cloud.set_v2(section, key, value)
        }
        ("openrouter", "default_model") => settings.cloud.set_v2(section, "model", value),
        ("openrouter", "endpoint") if value.is_empty() => Ok(()),
        ("openrouter", "endpoint") => settings.cloud.set_v2(section, "base_url", value),
        _ => {
            settings
                .notes
                .push(format!("[{section}] {key} has no effect in this version"));
            Ok(())
        }
    }
}

/// Reads the value as if it stood under the new name.
fn set(settings: &mut Settings, section: &str, name: &str, value: &str) -> Result<(), String> {
    settings
        .set(section, name, value)
        .map_err(|wanted| format!("{value:?} (now [{section}] {name}): {wanted}"))
}

/// v2 always listened on TCP; here its keys turn it on.
fn listen(settings: &mut Settings, host: Option<&str>, port: Option<&str>) -> Result<(), String> {
    let present = settings.server.tcp.as_deref().unwrap_or("127.0.0.1:5556");
    let (old_host, old_port) = present.rsplit_once(':').unwrap_or((present, "5556"));
    let host = host.unwrap_or(old_host);
    let port = port.unwrap_or(old_port);
    let address = format!("{host}:{port}");
    set(settings, "server", "tcp", &address)
}
