//! What a command may do besides what the policy said of it.

use std::io;
use std::path::{Path, PathBuf};

use fazai_sandbox::{Calls, Files, Limits, Mounts, Rights, Rule, Sockets, Wanted};
use tempfile::TempDir;

use super::hidden::shown;
use crate::action::{Action, Right};
use crate::gate::Permit;
use crate::policy::OwnFiles;
use crate::shell::{Command, Script};

/// What a command may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confinement {
    /// What its user may do; sudo and package managers work. It writes no core dump.
    Open,
    /// The same, but that it does not see what belongs to the worker, and can't change it, by
    /// whatever path. A user who is not root has that by a user namespace, where the system lets
    /// users have one ([`fazai_sandbox::own_view`]), and can't become anybody else in it.
    Guarded {
        /// What belongs to the worker.
        own: OwnFiles,
        /// Whether it has to be able to become somebody else, as with sudo: then a user who is not
        /// root has no view of its own, and the policy's judgement stands alone.
        becomes_others: bool,
    },
    /// Look at everything but passwords and keys, and change nothing but a directory of its own,
    /// named by `TMPDIR`, which is removed afterwards. Refused on a system without Landlock or seccomp, for it would not
    /// hold there.
    ///
    /// Files elsewhere can't be written, made, removed, or given another mode, owner or time; nor
    /// can other processes be signalled or traced (before Linux 6.12: signals can be sent), nor
    /// the kernel's settings changed; root keeps no power but to see everything. With all sockets a
    /// service that listens on one can still be asked to change something: the policy has to know
    /// the programs that do that.
    ReadOnly {
        /// What else is not to be read, such as the audit log and its key.
        hidden: Vec<PathBuf>,
        /// Whom it may speak to.
        sockets: Sockets,
    },
}

/// The largest file that a reader may write into its own directory.
const FILE_BYTES_MAX: u64 = 1 << 30;

const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"];

impl Confinement {
    /// What the permit and its action ask for: a tool has the rights that its action names, and
    /// whatever was allowed without a person's yes under a profile that is `read_only` changes
    /// nothing. What a person said yes to is not held back, unless it is a tool.
    #[must_use]
    pub fn of(permit: &Permit, own: OwnFiles) -> Self {
        let rights = match permit.action() {
            Action::CallTool(call) => Some(&call.rights),
            _ => None,
        };
        let changes = rights.is_none_or(|rights| rights.contains(&Right::Change));
        if changes && !permit.is_read_only() {
            return if permit.is_by_person() || mounts(permit.action()) {
                Self::Open
            } else {
                let becomes_others = names_one_of(permit.action(), BECOMING_OTHERS);
                Self::Guarded {
                    own,
                    becomes_others,
                }
            };
        }
        let sockets = match rights {
            None => Sockets::All,
            Some(rights) if rights.contains(&Right::Network) => Sockets::Ip,
            Some(_) => Sockets::None,
        };
        Self::ReadOnly {
            hidden: own.secret,
            sockets,
        }
    }

    /// The command's own directory.
    pub(super) fn temp(&self) -> io::Result<Option<TempDir>> {
        match self {
            Self::Open | Self::Guarded { .. } => Ok(None),
            Self::ReadOnly { .. } => tempfile::Builder::new()
                .prefix("fazai-run-")
                .tempdir()
                .map(Some),
        }
    }

    pub(super) fn wanted(&self, temp: Option<&Path>) -> Wanted {
        match self {
            Self::Open => Wanted::default(),
            Self::Guarded {
                own,
                becomes_others,
            } => Wanted {
                mounts: Some(Mounts {
                    hidden: own.secret.clone(),
                    kept: own.kept.clone(),
                    becomes_others: *becomes_others,
                }),
                ..Wanted::default()
            },
            Self::ReadOnly { hidden, sockets } => Wanted {
                no_new_privs: true,
                files: Some(Files {
                    rules: vec![
                        rule(["/"], Rights::List),
                        rule(shown(hidden), Rights::Run),
                        rule(DEVICES.iter().copied(), Rights::Write),
                        rule(temp, Rights::Change),
                    ],
                    tcp: *sockets != Sockets::None,
                }),
                only_sees: true,
                limits: Limits {
                    file_bytes: Some(FILE_BYTES_MAX),
                    ..Limits::default()
                },
                calls: Some(Calls::Reader { sockets: *sockets }),
                ..Wanted::default()
            },
        }
    }
}

/// Whether a command is there to mount something, which nobody would see if it had a view of the
/// file system of its own. The profiles that allow it by themselves allow nearly everything.
fn mounts(action: &Action) -> bool {
    names_one_of(action, MOUNTERS) || any_program(action, |name| name.contains("mount"))
}

/// Whether one of these programs is run.
fn names_one_of(action: &Action, names: &[&str]) -> bool {
    any_program(action, |name| names.contains(&name))
}

fn any_program(action: &Action, is: impl Fn(&str) -> bool) -> bool {
    let argv = action.exec().map(|exec| exec.argv.as_slice());
    let script = Script::from_argv(argv.unwrap_or_default()).unwrap_or_default();
    script.commands.iter().map(Command::name).any(is)
}

/// Programs that others may start with the rights of another user or group.
const BECOMING_OTHERS: &[&str] = &[
    "sudo",
    "sudoedit",
    "doas",
    "su",
    "runuser",
    "pkexec",
    "crontab",
    "at",
    "atq",
    "batch",
    "passwd",
    "chsh",
    "chfn",
    "chage",
    "newgrp",
    "sg",
    "gpasswd",
    "ping",
    "ping4",
    "ping6",
    "traceroute",
    "mtr",
    "arping",
    "postqueue",
    "postdrop",
    "mailq",
    "sendmail",
    "wall",
    "write",
    "locate",
    "plocate",
];

/// Besides those with `mount` in their names.
const MOUNTERS: &[&str] = &["sshfs", "s3fs", "rclone", "encfs", "gocryptfs", "ntfs-3g"];

fn rule<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>, rights: Rights) -> Rule {
    Rule {
        paths: paths.into_iter().map(Into::into).collect(),
        rights,
    }
}
