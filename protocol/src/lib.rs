//! The `fazai/1` protocol: one JSON object per line, in both directions.
//!
//! A client writes [`Request`] lines; the worker answers each with any number of
//! stream lines and exactly one terminal [`Done`] line, all carrying the client's
//! `action_id`. PROTOCOL.md at the repository's root is the reader's version of this
//! crate; its examples are replayed by a test.
//!
//! This crate does no IO unless the feature `client` is on.

#[cfg(feature = "client")]
pub mod client;
mod error;
mod frame;
mod limits;
mod parse;
mod reply;
mod request;
mod schema;

pub use error::{ErrorCode, Fault, WireError};
pub use frame::{Frame, LineFramer};
pub use limits::Limits;
pub use parse::{ACTIONS, ParseFailure, parse_request};
pub use reply::{
    Accepted, Approval, Done, FinishReason, IncidentKind, IncidentLine, IngestLine, Line, Metadata,
    Phase, Progress, Route, ShellEvent, ShellLine, Source, Status, Step, StepState, TextLine,
    TokenLogprob, TopLogprob, Usage, Warning,
};
pub use request::{
    ActionId, ApprovalDecision, ApproveParams, Ask, AskParams, Call, CommitParams, EmbedParams,
    EventParams, HelloParams, IncidentsParams, KbCall, KbParams, Label, Message, ModelsParams,
    ModuleCall, ModuleParams, NoParams, OnInterrupt, Operation, Overflow, PersonalityParams,
    PlanCall, PlanParams, Priority, Quality, Request, ResearchParams, Role, RunsCall, Secret,
    Severity, ShellCall, ShellParams, SubscribeParams, Think, TokenizeParams, ToolCall, ToolParams,
};
pub use schema::{reply_schema, request_schema};

/// The dialect's name and version, as `hello` reports it.
pub const VERSION: &str = "fazai/1";
