//! The two chains of entries: what was said in time, and what would have been said, written afterwards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A chain of the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chain {
    /// Written when it was said.
    #[default]
    Live,
    /// Written later, from what was known by then: no track record.
    Backfill,
}

impl Chain {
    /// The word used in JSON, in parameters and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Backfill => "backfill",
        }
    }

    /// Whether it is [`Chain::Live`], which entries do not mention.
    #[must_use]
    pub fn is_live(&self) -> bool {
        *self == Self::Live
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Chain {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        [Self::Live, Self::Backfill].into_iter().find(|chain| chain.as_str() == text).ok_or("must be live or backfill")
    }
}
