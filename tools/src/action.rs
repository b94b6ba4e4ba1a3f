//! What may be done on the machine, as data: the policy judges it before anything happens.

mod cut;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::cut::Cut;
use crate::policy::Risk;
use crate::shell::{Refused, Script};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Start a program.
    Exec(Exec),
    /// Read a file.
    ReadFile {
        /// Absolute, or relative to the directory of the worker.
        path: PathBuf,
    },
    /// Create, change or delete a file.
    WriteFile {
        /// Absolute, or relative to the directory of the worker.
        path: PathBuf,
        /// All that it is to hold, where that is known: what somebody says yes to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<Input>,
        /// The permissions that it is to have, in four octal digits; without them it keeps its
        /// own, or has the usual ones.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<String>,
    },
    /// Open a connection.
    Network {
        /// A name or an address.
        host: String,
        /// The port of TCP or UDP.
        port: u16,
    },
    /// Send text to a model in the cloud.
    SendToCloud {
        /// Who gets it, such as `openai`.
        provider: String,
        /// How confidential it is, such as `public`.
        label: String,
        /// How many secrets of each kind were taken out of it.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        redacted: BTreeMap<String, usize>,
    },
    /// Load a native module.
    LoadModule {
        /// Its name, without directory and `.so`.
        name: String,
    },
    /// Call a native module that is loaded.
    CallModule {
        /// Its name.
        name: String,
        /// What it is told to do.
        command: String,
    },
    /// Run a tool of the toolbox.
    CallTool(Box<ToolCall>),
    /// Keep a text in the long-term memory.
    WriteMemory {
        /// Where it is kept.
        collection: String,
    },
    /// Block an address in the firewall.
    BlockAddress {
        /// Whose packets are dropped.
        address: IpAddr,
        /// How many bits of the address count; none: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prefix: Option<u8>,
        /// For how long, in seconds; 0 ends it.
        ttl_s: u64,
    },
    /// Install a package with the package manager of the system.
    InstallPackage {
        /// As the package manager calls it.
        name: String,
        /// The command that does it, which is judged as well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exec: Option<Exec>,
    },
    /// Start, stop or otherwise change a service.
    ServiceControl {
        /// The unit of systemd, such as `nginx.service`.
        unit: String,
        /// What to do with it, such as `restart`.
        verb: String,
    },
}

/// A program to start, without a shell unless `argv` names one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The directory it starts in; absolute.
    pub cwd: PathBuf,
    /// Variables that are added to the environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What it is given to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Input>,
}

/// A tool of the toolbox, and what it is told. The rules judge it by its name and its rights, not
/// by the program behind it: whoever put it into the toolbox chose that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// Its name.
    pub name: String,
    /// What it may do besides computing and reading.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub rights: BTreeSet<Right>,
    /// How bad a mistake with it would be, as its author says.
    pub risk: Risk,
    /// What it is told.
    pub input: Input,
    /// The program that is started for this call; none: it runs already, or in the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Exec>,
}

/// What a tool may do besides computing and reading what is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Speak to other machines.
    Network,
    /// Whatever the worker's user may do: write files, ask services, read secrets.
    Change,
}

/// The input of a program, or what a file is to hold: which it is, and enough of it for a person to
/// judge. No rule can know what a program makes of it, so that its input is always asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// How long it is, in bytes.
    pub bytes: usize,
    /// Its hash, in hexadecimal digits.
    pub sha256: String,
    /// Its first characters.
    pub head: String,
}

/// How much of an input is shown and recorded, in characters.
const HEAD_CHARS_MAX: usize = 1000;

/// What a command text is run by.
const SHELL: [&str; 2] = ["bash", "-c"];

impl Exec {
    /// A program and its arguments, in this directory.
    #[must_use]
    pub fn plain(argv: Vec<String>, cwd: impl Into<PathBuf>) -> Self {
        Self {
            argv,
            cwd: cwd.into(),
            env: BTreeMap::new(),
            stdin: None,
        }
    }

    /// A command text, run by bash in this directory.
    #[must_use]
    pub fn shell(text: impl Into<String>, cwd: impl Into<PathBuf>) -> Self {
        let [shell, flag] = SHELL.map(str::to_owned);
        Self::plain(vec![shell, flag, text.into()], cwd)
    }

    /// A command text in this directory, so that what is judged is what runs: a single plain
    /// command is started without a shell.
    pub fn of_text(text: &str, cwd: impl Into<PathBuf>) -> Result<Self, Refused> {
        let plain = Script::parse(text)?.plain_argv();
        Ok(match plain.filter(|argv| is_program(&argv[0])) {
            Some(argv) => Self::plain(argv, cwd),
            None => Self::shell(text, cwd),
        })
    }

    /// What is run, for people.
    #[must_use]
    pub fn text(&self) -> String {
        match self.argv.as_slice() {
            [shell, flag, text] if [shell, flag] == SHELL => text.clone(),
            argv => argv.join(" "),
        }
    }
}

/// The programs that a command text would run and that are not installed. Words of the shell are
/// among them: what is really missing, its complaint names.
#[must_use]
pub fn not_installed(text: &str) -> Vec<String> {
    let script = Script::parse(text).unwrap_or_default();
    let programs = script.commands.into_iter().map(|command| command.program);
    programs.filter(|name| !is_program(name)).collect()
}

/// Whether it is more than a word of the shell.
fn is_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    name.contains('/') || std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

impl Input {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let head = &bytes[..bytes.len().min(4 * HEAD_CHARS_MAX)];
        Self {
            bytes: bytes.len(),
            sha256: hex::encode(Sha256::digest(bytes)),
            head: String::from_utf8_lossy(head)
                .chars()
                .take(HEAD_CHARS_MAX)
                .collect(),
        }
    }
}

/// The kinds of actions, as `policy.toml` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`Action::Exec`]
    Exec,
    /// [`Action::ReadFile`]
    ReadFile,
    /// [`Action::WriteFile`]
    WriteFile,
    /// [`Action::Network`]
    Network,
    /// [`Action::SendToCloud`]
    SendToCloud,
    /// [`Action::LoadModule`]
    LoadModule,
    /// [`Action::CallModule`]
    CallModule,
    /// [`Action::CallTool`]
    CallTool,
    /// [`Action::WriteMemory`]
    WriteMemory,
    /// [`Action::BlockAddress`]
    BlockAddress,
    /// [`Action::InstallPackage`]
    InstallPackage,
    /// [`Action::ServiceControl`]
    ServiceControl,
}

impl Action {
    /// A command text, run by bash in this directory.
    #[must_use]
    pub fn shell(text: impl Into<String>, cwd: impl Into<PathBuf>) -> Self {
        Self::Exec(Exec::shell(text, cwd))
    }

    /// Writing a file whose content is not known yet, or not one text.
    #[must_use]
    pub fn write_file(path: impl Into<PathBuf>) -> Self {
        Self::WriteFile {
            path: path.into(),
            content: None,
            mode: None,
        }
    }

    /// The program that is to be started, if that is what it takes.
    #[must_use]
    pub fn exec(&self) -> Option<&Exec> {
        match self {
            Self::Exec(exec) => Some(exec),
            Self::CallTool(call) => call.exec.as_ref(),
            Self::InstallPackage { exec, .. } => exec.as_ref(),
            _ => None,
        }
    }

    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Exec(_) => Kind::Exec,
            Self::ReadFile { .. } => Kind::ReadFile,
            Self::WriteFile { .. } => Kind::WriteFile,
            Self::Network { .. } => Kind::Network,
            Self::SendToCloud { .. } => Kind::SendToCloud,
            Self::LoadModule { .. } => Kind::LoadModule,
            Self::CallModule { .. } => Kind::CallModule,
            Self::CallTool(_) => Kind::CallTool,
            Self::WriteMemory { .. } => Kind::WriteMemory,
            Self::BlockAddress { .. } => Kind::BlockAddress,
            Self::InstallPackage { .. } => Kind::InstallPackage,
            Self::ServiceControl { .. } => Kind::ServiceControl,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_survives_json() {
        let action = Action::shell("df -h", "/");
        let text = serde_json::to_string(&action).expect("an action serializes");
        assert_eq!(
            text,
            r#"{"action":"exec","argv":["bash","-c","df -h"],"cwd":"/"}"#
        );
        assert_eq!(serde_json::from_str::<Action>(&text).ok(), Some(action));
    }

    #[test]
    fn a_line_of_before_files_had_a_content_is_read() {
        let old = r#"{"action":"write_file","path":"/etc/motd"}"#;
        let read = serde_json::from_str::<Action>(old).expect("an action");
        assert_eq!(read, Action::write_file("/etc/motd"));
        assert_eq!(serde_json::to_string(&read).expect("JSON"), old);
        let new = Action::WriteFile {
            path: "/etc/motd".into(),
            content: Some(Input::of(b"hello")),
            mode: Some("0640".to_owned()),
        };
        let text = serde_json::to_string(&new).expect("JSON");
        assert!(
            text.contains(r#""content":{"bytes":5,"sha256":""#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Action>(&text).ok(), Some(new));
    }

    #[test]
    fn a_plain_command_takes_no_shell() {
        let argv = |text| Exec::of_text(text, "/").map(|exec| exec.argv).ok();
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(argv("ls 'a b'"), words(&["ls", "a b"]));
        assert_eq!(argv("ls | wc"), words(&["bash", "-c", "ls | wc"]));
        assert_eq!(argv("cd /tmp"), words(&["bash", "-c", "cd /tmp"]));
        assert_eq!(argv("ls 'a"), words(&["bash", "-c", "ls 'a"]));
        assert_eq!(argv("ls \0"), None);
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        let text = r#"{"action":"exec","argv":[],"cwd":"/","environment":{}}"#;
        assert!(serde_json::from_str::<Action>(text).is_err());
    }
}
