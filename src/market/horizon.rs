//! The five horizons of every answer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How far an answer looks ahead, counted in exchange sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Horizon {
    /// One week, 5 sessions.
    #[serde(rename = "1w")]
    OneWeek,
    /// Four weeks, 20 sessions: the short term.
    #[serde(rename = "4w")]
    FourWeeks,
    /// A quarter, 63 sessions.
    #[serde(rename = "13w")]
    Quarter,
    /// Half a year, 126 sessions.
    #[serde(rename = "26w")]
    HalfYear,
    /// A year, 252 sessions: the long term.
    #[serde(rename = "52w")]
    Year,
}

/// Sessions in a year, the annualization base everywhere.
pub const SESSIONS_PER_YEAR: f64 = 252.0;

impl Horizon {
    /// All horizons, shortest first; the order of every per-horizon array.
    pub const ALL: [Self; 5] = [Self::OneWeek, Self::FourWeeks, Self::Quarter, Self::HalfYear, Self::Year];

    /// Length in sessions: 5, 20, 63, 126 or 252.
    #[must_use]
    pub fn sessions(self) -> usize {
        match self {
            Self::OneWeek => 5,
            Self::FourWeeks => 20,
            Self::Quarter => 63,
            Self::HalfYear => 126,
            Self::Year => 252,
        }
    }

    /// Length in years of 252 sessions.
    #[must_use]
    pub fn years(self) -> f64 {
        self.sessions() as f64 / SESSIONS_PER_YEAR
    }

    /// Position in [`Horizon::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// `1w`, `4w`, `13w`, `26w` or `52w`.
    #[must_use]
    pub fn label(self) -> &'static str {
        ["1w", "4w", "13w", "26w", "52w"][self.index()]
    }

    /// The horizon of exactly that many sessions.
    #[must_use]
    pub fn from_sessions(sessions: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|h| h.sessions() == sessions)
    }
}

impl fmt::Display for Horizon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for Horizon {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|h| h.label() == text)
            .ok_or_else(|| format!("unknown horizon {text:?}; known are 1w, 4w, 13w, 26w, 52w"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_round_trip() {
        for horizon in Horizon::ALL {
            assert_eq!(horizon.label().parse::<Horizon>().unwrap(), horizon);
            assert_eq!(Horizon::from_sessions(horizon.sessions()), Some(horizon));
        }
        assert!("3w".parse::<Horizon>().is_err());
    }
}
