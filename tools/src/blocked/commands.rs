//! The blocked patterns that look at one command.

use rustix::process::{Pid, getpgrp, getpid, getppid, getsid};

use super::{Blocked, Seen, files};
use crate::shell::{Access, Command, Word, special_bits, values_of_option};

/// A pattern: its name, its reason, and what it looks for.
type Pattern = (&'static str, &'static str, fn(&Seen<'_>) -> bool);

const PATTERNS: &[Pattern] = &[
    (
        "remove-system",
        "it deletes the system or everybody's files",
        removes_system,
    ),
    (
        "format",
        "it destroys a file system, a partition table or a volume",
        formats,
    ),
    (
        "chmod-system",
        "it changes the rights of the whole system",
        changes_rights,
    ),
    (
        "set-uid",
        "it lets everybody run a program as another user",
        sets_uid,
    ),
    (
        "move-system",
        "it moves a directory of the system away",
        moves_system,
    ),
    (
        "kill-all",
        "it ends every process, or the first one",
        kills_all,
    ),
    (
        "end-worker",
        "it ends or signals the worker, which records what is done",
        signals_worker,
    ),
    (
        "audit",
        "it stops the record of what was done, or the confinement",
        stops_audit,
    ),
    (
        "kernel-module",
        "it changes the kernel while it runs",
        loads_kernel,
    ),
    ("firmware", "it writes the firmware", writes_firmware),
    (
        "root-account",
        "it locks, opens or removes the account of root",
        changes_root,
    ),
    (
        "history",
        "it removes the history of what was typed",
        wipes_history,
    ),
    (
        "remove-jobs",
        "it removes all jobs of a user without asking",
        removes_jobs,
    ),
    ("unmount-all", "it takes the file systems away", unmounts),
    (
        "reverse-shell",
        "it gives a shell to somebody on the network",
        opens_shell,
    ),
];

/// Programs that can send what they are given to another machine.
const SENDERS: &[&str] = &[
    "curl", "wget", "nc", "ncat", "netcat", "socat", "ssh", "scp", "sftp", "rsync", "ftp", "lftp",
    "tftp", "telnet", "mail", "mailx", "sendmail", "mutt", "dig", "nslookup", "host", "openssl",
    "http", "https", "rclone", "aws", "gsutil", "gh", "git", "aria2c", "whois", "finger",
    "busybox", "python", "python3", "perl", "ruby", "php", "node", "ping", "logger",
];

/// The pattern that a command matches.
pub(super) fn pattern(seen: &Seen<'_>) -> Option<Blocked> {
    let (name, reason, _) = PATTERNS.iter().find(|(_, _, matches)| matches(seen))?;
    Some(Blocked { name, reason })
}

/// Whether a command can send something away.
pub(super) fn sends(command: &Command) -> bool {
    let files = command.reads.iter().chain(&command.writes);
    SENDERS.contains(&command.name()) || files.map(Word::text).any(is_socket)
}

/// bash opens connections by these names.
fn is_socket(path: &str) -> bool {
    path.starts_with("/dev/tcp/") || path.starts_with("/dev/udp/")
}

fn removes_system(seen: &Seen<'_>) -> bool {
    let name = seen.command.name();
    let removes = matches!(
        name,
        "rm" | "rmdir" | "unlink" | "shred" | "srm" | "wipe" | "trash" | "truncate"
    );
    let mirrors = name == "rsync"
        && seen
            .command
            .args
            .iter()
            .any(|arg| arg.text().starts_with("--del"));
    seen.has(&["--no-preserve-root"]) || ((removes || mirrors) && seen.writes_system())
}

fn formats(seen: &Seen<'_>) -> bool {
    let name = seen.command.name();
    let lists =
        seen.flag('l', "--list") || seen.has(&["print", "-p", "--print", "--help", "--version"]);
    match name {
        "mke2fs" | "wipefs" | "blkdiscard" | "sg_format" | "mkdosfs" | "mkswap" | "scrub"
        | "nwipe" | "lvremove" | "vgremove" | "pvremove" | "lvreduce" | "vgreduce" => true,
        "parted" | "fdisk" | "sfdisk" | "sgdisk" | "gdisk" | "cfdisk" | "cgdisk" => !lists,
        "cryptsetup" => seen.has(&[
            "luksFormat",
            "erase",
            "luksErase",
            "reencrypt",
            "luksKillSlot",
            "luksRemoveKey",
        ]),
        "lvm" => seen.has(&["lvremove", "vgremove", "pvremove", "lvreduce", "vgreduce"]),
        "badblocks" => seen.flag('w', "--write"),
        "hdparm" => seen.command.args.iter().any(|arg| {
            ["--security", "--write", "--trim", "--make-bad", "--yes-i"]
                .iter()
                .any(|start| arg.text().starts_with(start))
        }),
        "nvme" => seen.has(&["format", "sanitize", "write-zeroes", "delete-ns", "write"]),
        "zpool" | "zfs" => seen.has(&["destroy", "labelclear", "rollback"]),
        "mdadm" => seen.has(&["--zero-superblock", "--stop", "-S", "--fail", "--remove"]),
        "dmsetup" => seen.has(&["remove", "remove_all", "wipe_table"]),
        "btrfs" => seen.has(&["delete", "remove"]),
        _ => name.starts_with("mkfs"),
    }
}

fn changes_rights(seen: &Seen<'_>) -> bool {
    let changes = matches!(
        seen.command.name(),
        "chmod" | "chown" | "chgrp" | "setfacl" | "chattr" | "chcon"
    );
    changes && seen.flag('R', "--recursive") && seen.writes_system()
}

fn sets_uid(seen: &Seen<'_>) -> bool {
    let sets = |mode: &str| special_bits(mode).0;
    match seen.command.name() {
        "chmod" => {
            let modes = seen.command.args.iter().map(Word::text);
            modes.filter(|mode| !mode.contains('/')).any(sets)
        }
        "setcap" => true,
        _ => {
            let modes = values_of_option(seen.command, "mode");
            modes.iter().map(Word::text).any(sets)
        }
    }
}

fn moves_system(seen: &Seen<'_>) -> bool {
    // The target may well be such a directory: `mv file /etc`.
    let moves = |(access, path)| {
        access == Access::WriteTree && (files::is_system(path) || files::is_place(path))
    };
    seen.command.name() == "mv" && seen.paths().any(moves)
}

/// The words of `kill` that may be processes: the first that begins with a dash is the signal.
fn kill_targets<'a>(seen: &Seen<'a>) -> Vec<&'a str> {
    let args: Vec<&str> = seen.command.args.iter().map(Word::text).collect();
    let signal_first = args
        .first()
        .is_some_and(|arg| arg.starts_with('-') && *arg != "--");
    args[usize::from(signal_first && args.len() > 1)..].to_vec()
}

fn kills_all(seen: &Seen<'_>) -> bool {
    let args: Vec<&str> = seen.command.args.iter().map(Word::text).collect();
    match seen.command.name() {
        "killall5" => true,
        "kill" => {
            let targets = kill_targets(seen);
            let numbers = targets
                .iter()
                .filter_map(|target| target.parse::<i64>().ok());
            numbers.into_iter().any(|number| (-1..=1).contains(&number))
        }
        "pkill" => args
            .iter()
            .any(|arg| matches!(*arg, "." | "" | ".*" | "init" | "systemd" | "^")),
        "killall" => args
            .iter()
            .any(|arg| matches!(*arg, "init" | "systemd" | ".*" | ".")),
        _ => false,
    }
}

fn signals_worker(seen: &Seen<'_>) -> bool {
    let ours = |text: &str| text.contains("fazai");
    match seen.command.name() {
        // A negative number is a group of processes.
        "kill" | "skill" => kill_targets(seen).iter().any(|target| {
            let number = target.trim_start_matches(['-', '+']).parse();
            ours(target) || number.is_ok_and(is_of_worker)
        }),
        // A part of a name is enough for them.
        "pkill" | "killall" => seen.command.args.iter().map(Word::text).any(|arg| {
            ours(arg) || (!arg.is_empty() && !arg.starts_with('-') && "fazai".contains(arg))
        }),
        _ => false,
    }
}

/// Whether a number is that of this process, the one that started it, the group of either, or a
/// process that it has started: the keeper of a command, or a module.
fn is_of_worker(number: u32) -> bool {
    let ours = [
        Some(getpid()),
        getppid(),
        Some(getpgrp()),
        getsid(None).ok(),
    ];
    let mut ours = ours.into_iter().flatten();
    let named = ours.any(|pid| u32::try_from(pid.as_raw_nonzero().get()) == Ok(number));
    number > 1 && (named || parent_of(number) == Some(getpid()))
}

/// Whose child a process is.
fn parent_of(number: u32) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // A name may hold anything, brackets as well.
    let (_, after) = stat.rsplit_once(')')?;
    Pid::from_raw(after.split_whitespace().nth(1)?.parse().ok()?)
}

fn stops_audit(seen: &Seen<'_>) -> bool {
    let ours = |text: &str| {
        ["auditd", "fazai", "rsyslog", "systemd-journald", "apparmor"]
            .iter()
            .any(|name| text.starts_with(name))
    };
    let names = seen.command.args.iter().any(|arg| ours(arg.text()));
    match seen.command.name() {
        "systemctl" => names && seen.has(&["stop", "disable", "mask", "kill"]),
        "service" | "rc-service" => names && seen.has(&["stop"]),
        "update-rc.d" | "chkconfig" | "pkill" | "killall" | "skill" => names,
        "auditctl" => !seen.has(&["-s", "-l", "-v"]),
        "setenforce" | "aa-teardown" | "aa-disable" | "aa-complain" => true,
        _ => false,
    }
}

fn loads_kernel(seen: &Seen<'_>) -> bool {
    let looks = seen.has(&[
        "-n",
        "--dry-run",
        "--show-depends",
        "-D",
        "-c",
        "--showconfig",
    ]);
    match seen.command.name() {
        "insmod" | "kexec" => true,
        "modprobe" => !looks,
        "kmod" => seen.has(&["load", "insert"]),
        _ => false,
    }
}

fn writes_firmware(seen: &Seen<'_>) -> bool {
    match seen.command.name() {
        "flashrom" | "afuefi" | "nvramtool" | "flashcp" | "nandwrite" | "flash_erase" => true,
        "efibootmgr" => seen.flag('B', "--delete-bootnum") || seen.flag('O', "--delete-bootorder"),
        "fwupdmgr" => seen.has(&["install", "downgrade", "reinstall"]),
        _ => false,
    }
}

fn changes_root(seen: &Seen<'_>) -> bool {
    let root = seen.has(&["root", "0"]);
    match seen.command.name() {
        "userdel" | "deluser" | "usermod" | "chpasswd" | "passwd" | "chage" => root,
        _ => false,
    }
}

fn wipes_history(seen: &Seen<'_>) -> bool {
    match seen.command.name() {
        "history" => seen.flag('c', "-c") || seen.flag('d', "-d") || seen.flag('w', "-w"),
        "unset" | "export" => seen
            .command
            .args
            .iter()
            .any(|arg| arg.text().starts_with("HIST")),
        _ => false,
    }
}

fn removes_jobs(seen: &Seen<'_>) -> bool {
    seen.command.name() == "crontab" && seen.flag('r', "-r")
}

fn unmounts(seen: &Seen<'_>) -> bool {
    match seen.command.name() {
        "umount" => seen.flag('a', "--all") || seen.has(&["/", "/usr", "/var", "/home", "/boot"]),
        "swapoff" => seen.flag('a', "--all"),
        _ => false,
    }
}

fn opens_shell(seen: &Seen<'_>) -> bool {
    let name = seen.command.name();
    let shell = matches!(
        name,
        "sh" | "bash" | "dash" | "zsh" | "ksh" | "ash" | "exec"
    );
    let files = seen.command.reads.iter().chain(&seen.command.writes);
    let connected = shell && files.map(Word::text).any(is_socket);
    let listens = matches!(name, "nc" | "ncat" | "netcat" | "nc.traditional" | "socat")
        && seen.command.args.iter().map(Word::text).any(|arg| {
            matches!(arg, "-e" | "-c" | "--exec" | "--sh-exec")
                || arg.to_ascii_lowercase().contains("exec:")
                || arg.to_ascii_lowercase().contains("system:")
        });
    connected || listens
}
