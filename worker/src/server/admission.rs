//! Places for connections. Whoever does not administer the worker leaves room for who does.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::live::User;
use crate::places::{Place, Places};

/// Clients that are told at one time why they can't come in; more are only closed.
const REFUSALS_MAX: usize = 64;

/// All places.
#[derive(Debug)]
pub(crate) struct Connections {
    all: Arc<Semaphore>,
    strangers: Places<User>,
    strangers_max: usize,
    refusals: Arc<Semaphore>,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    _all: OwnedSemaphorePermit,
    _stranger: Option<Place<User>>,
}

impl Connections {
    /// An eighth of all is kept for administrators.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(most)),
            strangers: Places::default(),
            strangers_max: most - most / 8,
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
        }
    }

    /// A place for a connection of this user, or why there is none.
    pub(super) fn admit(&self, user: User) -> Result<Admitted, &'static str> {
        let stranger =
            match user.administers() {
                true => None,
                false => {
                    let place = self.strangers.enter(user, self.strangers_max);
                    Some(place.map_err(
                        |_| "this user, or all, have as many connections open as may be",
                    )?)
                }
            };
        let all = Arc::clone(&self.all).try_acquire_owned();
        Ok(Admitted {
            _all: all.map_err(|_| "connections_max connections are open")?,
            _stranger: stranger,
        })
    }

    /// A place for telling a client that there is none.
    pub(super) fn refusal(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.refusals).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_leave_room_for_others_and_for_administrators() {
        let connections = Connections::new(16);
        let enter = |uid, most: usize| {
            let held = (0..most).map_while(|_| connections.admit(User::Uid(uid)).ok());
            held.collect::<Vec<_>>()
        };
        let (one, other) = (enter(4_000_000_001, 20), enter(4_000_000_002, 20));
        assert_eq!((one.len(), other.len()), (7, 7));
        assert!(connections.admit(User::Uid(4_000_000_003)).is_err());
        let root = enter(0, 20);
        assert_eq!(root.len(), 2);
        drop(one);
        assert_eq!(enter(0, 20).len(), 7);
        assert!(connections.admit(User::Uid(4_000_000_003)).is_ok());
    }
}
