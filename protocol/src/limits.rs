//! Every bound that a client can meet, named with its unit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the worker accepts. `hello` reports the values in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Longest request line, in bytes, without its newline.
    pub line_bytes_max: usize,
    /// Longest `action_id`, in bytes.
    pub action_id_bytes_max: usize,
    /// Connections open at once, over all sockets.
    pub connections_max: usize,
    /// Requests of one connection that may be unanswered at once.
    pub in_flight_max: usize,
    /// Requests that may wait for a slot, over all users, for each model.
    pub waiting_requests_max: usize,
    /// Prompt tokens of all waiting requests together, for each model.
    pub waiting_prompt_tokens_max: usize,
    /// Largest `max_tokens`; larger values are refused.
    pub output_tokens_max: u32,
    /// Messages in one request.
    pub messages_max: usize,
    /// Stop strings in one request.
    pub stop_max: usize,
    /// Longest stop string, in bytes.
    pub stop_bytes_max: usize,
    /// Longest `json_schema`, `regex` or `lark`, in bytes.
    pub grammar_bytes_max: usize,
    /// Largest `logprobs`.
    pub logprobs_max: u8,
    /// Longest text of one `tokenize`, in bytes.
    pub tokenize_bytes_max: usize,
    /// Sessions kept at once, over all users.
    pub sessions_max: usize,
    /// Text that one session may hold, in bytes.
    pub session_bytes_max: usize,
    /// A session that is idle for longer is forgotten.
    pub session_idle_ms_max: u64,
    /// `ask` requests of one user at once; 0: no limit.
    pub user_requests_at_once_max: u64,
    /// `ask` requests of one user for each minute; 0: no limit.
    pub user_requests_per_minute_max: u64,
    /// Tokens of one user for each minute, computed and written; 0: no limit.
    pub user_tokens_per_minute_max: u64,
    /// A client that takes nothing for longer, while lines wait for it, is disconnected.
    pub write_stall_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes_max: 1 << 20,
            action_id_bytes_max: 128,
            connections_max: 1024,
            in_flight_max: 64,
            waiting_requests_max: 256,
            waiting_prompt_tokens_max: 262_144,
            output_tokens_max: 16_384,
            messages_max: 512,
            stop_max: 16,
            stop_bytes_max: 256,
            grammar_bytes_max: 65_536,
            logprobs_max: 20,
            tokenize_bytes_max: 128 << 10,
            sessions_max: 256,
            session_bytes_max: 1 << 20,
            session_idle_ms_max: 3_600_000,
            user_requests_at_once_max: 0,
            user_requests_per_minute_max: 0,
            user_tokens_per_minute_max: 0,
            write_stall_ms_max: 60_000,
        }
    }
}
