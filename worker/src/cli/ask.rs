//! `fazai ask`: a question on the command line, with a worker or without.

use std::io::{self, IsTerminal, Read, Write};

use clap::Args;
use fazai::Worker;
use fazai::config::Settings;
use fazai_protocol::client::{Client, Reply};
use fazai_protocol::{
    self as protocol, AskParams, Done, ErrorCode, FinishReason, Line, Overflow, Priority,
    StepState, Think,
};

use rustix::fs::FileType;

use super::{Connect, SettingsFile, output, route, runs, shell};

/// Ask a question and stream the answer
#[derive(Debug, Args)]
#[command(after_help = "\
What comes through a pipe is put behind the question; a pipe that nothing comes through is an error,
and /dev/null is none. A running worker answers, if there is one; otherwise the model is loaded for
this one question.

Examples:
  fazai ask \"what does exit code 137 mean?\"
  journalctl -n 50 | fazai ask \"what failed?\"
  tail -n 1 auth.log | fazai ask --choice harmless --choice suspicious \"this line is\"
  fazai ask --json \"list open ports\" | jq -r 'select(.action==\"done\").result'")]
pub(crate) struct Ask {
    /// The question
    #[arg(required_unless_present = "file", value_name = "TEXT")]
    text: Vec<String>,
    /// The model to ask: a name, or (without a worker) a path
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Standing instructions
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Continue a conversation that the running worker keeps
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
    /// Most tokens to write
    #[arg(long, value_name = "N")]
    max_tokens: Option<u32>,
    /// 0 always takes the likeliest token
    #[arg(long, value_name = "NUMBER")]
    temperature: Option<f32>,
    /// Start of the random numbers
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Whether the model may think first: off, on, or a number of tokens
    #[arg(long, value_name = "HOW")]
    think: Option<String>,
    /// A file with a JSON Schema that the answer must follow
    #[arg(long, value_name = "FILE")]
    schema: Option<std::path::PathBuf>,
    /// Give the likeliest of these answers instead of writing one; at least two
    #[arg(long, value_name = "TEXT")]
    choice: Vec<String>,
    /// Keep what is computed of the instructions under this name, also for later workers
    #[arg(long, value_name = "NAME")]
    prompt_name: Option<String>,
    /// Who goes first when the worker is busy
    #[arg(long, value_name = "CLASS", value_parser = ["low", "normal", "high"])]
    priority: Option<String>,
    /// Answer in this voice, see `fazai personality`; an empty name: in none
    #[arg(long, value_name = "NAME")]
    personality: Option<String>,
    /// Put passages of what is remembered behind the question
    #[arg(long)]
    retrieve: bool,
    /// How confidential it is; what is private never leaves the machine
    #[arg(long, value_name = "LABEL", value_parser = ["private", "internal", "public"])]
    label: Option<String>,
    /// high: better answers than the local model's are wanted
    #[arg(long, value_name = "LEVEL", value_parser = ["normal", "high"])]
    quality: Option<String>,
    /// Plan, do what the policy allows, and answer from what was seen
    #[arg(long, conflicts_with_all = ["choice", "schema", "session"])]
    agent: bool,
    /// Read the question from a file
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    file: Option<std::path::PathBuf>,
    /// Show the protocol's lines instead of the text
    #[arg(long)]
    json: bool,
    /// Do not look for a running worker
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    connect: Connect,
    #[command(flatten)]
    settings: SettingsFile,
}

impl Ask {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let question = self.question()?;
        let piped = piped_text(&question)?;
        super::block_on(self.ask(question, piped))
    }

    fn question(&self) -> anyhow::Result<String> {
        match &self.file {
            Some(path) => output::read(path),
            None => Ok(self.text.join(" ")),
        }
    }

    async fn ask(&self, question: String, piped: Option<String>) -> anyhow::Result<()> {
        let converse = |client| async move { self.converse(&client, &question, piped).await };
        super::attend(self.client().await?, converse).await
    }

    async fn client(&self) -> anyhow::Result<(Client, Option<Worker>)> {
        let needs_own = self.local || self.model.as_ref().is_some_and(|name| name.contains('/'));
        if needs_own {
            let worker = Worker::start(self.own_settings()?);
            return Ok((worker.client(), Some(worker)));
        }
        self.connect.running_or_own(self.own_settings()?).await
    }

    fn own_settings(&self) -> anyhow::Result<Settings> {
        let mut settings: Settings = self.settings.load()?;
        if let Some(model) = &self.model {
            settings.model.default.clone_from(model);
        }
        // One question needs one slot.
        settings.model.slots = 1;
        settings.server.drain_ms = 0;
        Ok(settings)
    }

    /// Asks; if the piped text is too long for the model, asks again with its latest lines.
    async fn converse(
        &self,
        client: &Client,
        question: &str,
        piped: Option<String>,
    ) -> anyhow::Result<()> {
        let mut piped = piped;
        loop {
            let request = self.request(question, piped.as_deref())?;
            let done = self.stream(client, client.ask(request).await?).await?;
            let Some(error) = done.error else {
                self.check_whole(&done)?;
                return runs::reached_its_end(&done);
            };
            let shorter = match &piped {
                Some(text) if error.code == ErrorCode::ContextOverflow => latest_half(text),
                _ => None,
            };
            if shorter.is_none() {
                return Err(error.into());
            }
            piped = shorter;
            let lines = piped.as_ref().map_or(0, |text| text.lines().count());
            output::warn(&format!(
                "too long for this model; asking about the last {lines} lines"
            ))?;
        }
    }

    /// Half of an answer may do for a person; half of a JSON text does for nobody.
    fn check_whole(&self, done: &Done) -> anyhow::Result<()> {
        if done.finish_reason != Some(FinishReason::Length) {
            return Ok(());
        }
        let cut = "the answer was cut at max_tokens; raise --max-tokens";
        if self.schema.is_some() {
            anyhow::bail!("{cut}");
        }
        Ok(output::warn(cut)?)
    }

    fn request(&self, question: &str, piped: Option<&str>) -> anyhow::Result<protocol::Ask> {
        let input = match piped {
            Some(text) if question.is_empty() => text.to_owned(),
            Some(text) => format!("{question}\n\n{text}"),
            None => question.to_owned(),
        };
        let path_given = self.model.as_ref().is_some_and(|name| name.contains('/'));
        Ok(protocol::Ask {
            model: self.model.clone().filter(|_| !path_given),
            session: self.session.clone(),
            params: AskParams {
                system: self.system.clone(),
                max_tokens: self.max_tokens,
                temperature: self.temperature,
                seed: self.seed,
                think: self.think.as_deref().map(think).transpose()?,
                choices: self.choice.clone(),
                prompt_name: self.prompt_name.clone(),
                priority: self.priority.as_deref().map(priority),
                json_schema: self.schema.as_deref().map(read_schema).transpose()?,
                overflow: Some(Overflow::Error),
                agent: self.agent,
                personality: self.personality.clone(),
                retrieve: self.retrieve.then_some(true),
                label: self.label.as_deref().map(route::label),
                quality: self.quality.as_deref().map(route::quality),
                ..AskParams::default()
            },
            ..protocol::Ask::new(input)
        })
    }

    /// Shows the lines as they come; returns the last one.
    async fn stream(&self, client: &Client, mut reply: Reply) -> anyhow::Result<Done> {
        let mut screen = Screen::new(self.json);
        loop {
            let Some(line) = reply.next().await? else {
                anyhow::bail!("the answer has no end");
            };
            screen.show(&line)?;
            match line {
                Line::Done(done) => return Ok(*done),
                Line::Approval(question) => shell::ask(client, &question).await?,
                _ => {}
            }
        }
    }
}

/// Where the answer appears.
pub(super) struct Screen {
    json: bool,
    /// Whether the cursor is at the beginning of a line.
    fresh: bool,
    /// Whether anything of the answer was shown as it came.
    spoke: bool,
    /// Thinking is shown apart, and only to people.
    show_thinking: bool,
}

impl Screen {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            fresh: true,
            spoke: false,
            show_thinking: io::stderr().is_terminal(),
        }
    }

    pub(super) fn show(&mut self, line: &Line) -> io::Result<()> {
        if self.json {
            return output::json_line(line);
        }
        match line {
            Line::Token(piece) => {
                let mut out = io::stdout().lock();
                write!(out, "{}", output::clean(&piece.result))?;
                self.fresh = piece.result.ends_with('\n');
                self.spoke = true;
                out.flush()
            }
            Line::Thinking(piece) if self.show_thinking => {
                let mut err = anstream::stderr().lock();
                write!(err, "\x1b[2m{}\x1b[0m", output::clean(&piece.result))?;
                err.flush()
            }
            Line::Step(step) if step.state == StepState::Running => {
                writeln!(io::stderr().lock(), "{}. {}", step.step, step.result)
            }
            Line::Step(step) if step.state != StepState::Done => {
                writeln!(io::stderr().lock(), "   {:?}", step.state)
            }
            Line::Route(route) => output::warn(&route.result),
            Line::Warning(warning) => output::warn(&warning.result),
            Line::Done(done) => self.end(done),
            _ => Ok(()),
        }
    }

    fn end(&self, done: &Done) -> io::Result<()> {
        let answer = done.result.as_deref().unwrap_or_default();
        if !self.spoke && !answer.is_empty() {
            writeln!(io::stdout().lock(), "{}", output::clean(answer.trim_end()))?;
        } else if !self.fresh {
            writeln!(io::stdout().lock())?;
        }
        Ok(())
    }
}

/// More than any model reads.
const PIPED_BYTES_MAX: u64 = 512 << 10;

/// What comes through a pipe, as text; at most the latest part of it.
fn piped_text(question: &str) -> anyhow::Result<Option<String>> {
    let input = io::stdin();
    if input.is_terminal() {
        return Ok(None);
    }
    let mut kept = Vec::new();
    let mut input = input.lock();
    loop {
        let read = input
            .by_ref()
            .take(PIPED_BYTES_MAX)
            .read_to_end(&mut kept)?;
        if read == 0 {
            break;
        }
        let most = usize::try_from(PIPED_BYTES_MAX).unwrap_or(usize::MAX);
        kept.drain(..kept.len().saturating_sub(most));
    }
    let text = String::from_utf8_lossy(&kept).trim_end().to_owned();
    if !text.is_empty() {
        return Ok(Some(text));
    }
    let kind = FileType::from_raw_mode(rustix::fs::fstat(io::stdin())?.st_mode);
    if is_meant_to_be_read(kind) {
        return Err(anyhow::anyhow!(
            "nothing came through the pipe\n  hint: look whether what is before it printed \
             anything; for a question alone: `fazai ask \"...\" < /dev/null`"
        ));
    }
    if question.is_empty() {
        return Err(anyhow::anyhow!("there is no question"));
    }
    Ok(None)
}

/// Whether somebody who gives this as standard input has something to say with it. Scripts and
/// services that have nothing to say give /dev/null.
fn is_meant_to_be_read(kind: FileType) -> bool {
    matches!(
        kind,
        FileType::Fifo | FileType::Socket | FileType::RegularFile
    )
}

/// The later half of the lines, if there is more than one.
fn latest_half(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let kept = lines.len() / 2;
    (kept > 0).then(|| lines[lines.len() - kept..].join("\n"))
}

fn priority(class: &str) -> Priority {
    match class {
        "low" => Priority::Low,
        "high" => Priority::High,
        _ => Priority::Normal,
    }
}

fn think(text: &str) -> anyhow::Result<Think> {
    match text {
        "off" => Ok(Think::Off),
        "on" => Ok(Think::On),
        budget => budget.parse().map(Think::Budget).map_err(|_| {
            anyhow::anyhow!("--think is off, on or a number of tokens, not {budget:?}")
        }),
    }
}

fn read_schema(path: &std::path::Path) -> anyhow::Result<serde_json::Value> {
    let text = output::read(path)?;
    serde_json::from_str(&text).map_err(|fault| anyhow::anyhow!("{}: {fault}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_read_and_has_nothing_is_told_from_what_never_has() {
        for kind in [FileType::Fifo, FileType::Socket, FileType::RegularFile] {
            assert!(is_meant_to_be_read(kind), "{kind:?}");
        }
        assert!(!is_meant_to_be_read(FileType::CharacterDevice));
    }
}
