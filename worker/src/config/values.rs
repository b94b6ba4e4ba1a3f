//! How values of keys are read, and shown in the same way.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fazai_models::load::{BackendKind, GpuLayers};
use fazai_models::memory::KvType;
use fazai_protocol::Secret;
use fazai_tools::READY_PROFILES;
use tracing_subscriber::filter::EnvFilter;

use super::{Cgroup, LogFormat, ModuleIsolation, ModuleTrust};
use crate::text_file;

/// A number within bounds.
pub(super) fn number<T>(text: &str, least: T, most: T) -> Result<T, String>
where
    T: FromStr + PartialOrd + std::fmt::Display + Copy,
{
    let clean = text.replace('_', "");
    match clean.parse::<T>() {
        Ok(value) if value >= least && value <= most => Ok(value),
        _ => Err(format!("a number from {least} to {most} is needed")),
    }
}

/// A number of bytes, with an optional binary suffix.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wanted = || "a number of bytes is needed, such as 512M or 2G".to_owned();
    let text = text.trim_end_matches(['B', 'b']).trim_end_matches('i');
    let (digits, shift) = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let count: u64 = digits.trim().parse().map_err(|_| wanted())?;
    count.checked_mul(1 << shift).ok_or_else(wanted)
}

pub(super) fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off is needed".to_owned()),
    }
}

pub(super) fn show_on_off(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}

pub(super) fn show_dollars(nanos: Option<u64>) -> f64 {
    fazai_cloud::prices::dollars(nanos.unwrap_or(0))
}

pub(super) fn optional(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A file, or none.
pub(super) fn file(text: &str) -> Result<Option<PathBuf>, String> {
    (!text.is_empty()).then(|| path(text)).transpose()
}

pub(super) fn show_file(path: Option<&PathBuf>) -> String {
    path.map(|path| path.display().to_string())
        .unwrap_or_default()
}

/// What stands between commas.
pub(super) fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

pub(super) fn show_option(value: Option<&String>) -> String {
    value.cloned().unwrap_or_default()
}

pub(super) fn tcp(text: &str) -> Result<Option<String>, String> {
    let Some(address) = optional(text) else {
        return Ok(None);
    };
    let good = address.parse::<SocketAddr>().is_ok()
        || address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(':') && port.parse::<u16>().is_ok()
        });
    if good {
        Ok(Some(address))
    } else {
        Err("host:port is needed, such as 127.0.0.1:5556".into())
    }
}

pub(super) fn token_file(path: &str) -> Result<Secret, String> {
    let text = text_file::read(Path::new(path)).map_err(|fault| fault.to_string())?;
    match text.trim() {
        "" => Err("the file is empty".into()),
        token => Ok(Secret(token.to_owned())),
    }
}

/// A file with a secret, or none; the file becomes one of the worker's own.
pub(super) fn secret_file(text: &str, files: &mut Vec<PathBuf>) -> Result<Option<Secret>, String> {
    let Some(path) = file(text)? else {
        return Ok(None);
    };
    let secret = token_file(text)?;
    files.push(path);
    Ok(Some(secret))
}

/// The name of a tool, or none.
pub(super) fn tool(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() || fazai_toolbox::is_name(text) {
        Ok(optional(text))
    } else {
        Err("the name of a tool is needed; `fazai tools list` shows them".to_owned())
    }
}

pub(super) fn show_words(words: &[String]) -> String {
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default()
}

pub(super) fn mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    u32::from_str_radix(digits, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "octal permissions are needed, such as 0660".into())
}

pub(super) fn uids(text: &str) -> Result<Vec<u32>, String> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            part.parse()
                .map_err(|_| "user ids (numbers) are needed".to_owned())
        })
        .collect()
}

pub(super) fn join(uids: &[u32]) -> String {
    uids.iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

pub(super) fn backend(text: &str) -> Result<BackendKind, String> {
    match text {
        "llama" => Ok(BackendKind::Llama),
        "candle" => Ok(BackendKind::Candle),
        _ => Err("llama or candle is needed".into()),
    }
}

pub(super) fn kv_type(text: &str) -> Result<Option<KvType>, String> {
    match text {
        "auto" => Ok(None),
        "f16" => Ok(Some(KvType::F16)),
        "q8_0" => Ok(Some(KvType::Q8_0)),
        _ => Err("auto, f16 or q8_0 is needed".into()),
    }
}

pub(super) fn auto_on_off(text: &str) -> Result<Option<bool>, String> {
    match text {
        "auto" => Ok(None),
        _ => on_off(text)
            .map(Some)
            .map_err(|_| "auto, on or off is needed".into()),
    }
}

pub(super) fn gpu_layers(text: &str) -> Result<GpuLayers, String> {
    match text {
        "auto" => Ok(GpuLayers::Auto),
        count => count
            .parse()
            .map(GpuLayers::Count)
            .map_err(|_| "auto or a number of layers is needed".into()),
    }
}

pub(super) fn show_gpu_layers(layers: GpuLayers) -> String {
    match layers {
        GpuLayers::Auto => "auto".into(),
        GpuLayers::Count(count) => count.to_string(),
    }
}

pub(super) fn profile(text: &str) -> Result<String, String> {
    if READY_PROFILES.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("one of {} is needed", READY_PROFILES.join(", ")))
    }
}

pub(super) fn cgroup(text: &str) -> Result<Cgroup, String> {
    match text {
        "auto" => Ok(Cgroup::Auto),
        "off" => Ok(Cgroup::Off),
        dir => path(dir)
            .map(Cgroup::Dir)
            .map_err(|wanted| format!("auto, off, or {wanted}")),
    }
}

pub(super) fn show_cgroup(cgroup: &Cgroup) -> String {
    match cgroup {
        Cgroup::Auto => "auto".to_owned(),
        Cgroup::Off => "off".to_owned(),
        Cgroup::Dir(dir) => dir.display().to_string(),
    }
}

/// A path means the same wherever the worker was started, and quotes would be part of its name.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    let up = text.split('/').any(|part| part == "..");
    if text.starts_with('/') && !up && !text.contains(" #") {
        Ok(PathBuf::from(text))
    } else {
        Err("an absolute path is needed, without quotes, `..` or a comment behind it".to_owned())
    }
}

/// A path that may be below another.
pub(super) fn unquoted(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.starts_with(['"', '\'']) {
        return Err("a path without quotes is needed".to_owned());
    }
    Ok(PathBuf::from(text))
}

/// A path, or nothing.
pub(super) fn optional_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        Ok(PathBuf::new())
    } else {
        path(text)
    }
}

pub(super) fn module_trust(text: &str) -> Result<ModuleTrust, String> {
    match text {
        "manifest" => Ok(ModuleTrust::Manifest),
        "signature" => Ok(ModuleTrust::Signature),
        "any" => Ok(ModuleTrust::Any),
        _ => Err("manifest, signature or any is needed".into()),
    }
}

pub(super) fn show_module_trust(trust: ModuleTrust) -> &'static str {
    match trust {
        ModuleTrust::Manifest => "manifest",
        ModuleTrust::Signature => "signature",
        ModuleTrust::Any => "any",
    }
}

pub(super) fn module_isolation(text: &str) -> Result<ModuleIsolation, String> {
    match text {
        "process" => Ok(ModuleIsolation::Process),
        "inproc" => Ok(ModuleIsolation::InProcess),
        _ => Err("process or inproc is needed".into()),
    }
}

pub(super) fn show_module_isolation(isolation: ModuleIsolation) -> &'static str {
    match isolation {
        ModuleIsolation::Process => "process",
        ModuleIsolation::InProcess => "inproc",
    }
}

/// A filter takes any word for the name of a module, and would then log nothing.
pub(super) fn log_level(text: &str) -> Result<String, String> {
    let text = text.to_lowercase();
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let is_filter = text.contains(['=', ',', '[']);
    if levels.contains(&text.as_str()) || is_filter && text.parse::<EnvFilter>().is_ok() {
        Ok(text)
    } else {
        Err("error, warn, info, debug, trace, off or a filter is needed".into())
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("auto, text or json is needed".into()),
    }
}

pub(super) fn show_log_format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Auto => "auto",
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    }
}
