//! What FazAI may do on the machine: understood, judged, asked for, and recorded.
//!
//! The way of one action, file by file:
//!
//! | file | what it owns |
//! |---|---|
//! | `action.rs`, `caller.rs` | what is to be done, and on whose behalf, as data |
//! | `shell.rs`, `shell/` | a command text becomes the commands that it would run |
//! | `path.rs` | paths as text: resolved and compared without looking at the disk |
//! | `disk.rs` | what a judgement asks the disk: links, names in a directory, homes |
//! | `reach.rs` | where the words of a command lead: as they are written, and on the disk |
//! | `blocked.rs`, `blocked/` | patterns that no profile opens |
//! | `policy.rs`, `policy/` | `policy.toml`, its profiles, and the decision |
//! | `approval.rs`, `approval/` | questions to people, their deadlines and answers |
//! | `seen.rs`, `seen/` | what they were shown of its programs, scripts and paths, and that it still is so |
//! | `audit.rs`, `audit/` | the record of it all, which can't be changed unnoticed |
//! | `gate.rs` | the one way to a [`Permit`], through all of the above |
//! | `run.rs`, `run/` | a command with a permit: run, watched, and ended in time |
//! | `text.rs` | texts of strangers, for people |
//!
//! Only the gate makes a [`Permit`], and whatever has a side effect takes one.
//! Nothing here knows the worker, its protocol or its models.

#[cfg(not(target_os = "linux"))]
compile_error!("the audit log relies on Linux: O_APPEND, flock, fdatasync and the boot clock");

mod action;
mod approval;
mod audit;
mod blocked;
mod caller;
mod disk;
mod gate;
mod path;
mod policy;
mod reach;
mod run;
mod seen;
mod shell;
mod text;

pub use self::action::{Action, Cut, Exec, Input, Kind, Right, ToolCall, not_installed};
pub use self::approval::{
    ANSWERED_MAX, ApprovalError, ApprovalId, Approvals, Approved, Approvers, Choice, GRANT_LIFE,
    GRANTS_MAX, PENDING_MAX, PENDING_OF_ONE_MAX, Pending, Question, REASON_BYTES_MAX, Unanswered,
    Waiting,
};
pub use self::audit::{
    AuditError, AuditLog, AuditOptions, ENTRY_BYTES_MAX, Entry, Event, Finding, Hash, Head,
    Problem, Report, verify,
};
pub use self::blocked::{Blocked, blocked, blocked_write};
pub use self::caller::{Caller, User};
pub use self::disk::{Disk, Machine, Name, real_path};
pub use self::gate::{Gate, GateError, Outcome, Passage, Permit, Request};
pub use self::policy::{
    Decision, OwnFiles, POLICY_BYTES_MAX, Policy, PolicyError, READY_PROFILES, RealPath, Risk,
    Verdict, ready_profile,
};
pub use self::run::{
    Confinement, Ended, Exited, GroupLimits, Groups, How, OUTPUT_DROPPED_BYTES_MAX,
    PIECE_BYTES_MAX, Piece, Process, RunError, Source, Started, Stat, Why, adopt_orphans,
    adopts_orphans, confined_main, run, start,
};
pub use self::seen::{Became, Changed, Does, Lead, Seen, SeenFile};
pub use self::shell::{
    Access, COMMAND_BYTES_MAX, COMMANDS_MAX, Command, NESTING_MAX, Opaque, Refused, Script, Touch,
    Word, files_of, rollback, touches,
};
