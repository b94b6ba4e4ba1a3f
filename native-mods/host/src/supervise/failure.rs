//! What comes of a call: an answer, or why there is none.

use std::io;
use std::time::Duration;

use crate::message::COMMAND_BYTES_MAX;

/// What a module answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// 0: success. Otherwise the module's own error, which the text describes.
    pub code: i32,
    /// The text, or empty if it was handed over in pieces.
    pub text: String,
    /// Whether the answer was stopped because it became too long.
    pub cut: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Its process was ended by a signal.
    #[error(
        "module `{module}` was ended by {signal}{cause}; once loaded it starts again with the next call"
    )]
    Crashed {
        /// Which module.
        module: String,
        /// The signal's name.
        signal: String,
        /// What it was about, as far as one can know.
        cause: &'static str,
    },
    /// It called `exit`.
    #[error(
        "module `{module}` ended its process with status {status}; its code must not exit, and \
         once loaded it starts again with the next call"
    )]
    Exited {
        /// Which module.
        module: String,
        /// What it gave to `exit`.
        status: i32,
    },
    /// It took too long, and was ended.
    #[error(
        "module `{module}` did not finish its {what} within {} ms and was ended; give it more \
         time in modules.toml if it needs that", limit.as_millis()
    )]
    TimedOut {
        /// Which module.
        module: String,
        /// What it did.
        what: &'static str,
        /// What it was given.
        limit: Duration,
    },
    /// It said something on the connection that the host's own code does not say.
    #[error(
        "module `{module}` disturbed its connection ({what}) and was ended; its code must leave \
         descriptors alone that it did not open"
    )]
    Protocol {
        /// Which module.
        module: String,
        /// What happened.
        what: String,
    },
    /// The module's process could load it and did not.
    #[error("module `{module}` was not loaded: {why}")]
    NotLoaded {
        /// Which module.
        module: String,
        /// Why, and what to do.
        why: String,
    },
    /// It was to run inside the host's own process, and may not.
    #[error(
        "module `{module}` may not run inside this process, where nothing confines it: that takes \
         `trusted = true` in modules.toml and a signature by a trusted key; give it both, or run \
         it in a process of its own"
    )]
    NotTrusted {
        /// Which module.
        module: String,
    },
    /// No process could be started.
    #[error(
        "the process of module `{module}` can't be started: {error}; check the limits of the \
         service on processes and open files"
    )]
    Spawn {
        /// Which module.
        module: String,
        /// Why.
        error: io::Error,
    },
    /// Other calls had the module all the time.
    #[error("module `{module}` was busy with other calls for {} ms; try again later", waited.as_millis())]
    Busy {
        /// Which module.
        module: String,
        /// How long this call waited.
        waited: Duration,
    },
    /// It has crashed and the wait before its next start is longer than the call's time limit.
    #[error("module `{module}` has crashed and starts again in {} ms; try again then", wait.as_millis())]
    Restarting {
        /// Which module.
        module: String,
        /// The rest of the wait.
        wait: Duration,
    },
    /// It crashed too often.
    #[error(
        "module `{module}` is in quarantine after 5 crashes in a minute; correct it and reload it, \
         or load it again as it is"
    )]
    Quarantined {
        /// Which module.
        module: String,
    },
    /// It was unloaded.
    #[error("module `{module}` was unloaded; load it again")]
    Unloaded {
        /// Which module.
        module: String,
    },
    /// Its caller's [`Stop`](crate::Stop) was raised.
    #[error(
        "the call of module `{module}` was stopped by its caller; call again if that was a mistake"
    )]
    Stopped {
        /// Which module.
        module: String,
    },
    /// The command is larger than any.
    #[error("the command has {bytes} bytes, at most {COMMAND_BYTES_MAX} are taken; shorten it")]
    CommandTooLong {
        /// Its length.
        bytes: usize,
    },
    /// C texts end at a NUL.
    #[error("the command has a NUL at byte {at}, where a module would think it ends; remove it")]
    CommandHasNul {
        /// Where.
        at: usize,
    },
}
