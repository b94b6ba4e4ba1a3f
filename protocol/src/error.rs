//! The failures that a client can see: a stable code, whose fault it is, whether to retry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who has to change something before the same request can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request itself is wrong.
    Client,
    /// The worker is busy, stopping or short of something; later or elsewhere it may work.
    Load,
    /// The worker or its configuration is wrong.
    Worker,
}

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal, $fault:ident, $retry:literal;)+) => {
        /// A stable name for a kind of failure.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $variant,)+
        }

        impl ErrorCode {
            /// Every code, in the order of PROTOCOL.md.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Whose fault it is.
            #[must_use]
            pub fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault),+ }
            }

            /// Whether the same request may succeed later without a change.
            #[must_use]
            pub fn retryable(self) -> bool {
                match self { $(Self::$variant => $retry),+ }
            }

            /// One sentence for the documentation.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

error_codes! {
    /// The line is not JSON, or not UTF-8.
    ParseError = "parse_error", Client, false;
    /// The line crossed `line_bytes_max`; what follows its newline is read as usual.
    LineTooLong = "line_too_long", Client, false;
    /// The object lacks something, or a top-level key has the wrong type.
    InvalidRequest = "invalid_request", Client, false;
    /// A name or value inside `params` is wrong.
    InvalidParams = "invalid_params", Client, false;
    /// No such action; the message names the nearest one.
    UnknownAction = "unknown_action", Client, false;
    /// The connection already has an unanswered request with this `action_id`.
    DuplicateId = "duplicate_id", Client, false;
    /// The connection has `in_flight_max` unanswered requests.
    TooManyRequests = "too_many_requests", Load, true;
    /// The queue of the model is full.
    Overloaded = "overloaded", Load, true;
    /// The prompt does not fit the context.
    ContextOverflow = "context_overflow", Client, false;
    /// The schema, regular expression or grammar can't be used.
    InvalidGrammar = "invalid_grammar", Client, false;
    /// No model of that name is known.
    ModelNotFound = "model_not_found", Client, false;
    /// The model does not fit into the memory that is free.
    ModelTooLarge = "model_too_large", Load, true;
    /// The model file is not one that can be loaded.
    ModelUnreadable = "model_unreadable", Worker, false;
    /// The model or the settings can't do what was asked (embeddings from a backend without them, say).
    NotSupported = "not_supported", Client, false;
    /// No native module of that name is there.
    ModuleNotFound = "module_not_found", Client, false;
    /// The module's file broke a rule, or could not be loaded; the message names what.
    ModuleRefused = "module_refused", Worker, false;
    /// The module answered the command with an error of its own; `result` has its words.
    ModuleError = "module_error", Client, false;
    /// The module crashed, hung or ended during the call; the next call starts it again.
    ModuleFailed = "module_failed", Worker, false;
    /// The module is busy, restarting, in quarantine or unloaded.
    ModuleUnavailable = "module_unavailable", Load, true;
    /// There is no tool of that name.
    ToolNotFound = "tool_not_found", Client, false;
    /// The tool is there and can't be used; the message says why.
    ToolBroken = "tool_broken", Worker, false;
    /// The tool ran and failed; the message has its words.
    ToolFailed = "tool_failed", Client, false;
    /// What the tool needs is not there: an interpreter, a server, a command.
    ToolUnavailable = "tool_unavailable", Worker, true;
    /// There is no such run, or it is another user's.
    RunNotFound = "run_not_found", Client, false;
    /// The memory does not answer, or is in use by another worker.
    MemoryUnavailable = "memory_unavailable", Load, true;
    /// Nothing that the user may see has that id.
    MemoryNotFound = "memory_not_found", Client, false;
    /// There is no such incident or block; old ones are forgotten.
    IncidentNotFound = "incident_not_found", Client, false;
    /// Incidents and blocks can't be kept, or the firewall does not do its part.
    WatchUnavailable = "watch_unavailable", Worker, true;
    /// The policy does not allow it, or nobody said yes in time; the message names the rule.
    Denied = "denied", Client, false;
    /// There is no such question, or it was answered already, or too late, or who asked has left.
    ApprovalNotFound = "approval_not_found", Client, false;
    /// What is done can't be recorded, so nothing is done; answers go on.
    AuditUnavailable = "audit_unavailable", Worker, true;
    /// The command could not be started.
    CommandFailed = "command_failed", Client, false;
    /// The model wrote no plan that can be read.
    PlanFailed = "plan_failed", Worker, true;
    /// No provider in the cloud gave an answer; the message has each one's failure.
    UpstreamFailed = "upstream_failed", Load, true;
    /// The provider's answer was cut; `result` has the text so far, `usage` what it cost.
    UpstreamInterrupted = "upstream_interrupted", Load, true;
    /// It would cost more than is left; the message has the limit and when it begins anew.
    BudgetExceeded = "budget_exceeded", Load, true;
    /// The cloud can't be used: its settings, its prices or the record of what was spent.
    CloudUnavailable = "cloud_unavailable", Worker, false;
    /// Somebody cancelled the request before there was an answer.
    Cancelled = "cancelled", Client, false;
    /// Another request is using this session.
    SessionBusy = "session_busy", Load, true;
    /// The session, or the number of sessions, reached its limit.
    SessionLimit = "session_limit", Load, true;
    /// The deadline passed before there was an answer.
    DeadlineExceeded = "deadline_exceeded", Load, true;
    /// By the measured speed the first token would come after the deadline; nothing was computed.
    WouldMissDeadline = "would_miss_deadline", Load, true;
    /// The user has had its requests or tokens for this minute, or as many at once as it may.
    QuotaExceeded = "quota_exceeded", Load, true;
    /// The connection must name its token in `hello` first, or the token is wrong.
    Unauthorized = "unauthorized", Client, false;
    /// This user may not do that.
    Forbidden = "forbidden", Client, false;
    /// The worker is stopping.
    ShuttingDown = "shutting_down", Load, true;
    /// The engine stopped working; the worker starts it again.
    EngineFailed = "engine_failed", Worker, true;
    /// A defect of the worker: please report it.
    Internal = "internal", Worker, false;
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What went wrong and what to do next, as `done.error` carries it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{code}: {message}")]
pub struct WireError {
    /// The stable name of the failure.
    pub code: ErrorCode,
    /// What happened, with the numbers.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// When to try again, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl WireError {
    /// An error whose `retryable` follows from its code.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            retryable: code.retryable(),
            retry_after_ms: None,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub fn with_retry_after_ms(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_wire_are_the_documented_ones() {
        for &code in ErrorCode::ALL {
            let on_wire = serde_json::to_value(code).expect("a code serializes");
            assert_eq!(on_wire, code.as_str());
            assert!(!code.meaning().is_empty());
        }
    }
}
