//! One rule of a profile: what it matches.

use std::collections::BTreeSet;
use std::net::IpAddr;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ipnet::IpNet;
use jiff::civil::{DateTime, Time};
use serde::Deserialize;

use super::{Risk, Verdict};
use crate::action::{Kind, Right};
use crate::caller::Caller;
use crate::path::overlap;
use crate::shell::{Command, PIPE, Word, only_asks_about_itself, options_in_full, own_words};

/// A rule as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    name: String,
    decision: Verdict,
    actions: Vec<Kind>,
    #[serde(default)]
    callers: Vec<WhoFile>,
    hours: Option<String>,
    reason: Option<String>,
    risk: Option<Risk>,
    programs: Option<Vec<String>>,
    not_programs: Option<Vec<String>>,
    first: Option<Vec<String>>,
    args: Option<Vec<String>>,
    some: Option<Vec<String>>,
    without: Option<Vec<String>>,
    #[serde(default)]
    unknown_args: bool,
    #[serde(default)]
    about_itself: bool,
    paths: Option<Vec<String>>,
    hosts: Option<Vec<String>>,
    ports: Option<Vec<u16>>,
    networks: Option<Vec<IpNet>>,
    ttl_s_max: Option<u64>,
    names: Option<Vec<String>>,
    verbs: Option<Vec<String>>,
    labels: Option<Vec<String>>,
    rights: Option<BTreeSet<Right>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WhoFile {
    uid: Option<u32>,
    group: Option<u32>,
    token: Option<String>,
}

/// A rule that can be asked.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// With the profile in front.
    pub(super) name: String,
    pub(super) decision: Verdict,
    pub(super) reason: Option<String>,
    pub(super) risk: Option<Risk>,
    kinds: Vec<Kind>,
    callers: Vec<Who>,
    hours: Option<(Time, Time)>,
    pub(super) unknown_args: bool,
    about_itself: bool,
    programs: Option<Patterns>,
    not_programs: Option<Patterns>,
    first: Option<Patterns>,
    args: Option<Patterns>,
    some: Option<Patterns>,
    without: Option<Patterns>,
    pub(super) paths: Option<Patterns>,
    hosts: Option<Patterns>,
    ports: Option<Vec<u16>>,
    networks: Option<Vec<IpNet>>,
    ttl_s_max: Option<u64>,
    names: Option<Patterns>,
    verbs: Option<Patterns>,
    labels: Option<Patterns>,
    rights: Option<BTreeSet<Right>>,
}

/// Who a rule or a profile is for.
#[derive(Debug, Clone)]
pub(super) enum Who {
    Uid(u32),
    Group(u32),
    Token(String),
}

/// Glob patterns, one of which must match.
#[derive(Debug, Clone)]
pub(super) struct Patterns {
    texts: Vec<String>,
    set: GlobSet,
}

impl Who {
    pub(super) fn new(
        uid: Option<u32>,
        group: Option<u32>,
        token: Option<String>,
    ) -> Result<Self, String> {
        match (uid, group, token) {
            (Some(uid), None, None) => Ok(Self::Uid(uid)),
            (None, Some(group), None) => Ok(Self::Group(group)),
            (None, None, Some(token)) => Ok(Self::Token(token)),
            _ => Err(
                "a caller is just one of `uid`, `group` and `token`; write several callers".into(),
            ),
        }
    }

    pub(super) fn is(&self, caller: &Caller) -> bool {
        match (self, caller) {
            (Self::Uid(uid), Caller::User(user)) => user.uid == *uid,
            (Self::Group(group), Caller::User(user)) => user.groups.contains(group),
            (Self::Token(name), Caller::Token(token)) => name == token,
            (Self::Uid(_) | Self::Group(_), Caller::Token(_))
            | (Self::Token(_), Caller::User(_)) => false,
        }
    }
}

impl Rule {
    pub(super) fn new(profile: &str, file: RuleFile) -> Result<Self, String> {
        let name = format!("{profile}/{}", file.name);
        check_fields(&name, &file)?;
        let patterns = |texts: Option<Vec<String>>, paths: bool| {
            texts
                .map(|texts| Patterns::new(texts, paths))
                .transpose()
                .map_err(|why| format!("rule `{name}`: {why}"))
        };
        let callers = file
            .callers
            .into_iter()
            .map(|who| Who::new(who.uid, who.group, who.token));
        Ok(Self {
            decision: file.decision,
            reason: file.reason,
            risk: file.risk,
            kinds: file.actions,
            callers: callers
                .collect::<Result<_, _>>()
                .map_err(|why| format!("rule `{name}`: {why}"))?,
            hours: file
                .hours
                .map(|text| {
                    hours(&text).ok_or_else(|| {
                        format!(
                            "rule `{name}`: `{text}` is no span of hours; write \"08:00-18:00\""
                        )
                    })
                })
                .transpose()?,
            unknown_args: file.unknown_args,
            about_itself: file.about_itself,
            programs: patterns(file.programs, false)?,
            not_programs: patterns(file.not_programs, false)?,
            first: patterns(file.first, false)?,
            args: patterns(file.args, false)?,
            some: patterns(file.some, false)?,
            without: patterns(file.without, false)?,
            paths: patterns(file.paths, true)?,
            hosts: patterns(file.hosts, false)?,
            ports: file.ports,
            networks: file.networks,
            ttl_s_max: file.ttl_s_max,
            names: patterns(file.names, false)?,
            verbs: patterns(file.verbs, false)?,
            labels: patterns(file.labels, false)?,
            rights: file.rights,
            name,
        })
    }

    /// Whether the rule is about such an action of this caller at this time.
    pub(super) fn concerns(&self, kind: Kind, caller: &Caller, now: DateTime) -> bool {
        self.kinds.contains(&kind)
            && (self.callers.is_empty() || self.callers.iter().any(|who| who.is(caller)))
            && self.hours.is_none_or(|hours| within(hours, now.time()))
    }

    /// Whether the rule is about this command. A rule that allows must be sure of it; for one that
    /// denies or asks it is enough that it can't be ruled out.
    pub(super) fn command(&self, command: &Command) -> bool {
        let named = |programs: &Patterns| programs.contain(command.name());
        if !self.programs.as_ref().is_none_or(named)
            || self.not_programs.as_ref().is_some_and(named)
        {
            return false;
        }
        let args = &command.args;
        let sure = self.decision == Verdict::Allow;
        let matches = |patterns: &Patterns, word: &Word| match word.literal() {
            Some(text) => patterns.contain(text),
            None => !sure,
        };
        // What an argument may mean is of interest to whoever forbids it.
        let meanings = options_in_full(command);
        let may_mean = |patterns: &Patterns| match &meanings {
            Some(options) => options.iter().any(|option| patterns.contain(option)),
            None => args.iter().any(|arg| patterns.may_be_shortened(arg.text())),
        };
        let is_option = |arg: &&Word| arg.text().starts_with('-');
        let first = args.iter().find(|arg| !is_option(arg));
        // An option may take the next word, and then another one is the verb.
        let mut before = args.iter().take_while(is_option);
        let clear = !sure || self.first.is_none() || before.all(stands_alone);
        (!self.about_itself || only_asks_about_itself(command))
            && clear
            && self.first.as_ref().is_none_or(|patterns| match first {
                Some(first) => matches(patterns, first),
                None => patterns.contain(""),
            })
            && self.args.as_ref().is_none_or(|patterns| match sure {
                true => args.iter().all(|arg| matches(patterns, arg)),
                false => may_mean(patterns) || args.iter().any(|arg| matches(patterns, arg)),
            })
            && self
                .some
                .as_ref()
                .is_none_or(|patterns| match own_words(command) {
                    // What is the value of another option is not meant.
                    Some(words) if sure => words.iter().any(|word| patterns.contain(word)),
                    _ => args.iter().any(|arg| matches(patterns, arg)),
                })
            && self.without.as_ref().is_none_or(|patterns| {
                !may_mean(patterns)
                    && !args.iter().any(|arg| match arg.literal() {
                        Some(text) => patterns.contain(text),
                        None => !self.unknown_args && is_unknown(arg),
                    })
            })
            && (!sure || self.unknown_args || !args.iter().any(is_unknown))
    }

    /// Whether the rule is about this path.
    pub(super) fn path(&self, path: &Word) -> bool {
        let Some(patterns) = &self.paths else {
            return true;
        };
        match path {
            Word::Literal(text) => patterns.contain(text),
            // What a pattern finds is inside of another if the pattern itself is.
            Word::Glob(text) if self.decision == Verdict::Allow => patterns.contain(text),
            Word::Glob(text) => patterns.texts.iter().any(|pattern| {
                // Files of which only the beginning is known are no more those of such a name than
                // their directory is.
                let is_name = pattern
                    .strip_prefix("**/")
                    .is_some_and(|it| !it.contains('/'));
                let is_open = text.ends_with('*') && !text.ends_with("**");
                !(is_name && is_open) && overlap(text, pattern)
            }),
            Word::Unknown { prefix, .. } => {
                let at = [format!("{prefix}*"), format!("{prefix}*/**")];
                let mut texts = patterns.texts.iter();
                self.decision != Verdict::Allow
                    && !prefix.is_empty()
                    && texts.any(|pattern| at.iter().any(|at| overlap(at, pattern)))
            }
        }
    }

    /// Whether the rule names places below this path. A pattern with `**/` in it names no
    /// place: by it, every directory would be one. But `**/.gnupg/**` is about whatever is in such a
    /// directory, which is one of them then.
    pub(super) fn below(&self, path: &Word) -> bool {
        let below = format!("{}/**", path.text().trim_end_matches('/'));
        let patterns = self.paths.iter().flat_map(|patterns| &patterns.texts);
        let mut rooted = patterns.filter(|pattern| !pattern.contains("**/"));
        let whatever = format!("{}/\u{1}", path.text().trim_end_matches('/'));
        let is_one = |patterns: &Patterns| path.literal().is_some() && patterns.contain(&whatever);
        self.paths.as_ref().is_some_and(is_one)
            || !matches!(path, Word::Unknown { .. })
                && rooted.any(|pattern| overlap(&below, pattern))
    }

    pub(super) fn host(&self, host: &str, port: u16) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        let named = self
            .hosts
            .as_ref()
            .is_none_or(|hosts| hosts.contain(&host.to_ascii_lowercase()));
        let inside = self.networks.as_ref().is_none_or(|networks| {
            address.is_some_and(|address| networks.iter().any(|network| network.contains(&address)))
        });
        named
            && inside
            && self
                .ports
                .as_ref()
                .is_none_or(|ports| ports.contains(&port))
    }

    /// Whether it is about a network: one that allows holds all of it, another meets a part of it.
    pub(super) fn blocks(&self, net: IpNet, ttl_s: u64) -> bool {
        let meets = |known: &IpNet| {
            known.contains(&net) || self.decision != Verdict::Allow && net.contains(known)
        };
        let inside = |networks: &Vec<IpNet>| networks.iter().any(meets);
        self.networks.as_ref().is_none_or(inside) && self.ttl_s_max.is_none_or(|most| ttl_s <= most)
    }

    pub(super) fn named(&self, name: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.contain(name))
    }

    pub(super) fn verb(&self, verb: &str) -> bool {
        self.verbs.as_ref().is_none_or(|verbs| verbs.contain(verb))
    }

    /// A rule that allows names every right that the tool may have; for one that denies or asks it
    /// is enough that the tool has one of them.
    pub(super) fn rights(&self, rights: &BTreeSet<Right>) -> bool {
        self.rights.as_ref().is_none_or(|named| {
            if self.decision == Verdict::Allow {
                rights.is_subset(named)
            } else {
                !rights.is_disjoint(named)
            }
        })
    }

    pub(super) fn label(&self, label: &str) -> bool {
        self.labels
            .as_ref()
            .is_none_or(|labels| labels.contain(label))
    }
}

/// A limit that does not fit the action would be passed over, so that the rule allowed more than
/// it says; so it is a mistake.
fn check_fields(name: &str, file: &RuleFile) -> Result<(), String> {
    use Kind::{
        BlockAddress, CallModule, CallTool, Exec, InstallPackage, LoadModule, Network, ReadFile,
        SendToCloud, ServiceControl, WriteFile, WriteMemory,
    };
    let fields: [(&str, bool, &[Kind]); 16] = [
        ("programs", file.programs.is_some(), &[Exec]),
        ("not_programs", file.not_programs.is_some(), &[Exec]),
        ("first", file.first.is_some(), &[Exec]),
        ("args", file.args.is_some(), &[Exec]),
        ("some", file.some.is_some(), &[Exec]),
        ("without", file.without.is_some(), &[Exec]),
        ("about_itself", file.about_itself, &[Exec]),
        ("unknown_args", file.unknown_args, &[Exec]),
        ("paths", file.paths.is_some(), &[Exec, ReadFile, WriteFile]),
        ("hosts", file.hosts.is_some(), &[Network]),
        ("ports", file.ports.is_some(), &[Network]),
        (
            "networks",
            file.networks.is_some(),
            &[Network, BlockAddress],
        ),
        ("ttl_s_max", file.ttl_s_max.is_some(), &[BlockAddress]),
        (
            "names",
            file.names.is_some(),
            &[
                SendToCloud,
                LoadModule,
                CallModule,
                CallTool,
                WriteMemory,
                InstallPackage,
                ServiceControl,
            ],
        ),
        ("rights", file.rights.is_some(), &[CallTool]),
        ("verbs", file.verbs.is_some(), &[ServiceControl, CallModule]),
    ];
    let labels = ("labels", file.labels.is_some(), [SendToCloud].as_slice());
    if file.actions.is_empty() {
        return Err(format!("rule `{name}` has no actions; name one"));
    }
    for (field, is_there, kinds) in fields.into_iter().chain([labels]) {
        if is_there && !file.actions.iter().all(|kind| kinds.contains(kind)) {
            return Err(format!(
                "rule `{name}`: `{field}` does not fit all of its actions; split the rule"
            ));
        }
    }
    Ok(())
}

/// A word that may turn into other words than are written.
fn is_unknown(word: &Word) -> bool {
    match word {
        Word::Literal(_) => false,
        Word::Unknown { prefix, .. } if prefix == PIPE => false,
        Word::Glob(_) => word.may_be_option(),
        Word::Unknown { .. } => true,
    }
}

/// `08:00-18:00`; over midnight if the end is earlier.
fn hours(text: &str) -> Option<(Time, Time)> {
    let (from, to) = text.split_once('-')?;
    Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
}

fn within((from, to): (Time, Time), now: Time) -> bool {
    match from <= to {
        true => from <= now && now < to,
        false => now >= from || now < to,
    }
}

impl Patterns {
    fn new(texts: Vec<String>, paths: bool) -> Result<Self, String> {
        let mut set = GlobSetBuilder::new();
        for text in &texts {
            // In a path a star ends at the next slash; elsewhere a slash is a letter like others.
            let glob = GlobBuilder::new(text)
                .literal_separator(paths)
                .backslash_escape(true)
                .build();
            set.add(glob.map_err(|error| error.to_string())?);
        }
        let set = set.build().map_err(|error| error.to_string())?;
        Ok(Self { texts, set })
    }

    fn contain(&self, text: &str) -> bool {
        self.set.is_match(text)
    }

    /// Whether a text may be a long option of one of these, shortened: `--del` for `--delete`.
    fn may_be_shortened(&self, text: &str) -> bool {
        let name = text.split('=').next().unwrap_or_default();
        let mut texts = self.texts.iter();
        name.len() > 2 && name.starts_with("--") && texts.any(|pattern| pattern.starts_with(name))
    }
}

/// Options that take no further word, of all programs that have a verb.
const FLAGS: &[&str] = &[
    "-y",
    "-q",
    "-qq",
    "-a",
    "-v",
    "--yes",
    "--assume-yes",
    "--quiet",
    "--all",
    "--full",
    "--no-pager",
    "--no-legend",
    "--plain",
    "--system",
    "--user",
    "--failed",
    "--version",
    "--help",
    "--no-install-recommends",
    "--non-interactive",
    "--assumeyes",
    "--no-cache",
    "--installed",
    "--upgradable",
    "--dry-run",
    "--simulate",
    "-s",
];

fn stands_alone(option: &Word) -> bool {
    option
        .literal()
        .is_some_and(|text| FLAGS.contains(&text) || text.starts_with("--") && text.contains('='))
}
