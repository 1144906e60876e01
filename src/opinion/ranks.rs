//! The ranks: the whole universe by expected rank of the coming return.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::market::instrument::Symbol;
use crate::opinion::envelope::Envelope;
use crate::opinion::explanation::RanksExplanation;
use crate::opinion::schemas;
use crate::opinion::signal::Action;

/// Answer of `GET /ranks`, without `ledger`, `stale` and `next`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ranks {
    /// What every opinion carries; `symbol` is `null` with the reason `whole_universe`.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// The rankable instruments, best expected rank first.
    pub ranks: Vec<ExpectedRank>,
    /// What it rests on.
    #[serde(default)]
    pub explanation: Option<RanksExplanation>,
}

/// One instrument's place in the universe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExpectedRank {
    /// Canonical symbol.
    #[schema(schema_with = schemas::symbol)]
    pub symbol: Symbol,
    /// Expected rank among the ranked instruments, from 1 for the highest return.
    #[schema(minimum = 1, example = 61.4)]
    pub expected_rank: Option<f64>,
    /// Probability of each fifth of the universe, worst fifth first; sums to 1.
    #[schema(value_type = Option<Vec<f64>>, min_items = 5, max_items = 5)]
    pub quintile_probabilities: Option<[f64; 5]>,
    /// The action of the signal.
    pub action: Option<Action>,
    /// Why a value is `null` or borrowed; `null` where nothing is to be said.
    #[schema(example = "insufficient_history")]
    pub reason: Option<String>,
}
