//! What a daemon or the kernel says, in words. Users and clients write parts of it: an address is
//! taken only from the place where the program itself puts it.

mod table;

use std::net::IpAddr;

use super::eve::address;
use super::text::part;
use crate::event::{Category, Event, Kind, Outcome, Severity};

/// Reads `event.message` by its words alone: anybody could have written it.
pub(super) fn unvouched(event: &mut Event<'_>) {
    table::apply(event, table::Scope::Daemons);
}

/// Reads `event.message` by `event.process`.
pub(super) fn read(event: &mut Event<'_>) {
    let program = event.process.rsplit('/').next().unwrap_or_default();
    match program {
        "sshd" | "sshd-session" | "sshd-auth" => sshd(event),
        "sudo" => sudo(event),
        "kernel" => kernel(event),
        "su" | "login" | "systemd-logind" | "useradd" | "usermod" | "passwd" | "groupadd"
        | "userdel" | "chage" => table::apply(event, table::Scope::Accounts),
        "fail2ban.actions" | "fail2ban.filter" | "fail2ban-server" => {
            label(event, Severity::Low, Category::Bruteforce);
        }
        _ => table::apply(event, table::Scope::Daemons),
    }
}

fn label(event: &mut Event<'_>, severity: Severity, category: Category) {
    event.severity = Some(severity);
    event.category = Some(category);
}

/// What a line of sshd's is: its beginning, whether it is a login and how it ended, where the
/// address stands, and its label.
struct Known {
    begins: &'static str,
    login: Option<Outcome>,
    place: Place,
    severity: Severity,
    category: Category,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Right behind the beginning; what follows it is the client's.
    Front,
    /// At the end, before what sshd itself puts there; what stands before it is the client's.
    Back,
    /// After the first `rhost=`, which comes before `user=`.
    Rhost,
}

const fn known(
    begins: &'static str,
    login: Option<Outcome>,
    place: Place,
    severity: Severity,
    category: Category,
) -> Known {
    Known {
        begins,
        login,
        place,
        severity,
        category,
    }
}

const SSHD: &[Known] = {
    use Category::{Auth, Bruteforce, Recon};
    use Place::{Back, Front, Rhost};
    use Severity::{High, Info, Low};
    const FAILED: Option<Outcome> = Some(Outcome::Failure);
    &[
        known("Failed ", FAILED, Back, Low, Auth),
        known("Invalid user ", FAILED, Back, Low, Auth),
        known("Accepted ", Some(Outcome::Success), Back, Info, Auth),
        known(
            "error: maximum authentication attempts exceeded for ",
            FAILED,
            Back,
            High,
            Bruteforce,
        ),
        known(
            "maximum authentication attempts exceeded for ",
            FAILED,
            Back,
            High,
            Bruteforce,
        ),
        known(
            "pam_unix(sshd:auth): authentication failure;",
            FAILED,
            Rhost,
            Low,
            Auth,
        ),
        known("Received disconnect from ", None, Front, Info, Auth),
        known("Unable to negotiate with ", None, Front, Low, Recon),
        known("banner exchange: Connection from ", None, Front, Low, Recon),
        known(
            "ssh_dispatch_run_fatal: Connection from ",
            None,
            Front,
            Low,
            Recon,
        ),
        known(
            "Did not receive identification string from ",
            None,
            Front,
            Low,
            Recon,
        ),
        known(
            "Bad protocol version identification ",
            None,
            Back,
            Low,
            Recon,
        ),
        known("Connection closed by ", None, Back, Info, Auth),
        known("Connection reset by ", None, Back, Info, Auth),
        known("Disconnected from ", None, Back, Info, Auth),
        known("Disconnecting ", None, Back, Info, Auth),
    ]
};

fn sshd(event: &mut Event<'_>) {
    let (repeats, text) = repeated(&event.message);
    let Some(known) = SSHD.iter().find(|known| text.starts_with(known.begins)) else {
        return table::apply(event, table::Scope::Daemons);
    };
    let rest = &text[known.begins.len()..];
    let peer = peer(known.place, rest);
    let user = known.login.and_then(|_| user(known, rest));
    let user = user.map(|name| part(&event.message, name));
    let root = user.as_deref() == Some("root");
    let unknown = known.begins == "Invalid user "
        || rest.starts_with("password for invalid user ")
        || rest.contains(" by invalid user ")
        || rest.starts_with("invalid user ");
    let (severity, category) = match known.login {
        Some(Outcome::Success) if root && rest.starts_with("password ") => {
            (Severity::Medium, Category::Auth)
        }
        Some(Outcome::Success) if root => (Severity::Low, Category::Auth),
        _ if repeats > 0 => (Severity::High, Category::Bruteforce),
        Some(Outcome::Failure) if root || unknown => {
            (known.severity.max(Severity::Medium), Category::Bruteforce)
        }
        None if unknown => (Severity::Medium, Category::Bruteforce),
        _ => (known.severity, known.category),
    };
    event.repeats = repeats;
    event.outcome = known.login;
    if known.login.is_some() {
        event.kind = Kind::Login;
        event.destination.port = Some(22);
    }
    if let Some((ip, port)) = peer {
        event.source.ip = Some(ip);
        event.source.port = port;
        event.answered = true;
    }
    event.user = user.unwrap_or_default();
    label(event, severity, category);
}

/// `message repeated 3 times: [ Failed password for root from ...]`
fn repeated(message: &str) -> (u32, &str) {
    let inner = || {
        let (count, rest) = message
            .strip_prefix("message repeated ")?
            .split_once(" times: [ ")?;
        Some((count.parse().ok()?, rest.strip_suffix(']').unwrap_or(rest)))
    };
    inner().unwrap_or((0, message))
}

fn peer(place: Place, rest: &str) -> Option<(IpAddr, Option<u16>)> {
    match place {
        Place::Front => {
            let mut words = rest.split(' ');
            let ip = address(words.next()?.trim_end_matches([':', ',']))?;
            let port = (words.next() == Some("port"))
                .then(|| words.next())
                .flatten();
            Some((ip, port.and_then(number)))
        }
        Place::Back => back(rest),
        Place::Rhost => {
            let (_, after) = rest.split_once(" rhost=")?;
            Some((address(after.split(' ').next()?)?, None))
        }
    }
}

/// The address at the end of a line. Its beginning has a name that the client chose; a certificate's
/// name and some reasons, which stand behind the address, are the client's as well. Where either
/// could have put another address there, none is taken.
fn back(rest: &str) -> Option<(IpAddr, Option<u16>)> {
    let mut plain = rest.trim_end();
    while let Some(shorter) = TAILS.iter().find_map(|tail| plain.strip_suffix(tail)) {
        plain = shorter;
    }
    if let Some(shorter) = without_key(plain) {
        plain = shorter;
    }
    if let Some(found) = at_end(plain) {
        return Some(found);
    }
    // Old ones have no port.
    if let Some((_, last)) = plain.rsplit_once(" from ")
        && let Some(ip) = address(last)
    {
        return Some((ip, None));
    }
    let mut found = rest.match_indices(" port ").filter_map(|(at, port)| {
        let digits = &rest[at + port.len()..];
        let end = digits.find(|c: char| !c.is_ascii_digit());
        at_end(&rest[..at + port.len() + end.unwrap_or(digits.len())])
    });
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// What sshd puts behind the address.
const TAILS: &[&str] = &[
    " [preauth]",
    " ssh2",
    ": Too many authentication failures",
    ":11: disconnected by user",
];

/// The line before ` ssh2: TYPE FINGERPRINT`, which a plain key has there.
fn without_key(text: &str) -> Option<&str> {
    let (front, fingerprint) = text.rsplit_once(' ')?;
    let (front, kind) = front.rsplit_once(" ssh2: ")?;
    let plain = |text: &str| !text.is_empty() && !text.contains(' ');
    (plain(kind) && plain(fingerprint)).then_some(front)
}

/// `ADDRESS port NUMBER` and nothing more.
fn at_end(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let (before, port) = text.rsplit_once(" port ")?;
    let port = port.parse().ok()?;
    Some((address(before.rsplit(' ').next()?)?, Some(port)))
}

fn number(text: &str) -> Option<u16> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

/// The account of a login.
fn user<'t>(known: &Known, rest: &'t str) -> Option<&'t str> {
    if known.place == Place::Rhost {
        return rest.rsplit_once(" user=").map(|(_, user)| user.trim());
    }
    let (before, _) = rest.rsplit_once(" from ")?;
    let name = match known.begins {
        "Failed " | "Accepted " => before.split_once(" for ")?.1,
        _ => before,
    };
    Some(name.strip_prefix("invalid user ").unwrap_or(name))
}

const SHELLS: &[&str] = &[
    "/bin/bash",
    "/bin/sh",
    "/usr/bin/bash",
    "/usr/bin/sh",
    "/usr/bin/zsh",
    "/bin/zsh",
    "/bin/su",
    "/usr/bin/su",
];

/// `alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/ls`
fn sudo(event: &mut Event<'_>) {
    let message = &event.message;
    let Some((user, rest)) = message.trim_start().split_once(" : ") else {
        return table::apply(event, table::Scope::Accounts);
    };
    let user = part(message, user.trim());
    let attempts = rest.split_once(" incorrect password attempt");
    let attempts = attempts.and_then(|(count, _)| count.trim().parse::<u32>().ok());
    // The command's own text begins behind this, and may say anything.
    let before_command = rest.split("COMMAND=").next().unwrap_or_default();
    let command = rest
        .split_once("COMMAND=")
        .map(|(_, command)| command.trim());
    let shell = command.is_some_and(|command| SHELLS.contains(&command));
    let (severity, category, outcome) = match attempts {
        Some(3..) => (Severity::Medium, Category::Auth, Outcome::Failure),
        Some(_) => (Severity::Low, Category::Auth, Outcome::Failure),
        None if before_command.contains("NOT in sudoers")
            || before_command.contains("command not allowed") =>
        {
            (Severity::High, Category::Privilege, Outcome::Failure)
        }
        None if shell => (Severity::Low, Category::Privilege, Outcome::Success),
        None => (Severity::Info, Category::Auth, Outcome::Success),
    };
    event.user = user;
    event.outcome = Some(outcome);
    label(event, severity, category);
}

/// The kernel's text; a packet filter's lines have the packet in them.
fn kernel(event: &mut Event<'_>) {
    let message = &event.message;
    if !message.contains(" SRC=") || !message.contains("IN=") {
        event.kind = Kind::Kernel;
        return table::apply(event, table::Scope::Kernel);
    }
    let field = |name: &str| {
        message
            .split_once(name)
            .and_then(|(_, rest)| rest.split(' ').next())
    };
    let source = field(" SRC=").and_then(address);
    let destination = field(" DST=").and_then(address);
    let ports = [field(" SPT="), field(" DPT=")].map(|port| port.and_then(number));
    let transport = field(" PROTO=").map(|name| part(message, name));
    let allowed = message.contains("ALLOW") || message.contains("ACCEPT");
    event.kind = if allowed { Kind::Flow } else { Kind::Drop };
    event.stopped = !allowed;
    event.source.ip = source;
    event.destination.ip = destination;
    [event.source.port, event.destination.port] = ports;
    event.transport = transport.unwrap_or_default();
    label(
        event,
        if allowed {
            Severity::Info
        } else {
            Severity::Low
        },
        Category::Network,
    );
}
