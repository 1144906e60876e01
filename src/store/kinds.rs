//! The kinds of jobs: how urgent each is and how often it is tried.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::store::jobs::NewJob;

/// States of a job, as recorded.
pub const STATES: [&str; 6] = ["queued", "running", "succeeded", "failed", "cancelled", "skipped"];

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobKind {
    /// Read files.
    Import,
    /// Publish answers for the newest session.
    Publish,
    /// Compare matured answers with what happened.
    Score,
    /// Look for drift of features and of live scores.
    Drift,
    /// Train the network and let it play for the seats.
    Train,
    /// Write walk-forward answers of the past into a chain of their own.
    Backfill,
    /// Remove models that nothing names any more.
    Prune,
}

impl JobKind {
    /// All kinds, the most urgent first.
    pub const ALL: [Self; 7] =
        [Self::Publish, Self::Import, Self::Score, Self::Drift, Self::Train, Self::Prune, Self::Backfill];

    /// The word in the store, in addresses and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Publish => "publish",
            Self::Score => "score",
            Self::Drift => "drift",
            Self::Train => "train",
            Self::Backfill => "backfill",
            Self::Prune => "prune",
        }
    }

    /// Lower runs first: what readers wait for before what takes long.
    #[must_use]
    pub const fn priority(self) -> i16 {
        match self {
            Self::Publish => -10,
            Self::Import => -8,
            Self::Score => -5,
            Self::Drift => -4,
            Self::Train => 0,
            Self::Prune => 5,
            Self::Backfill => 10,
        }
    }

    /// Runs after which a job of this kind is given up.
    #[must_use]
    pub const fn max_attempts(self) -> i16 {
        match self {
            Self::Publish => 5,
            _ => 3,
        }
    }

    /// A job of this kind, not yet asked for. The arguments are those of [`JobArguments`](crate::store::arguments::JobArguments).
    #[must_use]
    pub fn new_job(self, arguments: Value, slot: Option<String>, reason: impl Into<String>) -> NewJob {
        NewJob {
            kind: self.as_str(),
            slot,
            reason: reason.into(),
            arguments,
            priority: self.priority(),
            max_attempts: self.max_attempts(),
        }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no kind of job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no kind of job; known are {}", JobKind::ALL.map(JobKind::as_str).join(", "))]
pub struct UnknownKind;

impl FromStr for JobKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_their_words_and_stand_by_their_urgency() {
        for kind in JobKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert!(JobKind::ALL.map(JobKind::priority).is_sorted());
        let unknown = "fetch".parse::<JobKind>().unwrap_err().to_string();
        assert_eq!(unknown, "is no kind of job; known are publish, import, score, drift, train, prune, backfill");
    }
}
