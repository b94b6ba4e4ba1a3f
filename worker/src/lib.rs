//! FazAI worker: local models behind a line-delimited JSON socket, as a library.
//!
//! [`Worker`] holds everything that runs; [`server`] lets clients in, [`ops`] has one file for
//! each operation, [`registry`] owns the loaded models, [`sessions`] the conversations.
//! The program `fazai` is a thin layer over this crate; `examples/embedded.rs` is another one.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use fazai::Worker;
//! use fazai::config::Settings;
//! use fazai_protocol::Ask;
//!
//! let worker = Worker::start(Settings::default());
//! let answer = worker.client().ask(Ask::new("What does exit code 137 mean?")).await?;
//! println!("{}", answer.done().await?.result.unwrap_or_default());
//! worker.stop().await;
//! # Ok(())
//! # }
//! ```

mod acting;
mod cloud;
pub mod config;
mod episodes;
mod errors;
mod live;
mod lock;
mod memory;
mod modules;
pub mod ops;
mod outgoing;
mod places;
pub mod policy;
mod process;
mod quota;
pub mod registry;
mod runs;
pub mod server;
pub mod sessions;
pub mod telemetry;
pub mod text_file;
mod toolbox;
mod trouble;
mod uses;
pub mod watching;
mod worker;

pub use fazai_tools::adopt_orphans;
pub use process::{child_process, command_launcher, module_launcher};
pub use worker::Worker;
