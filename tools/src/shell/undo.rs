//! The command that undoes another, where one does.

use super::Script;

/// The command by which what this one does is undone; none: none does, or nobody knows it. It holds
/// only for one plain command that did what it says: packages that were there before stay removed,
/// and a service that ran before is stopped, if somebody undoes what changed nothing.
#[must_use]
pub fn rollback(command: &str) -> Option<String> {
    // With an option of its own it is not plain.
    let (sudo, command) = match command.trim_start().strip_prefix("sudo ") {
        Some(rest) => (true, rest),
        None => (false, command),
    };
    let argv = Script::parse(command).ok()?.single_argv()?;
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let (program, args) = words.split_first()?;
    let undone = undo(program, args)?;
    let undone = shlex::try_join(undone).ok()?;
    Some(if sudo {
        format!("sudo {undone}")
    } else {
        undone
    })
}

fn undo<'a>(program: &'a str, args: &[&'a str]) -> Option<Vec<&'a str>> {
    let with = |verb: &'a str, rest: &[&'a str]| [&[program, verb], rest].concat();
    match (program, args) {
        ("systemctl" | "docker" | "podman", [verb, rest @ ..]) if plain(rest) => {
            Some(with(opposite(SERVICE_VERBS, verb)?, rest))
        }
        ("apt-get" | "apt" | "dnf" | "yum" | "zypper", _) => {
            let at = args.iter().position(|arg| !arg.starts_with('-'))?;
            let (options, verb, names) = (&args[..at], args[at], &args[at + 1..]);
            let (options_after, names): (Vec<&str>, Vec<&str>) =
                names.iter().partition(|name| name.starts_with('-'));
            let verb = opposite(&[("install", "remove")], verb)?;
            (!names.is_empty())
                .then(|| [&[program][..], options, &[verb], &options_after, &names].concat())
        }
        ("apk", [verb, names @ ..]) if plain(names) => {
            Some(with(opposite(&[("add", "del")], verb)?, names))
        }
        ("ufw", ["allow" | "deny" | "reject" | "limit", ..]) => Some(with("delete", args)),
        ("iptables" | "ip6tables", _) => {
            let at = args.iter().position(|arg| matches!(*arg, "-A" | "-D"))?;
            let flag = opposite(&[("-A", "-D")], args[at])?;
            Some([&[program], &args[..at], &[flag], &args[at + 1..]].concat())
        }
        (
            "ip",
            [
                what @ ("route" | "addr" | "address" | "rule"),
                verb,
                rest @ ..,
            ],
        ) => {
            let verb = opposite(&[("add", "del")], verb)?;
            Some([&[program, *what, verb], rest].concat())
        }
        ("mkdir", dirs) if plain(dirs) => Some([&["rmdir"], dirs].concat()),
        ("mv", [from, to]) if plain(args) && !to.ends_with('/') => Some(vec!["mv", to, from]),
        ("ln", ["-s", _, link]) => Some(vec!["rm", link]),
        ("useradd" | "adduser", [name]) => Some(vec!["userdel", name]),
        ("groupadd" | "addgroup", [name]) => Some(vec!["groupdel", name]),
        ("usermod", ["-aG" | "-a" | "-G", group, user]) if args[0] == "-aG" => {
            Some(vec!["gpasswd", "-d", user, group])
        }
        ("swapon", [what]) if plain(args) => Some(vec!["swapoff", what]),
        ("swapoff", [what]) if plain(args) => Some(vec!["swapon", what]),
        ("modprobe", [module]) if plain(args) => Some(vec!["modprobe", "-r", module]),
        ("mount", [.., place]) if place.starts_with('/') => Some(vec!["umount", place]),
        _ => None,
    }
}

const SERVICE_VERBS: &[(&str, &str)] = &[
    ("start", "stop"),
    ("enable", "disable"),
    ("mask", "unmask"),
    ("pause", "unpause"),
];

fn opposite<'a>(pairs: &[(&'static str, &'static str)], verb: &str) -> Option<&'a str> {
    pairs.iter().find_map(|(one, other)| match verb {
        _ if verb == *one => Some(*other),
        _ if verb == *other => Some(*one),
        _ => None,
    })
}

fn plain(args: &[&str]) -> bool {
    !args.is_empty() && !args.iter().any(|arg| arg.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::rollback;

    #[test]
    fn what_can_be_undone_says_how() {
        for (command, undone) in [
            ("systemctl start nginx", Some("systemctl stop nginx")),
            (
                "sudo systemctl disable ssh",
                Some("sudo systemctl enable ssh"),
            ),
            (
                "apt-get install -y nginx curl",
                Some("apt-get remove -y nginx curl"),
            ),
            ("apt-get -y remove nginx", Some("apt-get -y install nginx")),
            ("ufw allow 22/tcp", Some("ufw delete allow 22/tcp")),
            (
                "iptables -t nat -A INPUT -j DROP",
                Some("iptables -t nat -D INPUT -j DROP"),
            ),
            (
                "ip route add 10.0.0.0/8 via 10.1.1.1",
                Some("ip route del 10.0.0.0/8 via 10.1.1.1"),
            ),
            ("mv '/a b' /c", Some("mv /c '/a b'")),
            ("usermod -aG docker ana", Some("gpasswd -d ana docker")),
            ("sudo -u ana systemctl start nginx", None),
            ("systemctl restart nginx", None),
            ("rm -rf /tmp/x", None),
            ("systemctl start a && systemctl start b", None),
            ("apt-get install", None),
            ("df -h", None),
        ] {
            assert_eq!(rollback(command).as_deref(), undone, "{command}");
        }
    }
}
