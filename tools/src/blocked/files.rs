//! Which paths are a disk, the system, a secret, or the record of what happened.

use super::Blocked;
use crate::path::overlap;
use crate::shell::Word;

/// Directories without which the machine does not start, or people lose their work.
const SYSTEM: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local",
    "/usr/sbin",
    "/usr/share",
    "/var",
    "/var/lib",
    "/var/log",
    "/boot/efi",
    "/boot/grub",
    "~",
    "~root",
];

/// Directories in which everybody's files are, but which may be emptied.
const PLACES: &[&str] = &[
    "/tmp",
    "/var/tmp",
    "/var/www",
    "/var/backups",
    "/var/cache",
    "/var/spool",
    "/mnt",
    "/media",
];

/// Devices that are no disk.
const HARMLESS_DEVICES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/stderr",
    "/dev/log",
];

/// Below these there are no disks either.
const HARMLESS_BELOW: &[&str] = &[
    "/dev/fd/",
    "/dev/pts/",
    "/dev/shm/",
    "/dev/tcp/",
    "/dev/udp/",
    "/dev/mqueue/",
];

/// What may not be written, by pattern.
const PROTECTED: &[(&str, &str, &[&str])] = &[
    (
        "write-accounts",
        "it changes the files that say who may log in and become root",
        &[
            "/etc/shadow",
            "/etc/shadow-",
            "/etc/gshadow",
            "/etc/passwd",
            "/etc/group",
            "/etc/sudoers",
            "/etc/sudoers.d/**",
            "/etc/doas.conf",
            "/etc/pam.d/**",
            "/etc/pam.conf",
            "/etc/security/**",
            "/root/.ssh/authorized_keys*",
            "~/.ssh/authorized_keys*",
            "~root/.ssh/authorized_keys*",
        ],
    ),
    (
        "preload",
        "it changes what every program loads",
        &[
            "/etc/ld.so.preload",
            "/etc/ld.so.conf",
            "/etc/ld.so.conf.d/**",
        ],
    ),
    (
        "sysrq",
        "it makes the kernel stop at once",
        &["/proc/sysrq-trigger", "/proc/sys/kernel/sysrq"],
    ),
    (
        "kernel-interface",
        "it changes the kernel or the firmware while they run",
        &[
            "/proc/kcore",
            "/proc/*/mem",
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/modprobe",
            "/sys/firmware/**",
            "/proc/sys/vm/panic_on_oom",
            "/proc/sys/kernel/panic",
        ],
    ),
    (
        "audit",
        "it changes the record of what was done, or the rules of what may be",
        &[
            "/etc/fazai/policy*",
            "/opt/fazai",
            "/opt/fazai/**",
            "/var/lib/fazai/audit",
            "/var/lib/fazai/audit/**",
            "/var/log/fazai",
            "/var/log/fazai/**",
            "/var/log/audit",
            "/var/log/audit/**",
            "/etc/audit/**",
            "/var/log/wtmp",
            "/var/log/btmp",
            "/var/log/lastlog",
        ],
    ),
    (
        "history",
        "it removes the history of what was typed",
        &["/root/.*_history", "/home/*/.*_history", "~*/.*_history"],
    ),
];

/// Passwords and private keys.
const SECRETS: &[&str] = &[
    "/etc/shadow*",
    "/etc/gshadow*",
    "**/.ssh/id_*",
    "~*/.ssh/id_*",
    "**/.ssh",
    "~*/.ssh",
    "/etc/ssh/ssh_host_*_key",
    "/etc/ssl/private/**",
    "**/.gnupg/**",
    "~*/.gnupg/**",
    "**/.aws/credentials",
    "~*/.aws/credentials",
    "**/.netrc",
    "~*/.netrc",
    "**/.pgpass",
    "~*/.pgpass",
    "**/.git-credentials",
    "~*/.git-credentials",
    "**/.kube/config",
    "~*/.kube/config",
    "**/.docker/config.json",
    "~*/.docker/config.json",
    "/proc/*/environ",
    "/proc/kcore",
    "/etc/krb5.keytab",
    "/etc/kubernetes/pki/**",
    "/etc/kubernetes/*.conf",
    "/etc/wireguard/**",
    "/etc/openvpn/**",
    "/etc/letsencrypt/live/**",
    "/etc/letsencrypt/archive/**",
    "/etc/letsencrypt/accounts/**",
    "/etc/apt/auth.conf*",
    "/etc/apt/auth.conf.d/**",
    "/etc/NetworkManager/system-connections/**",
    "/etc/credstore/**",
    "/var/lib/samba/private/**",
    "/var/lib/cloud/**",
    "/run/cloud-init/**",
    "**/.my.cnf",
    "~*/.my.cnf",
    "**/privkey*.pem",
];

/// What is wrong with writing to a path.
pub(super) fn write(path: &Word) -> Option<Blocked> {
    if is_disk(path) {
        return Some(Blocked {
            name: "write-device",
            reason: "it writes to a disk or another device past its file system",
        });
    }
    let (name, reason, _) = PROTECTED
        .iter()
        .find(|(_, _, patterns)| patterns.iter().any(|pattern| means(path, pattern)))?;
    Some(Blocked { name, reason })
}

/// Whether a path is a device other than those that programs write to every day.
fn is_disk(path: &Word) -> bool {
    match path {
        Word::Literal(path) | Word::Glob(path) => {
            path.starts_with("/dev/")
                && !HARMLESS_DEVICES.contains(&path.as_str())
                && !HARMLESS_BELOW.iter().any(|below| path.starts_with(below))
        }
        Word::Unknown { prefix, .. } => {
            prefix.starts_with("/dev/")
                && !HARMLESS_BELOW.iter().any(|below| prefix.starts_with(below))
        }
    }
}

/// Whether a path is a directory of the system, or all that is in it.
pub(super) fn is_system(path: &Word) -> bool {
    match path {
        Word::Literal(path) => is_system_text(path),
        Word::Glob(pattern) => {
            let whole = without_wild_ends(pattern);
            SYSTEM.iter().any(|directory| overlap(whole, directory)) || is_home(whole)
        }
        Word::Unknown { .. } => false,
    }
}

/// Whether a path is a directory in which everybody's files are.
pub(super) fn is_place(path: &Word) -> bool {
    path.literal().is_some_and(|path| PLACES.contains(&path))
}

fn is_system_text(path: &str) -> bool {
    SYSTEM.contains(&path) || is_home(path)
}

/// The whole home of a user.
fn is_home(path: &str) -> bool {
    let below_home = path
        .strip_prefix("/home/")
        .is_some_and(|user| !user.contains('/'));
    below_home || (path.starts_with('~') && !path.contains('/'))
}

/// `/etc/*` and `/etc/.*` are all of `/etc`.
fn without_wild_ends(pattern: &str) -> &str {
    let mut whole = pattern;
    while let Some((directory, last)) = whole.rsplit_once('/') {
        if last.is_empty() || !last.chars().all(|c| "*?.[]!^".contains(c)) {
            break;
        }
        whole = directory;
    }
    if whole.is_empty() { "/" } else { whole }
}

/// Whether a path is, or may be, a secret.
pub(super) fn is_secret(path: &Word) -> bool {
    !path.text().ends_with(".pub") && SECRETS.iter().any(|pattern| means(path, pattern))
}

/// Whether a secret is below a path, as far as it is known where secrets are.
pub(super) fn holds_secret(path: &Word) -> bool {
    let below = format!("{}/**", path.text().trim_end_matches('/'));
    let rooted = SECRETS.iter().filter(|pattern| !pattern.contains("**/"));
    path.literal().is_some() && rooted.into_iter().any(|pattern| overlap(&below, pattern))
}

fn means(path: &Word, pattern: &str) -> bool {
    match path {
        // A name with a star in it is no pattern; as one it only matches more. With braces, which are
        // in the programs of jq, it would match too much.
        Word::Literal(path) => overlap(&path.replace('{', "?"), pattern),
        Word::Glob(path) => overlap(path, pattern),
        Word::Unknown { .. } => false,
    }
}
