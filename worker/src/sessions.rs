//! Conversations that the worker keeps between requests.
//!
//! A request takes its session out of the table as a [`Lease`] and puts it back when it is done;
//! meanwhile another request for it is told that it is busy.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fazai_cloud::Label;
use fazai_models::chat::Turn;
use fazai_protocol::Limits;

use crate::live::User;
use crate::lock::lock;

/// A user's name for a conversation.
type Key = (User, String);

/// Why a session can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Another request has it.
    #[error("session {0:?} is in use by another request")]
    Busy(String),
    /// There are too many.
    #[error("{0} sessions are kept already")]
    TooMany(usize),
    /// It grew too long.
    #[error("session {name:?} holds {bytes} bytes, the limit is {most}")]
    TooLong {
        /// The session.
        name: String,
        /// What it holds.
        bytes: usize,
        /// What it may hold.
        most: usize,
    },
}

#[derive(Debug)]
struct Session {
    turns: Vec<Turn>,
    personality: Option<String>,
    secrecy: Secrecy,
    used: Instant,
    leased: bool,
}

/// All sessions.
#[derive(Debug, Clone, Default)]
pub struct Sessions(Arc<Mutex<HashMap<Key, Session>>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Session>> {
        lock(&self.0)
    }

    /// Takes a session, new or known, for one request.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn lease(&self, user: User, name: &str, limits: &Limits) -> Result<Lease, SessionError> {
        let idle = Duration::from_millis(limits.session_idle_ms_max);
        let mut table = self.lock();
        table.retain(|_, session| session.leased || session.used.elapsed() < idle);
        let key = (user, name.to_owned());
        if !table.contains_key(&key)
            && table.len() >= limits.sessions_max
            && !forget_one(&mut table)
        {
            return Err(SessionError::TooMany(table.len()));
        }
        let session = table.entry(key.clone()).or_insert_with(|| Session {
            turns: Vec::new(),
            personality: None,
            secrecy: Secrecy::default(),
            used: Instant::now(),
            leased: false,
        });
        if session.leased {
            return Err(SessionError::Busy(name.to_owned()));
        }
        let bytes: usize = session.turns.iter().map(|turn| turn.content.len()).sum();
        if bytes > limits.session_bytes_max {
            return Err(SessionError::TooLong {
                name: name.to_owned(),
                bytes,
                most: limits.session_bytes_max,
            });
        }
        session.leased = true;
        Ok(Lease {
            sessions: self.clone(),
            turns: session.turns.clone(),
            personality: session.personality.clone(),
            secrecy: session.secrecy,
            key,
        })
    }

    /// How many are kept.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }
}

/// Makes room: the user who keeps the most sessions loses the one that was idle the longest, so
/// that nobody can lock the others out. `false`: all that he keeps are in use.
fn forget_one(table: &mut HashMap<Key, Session>) -> bool {
    let mut counts: HashMap<User, usize> = HashMap::new();
    for (user, _) in table.keys() {
        *counts.entry(*user).or_default() += 1;
    }
    let Some((most, _)) = counts.into_iter().max_by_key(|(_, count)| *count) else {
        return false;
    };
    let idle = table
        .iter()
        .filter(|((user, _), session)| *user == most && !session.leased);
    let oldest = idle.min_by_key(|(_, session)| session.used);
    let Some(key) = oldest.map(|(key, _)| key.clone()) else {
        return false;
    };
    table.remove(&key).is_some()
}

/// A session in the hands of one request. Dropping it gives it back.
#[derive(Debug)]
pub struct Lease {
    sessions: Sessions,
    key: Key,
    turns: Vec<Turn>,
    personality: Option<String>,
    secrecy: Secrecy,
}

/// How confidential something is, and whether it has to stay on this machine in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Secrecy {
    /// The label.
    pub label: Label,
    /// Somebody said that it may not leave.
    pub stays: bool,
}

impl Lease {
    /// Adds what a request says about itself: what was once confidential makes all confidential
    /// that follows, since it is said again with each turn.
    pub fn add_secrecy(&mut self, of_request: Secrecy) -> Secrecy {
        self.secrecy.label = self.secrecy.label.max(of_request.label);
        self.secrecy.stays |= of_request.stays;
        self.secrecy
    }

    /// The session's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.key.1
    }

    /// What was said before.
    #[must_use]
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// Who answers in it, if that was said; empty: nobody in particular.
    #[must_use]
    pub fn personality(&self) -> Option<&str> {
        self.personality.as_deref()
    }

    /// Says who answers in it from now on.
    pub fn set_personality(&mut self, name: String) {
        self.personality = Some(name);
    }

    /// Adds what was said now. Without it the session stays as it was.
    pub fn append(&mut self, turns: impl IntoIterator<Item = Turn>) {
        self.turns.extend(turns);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let turns = std::mem::take(&mut self.turns);
        let mut table = self.sessions.lock();
        if turns.is_empty() {
            // Its first request failed: nothing to keep.
            table.remove(&self.key);
        } else if let Some(session) = table.get_mut(&self.key) {
            session.turns = turns;
            session.personality = self.personality.take();
            session.secrecy = self.secrecy;
            session.used = Instant::now();
            session.leased = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use fazai_models::chat::Speaker;

    use super::*;

    fn turn(content: &str) -> Turn {
        Turn {
            role: Speaker::User,
            content: content.to_owned(),
        }
    }

    fn limits() -> Limits {
        Limits {
            sessions_max: 2,
            session_bytes_max: 10,
            ..Limits::default()
        }
    }

    #[test]
    fn what_was_said_is_there_next_time_for_the_same_user_only() {
        let sessions = Sessions::default();
        let mut lease = sessions.lease(User::Uid(1), "a", &limits()).expect("new");
        assert_eq!(
            sessions
                .lease(User::Uid(1), "a", &limits())
                .expect_err("taken"),
            SessionError::Busy("a".into())
        );
        lease.append([turn("hello")]);
        drop(lease);
        let again = sessions.lease(User::Uid(1), "a", &limits()).expect("kept");
        assert_eq!(again.turns(), [turn("hello")]);
        let other = sessions.lease(User::Uid(2), "a", &limits()).expect("new");
        assert!(other.turns().is_empty());
    }

    #[test]
    fn numbers_lengths_and_ages_are_limited() {
        let sessions = Sessions::default();
        for name in ["a", "b"] {
            let mut lease = sessions.lease(User::Tcp, name, &limits()).expect("room");
            lease.append([turn("0123456789ab")]);
        }
        let refused = |name, limits: &Limits| sessions.lease(User::Tcp, name, limits).err();
        assert!(matches!(
            refused("a", &limits()),
            Some(SessionError::TooLong { bytes: 12, .. })
        ));
        let short = Limits {
            session_idle_ms_max: 0,
            ..limits()
        };
        assert_eq!(refused("c", &short), None, "the old ones were forgotten");
        assert_eq!(sessions.count(), 0, "and an empty one is not kept");
    }

    #[test]
    fn who_keeps_the_most_loses_the_oldest_that_is_idle() {
        let sessions = Sessions::default();
        let limits = Limits {
            sessions_max: 3,
            ..Limits::default()
        };
        let keep = |user, name: &str| {
            let mut lease = sessions.lease(user, name, &limits).expect("room");
            lease.append([turn("x")]);
        };
        let (greedy, other) = (User::Uid(1), User::Uid(2));
        keep(other, "only");
        keep(greedy, "old");
        keep(greedy, "new");
        keep(greedy, "newer");
        let held: Vec<Lease> = [(other, "only"), (greedy, "new"), (greedy, "newer")]
            .map(|(user, name)| sessions.lease(user, name, &limits).expect("kept"))
            .into();
        assert!(held.iter().all(|lease| lease.turns() == [turn("x")]));
        let full = sessions.lease(other, "second", &limits).err();
        assert_eq!(full, Some(SessionError::TooMany(3)), "all are in use");
    }
}
