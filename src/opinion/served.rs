//! The served answer: an opinion as it stands in the ledger, with its place there and whether it is still fresh.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where an opinion stands in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerReference {
    /// Position, from 1.
    #[schema(minimum = 1, example = 4182)]
    pub sequence: i64,
    /// SHA-256 of the previous entry's 32 hash bytes followed by this entry's canonical JSON, lowercase hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub hash: String,
}

/// An opinion with the two fields that are not part of its ledger entry.
///
/// Take `ledger` and `stale` away and write the rest as RFC 8785 canonical JSON: those are the bytes that were hashed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Served<T> {
    /// The opinion.
    #[serde(flatten)]
    pub opinion: T,
    /// Its place in the ledger.
    pub ledger: LedgerReference,
    /// Past `valid_until`. A stale answer is still the newest answer.
    pub stale: bool,
}
