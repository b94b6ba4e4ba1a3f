//! `fazai watch`: lines of sensors and logs in, incidents out.

mod daemon;
mod show;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use fazai::watching::{BATCH_MAX, Model, SLOTS, Sources, Tables};
use fazai_watch::incident::IncidentId;
use fazai_watch::input::{Input, Lines, Start};
use fazai_watch::judge::Judge;
use fazai_watch::watch::{LINE_BYTES_MAX, Stats};
use fazai_watch::{Incident, Place, Severity, Watch};
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::sync::mpsc;

use self::show::Show;
use super::{ModelOptions, Worker, output};

/// Turn lines of sensors and logs into incidents, judge them, and say what would be done
#[derive(Debug, Args)]
#[command(after_help = "\
Understands eve.json of Suricata, Falco, journalctl -o json, sshd and auth logs, access logs of nginx
and Apache, CrowdSec, the kernel log, and other JSON by the usual names. Rules decide; the model
explains, and says more about what the rules do not know. With --dry-run this command reads by itself
and blocks nobody. Without sources it follows the incidents of the running worker, which reads what
[watch] in its settings names.

Examples:
  fazai watch --min-severity high
  cat eve.json | fazai watch --stdin --dry-run
  journalctl -o json -f | fazai watch --stdin --dry-run --no-model
  fazai watch --file /var/log/auth.log --state /var/lib/fazai/watch --dry-run
  fazai watch --unix eve.sock --syslog-udp 127.0.0.1:5514 --dry-run | jq .severity
  socat -u EXEC:'snort-alerts' STDOUT | fazai watch --stdin --dry-run")]
pub(crate) struct Arguments {
    /// Read lines from standard input until it ends
    #[arg(long)]
    stdin: bool,
    /// Follow a file, also when it rotates; may be given more than once
    #[arg(long, value_name = "PATH")]
    file: Vec<PathBuf>,
    /// Listen on a Unix socket of streams, as Suricata's unix_stream writes to
    #[arg(long, value_name = "PATH")]
    unix: Vec<PathBuf>,
    /// Listen on a Unix socket of datagrams
    #[arg(long, value_name = "PATH")]
    unix_datagram: Vec<PathBuf>,
    /// Listen for syslog by TCP, on this machine only
    #[arg(long, value_name = "IP:PORT")]
    syslog_tcp: Vec<SocketAddr>,
    /// Listen for syslog by UDP, on this machine only
    #[arg(long, value_name = "IP:PORT")]
    syslog_udp: Vec<SocketAddr>,
    /// A directory where the positions in files are kept across restarts
    #[arg(long, value_name = "DIRECTORY")]
    state: Option<PathBuf>,
    /// Begin new files with what is written from now on
    #[arg(long)]
    from_end: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Rules alone
    #[arg(long)]
    no_model: bool,
    /// The least severity that is shown
    #[arg(long, value_enum, default_value = "low")]
    min_severity: Level,
    /// A TOML file of rules for actions, instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// A TOML file of signatures for requests, instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    signatures: Option<PathBuf>,
    /// A TOML file of thresholds
    #[arg(long, value_name = "FILE")]
    thresholds: Option<PathBuf>,
    /// A TOML file that says where JSON of other tools has its fields
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    worker: Worker,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Level {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Level {
    /// As the protocol has it.
    pub(super) fn to_wire(self) -> fazai_protocol::Severity {
        use fazai_protocol::Severity as Wire;
        match self {
            Self::Info => Wire::Info,
            Self::Low => Wire::Low,
            Self::Medium => Wire::Medium,
            Self::High => Wire::High,
            Self::Critical => Wire::Critical,
        }
    }
}

/// What nothing new came from is asked again after this long.
const PAUSE: Duration = Duration::from_millis(25);

/// While lines come without a pause, incidents are shown so often.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// Positions are kept so often.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// Batches that may wait for the model. Until it has time, the incidents grow.
const BATCHES_MAX: usize = 1;

impl Arguments {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        if !self.dry_run {
            return self.follow();
        }
        let inputs = self.inputs()?;
        let tables = self.tables();
        let watch = tables.watch(inputs.len())?;
        let rules = tables.rules()?;
        let min = Severity::ALL[self.min_severity as usize];
        super::block_on(async {
            let worker = if self.no_model {
                None
            } else {
                Some(self.worker().await?)
            };
            let (send, receive) = mpsc::channel(BATCHES_MAX);
            let runtime = tokio::runtime::Handle::current();
            let judge = worker
                .as_ref()
                .map(|(worker, builtin)| Model::new(worker.client(), *builtin, runtime));
            let show = Show::new(rules, min);
            let shown = tokio::task::spawn_blocking(move || judge_all(receive, judge, &show));
            let read = tokio::task::spawn_blocking(move || read_all(inputs, watch, min, &send));
            let ended = tokio::select! {
                shown = shown => shown?,
                _ = tokio::signal::ctrl_c() => Err(super::Interrupted.into()),
            };
            if let Some((worker, _)) = worker {
                worker.stop().await;
            }
            ended?;
            let stats = read.await??;
            let (lines, unreadable, findings) = (stats.lines, stats.unreadable, stats.findings);
            let text =
                format!("{lines} lines, {unreadable} of them unreadable, {findings} findings");
            Ok(output::warn(&text)?)
        })
    }

    /// Follows what the running worker finds.
    fn follow(&self) -> anyhow::Result<()> {
        if self.stdin || !self.sources().is_empty() {
            anyhow::bail!(
                "with sources this command only says what would be done: add --dry-run\n  hint: \
                 to have the worker read and act, put the sources into [watch] of its settings"
            );
        }
        daemon::follow(&self.worker, self.min_severity)
    }

    fn sources(&self) -> Sources {
        Sources {
            files: self.file.clone(),
            unix: self.unix.clone(),
            unix_datagram: self.unix_datagram.clone(),
            syslog_tcp: self.syslog_tcp.clone(),
            syslog_udp: self.syslog_udp.clone(),
            // Nothing is done here that it would need trust for.
            trust_syslog: true,
            metrics: None,
            state_dir: self.state.clone(),
            start: if self.from_end {
                Start::End
            } else {
                Start::Beginning
            },
        }
    }

    fn tables(&self) -> Tables {
        Tables {
            rules: self.rules.clone(),
            signatures: self.signatures.clone(),
            thresholds: self.thresholds.clone(),
            mapping: self.mapping.clone(),
        }
    }

    fn inputs(&self) -> anyhow::Result<Vec<Box<dyn Input + Send>>> {
        let mut inputs: Vec<Box<dyn Input + Send>> = Vec::new();
        if self.stdin {
            inputs.push(Box::new(Stdin::default()));
        }
        for file in self.file.iter().filter(|file| !file.exists()) {
            output::warn(&format!(
                "{} is not there yet; it is read once it is",
                file.display()
            ))?;
        }
        for source in self.sources().open() {
            inputs.push(source?.input);
        }
        if inputs.is_empty() {
            anyhow::bail!("there is nothing to watch; add --stdin, or name a --file or a socket");
        }
        Ok(inputs)
    }

    /// A worker of this command's own, and whether its model is the built-in one.
    async fn worker(&self) -> anyhow::Result<(fazai::Worker, bool)> {
        let mut settings = self.worker.settings.load()?;
        self.model.apply(&mut settings)?;
        settings.model.slots = SLOTS;
        settings.server.drain_ms = 0;
        let builtin = settings.model.default == "builtin";
        let worker = fazai::Worker::start(settings);
        worker.warm_up().await?;
        Ok((worker, builtin))
    }
}

/// Reads until all inputs have ended, which only standard input does.
fn read_all(
    mut inputs: Vec<Box<dyn Input + Send>>,
    mut watch: Watch,
    min: Severity,
    send: &mpsc::Sender<Vec<Incident>>,
) -> anyhow::Result<Stats> {
    let mut shown = Instant::now();
    let mut committed = Instant::now();
    loop {
        let mut count = 0;
        let mut ended = 0;
        for (source, input) in inputs.iter_mut().enumerate() {
            let source = u16::try_from(source).unwrap_or(u16::MAX);
            match input.poll(&mut |at, line| watch.line(Place { source, at }, line)) {
                Ok(lines) => count += lines,
                Err(fault) if fault.kind() == io::ErrorKind::UnexpectedEof => ended += 1,
                Err(fault) => return Err(fault.into()),
            }
        }
        let over = ended == inputs.len();
        if over || ((count == 0 || shown.elapsed() > SHOW_EVERY) && send.capacity() > 0) {
            let mut incidents = watch.take_incidents(min);
            incidents.retain(|incident| !incident.again);
            if !incidents.is_empty() && send.blocking_send(incidents).is_err() {
                return Ok(watch.stats());
            }
            shown = Instant::now();
        }
        if over {
            return Ok(watch.stats());
        }
        if count == 0 || committed.elapsed() > COMMIT_EVERY {
            for input in &mut inputs {
                input.commit()?;
            }
            committed = Instant::now();
        }
        if count == 0 {
            if send.is_closed() {
                return Ok(watch.stats());
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Judges what comes and shows it, the worst first.
fn judge_all(
    mut receive: mpsc::Receiver<Vec<Incident>>,
    mut judge: Option<Model>,
    show: &Show,
) -> anyhow::Result<()> {
    // An incident that came before and only grew is not judged again.
    let mut known: BTreeMap<IncidentId, Severity> = BTreeMap::new();
    while let Some(mut incidents) = receive.blocking_recv() {
        incidents.sort_by_key(|incident| std::cmp::Reverse((incident.severity, incident.count)));
        let asked = incidents
            .iter()
            .filter(|incident| known.get(&incident.id) != Some(&incident.severity));
        let asked: Vec<Incident> = asked.take(BATCH_MAX).cloned().collect();
        let answers = judge
            .as_mut()
            .map(|judge| judge.judge(&asked))
            .unwrap_or_default();
        let ids = asked.iter().map(|incident| incident.id);
        let mut answers: BTreeMap<IncidentId, _> = ids.zip(answers).collect();
        for incident in &asked {
            known.insert(incident.id, incident.severity);
        }
        while known.len() > fazai_watch::incident::INCIDENTS_MAX {
            known.pop_first();
        }
        show.all(incidents, &mut answers)?;
    }
    Ok(())
}

/// Standard input, asked without waiting.
#[derive(Debug)]
struct Stdin {
    lines: Lines,
    count: u64,
    ended: bool,
}

impl Default for Stdin {
    fn default() -> Self {
        Self {
            lines: Lines::new(LINE_BYTES_MAX),
            count: 0,
            ended: false,
        }
    }
}

/// A pipe is small, and empty for a moment whenever it was read.
const STDIN_WAIT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 256 << 10;

impl Input for Stdin {
    /// The end is [`UnexpectedEof`](io::ErrorKind::UnexpectedEof), after the last line.
    fn poll(&mut self, each: &mut dyn FnMut(u64, &[u8])) -> io::Result<usize> {
        if self.ended {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let input = io::stdin();
        let mut ready = [PollFd::new(&input, PollFlags::IN)];
        if rustix::event::poll(&mut ready, Some(&STDIN_WAIT))? == 0 {
            return Ok(0);
        }
        let before = self.count;
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = input.lock().read(&mut chunk)?;
        let count = &mut self.count;
        let mut next = |_, line: &[u8]| {
            *count += 1;
            each(*count, line);
        };
        if read == 0 {
            self.lines.end(&mut next);
            self.ended = true;
        } else {
            self.lines.push(&chunk[..read], &mut next);
        }
        // Something came, though perhaps no whole line.
        Ok(usize::try_from(self.count - before)
            .unwrap_or(usize::MAX)
            .max(1))
    }
}
