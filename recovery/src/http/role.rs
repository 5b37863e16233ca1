//! What a token may do.

use std::fmt;
use std::str::FromStr;

/// What a token may do: everything of the roles before it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenRole {
    /// Reads
    Viewer,
    /// Edits, discards, replays, and approves other people's replays
    Operator,
}

impl TokenRole {
    /// As configured.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for TokenRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TokenRole {
    type Err = ();

    /// `admin`, which could also import, is read as operator until 0.3.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "viewer" => Ok(Self::Viewer),
            "operator" | "admin" => Ok(Self::Operator),
            _ => Err(()),
        }
    }
}
