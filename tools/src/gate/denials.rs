//! What is written of denials: each of the first, and how many more there were. Who may do nothing
//! can ask for it as often as they like, and must not fill the disk with that.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::action::Kind;
use crate::caller::Caller;

/// How many denials of a kind are written each, for one caller and rule.
const WRITTEN_MAX: u32 = 20;

/// In how much time.
const WINDOW: Duration = Duration::from_secs(60);

/// How many callers, kinds and rules are told apart. What does not fit is counted for its caller.
const KEYS_MAX: usize = 4096;

/// How many callers' denials are counted; those of all others are counted together.
const CALLERS_MAX: usize = 1024;

/// The denials of this minute.
pub(super) struct Denials {
    since: Instant,
    written: HashMap<(String, Kind, String), u32>,
    more: HashMap<String, More>,
}

/// How many denials of a caller were not written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct More {
    /// None: of several callers.
    pub(super) caller: Option<Caller>,
    pub(super) count: u64,
}

impl Denials {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            written: HashMap::new(),
            more: HashMap::new(),
        }
    }

    /// What was counted in a minute that is over, or so far.
    pub(super) fn take(&mut self, now: Instant, so_far: bool) -> Vec<More> {
        let over = now.duration_since(self.since) >= WINDOW;
        if over {
            self.since = now;
            self.written.clear();
        }
        if over || so_far {
            self.more.drain().map(|(_, more)| more).collect()
        } else {
            Vec::new()
        }
    }

    /// Takes note of one, and says whether it is to be written.
    pub(super) fn note(&mut self, caller: &Caller, kind: Kind, rule: &str) -> bool {
        let who = caller.key();
        let key = (who.clone(), kind, rule.to_owned());
        if self.written.len() < KEYS_MAX || self.written.contains_key(&key) {
            let written = self.written.entry(key).or_default();
            if *written < WRITTEN_MAX {
                *written += 1;
                return true;
            }
        }
        let known = self.more.len() < CALLERS_MAX || self.more.contains_key(&who);
        let (who, caller) = match known {
            true => (who, Some(caller.clone())),
            false => (String::new(), None),
        };
        let more = self.more.entry(who);
        more.or_insert(More { caller, count: 0 }).count += 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> Caller {
        Caller::Token(name.into())
    }

    #[test]
    fn the_first_are_written_and_the_rest_is_counted() {
        let begin = Instant::now();
        let mut denials = Denials::new(begin);
        let mut note = |caller: &str, rule: &str, times: u32| {
            let written = (0..times).filter(|_| denials.note(&token(caller), Kind::Exec, rule));
            written.count()
        };
        assert_eq!(note("a", "x", 50), 20);
        assert_eq!(note("a", "y", 1), 1);
        assert_eq!(note("b", "x", 21), 20);
        assert_eq!(denials.take(begin + WINDOW / 2, false), []);
        let mut counted = denials.take(begin + WINDOW, false);
        counted.sort_by_key(|more| more.count);
        let counted: Vec<_> = counted
            .iter()
            .map(|more| (more.caller.clone(), more.count))
            .collect();
        assert_eq!(counted, [(Some(token("b")), 1), (Some(token("a")), 30)]);
        assert!(denials.note(&token("a"), Kind::Exec, "x"), "a new minute");
    }

    #[test]
    fn many_callers_take_no_more_memory() {
        let mut denials = Denials::new(Instant::now());
        let mut written = 0_usize;
        for number in 0..2 * KEYS_MAX {
            let caller = token(&number.to_string());
            written += usize::from(denials.note(&caller, Kind::Exec, "x"));
        }
        assert_eq!(written, KEYS_MAX);
        assert_eq!(denials.written.len(), KEYS_MAX);
        assert_eq!(denials.more.len(), CALLERS_MAX + 1);
        let counted = denials.take(Instant::now(), true);
        let count: u64 = counted.iter().map(|more| more.count).sum();
        assert_eq!(count, KEYS_MAX as u64);
    }
}
