//! The requests that are being answered, so that one can be cancelled from another connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use fazai_models::job::UserId;
use fazai_protocol::ActionId;
use tokio_util::sync::CancellationToken;

use crate::lock::lock;

/// Who sends requests. One user can't touch another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum User {
    /// A user of this machine.
    Uid(u32),
    /// Whoever came over TCP: the token, if there is one, is the same for all.
    Tcp,
}

impl User {
    /// The engine's number for the user.
    pub(crate) fn id(self) -> UserId {
        match self {
            Self::Uid(uid) => UserId(uid.into()),
            // Beyond every uid.
            Self::Tcp => UserId(1 << 32),
        }
    }
}

impl User {
    /// Whether the user may change what the worker does for others: root, and its own user.
    pub(crate) fn administers(self) -> bool {
        let own = rustix::process::getuid().as_raw();
        matches!(self, Self::Uid(uid) if uid == 0 || uid == own)
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "uid {uid}"),
            Self::Tcp => f.write_str("tcp"),
        }
    }
}

type Table = HashMap<(User, ActionId), Vec<(u64, CancellationToken)>>;

/// All live requests that have an id.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveRequests(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    table: Table,
    next: u64,
}

impl LiveRequests {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// Adds a request until the guard is dropped. An empty id is never a key.
    pub(crate) fn enter(&self, user: User, id: &ActionId, token: CancellationToken) -> LiveGuard {
        let mut state = self.lock();
        state.next += 1;
        let number = state.next;
        let key = (user, id.clone());
        if !id.is_empty() {
            let entry = state.table.entry(key.clone()).or_default();
            entry.push((number, token));
        }
        LiveGuard {
            live: self.clone(),
            key,
            number,
        }
    }

    /// Cancels the user's requests of that id; tells how many there were.
    pub(crate) fn cancel(&self, user: User, id: &ActionId) -> usize {
        let state = self.lock();
        let tokens = state.table.get(&(user, id.clone()));
        let tokens = tokens.map(Vec::as_slice).unwrap_or_default();
        for (_, token) in tokens {
            token.cancel();
        }
        tokens.len()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().table.values().map(Vec::len).sum()
    }
}

/// Keeps a request in the table.
#[derive(Debug)]
pub(crate) struct LiveGuard {
    live: LiveRequests,
    key: (User, ActionId),
    number: u64,
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        let mut state = self.live.lock();
        if let Some(entries) = state.table.get_mut(&self.key) {
            entries.retain(|(number, _)| *number != self.number);
            if entries.is_empty() {
                state.table.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_cancels_his_own_requests_and_no_others() {
        let live = LiveRequests::default();
        let id = ActionId::from("a");
        let tokens: Vec<CancellationToken> = (0..4).map(|_| CancellationToken::new()).collect();
        let first = live.enter(User::Uid(1), &id, tokens[0].clone());
        let _second = live.enter(User::Uid(1), &id, tokens[1].clone());
        let _other = live.enter(User::Uid(2), &id, tokens[2].clone());
        let _nameless = live.enter(User::Uid(1), &ActionId::default(), tokens[3].clone());
        drop(first);
        assert_eq!(live.cancel(User::Uid(1), &id), 1);
        assert_eq!(live.cancel(User::Uid(1), &ActionId::default()), 0);
        assert_eq!(live.cancel(User::Tcp, &id), 0);
        let cancelled: Vec<bool> = tokens.iter().map(CancellationToken::is_cancelled).collect();
        assert_eq!(cancelled, [false, true, false, false]);
        assert_eq!(live.count(), 2);
    }
}
