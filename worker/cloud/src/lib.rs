//! Models of others: whether a request may leave this machine, what of it leaves, what it costs,
//! and who answered.
//!
//! | file | what it owns |
//! |---|---|
//! | `cloud.rs` | [`Cloud`], what a worker opens |
//! | `cloud/asking.rs` | providers in their order, until one answers |
//! | `endpoint.rs` | one of them: its connections, its keys, its breaker |
//! | `route.rs` | the pure decision: local, cloud, wait or refuse, with every reason |
//! | `request.rs` | what is asked and what comes back, without any provider's words |
//! | `settings.rs` | providers, limits and times, as plain data |
//! | `provider.rs`, `provider/` | each wire format: a request to bytes, frames to events |
//! | `http.rs`, `frames.rs` | one connection: where it goes, with which key, and how frames are cut |
//! | `attempt.rs` | one provider's answer, with its four times and its limits |
//! | `answer.rs` | the answer that a caller reads: secrets restored, cost settled however it ends |
//! | `keys.rs` | where keys are, which one is used, which one rests |
//! | `program.rs` | programs that the settings name |
//! | `breaker.rs` | providers that fail are left alone |
//! | `redact.rs`, `redact/` | what is taken out before sending, and put back into the answer |
//! | `budget.rs`, `budget/` | reserved before, settled after, kept across a `kill -9` |
//! | `prices.rs` | what tokens cost |
//! | `documentation.rs` | documentation that is looked up at a server |
//! | `embeddings.rs` | vectors of texts, from a server |
//! | `schema.rs` | whether an answer is the JSON that was asked for |
//! | `cache.rs` | identical requests at temperature 0 |
//! | `error.rs` | everything that can go wrong |

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test fails by a panic"))]

mod answer;
mod attempt;
pub mod breaker;
pub mod budget;
pub mod cache;
mod cloud;
pub mod documentation;
pub mod embeddings;
mod endpoint;
pub mod error;
mod frames;
mod http;
pub mod keys;
pub mod prices;
pub mod program;
pub mod provider;
pub mod redact;
pub mod request;
pub mod route;
mod schema;
pub mod settings;

pub use self::answer::{Answer, Finished, Piece, Provenance};
pub use self::budget::{Amount, BudgetError, Ledger};
pub use self::cloud::{Cloud, DryRun, Gate, Who};
pub use self::error::{CloudError, Failure, FailureKind};
pub use self::keys::{Key, KeySource};
pub use self::request::{Finish, Label, Message, Request, Role, Tool, ToolCall, Usage};
pub use self::settings::{ProviderSettings, Settings};
