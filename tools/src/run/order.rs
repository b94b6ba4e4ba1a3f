//! What this program and the keeper of a command say to each other. The program sends one
//! [`Order`], with the descriptor of the command's standard input, and then nothing more: when its
//! half of the connection closes, by its will or by its death, the keeper ends the command.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use fazai_sandbox::{Frame, Wait, Wanted, Wire, WireError};
use serde::{Deserialize, Serialize};

use super::group::Way;

/// The largest order. The kernel takes a few megabytes of arguments, and JSON may write one byte
/// as six.
pub(super) const ORDER_BYTES_MAX: usize = 32 << 20;

/// The largest answer.
pub(super) const SAID_BYTES_MAX: usize = 64 << 10;

/// What is to be run, and how.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) argv: Vec<String>,
    pub(super) cwd: PathBuf,
    pub(super) env: BTreeMap<String, String>,
    pub(super) wanted: Wanted,
    /// The control group of the command; none: the keeper's.
    pub(super) group: Option<Way>,
    pub(super) term_grace: Duration,
}

/// The keeper's one answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// It was not started.
    Refused(Refusal),
    /// It and all that it started have ended; neither: it could not be ended.
    Ended {
        exit_code: Option<i32>,
        signal: Option<i32>,
    },
}

/// What went wrong before the command's first instruction. Numbers are those of the system.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Refusal {
    Sandbox(String),
    Group(i32),
    Directory(i32),
    Program(i32),
}

pub(super) fn send<T: Serialize>(
    wire: &mut Wire,
    message: &T,
    wait: Wait<'_>,
) -> Result<(), WireError> {
    let body = serde_json::to_vec(message).map_err(|_| WireError::Closed)?;
    wire.send(&Frame::new(0, 0, &body), wait)
}

pub(super) fn read<T: for<'de> Deserialize<'de>>(frame: &Frame<'_>) -> Result<T, WireError> {
    serde_json::from_slice(frame.body).map_err(|_| WireError::Closed)
}
