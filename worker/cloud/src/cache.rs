//! Answers to identical requests at temperature 0, in memory. Off unless it is given a size.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::answer::Finished;
use crate::request::{Label, Request};

/// Which answer it is: of this request, to these providers, and to this user unless it is public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey([u8; 32]);

/// Answers, the oldest of which go first.
#[derive(Debug, Default)]
pub struct Cache {
    bytes_max: usize,
    age_max: Duration,
    bytes: usize,
    kept: HashMap<CacheKey, Kept>,
    order: VecDeque<CacheKey>,
}

#[derive(Debug)]
struct Kept {
    text: String,
    finished: Finished,
    since: Instant,
}

impl CacheKey {
    /// The key of a request, if its answer may be kept at all.
    #[must_use]
    pub fn of(providers: &[String], request: &Request, user: &str, label: Label) -> Option<Self> {
        let repeatable = request.temperature == Some(0.0) && request.tools.is_empty();
        if !repeatable || label == Label::Private {
            return None;
        }
        let user = match label {
            Label::Public => "",
            _ => user,
        };
        let whole = serde_json::to_vec(&(label, user, providers, request)).ok()?;
        Some(Self(Sha256::digest(whole).into()))
    }
}

impl Cache {
    /// A cache of this size; 0: none.
    #[must_use]
    pub fn new(bytes_max: usize, age_max: Duration) -> Self {
        Self {
            bytes_max,
            age_max,
            ..Self::default()
        }
    }

    /// The answer to this request, if there is one that is not too old.
    pub fn get(&mut self, key: &CacheKey, now: Instant) -> Option<(String, Finished)> {
        self.drop_old(now);
        let kept = self.kept.get(key)?;
        Some((kept.text.clone(), kept.finished.clone()))
    }

    /// Keeps an answer.
    pub fn put(&mut self, key: CacheKey, text: String, finished: Finished, now: Instant) {
        let bytes = text.len();
        // One answer does not drive out all others.
        if bytes > self.bytes_max / 4 || self.kept.contains_key(&key) {
            return;
        }
        self.drop_old(now);
        while self.bytes + bytes > self.bytes_max && self.drop_first() {}
        self.bytes += bytes;
        self.order.push_back(key);
        self.kept.insert(
            key,
            Kept {
                text,
                finished,
                since: now,
            },
        );
    }

    fn drop_old(&mut self, now: Instant) {
        let age_max = self.age_max;
        let too_old = |kept: &Kept| now.saturating_duration_since(kept.since) > age_max;
        while self
            .order
            .front()
            .and_then(|key| self.kept.get(key))
            .is_some_and(too_old)
        {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) -> bool {
        let Some(key) = self.order.pop_front() else {
            return false;
        };
        if let Some(kept) = self.kept.remove(&key) {
            self.bytes -= kept.text.len();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Message, Role};

    fn request(temperature: f32) -> Request {
        Request {
            messages: vec![Message::new(Role::User, "hi")],
            temperature: Some(temperature),
            ..Request::default()
        }
    }

    fn key(text: &str) -> CacheKey {
        let mut request = request(0.0);
        request.messages[0].content = text.to_owned();
        CacheKey::of(&[], &request, "u", Label::Public).unwrap()
    }

    #[test]
    fn only_what_may_be_shared_is_shared() {
        let of = |request: &Request, user, label| CacheKey::of(&["a".into()], request, user, label);
        let cold = request(0.0);
        assert_eq!(of(&cold, "u", Label::Private), None);
        assert_eq!(of(&request(0.1), "u", Label::Public), None);
        assert_eq!(of(&cold, "u", Label::Public), of(&cold, "v", Label::Public));
        assert_ne!(
            of(&cold, "u", Label::Internal),
            of(&cold, "v", Label::Internal)
        );
        assert_ne!(
            of(&cold, "u", Label::Public),
            CacheKey::of(&["b".into()], &cold, "u", Label::Public)
        );
    }

    #[test]
    fn size_and_age_have_an_end() {
        let now = Instant::now();
        let mut cache = Cache::new(40, Duration::from_secs(60));
        for number in 0..9 {
            let name = number.to_string();
            cache.put(key(&name), "x".repeat(10), Finished::default(), now);
        }
        assert!(cache.get(&key("4"), now).is_none());
        assert!(cache.get(&key("5"), now).is_some());
        cache.put(key("long"), "x".repeat(11), Finished::default(), now);
        assert!(cache.get(&key("long"), now).is_none());
        assert!(
            cache
                .get(&key("8"), now + Duration::from_secs(61))
                .is_none()
        );
        assert_eq!(cache.bytes, 0);
        let mut off = Cache::new(0, Duration::from_secs(60));
        off.put(key("a"), "x".into(), Finished::default(), now);
        assert!(off.get(&key("a"), now).is_none());
    }
}
