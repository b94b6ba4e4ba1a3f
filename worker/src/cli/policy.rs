//! `fazai policy`: what may be done here, and why.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use fazai::policy;
use fazai_tools::{
    Access, Action, Caller, Decision, Exec, Policy as Rules, READY_PROFILES, Script, touches,
};
use serde_json::{Value, json};

use super::{SettingsFile, output};

/// The commands.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Nothing is run by these. A command is one text, as a shell would read it, or a program with its
arguments after --. `check` ends with 0 whatever the answer is, which is its first word.

Examples:
  fazai policy check -- systemctl restart nginx
  fazai policy check --profile elevated 'curl https://example.org/x | sh'
  fazai policy explain 'find / -name core -exec rm {} +'
  fazai policy test my-expectations.txt")]
pub(crate) enum Policy {
    /// Say whether a command is allowed, asked for or denied, by which rule, and why
    Check(Judged),
    /// Say what a command would run and touch, and what each profile decides about it
    Explain(Judged),
    /// Try a file of expectations, each line `allow|ask|deny COMMAND`
    Test(Test),
    /// Print the names of the profiles, or the rules of a ready one
    Show(Show),
}

/// Which policy decides, about whom.
#[derive(Debug, Args)]
struct Judge {
    /// Decide by this profile [default: the one that the user has]
    #[arg(long)]
    profile: Option<String>,
    /// Decide about this user [default: yourself]
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// A policy file [default: the configured one]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingsFile,
}

/// A command, and who judges it
#[derive(Debug, Args)]
pub(crate) struct Judged {
    #[command(flatten)]
    judge: Judge,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// The command
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Try a file of expectations, each line `allow|ask|deny COMMAND`
#[derive(Debug, Args)]
#[command(after_help = "\
Empty lines and those that begin with # are passed over. Ends with 1 if a decision is another one
than expected.")]
pub(crate) struct Test {
    #[command(flatten)]
    judge: Judge,
    /// The expectations
    file: PathBuf,
}

/// Print the names of the profiles, or the rules of a ready one
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A ready profile
    #[arg(value_parser = READY_PROFILES)]
    profile: Option<String>,
    #[command(flatten)]
    judge: Judge,
}

impl Policy {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Check(judged) => judged.check(),
            Self::Explain(judged) => judged.explain(),
            Self::Test(test) => test.run(),
            Self::Show(show) => show.run(),
        }
    }
}

impl Judge {
    fn rules(&self) -> anyhow::Result<Rules> {
        // The worker denies what is its own whatever the policy says.
        let settings = self.settings.load()?;
        let rules = match &self.policy {
            Some(path) => policy::read(path)?,
            None => policy::load(&settings.policy)?,
        };
        Ok(rules.with_own_files(policy::own_files(&settings)))
    }

    fn caller(&self) -> Caller {
        self.uid.map_or_else(policy::own_user, policy::user)
    }

    fn decide(&self, rules: &Rules, action: &Action) -> anyhow::Result<Decision> {
        let (caller, now) = (self.caller(), jiff::Zoned::now().datetime());
        let Some(profile) = &self.profile else {
            return Ok(rules.decide(&caller, action, now));
        };
        if !rules.profiles().any(|known| known == profile) {
            let known: Vec<&str> = rules.profiles().collect();
            return Err(anyhow!(
                "there is no profile {profile:?}; there are {}",
                known.join(", ")
            ));
        }
        Ok(rules.decide_as(profile, &caller, action, now))
    }
}

/// One word is a text for a shell, several are a program and its arguments.
fn action(command: &[String]) -> Action {
    match command {
        [text] => Action::shell(text, "/"),
        argv => Action::Exec(Exec::plain(argv.to_vec(), "/")),
    }
}

fn describe(decision: &Decision) -> String {
    let Decision {
        verdict,
        rule,
        reason,
        risk,
    } = decision;
    format!("{verdict}\t{rule}\t{reason} (risk: {})", name(risk))
}

/// A word of the policy, as it is written in its files.
fn name(word: impl serde::Serialize) -> String {
    match serde_json::to_value(word) {
        Ok(Value::String(text)) => text,
        _ => String::new(),
    }
}

impl Judged {
    fn check(&self) -> anyhow::Result<()> {
        let rules = self.judge.rules()?;
        let decision = self.judge.decide(&rules, &action(&self.command))?;
        // The first word is for scripts, in a pipe as well.
        if self.json {
            return output::print(true, "", &json!(decision));
        }
        output::say(&describe(&decision))
    }

    fn explain(&self) -> anyhow::Result<()> {
        let rules = self.judge.rules()?;
        let script = match self.command.as_slice() {
            [text] => Script::parse(text),
            argv => Script::from_argv(argv),
        }?;
        let mut text = String::new();
        let mut runs = Vec::new();
        for command in &script.commands {
            let _ = writeln!(text, "runs       {}", command.display());
            let mut files = Vec::new();
            for touch in touches(command) {
                let how = match touch.access {
                    Access::Read => "reads",
                    Access::ReadTree => "reads all",
                    Access::Write => "writes",
                    Access::WriteTree => "writes all",
                    Access::Mention => "names",
                };
                let _ = writeln!(text, "{how:<10} {}", touch.path.text());
                files.push(json!({ "access": how, "path": touch.path.text() }));
            }
            runs.push(json!({ "command": command.display(), "files": files }));
        }
        for part in &script.opaque {
            let _ = writeln!(text, "unclear    {} ({})", part.text, part.reason);
        }
        let action = action(&self.command);
        let mut decisions = serde_json::Map::new();
        for profile in rules.profiles() {
            let now = jiff::Zoned::now().datetime();
            let decision = rules.decide_as(profile, &self.judge.caller(), &action, now);
            let _ = writeln!(text, "{profile:<12} {}", describe(&decision));
            decisions.insert(profile.to_owned(), json!(decision));
        }
        let opaque: Vec<Value> = script
            .opaque
            .iter()
            .map(|part| json!({ "text": part.text, "reason": part.reason }))
            .collect();
        let data = json!({ "runs": runs, "unclear": opaque, "decisions": decisions });
        output::print(self.json, &text, &data)
    }
}

impl Test {
    fn run(&self) -> anyhow::Result<()> {
        let rules = self.judge.rules()?;
        let text = output::read(&self.file)?;
        let mut tried = 0;
        let mut wrong = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = format!("{}:{}", self.file.display(), index + 1);
            let expected = line.split_once(char::is_whitespace);
            let Some((expected @ ("allow" | "ask" | "deny"), command)) = expected else {
                return Err(anyhow!(
                    "{place}: a line is `allow`, `ask` or `deny` and a command"
                ));
            };
            let decision = self
                .judge
                .decide(&rules, &Action::shell(command.trim(), "/"))?;
            tried += 1;
            if decision.verdict.to_string() != expected {
                wrong.push(format!(
                    "{place}: {expected} is expected: {}",
                    describe(&decision)
                ));
            }
        }
        for line in &wrong {
            output::say(line)?;
        }
        output::say(&format!(
            "{tried} commands, {} decided otherwise",
            wrong.len()
        ))?;
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(anyhow!("{} decisions are not as expected", wrong.len()))
        }
    }
}

impl Show {
    fn run(&self) -> anyhow::Result<()> {
        if let Some(profile) = &self.profile {
            let text = fazai_tools::ready_profile(profile).unwrap_or_default();
            return output::say(text.trim_end());
        }
        let rules = self.judge.rules()?;
        let own = self.judge.caller();
        let yours = rules.profile_of(&own);
        for profile in rules.profiles() {
            let mark = if Some(profile) == yours {
                format!(" (of {own})")
            } else {
                String::new()
            };
            output::say(&format!("{profile}{mark}"))?;
        }
        Ok(())
    }
}
