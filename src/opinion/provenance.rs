//! What an opinion was computed from: the names by which `replay` finds the inputs and the code again.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer, ser};
use utoipa::ToSchema;
use uuid::Uuid;

/// The largest whole number that a JSON number holds exactly, 2^53 - 1.
pub const SEED_MAX: u64 = (1 << 53) - 1;

/// Inputs, cutoffs and code of one publication.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Provenance {
    /// SHA-256 of the rows that passed both cutoffs, lowercase hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub inputs_hash: String,
    /// Rows that the world could not know by then were left out.
    #[schema(value_type = String, format = DateTime)]
    pub known_until: DateTime<Utc>,
    /// Rows that this store did not have by then were left out.
    #[schema(value_type = String, format = DateTime)]
    pub recorded_until: DateTime<Utc>,
    /// Name of the recipe (code and configuration).
    #[schema(example = "default")]
    pub recipe: String,
    /// SHA-256 of the network's artifact, lowercase hexadecimal; `null` where only benchmarks were asked.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub model_sha256: Option<String>,
    /// Seed of the draws, at most 2^53 - 1, so that a JSON number holds it exactly.
    #[serde(serialize_with = "exact")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub seed: u64,
    /// Version of the code; another version may give other bytes.
    #[schema(example = "0.1.0")]
    pub code_version: String,
    /// The run that published this and the opinions beside it.
    pub publication: Uuid,
    /// Who put the model in force, and why; absent where its training did, because it passed its trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub promotion: Option<Promotion>,
}

/// A person's decision that a model answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Promotion {
    /// `command`, at a command line, or `operator NAME` with the name of the key.
    #[schema(example = "operator desk")]
    pub by: String,
    /// What was given as the reason.
    #[schema(example = "the volatility of the new model jumps")]
    pub reason: String,
    /// The model's training had kept it back.
    pub forced: bool,
}

fn exact<S: Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    if *seed > SEED_MAX {
        return Err(ser::Error::custom(format!("the seed {seed} is above {SEED_MAX} and would lose digits in JSON")));
    }
    serializer.serialize_u64(*seed)
}
