//! Who gets the next slot: the higher class first; within one, users in fair shares; and who has
//! waited long rises.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::job::{Priority, UserId};

/// After this time in the queue a job counts as one class higher.
const RISE_AFTER: Duration = Duration::from_secs(20);

/// A waiting job with what decides its turn.
#[derive(Debug)]
struct Entry<T> {
    priority: Priority,
    since: Instant,
    /// When its user's share would be used up to here, on the class's virtual clock.
    due: u64,
    /// Order of arrival, for ties.
    number: u64,
    job: T,
}

impl<T> Entry<T> {
    /// Smaller goes first.
    fn key(&self, now: Instant) -> (Reverse<Priority>, u64, u64) {
        let class = risen(self.priority, now.duration_since(self.since));
        // Another class has another clock: who comes from below goes first there.
        let due = if class == self.priority { self.due } else { 0 };
        (Reverse(class), due, self.number)
    }
}

/// The class of a job that has waited so long.
pub(super) fn risen(priority: Priority, waited: Duration) -> Priority {
    let above = match priority {
        Priority::Low => Priority::Normal,
        Priority::Normal => Priority::High,
        Priority::High => return Priority::High,
    };
    match waited.checked_sub(RISE_AFTER) {
        Some(rest) => risen(above, rest),
        None => priority,
    }
}

fn class(priority: Priority) -> usize {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

/// What users of one class have had.
#[derive(Debug, Default)]
struct Shares {
    /// The virtual time of the job that was taken last.
    now: u64,
    /// Up to when each user's jobs are due. Those in the past are forgotten.
    due: HashMap<UserId, u64>,
}

/// Waiting jobs.
#[derive(Debug)]
pub(super) struct Queue<T> {
    entries: Vec<Entry<T>>,
    shares: [Shares; 3],
    arrivals: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            shares: Default::default(),
            arrivals: 0,
        }
    }
}

impl<T> Queue<T> {
    /// Adds a job that is expected to cost so many tokens.
    pub(super) fn push(&mut self, priority: Priority, user: UserId, cost: u64, job: T) {
        let shares = &mut self.shares[class(priority)];
        let due = shares
            .due
            .get(&user)
            .map_or(shares.now, |&due| due.max(shares.now));
        shares.due.insert(user, due + cost.max(1));
        self.arrivals += 1;
        self.entries.push(Entry {
            priority,
            since: Instant::now(),
            due,
            number: self.arrivals,
            job,
        });
    }

    /// The next job and its class, which is a higher one if it has waited long.
    pub(super) fn peek(&self) -> Option<(Priority, &T)> {
        let now = Instant::now();
        let (index, class) = self.next(now, |_| true)?;
        Some((class, &self.entries[index].job))
    }

    /// Takes the next job.
    pub(super) fn pop(&mut self) -> Option<(Priority, T)> {
        self.pop_where(|_| true)
    }

    /// Takes the next job of those that are `meant`.
    pub(super) fn pop_where(&mut self, meant: impl Fn(&T) -> bool) -> Option<(Priority, T)> {
        let (index, class) = self.next(Instant::now(), meant)?;
        let entry = self.entries.swap_remove(index);
        let shares = &mut self.shares[self::class(entry.priority)];
        shares.now = shares.now.max(entry.due);
        let past = shares.now;
        shares.due.retain(|_, due| *due > past);
        Some((class, entry.job))
    }

    fn next(&self, now: Instant, meant: impl Fn(&T) -> bool) -> Option<(usize, Priority)> {
        let entries = self.entries.iter().enumerate();
        let entries = entries.filter(|(_, entry)| meant(&entry.job));
        let (index, entry) = entries.min_by_key(|(_, entry)| entry.key(now))?;
        Some((index, entry.key(now).0.0))
    }

    /// Takes out every job that `leaves`.
    pub(super) fn remove_if(&mut self, mut leaves: impl FnMut(&T) -> bool) -> Vec<T> {
        let leaving = self.entries.extract_if(.., |entry| leaves(&entry.job));
        leaving.map(|entry| entry.job).collect()
    }

    /// All jobs, the next one first.
    pub(super) fn in_order(&mut self) -> impl Iterator<Item = &mut T> {
        let now = Instant::now();
        self.entries.sort_by_key(|entry| entry.key(now));
        self.entries.iter_mut().map(|entry| &mut entry.job)
    }

    /// All jobs, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.job)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain<T>(queue: &mut Queue<T>) -> Vec<T> {
        std::iter::from_fn(|| Some(queue.pop()?.1)).collect()
    }

    #[test]
    fn the_highest_and_then_the_oldest_goes_first() {
        let mut queue = Queue::default();
        let jobs = [
            (Priority::Low, 1),
            (Priority::Normal, 2),
            (Priority::High, 3),
            (Priority::Normal, 4),
            (Priority::High, 5),
        ];
        for (user, (priority, job)) in (0..).zip(jobs) {
            queue.push(priority, UserId(user), 10, job);
        }
        assert_eq!(
            queue.in_order().map(|job| *job).collect::<Vec<_>>(),
            [3, 5, 2, 4, 1]
        );
        let mut removed = queue.remove_if(|&job| job == 5 || job == 1);
        removed.sort_unstable();
        assert_eq!(removed, [1, 5]);
        assert_eq!(queue.peek(), Some((Priority::High, &3)));
        assert_eq!(drain(&mut queue), [3, 2, 4]);
        assert!(queue.is_empty());
    }

    #[test]
    fn users_take_turns_by_what_their_jobs_cost() {
        let mut queue = Queue::default();
        for job in 0..6 {
            queue.push(Priority::Normal, UserId(1), 10, ("greedy", job));
        }
        for job in 0..2 {
            queue.push(Priority::Normal, UserId(2), 10, ("modest", job));
        }
        queue.push(Priority::Normal, UserId(3), 1_000, ("large", 0));
        queue.push(Priority::Normal, UserId(3), 10, ("large", 1));
        let order: Vec<_> = drain(&mut queue)
            .into_iter()
            .map(|(user, _)| user)
            .collect();
        assert_eq!(
            &order[..5],
            ["greedy", "modest", "large", "greedy", "modest"]
        );
        assert_eq!(order.last(), Some(&"large"), "it had its share");
        // Having been idle is no credit.
        queue.push(Priority::Normal, UserId(1), 10, ("greedy", 9));
        queue.push(Priority::Normal, UserId(2), 10, ("modest", 9));
        assert_eq!(drain(&mut queue).len(), 2);
    }

    #[test]
    fn who_waits_long_rises() {
        let mut queue = Queue::default();
        queue.push(Priority::Low, UserId(1), 10, "old");
        queue.entries[0].since -= RISE_AFTER * 2;
        queue.push(Priority::High, UserId(2), 10, "urgent");
        queue.push(Priority::Normal, UserId(3), 10, "usual");
        // Risen to the highest class, where it came first, and in which it stays.
        assert_eq!(queue.peek(), Some((Priority::High, &"old")));
        assert_eq!(
            queue.pop_where(|job| *job != "old"),
            Some((Priority::High, "urgent"))
        );
        queue.push(Priority::High, UserId(2), 10, "urgent");
        assert_eq!(drain(&mut queue), ["old", "urgent", "usual"]);
    }
}
