//! What can be typed: one file for each command.

mod ask;
mod audit;
mod bench;
mod blocks;
mod doctor;
mod incidents;
mod kb;
mod memory;
mod models;
mod modules;
mod observe;
mod output;
mod personality;
mod plan;
mod policy;
mod remote;
mod route;
mod runs;
mod serve;
mod shell;
mod small;
mod tools;
mod watch;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use fazai::config::Settings;
use fazai_protocol::client::Client;
use fazai_protocol::{Done, Line, Operation};

/// Local models behind a line-delimited JSON socket.
#[derive(Debug, Parser)]
#[command(name = "fazai", version, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  fazai serve                                  start the worker
  fazai ask \"what does exit code 137 mean?\"    ask it, or the built-in model without a worker
  journalctl -n 50 | fazai ask \"what failed?\"
  fazai models pull qwen3:0.6b                 download a larger model
  echo '{\"action\":\"ask\",\"action_id\":\"1\",\"input\":\"hello\"}' |
    socat -t 600 - UNIX-CONNECT:$FAZAI_SOCKET

`fazai COMMAND --help` has more of them. README.md lists the exit codes.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the worker until it is told to stop
    Serve(serve::Serve),
    /// Ask a question and stream the answer
    Ask(ask::Ask),
    /// Turn a request into steps, and run them if that is asked for
    Plan(plan::Plan),
    /// Runs of plans: list, show, pause, resume, cancel
    #[command(subcommand)]
    Runs(runs::Runs),
    /// Show facts about the machine: load, disks, failed units, ports, errors
    Observe(observe::Observe),
    /// Run a command, if the policy allows it, and record that
    Shell(shell::Shell),
    /// Questions of the policy that wait for somebody's answer
    #[command(subcommand)]
    Approvals(shell::Approvals),
    /// Find passages in what is remembered
    Research(kb::Research),
    /// Whose voice the answers have: list, show, use, edit and remove personalities
    #[command(subcommand)]
    Personality(personality::Personality),
    /// Follow incidents of the worker; or turn lines of sensors and logs into incidents here
    Watch(Box<watch::Arguments>),
    /// What the watch found: list, show and close incidents
    #[command(subcommand)]
    Incidents(incidents::Incidents),
    /// Who is blocked: list, add, remove, undo and confirm blocks
    #[command(subcommand)]
    Blocks(blocks::Blocks),
    /// Add to the knowledge; show, remove and count what is in it
    #[command(subcommand)]
    Kb(kb::Kb),
    /// The memory as a whole: write it to a file, read it back, move it to a server
    #[command(subcommand)]
    Memory(memory::Memory),
    /// List, show and call tools
    #[command(subcommand)]
    Tools(tools::Tools),
    /// List, download, look at and remove models; load and unload them in a running worker
    #[command(subcommand)]
    Models(models::Models),
    /// List, call, verify, sign and load native modules
    #[command(subcommand)]
    Modules(modules::Modules),
    /// Ask the policy what may be done, and try a policy file
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Say where a request would go, and why
    #[command(subcommand)]
    Route(route::Route),
    /// Check and read the record of everything that was decided and done
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Show what a running worker is doing
    Status(small::Status),
    /// Check this machine and the settings, and say what to do about what is wrong
    Doctor(doctor::Doctor),
    /// Measure a model: how fast it is, and how well it does the worker's own jobs
    Bench(bench::Bench),
    /// Print the JSON Schemas of the protocol
    Schema(small::Schema),
    /// Check a settings file, or print one with every key
    Config(small::Config),
    /// Print a shell's completion script
    Completions(small::Completions),
    /// Print the manual pages into a directory
    Man(small::Man),
}

/// Where a running worker is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connect {
    /// The worker's Unix socket [env: FAZAI_SOCKET]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The worker's TCP address, instead of a socket
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "socket")]
    tcp: Option<String>,
    /// A file with the token that the TCP address wants
    #[arg(long, value_name = "FILE", requires = "tcp")]
    token_file: Option<PathBuf>,
}

/// Where the settings are.
#[derive(Debug, Clone, Args)]
pub(crate) struct SettingsFile {
    /// The settings file [env: FAZAI_CONFIG] [default: /etc/fazai/fazai.conf, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl SettingsFile {
    fn load(&self) -> anyhow::Result<Settings> {
        Ok(Settings::load(self.named().as_deref())?)
    }

    /// The file that the user named.
    fn named(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| variable("FAZAI_CONFIG"))
    }
}

/// A path out of the environment; an empty variable is none.
fn variable(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name)?;
    (!value.is_empty()).then(|| value.into())
}

/// A running worker, or one of this command's own.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    #[command(flatten)]
    connect: Connect,
    #[command(flatten)]
    settings: SettingsFile,
}

impl Worker {
    /// Does something with a worker, and stops it if it was started for that.
    fn with<T, F: Future<Output = anyhow::Result<T>>>(
        &self,
        work: impl FnOnce(Client) -> F,
    ) -> anyhow::Result<T> {
        block_on(async {
            let mut settings = self.settings.load()?;
            settings.model.slots = 1;
            settings.server.drain_ms = 0;
            let found = self.connect.running_or_own(settings).await?;
            attend(found, work).await
        })
    }

    /// Asks and reads the answer to its end. Questions are asked on the terminal; `show` sees every
    /// line and says whether that was all there is to show of it: otherwise a warning is told on
    /// standard error.
    fn follow(
        &self,
        operation: Operation,
        mut show: impl FnMut(&Line) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Done> {
        self.with(|client| async move {
            let mut reply = client.send(operation).await?;
            while let Some(line) = reply.next().await? {
                let shown = show(&line)?;
                match line {
                    Line::Done(done) => return Ok(*done),
                    Line::Approval(question) => shell::ask(&client, &question).await?,
                    Line::Warning(warning) if !shown => {
                        output::warn(&warning.result)?;
                    }
                    _ => {}
                }
            }
            anyhow::bail!("the answer has no end")
        })
    }

    /// Asks for what has one answer, and fails as that does.
    fn call(&self, operation: Operation) -> anyhow::Result<Done> {
        succeeded(self.follow(operation, |_| Ok(false))?)
    }

    /// Asks for what has one answer, and prints that.
    fn print(&self, operation: Operation, json: bool) -> anyhow::Result<()> {
        output::answer(json, self.call(operation)?)
    }
}

impl Connect {
    /// Asks a running worker for what makes no sense without one.
    fn call(&self, operation: Operation) -> anyhow::Result<Done> {
        block_on(async { Ok(self.running().await?.call(operation).await?) })
    }
}

fn succeeded(mut done: Done) -> anyhow::Result<Done> {
    match done.error.take() {
        Some(error) => Err(error.into()),
        None => Ok(done),
    }
}

/// Does something with a worker until that is done or the user interrupts it, and stops the worker
/// if it is this command's own.
async fn attend<T, F: Future<Output = anyhow::Result<T>>>(
    (client, own): (Client, Option<fazai::Worker>),
    work: impl FnOnce(Client) -> F,
) -> anyhow::Result<T> {
    let done = tokio::select! {
        done = work(client) => done,
        _ = tokio::signal::ctrl_c() => Err(Interrupted.into()),
    };
    if let Some(worker) = own {
        worker.stop().await;
    }
    done
}

/// What computes, said on the command line instead of in the settings.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModelOptions {
    /// The model for requests that name none [default: the configured one, or builtin]
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Threads that compute [default: as many as the process may use, or 1 for a small model]
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// llama or candle
    #[arg(long, value_name = "BACKEND")]
    backend: Option<String>,
}

impl ModelOptions {
    fn apply(&self, settings: &mut Settings) -> anyhow::Result<()> {
        let threads = self.threads.map(|threads| threads.to_string());
        set(settings, "model", "default", self.model.as_deref())?;
        set(settings, "model", "threads", threads.as_deref())?;
        set(settings, "model", "backend", self.backend.as_deref())
    }
}

/// Sets a key as a line of the settings file would, if there is a value for it.
fn set(
    settings: &mut Settings,
    section: &str,
    key: &str,
    value: Option<&str>,
) -> anyhow::Result<()> {
    let Some(value) = value else {
        return Ok(());
    };
    let set = settings.set(section, key, value);
    set.map_err(|wanted| anyhow::anyhow!("{key} {value:?}: {wanted}"))
}

/// A command that was run ended with this.
#[derive(Debug, thiserror::Error)]
#[error("the command failed")]
struct Exit(ExitCode);

/// The user pressed Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

/// What a script that is interrupted ends with.
const INTERRUPTED: u8 = 130;

/// Runs a command and says how it ended.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let ended = match arguments.command {
        Command::Serve(serve) => serve.run(),
        Command::Ask(ask) => ask.run(),
        Command::Plan(plan) => plan.run(),
        Command::Runs(runs) => runs.run(),
        Command::Observe(observe) => observe.run(),
        Command::Research(research) => research.run(),
        Command::Personality(personality) => personality.run(),
        Command::Watch(watch) => watch.run(),
        Command::Incidents(incidents) => incidents.run(),
        Command::Blocks(blocks) => blocks.run(),
        Command::Kb(kb) => kb.run(),
        Command::Memory(memory) => memory.run(),
        Command::Tools(tools) => tools.run(),
        Command::Shell(shell) => shell.run(),
        Command::Approvals(approvals) => approvals.run(),
        Command::Models(models) => models.run(),
        Command::Modules(modules) => modules.run(),
        Command::Policy(policy) => policy.run(),
        Command::Route(route) => route.run(),
        Command::Audit(audit) => audit.run(),
        Command::Status(status) => status.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Bench(bench) => bench.run(),
        Command::Schema(schema) => schema.run(),
        Command::Config(config) => config.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) if fault.is::<Interrupted>() => ExitCode::from(INTERRUPTED),
        Err(fault) if fault.is::<Exit>() => fault
            .downcast()
            .map_or(ExitCode::FAILURE, |Exit(code)| code),
        // `fazai ... | head` is no failure.
        Err(fault) if output_closed(&fault) => ExitCode::SUCCESS,
        Err(fault) => {
            output::complain(&fault);
            ExitCode::FAILURE
        }
    }
}

fn output_closed(fault: &anyhow::Error) -> bool {
    let kind = match fault.downcast_ref::<io::Error>() {
        Some(fault) => Some(fault.kind()),
        None => {
            (fault.downcast_ref::<serde_json::Error>()).and_then(serde_json::Error::io_error_kind)
        }
    };
    kind == Some(io::ErrorKind::BrokenPipe)
}

/// Runs an async command on a small runtime: it mostly waits.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let done = runtime.block_on(work);
    // A thread that still waits for something ends with the program.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_output_is_no_failure_and_a_closed_socket_is_one() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(output_closed(&broken().into()));
        assert!(output_closed(&serde_json::Error::io(broken()).into()));
        let socket = fazai_protocol::client::ClientError::Io(broken());
        assert!(!output_closed(&socket.into()));
        assert!(!output_closed(&io::Error::other("x").into()));
    }
}
