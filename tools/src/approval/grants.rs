//! What was said yes to for a session.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Question;
use crate::audit::Hash;
use crate::caller::Caller;

/// How many answers may hold for a session; of more, those go that were not used for longest.
pub const GRANTS_MAX: usize = 4096;
/// For how long one holds that is not used: nobody says when a session is over.
pub const GRANT_LIFE: Duration = Duration::from_secs(8 * 60 * 60);

/// Who said yes, by caller, session, action and what was seen of it.
#[derive(Debug, Default)]
pub(super) struct Grants(HashMap<[u8; 32], Grant>);

#[derive(Debug)]
struct Grant {
    by: Caller,
    used: Instant,
}

/// What a yes to a question holds for; none without a session.
pub(super) fn grant_of(question: &Question) -> Option<Hash> {
    let session = question.session.as_ref()?;
    let of = (
        question.caller.key(),
        session,
        &question.action,
        &question.seen,
    );
    // JSON keeps the parts apart whatever is in them.
    Some(Hash::of(&serde_json::to_vec(&of).ok()?))
}

impl Grants {
    /// Who gave it, and from now on it is as good as new.
    pub(super) fn use_one(&mut self, grant: &Hash, now: Instant) -> Option<Caller> {
        self.0.retain(|_, grant| grant.holds(now));
        let grant = self.0.get_mut(&grant.0)?;
        grant.used = now;
        Some(grant.by.clone())
    }

    pub(super) fn add(&mut self, grant: Hash, by: &Caller, now: Instant) {
        if self.0.len() >= GRANTS_MAX
            && !self.0.contains_key(&grant.0)
            && let Some((oldest, _)) = self.0.iter().min_by_key(|(_, grant)| grant.used)
        {
            let oldest = *oldest;
            self.0.remove(&oldest);
        }
        let by = by.clone();
        self.0.insert(grant.0, Grant { by, used: now });
    }
}

impl Grant {
    fn holds(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) < GRANT_LIFE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> Hash {
        Hash::of(&number.to_le_bytes())
    }

    #[test]
    fn a_grant_ends_when_it_is_not_used() {
        let (mut grants, begin) = (Grants::default(), Instant::now());
        let by = Caller::Token("root".into());
        grants.add(hash(1), &by, begin);
        let soon = begin + GRANT_LIFE - Duration::from_secs(1);
        assert_eq!(grants.use_one(&hash(1), soon), Some(by.clone()));
        let later = soon + GRANT_LIFE - Duration::from_secs(1);
        assert_eq!(grants.use_one(&hash(1), later), Some(by));
        assert_eq!(grants.use_one(&hash(1), later + GRANT_LIFE), None);
        assert!(grants.0.is_empty(), "it takes no room any more");
    }

    #[test]
    fn the_one_that_was_not_used_for_longest_makes_room() {
        let (mut grants, begin) = (Grants::default(), Instant::now());
        let by = Caller::Token("root".into());
        let at = |number: usize| begin + Duration::from_millis(number as u64);
        for number in 0..GRANTS_MAX {
            grants.add(hash(number), &by, at(number));
        }
        let now = at(GRANTS_MAX);
        assert!(grants.use_one(&hash(0), now).is_some());
        grants.add(hash(GRANTS_MAX), &by, now);
        assert_eq!(grants.0.len(), GRANTS_MAX);
        assert_eq!(grants.use_one(&hash(1), now), None);
        for number in [0, 2, GRANTS_MAX] {
            assert!(grants.use_one(&hash(number), now).is_some(), "{number}");
        }
    }
}
