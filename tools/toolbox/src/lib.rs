//! The toolbox: what tools there are, what each wants to be told, and how one is called.
//!
//! | file | what it owns |
//! |---|---|
//! | `tool.rs` | the trait of a tool, and what is known about one |
//! | `host.rs` | what a tool needs from whoever runs it: permits, a way to speak, the wish to stop |
//! | `schema.rs` | JSON Schemas that strangers wrote, checked within limits |
//! | `toolbox.rs` | all tools by name; a call from its parameters to its answer |
//! | `files.rs`, `files/` | tools that are files in a directory: JavaScript, Python, any program |
//! | `builtin.rs`, `builtin/` | the tools that are part of this program, a file for each |
//! | `diff.rs` | what a file's new text changes |
//! | `mcp.rs`, `mcp/` | tools of servers that speak the Model Context Protocol |
//! | `error.rs` | why there is no answer |
//!
//! A tool does nothing on the machine by itself: every side effect takes a permit, which the
//! [`Host`] gets from the gate. Nothing here knows the worker, its protocol or its models.

mod builtin;
mod diff;
mod error;
mod files;
mod host;
mod mcp;
mod schema;
mod tool;
mod toolbox;

pub use self::builtin::{BuiltIn, Settings, blacklisted, is_public, name_server};
pub use self::diff::diff;
pub use self::error::ToolError;
pub use self::files::{Files, FilesOptions};
pub use self::host::{Host, Output, follow, input_of, run, run_told};
pub use self::mcp::{
    DESCRIPTION_BYTES_MAX, Log, MESSAGE_BYTES_MAX, McpOptions, McpServer, SERVER_CALLS_MAX,
    SERVER_NAME_BYTES_MAX, SERVER_TOOLS_MAX, SERVERS_BYTES_MAX, SERVERS_MAX, Servers, ServersError,
    is_server_name, read_servers,
};
pub use self::schema::{JSON_BYTES_MAX, Schema};
pub use self::tool::{About, Broken, NAME_BYTES_MAX, Origin, Params, Tool, is_name};
pub use self::toolbox::{ANSWER_BYTES_MAX, Listed, Source, Toolbox, call, wants};
