//! `packages`: what is installed, what could be, and installing it, with the manager that is there.

use fazai_tools::{Action, Right, Risk};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::define::{Call, Define, count, exec, failed, installed, limited};
use crate::error::ToolError;
use crate::host::Output;

/// How much of a line is told, in characters.
const LINE_CHARS_MAX: usize = 300;

pub(super) struct Packages;

/// What to do with which package.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// What to do.
    action: Verb,
    /// The package; what to look for if it is `search`. `installed` can do without.
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = "^[A-Za-z0-9]([A-Za-z0-9+._:@-]*[A-Za-z0-9+._])?$")
    )]
    name: Option<String>,
    /// How many packages or lines are wanted at most.
    #[serde(default = "some")]
    #[schemars(range(min = 1, max = 2000))]
    limit: u32,
}

fn some() -> u32 {
    100
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Verb {
    Search,
    Info,
    Installed,
    Outdated,
    Install,
    Remove,
}

impl Define for Packages {
    type Params = Told;
    const NAME: &'static str = "packages";
    const DESCRIPTION: &'static str = "Looks for packages of the system, shows one, lists those that are installed or outdated, installs or removes one.";
    const RISK: Risk = Risk::Medium;
    const RIGHTS: &'static [Right] = &[Right::Network, Right::Change];

    fn wants(&self, told: Told, itself: Action) -> Result<Vec<Action>, ToolError> {
        let Ok(manager) = Manager::of_this_machine() else {
            return Ok(vec![itself]);
        };
        let name = told.name()?;
        Ok(vec![action(
            told.action,
            name,
            &manager.argv(told.action, name),
        )])
    }

    fn call(&self, told: Told, call: &Call) -> Result<Value, ToolError> {
        let name = told.name()?;
        let manager = Manager::of_this_machine()?;
        let argv = manager.argv(told.action, name);
        let output = call.run_as(action(told.action, name, &argv))?;
        let output = checked(output, &argv, told.action)?;
        let lines = output.stdout.lines().filter(|line| !line.trim().is_empty());
        if matches!(told.action, Verb::Installed | Verb::Outdated) {
            let found = lines.filter_map(|line| manager.package(line));
            let (packages, truncated) = limited(found, count(told.limit));
            return Ok(
                json!({ "manager": manager.name(), "packages": packages, "truncated": truncated }),
            );
        }
        let lines = lines.map(|line| line.chars().take(LINE_CHARS_MAX).collect::<String>());
        let (lines, truncated) = match told.action {
            // How it ended is at the end.
            Verb::Install | Verb::Remove => last(&lines.collect::<Vec<_>>(), count(told.limit)),
            _ => limited(lines, count(told.limit)),
        };
        Ok(json!({ "manager": manager.name(), "lines": lines, "truncated": truncated }))
    }
}

impl Told {
    /// The package, where one is needed. The schema has seen to it that it is no option, and has
    /// no `-` at its end, which tells apt to remove what it is told to install.
    fn name(&self) -> Result<&str, ToolError> {
        match (&self.name, self.action) {
            (Some(name), _) => Ok(name),
            (None, Verb::Installed | Verb::Outdated) => Ok(""),
            (None, _) => Err(ToolError::BadParams("name the package".into())),
        }
    }
}

fn last(lines: &[String], limit: usize) -> (Vec<String>, bool) {
    let from = lines.len().saturating_sub(limit);
    (lines[from..].to_vec(), from > 0)
}

/// What the gate is asked for. Removing is no kind of action by itself: the rules judge the command.
fn action(verb: Verb, name: &str, argv: &[&str]) -> Action {
    match (verb, exec(argv)) {
        (Verb::Install, Action::Exec(exec)) => Action::InstallPackage {
            name: name.to_owned(),
            exec: Some(exec),
        },
        (_, command) => command,
    }
}

/// What a manager wrote, if it did what it was told.
fn checked(output: Output, argv: &[&str], verb: Verb) -> Result<Output, ToolError> {
    let nothing = output.stdout.trim().is_empty() && output.stderr.trim().is_empty();
    match (output.ended.exit_code, verb) {
        // dnf and yum: there is something to update.
        (Some(0), _) | (Some(100), Verb::Outdated) => Ok(output),
        // pacman and zypper: nothing was found.
        (Some(1 | 104), Verb::Search | Verb::Outdated) if nothing => Ok(output),
        _ => Err(failed(&output, argv[0])),
    }
}

/// The package manager.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manager {
    Apt,
    Dnf,
    Yum,
    Zypper,
    Apk,
    Pacman,
}

impl Manager {
    const ALL: [Self; 6] = [
        Self::Apt,
        Self::Dnf,
        Self::Yum,
        Self::Zypper,
        Self::Apk,
        Self::Pacman,
    ];

    fn of_this_machine() -> Result<Self, ToolError> {
        let is_here = |manager: &Self| installed(&[manager.name()]).is_some();
        Self::ALL.into_iter().find(is_here).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            ToolError::Unavailable(format!("none of the package managers {names} is here"))
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Dnf => "dnf",
            Self::Yum => "yum",
            Self::Zypper => "zypper",
            Self::Apk => "apk",
            Self::Pacman => "pacman",
        }
    }

    /// The command; none of them asks anything back.
    fn argv(self, verb: Verb, name: &str) -> Vec<&str> {
        let (command, named): (&[&str], bool) = match (self, verb) {
            (Self::Apt, Verb::Search) => (&["apt-cache", "search"], true),
            (Self::Apt, Verb::Info) => (&["apt-cache", "show"], true),
            (Self::Apt, Verb::Installed) => (&["dpkg-query", "-W"], true),
            (Self::Apt, Verb::Outdated) => (&["apt", "list", "--upgradable"], false),
            (Self::Apt, Verb::Install) => (&["apt-get", "install", "--yes", "--quiet"], true),
            (Self::Apt, Verb::Remove) => (&["apt-get", "remove", "--yes", "--quiet"], true),

            (Self::Dnf, Verb::Search) => (&["dnf", "search", "--quiet"], true),
            (Self::Dnf, Verb::Info) => (&["dnf", "info", "--quiet"], true),
            (Self::Dnf, Verb::Outdated) => (&["dnf", "check-update", "--quiet"], false),
            (Self::Dnf, Verb::Install) => (&["dnf", "install", "--assumeyes", "--quiet"], true),
            (Self::Dnf, Verb::Remove) => (&["dnf", "remove", "--assumeyes", "--quiet"], true),

            (Self::Yum, Verb::Search) => (&["yum", "search", "--quiet"], true),
            (Self::Yum, Verb::Info) => (&["yum", "info", "--quiet"], true),
            (Self::Yum, Verb::Outdated) => (&["yum", "check-update", "--quiet"], false),
            (Self::Yum, Verb::Install) => (&["yum", "install", "--assumeyes", "--quiet"], true),
            (Self::Yum, Verb::Remove) => (&["yum", "remove", "--assumeyes", "--quiet"], true),

            (Self::Zypper, Verb::Search) => (&["zypper", "--non-interactive", "search"], true),
            (Self::Zypper, Verb::Info) => (&["zypper", "--non-interactive", "info"], true),
            (Self::Zypper, Verb::Outdated) => {
                (&["zypper", "--non-interactive", "list-updates"], false)
            }
            (Self::Zypper, Verb::Install) => (&["zypper", "--non-interactive", "install"], true),
            (Self::Zypper, Verb::Remove) => (&["zypper", "--non-interactive", "remove"], true),

            (Self::Dnf | Self::Yum | Self::Zypper, Verb::Installed) => {
                let all: &[&str] = if name.is_empty() {
                    &["rpm", "-qa"]
                } else {
                    &["rpm", "-q"]
                };
                (all, true)
            }

            (Self::Apk, Verb::Search) => (&["apk", "search"], true),
            (Self::Apk, Verb::Info) => (&["apk", "info"], true),
            (Self::Apk, Verb::Installed) => (&["apk", "list", "--installed"], true),
            (Self::Apk, Verb::Outdated) => (&["apk", "list", "--upgradable"], false),
            (Self::Apk, Verb::Install) => (&["apk", "add"], true),
            (Self::Apk, Verb::Remove) => (&["apk", "del"], true),

            (Self::Pacman, Verb::Search) => (&["pacman", "-Ss"], true),
            (Self::Pacman, Verb::Info) => (&["pacman", "-Si"], true),
            (Self::Pacman, Verb::Installed) => (&["pacman", "-Q"], true),
            (Self::Pacman, Verb::Outdated) => (&["pacman", "-Qu"], false),
            (Self::Pacman, Verb::Install) => (&["pacman", "-S", "--noconfirm", "--needed"], true),
            (Self::Pacman, Verb::Remove) => (&["pacman", "-R", "--noconfirm"], true),
        };
        let name = Some(name).filter(|name| named && !name.is_empty());
        command.iter().copied().chain(name).collect()
    }

    /// A line of those that are installed or outdated.
    fn package(self, line: &str) -> Option<Value> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let known = |name: &str, version: &str| Some(json!({ "name": name, "version": version }));
        match (self, words.as_slice()) {
            // name/suite version architecture [...]
            (Self::Apt, [name, version, _, ..]) => {
                let (name, _) = name.split_once('/')?;
                known(name, version)
            }
            // dnf and yum: name.architecture version repository
            (Self::Dnf | Self::Yum, [name, version, _]) => {
                let (name, _) = name.rsplit_once('.')?;
                known(name, version)
            }
            // S | Repository | Name | Current | Available | Arch
            (Self::Zypper, _) if line.contains('|') => {
                let cells: Vec<&str> = line.split('|').map(str::trim).collect();
                let [_, _, name, _, version, ..] = cells.as_slice() else {
                    return None;
                };
                (*name != "Name").then(|| known(name, version)).flatten()
            }
            // name-version-release
            (Self::Apk, [whole, ..]) => {
                let (rest, release) = whole.rsplit_once('-')?;
                let (name, version) = rest.rsplit_once('-')?;
                known(name, &format!("{version}-{release}"))
            }
            // name-version-release.architecture
            (Self::Dnf | Self::Yum | Self::Zypper, [whole]) => {
                let (whole, _) = whole.rsplit_once('.')?;
                let (rest, release) = whole.rsplit_once('-')?;
                let (name, version) = rest.rsplit_once('-')?;
                known(name, &format!("{version}-{release}"))
            }
            // pacman: name old -> new; dpkg-query has no version of what was removed
            (Self::Pacman, [name, _, "->", version, ..])
            | (Self::Apt | Self::Pacman, [name, version]) => known(name, version),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(manager: Manager, line: &str, expected: Option<(&str, &str)>) {
        let expected = expected.map(|(name, version)| json!({ "name": name, "version": version }));
        assert_eq!(manager.package(line), expected, "{line}");
    }

    #[test]
    fn what_managers_list_is_read() {
        use Manager::{Apk, Apt, Dnf, Pacman, Zypper};
        check(Apt, "libc6:amd64\t2.36-9", Some(("libc6:amd64", "2.36-9")));
        check(
            Apt,
            "curl/stable 7.88.1-10 amd64 [upgradable from: 7.88.1-9]",
            Some(("curl", "7.88.1-10")),
        );
        check(Apt, "Listing...", None);
        check(
            Dnf,
            "curl.x86_64 8.6.0-8.fc40 updates",
            Some(("curl", "8.6.0-8.fc40")),
        );
        check(
            Dnf,
            "bash-completion-2.11-14.fc40.noarch",
            Some(("bash-completion", "2.11-14.fc40")),
        );
        check(
            Zypper,
            "v | Main | curl | 8.0-1 | 8.1-1 | x86_64",
            Some(("curl", "8.1-1")),
        );
        check(
            Zypper,
            "S | Repository | Name | Current Version | Available Version | Arch",
            None,
        );
        check(
            Apk,
            "musl-utils-1.2.5-r0 x86_64 {musl} (MIT) [installed]",
            Some(("musl-utils", "1.2.5-r0")),
        );
        check(Pacman, "curl 8.1-1 -> 8.2-1", Some(("curl", "8.2-1")));
        check(Pacman, "curl 8.1-1", Some(("curl", "8.1-1")));
    }

    #[test]
    fn every_manager_is_told_the_name_last() {
        for manager in Manager::ALL {
            for verb in [
                Verb::Search,
                Verb::Info,
                Verb::Installed,
                Verb::Install,
                Verb::Remove,
            ] {
                let argv = manager.argv(verb, "nginx");
                assert_eq!(argv.last(), Some(&"nginx"), "{} {verb:?}", manager.name());
            }
            assert!(!manager.argv(Verb::Installed, "").contains(&""));
        }
    }
}
