//! `fazai shell` and `fazai approvals`: commands past the policy, and the questions it asks.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use fazai_protocol::client::Client;
use fazai_protocol::{
    Approval, ApprovalDecision, ApproveParams, Call, Done, ErrorCode, Line, Operation, ShellCall,
    ShellEvent, ShellParams, WireError,
};
use serde_json::Value;

use super::{Connect, Exit, Worker, output};

/// Run a command, if the policy allows it, and record that
#[derive(Debug, Args)]
#[command(after_help = "\
What the policy allows by itself runs at once; what it asks about is shown first, if a terminal is
there to ask on. Ends with the command's exit code, and with 126 if it was denied.

Examples:
  fazai shell df -h /
  fazai shell 'journalctl -u ssh | tail -n 20'
  fazai shell --dry-run 'systemctl restart nginx'")]
pub(crate) struct Shell {
    /// Say what would be decided, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// The directory it starts in [default: this one]
    #[arg(long, value_name = "PATH")]
    cwd: Option<String>,
    /// End it after so many milliseconds
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u64>,
    /// Show the protocol's lines instead of the output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    worker: Worker,
    /// The command: one text for a shell, or a program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Shell {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let here = std::env::current_dir()?;
        let call = ShellCall {
            params: ShellParams {
                cwd: Some(
                    self.cwd
                        .clone()
                        .unwrap_or_else(|| here.display().to_string()),
                ),
                timeout_ms: self.timeout_ms,
                dry_run: self.dry_run,
                stdin: None,
            },
            ..ShellCall::new(self.text()?)
        };
        let (json, dry_run) = (self.json, self.dry_run);
        let done = self
            .worker
            .follow(Operation::Shell(Box::new(call)), |line| {
                match line {
                    line if json => output::json_line(line)?,
                    Line::Shell(line) if line.metadata == ShellEvent::Stream => {
                        output::say(&line.result)?;
                    }
                    _ => {}
                }
                Ok(json)
            })?;
        finish(done, dry_run)
    }

    /// Several words are a program and its arguments, and must not become more.
    fn text(&self) -> anyhow::Result<String> {
        match self.command.as_slice() {
            [text] => Ok(text.clone()),
            words => Ok(shlex::try_join(words.iter().map(String::as_str))?),
        }
    }
}

/// What a shell ends with that may not run a program.
const DENIED: u8 = 126;

fn is_denied(fault: &anyhow::Error) -> bool {
    let error = fault.downcast_ref::<WireError>();
    error.is_some_and(|error| error.code == ErrorCode::Denied)
}

fn finish(done: Done, dry_run: bool) -> anyhow::Result<()> {
    let done = match super::succeeded(done) {
        Err(fault) if is_denied(&fault) => {
            output::complain(&fault);
            return Err(Exit(ExitCode::from(DENIED)).into());
        }
        done => done?,
    };
    if dry_run {
        return output::answer(false, done);
    }
    match done.metadata.code {
        None | Some(0) => Ok(()),
        // 255 is what a shell makes of codes that are none.
        Some(code) => Err(Exit(ExitCode::from(u8::try_from(code).unwrap_or(255))).into()),
    }
}

/// Shows a question on the terminal and sends the answer. Without a terminal it waits for
/// somebody else: see `fazai approvals`.
pub(super) async fn ask(client: &Client, question: &Approval) -> anyhow::Result<()> {
    let mut err = io::stderr();
    writeln!(
        err,
        "The policy asks: {} (rule {}, risk {})",
        question.reason, question.rule, question.risk
    )?;
    writeln!(err, "  {}", question.result)?;
    for path in &question.touches {
        writeln!(err, "  {path}")?;
    }
    if !io::stdin().is_terminal() {
        writeln!(err, "Waiting for `fazai approvals approve {}`", question.id)?;
        return Ok(());
    }
    write!(err, "Run it? [y/N] ")?;
    err.flush()?;
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    })
    .await??;
    let yes = matches!(answer.trim(), "y" | "Y" | "yes");
    let decision = if yes {
        ApprovalDecision::Once
    } else {
        ApprovalDecision::Deny
    };
    client.call(approve(&question.id, decision, None)).await?;
    Ok(())
}

fn approve(id: &str, decision: ApprovalDecision, reason: Option<String>) -> Operation {
    Operation::Approve(Call {
        input: id.to_owned(),
        model: None,
        params: ApproveParams {
            decision: Some(decision),
            reason,
        },
    })
}

/// Questions of the policy that wait for somebody's answer.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fazai approvals list
  fazai approvals approve ID        the whole one, from the list
  fazai approvals deny ID --reason \"not on a Friday\"")]
pub(crate) enum Approvals {
    /// List the questions that wait
    List(List),
    /// Say yes, once or for the rest of the session
    Approve(Answer),
    /// Say no
    Deny(Answer),
}

/// List the questions that wait
#[derive(Debug, Args)]
pub(crate) struct List {
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

/// An answer
#[derive(Debug, Args)]
pub(crate) struct Answer {
    /// The question, from the list
    id: String,
    /// Why, for the record
    #[arg(long)]
    reason: Option<String>,
    /// Also for the same action again in the same session
    #[arg(long)]
    session: bool,
    #[command(flatten)]
    connect: Connect,
}

impl Approvals {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(),
            Self::Approve(answer) if answer.session => answer.run(ApprovalDecision::Session),
            Self::Approve(answer) => answer.run(ApprovalDecision::Once),
            Self::Deny(answer) => answer.run(ApprovalDecision::Deny),
        }
    }
}

impl List {
    fn run(&self) -> anyhow::Result<()> {
        let done = self.connect.call(Operation::Approvals(Call::default()))?;
        let text = output::or_none(done.result);
        let mut data: Value = done.data.unwrap_or_default();
        output::print(self.json, &text, &data["approvals"].take())
    }
}

impl Answer {
    fn run(&self, decision: ApprovalDecision) -> anyhow::Result<()> {
        let answer = approve(&self.id, decision, self.reason.clone());
        let done = self.connect.call(answer)?;
        output::say(&done.result.unwrap_or_default())
    }
}
