//! The gate before whatever leaves the worker, and a limit to its time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fazai_tools::{Action, GateError, Outcome, Permit};
use tracing::error;

use crate::acting::ActingFault;
use crate::worker::Shared;

/// How long one delivery may take.
pub(super) const TIME_MAX: Duration = Duration::from_secs(30);

/// Why an alert was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It may be next time.
    Away(String),
    /// It never will be.
    Refused(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) | Self::Refused(why) => f.write_str(why),
        }
    }
}

/// Does something past the gate, no longer than [`TIME_MAX`].
pub(super) async fn past_gate<T>(
    shared: &Arc<Shared>,
    action: Action,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let permit = permit(shared, action).await?;
    let done = match tokio::time::timeout(TIME_MAX, work).await {
        Ok(done) => done,
        Err(_) => Err(Failure::Away(format!(
            "no answer within {} s",
            TIME_MAX.as_secs()
        ))),
    };
    let outcome = Outcome::of(&done.as_ref().map(drop));
    // It is done by now; without a record nothing more will be.
    let recorded = tokio::task::spawn_blocking(move || permit.finish(outcome)).await;
    match recorded {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => error!(%fault, "it can't be recorded how an alert ended"),
        Err(_) => error!("the record of an alert panicked"),
    }
    done
}

/// The policy's yes. It waits for the disk, on a thread that may.
pub(super) async fn permit(shared: &Arc<Shared>, action: Action) -> Result<Permit, Failure> {
    let shared = Arc::clone(shared);
    let asked = tokio::task::spawn_blocking(move || shared.acting.permit_own(action)).await;
    let permit = asked.map_err(|fault| Failure::Away(fault.to_string()))?;
    permit.map_err(|fault| match fault {
        ActingFault::Audit(fault) | ActingFault::Gate(GateError::Audit(fault)) => {
            Failure::Away(fault.to_string())
        }
        fault => Failure::Refused(format!(
            "{fault}; allow it in policy.toml, as worker/watch/README.md shows"
        )),
    })
}
