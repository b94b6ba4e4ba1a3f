//! On whose behalf something is done.

use serde::{Deserialize, Serialize};

/// A client of the worker, as the socket proved it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caller {
    /// A local user, by the credentials of its Unix socket.
    User(User),
    /// Who named a token over TCP; the text is the token's name in the settings, never its secret.
    Token(String),
}

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The numeric user.
    pub uid: u32,
    /// The numeric groups, the primary one included.
    pub groups: Vec<u32>,
    /// The login name, for people to read; nothing is decided by it.
    pub name: String,
}

impl Caller {
    /// Whether both are the same user or the same token. Groups and names may differ.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::User(one), Self::User(two)) => one.uid == two.uid,
            (Self::Token(one), Self::Token(two)) => one == two,
            (Self::User(_), Self::Token(_)) | (Self::Token(_), Self::User(_)) => false,
        }
    }

    /// Equal for the same user or token, and for nobody else.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::User(user) => format!("uid {}", user.uid),
            Self::Token(name) => format!("token {name}"),
        }
    }
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(user) => write!(f, "{} (uid {})", user.name, user.uid),
            Self::Token(name) => write!(f, "token {name}"),
        }
    }
}
