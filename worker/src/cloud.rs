//! The cloud of this worker: opened when it is first needed, and how the local model stands.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fazai_cloud::documentation::Documentation;
use fazai_cloud::redact::Counts;
use fazai_cloud::route::{Against, Cause};
use fazai_cloud::{Cloud, CloudError, KeySource, Label, program};
use fazai_protocol::ErrorCode;
use fazai_tools::Action;
use tokio::sync::watch;
use tracing::{error, warn};

use crate::config::{CloudSettings, Settings};
use crate::lock::lock;

/// Why the cloud can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloudFault {
    #[error(transparent)]
    Cloud(#[from] CloudError),
    #[error("{0}")]
    Settings(String),
}

/// The providers and their budget.
pub(crate) struct Clouds {
    settings: watch::Receiver<Arc<Settings>>,
    opened: Mutex<Option<Arc<Cloud>>>,
    documentation: Mutex<Option<Arc<Documentation>>>,
    pub(crate) probe: Probe,
}

impl Clouds {
    pub(crate) fn new(settings: watch::Receiver<Arc<Settings>>) -> Self {
        Self {
            settings,
            opened: Mutex::default(),
            documentation: Mutex::default(),
            probe: Probe::default(),
        }
    }

    /// Whether there is anybody who could be asked.
    pub(crate) fn is_configured(&self) -> bool {
        let settings = self.settings.borrow();
        let cloud = settings.cloud.settings();
        cloud.is_ok_and(|cloud| !cloud.providers.is_empty())
    }

    /// The cloud. Blocks; one that can't be opened is tried again by the next who needs it.
    pub(crate) fn open(&self) -> Result<Arc<Cloud>, CloudFault> {
        let mut opened = lock(&self.opened);
        if let Some(cloud) = &*opened {
            return Ok(Arc::clone(cloud));
        }
        let settings = completed(&self.settings.borrow().cloud)?;
        let cloud = Arc::new(Cloud::open(settings)?);
        *opened = Some(Arc::clone(&cloud));
        Ok(cloud)
    }

    /// Where documentation is looked up. Blocks.
    pub(crate) fn documentation(&self) -> Result<Arc<Documentation>, CloudFault> {
        let mut place = lock(&self.documentation);
        if let Some(place) = &*place {
            return Ok(Arc::clone(place));
        }
        let settings = Arc::clone(&self.settings.borrow());
        let Some(url) = &settings.cloud.documentation_url else {
            let why = "set documentation_url in [cloud]".to_owned();
            return Err(CloudFault::Settings(why));
        };
        if settings.cloud.allow == Some(false) {
            let why = "allow_cloud is off in [cloud]".to_owned();
            return Err(CloudFault::Settings(why));
        }
        let key = settings.cloud.documentation_key_file.clone();
        let keys = key.map(KeySource::File).into_iter().collect();
        let redact = completed(&settings.cloud)?.redact;
        let opened = Arc::new(Documentation::new(url, keys, &redact)?);
        *place = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Takes new settings; with a mistake in them the old ones stay.
    pub(crate) fn reload(&self) {
        *lock(&self.documentation) = None;
        let mut opened = lock(&self.opened);
        let Some(old) = opened.take() else { return };
        let settings = completed(&self.settings.borrow().cloud);
        match settings.and_then(|settings| Ok(old.reopened(settings)?)) {
            Ok(cloud) => *opened = Some(Arc::new(cloud)),
            Err(fault) => {
                error!(%fault, "the old settings of the cloud stay in force");
                *opened = Some(old);
            }
        }
    }
}

/// What the gate is asked before text leaves: to whom, how confidential it is, and how much was
/// taken out of it.
pub(crate) fn send(provider: &str, label: Label, redacted: &Counts) -> Action {
    let counts = redacted.iter();
    let counts = counts.map(|(kind, count)| (kind.as_str().to_owned(), *count));
    Action::SendToCloud {
        provider: provider.to_owned(),
        label: label.as_str().to_owned(),
        redacted: counts.collect(),
    }
}

/// The settings, and what this machine knows about itself that others need not know.
pub(crate) fn completed(settings: &CloudSettings) -> Result<fazai_cloud::Settings, CloudFault> {
    let mut cloud = settings.settings().map_err(CloudFault::Settings)?;
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy().into_owned();
    // A name that everything has is no secret.
    cloud
        .redact
        .hosts
        .extend(Some(host).filter(|name| name != "localhost" && !name.is_empty()));
    let user = uzers::get_current_username();
    let user = user.map(|name| name.to_string_lossy().into_owned());
    cloud
        .redact
        .users
        .extend(user.filter(|name| name != "root"));
    Ok(cloud)
}

/// How long the GPU's probe may take, and for how long its answer holds.
const PROBE_TIME_MAX: Duration = Duration::from_secs(2);
const PROBE_AGE_MAX: Duration = Duration::from_secs(10);
/// What it may write, which nobody reads.
const PROBE_BYTES_MAX: usize = 64 << 10;

/// What the GPU's probe said, and when.
#[derive(Default)]
pub(crate) struct Probe(tokio::sync::Mutex<Option<(Instant, bool)>>);

impl Probe {
    /// Whether others have the GPU. A probe that can't be run says nothing.
    pub(crate) async fn gpu_busy(&self, command: &[String]) -> Option<Against> {
        let program = command.first()?;
        let mut last = self.0.lock().await;
        let busy = match *last {
            Some((at, busy)) if at.elapsed() < PROBE_AGE_MAX => busy,
            _ => {
                let busy = says_busy(command.to_vec()).await;
                *last = Some((Instant::now(), busy));
                busy
            }
        };
        busy.then(|| Against {
            cause: Cause::GpuBusy,
            detail: format!("{program} says that others have the GPU"),
            fatal: false,
        })
    }
}

async fn says_busy(command: Vec<String>) -> bool {
    let running = tokio::task::spawn_blocking(move || {
        program::run(&command, "the GPU's probe", PROBE_TIME_MAX, PROBE_BYTES_MAX)
    });
    match running.await {
        Ok(Ok(ran)) => !ran.status.success(),
        Ok(Err(fault)) => {
            warn!(%fault, "nobody knows whether others have the GPU");
            false
        }
        // The message of a panic is in the log.
        Err(_) => false,
    }
}

/// What a failure of the local model says about it; none: nobody else could do better.
pub(crate) fn cause_of(code: ErrorCode) -> Option<Cause> {
    match code {
        ErrorCode::ModelNotFound | ErrorCode::ModelTooLarge | ErrorCode::ModelUnreadable => {
            Some(Cause::NotLoaded)
        }
        ErrorCode::ContextOverflow => Some(Cause::TooLong),
        ErrorCode::WouldMissDeadline => Some(Cause::TooSlow),
        ErrorCode::Overloaded => Some(Cause::QueueFull),
        ErrorCode::EngineFailed | ErrorCode::Internal => Some(Cause::LocalFailed),
        _ => None,
    }
}

/// Whether the machine is short of memory.
pub(crate) fn low_memory(settings: &CloudSettings) -> Option<Against> {
    let wanted = settings.low_memory_bytes;
    if wanted == 0 {
        return None;
    }
    let free = fazai_models::memory::available()?;
    (free < wanted).then(|| Against {
        cause: Cause::LowMemory,
        detail: format!("{free} bytes are free, and low_memory_bytes is {wanted}"),
        fatal: false,
    })
}
