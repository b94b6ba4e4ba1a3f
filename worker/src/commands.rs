//! How many commands run, and whose.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::live::User;

/// The commands that run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Commands(Arc<Mutex<HashMap<User, usize>>>);

/// A command that runs.
#[derive(Debug)]
pub(crate) struct Place {
    commands: Commands,
    user: User,
}

impl Commands {
    /// A place, if fewer than `most` are taken, and fewer than half of those by this user: each
    /// keeps a thread, and nobody is to keep all of them.
    pub(crate) fn enter(&self, user: User, most: usize) -> Option<Place> {
        let mut running = self.lock();
        let all: usize = running.values().sum();
        let own = running.entry(user).or_default();
        if all >= most || *own >= most.div_ceil(2) {
            return None;
        }
        *own += 1;
        Some(Place {
            commands: self.clone(),
            user,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<User, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut running = self.commands.lock();
        if let Some(own) = running.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                running.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_all_places() {
        let commands = Commands::default();
        let one = User::Uid(1);
        let held: Vec<Place> = (0..2).filter_map(|_| commands.enter(one, 4)).collect();
        assert_eq!(held.len(), 2);
        assert!(commands.enter(one, 4).is_none());
        let other = commands.enter(User::Tcp, 4);
        assert!(other.is_some());
        drop(held);
        assert!(commands.enter(one, 4).is_some());
    }
}
