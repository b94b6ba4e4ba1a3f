//! What is known of a request while it runs, and what of it is written down.

use std::sync::{Arc, Mutex};

use fazai_cloud::Label;
use fazai_protocol::{Done, ErrorCode, Operation};
use serde::Serialize;

use crate::live::User;
use crate::lock::lock;
use crate::sessions::Secrecy;

/// How much of a text is looked at for secrets, and how much of it is kept, in bytes. At the end of
/// the one may be half a secret. It would have to be made of secrets nearly all to become so short
/// that its end is kept.
const LOOKED_BYTES: usize = 256 << 10;
const ASKED_BYTES: usize = 2 << 10;
const RESULT_BYTES: usize = 1 << 10;
const DEED_BYTES: usize = 160;
/// How many things that were done are named.
const DEEDS_MAX: usize = 24;

/// What is done for a request, past the gate, and how confidential it is; none: nobody writes it
/// down.
#[derive(Clone, Default)]
pub(crate) struct Deeds(Option<Arc<Mutex<Known>>>);

#[derive(Default)]
struct Known {
    named: Vec<String>,
    more: usize,
    /// Known once the request's session is.
    secrecy: Option<Secrecy>,
}

impl Deeds {
    /// Of a request that is written down when it is over.
    pub(crate) fn wanted() -> Self {
        Self(Some(Arc::default()))
    }

    pub(crate) fn are_wanted(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn did(&self, summary: String) {
        let Some(known) = &self.0 else { return };
        let mut done = lock(known);
        if done.named.len() < DEEDS_MAX {
            done.named.push(head(summary, LOOKED_BYTES));
        } else {
            done.more += 1;
        }
    }

    /// How confidential the request is. Where more than one knows, the most careful is believed.
    pub(crate) fn are(&self, secrecy: Secrecy) {
        let Some(known) = &self.0 else { return };
        let mut known = lock(known);
        let known = known.secrecy.get_or_insert(secrecy);
        known.label = known.label.max(secrecy.label);
        known.stays |= secrecy.stays;
    }
}

/// A request before it is answered.
pub(crate) struct Draft {
    action: &'static str,
    user: User,
    asked: String,
    /// Only its session tells how confidential it is.
    must_be_known: bool,
    deeds: Arc<Mutex<Known>>,
}

/// What came of it.
pub(crate) struct Came {
    result: String,
    error: Option<ErrorCode>,
    status: String,
    model: Option<String>,
    source: String,
    millis: u64,
}

/// A line of the record.
#[derive(Serialize)]
pub(crate) struct Episode {
    time: String,
    action: &'static str,
    user: String,
    asked: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    did: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    did_more: usize,
    result: String,
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    source: String,
    millis: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Draft {
    /// None if nobody wants it, and for what is no work: questions about the worker itself, and
    /// events, which are kept as incidents.
    pub(crate) fn of(
        action: &'static str,
        operation: &Operation,
        user: User,
        deeds: &Deeds,
    ) -> Option<Self> {
        let deeds = Arc::clone(deeds.0.as_ref()?);
        let (asked, must_be_known) = match operation {
            Operation::Ask(ask) => {
                let last = ask.messages.last().map(|message| message.content.as_str());
                let asked = Some(ask.input.as_str()).filter(|input| !input.is_empty());
                (asked.or(last).unwrap_or_default(), true)
            }
            Operation::Plan(call) => (call.input.as_str(), false),
            Operation::Shell(call) => (call.input.as_str(), false),
            Operation::Module(call) => (call.input.as_str(), false),
            Operation::Tool(call) => (call.input.as_str(), false),
            Operation::Runs(call) => (call.input.as_str(), false),
            Operation::Research(call) => (call.input.as_str(), false),
            Operation::CommitKb(call) => (call.input.as_str(), false),
            Operation::Kb(call) => (call.input.as_str(), false),
            Operation::Blocks(call) => (call.input.as_str(), false),
            _ => return None,
        };
        Some(Self {
            action,
            user,
            asked: head(asked, LOOKED_BYTES),
            must_be_known,
            deeds,
        })
    }

    /// What is written down, if anything may be.
    pub(crate) fn episode(
        self,
        came: &Came,
        leaves: bool,
        scrub: &dyn Fn(&str) -> String,
    ) -> Option<Episode> {
        let done = lock(&self.deeds);
        let may_be =
            |secrecy: Secrecy| secrecy.label != Label::Private && !(leaves && secrecy.stays);
        match done.secrecy {
            Some(secrecy) if !may_be(secrecy) => return None,
            None if self.must_be_known => return None,
            _ => {}
        }
        let plain = |c: char| c.is_control() && c != '\n';
        let kept = |text: &str, bytes: usize| head(scrub(text).replace(plain, " "), bytes);
        Some(Episode {
            time: crate::ops::timestamp(),
            action: self.action,
            user: self.user.to_string(),
            asked: kept(&self.asked, ASKED_BYTES),
            did: done
                .named
                .iter()
                .map(|deed| kept(deed, DEED_BYTES))
                .collect(),
            did_more: done.more,
            result: kept(&came.result, RESULT_BYTES),
            status: came.status.clone(),
            error: came.error,
            model: came.model.clone(),
            source: came.source.clone(),
            millis: came.millis,
        })
    }
}

impl Came {
    pub(crate) fn of(done: &Done, millis: u64) -> Self {
        let message = done.error.as_ref().map(|error| error.message.as_str());
        let result = done.result.as_deref().or(message).unwrap_or_default();
        let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            result: head(result, LOOKED_BYTES),
            error: done.error.as_ref().map(|error| error.code),
            status: word(serde_json::json!(done.metadata.status)),
            model: done.model.clone(),
            source: word(serde_json::json!(done.source)),
            millis,
        }
    }
}

/// The beginning of a text.
fn head(text: impl Into<String>, bytes: usize) -> String {
    let mut text: String = text.into();
    text.truncate(text.floor_char_boundary(bytes));
    text
}

#[cfg(test)]
mod tests {
    use fazai_protocol::{ActionId, Ask, AskParams, WireError};

    use super::*;

    fn draft(deeds: &Deeds) -> Draft {
        let ask = Ask {
            params: AskParams::default(),
            ..Ask::new("why does 10.0.0.7 not answer?")
        };
        Draft::of("ask", &Operation::Ask(Box::new(ask)), User::Uid(7), deeds).expect("a draft")
    }

    fn came() -> Came {
        let answer = "It is off. ".repeat(1000);
        let failed = WireError::new(ErrorCode::Internal, "it failed");
        let done = crate::ops::failed(ActionId::default(), failed);
        Came::of(
            &Done {
                result: Some(answer),
                error: None,
                ..done
            },
            5,
        )
    }

    fn secrecy(label: Label, stays: bool) -> Secrecy {
        Secrecy { label, stays }
    }

    #[test]
    fn what_is_private_or_not_known_to_be_otherwise_is_not_written_down() {
        let scrub = |text: &str| text.to_owned();
        for (known, leaves, expected) in [
            (None, false, false),
            (Some(secrecy(Label::Private, false)), false, false),
            (Some(secrecy(Label::Internal, false)), true, true),
            (Some(secrecy(Label::Internal, true)), true, false),
            (Some(secrecy(Label::Internal, true)), false, true),
        ] {
            let deeds = Deeds::wanted();
            known.into_iter().for_each(|known| deeds.are(known));
            let written = draft(&deeds).episode(&came(), leaves, &scrub);
            assert_eq!(written.is_some(), expected, "{known:?} {leaves}");
        }
        let deeds = Deeds::wanted();
        deeds.are(secrecy(Label::Private, false));
        deeds.are(secrecy(Label::Public, false));
        assert!(draft(&deeds).episode(&came(), false, &scrub).is_none());
    }

    #[test]
    fn a_line_is_short_and_has_no_secrets() {
        let deeds = Deeds::wanted();
        deeds.are(secrecy(Label::Public, false));
        for number in 0..100 {
            deeds.did(format!("run {number} {}", "\"\u{1}".repeat(9000)));
        }
        let scrub = |text: &str| text.replace("10.0.0.7", "[IP_1]");
        let line = draft(&deeds)
            .episode(&came(), false, &scrub)
            .expect("an episode");
        assert_eq!((line.did.len(), line.did_more), (DEEDS_MAX, 76));
        assert_eq!(line.asked, "why does [IP_1] not answer?");
        let line = serde_json::to_string(&line).expect("JSON");
        assert!(
            line.len() <= fazai_memory::episodes::LINE_BYTES_MAX,
            "{}",
            line.len()
        );
    }
}
