//! Why a tool gave no answer.

use fazai_tools::RunError;

/// Why a tool gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// There is none of that name.
    #[error("there is no tool `{0}`")]
    NotFound(String),
    /// It is there and can't be used.
    #[error("the tool `{name}` can't be used: {problem}")]
    Broken {
        /// Its name.
        name: String,
        /// Why, and what to do about it.
        problem: String,
    },
    /// What it was told does not fit its schema, or is no sense. The text may quote it.
    #[error("{0}")]
    BadParams(String),
    /// The gate gave no permit; the host knows why.
    #[error("{0}")]
    Refused(String),
    /// It ran, and says that it failed, or did.
    #[error("{0}")]
    Failed(String),
    /// What it needs is not there: an interpreter, a server, a command.
    #[error("{0}")]
    Unavailable(String),
    /// Its time was up.
    #[error("it was ended at its time limit")]
    TimedOut,
    /// Nobody wants its answer any more.
    #[error("it was stopped")]
    Stopped,
    /// The program behind it could not be run.
    #[error(transparent)]
    Run(#[from] RunError),
}
