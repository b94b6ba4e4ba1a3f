//! Where lines come from, and the tables by which they are read and judged.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fazai_watch::Watch;
use fazai_watch::action::Rules;
use fazai_watch::detect::Thresholds;
use fazai_watch::format::Parser;
use fazai_watch::format::mapping::Mapping;
use fazai_watch::input::{Follow, Input, Listen, ListenError, Metrics, Start};
use fazai_watch::signature::Signatures;
use fazai_watch::time::Clock;
use fazai_watch::watch::{LINE_BYTES_MAX, SOURCES_MAX};

use crate::text_file;

/// Files and sockets.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Files that are followed.
    pub files: Vec<PathBuf>,
    /// Unix sockets of streams.
    pub unix: Vec<PathBuf>,
    /// Unix sockets of datagrams.
    pub unix_datagram: Vec<PathBuf>,
    /// Addresses for syslog by TCP.
    pub syslog_tcp: Vec<SocketAddr>,
    /// Addresses for syslog by UDP.
    pub syslog_udp: Vec<SocketAddr>,
    /// Whether lines that come by TCP and UDP may make somebody an attacker.
    pub trust_syslog: bool,
    /// Measurements of the machine whose `/proc` this is.
    pub metrics: Option<PathBuf>,
    /// Where the positions in files are kept across restarts.
    pub state_dir: Option<PathBuf>,
    /// Where new files begin.
    pub start: Start,
}

/// One of them, open.
pub struct Source {
    /// Its path or address.
    pub name: String,
    /// What comes from it.
    pub input: Box<dyn Input + Send>,
    /// Whether only administrators can write to it, or whom they let.
    pub trusted: bool,
}

/// Why a source or a table can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {why}")]
pub struct SourceFault {
    /// Its path or address.
    pub name: String,
    /// What is wrong.
    pub why: String,
}

fn fault(name: &impl ToString, why: &impl ToString) -> SourceFault {
    SourceFault {
        name: name.to_string(),
        why: why.to_string(),
    }
}

impl Sources {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let paths = [&self.files, &self.unix, &self.unix_datagram];
        let addresses = [&self.syslog_tcp, &self.syslog_udp];
        paths.iter().all(|paths| paths.is_empty())
            && addresses.iter().all(|addresses| addresses.is_empty())
            && self.metrics.is_none()
    }

    /// Opens all of them; each can fail by itself.
    #[must_use]
    pub fn open(&self) -> Vec<Result<Source, SourceFault>> {
        let files = self.files.iter().map(|path| {
            let opened = self
                .follow(path)
                .map_err(|why| fault(&path.display(), &why));
            opened.map(|input| source(&path.display(), input))
        });
        let listen = |name: String, opened: Result<Listen, ListenError>| match opened {
            Ok(input) => Ok(source(&name, input)),
            Err(why) => Err(fault(&name, &why)),
        };
        let unix = self.unix.iter().map(|path| {
            let opened = Listen::unix(path, LINE_BYTES_MAX);
            listen(path.display().to_string(), opened)
        });
        let datagram = self.unix_datagram.iter().map(|path| {
            let opened = Listen::unix_datagram(path, LINE_BYTES_MAX);
            listen(path.display().to_string(), opened)
        });
        let tcp = self.syslog_tcp.iter().map(|address| {
            let opened = Listen::tcp(*address, LINE_BYTES_MAX);
            listen(address.to_string(), opened)
        });
        let udp = self.syslog_udp.iter().map(|address| {
            let opened = Listen::udp(*address, LINE_BYTES_MAX);
            listen(address.to_string(), opened)
        });
        let metrics = self.metrics.iter().map(|proc| {
            let input = Metrics::new(proc);
            Ok(source(&format!("metrics of {}", proc.display()), input))
        });
        let own = files.chain(unix).chain(datagram).chain(metrics);
        let own = own.map(|opened| (opened, true));
        // Any user of the machine can send to a port of it, and so can a server that is made to.
        let ports = tcp.chain(udp).map(|opened| (opened, self.trust_syslog));
        let all = own.chain(ports).map(|(opened, trusted)| {
            let opened: Result<Source, SourceFault> = opened;
            opened.map(|source| Source { trusted, ..source })
        });
        let too_many = |(at, opened)| {
            // One number is left for lines that clients bring.
            if at + 1 >= usize::from(SOURCES_MAX) {
                let why = format!("at most {} sources at once", SOURCES_MAX - 1);
                return Err(fault(&"sources", &why));
            }
            opened
        };
        all.enumerate().map(too_many).collect()
    }

    fn follow(&self, path: &Path) -> io::Result<Follow> {
        if let Some(dir) = &self.state_dir {
            state_dir(dir)?;
        }
        let kept = self.state_dir.as_deref();
        let kept = kept.map(|dir| dir.join(position_file(path)));
        Follow::new(path, kept.as_deref(), self.start, LINE_BYTES_MAX)
    }
}

/// Makes a directory that is nobody else's to read.
pub(super) fn state_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

fn source(name: &impl ToString, input: impl Input + Send + 'static) -> Source {
    Source {
        name: name.to_string(),
        input: Box::new(input),
        trusted: true,
    }
}

/// One name for each path.
fn position_file(path: &Path) -> String {
    let name = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c.to_string()
        } else {
            format!("_{:x}", u32::from(c))
        }
    };
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let name: String = path.display().to_string().chars().map(name).collect();
    format!("{name}.position")
}

/// TOML files by which lines are read and judged; none: the built-in tables.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// What may be done.
    pub rules: Option<PathBuf>,
    /// Patterns of attacks in requests.
    pub signatures: Option<PathBuf>,
    /// When counters speak up.
    pub thresholds: Option<PathBuf>,
    /// Where JSON of other tools has its fields.
    pub mapping: Option<PathBuf>,
}

impl Tables {
    /// The rules for actions.
    ///
    /// # Errors
    /// The file can't be read, or is none of rules.
    pub fn rules(&self) -> Result<Rules, SourceFault> {
        table(self.rules.as_deref(), Rules::of_toml)
    }

    /// What reads so many sources.
    ///
    /// # Errors
    /// A file can't be read, or is not what it should be.
    pub fn watch(&self, sources: usize) -> Result<Watch, SourceFault> {
        let signatures = table(self.signatures.as_deref(), Signatures::of_toml)?;
        let thresholds = table(self.thresholds.as_deref(), |text| {
            toml::from_str::<Thresholds>(text)
        })?;
        let mapping = match &self.mapping {
            Some(_) => table(self.mapping.as_deref(), |text| {
                Mapping::of_toml(text).map(Some)
            })?,
            None => None,
        };
        let mapping = mapping.unwrap_or_else(Mapping::usual);
        let parser = || Parser::new(Clock::of_machine()).mapping(mapping.clone());
        let parsers = (0..sources).map(|_| parser()).collect();
        Ok(Watch::with_parsers(parsers, thresholds, signatures))
    }
}

/// When a file was changed, and how long it is; none: it is not there.
pub(super) type Stamp = Option<(SystemTime, u64)>;

impl Tables {
    /// What tells whether the files were changed.
    pub(super) fn stamps(&self) -> [Stamp; 4] {
        let files = [
            &self.rules,
            &self.signatures,
            &self.thresholds,
            &self.mapping,
        ];
        files.map(|path| {
            let meta = fs::metadata(path.as_ref()?).ok()?;
            Some((meta.modified().ok()?, meta.len()))
        })
    }
}

fn table<T: Default, E: ToString>(
    path: Option<&Path>,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, SourceFault> {
    let Some(path) = path else {
        return Ok(T::default());
    };
    let text = text_file::read(path).map_err(|why| fault(&path.display(), &why))?;
    read(&text).map_err(|why| fault(&path.display(), &why))
}
