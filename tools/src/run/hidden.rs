//! What a command that may look at everything is still not shown: passwords and keys.
//!
//! The policy denies these by their names, and a command has more ways to name a file than a policy
//! can know. Landlock can only allow, so everything else is allowed, piece by piece: a directory
//! that holds a secret is taken apart into what is in it.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Files and directories, by where they are and how their names begin and end.
const SECRETS: &[(&str, &str, &str)] = &[
    ("/dev", "kmem", ""),
    ("/dev", "mem", ""),
    ("/dev", "port", ""),
    ("/etc", "fazai", ""),
    ("/etc", "gshadow", ""),
    ("/etc", "krb5.keytab", ""),
    ("/etc", "shadow", ""),
    ("/etc", "sudoers", ""),
    ("/etc", "wireguard", ""),
    ("/etc/NetworkManager", "system-connections", ""),
    ("/etc/kubernetes", "", ".conf"),
    ("/etc/letsencrypt", "archive", ""),
    ("/etc/letsencrypt", "live", ""),
    ("/etc/mysql", "debian.cnf", ""),
    ("/etc/ppp", "", "-secrets"),
    ("/etc/security", "opasswd", ""),
    ("/etc/ssh", "ssh_host_", "_key"),
    ("/etc/ssl", "private", ""),
    ("/run", "credentials", ""),
    ("/run", "secrets", ""),
    ("/var/backups", "gshadow", ""),
    ("/var/backups", "shadow", ""),
    ("/var/lib", "fazai", ""),
];

/// What people have in their home directories for themselves alone.
const PRIVATE: &[&str] = &[
    ".aws",
    ".bash_history",
    ".config",
    ".docker",
    ".env",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".my.cnf",
    ".mysql_history",
    ".netrc",
    ".password-store",
    ".pgpass",
    ".psql_history",
    ".ssh",
    ".zsh_history",
];

/// What may be read: all but the secrets and `more`.
pub(super) fn shown(more: &[PathBuf]) -> Vec<PathBuf> {
    // Links lead elsewhere; what counts is where.
    let more: Vec<PathBuf> = more
        .iter()
        .filter_map(|path| path.canonicalize().ok())
        .collect();
    let mut shown = Vec::new();
    cover(Path::new("/"), &more, &mut shown);
    shown
}

fn cover(path: &Path, more: &[PathBuf], shown: &mut Vec<PathBuf>) {
    if is_hidden(path, more) {
        return;
    }
    if !holds_hidden(path, more) {
        shown.push(path.to_owned());
        return;
    }
    // One that can't be read is not shown either.
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    for entry in entries {
        let kind = entry.file_type();
        let is_disk = kind.as_ref().is_ok_and(fs::FileType::is_block_device);
        let is_link = kind.is_ok_and(|kind| kind.is_symlink());
        // What a link leads to is shown or not by its own name.
        if !is_disk && !is_link {
            cover(&entry.path(), more, shown);
        }
    }
}

fn is_hidden(path: &Path, more: &[PathBuf]) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let parent = path.parent().and_then(Path::to_str).unwrap_or_default();
    let secret = |(dir, start, end): &(&str, &str, &str)| {
        *dir == parent && name.starts_with(start) && name.ends_with(end)
    };
    more.iter().any(|hidden| path.starts_with(hidden))
        || SECRETS.iter().any(secret)
        || (path.parent().is_some_and(is_home) && PRIVATE.contains(&name))
}

/// Whether something below it is hidden.
fn holds_hidden(path: &Path, more: &[PathBuf]) -> bool {
    more.iter().any(|hidden| hidden.starts_with(path))
        || SECRETS
            .iter()
            .any(|(dir, ..)| Path::new(dir).starts_with(path))
        || is_home(path)
        || path == Path::new("/home")
}

fn is_home(path: &Path) -> bool {
    path == Path::new("/root") || path.parent() == Some(Path::new("/home"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown_and_the_rest_is() {
        let hidden = |path: &str| is_hidden(Path::new(path), &["/srv/audit".into()]);
        for path in [
            "/etc/shadow",
            "/etc/shadow-",
            "/etc/ssh/ssh_host_rsa_key",
            "/root/.ssh",
            "/home/ana/.aws",
            "/srv/audit",
            "/srv/audit/audit.key",
            "/var/lib/fazai",
        ] {
            assert!(hidden(path), "{path}");
        }
        for path in [
            "/etc/passwd",
            "/etc/ssh/ssh_host_rsa_key.pub",
            "/root/notes",
            "/home/ana/work/.env",
            "/srv",
            "/var/lib/dpkg",
        ] {
            assert!(!hidden(path), "{path}");
        }
        let shown = shown(&[]);
        assert!(shown.contains(&"/usr".into()) && shown.contains(&"/etc/passwd".into()));
        assert!(
            !shown
                .iter()
                .any(|path| Path::new("/etc/shadow").starts_with(path))
        );
        assert!(
            !shown
                .iter()
                .any(|path| Path::new("/root/.ssh/id").starts_with(path))
        );
    }
}
