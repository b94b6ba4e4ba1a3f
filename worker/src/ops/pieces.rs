//! Text on its way from a thread that may not wait for the client to the task that does.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::lock::lock;

/// What was said and not yet taken. Small pieces become one: it takes no more memory than its text,
/// which whoever says it bounds.
#[derive(Debug, Default)]
struct Waiting {
    text: Mutex<String>,
    more: Notify,
}

/// The end that says something.
#[derive(Debug, Clone)]
pub(super) struct Speaker(Arc<Waiting>);

/// The end that takes it.
#[derive(Debug)]
pub(super) struct Listener(Arc<Waiting>);

/// The two ends.
pub(super) fn pieces() -> (Speaker, Listener) {
    let waiting = Arc::<Waiting>::default();
    (Speaker(Arc::clone(&waiting)), Listener(waiting))
}

impl Speaker {
    pub(super) fn say(&self, text: &str) {
        let mut waiting = lock(&self.0.text);
        waiting.push_str(text);
        self.0.more.notify_one();
    }
}

impl Listener {
    /// Waits until something was said, and takes all of it. Nothing is lost if it is dropped
    /// before.
    pub(super) async fn next(&self) -> String {
        loop {
            self.0.more.notified().await;
            let text = self.rest();
            if !text.is_empty() {
                return text;
            }
        }
    }

    /// What was said until now.
    pub(super) fn rest(&self) -> String {
        let mut waiting = lock(&self.0.text);
        std::mem::take(&mut *waiting)
    }
}
