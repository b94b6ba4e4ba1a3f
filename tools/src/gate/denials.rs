//! What is written of denials: each of the first, and how many more there were. Who may do nothing
//! can ask for it as often as they like, and must not fill the disk with that; nor with questions
//! that are taken back at once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::action::Kind;
use crate::caller::Caller;

/// How many denials of a kind are written each, for one caller and rule.
const WRITTEN_MAX: u32 = 20;

/// In how much time.
const WINDOW: Duration = Duration::from_secs(60);

/// How many bytes of one caller's denials are written in that time, and how many it may ask for and
/// take back.
const BYTES_MAX: usize = 64 << 10;

/// How many questions of one caller may be taken back in that time.
const WITHDRAWN_MAX: u32 = 20;

/// How many callers, kinds and rules are told apart. What does not fit is counted for its caller.
const KEYS_MAX: usize = 4096;

/// How many callers' denials are counted; those of all others are counted together.
const CALLERS_MAX: usize = 1024;

/// The denials of this minute.
pub(super) struct Denials {
    since: Instant,
    written: HashMap<(String, Option<Kind>, String), u32>,
    /// By caller; those who are too many for it share one.
    shares: HashMap<String, Share>,
    more: HashMap<String, More>,
}

/// What a caller has cost.
#[derive(Default)]
struct Share {
    bytes: usize,
    withdrawn: u32,
    withdrawn_bytes: usize,
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
            shares: HashMap::new(),
            more: HashMap::new(),
        }
    }

    /// What was counted in a minute that is over, or so far.
    pub(super) fn take(&mut self, now: Instant, so_far: bool) -> Vec<More> {
        let over = now.duration_since(self.since) >= WINDOW;
        if over {
            self.since = now;
            self.written.clear();
            self.shares.clear();
        }
        if over || so_far {
            self.more.drain().map(|(_, more)| more).collect()
        } else {
            Vec::new()
        }
    }

    /// Takes note of one, and says whether it is to be written, which takes this many bytes. `kind`:
    /// of what was denied, if that was an action.
    pub(super) fn note(
        &mut self,
        caller: &Caller,
        kind: Option<Kind>,
        rule: &str,
        bytes: usize,
    ) -> bool {
        let who = caller.key();
        let used = self.share(&who).bytes.saturating_add(bytes);
        let key = (who.clone(), kind, rule.to_owned());
        if self.written.len() < KEYS_MAX || self.written.contains_key(&key) {
            let written = self.written.entry(key).or_default();
            if *written < WRITTEN_MAX && used <= BYTES_MAX {
                *written += 1;
                self.share(&who).bytes = used;
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

    /// Takes note of a question that was asked and taken back, which were written.
    pub(super) fn note_withdrawn(&mut self, caller: &Caller, bytes: usize) {
        let share = self.share(&caller.key());
        share.withdrawn = share.withdrawn.saturating_add(1);
        share.withdrawn_bytes = share.withdrawn_bytes.saturating_add(bytes);
    }

    /// Whether a caller took back so many that another is not asked.
    pub(super) fn withdraws_too_often(&mut self, caller: &Caller) -> bool {
        let share = self.share(&caller.key());
        share.withdrawn >= WITHDRAWN_MAX || share.withdrawn_bytes >= BYTES_MAX
    }

    fn share(&mut self, who: &str) -> &mut Share {
        let known = self.shares.len() < CALLERS_MAX || self.shares.contains_key(who);
        let who = if known { who } else { "" };
        self.shares.entry(who.to_owned()).or_default()
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
            let written =
                (0..times).filter(|_| denials.note(&token(caller), Some(Kind::Exec), rule, 100));
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
        assert!(
            denials.note(&token("a"), Some(Kind::Exec), "x", 100),
            "a new minute"
        );
    }

    #[test]
    fn bytes_are_limited_as_well() {
        let begin = Instant::now();
        let mut denials = Denials::new(begin);
        let mut written = |caller: &str| {
            let rules = (0..100).map(|rule| rule.to_string());
            let kind = Some(Kind::Exec);
            let noted = rules.filter(|rule| denials.note(&token(caller), kind, rule, 1 << 10));
            noted.count()
        };
        assert_eq!(written("a"), 64);
        assert_eq!(written("a"), 0);
        assert_eq!(written("b"), 64, "others have their own share");
        denials.take(begin + WINDOW, false);
        assert!(
            denials.note(&token("a"), None, "x", 1 << 10),
            "a new minute"
        );
    }

    #[test]
    fn who_takes_back_many_questions_is_not_asked_more() {
        let begin = Instant::now();
        let mut denials = Denials::new(begin);
        for _ in 0..WITHDRAWN_MAX {
            assert!(!denials.withdraws_too_often(&token("a")));
            denials.note_withdrawn(&token("a"), 10);
        }
        assert!(denials.withdraws_too_often(&token("a")));
        assert!(!denials.withdraws_too_often(&token("b")));
        denials.note_withdrawn(&token("b"), BYTES_MAX);
        assert!(denials.withdraws_too_often(&token("b")));
        denials.take(begin + WINDOW, false);
        assert!(!denials.withdraws_too_often(&token("a")));
    }

    #[test]
    fn many_callers_take_no_more_memory() {
        let mut denials = Denials::new(Instant::now());
        let mut written = 0_usize;
        for number in 0..2 * KEYS_MAX {
            let caller = token(&number.to_string());
            written += usize::from(denials.note(&caller, Some(Kind::Exec), "x", 0));
        }
        assert_eq!(written, KEYS_MAX);
        assert_eq!(denials.written.len(), KEYS_MAX);
        assert_eq!(denials.more.len(), CALLERS_MAX + 1);
        assert_eq!(denials.shares.len(), CALLERS_MAX + 1);
        let counted = denials.take(Instant::now(), true);
        let count: u64 = counted.iter().map(|more| more.count).sum();
        assert_eq!(count, KEYS_MAX as u64);
    }
}
