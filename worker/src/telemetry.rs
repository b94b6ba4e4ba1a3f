//! Logs: text on a terminal, JSON otherwise; the level can change while the worker runs.
//!
//! A prompt's or an answer's text is never logged at the default level.

use std::io::IsTerminal;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::{LogFormat, LogSettings};

/// Changes the level later.
#[derive(Debug, Clone)]
pub struct LogHandle(reload::Handle<EnvFilter, Registry>);

/// Starts logging to standard error.
///
/// # Errors
/// The level is no level and no filter, or logging was started before.
pub fn start(settings: &LogSettings) -> anyhow::Result<LogHandle> {
    let (filter, handle) = reload::Layer::new(filter(settings)?);
    let json = match settings.format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()?;
    Ok(LogHandle(handle))
}

impl LogHandle {
    /// Logs at another level from now on.
    ///
    /// # Errors
    /// The level is no level and no filter.
    pub fn set(&self, settings: &LogSettings) -> anyhow::Result<()> {
        self.0.reload(filter(settings)?)?;
        Ok(())
    }
}

fn filter(settings: &LogSettings) -> anyhow::Result<EnvFilter> {
    let level = &settings.level;
    // The client of MCP servers logs what they send, which may be anything. That a certificate is
    // not believed is told by whoever wanted the connection.
    EnvFilter::try_new(format!("rmcp=warn,rustls_platform_verifier=off,{level}"))
        .map_err(|fault| anyhow::anyhow!("log level {level:?}: {fault}"))
}
