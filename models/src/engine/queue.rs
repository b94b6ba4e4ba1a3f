//! Who gets the next slot: the highest priority first, and within one the oldest.

use std::collections::VecDeque;

use crate::job::Priority;

/// Waiting jobs, in three lanes.
#[derive(Debug)]
pub(super) struct Queue<T> {
    lanes: [VecDeque<T>; 3],
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            lanes: Default::default(),
        }
    }
}

impl<T> Queue<T> {
    fn lane(priority: Priority) -> usize {
        match priority {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        }
    }

    pub(super) fn push(&mut self, priority: Priority, job: T) {
        self.lanes[Self::lane(priority)].push_back(job);
    }

    /// Takes the first job.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.lanes.iter_mut().find_map(VecDeque::pop_front)
    }

    /// Takes out every job that `leaves`.
    pub(super) fn remove_if(&mut self, mut leaves: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        for lane in &mut self.lanes {
            for job in std::mem::take(lane) {
                if leaves(&job) {
                    removed.push(job);
                } else {
                    lane.push_back(job);
                }
            }
        }
        removed
    }

    /// All jobs, the next one first.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.lanes.iter_mut().flatten()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.lanes.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for (priority, job) in jobs {
            queue.push(priority, job);
        }
        assert_eq!(queue.iter().copied().collect::<Vec<_>>(), [3, 5, 2, 4, 1]);
        assert_eq!(queue.remove_if(|&job| job == 5 || job == 1), [5, 1]);
        let mut order = Vec::new();
        while let Some(job) = queue.pop() {
            order.push(job);
        }
        assert_eq!(order, [3, 2, 4]);
    }
}
