//! What FazAI may do on the machine.

mod action;
mod blocked;
mod caller;
mod path;
mod shell;

pub use self::action::{Action, Exec, Kind};
pub use self::blocked::{Blocked, blocked, blocked_write};
pub use self::caller::{Caller, User};
pub use self::shell::{
    Access, COMMAND_BYTES_MAX, COMMANDS_MAX, Command, NESTING_MAX, Opaque, Refused, Script, Touch,
    Word, touches,
};
