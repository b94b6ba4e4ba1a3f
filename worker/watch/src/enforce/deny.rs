//! Deny lists for programs that read a file: the worker writes it, through its gate.

use std::fmt::Write as _;

use super::Block;
use crate::action::Kind;

/// Who reads the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// `deny 192.0.2.1;`, for an `include`.
    Nginx,
    /// `Require not ip 192.0.2.1`, for an `Include` within `<RequireAll>`.
    Apache,
    /// One network on a line, for ModSecurity's `@ipMatchFromFile`.
    List,
}

impl Reader {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nginx, Self::Apache, Self::List];

    /// Its name in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Apache => "apache",
            Self::List => "list",
        }
    }
}

/// The whole file, for these blocks.
#[must_use]
pub fn render<'b>(reader: Reader, blocks: impl IntoIterator<Item = &'b Block>) -> String {
    let mut text = "# Written by fazai watch; changes are lost.\n".to_owned();
    for block in blocks
        .into_iter()
        .filter(|block| block.kind == Kind::DenyFile)
    {
        let _ = match reader {
            Reader::Nginx => writeln!(text, "deny {};", block.net),
            Reader::Apache => writeln!(text, "Require not ip {}", block.net),
            Reader::List => writeln!(text, "{}", block.net),
        };
    }
    text
}
