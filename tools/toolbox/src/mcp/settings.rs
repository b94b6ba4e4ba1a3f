//! The servers as they are named in the settings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use fazai_tools::{Right, Risk};
use serde::Deserialize;
use toml::Spanned;

use crate::tool::is_name;

/// The longest text of servers, in bytes.
pub const SERVERS_BYTES_MAX: usize = 64 << 10;

/// How many servers there may be.
pub const SERVERS_MAX: usize = 32;

/// The longest name of a server, in bytes, so that there is room for those of its tools.
pub const SERVER_NAME_BYTES_MAX: usize = 24;

/// How many words a command, and how many variables an environment may have.
const WORDS_MAX: usize = 64;

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
const TIMEOUT_S_MAX: u64 = 3_600;

/// A program that offers tools by the Model Context Protocol on its standard streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpServer {
    /// What its tools' names begin with: see [`is_server_name`].
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The directory it starts in; absolute.
    pub cwd: PathBuf,
    /// Variables that are added to the few that every program gets. They are recorded with the
    /// permit to start it.
    pub env: BTreeMap<String, String>,
    /// What it may do besides computing and reading.
    pub rights: BTreeSet<Right>,
    /// How bad a mistake with one of its tools would be. It may call one worse, but not better.
    pub risk: Risk,
    /// How long a call may take.
    pub timeout: Duration,
}

/// Why the servers can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServersError {
    /// Something is misspelt, missing, of the wrong type, or beyond a limit.
    #[error("line {line}, column {column}: {message}")]
    At {
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What is wrong, and what to do.
        message: String,
    },
    /// Longer than [`SERVERS_BYTES_MAX`].
    #[error("the servers have {bytes} bytes and {SERVERS_BYTES_MAX} are allowed; shorten it")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// More than [`SERVERS_MAX`].
    #[error("there are {count} servers and {SERVERS_MAX} are allowed; remove some")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServersFile {
    #[serde(default)]
    servers: BTreeMap<Spanned<String>, ServerFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerFile {
    command: Spanned<Vec<String>>,
    cwd: Option<Spanned<PathBuf>>,
    env: Option<Spanned<BTreeMap<String, String>>>,
    #[serde(default)]
    rights: BTreeSet<Right>,
    risk: Option<Risk>,
    timeout_s: Option<Spanned<u64>>,
}

/// Whether it is a name for a server: ASCII letters, digits, `_` and `-`, a letter first.
#[must_use]
pub fn is_server_name(text: &str) -> bool {
    text.len() <= SERVER_NAME_BYTES_MAX && is_name(text) && !text.contains('.')
}

/// Reads the servers of a TOML text:
///
/// ```toml
/// [servers.files]
/// command = ["/usr/bin/mcp-files", "/srv"]
/// cwd = "/srv"               # if none: "/"
/// env = { MODE = "fast" }
/// rights = ["change"]        # if none: it can neither change anything nor use the network
/// risk = "high"              # if none: "medium"
/// timeout_s = 60
/// ```
pub fn read_servers(text: &str) -> Result<Vec<McpServer>, ServersError> {
    if text.len() > SERVERS_BYTES_MAX {
        return Err(ServersError::TooLong { bytes: text.len() });
    }
    let file: ServersFile = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        fault(text, at, error.message())
    })?;
    if file.servers.len() > SERVERS_MAX {
        return Err(ServersError::TooMany {
            count: file.servers.len(),
        });
    }
    let servers = file.servers.into_iter();
    servers
        .map(|(name, server)| valid(text, name, server))
        .collect()
}

fn valid(text: &str, name: Spanned<String>, server: ServerFile) -> Result<McpServer, ServersError> {
    let check = |good: bool, at: usize, message: &str| match good {
        true => Ok(()),
        false => Err(fault(text, at, message)),
    };
    check(
        is_server_name(name.get_ref()),
        name.span().start,
        &format!(
            "a server's name has a letter and then letters, digits, `_` and `-`, at most \
             {SERVER_NAME_BYTES_MAX} in all; rename it"
        ),
    )?;
    let words = server.command.get_ref();
    check(
        (1..=WORDS_MAX).contains(&words.len())
            && !words[0].is_empty()
            && !words.iter().any(|word| word.contains('\0')),
        server.command.span().start,
        &format!("a command is a program and its arguments, 1 to {WORDS_MAX} in all, without NUL"),
    )?;
    if let Some(cwd) = &server.cwd {
        let good = cwd.get_ref().is_absolute() && !cwd.get_ref().to_string_lossy().contains('\0');
        check(good, cwd.span().start, "name the whole path, from `/`")?;
    }
    if let Some(env) = &server.env {
        let good = |(name, value): (&String, &String)| {
            !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
        };
        check(
            env.get_ref().len() <= WORDS_MAX && env.get_ref().iter().all(good),
            env.span().start,
            &format!("at most {WORDS_MAX} variables, with names without `=`, and without NUL"),
        )?;
    }
    if let Some(timeout) = &server.timeout_s {
        check(
            (1..=TIMEOUT_S_MAX).contains(timeout.get_ref()),
            timeout.span().start,
            &format!("a call can take 1 to {TIMEOUT_S_MAX} seconds"),
        )?;
    }
    Ok(McpServer {
        name: name.into_inner(),
        command: server.command.into_inner(),
        cwd: server.cwd.map_or_else(|| "/".into(), Spanned::into_inner),
        env: server.env.map(Spanned::into_inner).unwrap_or_default(),
        rights: server.rights,
        risk: server.risk.unwrap_or(Risk::Medium),
        timeout: server.timeout_s.map_or(TIMEOUT_DEFAULT, |seconds| {
            Duration::from_secs(seconds.into_inner())
        }),
    })
}

fn fault(text: &str, at: usize, message: &str) -> ServersError {
    let before = text.get(..at).unwrap_or_default();
    ServersError::At {
        line: before.matches('\n').count() + 1,
        column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        let text = r#"
            [servers.files]
            command = ["mcp-files", "/srv"]
            cwd = "/srv"
            env = { MODE = "fast" }
            rights = ["change", "network"]
            risk = "high"
            timeout_s = 5
            [servers.small-1]
            command = ["small"]
        "#;
        let files = McpServer {
            name: "files".into(),
            command: vec!["mcp-files".into(), "/srv".into()],
            cwd: "/srv".into(),
            env: BTreeMap::from([("MODE".into(), "fast".into())]),
            rights: BTreeSet::from([Right::Change, Right::Network]),
            risk: Risk::High,
            timeout: Duration::from_secs(5),
        };
        let small = McpServer {
            name: "small-1".into(),
            command: vec!["small".into()],
            cwd: "/".into(),
            env: BTreeMap::new(),
            rights: BTreeSet::new(),
            risk: Risk::Medium,
            timeout: TIMEOUT_DEFAULT,
        };
        assert_eq!(read_servers(text), Ok(vec![files, small]));
        assert_eq!(read_servers(""), Ok(vec![]));
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = read_servers(text).expect_err(text).to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        refused("[servers.a]\ncomand = [\"x\"]", "line 2, column 1: ");
        refused("[servers.a]\n  command = \"x\"", "line 2, column 13: ");
        refused("[servers.a]\ncommand = []", "line 2, column 11: a command");
        refused(
            "[servers.a]\ncommand = [\"\"]",
            "line 2, column 11: a command",
        );
        refused(
            "[servers.\"a.b\"]\ncommand = [\"x\"]",
            "line 1, column 10: a server's name",
        );
        refused(
            "\n[servers.1a]\ncommand = [\"x\"]",
            "line 2, column 10: a server's name",
        );
        refused(
            "[servers.a]\ncommand = [\"x\"]\ncwd = \"x\"",
            "line 3, column 7: name",
        );
        refused(
            "[servers.a]\ncommand = [\"x\"]\nenv = { \"A=\" = \"x\" }",
            "line 3, column 7: at",
        );
        refused(
            "[servers.a]\ncommand = [\"x\"]\nrights = [\"all\"]",
            "line 3, column ",
        );
        refused(
            "[servers.a]\ncommand = [\"x\"]\ntimeout_s = 0",
            "line 3, column 13: a call",
        );
        refused(
            &" ".repeat(SERVERS_BYTES_MAX + 1),
            "the servers have 65537 bytes",
        );
        let many: String = (0..33)
            .map(|n| format!("[servers.s{n}]\ncommand = [\"x\"]\n"))
            .collect();
        refused(&many, "there are 33 servers");
    }
}
