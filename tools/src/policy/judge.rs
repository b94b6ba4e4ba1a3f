//! All rules of a profile against one action.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use jiff::civil::DateTime;

use super::rule::Rule;
use super::{Decision, OwnFiles, Profile, Risk, Verdict};
use crate::action::{Action, Exec, Kind, ToolCall};
use crate::blocked::{Blocked, Seen, blocked, blocked_commands, blocked_write, seen};
use crate::caller::Caller;
use crate::disk::Disk;
use crate::path::overlap;
use crate::reach::{Place, Reach};
use crate::shell::{Access, Command, PIPE, Script, Word, harmless_assignment, is_number};
use crate::text::one_line;

/// One question to a profile.
pub(super) struct Judge<'a> {
    pub(super) profile: &'a Profile,
    pub(super) caller: &'a Caller,
    pub(super) now: DateTime,
    pub(super) disk: Option<&'a dyn Disk>,
    pub(super) own: &'a OwnFiles,
}

/// Files that every program may write and that hold nothing.
const NO_FILES: &[&str] = &[
    "/dev/null",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/stderr",
    "/dev/tty",
    "/dev/zero",
];

/// Why nobody touches the worker's own files.
const OWN: Blocked = Blocked {
    name: "own-files",
    reason: "it belongs to the worker, or holds what does: its record, policy, memory or tools",
};

impl Judge<'_> {
    pub(super) fn action(&self, action: &Action) -> Decision {
        match action {
            Action::Exec(exec) => {
                let decision = self.exec(exec);
                if exec.stdin.is_some() && decision.verdict == Verdict::Allow {
                    return self.opaque("it is given input, which no rule can judge", "stdin");
                }
                decision
            }
            Action::ReadFile { path } => self.file(Kind::ReadFile, path),
            Action::WriteFile { path, .. } => self.file(Kind::WriteFile, path),
            Action::Network { host, port } => {
                self.rules(Kind::Network, host, |rule| rule.host(host, *port))
            }
            Action::SendToCloud {
                provider, label, ..
            } => self.rules(Kind::SendToCloud, provider, |rule| {
                rule.named(provider) && rule.label(label)
            }),
            Action::LoadModule { name } => {
                self.rules(Kind::LoadModule, name, |rule| rule.named(name))
            }
            Action::CallModule { name, command } => self.rules(Kind::CallModule, name, |rule| {
                rule.named(name) && rule.verb(command)
            }),
            Action::CallTool(call) => {
                let decision = self.tool(call);
                Decision {
                    risk: decision.risk.max(call.risk),
                    ..decision
                }
            }
            Action::WriteMemory { collection } => {
                self.rules(Kind::WriteMemory, collection, |rule| rule.named(collection))
            }
            Action::BlockAddress {
                address,
                prefix,
                ttl_s,
            } => self.block(*address, *prefix, *ttl_s),
            Action::InstallPackage { name, exec } => {
                let command = exec.as_ref().map(|exec| self.exec(exec));
                let package = self.package(name);
                strictest(command.into_iter().chain([package.clone()])).unwrap_or(package)
            }
            Action::ServiceControl { unit, verb } => self.service(unit, verb),
        }
    }

    fn block(&self, address: IpAddr, prefix: Option<u8>, ttl_s: u64) -> Decision {
        let net = match prefix {
            Some(prefix) => IpNet::new(address, prefix),
            None => Ok(IpNet::from(address)),
        };
        let Ok(net) = net.map(|net| net.trunc()) else {
            return deny("bad-prefix", "an address has fewer bits than that");
        };
        let what = net.to_string();
        self.rules(Kind::BlockAddress, &what, |rule| rule.blocks(net, ttl_s))
    }

    fn exec(&self, exec: &Exec) -> Decision {
        let Some(cwd) = exec.cwd.to_str().filter(|cwd| cwd.starts_with('/')) else {
            return deny("bad-directory", "the directory must be absolute and UTF-8");
        };
        let script = match Script::from_argv(&exec.argv) {
            Ok(script) => script,
            Err(refused) => return deny("refused", &refused.to_string()),
        };
        let reach = Reach::of_script(self.disk, &script, cwd);
        let touched = seen(&script, &reach);
        let found = if reach.is_whole {
            blocked_commands(&script, &touched)
        } else {
            // Where it is unknown, the root is the directory in which it does the most harm.
            let root = seen(&script, &Reach::of_path(self.disk));
            blocked_commands(&script, &touched).or_else(|| blocked_commands(&script, &root))
        };
        if let Some(found) = found {
            return by_pattern(found);
        }
        let opaque = script
            .opaque
            .iter()
            .map(|opaque| self.opaque(opaque.reason, &opaque.text));
        let obeyed = |(name, value): &(&String, &String)| !harmless_assignment(name, Some(value));
        let variables = exec.env.iter().filter(obeyed);
        let variables =
            variables.map(|(name, _)| self.opaque("a variable that programs may obey", name));
        let evaluated = exec.env.iter().filter(|(name, value)| {
            script.numbers.contains(name) && !is_number(Some(value.as_str()))
        });
        let evaluated =
            evaluated.map(|(name, _)| self.opaque("a text that the shell evaluates", name));
        let nowhere =
            (!reach.is_whole).then(|| self.opaque("a directory that only the shell knows", "cd"));
        // Of equals the last is named: before it come the shell and the wrappers.
        let commands = touched.iter().rev().map(|seen| self.command(seen));
        let all = commands.chain(opaque).chain(variables);
        let all = all.chain(evaluated).chain(nowhere);
        strictest(all).unwrap_or_else(|| allow("no-program", "nothing is run"))
    }

    /// A command is as bad as its worst part.
    fn command(&self, seen: &Seen<'_>) -> Decision {
        let program = self.program(seen.command, seen);
        let loose = program.1.is_some_and(|rule| rule.unknown_args);
        // What a program that is harmless with any words makes of an open file is another matter: a
        // shell hands it on to what it runs.
        let redirected = seen.command.reads.len() + seen.command.writes.len();
        let touched = seen.touched.iter().enumerate();
        let files = touched.flat_map(|(at, (access, places))| {
            let loose = loose && at >= redirected;
            let decisions = places
                .iter()
                .map(move |place| self.touch(place, *access, loose));
            decisions.flatten()
        });
        strictest(std::iter::once(program.0).chain(files))
            .unwrap_or_else(|| deny("refused", "there is no command"))
    }

    fn program(&self, command: &Command, seen: &Seen<'_>) -> (Decision, Option<&Rule>) {
        if command.program == ":" {
            // Nothing but redirections, whose files are judged by themselves.
            return (allow("no-program", "nothing is run"), None);
        }
        let what = command.display();
        let rule = self.first(Kind::Exec, |rule| {
            rule.command(command) && exec_paths(rule, seen)
        });
        (self.decision(rule, Kind::Exec, &what), rule)
    }

    /// What the rules say about a place that a command touches, if anything.
    fn touch(&self, place: &Place, access: Access, loose: bool) -> Option<Decision> {
        let kind = if access.writes() {
            Kind::WriteFile
        } else {
            Kind::ReadFile
        };
        let written = &place.written;
        match (written, access) {
            (Word::Literal(text), _) if NO_FILES.contains(&text.as_str()) => return None,
            (Word::Unknown { prefix, .. }, _) if prefix == PIPE => return None,
            (Word::Unknown { .. }, Access::Mention | Access::ReadTree) => return None,
            (Word::Unknown { .. }, Access::Read) if loose => return None,
            (Word::Unknown { text, .. }, _) => {
                return Some(self.opaque("a file that only the shell knows", text));
            }
            _ => {}
        }
        let unclear = place.unclear.map(|why| self.opaque(why, written.text()));
        let decisions = place.forms().filter_map(|path| match access {
            Access::Mention => self.forbidden(kind, path),
            Access::ReadTree => self.forbidden_below(kind, path),
            Access::WriteTree if self.owns_below(kind, path) => Some(by_pattern(OWN)),
            Access::Read | Access::Write | Access::WriteTree => Some(self.path(kind, path)),
        });
        strictest(decisions.chain(unclear))
    }

    /// A file that is named for an action of its own.
    fn file(&self, kind: Kind, path: &Path) -> Decision {
        let Some(text) = path.to_str().filter(|text| text.starts_with('/')) else {
            return deny("bad-path", "the path must be absolute and UTF-8");
        };
        if text.contains(char::is_control) {
            return deny(
                "bad-path",
                "the path has control characters; rename the file",
            );
        }
        let word = Word::Literal(text.into());
        let access = match kind {
            Kind::WriteFile => Access::Write,
            _ => Access::Read,
        };
        let places = Reach::of_path(self.disk).places(&word, access);
        let found = places.iter().flat_map(Place::forms).find_map(|path| {
            let writes = kind == Kind::WriteFile;
            writes.then(|| blocked_write(path.text())).flatten()
        });
        if let Some(found) = found {
            return by_pattern(found);
        }
        let forms = places.iter().flat_map(Place::forms);
        let unclear = places.iter().filter_map(|place| place.unclear);
        let decisions = forms
            .map(|path| self.path(kind, path))
            .chain(unclear.map(|why| self.opaque(why, text)));
        strictest(decisions).unwrap_or_else(|| deny("refused", "there is no path"))
    }

    /// Whether a path is one of the worker's own, which are none of anybody's, whatever the rules
    /// say.
    fn owns(&self, kind: Kind, path: &Word) -> bool {
        self.own_files(kind).any(|own| match path {
            Word::Literal(text) => Path::new(text).starts_with(own),
            Word::Glob(text) => own
                .to_str()
                .is_some_and(|own| overlap(text, own) || overlap(text, &format!("{own}/**"))),
            Word::Unknown { .. } => false,
        })
    }

    /// Whether one of them is below a path, or is it.
    fn owns_below(&self, kind: Kind, path: &Word) -> bool {
        let above = self.own_files(kind).any(|own| match path {
            Word::Literal(text) => own.starts_with(text),
            Word::Glob(text) => own
                .ancestors()
                .filter_map(Path::to_str)
                .any(|above| overlap(text, above)),
            Word::Unknown { .. } => false,
        });
        above || self.owns(kind, path)
    }

    /// What of the worker's nobody may touch in this way.
    fn own_files(&self, kind: Kind) -> impl Iterator<Item = &PathBuf> {
        let kept = self
            .own
            .kept
            .iter()
            .filter(move |_| kind == Kind::WriteFile);
        self.own.secret.iter().chain(kept)
    }

    /// One form of a path that is opened.
    fn path(&self, kind: Kind, path: &Word) -> Decision {
        if self.owns(kind, path) {
            return by_pattern(OWN);
        }
        self.decision(self.first(kind, |rule| rule.path(path)), kind, path.text())
    }

    /// A rule that denies or asks for a word, in case that it is a path.
    fn forbidden(&self, kind: Kind, path: &Word) -> Option<Decision> {
        // It is not known whether the program writes there.
        if let Some(found) = blocked_write(path.text()).filter(|found| found.name != "write-device")
        {
            return Some(self.opaque(found.reason, path.text()));
        }
        if self.owns(Kind::WriteFile, path) {
            return Some(by_pattern(OWN));
        }
        let strict = |rule: &Rule| {
            rule.decision != Verdict::Allow && rule.paths.is_some() && rule.path(path)
        };
        let rule = self.first(kind, strict)?;
        Some(self.decision(Some(rule), kind, path.text()))
    }

    /// A rule that denies or asks for something below a directory.
    fn forbidden_below(&self, kind: Kind, path: &Word) -> Option<Decision> {
        if self.owns_below(kind, path) {
            return Some(by_pattern(OWN));
        }
        let rule = self.first(kind, |rule| {
            rule.decision != Verdict::Allow && rule.below(path)
        })?;
        Some(self.decision(Some(rule), kind, path.text()))
    }

    /// One that only reads is what its author says; another is as opaque as a program that nobody
    /// has listed, unless a rule speaks of it.
    fn tool(&self, call: &ToolCall) -> Decision {
        let rule = self.first(Kind::CallTool, |rule| {
            rule.named(&call.name) && rule.rights(&call.rights)
        });
        if rule.is_none() && !call.rights.is_empty() {
            return self.opaque("a tool that may do more than read", &call.name);
        }
        self.decision(rule, Kind::CallTool, &call.name)
    }

    fn package(&self, name: &str) -> Decision {
        let plain = |c: char| c.is_ascii_alphanumeric() || "+-._:@".contains(c);
        if !name.chars().all(plain) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return deny(
                "bad-name",
                "that is no name of a package; write it as the package manager does",
            );
        }
        self.rules(Kind::InstallPackage, name, |rule| rule.named(name))
    }

    fn service(&self, unit: &str, verb: &str) -> Decision {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:@\\".contains(c);
        if unit.is_empty()
            || !unit.chars().all(plain)
            || unit.starts_with('-')
            || !verb.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        {
            return deny("bad-name", "that is no unit and verb of systemd");
        }
        let argv = ["systemctl", verb, unit].map(str::to_owned);
        let found = Script::from_argv(&argv)
            .ok()
            .and_then(|script| blocked(&script, "/"));
        match found {
            Some(found) => by_pattern(found),
            None => self.rules(Kind::ServiceControl, unit, |rule| {
                rule.named(unit) && rule.verb(verb)
            }),
        }
    }

    fn rules(&self, kind: Kind, what: &str, matches: impl Fn(&Rule) -> bool) -> Decision {
        self.decision(self.first(kind, matches), kind, what)
    }

    /// The rule that decides: one that denies before one that asks before one that allows.
    fn first(&self, kind: Kind, matches: impl Fn(&Rule) -> bool) -> Option<&Rule> {
        [Verdict::Deny, Verdict::Ask, Verdict::Allow]
            .into_iter()
            .find_map(|verdict| {
                self.profile.rules.iter().find(|rule| {
                    rule.decision == verdict
                        && rule.concerns(kind, self.caller, self.now)
                        && matches(rule)
                })
            })
    }

    fn decision(&self, rule: Option<&Rule>, kind: Kind, what: &str) -> Decision {
        let Some(rule) = rule else {
            return Decision {
                verdict: self.profile.otherwise,
                rule: format!("{}/otherwise", self.profile.name),
                reason: format!("no rule allows {} `{}`", verb(kind), shown(what)),
                risk: Risk::Medium,
            };
        };
        let risk = match rule.decision {
            Verdict::Allow => Risk::Low,
            Verdict::Ask => Risk::Medium,
            Verdict::Deny => Risk::High,
        };
        let reason = rule
            .reason
            .clone()
            .unwrap_or_else(|| format!("the rule speaks of {} `{}`", verb(kind), shown(what)));
        Decision {
            verdict: rule.decision,
            rule: rule.name.clone(),
            reason,
            risk: rule.risk.unwrap_or(risk),
        }
    }

    fn opaque(&self, reason: &str, text: &str) -> Decision {
        Decision {
            verdict: self.profile.opaque,
            rule: format!("{}/opaque", self.profile.name),
            reason: format!(
                "it can't be known what it does: {reason}: `{}`",
                shown(text)
            ),
            risk: Risk::High,
        }
    }
}

/// A rule for programs with paths is about commands that touch only these, if it allows, or one of
/// them, if it denies or asks.
fn exec_paths(rule: &Rule, seen: &Seen<'_>) -> bool {
    if rule.paths.is_none() {
        return true;
    }
    let mut places = seen.touched.iter().flat_map(|(_, places)| places);
    let mut paths = seen.paths().map(|(_, path)| path);
    match rule.decision {
        Verdict::Allow => {
            places.all(|place| place.unclear.is_none()) && paths.all(|path| rule.path(path))
        }
        Verdict::Ask | Verdict::Deny => paths.any(|path| rule.path(path)),
    }
}

fn strictest(decisions: impl IntoIterator<Item = Decision>) -> Option<Decision> {
    decisions.into_iter().reduce(|worst, next| {
        let worse = (next.verdict, next.risk) > (worst.verdict, worst.risk);
        if worse { next } else { worst }
    })
}

fn by_pattern(found: Blocked) -> Decision {
    Decision {
        verdict: Verdict::Deny,
        rule: format!("blocked/{}", found.name),
        reason: format!("{}; no profile allows that", found.reason),
        risk: Risk::Critical,
    }
}

fn deny(rule: &str, reason: &str) -> Decision {
    Decision {
        verdict: Verdict::Deny,
        rule: rule.into(),
        reason: reason.into(),
        risk: Risk::High,
    }
}

fn allow(rule: &str, reason: &str) -> Decision {
    Decision {
        verdict: Verdict::Allow,
        rule: rule.into(),
        reason: reason.into(),
        risk: Risk::Low,
    }
}

fn verb(kind: Kind) -> &'static str {
    match kind {
        Kind::Exec => "running",
        Kind::ReadFile => "reading",
        Kind::WriteFile => "writing",
        Kind::Network => "connecting to",
        Kind::SendToCloud => "sending text to",
        Kind::LoadModule => "loading",
        Kind::CallModule | Kind::CallTool => "calling",
        Kind::WriteMemory => "remembering in",
        Kind::BlockAddress => "blocking",
        Kind::InstallPackage => "installing",
        Kind::ServiceControl => "controlling",
    }
}

/// A text for a message: one line, not too long.
fn shown(text: &str) -> String {
    one_line(text.chars().take(120))
}
