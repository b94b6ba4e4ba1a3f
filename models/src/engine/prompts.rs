//! Named prompts: read from the store before their first job, written after it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tracing::warn;

use super::turn::Engine;
use crate::job::Generate;
use crate::prompts::PromptStore;
use crate::vocabulary::Token;

/// The store, and which prompts need nothing more from it.
#[derive(Debug)]
pub(super) struct Prompts {
    store: Option<PromptStore>,
    /// Names with the tokens for which they were read or written by this engine, the latest last.
    known: Mutex<VecDeque<Kept>>,
    /// Each thread that writes one holds it, too.
    writing: Arc<()>,
}

/// A name and the tokens that are kept under it.
type Kept = (String, Vec<Token>);

/// So many are remembered; one that is forgotten is read again.
const KNOWN_MAX: usize = 1_024;

/// Prompts that are written at one time; another one is kept when it is next read.
const WRITING_MAX: usize = 2;

impl Prompts {
    pub(super) fn new(store: Option<PromptStore>) -> Self {
        Self {
            store,
            known: Mutex::default(),
            writing: Arc::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a prompt. `false`: it was known.
    fn meet(&self, kept: Kept) -> bool {
        let mut known = self.known();
        let is_new = !known.contains(&kept);
        if is_new {
            known.push_back(kept);
            let beyond = known.len().saturating_sub(KNOWN_MAX);
            known.drain(..beyond);
        }
        is_new
    }

    /// What the store has for the request, if nobody asked for it yet. Reads a file, off the
    /// caller's thread.
    pub(super) async fn recall(this: &Arc<Self>, generate: &Generate) -> Option<Vec<u8>> {
        let store = this.store.clone()?;
        let kept = kept_part(generate)?;
        if this.known().contains(&kept) {
            return None;
        }
        let prompts = Arc::clone(this);
        let reading = tokio::task::spawn_blocking(move || {
            let state = store.load(&kept.0, &kept.1)?;
            prompts.meet(kept).then_some(state)
        });
        reading.await.ok().flatten()
    }
}

/// The name and the tokens that the request wants to be kept.
fn kept_part(generate: &Generate) -> Option<Kept> {
    let keep = generate.keep.as_ref()?;
    let tokens = generate.prompt.get(..keep.tokens as usize)?;
    (!tokens.is_empty()).then(|| (keep.name.clone(), tokens.to_vec()))
}

impl Engine {
    /// Puts a state that was kept into the cache, where the request will find it.
    pub(super) fn put_back(&mut self, generate: &Generate, state: Option<&[u8]>) {
        if let (Some(state), Some((_, tokens))) = (state, kept_part(generate))
            && let Some(seq) = self.kv.move_in(state, &tokens)
        {
            self.kv.retire(seq);
        }
    }

    /// Writes the beginning of the slot's prompt to the store, if that is wanted, read, and not
    /// done.
    pub(super) fn keep_prompt(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        let Some(keep) = slot.take_keep() else { return };
        let Some(store) = self.prompts.store.clone() else {
            return;
        };
        let tokens = slot.held()[..keep.tokens as usize].to_vec();
        if Arc::strong_count(&self.prompts.writing) > WRITING_MAX {
            return;
        }
        if !self.prompts.meet((keep.name.clone(), tokens.clone())) {
            return;
        }
        let Some(state) = self.kv.snapshot(self.slots[index].seq, keep.tokens) else {
            return;
        };
        // Nobody waits for the disk.
        let writing = Arc::clone(&self.prompts.writing);
        let writer = thread::Builder::new().name("prompt store".to_owned());
        let spawned = writer.spawn(move || {
            let _writing = writing;
            if let Err(fault) = store.save(&keep.name, &tokens, &state) {
                warn!(name = keep.name, %fault, "a prompt can't be kept");
            }
        });
        if let Err(fault) = spawned {
            warn!(%fault, "no thread to keep a prompt with");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_do_not_keep_others_out() {
        let prompts = Prompts::new(None);
        let named = |number: usize| (format!("name {number}"), vec![1, 2, 3]);
        let many = KNOWN_MAX + 10;
        assert!((0..many).all(|number| prompts.meet(named(number))));
        assert!(!prompts.meet(named(many - 1)), "it was met");
        assert!(prompts.meet(named(0)), "it was forgotten");
        assert_eq!(prompts.known().len(), KNOWN_MAX);
    }
}
