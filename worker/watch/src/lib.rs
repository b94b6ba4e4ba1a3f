//! Events of sensors and logs become incidents, judged by rules and by a model, acted on within
//! limits.
//!
//! | file | what it owns |
//! |---|---|
//! | `input.rs`, `input/` | bytes: files that rotate, sockets; lines of limited length |
//! | `format.rs`, `format/` | which tool wrote a line, and what it says |
//! | `event.rs`, `time.rs` | one event; its time |
//! | `signature.rs` | patterns of attacks in requests |
//! | `detect.rs`, `detect/` | from events to findings: counters over windows, in bounded memory |
//! | `incident.rs`, `incident/` | findings grouped, with their evidence |
//! | `watch.rs` | all of that in a row |
//! | `judge.rs`, `judge/` | a model's opinion: the prompt, the check of its answer |
//! | `action.rs` | what may be done, by rules |
//! | `journal.rs` | lines on the disk, to which is only added |
//! | `enforce.rs`, `enforce/` | blocks: allow-list, caps, the ledger, the firewall |
//!
//! Nothing here knows a model, a policy or a socket of the worker: it brings them.

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test fails by a panic"))]

pub mod action;
pub mod detect;
pub mod enforce;
pub mod event;
pub mod format;
pub mod incident;
pub mod input;
pub mod journal;
pub mod judge;
pub mod signature;
pub mod time;
pub mod watch;

pub use self::event::{Category, Event, Severity};
pub use self::incident::{Incident, Place};
pub use self::watch::Watch;
