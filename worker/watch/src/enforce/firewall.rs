//! What drops packets: what it is told, what it holds, and how it fails.

use std::io;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// What a firewall is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Let this be so for so many seconds, whatever was there before.
    Put {
        /// Block or rate limit.
        measure: Measure,
        /// Against whom.
        net: IpNet,
        /// For how long; the firewall ends it by itself.
        ttl_s: u32,
    },
    /// Let this not be.
    Remove {
        /// Block or rate limit.
        measure: Measure,
        /// Against whom.
        net: IpNet,
    },
}

impl Change {
    /// What is done, or is not done any more.
    #[must_use]
    pub fn measure(&self) -> Measure {
        let (Self::Put { measure, .. } | Self::Remove { measure, .. }) = self;
        *measure
    }
}

/// What is done to packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// All are dropped.
    Block,
    /// Those beyond so many in a second are dropped.
    Limit(u32),
}

/// Something that a firewall holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What it does.
    pub measure: Measure,
    /// To whom.
    pub net: IpNet,
    /// For how long from now, in seconds.
    pub left_s: u32,
}

/// Something that drops packets.
pub trait Firewall {
    /// Makes all changes, or none.
    fn apply(&mut self, changes: &[Change]) -> Result<(), FirewallError>;
    /// All that it holds for us.
    fn held(&mut self) -> Result<Vec<Held>, FirewallError>;
}

/// Why a firewall did not do it.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// It could not be started.
    #[error("the firewall could not be asked: {0}; is nftables installed?")]
    Start(io::Error),
    /// It said no.
    #[error("the firewall refused: {0}")]
    Refused(String),
    /// What it says can't be understood.
    #[error("the firewall's answer can't be read: {0}")]
    Answer(String),
}
