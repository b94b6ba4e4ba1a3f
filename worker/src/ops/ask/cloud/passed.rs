//! The gate that a request passes for each provider, and the record of how that ended.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use fazai_cloud::Label;
use fazai_cloud::redact::Counts;
use fazai_protocol::Line;
use fazai_tools::{Outcome, Permit};

use super::super::super::{Context, admit};
use crate::cloud::send;
use crate::lock::lock;

/// The gate that each provider's turn has to pass, and the permits until they are used up.
pub(super) struct Passed<'a> {
    pub(super) context: &'a Context,
    pub(super) session: Option<String>,
    pub(super) label: Label,
    pub(super) stream: bool,
    /// The line that says that the request leaves, until it does: an answer that was kept stays here.
    pub(super) route: Mutex<Option<Line>>,
    pub(super) permits: Mutex<Vec<Permit>>,
}

impl fazai_cloud::Gate for Passed<'_> {
    fn pass<'a>(
        &'a self,
        provider: &'a str,
        redacted: &'a Counts,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        Box::pin(async move {
            let action = send(provider, self.label, redacted);
            let admitted = admit::admit(self.context, self.session.clone(), action, self.stream);
            let permit = admitted.await.map_err(|error| error.message)?;
            lock(&self.permits).push(permit);
            let route = lock(&self.route).take();
            if let Some(line) = route {
                self.context.outgoing.send(line).await;
            }
            Ok(())
        })
    }
}

impl Passed<'_> {
    /// Records how it ended. Text that has left can't be taken back, so that a record that fails
    /// here is no reason to withhold the answer; the next request finds it unavailable.
    pub(super) async fn finish(self, error: Option<String>) {
        let permits = self
            .permits
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let recorded = tokio::task::spawn_blocking(move || {
            for permit in permits {
                let outcome = Outcome {
                    error: error.clone(),
                    ..Outcome::default()
                };
                if let Err(fault) = permit.finish(outcome) {
                    tracing::error!(%fault, "it can't be recorded how a request to the cloud ended");
                }
            }
        });
        // A panic is in the log.
        let _ = recorded.await;
    }
}
