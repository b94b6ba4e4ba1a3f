//! The way back, also where a mark comes in two pieces.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Puts secrets back into a stream of text.
pub struct Restorer {
    secrets: Arc<BTreeMap<String, String>>,
    /// The longest mark, in bytes.
    longest: usize,
    /// What may be the beginning of a mark.
    held: String,
    json: bool,
}

impl std::fmt::Debug for Restorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restorer")
            .field("marks", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

impl Restorer {
    pub(super) fn new(secrets: Arc<BTreeMap<String, String>>, json: bool) -> Self {
        Self {
            longest: secrets.keys().map(String::len).max().unwrap_or_default(),
            secrets,
            held: String::new(),
            json,
        }
    }

    /// Takes the next piece, and answers what can be shown now.
    pub fn push(&mut self, piece: &str) -> String {
        if self.secrets.is_empty() {
            return piece.to_owned();
        }
        self.held.push_str(piece);
        let held = std::mem::take(&mut self.held);
        let mut shown = String::with_capacity(held.len());
        let mut rest = held.as_str();
        while let Some(at) = rest.find('[') {
            shown.push_str(&rest[..at]);
            rest = &rest[at..];
            let end = rest.bytes().take(self.longest).position(|b| b == b']');
            let whole = end.and_then(|end| self.secrets.get_key_value(&rest[..=end]));
            if let Some((mark, secret)) = whole {
                shown.push_str(&self.written(secret));
                rest = &rest[mark.len()..];
            } else if self.begins_a_mark(rest) {
                rest.clone_into(&mut self.held);
                return shown;
            } else {
                shown.push('[');
                rest = &rest[1..];
            }
        }
        shown + rest
    }

    fn begins_a_mark(&self, text: &str) -> bool {
        let bounds = (Bound::Included(text), Bound::Unbounded);
        let mut from = self.secrets.range::<str, _>(bounds);
        from.next().is_some_and(|(mark, _)| mark.starts_with(text))
    }

    /// A whole text that is JSON, apart from the stream.
    #[must_use]
    pub fn whole_json(&self, text: &str) -> String {
        let mut other = Self::new(Arc::clone(&self.secrets), true);
        other.push(text) + &other.finish()
    }

    /// What was held back when the stream ended.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Inside of JSON a secret has to be a part of a string.
    fn written(&self, secret: &str) -> String {
        if !self.json {
            return secret.to_owned();
        }
        let quoted = serde_json::Value::from(secret).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn restorer(json: bool) -> Restorer {
        let secrets = [
            ("[IP_1]", "10.0.0.1"),
            ("[IP_10]", "10.0.0.10"),
            ("[KEY_1]", "a\"b\\"),
        ];
        let secrets = secrets.map(|(mark, secret)| (mark.to_owned(), secret.to_owned()));
        Restorer::new(Arc::new(secrets.into()), json)
    }

    #[test]
    fn a_secret_stays_inside_of_its_string() {
        let text = restorer(true).push(r#"{"k":"[KEY_1]"}"#);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["k"], "a\"b\\");
    }

    #[test]
    fn nothing_is_held_back_that_can_be_no_mark() {
        let mut restorer = restorer(false);
        assert_eq!(restorer.push("a [x] ["), "a [x] ");
        assert_eq!(restorer.push("I"), "");
        assert_eq!(restorer.push("P_1"), "");
        assert_eq!(restorer.push("0] é[[IP_1]"), "10.0.0.10 é[10.0.0.1");
        assert_eq!(restorer.push("[KEY_"), "");
        assert_eq!(restorer.finish(), "[KEY_");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(parts in prop::collection::vec("\\[IP_1\\]|\\[IP_10\\]|\\[|\\]|IP|é|[a-z]", 0..40), cuts in prop::collection::vec(1usize..7, 1..60)) {
            let text: String = parts.concat();
            let mut whole = restorer(false);
            let expected = whole.push(&text) + &whole.finish();
            let mut pieces = restorer(false);
            let mut got = String::new();
            let mut chars = text.chars().peekable();
            let mut cuts = cuts.iter().cycle();
            while chars.peek().is_some() {
                let piece: String = chars.by_ref().take(*cuts.next().unwrap()).collect();
                got += &pieces.push(&piece);
            }
            got += &pieces.finish();
            prop_assert_eq!(got, expected);
        }
    }
}
