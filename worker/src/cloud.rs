//! The cloud of this worker: opened when it is first needed, and how the local model stands.

use std::sync::{Arc, Mutex, PoisonError};

use fazai_cloud::route::{Against, Cause};
use fazai_cloud::{Cloud, CloudError};
use fazai_protocol::ErrorCode;
use tokio::sync::watch;
use tracing::error;

use crate::config::{CloudSettings, Settings};

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
}

impl Clouds {
    pub(crate) fn new(settings: watch::Receiver<Arc<Settings>>) -> Self {
        Self {
            settings,
            opened: Mutex::default(),
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
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cloud) = &*opened {
            return Ok(Arc::clone(cloud));
        }
        let settings = completed(&self.settings.borrow().cloud)?;
        let cloud = Arc::new(Cloud::open(settings)?);
        *opened = Some(Arc::clone(&cloud));
        Ok(cloud)
    }

    /// Takes new settings; with a mistake in them the old ones stay.
    pub(crate) fn reload(&self) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
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

/// The settings, and what this machine knows about itself that others need not know.
fn completed(settings: &CloudSettings) -> Result<fazai_cloud::Settings, CloudFault> {
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
    let free = fazai_models::memory::available()?;
    let wanted = settings.low_memory_bytes;
    (free < wanted).then(|| Against {
        cause: Cause::LowMemory,
        detail: format!("{free} bytes are free, and low_memory_bytes is {wanted}"),
        fatal: false,
    })
}
