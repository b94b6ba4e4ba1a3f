//! One line of the record.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::action::{Action, Cut};
use crate::approval::Choice;
use crate::caller::Caller;
use crate::policy::Decision;
use crate::seen::Seen;

/// The longest line, in bytes.
pub const ENTRY_BYTES_MAX: usize = 64 * 1024;

/// A sha256, written as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

/// One line of the record, as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counted from 1, through all files.
    pub seq: u64,
    /// The wall clock, RFC 3339 with nanoseconds, in UTC.
    pub time: jiff::Timestamp,
    /// Nanoseconds since the machine started; never goes back, also when somebody sets the clock.
    pub monotonic_ns: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// The hash of the line before.
    pub previous: Hash,
    /// sha256 over `previous` and this line as it is without its own hash.
    pub hash: Hash,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is written at once"
)]
pub enum Event {
    /// A file begins; in the first one of all, the record.
    Opened {
        /// The file before it, whose last hash is in `previous`.
        #[serde(skip_serializing_if = "Option::is_none")]
        continues: Option<String>,
    },
    /// The policy decided, before anything was done.
    Decided {
        /// What the later entries about it name.
        permit: u64,
        /// Who wanted it.
        caller: Caller,
        /// What is to be done.
        action: Action,
        /// What the action was, where it was denied and only its beginning is written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cut: Option<Cut>,
        /// What a person was shown of its programs, scripts and paths.
        #[serde(flatten)]
        seen: Box<Seen>,
        /// What the policy said.
        decision: Box<Decision>,
        /// The id of the question that it asks, or that was answered with a yes.
        #[serde(skip_serializing_if = "Option::is_none")]
        question: Option<String>,
        /// Who approved it, where the policy asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        approved_by: Option<Caller>,
    },
    /// More was denied than is written each: see the entries before it for what it was.
    DeniedMore {
        /// To whom; none: to several callers.
        #[serde(skip_serializing_if = "Option::is_none")]
        caller: Option<Caller>,
        /// How many times, since the last such entry.
        count: u64,
    },
    /// Somebody answered a question.
    Answered {
        /// Its id.
        question: String,
        /// Who.
        by: Caller,
        /// What.
        choice: Choice,
        /// Why, in their words.
        reason: String,
    },
    /// Somebody tried to answer a question who may not.
    AnswerRefused {
        /// Its id.
        question: String,
        /// Who.
        by: Caller,
        /// What they answered.
        choice: Choice,
    },
    /// Nobody answered a question in time.
    Expired {
        /// Its id.
        question: String,
    },
    /// Who asked a question left before it was answered.
    Withdrawn {
        /// Its id.
        question: String,
    },
    /// The action is over.
    Finished {
        /// The permit it was done with.
        permit: u64,
        /// The exit code; `None` if a signal ended it or it never started.
        exit_code: Option<i32>,
        /// sha256 of the output.
        output_sha256: Option<Hash>,
        /// How long it took, in milliseconds.
        duration_ms: u64,
        /// What went wrong besides.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A permit was given and nothing was done with it.
    Unused {
        /// The permit.
        permit: u64,
    },
    /// A crash left half a line behind, which was cut off.
    Repaired {
        /// How long the half line was, in bytes.
        cut_bytes: u64,
        /// The sha256 of what was cut off.
        cut_sha256: Hash,
    },
}

impl Hash {
    /// What the first line of all names as the hash before it.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(&text, &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// How a line ends: its own hash is the last thing in it.
const HASH_FIELD: &str = ",\"hash\":\"";

impl Entry {
    /// The line with its hash, without the newline.
    pub(super) fn seal(
        seq: u64,
        time: jiff::Timestamp,
        monotonic_ns: u64,
        event: &Event,
        previous: Hash,
    ) -> (String, Hash) {
        #[derive(Serialize)]
        struct Unsealed<'a> {
            seq: u64,
            time: jiff::Timestamp,
            monotonic_ns: u64,
            #[serde(flatten)]
            event: &'a Event,
            previous: Hash,
        }
        let unsealed = Unsealed {
            seq,
            time,
            monotonic_ns,
            event,
            previous,
        };
        let text = serde_json::to_string(&unsealed).unwrap_or_default();
        let hash = chain(previous, &text);
        // The text that is hashed is the line itself up to its hash: nothing has to be written
        // again in a canonical form to be checked.
        let open = text.strip_suffix('}').unwrap_or(&text);
        (format!("{open}{HASH_FIELD}{hash}\"}}"), hash)
    }

    /// Reads a line and checks it against its own hash.
    pub(super) fn read(line: &str) -> Result<Self, String> {
        let entry: Self =
            serde_json::from_str(line).map_err(|error| format!("it is no audit entry: {error}"))?;
        let end = format!("{HASH_FIELD}{}\"}}", entry.hash);
        let open = line
            .strip_suffix(&end)
            .ok_or("its hash is not at its end: it was edited")?;
        match chain(entry.previous, &format!("{open}}}")) == entry.hash {
            true => Ok(entry),
            false => Err("its text does not have its hash: it was edited".into()),
        }
    }
}

fn chain(previous: Hash, text: &str) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(previous.0);
    hasher.update(text.as_bytes());
    Hash(hasher.finalize().into())
}
