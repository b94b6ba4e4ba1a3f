//! `fazai serve`: the worker as a service.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use fazai::Worker;
use fazai::config::Settings;
use fazai::server::{self, Server};
use fazai::telemetry::{self, LogHandle};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::{ModelOptions, SettingsFile, set};

/// How much of the audit log's end can be cut off unnoticed.
const SIGN_EVERY: Duration = Duration::from_secs(60);

/// Run the worker until it is told to stop
#[derive(Debug, Args)]
#[command(after_help = "\
Signals: TERM and INT stop it (requests may end first, for at most drain_ms); HUP reads the
settings again. Every option has a key in the settings file: see `fazai config --example`.

Examples:
  fazai serve
  fazai serve --model qwen3:0.6b --threads 4
  fazai serve --socket /tmp/fazai.sock --model ./model.gguf")]
pub(crate) struct Serve {
    /// The Unix socket [default: /run/fazai/gemma.sock for root, else in $XDG_RUNTIME_DIR]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Listen on TCP too; any address but loopback needs a token in the settings
    #[arg(long, value_name = "HOST:PORT")]
    tcp: Option<String>,
    #[command(flatten)]
    options: ModelOptions,
    /// What is logged: error, warn, info, debug, trace, or a filter
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    #[command(flatten)]
    settings: SettingsFile,
}

impl Serve {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let settings = self.settings()?;
        let log = telemetry::start(&settings.log)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let served = runtime.block_on(self.serve(settings, &log));
        // A thread that still waits for something ends with the program.
        runtime.shutdown_background();
        served
    }

    /// The file, and what the command line says otherwise.
    fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = self.settings.load()?;
        let socket = self.socket.as_ref().map(|path| path.display().to_string());
        set(&mut settings, "server", "socket", socket.as_deref())?;
        set(&mut settings, "server", "tcp", self.tcp.as_deref())?;
        self.options.apply(&mut settings)?;
        set(&mut settings, "log", "level", self.log_level.as_deref())?;
        settings.check().map_err(anyhow::Error::msg)?;
        Ok(settings)
    }

    async fn serve(&self, settings: Settings, log: &LogHandle) -> anyhow::Result<()> {
        for note in &settings.notes {
            warn!("settings: {note}");
        }
        if let Err(fault) = fazai::adopt_orphans() {
            warn!(%fault, "a command that kills its keeper can't be ended");
        }
        let server = Server::bind(&settings.server).await?;
        let _claim = claim(&settings.policy.audit_dir);
        let worker = Worker::start(settings);
        // A configured model that can't be loaded should be known now and not at the first
        // question; the sockets answer meanwhile.
        let first = worker.warm_up();
        let modules = worker.clone();
        tokio::spawn(async move { modules.load_modules().await });
        watch(&worker).await;
        worker.keep_episodes();
        server::announce(&worker.settings().server, &server);
        let accepting = tokio::spawn(server.run(worker.clone()));
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        // A record to which nothing is added has its end signed all the same.
        let mut sign = tokio::time::interval(SIGN_EVERY);
        tokio::pin!(first);
        let mut warming = true;
        let failure = loop {
            tokio::select! {
                _ = terminate.recv() => break None,
                _ = interrupt.recv() => break None,
                _ = hang_up.recv() => self.reload(&worker, log),
                _ = sign.tick() => worker.sign_audit().await,
                loaded = &mut first, if warming => match loaded {
                    Ok(()) => warming = false,
                    Err(error) => break Some(error),
                }
            }
        };
        if failure.is_none() {
            info!("stopping");
        }
        worker.stop().await;
        let _ = accepting.await;
        failure.map_or(Ok(()), |error| Err(error.into()))
    }

    fn reload(&self, worker: &Worker, log: &LogHandle) {
        let settings = match self.settings() {
            Ok(settings) => settings,
            Err(fault) => return error!(%fault, "the old settings stay in force"),
        };
        if let Err(fault) = log.set(&settings.log) {
            return error!(%fault, "the old settings stay in force");
        }
        if settings.server != worker.settings().server {
            warn!("[server] changes take effect at the next start");
        }
        worker.reload(settings);
        // What was read is judged and kept first, which takes a while.
        let worker = worker.clone();
        tokio::spawn(async move { watch(&worker).await });
        info!("settings read again");
    }
}

/// Says now if another worker has this directory too, and not at each command that is refused for it.
/// What is returned is to be kept as long as the worker lives.
fn claim(directory: &Path) -> Option<File> {
    let file = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .and_then(|()| {
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(false);
            options.mode(0o600).open(directory.join("worker.lock"))
        });
    // That it can't be used at all is said by what needs it.
    let file = file.ok()?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        warn!(
            directory = %directory.display(),
            "another worker keeps its record here, and only one of them can act; give this one \
             directories of its own, beginning with audit_dir in [policy]"
        );
        return None;
    }
    Some(file)
}

/// Watches what the settings want watched by now.
async fn watch(worker: &Worker) {
    if let Err(fault) = worker.watch().await {
        error!(%fault, "[watch] is not followed; what was in force before stays so");
    }
}
