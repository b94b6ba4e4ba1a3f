//! Places for work that keeps a thread, each in somebody's name.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lock::lock;

/// The places that are taken, by whose they are. One name has at most half of all, so that nobody
/// keeps all of them.
#[derive(Debug)]
pub(crate) struct Places<K>(Arc<Mutex<HashMap<K, usize>>>);

/// One that is taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Eq + Hash> {
    places: Places<K>,
    name: K,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// All are taken.
    All,
    /// This name has its half.
    Own,
}

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K> Places<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        lock(&self.0)
    }
}

impl<K: Eq + Hash + Clone> Places<K> {
    /// Takes one of `most` places.
    pub(crate) fn enter(&self, name: K, most: usize) -> Result<Place<K>, Full> {
        let mut taken = self.lock();
        let own = room(&taken, &name, most)?;
        taken.insert(name.clone(), own + 1);
        let places = Self(Arc::clone(&self.0));
        Ok(Place { places, name })
    }

    /// Whether one could be taken now.
    pub(crate) fn check(&self, name: &K, most: usize) -> Result<(), Full> {
        room(&self.lock(), name, most).map(drop)
    }
}

/// How many places a name has, if it may have one more.
fn room<K: Eq + Hash>(taken: &HashMap<K, usize>, name: &K, most: usize) -> Result<usize, Full> {
    if taken.values().sum::<usize>() >= most {
        return Err(Full::All);
    }
    let own = taken.get(name).copied().unwrap_or(0);
    match own >= most.div_ceil(2) {
        true => Err(Full::Own),
        false => Ok(own),
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(own) = taken.get_mut(&self.name) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.name);
            }
        }
    }
}

/// Places that are waited for. Each name waits for its half first, so that who asks for much waits
/// for itself.
#[derive(Debug)]
pub(crate) struct Turns<K> {
    all: Arc<Semaphore>,
    own: Mutex<HashMap<K, Arc<Semaphore>>>,
    own_max: usize,
}

/// A place that was waited for, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _own: Option<OwnedSemaphorePermit>,
    _all: Option<OwnedSemaphorePermit>,
}

impl<K: Eq + Hash> Turns<K> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(most)),
            own: Mutex::default(),
            own_max: most.div_ceil(2),
        }
    }

    pub(crate) async fn wait(&self, name: K) -> Turn {
        let own = {
            let mut all = lock(&self.own);
            // Of whom nobody has or wants a place.
            all.retain(|_, own| Arc::strong_count(own) > 1);
            let new = || Arc::new(Semaphore::new(self.own_max));
            Arc::clone(all.entry(name).or_insert_with(new))
        };
        // They are never closed.
        let own = own.acquire_owned().await.ok();
        let all = Arc::clone(&self.all).acquire_owned().await.ok();
        Turn {
            _own: own,
            _all: all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_all_places() {
        let places = Places::default();
        let enter = |name| places.enter(name, 4);
        let held: Vec<Place<&str>> = (0..2).filter_map(|_| enter("one").ok()).collect();
        assert_eq!(held.len(), 2);
        assert_eq!(enter("one").err(), Some(Full::Own));
        assert_eq!(places.check(&"one", 4), Err(Full::Own));
        assert_eq!(places.check(&"two", 4), Ok(()));
        let others = (enter("two"), enter("three"));
        assert!(others.0.is_ok() && others.1.is_ok());
        assert_eq!(enter("four").err(), Some(Full::All));
        assert_eq!(places.check(&"four", 4), Err(Full::All));
        drop(held);
        assert!(enter("one").is_ok());
    }

    #[tokio::test]
    async fn who_waits_for_much_keeps_nobody_waiting() {
        use futures_util::FutureExt;

        let turns = Turns::new(2);
        let held = turns.wait("one").await;
        let mut more: Vec<_> = (0..10).map(|_| Box::pin(turns.wait("one"))).collect();
        assert!(more.iter_mut().all(|turn| turn.now_or_never().is_none()));
        let other = turns.wait("two").now_or_never().expect("a place");
        let third = turns.wait("three").now_or_never();
        assert!(third.is_none(), "all are taken");
        drop(held);
        let next = more[0].as_mut().now_or_never();
        assert!(next.is_some(), "its own turn");
        drop((more, next, other));
        assert!(turns.wait("four").now_or_never().is_some());
        assert_eq!(lock(&turns.own).len(), 1);
    }
}
